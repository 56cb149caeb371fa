//! How fast the visits of a service may go. The rates are its policy's; one bucket for each direction is shared by all its
//! visits, and each visit has two of its own.

use doorward_core::ServiceId;
use doorward_core::access::Limits;
use doorward_tunnel::{Bucket, Pace};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
pub(crate) struct Pacing(Mutex<HashMap<ServiceId, Both>>);

struct Both {
    up: Arc<Bucket>,
    down: Arc<Bucket>,
}

/// What a visit was begun with. A policy that allows less now lets it go on no longer, unless its buckets can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    is_paced: bool,
    each: Option<NonZeroU64>,
}

impl Terms {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self { is_paced: limits.pace(), each: limits.rate_each }
    }

    pub(crate) fn satisfy(self, limits: &Limits) -> bool {
        let each = |rate: Option<NonZeroU64>| rate.map_or(u64::MAX, NonZeroU64::get);
        (self.is_paced || !limits.pace()) && each(self.each) <= each(limits.rate_each)
    }
}

impl Pacing {
    /// `None`: as fast as it can.
    pub(crate) fn of(&self, service: ServiceId, limits: &Limits) -> Option<Pace> {
        if !limits.pace() {
            return None;
        }
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Both { up: Bucket::new(limits.rate), down: Bucket::new(limits.rate) };
        let both = table.entry(service).or_insert_with(fresh);
        both.set(limits);
        let own = |shared: &Arc<Bucket>| {
            let each = limits.rate_each.map(|rate| Bucket::new(Some(rate)));
            std::iter::once(shared.clone()).chain(each).collect()
        };
        Some(Pace { up: own(&both.up), down: own(&both.down) })
    }

    /// For visits that go on.
    pub(crate) fn change(&self, service: ServiceId, limits: &Limits) {
        if let Some(both) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&service) {
            both.set(limits);
        }
    }
}

impl Both {
    fn set(&self, limits: &Limits) {
        self.up.set(limits.rate);
        self.down.set(limits.rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rate: u64, each: u64) -> Limits {
        Limits { rate: NonZeroU64::new(rate), rate_each: NonZeroU64::new(each), ..Limits::default() }
    }

    #[test]
    fn a_visit_goes_on_unless_it_was_given_more_than_is_allowed_now() {
        let (free, slow, each) = (limits(0, 0), limits(5, 0), limits(0, 5));
        let table = [
            (&free, &free, true),
            (&free, &slow, false),
            (&free, &each, false),
            (&slow, &free, true),
            (&slow, &limits(2, 0), true),
            (&slow, &limits(5, 5), false),
            (&each, &limits(0, 4), false),
            (&each, &limits(0, 6), true),
            (&each, &limits(3, 5), true),
        ];
        for (before, now, goes_on) in table {
            assert_eq!(Terms::of(before).satisfy(now), goes_on, "{before:?} → {now:?}");
        }
    }

    #[test]
    fn where_nothing_is_limited_there_is_no_bucket() {
        let pacing = Pacing::default();
        assert!(pacing.of(ServiceId(1), &limits(0, 0)).is_none());
        let pace = pacing.of(ServiceId(1), &limits(5, 3)).unwrap();
        assert_eq!((pace.up.len(), pace.down.len()), (2, 2));
        let other = pacing.of(ServiceId(1), &limits(5, 0)).unwrap();
        assert!(Arc::ptr_eq(&pace.up[0], &other.up[0]) && !Arc::ptr_eq(&pace.up[0], &pace.down[0]));
    }
}
