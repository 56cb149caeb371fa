//! What one came in by. It counts as long as the snapshot says so, and a certificate no longer than it says itself.

use super::handler::read;
use doorward_control::{KeyFingerprint, Snapshot, SshHolder, SshStanding};
use doorward_core::names::Label;
use doorward_core::ssh::certificate::{Certificate, CertificateRefusal};
use jiff::Timestamp;
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    Key { key: KeyFingerprint, holder: SshHolder },
    Certificate { key: KeyFingerprint, serial: u64, person: Label, until: Timestamp },
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
        Ok(Self::Certificate { key, serial, person: certified.person, until: certified.until })
    }

    pub(super) fn holder(&self) -> SshHolder {
        match self {
            Self::Key { holder, .. } => holder.clone(),
            Self::Certificate { person, .. } => SshHolder::Person(person.clone()),
        }
    }

    pub(super) fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Key { .. } => None,
            Self::Certificate { until, .. } => Some(*until),
        }
    }

    /// Whether it was not taken away since.
    pub(super) fn stands(&self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Key { key, holder } => holder_of(snapshot, key).as_ref() == Some(holder),
            Self::Certificate { key, serial, person, .. } => {
                snapshot.ssh_certificate(key, *serial).is_some_and(|known| known.issued.person == *person)
            }
        }
    }
}

/// Whose key it is now, if it counts.
fn holder_of(snapshot: &Snapshot, key: &KeyFingerprint) -> Option<SshHolder> {
    match snapshot.ssh_standing(key) {
        SshStanding::Device(device) => Some(SshHolder::Device(device.id)),
        SshStanding::Person(name) => Some(SshHolder::Person(name)),
        SshStanding::Refused | SshStanding::Unknown => None,
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
