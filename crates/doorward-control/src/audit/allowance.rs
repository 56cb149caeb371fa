//! How many lines may be written of what strangers cause. Together with how long lines are kept it bounds the disk.

use jiff::{SignedDuration, Timestamp};

/// A reserve that fills up evenly.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    left: f64,
    filled_at: Option<Timestamp>,
}

/// Of all that may be written while lines are kept, so much may be written at once.
const AT_ONCE: f64 = 0.1;

impl Allowance {
    /// `share`: lines per `kept`.
    pub(super) fn fill(&mut self, share: f64, kept: SignedDuration, now: Timestamp) {
        let most = share * AT_ONCE;
        self.left = match self.filled_at {
            None => most,
            // A clock that was put back fills nothing.
            Some(before) => {
                let passed = now.duration_since(before).max(SignedDuration::ZERO);
                (self.left + share * passed.as_secs_f64() / kept.as_secs_f64().max(1.0)).min(most)
            }
        };
        self.filled_at = Some(now);
    }

    /// One line, if more than this part of what can be saved up is left.
    pub(super) fn take(&mut self, share: f64, reserve: f64) -> bool {
        let may = self.left >= 1.0 + reserve * share * AT_ONCE;
        if may {
            self.left -= 1.0;
        }
        may
    }

    /// They were not written after all.
    pub(super) fn give_back(&mut self, lines: usize) {
        self.left += lines as f64;
    }
}
