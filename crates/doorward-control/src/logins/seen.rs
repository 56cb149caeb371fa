//! When each login was last seen, and those whose time is over. That it is over needs nobody to see it: decisions do. Here
//! it is tidied away.

use super::end;
use crate::Control;
use crate::store::{StoreError, words};
use crate::work::Work;
use doorward_core::LoginId;
use doorward_core::access::Facts;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// In memory; it reaches the store with the housekeeping.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Times>);

#[derive(Default)]
struct Times {
    last: HashMap<LoginId, Timestamp>,
    to_store: BTreeSet<LoginId>,
}

impl Seen {
    pub(crate) fn remember(&self, stored: Vec<(LoginId, Timestamp)>) {
        self.times().last.extend(stored);
    }

    pub(super) fn forget(&self, id: LoginId) {
        let mut times = self.times();
        times.last.remove(&id);
        times.to_store.remove(&id);
    }

    pub(super) fn last(&self, id: LoginId) -> Option<Timestamp> {
        self.times().last.get(&id).copied()
    }

    fn note(&self, id: LoginId, at: Timestamp) {
        let mut times = self.times();
        times.last.insert(id, at);
        times.to_store.insert(id);
    }

    fn take_to_store(&self) -> Vec<(LoginId, Timestamp)> {
        let mut times = self.times();
        let ids = std::mem::take(&mut times.to_store);
        ids.into_iter().filter_map(|id| Some((id, *times.last.get(&id)?))).collect()
    }

    fn put_back(&self, taken: &[(LoginId, Timestamp)]) {
        self.times().to_store.extend(taken.iter().map(|(id, _)| *id));
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Somebody came by it. Never waits.
    pub fn login_seen(&self, id: LoginId, now: Timestamp) {
        if self.snapshot().login(id).is_some() {
            self.0.seen.note(id, now);
        }
    }

    pub(crate) async fn store_logins_seen(&self) -> Result<(), StoreError> {
        let taken = self.0.seen.take_to_store();
        if taken.is_empty() {
            return Ok(());
        }
        let to_store = taken.clone();
        let stored = self.write(move |work| Box::pin(store(work, to_store))).await;
        if stored.is_err() {
            self.0.seen.put_back(&taken);
        }
        stored
    }

    /// Writes only if there is something.
    pub(crate) async fn end_lapsed_logins(&self, now: Timestamp) -> Result<(), StoreError> {
        if !self.snapshot().logins().any(|login| login.until <= now) {
            return Ok(());
        }
        self.write(move |work| {
            Box::pin(async move {
                let lapsed = work.draft.logins().filter(|login| login.until <= now);
                let lapsed: Vec<_> = lapsed.map(|login| login.id).collect();
                for id in lapsed {
                    end(work, id, now).await?;
                }
                Ok::<_, StoreError>(())
            })
        })
        .await
    }
}

async fn store(work: &mut Work, seen: Vec<(LoginId, Timestamp)>) -> Result<(), StoreError> {
    for (id, at) in seen {
        sqlx::query("UPDATE logins SET seen_at = $1 WHERE id = $2")
            .bind(words::time(at))
            .bind(id.0)
            .execute(work.connection())
            .await?;
    }
    Ok(())
}
