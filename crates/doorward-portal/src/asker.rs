//! Who asks for what. Every route of the API names its [`Action`]; nothing reaches a handler that the table
//! (`core::authority`) refuses to everybody of this role, and a handler gets at objects through the [`Asker`] alone, so that what
//! somebody may not know looks like what is not there.

use crate::PortalState;
use crate::answer::Problem;
use crate::caller::{Caller, SignedIn};
use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use doorward_control::{ApprovalRequest, Audience, Device, ServiceRecord, SessionsOf, Snapshot};
use doorward_core::access::{Facts, Proof, preview};
use doorward_core::authority::{Action, Reach, Relation, TokenLimits, is_for_tokens, may, reach};
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use doorward_core::session::Session;
use doorward_core::{AccountId, ApprovalId, LoginId, ServiceId, SessionId};
use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) account: AccountId,
    /// By which they are signed in, if that is how they come.
    login: Option<LoginId>,
    role: Role,
    /// Of a token; `None`: whatever this person may do.
    limits: Option<TokenLimits>,
    action: Action,
}

const NOT_FOR_TOKENS: &str = "no token may do it: do it signed in at the portal, or on the gateway's machine";

/// Before every handler of the API.
pub(crate) async fn keep_to_the_table(action: Action, mut request: Request, next: Next) -> Response {
    let Some(asker) = Asker::of(&request, action) else { return sign_in_first() };
    if reach(asker.role, action) == Reach::Nothing {
        let what = format!("this is not for a {}", asker.role.word());
        return Problem::new(StatusCode::FORBIDDEN, what, "ask whoever runs the gateway").into_response();
    }
    if asker.limits.as_ref().is_some_and(|limits| !limits.allow(action)) {
        let what = "this token is not for that";
        let remedy = if is_for_tokens(action) { "make one of a wider scope" } else { NOT_FOR_TOKENS };
        return Problem::new(StatusCode::FORBIDDEN, what, remedy).into_response();
    }
    request.extensions_mut().insert(asker);
    next.run(request).await
}

/// Whatever is there, a stranger hears the same.
pub(crate) fn sign_in_first() -> Response {
    let remedy = "sign in, or send an API token as `Authorization: Bearer …`";
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "nobody is signed in", remedy);
    let mut response = problem.into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"doorward\""));
    response
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        parts.extensions.get::<Self>().cloned().ok_or_else(sign_in_first)
    }
}

impl Asker {
    fn of(request: &Request, action: Action) -> Option<Self> {
        let caller = request.extensions().get::<Caller>()?;
        let limits = request.extensions().get::<TokenLimits>().cloned();
        Some(Self { account: caller.account(), login: caller.login(), role: caller.role(), limits, action })
    }

    /// Whoever looks at a page, where it does this. What is not for them looks like what is not there.
    pub(crate) fn at_page(signed_in: &SignedIn, action: Action) -> Result<Self, Problem> {
        if reach(signed_in.person.role, action) == Reach::Nothing {
            return Err(Problem::new(StatusCode::NOT_FOUND, "there is no such page", "go to the start page"));
        }
        Ok(Self::at_any_page(signed_in, action))
    }

    /// The same where others look, too, and see less.
    pub(crate) fn at_any_page(signed_in: &SignedIn, action: Action) -> Self {
        let (account, login) = (signed_in.person.id, Some(signed_in.login.id));
        Self { account, login, role: signed_in.person.role, limits: None, action }
    }

    /// Whether what this action is about is all of it for them.
    pub(crate) fn sees_everything(&self) -> bool {
        reach(self.role, self.action) == Reach::Everything && self.limits.as_ref().is_none_or(|l| l.services.is_none())
    }

    fn may(&self, relation: Relation) -> bool {
        may(self.role, relation, self.action)
    }

    pub(crate) fn gets_at_account(&self, account: AccountId) -> bool {
        self.may(if account == self.account { Relation::Own } else { Relation::Others })
    }

    pub(crate) fn gets_at_device(&self, device: &Device) -> bool {
        self.gets_at_account(device.account)
    }

    /// What belongs to a device: `of`: whose it is itself.
    pub(crate) fn gets_at_part_of(&self, device: &Device, of: Option<AccountId>) -> bool {
        let relation = if of == Some(self.account) {
            Relation::Own
        } else if device.account == self.account {
            Relation::OnOwnDevice
        } else {
            Relation::Others
        };
        self.may(relation)
    }

    pub(crate) fn gets_at_service(&self, snapshot: &Snapshot, record: &ServiceRecord, now: Timestamp) -> bool {
        self.covers(record) && self.may(self.relation_to(snapshot, record, now))
    }

    /// Whether its policy and its people are theirs to see.
    pub(crate) fn manages(&self, snapshot: &Snapshot, record: &ServiceRecord) -> bool {
        let is_bounded = self.limits.as_ref().is_some_and(|limits| limits.services.is_some());
        let relation = owned(self.account, snapshot, record).unwrap_or(Relation::Others);
        !is_bounded && may(self.role, relation, Action::SetAccess)
    }

