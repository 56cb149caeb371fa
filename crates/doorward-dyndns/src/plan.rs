//! When a provider is told. Pure.

use crate::address::Addresses;
use crate::answer::Answer;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is nothing to tell.
    Rest,
    Wait(Instant),
    Tell(Addresses),
}

#[derive(Debug)]
pub(crate) struct Plan {
    told: Addresses,
    stopped: Option<String>,
    failures: u32,
    not_before: Option<Instant>,
    late: Option<String>,
}

/// Between two changes: an address that flutters is not the provider's trouble.
const LEAST: Duration = Duration::from_secs(60);
const MOST: Duration = Duration::from_secs(24 * 3600);

impl Plan {
    pub(crate) fn new(told: Addresses, stopped: Option<String>) -> Self {
        Self { told, stopped, failures: 0, not_before: None, late: None }
    }

    pub(crate) fn next(&self, now: Instant, wished: &Addresses) -> Next {
        if self.stopped.is_some() || !wished.differs_from(&self.told) {
            return Next::Rest;
        }
        match self.not_before {
            Some(at) if at > now => Next::Wait(at),
            Some(_) | None => Next::Tell(*wished),
        }
    }

    pub(crate) fn answered(&mut self, now: Instant, sent: Addresses, answer: Answer) {
        self.late = None;
        match answer {
            Answer::Taken => {
                self.told = sent.merged_into(self.told);
                self.failures = 0;
                self.not_before = Some(now + LEAST);
            }
            Answer::Later { why, after } => {
                // Twice as long each time, and never less than was demanded.
                let pause = after.saturating_mul(1 << self.failures.min(10)).min(MOST);
                self.failures = self.failures.saturating_add(1);
                self.not_before = Some(now + pause);
                self.late = Some(why);
            }
            Answer::Stopped { why } => self.stopped = Some(why),
        }
    }

    pub(crate) fn told(&self) -> Addresses {
        self.told
    }

    pub(crate) fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    pub(crate) fn late(&self) -> Option<&str> {
        self.late.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{HALF_HOUR, later, stopped};

    fn v4(last: u8) -> Addresses {
        Addresses::public(Some([198, 51, 100, last].into()), None)
    }

    fn v6(last: u16) -> Addresses {
        Addresses::public(None, Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into()))
    }

    #[test]
    fn nothing_is_told_without_a_change() {
        let now = Instant::now();
        let mut plan = Plan::new(Addresses::default(), None);
        assert_eq!(plan.next(now, &Addresses::default()), Next::Rest);
        assert_eq!(plan.next(now, &v4(7)), Next::Tell(v4(7)));
        plan.answered(now, v4(7), Answer::Taken);
        let year = Duration::from_secs(365 * 24 * 3600);
        assert_eq!(plan.next(now + year, &v4(7)), Next::Rest);
        assert_eq!(plan.next(now + year, &Addresses::default()), Next::Rest, "an unknown address is no change");
        assert_eq!(plan.next(now + year, &v6(1)), Next::Tell(v6(1)));
        plan.answered(now + year, v6(1), Answer::Taken);
        assert_eq!(plan.next(now + 2 * year, &v4(7)), Next::Rest, "the other family is still known");
        assert_eq!(Plan::new(plan.told(), None).next(now, &v6(1)), Next::Rest, "nor after a restart");
    }

    #[test]
    fn an_address_that_flutters_is_told_once_a_minute() {
        let now = Instant::now();
        let mut plan = Plan::new(Addresses::default(), None);
        plan.answered(now, v4(7), Answer::Taken);
        assert_eq!(plan.next(now, &v4(8)), Next::Wait(now + LEAST));
        assert_eq!(plan.next(now, &v4(7)), Next::Rest);
        assert_eq!(plan.next(now + LEAST, &v4(8)), Next::Tell(v4(8)));
    }

    #[test]
    fn faults_are_waited_for_longer_and_longer() {
        let mut now = Instant::now();
        let mut plan = Plan::new(Addresses::default(), None);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            plan.answered(now, v4(7), later("911", HALF_HOUR));
            let Next::Wait(at) = plan.next(now, &v4(7)) else { panic!("it is waited for") };
            pauses.push((at - now).as_secs() / 60);
            now = at;
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1440, 1440]);
        plan.answered(now, v4(7), Answer::Taken);
        plan.answered(now, v4(8), later("911", HALF_HOUR));
        assert_eq!(plan.next(now, &v4(8)), Next::Wait(now + HALF_HOUR), "after a success it begins anew");
    }

    #[test]
    fn whoever_was_refused_asks_no_more() {
        let now = Instant::now();
        let mut plan = Plan::new(Addresses::default(), None);
        plan.answered(now, v4(7), stopped("badauth"));
        assert_eq!(plan.next(now + MOST, &v4(8)), Next::Rest);
        let after_restart = Plan::new(plan.told(), plan.stopped().map(str::to_owned));
        assert_eq!(after_restart.next(now + MOST, &v4(8)), Next::Rest);
    }
}
