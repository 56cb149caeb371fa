//! Which services name a person: what their dashboard shows, however many others there are.

use super::{ServiceRecord, Snapshot};
use doorward_core::ServiceId;
use doorward_core::access::{Policy, Who};
use doorward_core::names::Label;
use doorward_core::person::Person;
use rpds::{HashTrieMapSync, HashTrieSetSync};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, Default)]
pub(super) struct Named {
    people: HashTrieMapSync<Label, HashTrieSetSync<ServiceId>>,
    groups: HashTrieMapSync<Label, HashTrieSetSync<ServiceId>>,
}

impl Snapshot {
    /// By their name, or by a group that they are in, in the order of their ids. Whether they may use them now is for decisions.
    pub fn services_naming(&self, person: &Person) -> impl Iterator<Item = Arc<ServiceRecord>> + '_ {
        let of_groups = person.groups.iter().filter_map(|group| self.named.groups.get(group));
        let sets = self.named.people.get(&person.name).into_iter().chain(of_groups);
        let ids: BTreeSet<_> = sets.flat_map(HashTrieSetSync::iter).copied().collect();
        ids.into_iter().filter_map(|id| self.service_record(id))
    }
}

impl Named {
    pub(super) fn put(&mut self, id: ServiceId, policy: &Policy) {
        let Some((people, groups)) = names(policy) else { return };
        people.iter().for_each(|name| enter(&mut self.people, name, id));
        groups.iter().for_each(|name| enter(&mut self.groups, name, id));
    }

    pub(super) fn take(&mut self, id: ServiceId, policy: &Policy) {
        let Some((people, groups)) = names(policy) else { return };
        people.iter().for_each(|name| leave(&mut self.people, name, id));
        groups.iter().for_each(|name| leave(&mut self.groups, name, id));
    }
}

fn names(policy: &Policy) -> Option<(&[Label], &[Label])> {
    match &policy.who {
        Who::People(named) => Some((&named.people, &named.groups)),
        Who::Nobody | Who::Public | Who::Password(_) | Who::Senders => None,
    }
}

fn enter(index: &mut HashTrieMapSync<Label, HashTrieSetSync<ServiceId>>, name: &Label, id: ServiceId) {
    let set = index.get(name).cloned().unwrap_or_default();
    index.insert_mut(name.clone(), set.insert(id));
}

fn leave(index: &mut HashTrieMapSync<Label, HashTrieSetSync<ServiceId>>, name: &Label, id: ServiceId) {
    let Some(set) = index.get(name).map(|set| set.remove(&id)) else { return };
    if set.is_empty() {
        index.remove_mut(name);
    } else {
        index.insert_mut(name.clone(), set);
    }
}
