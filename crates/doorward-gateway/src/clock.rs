//! Notices that the wall clock was set: then every decision that looked at it is taken again.

use crate::live::Live;
use doorward_control::Control;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tracing::info;

const STEP: Duration = Duration::from_millis(500);
const TOLERANCE: Duration = Duration::from_secs(1);

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    steady: Instant,
    wall: SystemTime,
}

impl Reading {
    fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// How far the wall clock is from where it should be since `before`, if that is more than clocks drift.
    fn jump_since(self, before: Self) -> Option<Duration> {
        // The sum may lie beyond what the system can represent; then the clock was set, whatever it says now.
        let Some(expected) = before.wall.checked_add(self.steady.duration_since(before.steady)) else {
            return Some(Duration::MAX);
        };
        let jump = self.wall.duration_since(expected).unwrap_or_else(|back| back.duration());
        (jump > TOLERANCE).then_some(jump)
    }
}

pub(crate) async fn watch(control: Control, live: Arc<Live>) {
    let mut before = Reading::now();
    loop {
        tokio::time::sleep(STEP).await;
        let now = Reading::now();
        if let Some(jump) = now.jump_since(before) {
            info!(seconds = jump.as_secs(), "the clock was set; every open stream is decided again");
            live.decide_all_again(&control.snapshot());
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_either_way_is_told_from_time_that_passed() {
        let day = Duration::from_secs(24 * 3600);
        let before = Reading { steady: Instant::now(), wall: SystemTime::UNIX_EPOCH + 100 * day };
        let after = |seconds: u64, wall: SystemTime| {
            let now = Reading { steady: before.steady + Duration::from_secs(seconds), wall };
            now.jump_since(before)
        };
        let noon = before.wall;
        assert_eq!(after(5, noon + Duration::from_secs(5)), None);
        assert_eq!(after(3600, noon + Duration::from_secs(3600)), None, "a busy machine is no clock that was set");
        assert_eq!(after(1, noon + Duration::from_millis(1900)), None);
        assert_eq!(after(0, noon + day), Some(day));
        assert_eq!(after(0, noon - day), Some(day));
        assert_eq!(after(0, SystemTime::UNIX_EPOCH), Some(100 * day));
        assert_eq!(after(60, noon), Some(Duration::from_secs(60)), "it stood still");
    }
}
