//! How long to wait before a camera is asked again that did not answer.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Each is twice the one before.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    last: Option<(Duration, Instant)>,
}

impl Pauses {
    pub(super) fn failed(&mut self) {
        let pause = self.last.map_or(FIRST, |(last, _)| (last * 2).min(LONGEST));
        self.last = Some((pause, Instant::now()));
    }

    pub(super) fn is_over(&self) -> bool {
        self.last.is_none_or(|(pause, since)| since.elapsed() >= pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_half_a_minute() {
        let mut pauses = Pauses::default();
        assert!(pauses.is_over());
        let mut seen = Vec::new();
        for _ in 0..7 {
            pauses.failed();
            assert!(!pauses.is_over());
            seen.extend(pauses.last.map(|(pause, _)| pause.as_secs()));
        }
        assert_eq!(seen, [1, 2, 4, 8, 16, 30, 30]);
    }
}
