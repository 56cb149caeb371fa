//! What becomes of a knock whose key fits: it counts once, then each service that it means is opened as its person would do at the
//! portal.

use super::HeldKey;
use crate::sessions::{Opening, SessionError, SessionRequest};
use crate::store::{ChangeError, StoreError, words};
use crate::work::Work;
use crate::{Actor, Control};
use doorward_core::audit::Deed;
use doorward_core::knock::{Knock, KnockRefusal, Nonce};
use doorward_core::person::PersonStanding;
use doorward_core::session::{SessionRefusal, Source, USUAL_LENGTH};
use doorward_core::{KnockKeyId, ServiceId};
use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteConnection;
use std::net::IpAddr;
use std::sync::Arc;
use thiserror::Error;

/// What came of it, service by service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knocked {
    pub open: usize,
    /// Somebody must agree, or has it before them.
    pub waiting: usize,
    /// By its policy, or because it is gone.
    pub refused: usize,
}

/// When and from where a packet came.
#[derive(Clone, Copy, Debug)]
pub struct KnockedAt {
    pub nonce: Nonce,
    pub from: IpAddr,
    pub now: Timestamp,
}

#[derive(Debug, Error)]
pub enum KnockError {
    #[error("{0}")]
    Refused(#[from] KnockRefusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError for KnockError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Refused(_) => None,
        }
    }
}

/// Of one key, within the window. Nobody means more.
const MOST_USES: i64 = 200;

impl Control {
    /// Takes a knock that its key opened.
    pub async fn knocked(&self, held: Arc<HeldKey>, knock: Knock, at: KnockedAt) -> Result<Knocked, KnockError> {
        let KnockedAt { from, now, .. } = at;
        let grounds = format!("knock key {}", held.name);
        let theirs = self.acting_as(Actor::Person { account: held.account, grounds, source: Some(from) });
        let taken = theirs.take_knock(&held, &knock, at).await;
        if let Err(KnockError::Refused(why)) = &taken {
            self.refused(Deed::KnockRefused, Some(from), None, why.word(), now);
        }
        taken?;
        self.0.doorstep.note(Source::of(from), now);
        let mut knocked = Knocked::default();
        for service in &held.services {
            theirs.open_knocked(&mut knocked, &held, *service, &knock, at).await?;
        }
        Ok(knocked)
    }

    async fn take_knock(&self, held: &Arc<HeldKey>, knock: &Knock, at: KnockedAt) -> Result<(), KnockError> {
        let window = self.site().knock.window;
        knock.judge(at.from, held.may_be_seen, window, at.now)?;
        let (held, sent_at) = (held.clone(), knock.sent_at);
        self.write(move |work| Box::pin(use_up(work, held, sent_at, at, window))).await
    }

    async fn open_knocked(
        &self,
        knocked: &mut Knocked,
        held: &HeldKey,
        id: ServiceId,
        knock: &Knock,
        at: KnockedAt,
    ) -> Result<(), KnockError> {
        let KnockedAt { from, now, .. } = at;
        let Some(service) = self.snapshot().service(id) else {
            knocked.refused += 1;
            return Ok(());
        };
        if !knock.means(&service.path()) {
            return Ok(());
        }
        let (account, length) = (held.account, knock.length.unwrap_or(USUAL_LENGTH));
        // A knock proves one thing: no second factor comes with it.
        let request = SessionRequest { account, service: id, length, source: Some(from), id: None, proofs: Vec::new() };
        match self.request_session(request, now).await {
            Ok(Opening::Open(_)) | Err(SessionError::Refused(SessionRefusal::NotNeeded)) => knocked.open += 1,
            Ok(Opening::InLine(_)) => knocked.waiting += 1,
            Ok(Opening::Asked(_)) => {
                knocked.waiting += 1;
                self.come_from_here_too(held, id, at).await?;
            }
            Err(SessionError::Store(error)) => return Err(error.into()),
            Err(
                SessionError::Refused(_)
                | SessionError::Unknown(_)
                | SessionError::Stale { .. }
                | SessionError::Invalid(_)
                | SessionError::InLine(_)
                | SessionError::AwaitsApproval(_)
                | SessionError::NoVoice(_),
            ) => knocked.refused += 1,
        }
        Ok(())
    }

