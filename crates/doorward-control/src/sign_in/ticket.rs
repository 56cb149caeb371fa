//! What one page hands to the next through the browser: sealed, for one purpose, for some minutes. So a restart between the two loses nothing,
//! and nothing waits here for somebody who does not come back.

use crate::Control;
use doorward_core::Secret;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Ticket<T> {
    until: Timestamp,
    what: T,
}

const LONGEST: usize = 8 * 1024;

impl Control {
    /// `purpose`: a ticket for one is none for another.
    pub(crate) fn seal_ticket<T: Serialize>(
        &self,
        purpose: &str,
        what: &T,
        now: Timestamp,
        length: SignedDuration,
    ) -> Secret<String> {
        let until = now.checked_add(length).unwrap_or(now);
        let text =
            Secret::new(serde_json::to_vec(&Ticket { until, what }).expect("tickets hold nothing but plain values"));
        Secret::new(self.0.seal.seal(purpose, text.expose()))
    }

    /// `None`: it is none of ours, for something else, or too old.
    pub(crate) fn open_ticket<T: DeserializeOwned>(
        &self,
        purpose: &str,
        ticket: &Secret<String>,
        now: Timestamp,
    ) -> Option<T> {
        let text = ticket.expose();
        if text.len() > LONGEST {
            return None;
        }
        let opened = self.0.seal.open(purpose, text).ok()?;
        let ticket: Ticket<T> = serde_json::from_slice(opened.expose()).ok()?;
        (now < ticket.until).then_some(ticket.what)
    }
}
