//! How often one source may ask, and how often one service is asked: the generic cell rate algorithm, which needs one
//! instant for each.

use crate::live::Crowd;
use crate::settings::Limits;
use doorward_core::ServiceId;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often one may ask, and how many requests may be under way.
pub(crate) struct Rates {
    pub(crate) by_source: Rate<IpAddr>,
    pub(crate) by_service: Rate<ServiceId>,
    visits_at_service: AtomicUsize,
    visits_from_source: AtomicUsize,
}

impl Rates {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            by_source: Rate::per_second(limits.requests_per_source),
            by_service: Rate::per_second(limits.requests_per_service),
            visits_at_service: AtomicUsize::new(limits.visits_per_service),
            visits_from_source: AtomicUsize::new(limits.visits_per_source),
        }
    }

    /// For requests from now on.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.by_source.set_per_second(limits.requests_per_source);
        self.by_service.set_per_second(limits.requests_per_service);
        self.visits_at_service.store(limits.visits_per_service, Ordering::Relaxed);
        self.visits_from_source.store(limits.visits_per_source, Ordering::Relaxed);
    }

    /// Whether so many may be there at once.
    pub(crate) fn has_room(&self, crowd: Crowd) -> bool {
        crowd.at_service <= self.visits_at_service.load(Ordering::Relaxed)
            && crowd.from_source <= self.visits_from_source.load(Ordering::Relaxed)
    }
}

pub(crate) struct Rate<K> {
    /// What one request takes, in nanoseconds; zero: anything goes.
    each: AtomicU64,
    keys: Mutex<Keys<K>>,
}

struct Keys<K> {
    /// When all that each asked for so far is paid.
    paid: HashMap<K, Instant>,
    swept: Option<Instant>,
}

/// So many seconds' worth may come at once.
const BURST_SECONDS: u32 = 10;
const MAX_KEYS: usize = 50_000;

/// The same for one alone.
#[derive(Debug)]
pub(crate) struct Meter {
    each: Duration,
    burst: Duration,
    paid: Option<Instant>,
}

impl Meter {
    pub(crate) fn new(per_second: u32, at_once: u32) -> Self {
        let each = Duration::from_secs(1).checked_div(per_second).unwrap_or_default();
        Self { each, burst: each * at_once, paid: None }
    }

    pub(crate) fn admit(&mut self, count: u32, now: Instant) -> bool {
        let next = self.paid.unwrap_or(now).max(now) + self.each * count;
        self.paid = Some(next);
        next <= now + self.burst
    }
}

impl<K: Hash + Eq> Rate<K> {
    pub(crate) fn per_second(requests: u32) -> Self {
        let rate = Self { each: AtomicU64::new(0), keys: Mutex::new(Keys { paid: HashMap::new(), swept: None }) };
        rate.set_per_second(requests);
        rate
    }

    pub(crate) fn set_per_second(&self, requests: u32) {
        self.each.store(1_000_000_000_u64.checked_div(requests.into()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether one more request may come now.
    pub(crate) fn admit(&self, key: K, now: Instant) -> bool {
        let each = Duration::from_nanos(self.each.load(Ordering::Relaxed));
        if each.is_zero() {
            return true;
        }
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.paid.len() >= MAX_KEYS && !keys.paid.contains_key(&key) && !keys.sweep(now) {
            // So many at once are no single one to be held back.
            return true;
        }
        let until = keys.paid.entry(key).or_insert(now);
        let next = (*until).max(now) + each;
        if next > now + Duration::from_secs(1) * BURST_SECONDS {
            return false;
        }
        *until = next;
        true
    }
}

impl<K: Hash + Eq> Keys<K> {
    /// Forgets whoever has paid, once a second at most; whether there is room now.
    fn sweep(&mut self, now: Instant) -> bool {
        if self.swept.is_none_or(|swept| now > swept + Duration::from_secs(1)) {
            self.paid.retain(|_, until| *until > now);
            self.swept = Some(now);
        }
        self.paid.len() < MAX_KEYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let rate = Rate::per_second(100);
        let begun = Instant::now();
        let admitted = |now| (0..5000).filter(|_| rate.admit("a", now)).count();
        assert_eq!(admitted(begun), 1000);
        assert_eq!(admitted(begun + Duration::from_secs(2)), 200);
        assert!(rate.admit("b", begun), "others are not held back");
        assert_eq!(admitted(begun + Duration::from_secs(100)), 1000);
    }

    #[test]
    fn a_meter_forgives_what_comes_slowly() {
        let (mut meter, begun) = (Meter::new(50, 1000), Instant::now());
        assert!((0..10_000).all(|n| meter.admit(1, begun + Duration::from_millis(20) * n)));
        assert!(!Meter::new(50, 1000).admit(1001, begun));
    }

    #[test]
    fn without_a_rate_anything_goes() {
        let rate = Rate::per_second(0);
        let now = Instant::now();
        assert!((0..100_000).all(|_| rate.admit((), now)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let rate = Rate::per_second(1);
        let begun = Instant::now();
        (0..2 * MAX_KEYS).for_each(|key| assert!(rate.admit(key, begun)));
        assert!(rate.keys.lock().unwrap().paid.len() <= MAX_KEYS);
        assert!(rate.admit(usize::MAX, begun + Duration::from_secs(60)));
        assert_eq!(rate.keys.lock().unwrap().paid.len(), 1);
    }
}