    pub(crate) fn gets_at_session(&self, snapshot: &Snapshot, session: &Session) -> bool {
        let record = snapshot.service_record(session.service);
        if self.limits.as_ref().is_some_and(|limits| !limits.cover(session.service)) {
            return false;
        }
        let of_service = || record.as_deref().and_then(|record| owned(self.account, snapshot, record));
        let relation = if session.account == self.account {
            Relation::Own
        } else if of_service().is_some() {
            Relation::OnOwnDevice
        } else {
            Relation::Others
        };
        self.may(relation)
    }

    /// Whether they may open `record` for this person. That its policy lets the person in is for the decision.
    pub(crate) fn opens_for(&self, snapshot: &Snapshot, record: &ServiceRecord, person: &Person) -> bool {
        let relation = if person.id == self.account {
            Relation::Own
        } else if owned(self.account, snapshot, record).is_some() {
            Relation::OnOwnDevice
        } else {
            Relation::Others
        };
        self.covers(record) && self.may(relation)
    }

    /// From where somebody comes is seen, and not believed: owners alone may say it.
    pub(crate) fn names_addresses(&self, named: Vec<IpAddr>) -> Result<Vec<IpAddr>, Problem> {
        match self.role {
            Role::Owner => Ok(named),
            Role::Member | Role::Guest if named.is_empty() => Ok(named),
            Role::Member | Role::Guest => {
                Err(Problem::invalid("from: owners alone name addresses; that from which you ask is noted by itself"))
            }
        }
    }

    /// What they prove beside who they are, of what is asked for this account.
    pub(crate) fn proofs_for(&self, account: AccountId) -> Vec<Proof> {
        self.login.filter(|_| account == self.account).map(Proof::Login).into_iter().collect()
    }

    /// A request for consent: theirs, theirs to answer, or for something of theirs.
    pub(crate) fn gets_at_request(&self, snapshot: &Snapshot, request: &ApprovalRequest, now: Timestamp) -> bool {
        let record = snapshot.service_record(request.service);
        let is_bounded = self.limits.as_ref().is_some_and(|limits| !limits.cover(request.service));
        let answers = || {
            let approval = request.stands(snapshot, now);
            let person = snapshot.person(self.account);
            approval.zip(person).is_some_and(|(approval, person)| approval.hears(person, request.account, now).is_ok())
        };
        let relation = if request.account == self.account || answers() {
            Relation::Own
        } else if record.is_some_and(|record| owned(self.account, snapshot, &record).is_some()) {
            Relation::OnOwnDevice
        } else {
            Relation::Others
        };
        !is_bounded && self.may(relation)
    }

    /// A request by its number.
    pub(crate) async fn request(&self, state: &PortalState, id: ApprovalId) -> Result<(), Problem> {
        let (snapshot, now) = (state.control.snapshot(), (state.clock)());
        let requests = state.control.approval_requests(now).await?;
        let mut found = requests.iter().filter(|request| request.id == id);
        match found.next().filter(|request| self.gets_at_request(&snapshot, request, now)) {
            Some(_) => Ok(()),
            None => Err(Problem::unknown(format!("there is no request {id}"))),
        }
    }

    /// Whether they know that there is such a service.
    pub(crate) fn knows(&self, snapshot: &Snapshot, record: &ServiceRecord, now: Timestamp) -> bool {
        self.covers(record) && may(self.role, self.relation_to(snapshot, record, now), Action::ShowService)
    }

