//! Sessions: opened, extended, ended. Each opening and extension is a decision of its own (`core::session`); its row is what
//! survives a restart, its entry in the snapshot what decisions look up.

mod lapse;
mod rows;

pub(crate) use lapse::{Uses, forget_old};
pub use rows::SessionSummary;
pub(crate) use rows::{load, load_one, uses};

use crate::Control;
use crate::store::{ChangeError, StoreError, words};
use crate::work::Work;
use doorward_core::access::Facts;
use doorward_core::audit::Deed;
use doorward_core::person::Person;
use doorward_core::service::Service;
use doorward_core::session::{Session, SessionEnd, SessionRefusal, grant};
use doorward_core::{AccountId, ServiceId, SessionId};
use jiff::{SignedDuration, Timestamp};
use sqlx::Row;
use std::net::IpAddr;
use std::sync::Arc;
use thiserror::Error;

/// Somebody wants a service to be open for them.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    pub account: AccountId,
    pub service: ServiceId,
    pub length: SignedDuration,
    /// From where they ask, where that is known.
    pub source: Option<IpAddr>,
    /// The same request again gets the same session, however it fares.
    pub id: Option<String>,
}

#[derive(Debug, Error)]
pub enum SessionError {
    #[error("{0}")]
    Refused(#[from] SessionRefusal),
    #[error("there is no {0}")]
    Unknown(String),
    /// Somebody else changed it meanwhile: read it again.
    #[error("it was changed meanwhile; look at it again before changing it (its version is {current})")]
    Stale { current: i64 },
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError for SessionError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Refused(_) | Self::Unknown(_) | Self::Stale { .. } | Self::Invalid(_) => None,
        }
    }
}

const MAX_OPEN_OF_ONE: usize = 100;
const MAX_REQUEST_ID: usize = 100;

impl Control {
    /// One that is open already is extended, and never shortened.
    pub async fn open_session(&self, request: SessionRequest, now: Timestamp) -> Result<Session, SessionError> {
        let (source, service) = (request.source, request.service);
        let opened = self.write(move |work| Box::pin(open(work, request, now))).await;
        self.note_refusal(opened.as_ref().err(), source, service, now);
        opened
    }

    /// To end so long from now at most. `version`: what the caller saw, if it looked.
    pub async fn extend_session(
        &self,
        id: SessionId,
        length: SignedDuration,
        source: Option<IpAddr>,
        version: Option<i64>,
        now: Timestamp,
    ) -> Result<Session, SessionError> {
        let service = self.snapshot().session(id).map(|session| session.service);
        let extended = self.write(move |work| Box::pin(extend(work, id, length, source, version, now))).await;
        if let Some(service) = service {
            self.note_refusal(extended.as_ref().err(), source, service, now);
        }
        extended
    }

    /// Ending one that is over already is fine.
    pub async fn end_session(&self, id: SessionId, version: Option<i64>, now: Timestamp) -> Result<(), SessionError> {
        self.write(move |work| Box::pin(end_by_hand(work, id, version, now))).await
    }

    fn note_refusal(&self, error: Option<&SessionError>, source: Option<IpAddr>, service: ServiceId, now: Timestamp) {
        if let Some(SessionError::Refused(refusal)) = error {
            let word = match refusal {
                SessionRefusal::Denied(denied) => denied.word(),
                SessionRefusal::NotNeeded => "not-needed",
                SessionRefusal::NoTime => "no-time",
            };
            self.refused(Deed::SessionRefused, source, Some(service), word, now);
        }
    }
}

async fn open(work: &mut Work, request: SessionRequest, now: Timestamp) -> Result<Session, SessionError> {
    if let Some(id) = &request.id {
        if id.is_empty() || id.len() > MAX_REQUEST_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SessionError::Invalid("a request's id is 1 to 100 characters of ASCII without blanks".into()));
        }
        if let Some(known) = rows::of_request(work.connection(), request.account, id).await? {
            return Ok(known);
        }
    }
    let (person, service) = both(work, request.account, request.service)?;
    if let Some(held) = work.draft.session_for(person.id, service.id).cloned() {
        if now < held.until {
            return lengthen(work, &held, request.length, request.source, now).await;
        }
        end(work, held.id, SessionEnd::Time, held.until).await?;
    }
    if work.draft.sessions_of(person.id).filter(|session| now < session.until).count() >= MAX_OPEN_OF_ONE {
        return Err(SessionError::Invalid(format!("one person has {MAX_OPEN_OF_ONE} open sessions at most")));
    }
    let id = SessionId(work.next_id("session").await?);
    let until = after(now, request.length);
    let asked = Session { id, service: service.id, account: person.id, opened_at: now, until, version: 1 };
    let session = grant(&service, &asked, request.source, &work.draft, now)?;
    rows::insert(work.connection(), &session, request.id.as_deref(), now).await?;
    work.refresh_session(id).await?;
    write_down(work, Deed::SessionOpened, &session, request.source, now).await?;
    Ok(stored(work, id))
}

