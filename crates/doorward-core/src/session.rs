//! Sessions: a service opened for one person, for a while. Opening one and extending it are decisions: would this person
//! be let in, were it open?

mod source;

pub use source::{MOST_SOURCES, Source, SourceError};

use crate::access::{Coming, Denied, Facts, How, Proof, Spent, examine};
use crate::login::Login;
use crate::names::Label;
use crate::person::Person;
use crate::service::Service;
use crate::{AccountId, LoginId, ServiceId, SessionId};
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;
use thiserror::Error;

/// One that is open, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub service: ServiceId,
    pub account: AccountId,
    pub opened_at: Timestamp,
    /// An instant, so that nothing which happens meanwhile makes it longer.
    pub until: Timestamp,
    /// The group whose consent it has.
    pub approved_by: Option<Label>,
    pub version: i64,
}

/// What a session that is asked for is good for.
pub const USUAL_LENGTH: SignedDuration = SignedDuration::from_mins(30);
/// Shorter ones would be over before they are used.
pub const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SessionRefusal {
    #[error("{0}")]
    Denied(#[from] Denied),
    #[error("it needs no session: whoever its policy names comes in as it is")]
    NotNeeded,
    #[error("a session lasts some time: say how long, as 30m or 2h")]
    NoTime,
    #[error("others wait for it: it cannot be made longer")]
    OthersWait,
    #[error("it is not yours to take from somebody")]
    NoTakeOver,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// Its time ran out.
    Time,
    /// Somebody ended it.
    Hand,
    /// Nobody used it.
    Idle,
    /// Its person or its service went.
    Gone,
    /// Somebody took the service over.
    TakenOver,
}

impl SessionEnd {
    pub fn word(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Hand => "hand",
            Self::Idle => "idle",
            Self::Gone => "gone",
            Self::TakenOver => "taken-over",
        }
    }

    pub fn read(word: &str) -> Option<Self> {
        [Self::Time, Self::Hand, Self::Idle, Self::Gone, Self::TakenOver].into_iter().find(|end| end.word() == word)
    }
}

/// Facts as they would be with one more session, or with a longer one.
struct Were<'f> {
    facts: &'f dyn Facts,
    session: &'f Session,
}

impl Facts for Were<'_> {
    fn person(&self, id: AccountId) -> Option<&Person> {
        self.facts.person(id)
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        if id == self.session.id { Some(self.session) } else { self.facts.session(id) }
    }

    fn holder(&self, service: ServiceId, now: Timestamp) -> Option<SessionId> {
        self.facts.holder(service, now).or((service == self.session.service).then_some(self.session.id))
    }

    fn spent(&self, service: ServiceId) -> Option<&Spent> {
        self.facts.spent(service)
    }

    fn login(&self, id: LoginId) -> Option<&Login> {
        self.facts.login(id)
    }
}

/// `asked` as it is granted at `now`: never longer than policy, opening hours and account allow. For an extension `asked`
/// is the session with a later end; it keeps when it was opened, and so counts as a whole. `source`: from where it is
/// asked for, where that is known; `with`: what else its person proved. Each visit is asked anew in any case.
pub fn grant(
    service: &Service,
    asked: &Session,
    with: &[Proof],
    source: Option<IpAddr>,
    facts: &dyn Facts,
    now: Timestamp,
) -> Result<Session, SessionRefusal> {
    if asked.until.duration_since(now) < SHORTEST {
        return Err(SessionRefusal::NoTime);
    }
    let mut proofs = vec![Proof::Person(asked.account), Proof::Session(asked.id)];
    proofs.extend_from_slice(with);
    let coming = Coming { source, entrance: None };
    let end = examine(service, coming, &proofs, &Were { facts, session: asked }, now)?;
    match service.policy.how {
        How::SignedIn => Err(SessionRefusal::NotNeeded),
        How::OnRequest { .. } => Ok(Session { until: end.until.unwrap_or(asked.until), ..asked.clone() }),
    }
}
