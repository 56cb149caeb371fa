//! Whether a camera shall be read: while somebody watches, and a little longer, since browsers reload.

use std::time::{Duration, Instant};

/// How long a camera is read on after the last viewer left, unless its owner says otherwise.
pub const LINGER: Duration = Duration::from_secs(8);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Read,
    /// Nobody watches; read on until then.
    Linger {
        until: Instant,
    },
    Rest,
}

#[derive(Debug, Clone)]
pub struct Demand {
    linger: Duration,
    last: Last,
}

#[derive(Debug, Clone, Copy)]
enum Last {
    Never,
    Watches,
    Left { at: Instant },
}

impl Demand {
    pub fn new(linger: Duration) -> Self {
        Self { linger, last: Last::Never }
    }

    /// So many watch from `now` on.
    pub fn viewers(&mut self, count: usize, now: Instant) {
        self.last = match (count, self.last) {
            (0, Last::Watches) => Last::Left { at: now },
            (0, last) => last,
            (_, _) => Last::Watches,
        };
    }

    /// Somebody took one picture: that counts as a viewer who left at once.
    pub fn glance(&mut self, now: Instant) {
        if !matches!(self.last, Last::Watches) {
            self.last = Last::Left { at: now };
        }
    }

    pub fn verdict(&self, now: Instant) -> Verdict {
        match self.last {
            Last::Never => Verdict::Rest,
            Last::Watches => Verdict::Read,
            Last::Left { at } => {
                let until = at + self.linger;
                if now < until { Verdict::Linger { until } } else { Verdict::Rest }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_read_while_somebody_watches_and_a_little_longer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand::new(LINGER);
        assert_eq!(demand.verdict(at(0)), Verdict::Rest);
        demand.viewers(0, at(0));
        assert_eq!(demand.verdict(at(0)), Verdict::Rest);
        demand.viewers(2, at(1));
        demand.viewers(1, at(100));
        assert_eq!(demand.verdict(at(200)), Verdict::Read);
        demand.viewers(0, at(200));
        // Told again, it does not begin anew.
        demand.viewers(0, at(205));
        assert_eq!(demand.verdict(at(207)), Verdict::Linger { until: at(208) });
        assert_eq!(demand.verdict(at(208)), Verdict::Rest);
        demand.viewers(1, at(209));
        assert_eq!(demand.verdict(at(209)), Verdict::Read);
    }

    #[test]
    fn a_glance_lets_it_linger_and_ends_nothing() {
        let start = Instant::now();
        let mut demand = Demand::new(LINGER);
        demand.glance(start);
        assert_eq!(demand.verdict(start), Verdict::Linger { until: start + LINGER });
        demand.viewers(1, start);
        demand.glance(start);
        assert_eq!(demand.verdict(start + LINGER * 2), Verdict::Read);
    }
}
