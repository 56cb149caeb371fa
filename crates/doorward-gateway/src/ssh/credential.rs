//! What one came in by. It counts as long as the snapshot says so, and a certificate no longer than it says itself.

use super::handler::read;
use super::session::Who;
use doorward_control::{KeyFingerprint, PasswordDigest, Snapshot, SshHolder, SshStanding};
use doorward_core::access::Facts;
use doorward_core::person::{Person, PersonStanding};
use doorward_core::ssh::Purpose;
use doorward_core::ssh::certificate::{Certificate, CertificateRefusal};
use doorward_core::{AccountId, DeviceId};
use jiff::Timestamp;
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    Key { key: KeyFingerprint, holder: SshHolder },
    Certificate { key: KeyFingerprint, serial: u64, person: AccountId, until: Timestamp },
    Password { digest: PasswordDigest, device: DeviceId, purpose: Purpose },
}

/// Who shares connections and channels with all others that are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    Holder(SshHolder),
    /// A sender has what is its own: it cannot use up what is its device's.
    Sender(PasswordDigest),
}

impl Credential {
    pub(super) fn of_key(snapshot: &Snapshot, key: KeyFingerprint) -> Option<Self> {
        holder_of(snapshot, &key).map(|holder| Self::Key { key, holder })
    }

    /// russh has verified whose signatures are under the certificate and under the request.
    pub(super) fn of_certificate(
        snapshot: &Snapshot,
        certificate: &Certificate,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Self, CertificateRefusal> {
        let (key, serial) = (KeyFingerprint::of(&certificate.key), certificate.serial);
        let known = snapshot.ssh_certificate(&key, serial).map(|known| &known.issued);
        let authority = snapshot.ssh_authority().ok_or(CertificateRefusal::Foreign)?;
        let certified = certificate.certifies(authority, known, source, now)?;
        let person = snapshot.person_by_name(&certified.person).filter(|person| is_good(person));
        let person = person.ok_or(CertificateRefusal::Revoked)?.id;
        Ok(Self::Certificate { key, serial, person, until: certified.until })
    }

    /// `user`: as the client calls itself.
    pub(super) fn of_password(snapshot: &Snapshot, user: &str, digest: PasswordDigest) -> Option<Self> {
        let (found, _) = snapshot.ssh_password(user, &digest)?;
        Some(Self::Password { digest, device: found.device, purpose: found.purpose })
    }

    pub(super) fn who(&self) -> Who {
        match self {
            Self::Key { holder: SshHolder::Person(person), .. } | Self::Certificate { person, .. } => {
                Who::Person(*person)
            }
            Self::Key { holder: SshHolder::Device(device), .. }
            | Self::Password { device, purpose: Purpose::Token, .. } => Who::Device(*device),
            Self::Password { device, purpose: Purpose::SenderKey { port }, .. } => {
                Who::Sender { device: *device, port: *port }
            }
        }
    }

    pub(super) fn bearer(&self) -> Bearer {
        match self {
            Self::Key { holder, .. } => Bearer::Holder(holder.clone()),
            Self::Certificate { person, .. } => Bearer::Holder(SshHolder::Person(*person)),
            Self::Password { device, purpose: Purpose::Token, .. } => Bearer::Holder(SshHolder::Device(*device)),
            Self::Password { digest, purpose: Purpose::SenderKey { .. }, .. } => Bearer::Sender(*digest),
        }
    }

    pub(super) fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Key { .. } | Self::Password { .. } => None,
            Self::Certificate { until, .. } => Some(*until),
        }
    }

    /// Whether it was not taken away since.
    pub(super) fn stands(&self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Key { key, holder } => holder_of(snapshot, key).as_ref() == Some(holder),
            Self::Certificate { key, serial, person, .. } => {
                let person = snapshot.person(*person).filter(|person| is_good(person));
                let known = snapshot.ssh_certificate(key, *serial);
                known.is_some_and(|known| person.is_some_and(|person| known.issued.person == person.name))
            }
            Self::Password { digest, .. } => snapshot.ssh_password_counts(digest),
        }
    }
}

