//! Sessions that end by themselves: their time is over, nobody uses them, or what they were for is gone. That the time is
//! over needs nobody to see it: decisions do. Here it is written down.

use super::end;
use crate::Control;
use crate::snapshot::Snapshot;
use crate::store::{StoreError, words};
use crate::work::Work;
use doorward_core::SessionId;
use doorward_core::access::{Denied, Facts, How, Proof, preview};
use doorward_core::service::Service;
use doorward_core::session::{Session, SessionEnd};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// When each open session was last used. In memory; it reaches the store with the housekeeping.
#[derive(Default)]
pub(crate) struct Uses(Mutex<HashMap<SessionId, Use>>);

#[derive(Clone, Copy)]
struct Use {
    at: Timestamp,
    is_stored: bool,
}

/// How long what is over is remembered.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

impl Uses {
    pub(crate) fn remember(&self, stored: Vec<(SessionId, Timestamp)>) {
        self.table().extend(stored.into_iter().map(|(id, at)| (id, Use { at, is_stored: true })));
    }

    pub(super) fn note(&self, id: SessionId, at: Timestamp) {
        self.table().insert(id, Use { at, is_stored: false });
    }

    pub(super) fn forget(&self, id: SessionId) {
        self.table().remove(&id);
    }

    pub(super) fn last(&self, id: SessionId) -> Option<Timestamp> {
        self.table().get(&id).map(|used| used.at)
    }

    fn to_store(&self) -> Vec<(SessionId, Timestamp)> {
        self.table().iter().filter(|(_, used)| !used.is_stored).map(|(id, used)| (*id, used.at)).collect()
    }

    fn stored(&self, stored: &[(SessionId, Timestamp)]) {
        let mut table = self.table();
        for (id, at) in stored {
            if let Some(used) = table.get_mut(id).filter(|used| used.at == *at) {
                used.is_stored = true;
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<SessionId, Use>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Somebody does something in it. Never waits.
    pub fn session_used(&self, id: SessionId, now: Timestamp) {
        if self.snapshot().session(id).is_some() {
            self.0.uses.note(id, now);
        }
    }

    /// Ends what is to end. Writes only if there is something.
    pub async fn end_lapsed_sessions(&self, now: Timestamp) -> Result<(), StoreError> {
        let snapshot = self.snapshot();
        if !snapshot.sessions().any(|session| self.lapse(session, now).is_some()) {
            return Ok(());
        }
        let control = self.clone();
        self.write(move |work| {
            Box::pin(async move {
                // Once more, in the writer's seat: somebody may have extended one meanwhile.
                let open: Vec<_> = work.draft.sessions().cloned().collect();
                for session in open {
                    if let Some((how, at)) = control.lapse(&session, now) {
                        end(work, session.id, how, at).await?;
                    }
                }
                Ok(())
            })
        })
        .await
    }

    fn lapse(&self, session: &Session, now: Timestamp) -> Option<(SessionEnd, Timestamp)> {
        let snapshot = self.snapshot();
        if session.until <= now {
            return Some((SessionEnd::Time, session.until));
        }
        let Some(service) = snapshot.service(session.service) else { return Some((SessionEnd::Gone, now)) };
        if service.policy.exclusive.is_some() && is_in_the_way(&service, session, &snapshot, now) {
            return Some((SessionEnd::Gone, now));
        }
        let How::OnRequest { max_idle: Some(max_idle), .. } = service.policy.how else { return None };
        let used = self.0.uses.last(session.id).unwrap_or(session.opened_at);
        (now.duration_since(used) >= max_idle).then_some((SessionEnd::Idle, now))
    }

    pub(crate) async fn store_session_uses(&self) -> Result<(), StoreError> {
        let uses = self.0.uses.to_store();
        if uses.is_empty() {
            return Ok(());
        }
        let written = uses.clone();
        self.write(move |work| Box::pin(store(work, written))).await?;
        self.0.uses.stored(&uses);
        Ok(())
    }
}

/// Of no use to whoever has it, and nobody else can have it meanwhile.
fn is_in_the_way(service: &Service, session: &Session, snapshot: &Snapshot, now: Timestamp) -> bool {
    let proofs = [Proof::Person(session.account), Proof::Session(session.id)];
    match preview(service, &proofs, snapshot, now) {
        Ok(_) => false,
        Err(denied) => match denied {
            Denied::Nobody
            | Denied::NotOneOfThem
            | Denied::AccountDisabled
            | Denied::AccountEnded
            | Denied::SessionNeeded
            | Denied::SessionOver
            | Denied::ApprovalNeeded
            | Denied::InUse
            | Denied::DeviceRevoked => true,
            Denied::NotOffered
            | Denied::SourceNetwork
            | Denied::OtherSource
            | Denied::Closed { .. }
            | Denied::PasswordNeeded
            | Denied::NotASender
            | Denied::LoginOver
            | Denied::ShareOver
            | Denied::NeedsMore(_)
            | Denied::BudgetSpent { .. }
            | Denied::ReadOnly
            | Denied::Full => false,
        },
    }
}

async fn store(work: &mut Work, uses: Vec<(SessionId, Timestamp)>) -> Result<(), StoreError> {
    for (id, at) in uses {
        sqlx::query("UPDATE sessions SET used_at = $1 WHERE id = $2")
            .bind(words::time(at))
            .bind(id.0)
            .execute(work.connection())
            .await?;
    }
    Ok(())
}

pub(crate) async fn forget_old(work: &mut Work, now: Timestamp) -> Result<(), StoreError> {
    let kept = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    super::approval::forget_old(work, kept).await?;
    sqlx::query("DELETE FROM sessions WHERE ended_at < $1").bind(words::time(kept)).execute(work.connection()).await?;
    Ok(())
}
