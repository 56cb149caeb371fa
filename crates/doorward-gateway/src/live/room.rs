//! How many may be in at once: at a service, and of one person or source.

use super::{Seat, Seats, Table};
use crate::listen::strangers::source_of;
use doorward_core::ServiceId;
use doorward_core::access::Limits;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

impl Table {
    pub(super) fn has_room(&self, service: ServiceId, seats: &Seats, seat: &Seat, limits: &Limits) -> bool {
        is_below(seats.taken.len(), limits.connections)
            && (limits.connections_each.is_none()
                || is_below(self.taken_by(service, seats, seat), limits.connections_each))
    }

    /// Of one person, or of one source where nobody says who they are.
    fn taken_by(&self, service: ServiceId, seats: &Seats, seat: &Seat) -> usize {
        match seat.who {
            Some(account) => {
                let theirs = self.by_account.get(&account);
                theirs.map_or(0, |places| places.range((service, 0)..=(service, u64::MAX)).count())
            }
            None => seats.by_source.get(&source_of(seat.visitor.source())).copied().unwrap_or(0),
        }
    }

    /// Those who came last, of more than there may be now.
    pub(super) fn surplus(&self, service: ServiceId, limits: &Limits) -> Vec<Arc<Seat>> {
        let Some(seats) = self.services.get(&service) else { return Vec::new() };
        let mut taken: Vec<_> = seats.taken.iter().filter(|(_, seat)| !seat.cut.is_cancelled()).collect();
        taken.sort_unstable_by_key(|(number, _)| **number);
        let (mut all, mut each) = (0, HashMap::<_, usize>::new());
        let is_above = |taken: usize, most: Option<NonZeroU32>| most.is_some_and(|most| taken > most.get() as usize);
        let too_many = |(_, seat): &(&u64, &Arc<Seat>)| {
            let one = seat.who.ok_or_else(|| source_of(seat.visitor.source()));
            let theirs = each.entry(one).or_default();
            let is_surplus = is_above(all + 1, limits.connections) || is_above(*theirs + 1, limits.connections_each);
            if !is_surplus {
                all += 1;
                *theirs += 1;
            }
            is_surplus
        };
        taken.into_iter().filter(too_many).map(|(_, seat)| seat.clone()).collect()
    }
}

fn is_below(taken: usize, most: Option<NonZeroU32>) -> bool {
    most.is_none_or(|most| taken < most.get() as usize)
}
