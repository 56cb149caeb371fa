//! What the messages hold. Tags are never used again for another meaning.

pub(super) mod additions;
pub(super) mod pinholes;

use doorward_core::hop::HopFailure;
use doorward_core::prepare::Phase as PreparePhase;

/// Agent → gateway, first of all: who is there, and the proof of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    #[prost(uint32, tag = "1")]
    pub capability: u32,
    /// 16 random bytes, new for each process: tells a reconnecting agent from a second machine with the same key.
    #[prost(bytes = "vec", tag = "2")]
    pub instance: Vec<u8>,
    /// Grows with each connection of one process, so that a late arrival never replaces a newer one.
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
    /// Ed25519 public key, 32 bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub device_key: Vec<u8>,
    /// Ed25519 signature over roles, site and TLS exporter; see `handshake`.
    #[prost(bytes = "vec", tag = "5")]
    pub proof: Vec<u8>,
    /// Present when the device enrols.
    #[prost(message, optional, tag = "6")]
    pub join: Option<Join>,
    #[prost(string, tag = "7")]
    pub software: String,
    /// Whether the agent keeps quiet to save a metered link.
    #[prost(bool, tag = "8")]
    pub metered: bool,
}

/// The right to enrol. Carries the invite's secret, so it has no Debug of its own.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct Join {
    #[prost(bytes = "vec", tag = "1")]
    pub secret: Vec<u8>,
    #[prost(string, tag = "2")]
    pub suggested_name: String,
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join").field("suggested_name", &self.suggested_name).finish_non_exhaustive()
    }
}

/// Gateway → agent: the link stands.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct Welcome {
    #[prost(uint32, tag = "1")]
    pub capability: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub link: Vec<u8>,
    /// With this the agent's further connections (lanes) prove that they belong to the link.
    #[prost(bytes = "vec", tag = "3")]
    pub lane_secret: Vec<u8>,
    #[prost(string, tag = "4")]
    pub device_name: String,
    #[prost(message, optional, tag = "5")]
    pub site: Option<Site>,
    /// The address that the gateway sees the agent at.
    #[prost(string, tag = "6")]
    pub seen_as: String,
}

impl std::fmt::Debug for Welcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Welcome").field("device_name", &self.device_name).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Refused {
    #[prost(enumeration = "Refusal", tag = "1")]
    pub reason: i32,
    /// For people; complete in itself.
    #[prost(string, tag = "2")]
    pub message: String,
    /// How long the agent should leave the gateway alone.
    #[prost(uint32, tag = "3")]
    pub retry_after_seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Refusal {
    Unspecified = 0,
    UnknownKey = 1,
    Revoked = 2,
    /// Another key took this device over.
    Replaced = 3,
    /// Unknown, used up or expired: a stranger must not learn which.
    Invite = 4,
    /// The same key is in use by another machine that is alive.
    TwoMachines = 5,
    Busy = 6,
    Unsupported = 7,
    BadProof = 8,
    /// A newer connection of the same process stands already.
    Superseded = 9,
}

/// Agent → gateway: all that the device offers now. Each entry is the JSON of `doorward_core::service::Offer`; one
/// that the gateway cannot read is refused alone.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Services {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(string, repeated, tag = "2")]
    pub offers: Vec<String>,
    /// Where each offer's policy is written on the device, as its owner is told: as many as offers, or none.
    #[prost(string, repeated, tag = "3")]
    pub written_at: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ServicesReport {
    /// Which `Services` this answers.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(message, repeated, tag = "2")]
    pub services: Vec<ServiceReport>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ServiceReport {
    #[prost(string, tag = "1")]
    pub name: String,
    /// URLs and host:port where visitors reach it.
    #[prost(string, repeated, tag = "2")]
    pub reached_by: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub problems: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub notes: Vec<String>,
}

/// Gateway → agent, at the head of each visit's stream.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Open {
    #[prost(string, tag = "1")]
    pub service: String,
    /// What is left of the permit; the agent enforces it by its own monotonic clock.
    #[prost(uint64, optional, tag = "2")]
    pub remaining_ms: Option<u64>,
    /// Set for a UDP flow, whose packets also travel as datagrams under this number.
    #[prost(uint64, optional, tag = "3")]
    pub flow: Option<u64>,
    /// The visitor's address, for the target's log.
    #[prost(string, tag = "4")]
    pub source: String,
    /// Set where one of the service's mounts is wanted rather than the service itself: its path.
    #[prost(string, optional, tag = "5")]
    pub mount: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct OpenFailed {
    #[prost(enumeration = "Hop", tag = "1")]
    pub hop: i32,
    #[prost(string, tag = "2")]
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Hop {
    Unspecified = 0,
    AgentRefused = 1,
    TargetRefused = 2,
    TargetTimedOut = 3,
    TargetUnreachable = 4,
    Busy = 5,
}

impl From<HopFailure> for Hop {
    fn from(failure: HopFailure) -> Self {
        match failure {
            HopFailure::AgentRefused => Self::AgentRefused,
            HopFailure::TargetRefused => Self::TargetRefused,
            HopFailure::TargetTimedOut => Self::TargetTimedOut,
            HopFailure::TargetUnreachable => Self::TargetUnreachable,
            HopFailure::Busy => Self::Busy,
            HopFailure::DeviceOffline | HopFailure::AgentSilent | HopFailure::NotReady => Self::Unspecified,
        }
    }
}

impl From<Hop> for HopFailure {
    fn from(hop: Hop) -> Self {
        match hop {
            Hop::AgentRefused | Hop::Unspecified => Self::AgentRefused,
            Hop::TargetRefused => Self::TargetRefused,
            Hop::TargetTimedOut => Self::TargetTimedOut,
            Hop::TargetUnreachable => Self::TargetUnreachable,
            Hop::Busy => Self::Busy,
        }
    }
}

/// Gateway → agent: where the site is reached and which keys speak for it, now and next.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Site {
    #[prost(string, repeated, tag = "1")]
    pub addresses: Vec<String>,
    /// SHA-256 of each trusted site key, 32 bytes.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub keys: Vec<Vec<u8>>,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
}

/// Agent → gateway: that `Site` is on disk, so the gateway may count on it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SiteStored {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
}

