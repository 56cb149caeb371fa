//! How many guesses are looked at, of one source and at one account.
//!
//! Nobody is shut out by what others guess. Each source has a measure of its own. Where too much is guessed at one account from
//! everywhere together, who was right from a source lately is heard there as before, and any other source one guess at a time: the right
//! password at the first try comes in from anywhere. Codes of six digits are few enough to be hit by that, so it does not hold for them;
//! recovery codes and passkeys do not fall under their measure. What is counted wears off by itself, and a restart forgets it.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Attempts(Mutex<Counts>);

/// What is guessed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Guessed {
    Password,
    /// Six digits of an app.
    Code,
    /// Six digits of a share link.
    Pin,
    /// Too long to be guessed: only how often a source asks is bounded.
    Long,
}

/// One that is looked at now. It counts as wrong until it is said to have been right: of many at once no more are looked at.
#[must_use]
#[derive(Debug)]
pub(crate) struct Attempt {
    source: IpAddr,
    account: (Guessed, String),
}

#[derive(Default)]
struct Counts {
    sources: Levels<IpAddr>,
    accounts: Levels<(Guessed, String)>,
    pairs: Levels<(IpAddr, Guessed, String)>,
    right: HashMap<(IpAddr, String), Instant>,
}

/// So many at once, and one more each time that this has passed.
struct Measure {
    most: u32,
    every: Duration,
}

struct Levels<K>(HashMap<K, Level>);

struct Level {
    /// Of wrong ones, at `at`.
    count: f64,
    at: Instant,
}

const OF_A_SOURCE: Measure = Measure { most: 20, every: Duration::from_secs(6) };
const AT_A_PASSWORD: Measure = Measure { most: 30, every: Duration::from_secs(20) };
const AT_A_CODE: Measure = Measure { most: 10, every: Duration::from_secs(600) };
/// While too much is guessed at an account.
const OF_A_TRUSTED_SOURCE: Measure = Measure { most: 10, every: Duration::from_secs(120) };
const OF_ANY_OTHER: Measure = Measure { most: 1, every: Duration::from_secs(120) };

const TRUSTED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MOST_COUNTED: usize = 10_000;
/// A longer name is nobody's, and not worth the memory.
const LONGEST_NAME: usize = 64;

impl Attempts {
    /// `Err`: for so long no further one is looked at.
    pub(crate) fn begin(
        &self,
        guessed: Guessed,
        source: IpAddr,
        name: &str,
        now: Instant,
    ) -> Result<Attempt, Duration> {
        let (source, name) = (neighbourhood(source), short(name));
        let account = (guessed, name.clone());
        let mut counts = self.counts();
        let mut wait = counts.sources.wait(&source, &OF_A_SOURCE, now);
        let at_account = match guessed {
            Guessed::Password => counts.accounts.wait(&account, &AT_A_PASSWORD, now),
            Guessed::Code | Guessed::Pin => counts.accounts.wait(&account, &AT_A_CODE, now),
            Guessed::Long => Duration::ZERO,
        };
        if at_account > Duration::ZERO {
            let pair = (source, guessed, name);
            wait = wait.max(match (counts.trusts(&pair, now), guessed) {
                (true, _) => counts.pairs.wait(&pair, &OF_A_TRUSTED_SOURCE, now),
                (false, Guessed::Password | Guessed::Long) => counts.pairs.wait(&pair, &OF_ANY_OTHER, now),
                (false, Guessed::Code | Guessed::Pin) => at_account,
            });
        }
        if wait > Duration::ZERO {
            return Err(wait);
        }
        let attempt = Attempt { source, account };
        counts.add(&attempt, 1.0, now);
        Ok(attempt)
    }

    /// It is not counted, and its source is trusted with this account.
    pub(crate) fn was_right(&self, attempt: Attempt, now: Instant) {
        let mut counts = self.counts();
        counts.add(&attempt, -1.0, now);
        if counts.right.len() >= MOST_COUNTED {
            counts.right.retain(|_, at| now.duration_since(*at) < TRUSTED_FOR / 2);
            if counts.right.len() >= MOST_COUNTED {
                counts.right.clear();
            }
        }
        counts.right.insert((attempt.source, attempt.account.1), now);
    }

    /// It was not looked at after all, or there is more to prove.
    pub(crate) fn take_back(&self, attempt: &Attempt, now: Instant) {
        self.counts().add(attempt, -1.0, now);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn trusts(&self, pair: &(IpAddr, Guessed, String), now: Instant) -> bool {
        self.right.get(&(pair.0, pair.2.clone())).is_some_and(|at| now.duration_since(*at) < TRUSTED_FOR)
    }

    fn add(&mut self, attempt: &Attempt, change: f64, now: Instant) {
        let (source, (guessed, name)) = (attempt.source, attempt.account.clone());
        self.sources.add(source, &OF_A_SOURCE, change, now);
        let measure = match guessed {
            Guessed::Password => &AT_A_PASSWORD,
            Guessed::Code | Guessed::Pin => &AT_A_CODE,
            Guessed::Long => return,
        };
        self.accounts.add(attempt.account.clone(), measure, change, now);
        self.pairs.add((source, guessed, name), &OF_A_TRUSTED_SOURCE, change, now);
    }
}

impl<K> Default for Levels<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Levels<K> {
    /// Until one more is within the measure.
    fn wait(&self, key: &K, measure: &Measure, now: Instant) -> Duration {
        let count = self.0.get(key).map_or(0.0, |level| level.now(measure, now));
        let above = count + 1.0 - f64::from(measure.most);
        if above <= 0.0 { Duration::ZERO } else { measure.every.mul_f64(above) }
    }

    fn add(&mut self, key: K, measure: &Measure, change: f64, now: Instant) {
        if self.0.len() >= MOST_COUNTED && !self.0.contains_key(&key) {
            self.forget_least(measure, now);
        }
        let level = self.0.entry(key).or_insert(Level { count: 0.0, at: now });
        *level = Level { count: (level.now(measure, now) + change).max(0.0), at: now };
    }

    /// Those at which little was guessed give way: many new ones do not wash away one under attack.
    fn forget_least(&mut self, measure: &Measure, now: Instant) {
        let mut least = 0.0;
        while self.0.len() >= MOST_COUNTED {
            self.0.retain(|_, level| level.now(measure, now) > least);
            least += 1.0;
        }
    }
}

impl Level {
    fn now(&self, measure: &Measure, now: Instant) -> f64 {
        let worn_off = now.saturating_duration_since(self.at).as_secs_f64() / measure.every.as_secs_f64();
        (self.count - worn_off).max(0.0)
    }
}

/// Of IPv6 somebody has a whole /64.
fn neighbourhood(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & (u128::MAX << 64))),
    }
}

fn short(name: &str) -> String {
    name.chars().take(LONGEST_NAME).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests;
