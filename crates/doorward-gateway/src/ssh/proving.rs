//! Who it is, by key, certificate or password. But for a password's device the user name says nothing about that, and no answer depends on it.

use super::credential::{Credential, read_certificate};
use super::handler::read;
use super::session::{Known, SshSession};
use doorward_control::{KeyFingerprint, SshStanding};
use doorward_core::audit::Deed;
use doorward_core::ssh::certificate::CertificateRefusal;
use jiff::Timestamp;
use russh::keys::{Algorithm, Certificate};
use russh::server::{Auth, PublicKeyOffer, VerifiedPublicKey};
use tracing::debug;

const TOO_MANY: &str = "as many SSH connections stand as one device or person may have at once";

impl SshSession {
    /// A key that nobody knows is refused at once, so that a client goes on to its next. One that a certificate is about
    /// looks the same with and without it here.
    pub(super) fn offers(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Auth {
        // SHA-1 proves nothing any more.
        if matches!(offer.algorithm, Algorithm::Rsa { hash: None }) {
            return Auth::reject();
        }
        let Some(key) = read(offer.public_key) else { return Auth::reject() };
        let (fingerprint, snapshot) = (KeyFingerprint::of(&key), self.room.admission.control.snapshot());
        match snapshot.ssh_standing(&fingerprint) {
            SshStanding::Device(_) | SshStanding::Person(_) => return Auth::Accept,
            SshStanding::Unknown | SshStanding::Refused => {}
        }
        self.offered.get_or_insert(key);
        if let Some(certified) = snapshot.ssh_certificates_of(&fingerprint).last() {
            if Timestamp::now() < certified.until {
                return Auth::Accept;
            }
            self.refusal.get_or_insert_with(|| CertificateRefusal::Over.to_string());
        }
        debug!(user, "an SSH key that nobody knows");
        Auth::reject()
    }

    pub(super) fn proves_key(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Auth {
        let Some(key) = read(key.public_key) else { return Auth::reject() };
        let fingerprint = KeyFingerprint::of(&key);
        match Credential::of_key(&self.room.admission.control.snapshot(), fingerprint) {
            Some(credential) => self.comes_in_by(user, credential),
            None => Auth::reject(),
        }
    }

    pub(super) fn shows_certificate(&mut self, user: &str, certificate: &Certificate) -> Auth {
        let Some(certificate) = read_certificate(certificate) else { return Auth::reject() };
        let (control, now) = (&self.room.admission.control, Timestamp::now());
        match Credential::of_certificate(&control.snapshot(), &certificate, self.peer.ip(), now) {
            Ok(credential) => self.comes_in_by(user, credential),
            Err(refusal) => {
                control.refused(Deed::VisitRefused, Some(self.peer.ip()), None, "ssh-certificate", now);
                self.refusal = Some(refusal.to_string());
                Auth::reject()
            }
        }
    }

    pub(super) fn comes_in_by(&mut self, user: &str, credential: Credential) -> Auth {
        let (who, until) = (credential.who(), credential.until());
        let share = self.room.strangers.ssh_share();
        let Some(places) = self.room.connections.came_in_by(self.number, credential.clone(), share) else {
            debug!(TOO_MANY);
            self.refusal = Some(TOO_MANY.to_owned());
            return Auth::reject();
        };
        if !credential.stands(&self.room.admission.control.snapshot()) {
            return Auth::reject();
        }
        self.places.share(places);
        self.who = who;
        user.clone_into(&mut self.user);
        self.known.send_replace(Known::Somebody { until });
        Auth::Accept
    }
}
