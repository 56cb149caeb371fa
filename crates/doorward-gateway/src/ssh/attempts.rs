//! How many wrong passwords are looked at, of one source and for one name. The passwords that count have too many random
//! bits to be guessed: this keeps guessing from costing us anything, and shows it to the owner.

use crate::listen::strangers::source_of;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wrong ones from one source within a window. Of IPv6 that is a whole /64.
const OF_A_SOURCE: u32 = 20;
/// Wrong ones for one user name, from wherever, whether or not anybody has it.
const FOR_A_NAME: u32 = 100;
const WINDOW: Duration = Duration::from_secs(60);
const MOST_COUNTED: usize = 10_000;
/// Whoever was right so lately is not shut out by those who guess at the same name elsewhere.
const TRUSTED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MOST_TRUSTED: usize = 10_000;
/// A longer name is nobody's, and is not worth the memory.
const LONGEST_NAME: usize = 64;

#[derive(Default)]
pub(crate) struct Attempts(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    of_sources: HashMap<IpAddr, Wrong>,
    for_names: HashMap<String, Wrong>,
    right: HashMap<(IpAddr, String), Instant>,
}

struct Wrong {
    times: u32,
    since: Instant,
}

impl Attempts {
    /// Whether one more is looked at.
    pub(super) fn may_try(&self, source: IpAddr, user: &str, now: Instant) -> bool {
        let (source, user, counts) = (source_of(source), name(user), self.counts());
        if is_full(&counts.of_sources, &source, OF_A_SOURCE, now) {
            return false;
        }
        let is_trusted =
            || counts.right.get(&(source, user.clone())).is_some_and(|at| now.duration_since(*at) < TRUSTED_FOR);
        !is_full(&counts.for_names, &user, FOR_A_NAME, now) || is_trusted()
    }

    pub(super) fn was_wrong(&self, source: IpAddr, user: &str, now: Instant) {
        let mut counts = self.counts();
        count(&mut counts.of_sources, source_of(source), now);
        count(&mut counts.for_names, name(user), now);
    }

    pub(super) fn was_right(&self, source: IpAddr, user: &str, now: Instant) {
        let mut counts = self.counts();
        if counts.right.len() >= MOST_TRUSTED {
            counts.right.clear();
        }
        counts.right.insert((source_of(source), name(user)), now);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(user: &str) -> String {
    user.chars().take(LONGEST_NAME).flat_map(char::to_lowercase).collect()
}

fn is_full<K: Eq + Hash>(counted: &HashMap<K, Wrong>, key: &K, most: u32, now: Instant) -> bool {
    counted.get(key).is_some_and(|wrong| wrong.times >= most && now.duration_since(wrong.since) < WINDOW)
}

fn count<K: Eq + Hash>(counted: &mut HashMap<K, Wrong>, key: K, now: Instant) {
    if counted.len() >= MOST_COUNTED && !counted.contains_key(&key) {
        counted.retain(|_, wrong| now.duration_since(wrong.since) < WINDOW);
        if counted.len() >= MOST_COUNTED {
            return;
        }
    }
    let wrong = counted.entry(key).or_insert(Wrong { times: 0, since: now });
    if now.duration_since(wrong.since) >= WINDOW {
        *wrong = Wrong { times: 0, since: now };
    }
    wrong.times += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_source_is_heard_no_more_after_so_many_wrong_ones_until_the_window_is_over() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for n in 0..OF_A_SOURCE {
            assert!(attempts.may_try(ip("192.0.2.1"), "printer1", now), "{n}");
            attempts.was_wrong(ip("192.0.2.1"), &format!("name{n}"), now);
        }
        assert!(!attempts.may_try(ip("192.0.2.1"), "printer1", now));
        assert!(!attempts.may_try(ip("::ffff:192.0.2.1"), "printer1", now));
        assert!(attempts.may_try(ip("192.0.2.2"), "printer1", now));
        assert!(attempts.may_try(ip("192.0.2.1"), "printer1", now + WINDOW));
    }

    #[test]
    fn one_name_is_guessed_at_so_often_in_all_and_who_was_right_before_comes_in_all_the_same() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        attempts.was_right(ip("203.0.113.9"), "printer1", now);
        for n in 0..FOR_A_NAME {
            let source = IpAddr::from([192, 0, 2, u8::try_from(n).unwrap()]);
            assert!(attempts.may_try(source, "Printer1", now), "{n}");
            attempts.was_wrong(source, "printer1", now);
        }
        assert!(!attempts.may_try(ip("198.51.100.1"), "printer1", now));
        assert!(attempts.may_try(ip("198.51.100.1"), "printer2", now));
        assert!(attempts.may_try(ip("203.0.113.9"), "printer1", now));
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for n in 0..u32::try_from(MOST_COUNTED).unwrap() + 50 {
            attempts.was_wrong(IpAddr::from(n.to_be_bytes()), &format!("name{n}"), now);
            attempts.was_right(IpAddr::from(n.to_be_bytes()), &format!("name{n}"), now);
        }
        let counts = attempts.counts();
        assert_eq!((counts.of_sources.len(), counts.for_names.len()), (MOST_COUNTED, MOST_COUNTED));
        assert!(counts.right.len() <= MOST_TRUSTED);
    }
}