/// Whose key it is now, if it counts.
fn holder_of(snapshot: &Snapshot, key: &KeyFingerprint) -> Option<SshHolder> {
    match snapshot.ssh_standing(key) {
        SshStanding::Device(device) => Some(SshHolder::Device(device.id)),
        SshStanding::Person(person) => is_good(&person).then_some(SshHolder::Person(person.id)),
        SshStanding::Refused | SshStanding::Unknown => None,
    }
}

fn is_good(person: &Person) -> bool {
    match person.standing(Timestamp::now()) {
        PersonStanding::Good => true,
        PersonStanding::Disabled | PersonStanding::Ended => false,
    }
}

/// `None`: it is about a key, or signed by one, of a kind that is not taken here.
pub(super) fn read_certificate(certificate: &russh::keys::Certificate) -> Option<Certificate> {
    let key = |data: &russh::keys::ssh_key::public::KeyData| read(&russh::keys::PublicKey::new(data.clone(), ""));
    let options = certificate.critical_options().iter();
    Some(Certificate {
        is_of_a_user: certificate.cert_type().is_user(),
        serial: certificate.serial(),
        key: key(certificate.public_key())?,
        signed_by: key(certificate.signature_key())?,
        principals: certificate.valid_principals().to_vec(),
        valid_after: certificate.valid_after(),
        valid_before: certificate.valid_before(),
        critical_options: options.map(|(name, value)| (name.clone(), value.clone())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::names::Label;
    use doorward_core::ssh::PublicKey;
    use doorward_core::ssh::certificate::Issued;
    use std::path::Path;
    use std::process::{Command, Stdio};

    fn keygen(directory: &Path, arguments: &[&str]) {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(arguments).current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(keygen.status().unwrap().success(), "{arguments:?}");
    }

    fn public(directory: &Path, file: &str) -> PublicKey {
        std::fs::read_to_string(directory.join(file)).unwrap().parse().unwrap()
    }

    /// What ssh-keygen makes with these options, signed by the very authority that counts, as russh reads it.
    #[test]
    fn what_ssh_keygen_signs_is_read_as_it_was_meant() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        keygen(here, &["-q", "-t", "ed25519", "-N", "", "-f", "ca"]);
        let table: [(&str, &[&str], Result<(), CertificateRefusal>); 8] = [
            ("ed25519", &["-n", "alex"], Ok(())),
            ("rsa", &["-n", "alex"], Ok(())),
            ("ecdsa", &["-n", "alex", "-O", "source-address=192.0.2.0/24"], Ok(())),
            ("ed25519", &["-n", "alex", "-O", "source-address=198.51.100.0/24"], Err(CertificateRefusal::Source)),
            (
                "ed25519",
                &["-n", "alex", "-O", "force-command=true"],
                Err(CertificateRefusal::Option("force-command".into())),
            ),
            ("ed25519", &["-n", "alex,root"], Err(CertificateRefusal::Principals)),
            ("ed25519", &[], Err(CertificateRefusal::Principals)),
            ("ed25519", &["-h", "-n", "alex"], Err(CertificateRefusal::OfAHost)),
        ];
        for (number, (kind, options, expected)) in table.into_iter().enumerate() {
            let name = format!("id{number}");
            keygen(here, &["-q", "-t", kind, "-N", "", "-f", &name]);
            let sign = ["-q", "-s", "ca", "-I", "x", "-z", "7", "-V", "-5m:+1h"];
            let file = format!("{name}.pub");
            keygen(here, &[&sign[..], options, &[&file]].concat());
            let line = std::fs::read_to_string(here.join(format!("{name}-cert.pub"))).unwrap();
            let shown = russh::keys::Certificate::from_openssh(line.trim()).unwrap();
            shown.verify_signature().unwrap();
            let read = read_certificate(&shown).unwrap();
            let issued = Issued { serial: 7, person: Label::parse("alex").unwrap(), key: public(here, &file) };
            let source = "192.0.2.7".parse().unwrap();
            let answer = read.certifies(&public(here, "ca.pub"), Some(&issued), source, Timestamp::now());
            assert_eq!(answer.map(|_| ()), expected, "{kind} {options:?}");
        }
    }
}
