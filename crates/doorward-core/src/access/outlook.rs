//! What a policy would answer to somebody who has not come: for people who look before they save. It asks what [`decide`](super::decide)
//! asks, of the same facts; what somebody could bring along is supposed: a password, a login with all that may be asked for, a session that was
//! agreed to and whose turn it is.

use super::{Coming, Denied, Facts, How, Need, Proof, Spent, Who, canonical, examine};
use crate::login::{Login, LoginKind};
use crate::names::Label;
use crate::person::factors::{Factor, Factors};
use crate::person::{Person, Role};
use crate::service::Service;
use crate::session::Session;
use crate::{AccountId, LoginId, ServiceId, SessionId};
use jiff::Timestamp;
use std::net::IpAddr;

/// Whoever might come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supposed {
    /// Who they are is not known.
    Stranger,
    /// Somebody with an account, in no group.
    Somebody,
    /// Somebody of this group alone.
    MemberOf(Label),
    Person(AccountId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// As they come; until then, if there is an end.
    Yes(Option<Timestamp>),
    /// Who knows a password of the policy.
    WithPassword(Option<Timestamp>),
    /// Who opens a session then: at most until then.
    InSession(Option<Timestamp>),
    No(Denied),
}

impl Outlook {
    pub fn is_no(&self) -> bool {
        match self {
            Self::No(_) => true,
            Self::Yes(_) | Self::WithPassword(_) | Self::InSession(_) => false,
        }
    }
}

/// No stored thing has a number below 1.
const NOBODY_YET: AccountId = AccountId(-1);
const NOT_OPENED_YET: SessionId = SessionId(-1);
const NOT_BEGUN_YET: LoginId = LoginId(-1);

/// Facts as they would be.
struct Were<'f> {
    facts: &'f dyn Facts,
    person: Option<Person>,
    session: Option<Session>,
    login: Option<Login>,
}

impl Facts for Were<'_> {
    fn person(&self, id: AccountId) -> Option<&Person> {
        if id == NOBODY_YET { self.person.as_ref() } else { self.facts.person(id) }
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        if id == NOT_OPENED_YET { self.session.as_ref() } else { self.facts.session(id) }
    }

    fn login(&self, id: LoginId) -> Option<&Login> {
        if id == NOT_BEGUN_YET { self.login.as_ref() } else { self.facts.login(id) }
    }

    fn holder(&self, service: ServiceId, now: Timestamp) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.id).or_else(|| self.facts.holder(service, now))
    }

    fn spent(&self, service: ServiceId) -> Option<&Spent> {
        self.facts.spent(service)
    }
}

/// What `service` would answer them at that moment. `source`: `None` where any address will do.
pub fn foresee(
    service: &Service,
    supposed: &Supposed,
    source: Option<IpAddr>,
    facts: &dyn Facts,
    at: Timestamp,
) -> Outlook {
    let (account, person) = match supposed {
        Supposed::Stranger => (None, None),
        Supposed::Somebody => (Some(NOBODY_YET), Some(newcomer(service, Vec::new()))),
        Supposed::MemberOf(group) => (Some(NOBODY_YET), Some(newcomer(service, vec![group.clone()]))),
        Supposed::Person(id) => (Some(*id), None),
    };
    let session = account.and_then(|account| opened(service, account, at));
    let password = password(service);
    let (wants_session, wants_password) = (session.is_some(), password.is_some());
    let login = account.map(|account| begun(account, &service.policy.needs, at));
    let session_proof = session.as_ref().map(|session| Proof::Session(session.id));
    let login_proof = login.as_ref().map(|login| Proof::Login(login.id));
    let proofs = account.map(Proof::Person).into_iter().chain(session_proof).chain(login_proof).chain(password);
    let facts = Were { facts, person, session, login };
    let coming = Coming { source: source.map(canonical), entrance: None };
    match examine(service, coming, &proofs.collect::<Vec<_>>(), &facts, at) {
        Err(why) => Outlook::No(why),
        Ok(end) if wants_password => Outlook::WithPassword(end.until),
        Ok(end) if wants_session => Outlook::InSession(end.until),
        Ok(end) => Outlook::Yes(end.until),
    }
}

/// Somebody whom the policy does not name.
fn newcomer(service: &Service, groups: Vec<Label>) -> Person {
    let named: &[Label] = match &service.policy.who {
        Who::People(named) => &named.people,
        Who::Nobody | Who::Public | Who::Password(_) | Who::Senders => &[],
    };
    let mut names = (0..).filter_map(|number| Label::parse(&format!("somebody-{number}")).ok());
    let name = names.find(|name| !named.contains(name)).expect("a policy names few of all names");
    Person {
        id: NOBODY_YET,
        name,
        title: String::new(),
        role: Role::Guest,
        created_at: Timestamp::MIN,
        ends_at: None,
        disabled_at: None,
        groups,
        version: 0,
    }
}

/// The longest that the policy allows, if it wants one.
fn opened(service: &Service, account: AccountId, at: Timestamp) -> Option<Session> {
    let max_duration = match service.policy.how {
        How::SignedIn => return None,
        How::OnRequest { max_duration, .. } => max_duration,
    };
    let until = at.checked_add(max_duration).unwrap_or(Timestamp::MAX);
    let approved_by = service.policy.approval.as_ref().map(|approval| approval.by.clone());
    Some(Session { id: NOT_OPENED_YET, service: service.id, account, opened_at: at, until, approved_by, version: 0 })
}

/// With whatever the policy asks for.
fn begun(account: AccountId, needs: &[Need], at: Timestamp) -> Login {
    let factors = needs.iter().fold(Factors::NONE, |factors, need| {
        factors.with(match need {
            Need::Totp => Factor::Totp,
            Need::Passkey => Factor::Passkey,
        })
    });
    let (kind, title) = (LoginKind::Browser, String::new());
    Login { id: NOT_BEGUN_YET, account, kind, factors, title, source: None, since: at, until: Timestamp::MAX }
}

fn password(service: &Service) -> Option<Proof> {
    match &service.policy.who {
        Who::Password(accepted) => accepted.first().cloned().map(Proof::Password),
        Who::Nobody | Who::Public | Who::People(_) | Who::Senders => None,
    }
}
