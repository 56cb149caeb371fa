//! A router's restart, seen by its clock: PCP and NAT-PMP answers say for how many seconds it has known its mappings.

use std::time::{Duration, Instant};

/// The last that was heard.
#[derive(Debug, Default)]
pub(crate) struct Epoch {
    last: Option<(u32, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Whatever it had, it has still.
    GoesOn,
    /// It may have forgotten everything.
    Restarted,
}

/// How far two clocks may drift apart: a sixteenth and two seconds (RFC 6887, 8.5).
const DRIFT: u32 = 16;
const GRACE: Duration = Duration::from_secs(2);

impl Epoch {
    /// RFC 6887, 8.5. NAT-PMP's own rule (RFC 6886, 3.6) only knows a clock that is late, by an eighth; a clock that
    /// is early costs one needless renewal.
    pub(crate) fn hear(&mut self, now: Instant, seconds: u32) -> Heard {
        let Some((before, then)) = self.last.replace((seconds, now)) else { return Heard::GoesOn };
        if seconds.saturating_add(1) < before {
            return Heard::Restarted;
        }
        let theirs = Duration::from_secs(seconds.saturating_sub(before).into());
        let ours = now.saturating_duration_since(then);
        let differs = ours + GRACE < theirs - theirs / DRIFT || theirs + GRACE < ours - ours / DRIFT;
        if differs { Heard::Restarted } else { Heard::GoesOn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_told_from_drift() {
        use Heard::{GoesOn, Restarted};
        // (our seconds later, theirs before, theirs now)
        for (later, before, now, expected) in [
            (60, 1000, 1060, GoesOn),
            (60, 1000, 1058, GoesOn),
            (60, 1000, 1065, GoesOn),
            (0, 1000, 999, GoesOn),
            (0, 1000, 998, Restarted),
            (60, 1000, 3, Restarted),
            (60, 1000, 1000, Restarted),
            (60, 1000, 1040, Restarted),
            (60, 1000, 1100, Restarted),
            (3600, 0, 3500, GoesOn),
            (3600, 0, 3300, Restarted),
            (1, u32::MAX, u32::MAX, GoesOn),
            (1, u32::MAX, 0, Restarted),
            (1, 0, u32::MAX, Restarted),
        ] {
            let start = Instant::now();
            let mut epoch = Epoch::default();
            assert_eq!(epoch.hear(start, before), GoesOn, "the first says nothing");
            let heard = epoch.hear(start + Duration::from_secs(later), now);
            assert_eq!(heard, expected, "{later} s: {before} → {now}");
        }
    }
}
