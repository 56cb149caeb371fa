//! What would become of those who are here, if a service had another policy: for whoever is about to give it one. Nothing is done by asking.

use crate::{Control, ServiceRecord};
use doorward_core::access::{
    Denied, Limits, Outlook, PolicyDocument, PolicyError, Proof, Supposed, foresee, preview, preview_visit,
};
use doorward_core::service::Service;
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Who might come, from where, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub who: Supposed,
    /// `None`: from wherever they come.
    pub from: Option<IpAddr>,
    pub at: Timestamp,
}

/// What they are answered as things are, and what they would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    pub question: Question,
    pub now: Outlook,
    pub then: Outlook,
}

/// What is open, and what of it such a policy would end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toll {
    pub visits: u32,
    pub cut_visits: u32,
    pub sessions: u32,
    /// Whose person would not be let in by them any more.
    pub cut_sessions: u32,
}

impl Control {
    /// The service as it would be with `access`.
    pub fn suppose(&self, record: &ServiceRecord, access: &PolicyDocument) -> Result<Service, PolicyError> {
        let policy = access.clone().with_kept_hashes(&record.access).to_policy_for(record.service.kind)?;
        Ok(Service { policy: Arc::new(policy), ..Service::clone(&record.service) })
    }

    pub fn foresee(&self, record: &ServiceRecord, supposed: &Service, questions: Vec<Question>) -> Vec<Foreseen> {
        let snapshot = self.snapshot();
        let ask = |service: &Service, q: &Question| foresee(service, &q.who, q.from, &*snapshot, q.at);
        let each = |question: Question| Foreseen {
            now: ask(&record.service, &question),
            then: ask(supposed, &question),
            question,
        };
        questions.into_iter().map(each).collect()
    }

    /// What saving such a policy at `now` would cost.
    pub fn toll(&self, supposed: &Service, now: Timestamp) -> Toll {
        let (snapshot, mut toll, limits) = (self.snapshot(), Toll::default(), &supposed.policy.limits);
        // Whoever came without a rate is cut when there is one.
        let paces_newly = limits.pace() && snapshot.service(supposed.id).is_some_and(|now| !now.policy.limits.pace());
        let mut each: HashMap<_, u32> = HashMap::new();
        for (visitor, times) in self.0.audit.visitors_at(supposed.id) {
            toll.visits += times;
            if paces_newly || preview_visit(supposed, &visitor, &*snapshot, now).is_err() {
                toll.cut_visits += times;
            } else {
                let one = snapshot.accounts_of(&visitor).next().ok_or_else(|| prefix(visitor.source()));
                *each.entry(one).or_default() += times;
            }
        }
        toll.cut_visits += surplus(each.into_values(), limits);
        for session in snapshot.sessions_at(supposed.id).filter(|session| now < session.until) {
            let proofs = [Proof::Person(session.account), Proof::Session(session.id)];
            toll.sessions += 1;
            match preview(supposed, &proofs, &*snapshot, now) {
                // What they prove beside who they are is not known before they come.
                Ok(_) | Err(Denied::NeedsMore(_) | Denied::BudgetSpent { .. }) => {}
                Err(_) => toll.cut_sessions += 1,
            }
        }
        toll
    }
}

/// How many are too many, of so many for each.
fn surplus(each: impl Iterator<Item = u32>, limits: &Limits) -> u32 {
    let most = |limit: Option<std::num::NonZeroU32>| limit.map_or(u32::MAX, std::num::NonZeroU32::get);
    let (mut all, mut stay) = (0_u32, 0_u32);
    for visits in each {
        all = all.saturating_add(visits);
        stay = stay.saturating_add(visits.min(most(limits.connections_each)));
    }
    all - stay.min(most(limits.connections))
}

/// One source is an IPv4 address or an IPv6 /64.
fn prefix(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn of_more_than_may_be_there_the_rest_is_counted_once() {
        let limits = |connections, connections_each| Limits {
            connections: NonZeroU32::new(connections),
            connections_each: NonZeroU32::new(connections_each),
            ..Limits::default()
        };
        let table = [
            (0, 0, [3, 2, 1], 0),
            (4, 0, [3, 2, 1], 2),
            (0, 2, [3, 2, 1], 1),
            (0, 1, [3, 2, 1], 3),
            (2, 1, [3, 2, 1], 4),
            (100, 100, [3, 2, 1], 0),
        ];
        for (connections, each, visits, cut) in table {
            assert_eq!(surplus(visits.into_iter(), &limits(connections, each)), cut, "{connections} {each} {visits:?}");
        }
        assert_eq!(prefix("2001:db8::7:1".parse().unwrap()), prefix("2001:db8::8:2".parse().unwrap()));
        assert_ne!(prefix("2001:db8::1".parse().unwrap()), prefix("2001:db8:0:1::1".parse().unwrap()));
    }
}
