//! Whoever comes first to a session's own port, where its person asked to wait for them: a phone that is at the portal by IPv6
//! and plays by IPv4, a console without a browser. Nothing was proved by them but that they came within a minute, so the
//! policy must allow it, it is asked for each time, and one alone is let in. A restart forgets who is waited for.

use super::SessionError;
use super::sources::room_for_another;
use crate::Control;
use doorward_core::SessionId;
use doorward_core::access::Facts;
use doorward_core::session::Source;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Until when each session waits.
#[derive(Debug, Default)]
pub(crate) struct FirstComers(Mutex<HashMap<SessionId, Timestamp>>);

const WAITS: SignedDuration = SignedDuration::from_secs(60);

impl FirstComers {
    fn table(&self) -> MutexGuard<'_, HashMap<SessionId, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Whoever comes to its port from elsewhere within a minute is its person. Says until when.
    pub fn await_first_comer(&self, id: SessionId, now: Timestamp) -> Result<Timestamp, SessionError> {
        let snapshot = self.snapshot();
        let session = snapshot.session(id).filter(|session| now < session.until);
        let session = session.ok_or_else(|| SessionError::Unknown(format!("session {id} that is open")))?;
        if !snapshot.service_record(session.service).is_some_and(|record| record.takes_first_comers()) {
            return Err(SessionError::Invalid(
                "the service's policy does not let a first comer in: its owner can set first-comer = true, for a service \
                 with session-port or pinhole"
                    .to_owned(),
            ));
        }
        room_for_another(&snapshot.approach(id).sources)?;
        let until = now.checked_add(WAITS).unwrap_or(now).min(session.until);
        let mut table = self.0.first_comers.table();
        table.retain(|_, until| now < *until);
        table.insert(id, until);
        Ok(until)
    }

    /// Until when its port waits for somebody.
    pub fn awaits_first_comer(&self, id: SessionId, now: Timestamp) -> Option<Timestamp> {
        self.0.first_comers.table().get(&id).copied().filter(|until| now < *until)
    }

    /// Somebody came to its port who is not known there. Whether they are its person from now on.
    pub async fn is_first_comer(&self, id: SessionId, from: IpAddr, now: Timestamp) -> bool {
        let is_awaited = self.0.first_comers.table().remove(&id).is_some_and(|until| now < until);
        is_awaited
            && self
                .write(move |work| Box::pin(super::sources::first_comer(work, id, Source::of(from), now)))
                .await
                .is_ok()
    }
}
