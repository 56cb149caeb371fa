//! What is written down about who did what. Refused attempts are audited like successful ones.

mod line;

pub use line::{Grounds, Line};

use serde::{Deserialize, Serialize};

/// A deed worth keeping. The word is stored and searched; never reuse one for another meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    InviteCreated,
    InviteRevoked,
    InviteRefused,
    DeviceJoined,
    DeviceReplaced,
    DeviceRenamed,
    DeviceRevoked,
    DeviceRefused,
    CloneParked,
    ServiceRegistered,
    ServiceRefused,
    ServiceReleased,
    AccessChanged,
    SiteKeyRotated,
    CertificateIssued,
    CertificateFailed,
    AuthorityMade,
    AuthorityDropped,
    VisitRefused,
    SshKeyAdded,
    SshKeyRemoved,
    SshCertificateMade,
    SshCertificateRevoked,
    SshPasswordMade,
    SshPasswordRemoved,
    SshPasswordRefused,
    PersonAdded,
    PersonChanged,
    PersonRemoved,
    GroupChanged,
    SessionOpened,
    SessionExtended,
    SessionEnded,
    SessionRefused,
    /// A visit is there, and what came before it was written down.
    VisitBegun,
    /// It is there still.
    VisitLasts,
    VisitEnded,
    GatewayStarted,
    GatewayStopped,
}

impl Deed {
    pub fn word(self) -> &'static str {
        match self {
            Self::InviteCreated => "invite-created",
            Self::InviteRevoked => "invite-revoked",
            Self::InviteRefused => "invite-refused",
            Self::DeviceJoined => "device-joined",
            Self::DeviceReplaced => "device-replaced",
            Self::DeviceRenamed => "device-renamed",
            Self::DeviceRevoked => "device-revoked",
            Self::DeviceRefused => "device-refused",
            Self::CloneParked => "clone-parked",
            Self::ServiceRegistered => "service-registered",
            Self::ServiceRefused => "service-refused",
            Self::ServiceReleased => "service-released",
            Self::AccessChanged => "access-changed",
            Self::SiteKeyRotated => "site-key-rotated",
            Self::CertificateIssued => "certificate-issued",
            Self::CertificateFailed => "certificate-failed",
            Self::AuthorityMade => "authority-made",
            Self::AuthorityDropped => "authority-dropped",
            Self::VisitRefused => "visit-refused",
            Self::SshKeyAdded => "ssh-key-added",
            Self::SshKeyRemoved => "ssh-key-removed",
            Self::SshCertificateMade => "ssh-certificate-made",
            Self::SshCertificateRevoked => "ssh-certificate-revoked",
            Self::SshPasswordMade => "ssh-password-made",
            Self::SshPasswordRemoved => "ssh-password-removed",
            Self::SshPasswordRefused => "ssh-password-refused",
            Self::PersonAdded => "person-added",
            Self::PersonChanged => "person-changed",
            Self::PersonRemoved => "person-removed",
            Self::GroupChanged => "group-changed",
            Self::SessionOpened => "session-opened",
            Self::SessionExtended => "session-extended",
            Self::SessionEnded => "session-ended",
            Self::SessionRefused => "session-refused",
            Self::VisitBegun => "visit-begun",
            Self::VisitLasts => "visit-lasts",
            Self::VisitEnded => "visit-ended",
            Self::GatewayStarted => "gateway-started",
            Self::GatewayStopped => "gateway-stopped",
        }
    }
}