    fn covers(&self, record: &ServiceRecord) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.cover(record.service.id))
    }

    fn relation_to(&self, snapshot: &Snapshot, record: &ServiceRecord, now: Timestamp) -> Relation {
        let is_usable = || {
            let session = snapshot.session_for(self.account, record.service.id).map(|s| Proof::Session(s.id));
            let proofs: Vec<_> = std::iter::once(Proof::Person(self.account)).chain(session).collect();
            preview(&record.service, &proofs, snapshot, now).map_or_else(|denied| denied.is_of_theirs(), |_| true)
        };
        match owned(self.account, snapshot, record) {
            Some(relation) if may(self.role, relation, self.action) => relation,
            Some(_) | None if is_usable() => Relation::Usable,
            Some(relation) => relation,
            None => Relation::Others,
        }
    }

    /// A device by the name in a path.
    pub(crate) fn device(&self, snapshot: &Snapshot, name: &str) -> Result<Arc<Device>, Problem> {
        let found = Label::parse(name).ok().and_then(|label| snapshot.device_by_name(&label));
        let found = found.filter(|device| self.gets_at_device(device));
        found.ok_or_else(|| Problem::unknown(format!("there is no device \"{name}\"")))
    }

    /// A service by the names in a path.
    pub(crate) fn service(&self, state: &PortalState, path: (&str, &str)) -> Result<Arc<ServiceRecord>, Problem> {
        let snapshot = state.control.snapshot();
        let found = record(&snapshot, path).filter(|record| self.gets_at_service(&snapshot, record, (state.clock)()));
        found.ok_or_else(|| no_service(path))
    }

    /// A service that they know of, whatever they may do with it.
    pub(crate) fn known_service(&self, state: &PortalState, path: (&str, &str)) -> Result<Arc<ServiceRecord>, Problem> {
        let snapshot = state.control.snapshot();
        let found = record(&snapshot, path).filter(|record| self.knows(&snapshot, record, (state.clock)()));
        found.ok_or_else(|| no_service(path))
    }

    /// The services that they get at, in the order of device and name: `most` after that one.
    pub(crate) fn services(
        &self,
        snapshot: &Snapshot,
        after: Option<(&str, &str)>,
        most: usize,
        now: Timestamp,
    ) -> Vec<Arc<ServiceRecord>> {
        let is_theirs = |record: &Arc<ServiceRecord>| self.gets_at_service(snapshot, record, now);
        if self.sees_everything() {
            return snapshot.services_for(Audience::All, after).take(most).collect();
        }
        // Of each kind the first ones: all that could be among the first of them together.
        let mut found = BTreeMap::new();
        let path = |record: &ServiceRecord| (record.service.device_name.to_string(), record.service.name.to_string());
        for audience in self.audiences(snapshot) {
            let those = snapshot.services_for(audience, after).filter(is_theirs).take(most);
            found.extend(those.map(|record| (path(&record), record)));
        }
        let from = after.map(|(device, name)| (device.to_owned(), name.to_owned()));
        for device in snapshot.devices_after(Some(self.account), None) {
            let those = snapshot.services_of(device.id).filter(is_theirs).map(|record| (path(&record), record));
            found.extend(those.filter(|(path, _)| from.as_ref().is_none_or(|from| path > from)));
        }
        found.into_values().take(most).collect()
    }

    /// Whom a service could be for, so that it is for them. Those on their own devices are found by these.
    fn audiences(&self, snapshot: &Snapshot) -> impl Iterator<Item = Audience> + use<> {
        let person = snapshot.shared_person(self.account);
        let named = person.into_iter().flat_map(|person| {
            let groups = person.groups.clone().into_iter().map(Audience::Group);
            std::iter::once(Audience::Person(person.name.clone())).chain(groups)
        });
        [Audience::Public, Audience::Owner(self.account)].into_iter().chain(named)
    }

    /// A person by the name in a path.
    pub(crate) fn person(&self, snapshot: &Snapshot, name: &str) -> Result<Arc<Person>, Problem> {
        let found = Label::parse(name).ok().and_then(|label| snapshot.person_by_name(&label).cloned());
        found.filter(|person| self.gets_at_account(person.id)).ok_or_else(|| no_person(name))
    }

    /// Which sessions a list shows them.
    pub(crate) fn part_of_sessions(&self) -> SessionsOf {
        let services = self.limits.as_ref().and_then(|limits| limits.services.clone());
        let account = (!self.may(Relation::Others)).then_some(self.account);
        SessionsOf { account, on_their_devices: self.may(Relation::OnOwnDevice), services }
    }

    /// Whether they hear why a session was refused. To others forbidden looks like unknown.
    pub(crate) fn is_told_why(&self, snapshot: &Snapshot, service: ServiceId) -> bool {
        let record = snapshot.service_record(service);
        let relation = record.and_then(|record| owned(self.account, snapshot, &record)).unwrap_or(Relation::Usable);
        may(self.role, relation, Action::ShowService)
    }

    /// A session by its number, open or over.
    pub(crate) async fn session(&self, state: &PortalState, id: SessionId) -> Result<(), Problem> {
        let found = state.control.session_summary(id, (state.clock)()).await?;
        let snapshot = state.control.snapshot();
        match found {
            Some(found) if self.gets_at_session(&snapshot, &found.session) => Ok(()),
            Some(_) | None => Err(Problem::unknown(format!("there is no session {id}"))),
        }
    }
}

pub(crate) fn no_service((device, service): (&str, &str)) -> Problem {
    Problem::unknown(format!("there is no service \"{device}/{service}\""))
}

pub(crate) fn no_person(name: &str) -> Problem {
    Problem::unknown(format!("there is no person \"{name}\""))
}

fn record(snapshot: &Snapshot, (device, service): (&str, &str)) -> Option<Arc<ServiceRecord>> {
    let device = snapshot.device_by_name(&Label::parse(device).ok()?)?;
    snapshot.record_of(device.id, &Label::parse(service).ok()?)
}

pub(crate) fn owned(account: AccountId, snapshot: &Snapshot, record: &ServiceRecord) -> Option<Relation> {
    if record.service.account == account {
        return Some(Relation::Own);
    }
    let device = snapshot.device(record.service.device);
    device.filter(|device| device.account == account).map(|_| Relation::OnOwnDevice)
}
