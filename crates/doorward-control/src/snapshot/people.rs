//! People, their groups and open sessions, as decisions look them up.

use super::{Protocol, Snapshot};
use crate::groups::Group;
use doorward_core::access::{Facts, Spent, Visitor};
use doorward_core::login::Login;
use doorward_core::names::Label;
use doorward_core::person::Person;
use doorward_core::service::Service;
use doorward_core::session::{Session, Source};
use doorward_core::share::Share;
use doorward_core::{AccountId, LoginId, ServiceId, SessionId, ShareId};
use jiff::Timestamp;
use rpds::{HashTrieMapSync, RedBlackTreeSetSync};
use std::net::IpAddr;
use std::sync::Arc;

/// How foreign software comes in by a session that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approach {
    pub sources: Vec<Source>,
    /// Its own, in public.
    pub port: Option<(Protocol, u16)>,
}

#[derive(Clone, Default)]
pub(super) struct People {
    pub(super) by_id: HashTrieMapSync<AccountId, Arc<Person>>,
    by_name: HashTrieMapSync<Label, AccountId>,
    groups: HashTrieMapSync<Label, Arc<Group>>,
    sessions: HashTrieMapSync<SessionId, Arc<Session>>,
    /// Open ones. A person has few, of each service one.
    sessions_of: HashTrieMapSync<AccountId, Arc<Vec<SessionId>>>,
    /// The same by service, the first opened first.
    sessions_at: RedBlackTreeSetSync<(ServiceId, SessionId)>,
    approaches: HashTrieMapSync<SessionId, Arc<Approach>>,
    sessions_by_port: HashTrieMapSync<(Protocol, u16), SessionId>,
    sessions_from: RedBlackTreeSetSync<(Source, SessionId)>,
}

impl Facts for Snapshot {
    fn person(&self, id: AccountId) -> Option<&Person> {
        self.people.by_id.get(&id).map(Arc::as_ref)
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        self.people.sessions.get(&id).map(Arc::as_ref)
    }

    /// Whoever opened it first. There are more only where it was for several at once before.
    fn holder(&self, service: ServiceId, now: Timestamp) -> Option<SessionId> {
        self.sessions_at(service).find(|session| now < session.until).map(|session| session.id)
    }

    fn spent(&self, service: ServiceId) -> Option<&Spent> {
        self.spent.get(&service)
    }

    fn login(&self, id: LoginId) -> Option<&Login> {
        self.logins.by_id.get(&id).map(|record| &record.login)
    }

    fn share(&self, id: ShareId) -> Option<&Share> {
        self.shares.by_id.get(&id).map(|record| &record.share)
    }

    fn lets_in(&self, token: LoginId, service: ServiceId) -> bool {
        self.token_limits(token).is_some_and(|limits| limits.let_in(service))
    }

    fn is_source_of(&self, session: SessionId, source: IpAddr) -> bool {
        self.approach(session).sources.iter().any(|known| known.covers(source))
    }
}

impl Snapshot {
    pub fn person_by_name(&self, name: &Label) -> Option<&Arc<Person>> {
        self.people.by_id.get(self.people.by_name.get(name)?)
    }

    pub fn people(&self) -> impl Iterator<Item = &Arc<Person>> {
        self.people.by_id.values()
    }

    pub fn group_by_name(&self, name: &Label) -> Option<&Arc<Group>> {
        self.people.groups.get(name)
    }

