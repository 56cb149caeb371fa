//! Questions that browsers are asked, until each is answered, once. A restart forgets them, and they are asked again.

use doorward_core::{AccountId, Secret};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use webauthn_rs::prelude::{DiscoverableAuthentication, PasskeyAuthentication, PasskeyRegistration};

#[derive(Default)]
pub(crate) struct Questions(Mutex<HashMap<String, (Instant, Asked)>>);

/// What is remembered of one.
pub(super) enum Asked {
    NewOf(AccountId, PasskeyRegistration),
    Anybody(DiscoverableAuthentication),
    SecondOf(AccountId, PasskeyAuthentication),
}

const MOST_ASKED: usize = 10_000;
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(300);
impl Questions {
    pub(super) fn ask(&self, asked: Asked, now: Instant) -> Secret<String> {
        let ticket = crate::welcomes::random_text();
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if questions.len() >= MOST_ASKED {
            questions.retain(|_, (at, _)| now.duration_since(*at) < ANSWERED_WITHIN);
        }
        if questions.len() >= MOST_ASKED {
            let oldest = questions.iter().min_by_key(|(_, (at, _))| *at).map(|(ticket, _)| ticket.clone());
            oldest.map(|oldest| questions.remove(&oldest));
        }
        questions.insert(ticket.expose().clone(), (now, asked));
        ticket
    }

    /// Once.
    pub(super) fn take(&self, ticket: &Secret<String>, now: Instant) -> Option<Asked> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket.expose());
        taken.filter(|(at, _)| now.duration_since(*at) < ANSWERED_WITHIN).map(|(_, asked)| asked)
    }
}
