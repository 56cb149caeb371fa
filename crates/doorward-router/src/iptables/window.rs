//! From when to when a rule holds, by the kernel's wall clock (`time` in iptables-extensions(8)): it compares whole
//! seconds, both ends included.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// In seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Small corrections of the clock cut nobody. One that is set back further than this before a rule was written shuts what it
/// opened, so that no session lives longer by more than this and the time since.
const CLOCK_BACK: u64 = 60;
/// What `time` can count to.
const LATEST: u64 = i32::MAX as u64;

impl Window {
    /// What has `left` now ends with that second in which its end lies.
    pub(crate) fn from_now(left: Duration) -> Self {
        let now = since_1970();
        Self { first: now.as_secs().saturating_sub(CLOCK_BACK), last: (now + left).as_secs().min(LATEST) }
    }

    /// Nothing, also while it has not begun.
    pub(crate) fn left(self) -> Duration {
        let now = since_1970();
        let is_on = now.as_secs() >= self.first;
        if is_on { Duration::from_secs(self.last + 1).saturating_sub(now) } else { Duration::ZERO }
    }

    /// As a rule says it.
    pub(crate) fn words(self) -> String {
        format!("-m time --datestart {} --datestop {}", date(self.first), date(self.last))
    }

    pub(crate) fn read(first: &str, last: &str) -> Option<Self> {
        Some(Self { first: seconds(first)?, last: seconds(last)? })
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn date(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    moment.unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

fn seconds(date: &str) -> Option<u64> {
    let date: DateTime = date.parse().ok()?;
    date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_back_out_of_its_words() {
        for moment in [0, 1_000_000_000, 1_795_328_101, LATEST] {
            assert_eq!(seconds(&date(moment)), Some(moment));
        }
        assert_eq!(date(1_000_000_000), "2001-09-09T01:46:40");
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn what_has_time_left_ends_no_earlier_and_less_than_a_second_later() {
        for left in [0, 1, 999, 1000, 59_500] {
            let left = Duration::from_millis(left);
            let kept = Window::from_now(left).left();
            assert!(
                kept + Duration::from_millis(500) > left && kept <= left + Duration::from_secs(1),
                "{left:?} {kept:?}"
            );
        }
    }

    #[test]
    fn before_it_begins_nothing_is_left() {
        let now = since_1970().as_secs();
        assert_eq!(Window { first: now + 9, last: now + 99 }.left(), Duration::ZERO);
        assert_eq!(Window { first: now - 99, last: now - 9 }.left(), Duration::ZERO);
    }
}