    /// How many there are.
    pub fn headcount(&self) -> usize {
        self.people.by_id.size()
    }

    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.people.groups.values()
    }

    /// That were not ended; the time of some may be over.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.people.sessions.values()
    }

    pub fn sessions_of(&self, account: AccountId) -> impl Iterator<Item = &Arc<Session>> {
        let theirs = self.people.sessions_of.get(&account).map(|list| list.as_slice()).unwrap_or_default();
        theirs.iter().filter_map(|id| self.people.sessions.get(id))
    }

    /// Of whomever, the first opened first.
    pub fn sessions_at(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Session>> {
        let there = self.people.sessions_at.range((service, SessionId(0))..=(service, SessionId(i64::MAX)));
        there.filter_map(|(_, id)| self.people.sessions.get(id))
    }

    /// What this person opened of this service.
    pub fn session_for(&self, account: AccountId, service: ServiceId) -> Option<&Arc<Session>> {
        self.sessions_of(account).find(|session| session.service == service)
    }

    pub fn approach(&self, session: SessionId) -> &Approach {
        static NONE: Approach = Approach { sources: Vec::new(), port: None };
        self.people.approaches.get(&session).map_or(&NONE, Arc::as_ref)
    }

    /// Whether the person of any open session comes from there.
    pub fn is_anybodys_source(&self, source: Source, now: Timestamp) -> bool {
        let range = (source, SessionId(0))..=(source, SessionId(i64::MAX));
        let mut sessions = self.people.sessions_from.range(range).filter_map(|(_, id)| self.session(*id));
        sessions.any(|session| now < session.until)
    }

    /// The ports of sessions to listen on.
    pub fn session_ports(&self) -> impl Iterator<Item = (Protocol, u16)> + '_ {
        self.people
            .sessions_by_port
            .keys()
            .copied()
            .filter(|(protocol, port)| self.at_session_port(*protocol, *port).is_some())
    }

    /// Whose port it is, and where it leads.
    pub fn at_session_port(&self, protocol: Protocol, port: u16) -> Option<(Arc<Service>, SessionId)> {
        let id = *self.people.sessions_by_port.get(&(protocol, port))?;
        let is_in_pool = self.site().session_ports.as_ref().is_some_and(|pool| pool.contains(&port));
        let record = self.service_record(self.session(id)?.service).filter(|_| is_in_pool)?;
        let is_led = record.has_session_ports() && record.protocol() == Some(protocol);
        is_led.then(|| (record.service.clone(), id))
    }

    /// Who a visitor is, by a credential of their own, by a login, or by the port of a session.
    pub fn accounts_of<'v>(&'v self, visitor: &'v Visitor) -> impl Iterator<Item = AccountId> + 'v {
        let by_login = visitor.logins().filter_map(|id| self.login(id)).map(|login| login.account);
        let by_port = visitor.ports().filter_map(|id| self.session(id)).map(|session| session.account);
        visitor.people().chain(by_login).chain(by_port)
    }

    pub fn shared_person(&self, id: AccountId) -> Option<Arc<Person>> {
        self.people.by_id.get(&id).cloned()
    }

    pub(crate) fn put_person(&mut self, person: Person) {
        if let Some(before) = self.shared_person(person.id) {
            self.order.take_person(&before);
            // The first owner chooses a name, once.
            if before.name != person.name {
                self.people.by_name.remove_mut(&before.name);
            }
        }
        self.order.put_person(&person);
        self.people.by_name.insert_mut(person.name.clone(), person.id);
        self.people.by_id.insert_mut(person.id, Arc::new(person));
    }

    pub(crate) fn remove_person(&mut self, id: AccountId) {
        if let Some(person) = self.shared_person(id) {
            self.order.take_person(&person);
            self.people.by_name.remove_mut(&person.name);
            self.people.by_id.remove_mut(&id);
        }
    }

    pub(crate) fn put_group(&mut self, group: Group) {
        self.people.groups.insert_mut(group.name.clone(), Arc::new(group));
    }

    pub(crate) fn remove_group(&mut self, name: &Label) {
        self.people.groups.remove_mut(name);
    }

    pub(crate) fn put_session(&mut self, session: Session, approach: Approach) {
        let (id, account) = (session.id, session.account);
        self.take_approach(id);
        if let Some(port) = approach.port {
            self.people.sessions_by_port.insert_mut(port, id);
        }
        for source in &approach.sources {
            self.people.sessions_from.insert_mut((*source, id));
        }
        self.people.approaches.insert_mut(id, Arc::new(approach));
        self.people.sessions_at.insert_mut((session.service, id));
        if self.people.sessions.get(&id).is_none() {
            let mut theirs = self.people.sessions_of.get(&account).map(|list| list.to_vec()).unwrap_or_default();
            theirs.push(id);
            self.people.sessions_of.insert_mut(account, Arc::new(theirs));
        }
        self.people.sessions.insert_mut(id, Arc::new(session));
    }

    pub(crate) fn remove_session(&mut self, id: SessionId) {
        let Some(session) = self.people.sessions.get(&id).cloned() else { return };
        self.take_approach(id);
        let mut theirs = self.people.sessions_of.get(&session.account).map(|list| list.to_vec()).unwrap_or_default();
        theirs.retain(|other| *other != id);
        if theirs.is_empty() {
            self.people.sessions_of.remove_mut(&session.account);
        } else {
            self.people.sessions_of.insert_mut(session.account, Arc::new(theirs));
        }
        self.people.sessions.remove_mut(&id);
        self.people.sessions_at.remove_mut(&(session.service, id));
    }

    fn take_approach(&mut self, id: SessionId) {
        for source in self.approach(id).sources.clone() {
            self.people.sessions_from.remove_mut(&(source, id));
        }
        if let Some(port) = self.approach(id).port.filter(|port| self.people.sessions_by_port.get(port) == Some(&id)) {
            self.people.sessions_by_port.remove_mut(&port);
        }
        self.people.approaches.remove_mut(&id);
    }
}
