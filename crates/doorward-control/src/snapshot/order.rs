//! Services, devices and people in the order of their names, so that a piece of a list costs what it shows, however many
//! others there are: for all of them, and for each of those whom a service may be for.

use super::{Device, Group, ServiceRecord, Snapshot};
use doorward_core::access::Who;
use doorward_core::names::Label;
use doorward_core::person::Person;
use doorward_core::service::Standing;
use doorward_core::{AccountId, DeviceId, ServiceId};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync, RedBlackTreeSetSync};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Whom a service is in a list for. That it is let them in is for decisions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audience {
    /// Every service there is.
    All,
    /// Those that let everybody in.
    Public,
    Owner(AccountId),
    Person(Label),
    Group(Label),
    /// Those whose policy allows share links.
    Shareable,
}

/// The name of the device, and its own.
type Path = (String, String);

#[derive(Clone, Default)]
pub(super) struct Order {
    services: RedBlackTreeMapSync<(Audience, Path), ServiceId>,
    devices: RedBlackTreeMapSync<String, DeviceId>,
    devices_of: RedBlackTreeMapSync<(AccountId, String), DeviceId>,
    people: RedBlackTreeMapSync<String, AccountId>,
    members: HashTrieMapSync<Label, RedBlackTreeSetSync<Label>>,
    counts: Counts,
}

/// How many of them count now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Without those that were revoked.
    pub devices: usize,
    /// That are offered.
    pub services: usize,
}

impl Snapshot {
    /// In the order of device and name. `after`: from where on.
    pub fn services_for(
        &self,
        audience: Audience,
        after: Option<(&str, &str)>,
    ) -> impl Iterator<Item = Arc<ServiceRecord>> {
        let from = match after {
            Some((device, name)) => Bound::Excluded((audience.clone(), (device.to_owned(), name.to_owned()))),
            None => Bound::Included((audience.clone(), Path::default())),
        };
        let theirs =
            self.order.services.range((from, Bound::Unbounded)).take_while(move |((of, _), _)| *of == audience);
        theirs.filter_map(|(_, id)| self.service_record(*id))
    }

    /// By their name, or by a group that they are in, in the order of their ids. Whether they may use them now is for decisions.
    pub fn services_naming(&self, person: &Person) -> impl Iterator<Item = Arc<ServiceRecord>> + use<> {
        let groups = person.groups.iter().cloned().map(Audience::Group);
        let audiences = std::iter::once(Audience::Person(person.name.clone())).chain(groups);
        let named = audiences.flat_map(|audience| self.services_for(audience, None));
        let by_id: BTreeMap<_, _> = named.map(|record| (record.service.id, record)).collect();
        by_id.into_values()
    }

    /// Whose policy allows share links.
    pub fn shareable_services(&self) -> impl Iterator<Item = Arc<ServiceRecord>> + '_ {
        self.services_for(Audience::Shareable, None)
    }

    /// In the order of their names. `of`: whose; `None`: everybody's.
    pub fn devices_after(
        &self,
        of: Option<AccountId>,
        after: Option<&str>,
    ) -> Box<dyn Iterator<Item = Arc<Device>> + '_> {
        let name = after.unwrap_or_default().to_owned();
        match of {
            None => Box::new(self.order.devices.range(beyond(name, after)).filter_map(|(_, id)| self.device(*id))),
            Some(of) => {
                let theirs = self.order.devices_of.range(beyond((of, name), after));
                Box::new(theirs.take_while(move |((whose, _), _)| *whose == of).filter_map(|(_, id)| self.device(*id)))
            }
        }
    }

    /// In the order of their names.
    pub fn people_after(&self, after: Option<&str>) -> impl Iterator<Item = &Arc<Person>> {
        let people = self.order.people.range(beyond(after.unwrap_or_default().to_owned(), after));
        people.filter_map(|(_, id)| self.people.by_id.get(id))
    }

    pub fn counts(&self) -> Counts {
        self.order.counts
    }

    /// Their names, in order.
    pub fn members_of(&self, group: &Group) -> impl Iterator<Item = &Label> {
        self.order.members.get(&group.name).into_iter().flatten()
    }

    /// Whether a policy says this name, whoever it belongs to.
    pub fn is_name_in_policies(&self, name: &Label) -> bool {
        self.services_for(Audience::Person(name.clone()), None).next().is_some()
    }
}

fn beyond<K>(key: K, after: Option<&str>) -> (Bound<K>, Bound<K>) {
    let from = if after.is_some() { Bound::Excluded(key) } else { Bound::Included(key) };
    (from, Bound::Unbounded)
}

impl Order {
    pub(super) fn put_service(&mut self, record: &ServiceRecord) {
        self.counts.services += usize::from(record.service.standing == Standing::Offered);
        for key in keys(record) {
            self.services.insert_mut(key, record.service.id);
        }
    }

    pub(super) fn take_service(&mut self, record: &ServiceRecord) {
        self.counts.services -= usize::from(record.service.standing == Standing::Offered);
        for key in keys(record) {
            // Another may have taken the name over.
            if self.services.get(&key) == Some(&record.service.id) {
                self.services.remove_mut(&key);
            }
        }
    }

    pub(super) fn put_device(&mut self, device: &Device) {
        self.counts.devices += usize::from(device.revoked_at.is_none());
        self.devices.insert_mut(device.name.to_string(), device.id);
        self.devices_of.insert_mut((device.account, device.name.to_string()), device.id);
    }

    pub(super) fn take_device(&mut self, device: &Device) {
        self.counts.devices -= usize::from(device.revoked_at.is_none());
        let name = device.name.to_string();
        if self.devices.get(&name) == Some(&device.id) {
            self.devices.remove_mut(&name);
        }
        self.devices_of.remove_mut(&(device.account, name));
    }

    pub(super) fn put_person(&mut self, person: &Person) {
        self.people.insert_mut(person.name.to_string(), person.id);
        for group in &person.groups {
            let members = self.members.get(group).cloned().unwrap_or_else(RedBlackTreeSetSync::new_sync);
            self.members.insert_mut(group.clone(), members.insert(person.name.clone()));
        }
    }

    pub(super) fn take_person(&mut self, person: &Person) {
        self.people.remove_mut(person.name.as_str());
        for group in &person.groups {
            let Some(members) = self.members.get(group).map(|members| members.remove(&person.name)) else { continue };
            if members.is_empty() {
                self.members.remove_mut(group);
            } else {
                self.members.insert_mut(group.clone(), members);
            }
        }
    }
}

fn keys(record: &ServiceRecord) -> impl Iterator<Item = (Audience, Path)> {
    let service = &record.service;
    let mut audiences = vec![Audience::All, Audience::Owner(service.account)];
    match &service.policy.who {
        Who::Nobody | Who::Password(_) | Who::Senders => {}
        Who::Public => audiences.push(Audience::Public),
        Who::People(named) => {
            audiences.extend(named.people.iter().cloned().map(Audience::Person));
            audiences.extend(named.groups.iter().cloned().map(Audience::Group));
        }
    }
    audiences.extend(service.policy.sharing.map(|_| Audience::Shareable));
    let path = (service.device_name.to_string(), service.name.to_string());
    audiences.into_iter().map(move |audience| (audience, path.clone()))
}