async fn extend(
    work: &mut Work,
    id: SessionId,
    length: SignedDuration,
    source: Option<IpAddr>,
    version: Option<i64>,
    now: Timestamp,
) -> Result<Session, SessionError> {
    let held = work.draft.session(id).filter(|session| now < session.until).cloned();
    let held = held.ok_or_else(|| SessionError::Unknown(format!("session {id} that is open")))?;
    if version.is_some_and(|seen| seen != held.version) {
        return Err(SessionError::Stale { current: held.version });
    }
    lengthen(work, &held, length, source, now).await
}

async fn lengthen(
    work: &mut Work,
    held: &Session,
    length: SignedDuration,
    source: Option<IpAddr>,
    now: Timestamp,
) -> Result<Session, SessionError> {
    let (_, service) = both(work, held.account, held.service)?;
    let asked = Session { until: after(now, length), ..held.clone() };
    let granted = grant(&service, &asked, source, &work.draft, now)?;
    if granted.until <= held.until {
        return Ok(held.clone());
    }
    sqlx::query("UPDATE sessions SET until = $1, used_at = $2, version = version + 1 WHERE id = $3")
        .bind(words::time(granted.until))
        .bind(words::time(now))
        .bind(held.id.0)
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.refresh_session(held.id).await?;
    work.shared.uses.note(held.id, now);
    write_down(work, Deed::SessionExtended, &granted, source, now).await?;
    Ok(stored(work, held.id))
}

/// As it rests, in whole milliseconds.
fn stored(work: &Work, id: SessionId) -> Session {
    work.draft.session(id).expect("it was just put there").clone()
}

async fn end_by_hand(work: &mut Work, id: SessionId, version: Option<i64>, now: Timestamp) -> Result<(), SessionError> {
    let row = sqlx::query("SELECT version, ended_at FROM sessions WHERE id = $1").bind(id.0);
    let row = row.fetch_optional(work.connection()).await.map_err(StoreError::from)?;
    let row = row.ok_or_else(|| SessionError::Unknown(format!("session {id}")))?;
    if row.try_get::<Option<i64>, _>("ended_at").map_err(StoreError::from)?.is_some() {
        return Ok(());
    }
    let current: i64 = row.try_get("version").map_err(StoreError::from)?;
    if version.is_some_and(|seen| seen != current) {
        return Err(SessionError::Stale { current });
    }
    Ok(end(work, id, SessionEnd::Hand, now).await?)
}

/// Whatever this person has open.
pub(crate) async fn end_all_of(work: &mut Work, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    let open: Vec<_> = work.draft.sessions_of(account).map(|session| session.id).collect();
    for id in open {
        end(work, id, SessionEnd::Gone, now).await?;
    }
    Ok(())
}

async fn end(work: &mut Work, id: SessionId, how: SessionEnd, at: Timestamp) -> Result<(), StoreError> {
    let ended = work.draft.session(id).cloned();
    sqlx::query(
        "UPDATE sessions SET ended_at = $1, ending = $2, version = version + 1 WHERE id = $3 AND ended_at IS NULL",
    )
    .bind(words::time(at))
    .bind(how.word())
    .bind(id.0)
    .execute(work.connection())
    .await?;
    work.refresh_session(id).await?;
    work.shared.uses.forget(id);
    let Some(ended) = ended else { return Ok(()) };
    let (subject, who) = names(work, &ended);
    work.write_down(Deed::SessionEnded, &subject, &format!("{who}, by {}", how.word()), at).await
}

async fn write_down(
    work: &mut Work,
    deed: Deed,
    session: &Session,
    source: Option<IpAddr>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (subject, who) = names(work, session);
    let detail = format!("{who} until {}", session.until);
    match source {
        Some(source) => work.write_down_from(deed, &subject, &detail, source, now).await,
        None => work.write_down(deed, &subject, &detail, now).await,
    }
}

fn names(work: &Work, session: &Session) -> (String, String) {
    let service = work.draft.service(session.service).map_or_else(|| session.service.to_string(), |s| s.path());
    let person = work.draft.shared_person(session.account).map_or_else(String::new, |person| person.name.to_string());
    (service, format!("session {} of {person}", session.id))
}

fn both(work: &Work, account: AccountId, service: ServiceId) -> Result<(Arc<Person>, Arc<Service>), SessionError> {
    let person = work.draft.shared_person(account);
    let person = person.ok_or_else(|| SessionError::Unknown(format!("person number {account}")))?;
    let service = work.draft.service(service);
    Ok((person, service.ok_or_else(|| SessionError::Unknown("such service".into()))?))
}

/// What nobody can wait for is as long as there are times.
fn after(now: Timestamp, length: SignedDuration) -> Timestamp {
    now.checked_add(length).unwrap_or(Timestamp::MAX)
}
