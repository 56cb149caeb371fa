//! Who comes with a password. There is one path for all, whatever the user name: the password's hash is looked up, and only
//! then is the name compared with that of the device whose it is.

use super::credential::Credential;
use super::host_keys::methods;
use super::session::{SshSession, Who};
use doorward_control::PasswordDigest;
use doorward_core::audit::Deed;
use doorward_core::ssh::Identity;
use jiff::Timestamp;
use russh::server::Auth;
use std::borrow::Cow;
use std::time::Instant;
use tracing::debug;

/// Far longer than any that is made here.
const LONGEST: usize = 256;

/// Asked of everybody whose key nobody knows. A guest has an invite and no password.
pub(super) fn question() -> Auth {
    Auth::Partial {
        name: Cow::Borrowed(""),
        instructions: Cow::Borrowed("With an invite, or without a password, press Enter."),
        prompts: Cow::Borrowed(&[(Cow::Borrowed("Password: "), false)]),
    }
}

/// The method stays open: OpenSSH asks again, and paramiko would otherwise ask for what russh does not hear, and hang.
fn wrong() -> Auth {
    Auth::Reject { proceed_with_methods: Some(methods()), partial_success: false }
}

fn count(answer: &'static str) {
    metrics::counter!("doorward_passwords_total", "entrance" => "ssh", "answer" => answer).increment(1);
}

impl SshSession {
    pub(super) fn prove_password(&mut self, user: &str, password: &str) -> Auth {
        let (attempts, source, now) = (&self.room.attempts, self.peer.ip(), Instant::now());
        if !attempts.may_try(source, user, now) {
            debug!("too many wrong SSH passwords: this one was not looked at");
            count("too-many");
            self.refuse("ssh-password-too-many");
            return wrong();
        }
        // Nobody's is hashed like anybody's.
        let digest = PasswordDigest::of(if password.len() <= LONGEST { password } else { "" });
        let found = Credential::of_password(&self.room.admission.control.snapshot(), user, digest);
        let Some(credential) = found else {
            attempts.was_wrong(source, user, now);
            count("wrong");
            self.refuse("ssh-password-wrong");
            return wrong();
        };
        attempts.was_right(source, user, now);
        count("right");
        match self.comes_in_by(user, credential) {
            Auth::Accept => Auth::Accept,
            Auth::Reject { .. } | Auth::Partial { .. } | Auth::UnsupportedMethod => wrong(),
        }
    }

    fn refuse(&self, why: &'static str) {
        let source = Some(self.peer.ip());
        self.room.admission.control.refused(Deed::SshPasswordRefused, source, None, why, Timestamp::now());
    }
}

impl SshSession {
    /// The sender that this connection is, as long as its device is there.
    pub(super) fn sender(&self) -> Option<Identity> {
        match &self.who {
            Who::Sender { device, port } => {
                let device = self.room.admission.control.snapshot().device(*device)?;
                Some(Identity::Sender { device: device.name.clone(), port: *port })
            }
            Who::Guest | Who::Device(_) | Who::Person(_) => None,
        }
    }
}