/// Agent → gateway on a further connection: this one is a lane of that link.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LaneHello {
    #[prost(bytes = "vec", tag = "1")]
    pub link: Vec<u8>,
    /// HMAC-SHA-256 with the lane secret over this connection's TLS exporter.
    #[prost(bytes = "vec", tag = "2")]
    pub proof: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct LanesWanted {
    #[prost(uint32, tag = "1")]
    pub count: u32,
}

/// Gateway → agent: please see whether these of my ports can be reached from where you are.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckPorts {
    #[prost(string, repeated, tag = "1")]
    pub hosts: Vec<String>,
    #[prost(uint32, repeated, tag = "2")]
    pub tcp: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PortsChecked {
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<PortChecked>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PortChecked {
    #[prost(uint32, tag = "1")]
    pub tcp: u32,
    #[prost(bool, tag = "2")]
    pub reachable: bool,
    #[prost(string, tag = "3")]
    pub detail: String,
}

/// Either way: no new visits on this link; the rest may finish.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Goodbye {
    #[prost(enumeration = "Leaving", tag = "1")]
    pub reason: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Leaving {
    Unspecified = 0,
    /// The process ends; come back soon.
    Stopping = 1,
    /// A newer link of the same process took over.
    Superseded = 2,
    /// The device's key was revoked or replaced.
    Revoked = 3,
    /// Another machine with the same key took over.
    TwoMachines = 4,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Unsupported {
    #[prost(uint32, tag = "1")]
    pub kind: u32,
}

/// Agent → gateway: what crossed this link for some of its services. To an older gateway it says nothing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Spending {
    #[prost(message, repeated, tag = "1")]
    pub services: Vec<ServiceSpending>,
    /// Of a hundred: what is kept of each budget for those who come by SSH.
    #[prost(uint32, tag = "2")]
    pub reserve: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ServiceSpending {
    #[prost(string, tag = "1")]
    pub name: String,
    /// Bytes of both directions since the device began to count.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
}

/// Gateway → agent: all services that shall be ready now, of those that need preparing. Whichever is not in it shall not.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Wishes {
    #[prost(message, repeated, tag = "1")]
    pub services: Vec<Wish>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Wish {
    #[prost(string, tag = "1")]
    pub service: String,
    /// For how long, should the agent hear nothing more.
    #[prost(uint64, tag = "2")]
    pub remaining_ms: u64,
}

/// Agent → gateway: how far all services are that need preparing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Preparations {
    #[prost(message, repeated, tag = "1")]
    pub services: Vec<Preparation>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Preparation {
    #[prost(string, tag = "1")]
    pub service: String,
    #[prost(enumeration = "Phase", tag = "2")]
    pub phase: i32,
    /// The step that runs, or failed; from 1.
    #[prost(uint32, tag = "3")]
    pub step: u32,
    #[prost(uint32, tag = "4")]
    pub steps: u32,
    /// What that step is, for people.
    #[prost(string, tag = "5")]
    pub what: String,
    /// How long the phase has lasted.
    #[prost(uint64, tag = "6")]
    pub for_ms: u64,
    /// Why the step failed, for the owner.
    #[prost(string, optional, tag = "7")]
    pub error: Option<String>,
    /// When it is tried again.
    #[prost(uint64, optional, tag = "8")]
    pub retry_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Phase {
    Unspecified = 0,
    Resting = 1,
    Preparing = 2,
    Ready = 3,
    Releasing = 4,
    Failed = 5,
}

impl From<PreparePhase> for Phase {
    fn from(phase: PreparePhase) -> Self {
        match phase {
            PreparePhase::Resting => Self::Resting,
            PreparePhase::Preparing => Self::Preparing,
            PreparePhase::Ready => Self::Ready,
            PreparePhase::Releasing => Self::Releasing,
            PreparePhase::Failed => Self::Failed,
        }
    }
}

impl Phase {
    /// `None`: a newer agent's.
    pub fn known(self) -> Option<PreparePhase> {
        match self {
            Self::Unspecified => None,
            Self::Resting => Some(PreparePhase::Resting),
            Self::Preparing => Some(PreparePhase::Preparing),
            Self::Ready => Some(PreparePhase::Ready),
            Self::Releasing => Some(PreparePhase::Releasing),
            Self::Failed => Some(PreparePhase::Failed),
        }
    }
}