    /// That somebody is asked to make it longer takes nothing from what is open.
    async fn come_from_here_too(&self, held: &HeldKey, service: ServiceId, at: KnockedAt) -> Result<(), StoreError> {
        let Some(session) = self.snapshot().session_for(held.account, service).cloned() else { return Ok(()) };
        match self.note_session_source(session.id, at.from, at.now).await {
            Err(SessionError::Store(error)) => Err(error),
            // It is over by now, or has addresses enough.
            Ok(())
            | Err(
                SessionError::Refused(_)
                | SessionError::Unknown(_)
                | SessionError::Stale { .. }
                | SessionError::Invalid(_)
                | SessionError::InLine(_)
                | SessionError::AwaitsApproval(_)
                | SessionError::NoVoice(_),
            ) => Ok(()),
        }
    }
}

/// In the writer's seat, so that of two that are the same one counts. Nonces are forgotten when another knock of that key is new
/// enough, never by a clock alone: whatever ours does, what was forgotten does not count again.
async fn use_up(
    work: &mut Work,
    held: Arc<HeldKey>,
    sent_at: Timestamp,
    at: KnockedAt,
    window: SignedDuration,
) -> Result<(), KnockError> {
    let person = work.draft.shared_person(held.account);
    let person = person.filter(|person| person.standing(at.now) == PersonStanding::Good);
    let person = person.ok_or(KnockRefusal::NobodyThere)?;
    note_use(work.connection(), held.id, sent_at, at, window).await?;
    work.write_down_from(Deed::Knocked, person.name.as_str(), held.name.as_str(), at.from, at.now).await?;
    Ok(())
}

async fn note_use(
    connection: &mut SqliteConnection,
    key: KnockKeyId,
    sent_at: Timestamp,
    at: KnockedAt,
    window: SignedDuration,
) -> Result<(), KnockError> {
    let before = sqlx::query_scalar("SELECT forgotten_before FROM knock_keys WHERE id = $1").bind(key.0);
    let before: Option<i64> = before.fetch_optional(&mut *connection).await.map_err(StoreError::from)?;
    if words::time(sent_at) < before.ok_or(KnockRefusal::NobodyThere)? {
        return Err(KnockRefusal::OtherTime { sent_at }.into());
    }
    forget(connection, key, at.now.checked_sub(window).unwrap_or(Timestamp::MIN)).await?;
    let uses = sqlx::query_scalar("SELECT COUNT(*) FROM knock_nonces WHERE knock_key = $1").bind(key.0);
    let uses: i64 = uses.fetch_one(&mut *connection).await.map_err(StoreError::from)?;
    if uses >= MOST_USES {
        return Err(KnockRefusal::TooOften.into());
    }
    const USE: &str = "INSERT INTO knock_nonces (knock_key, nonce, sent_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let used = sqlx::query(USE).bind(key.0).bind(words::hex(&at.nonce.0)).bind(words::time(sent_at));
    if used.execute(&mut *connection).await.map_err(StoreError::from)?.rows_affected() == 0 {
        return Err(KnockRefusal::Replayed.into());
    }
    let seen = sqlx::query("UPDATE knock_keys SET used_at = $1, used_from = $2 WHERE id = $3");
    let seen = seen.bind(words::time(at.now)).bind(at.from.to_canonical().to_string()).bind(key.0);
    seen.execute(connection).await.map_err(StoreError::from)?;
    Ok(())
}

async fn forget(connection: &mut SqliteConnection, key: KnockKeyId, before: Timestamp) -> Result<(), StoreError> {
    const LAST: &str = "SELECT MAX(sent_at) FROM knock_nonces WHERE knock_key = $1 AND sent_at < $2";
    let last = sqlx::query_scalar(LAST).bind(key.0).bind(words::time(before));
    let last: Option<i64> = last.fetch_one(&mut *connection).await?;
    let Some(last) = last else { return Ok(()) };
    let kept = sqlx::query("UPDATE knock_keys SET forgotten_before = $1 WHERE id = $2").bind(last + 1).bind(key.0);
    kept.execute(&mut *connection).await?;
    let gone = sqlx::query("DELETE FROM knock_nonces WHERE knock_key = $1 AND sent_at <= $2").bind(key.0).bind(last);
    gone.execute(connection).await?;
    Ok(())
}
