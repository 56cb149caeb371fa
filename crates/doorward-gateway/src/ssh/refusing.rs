//! A refusal that is seen. OpenSSH shows of a refused `-R` that it was refused, never why: what a server has to say about
//! it comes in a terminal, which `-N` has not, or in a debug message, which only `-v` shows. What each client shows at any
//! time is the reason of a disconnection. So a connection that wanted this forward and nothing else is ended with the reason;
//! there was no use in it, and a client that tries again finds out when it is allowed.
//!
//! A client with a terminal asks for it in the same breath as for the forward. Whether there is more to read is therefore
//! how the two are told apart.

use super::greeting;
use super::session::{SshSession, Who};
use russh::Disconnect;
use russh::server::Session;
use std::time::Duration;

/// How long one breath is at most: of one segment that was lost, the rest comes after it.
const BREATH: Duration = Duration::from_millis(400);
/// What OpenSSH shows of a reason.
const MOST_SHOWN: usize = 400;
/// It shows no reason of a disconnection, but which forward was refused, if it is told so first.
const DROPBEAR: &[u8] = b"SSH-2.0-dropbear";

impl SshSession {
    pub(super) async fn refuse_forward(&mut self, host: &str, port: u32, why: &str, session: &mut Session) {
        let text = match self.who {
            Who::Guest => greeting::guest(&self.room, self.offered.as_ref(), self.refusal.as_deref()),
            // As whoever named no host wrote it.
            Who::Device(_) | Who::Person(_) if matches!(host, "" | "localhost") => {
                format!("-R {port} is refused: {why}")
            }
            Who::Device(_) | Who::Person(_) | Who::Sender { .. } => format!("-R {host}:{port} is refused: {why}"),
        };
        self.tell(text, session);
        let has_use = self.leaving.has_links() || !self.places.are_free();
        if has_use || self.shared.has_more(BREATH).await {
            return;
        }
        if session.remote_sshid().starts_with(DROPBEAR) {
            session.request_failure();
        }
        // OpenSSH writes what is not ASCII in numbers.
        let said = self.said.trim_end().replace('…', "...");
        let reason: String = format!("\n{said}").chars().take(MOST_SHOWN).collect();
        let _ = session.disconnect(Disconnect::ByApplication, &reason, "en");
    }
}
