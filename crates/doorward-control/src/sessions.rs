//! Sessions: opened, extended, ended. Each opening and extension is a decision of its own (`core::session`); its row is what
//! survives a restart, its entry in the snapshot what decisions look up.

mod approval;
mod first_comer;
mod lapse;
mod line;
mod opening;
mod ports;
mod rows;
mod sources;

pub use approval::ApprovalRequest;
pub(crate) use first_comer::FirstComers;
pub(crate) use lapse::{Uses, forget_old};
pub use line::{Line, Turn};
pub use opening::Opening;
pub use ports::{FirstComer, NoPort, SessionPlace, SessionReach, Straight};
pub use rows::{SessionRange, SessionSummary, SessionsOf};
pub(crate) use rows::{load, load_one, uses};

use crate::store::{ChangeError, StoreError, words};
use crate::work::Work;
use crate::{Actor, Control};
use doorward_core::access::{Facts, NoVoice, Proof};
use doorward_core::audit::Deed;
use doorward_core::session::{Session, SessionEnd, SessionRefusal};
use doorward_core::{AccountId, ServiceId, SessionId};
use jiff::{SignedDuration, Timestamp};
use sqlx::Row;
use std::net::IpAddr;
use thiserror::Error;

use opening::{Manner, extend, open};

/// Somebody wants a service to be open for them.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    pub account: AccountId,
    pub service: ServiceId,
    pub length: SignedDuration,
    /// From where they ask, where that is known; noted as where they come from.
    pub source: Option<IpAddr>,
    /// The same request for the same service again gets the same session, however it fares.
    pub id: Option<String>,
    /// What they proved beside who they are: their login.
    pub proofs: Vec<Proof>,
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
    /// Not open yet: they stand in the line.
    #[error("somebody else has it; their place in the line is {}", .0.place)]
    InLine(Turn),
    /// Not open yet.
    #[error("it waits for approval, as request {}", .0.id)]
    AwaitsApproval(Box<ApprovalRequest>),
    #[error("{0}")]
    NoVoice(#[from] NoVoice),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError for SessionError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Refused(_)
            | Self::Unknown(_)
            | Self::Stale { .. }
            | Self::Invalid(_)
            | Self::InLine(_)
            | Self::AwaitsApproval(_)
            | Self::NoVoice(_) => None,
        }
    }
}

impl Control {
    /// One that is open already is extended, and never shortened.
    pub async fn open_session(&self, request: SessionRequest, now: Timestamp) -> Result<Session, SessionError> {
        self.request_session(request, now).await?.at_once()
    }

    /// The same. Where it cannot be open at once, they are given a place in the line, or consent is asked for.
    pub async fn request_session(&self, request: SessionRequest, now: Timestamp) -> Result<Opening, SessionError> {
        self.open_as(request, Manner::InTurn, now).await
    }

    /// From whoever has it, if the policy says that they may.
    pub async fn take_over(&self, request: SessionRequest, now: Timestamp) -> Result<Opening, SessionError> {
        self.open_as(request, Manner::TakingOver, now).await
    }

    async fn open_as(&self, request: SessionRequest, manner: Manner, now: Timestamp) -> Result<Opening, SessionError> {
        let (source, service) = (request.source, request.service);
        let opened = self.write(move |work| Box::pin(open(work, request, manner, None, now))).await;
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
        extended?.at_once()
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
                SessionRefusal::OthersWait => "others-wait",
                SessionRefusal::NoTakeOver => "no-take-over",
            };
            self.refused(Deed::SessionRefused, source, Some(service), word, now);
        }
    }
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

/// And whoever waited for it comes next.
async fn end(work: &mut Work, id: SessionId, how: SessionEnd, at: Timestamp) -> Result<(), StoreError> {
    let service = work.draft.session(id).and_then(|session| work.draft.service(session.service));
    end_quietly(work, id, how, at).await?;
    if let Some(service) = service.filter(|service| service.policy.exclusive.is_some()) {
        line::settle_line(work, &service, at).await?;
    }
    Ok(())
}

async fn end_quietly(work: &mut Work, id: SessionId, how: SessionEnd, at: Timestamp) -> Result<(), StoreError> {
    let ended = work.draft.session(id).cloned();
    sqlx::query(
        "UPDATE sessions SET ended_at = $1, ending = $2, ended_by = $3, version = version + 1 \
         WHERE id = $4 AND ended_at IS NULL",
    )
    .bind(words::time(at))
    .bind(rows::ending_word(how))
    .bind(hand(work, how).map(|account| account.0))
    .bind(id.0)
    .execute(work.connection())
    .await?;
    ports::release(work.connection(), id, at).await?;
    sources::forget(work.connection(), id).await?;
    work.refresh_session(id).await?;
    work.shared.uses.forget(id);
    let Some(ended) = ended else { return Ok(()) };
    let (subject, who) = names(work, &ended);
    work.write_down(Deed::SessionEnded, &subject, &format!("{who}, by {}", how.word()), at).await
}

/// Whose hand ended it.
fn hand(work: &Work, how: SessionEnd) -> Option<AccountId> {
    match (how, work.actor.as_deref()) {
        (SessionEnd::Hand | SessionEnd::TakenOver, Some(Actor::Person { account, .. })) => Some(*account),
        (SessionEnd::Hand | SessionEnd::TakenOver, Some(Actor::Owner) | None)
        | (SessionEnd::Time | SessionEnd::Idle | SessionEnd::Gone, _) => None,
    }
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
