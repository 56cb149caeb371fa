//! The decision: may this visitor use this service now?
//!
//! `decide` is a plain function of facts. It yields a [`Permit`], the only thing that opens a stream, or says why not.
//! It fails closed: a policy that says nothing admits nobody, and an empty list admits nobody.

mod document;
mod network;
mod password;
mod schedule;

pub use document::{PolicyDocument, PolicyError, ScheduleDocument, WhoDocument};
pub use network::{NetworkError, Networks, canonical};
pub use password::PasswordHash;
pub use schedule::{Openness, Schedule, ScheduleError};

use crate::names::Label;
use crate::service::{Entrance, Service, Standing};
use crate::{AccountId, DeviceId, ServiceId};
use jiff::Timestamp;
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

/// Who may use a service, from where and when. All conditions must hold.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Policy {
    pub who: Who,
    /// `None`: from anywhere. An empty list: from nowhere.
    pub from: Option<Networks>,
    /// `None`: at any time.
    pub when: Option<Schedule>,
}

#[derive(Clone, Debug, PartialEq, Default)]
pub enum Who {
    #[default]
    Nobody,
    Public,
    /// Whoever knows one of these passwords, each for its user name.
    Password(Vec<PasswordHash>),
    /// These people, as their own credentials tell.
    People(Vec<Label>),
    /// Whoever holds a sender key for it.
    Senders,
}

/// Whoever arrives, and what is known of them. Facts only; the entrance collects them, nobody else.
#[derive(Clone, Debug)]
pub struct Visitor {
    source: IpAddr,
    pub entrance: Entrance,
    /// What was proved by checking it, e.g. a password against its hash.
    pub proofs: Vec<Proof>,
}

impl Visitor {
    /// `source` is the socket's peer (or what a configured proxy vouched for), in one spelling from here on.
    pub fn new(source: IpAddr, entrance: Entrance) -> Self {
        Self { source: canonical(source), entrance, proofs: Vec::new() }
    }

    pub fn source(&self) -> IpAddr {
        self.source
    }
}

/// Something a visitor proved. It names the very credential, so that changing that one ends what it opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    Password(PasswordHash),
    /// A credential that is this person's own, as an SSH key.
    Person(Label),
    /// A sender key for this service: for the virtual port that it has.
    Sender(ServiceId),
}

/// The proof that a decision was taken. Only [`decide`] makes one, and only a permit opens a stream.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    service: ServiceId,
    device: DeviceId,
    account: AccountId,
    until: Option<Timestamp>,
    visitor: Visitor,
}

impl Permit {
    pub fn service(&self) -> ServiceId {
        self.service
    }

    pub fn device(&self) -> DeviceId {
        self.device
    }

    pub fn account(&self) -> AccountId {
        self.account
    }

    /// For whom it was given; a later change is decided again with the same facts.
    pub fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// When it ends by itself.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// What is left at `now`: the only form in which a deadline crosses machines.
    pub fn remaining(&self, now: Timestamp) -> Option<Duration> {
        self.until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
    }
}

/// Why not. For the log and the owner; a stranger gets one answer for all of these.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    #[error("the device does not offer this service at present")]
    NotOffered,
    #[error("the device was revoked")]
    DeviceRevoked,
    #[error("its policy admits nobody")]
    Nobody,
    #[error("its policy does not admit this source address")]
    SourceNetwork,
    #[error("it is closed by its schedule{}", opens.map(|t| format!(" until {t}")).unwrap_or_default())]
    Closed { opens: Option<Timestamp> },
    /// A password would open it: the one refusal that an entrance may answer with a question.
    #[error("a password is needed")]
    PasswordNeeded,
    #[error("it is for certain people, and this is none of them")]
    NotOneOfThem,
    #[error("it is for senders, and this is none (`doorward sender-key` makes one)")]
    NotASender,
}

impl Denied {
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotOffered => "not-offered",
            Self::DeviceRevoked => "device-revoked",
            Self::Nobody => "nobody",
            Self::SourceNetwork => "source-network",
            Self::Closed { .. } => "closed",
            Self::PasswordNeeded => "password-needed",
            Self::NotOneOfThem => "not-one-of-them",
            Self::NotASender => "not-a-sender",
        }
    }
}

/// May `visitor` use `service` at `now`? Conditions that cannot be cured by asking come first, so that a password is
/// only ever asked of somebody whom it would let in.
pub fn decide(service: &Service, visitor: &Visitor, now: Timestamp) -> Result<Permit, Denied> {
    match service.standing {
        Standing::Offered => {}
        Standing::Withdrawn => return Err(Denied::NotOffered),
        Standing::DeviceRevoked => return Err(Denied::DeviceRevoked),
    }
    let policy = &service.policy;
    if policy.who == Who::Nobody {
        return Err(Denied::Nobody);
    }
    if policy.from.as_ref().is_some_and(|networks| !networks.contain(visitor.source)) {
        return Err(Denied::SourceNetwork);
    }
    let until = match policy.when.as_ref().map(|schedule| schedule.at(now)) {
        None => None,
        Some(Openness::Open { until }) => Some(until),
        Some(Openness::Closed { opens }) => return Err(Denied::Closed { opens }),
    };
    match &policy.who {
        Who::Nobody => return Err(Denied::Nobody),
        Who::Public => {}
        Who::Password(accepted) => {
            let proved = |hash| visitor.proofs.contains(&Proof::Password(PasswordHash::clone(hash)));
            if !accepted.iter().any(proved) {
                return Err(Denied::PasswordNeeded);
            }
        }
        Who::People(listed) => {
            let proved = |name: &Label| visitor.proofs.contains(&Proof::Person(name.clone()));
            if !listed.iter().any(proved) {
                return Err(Denied::NotOneOfThem);
            }
        }
        Who::Senders => {
            if !visitor.proofs.contains(&Proof::Sender(service.id)) {
                return Err(Denied::NotASender);
            }
        }
    }
    Ok(Permit {
        service: service.id,
        device: service.device,
        account: service.account,
        until,
        visitor: visitor.clone(),
    })
}
