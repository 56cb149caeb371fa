//! Openings in a home router's firewall, each for one session: what is wished, what the router's own file allows, and
//! what follows from what is there already. The router's daemon does it; nothing here knows how.

mod allowed;
mod marks;
mod message;
mod plan;
mod pool;
#[cfg(test)]
mod tests;

pub use allowed::{AllowList, Facts, Granted, PortRange, PortRangeError, Refusal, Rule};
pub use marks::{MarkBits, MarkBitsError, Number};
pub use message::{Answer, LONGEST_ANSWER, LONGEST_WISHES, MessageError, State, Told, Wishes};
pub use plan::{Opening, Plan, Present, Step, plan};
pub use pool::give_ports;

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;
use thiserror::Error;

/// Names a session towards the router: 1 to 48 of `a-z`, `A-Z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PinholeId(String);

const LONGEST_ID: usize = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a pinhole's id has 1 to {LONGEST_ID} letters, digits and -")]
pub struct PinholeIdError;

impl PinholeId {
    pub fn parse(given: &str) -> Result<Self, PinholeIdError> {
        let may_stand = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let is_usable = (1..=LONGEST_ID).contains(&given.len()) && given.bytes().all(may_stand);
        is_usable.then(|| Self(given.to_owned())).ok_or(PinholeIdError)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PinholeId {
    type Error = PinholeIdError;

    fn try_from(given: String) -> Result<Self, PinholeIdError> {
        Self::parse(&given)
    }
}

impl From<PinholeId> for String {
    fn from(id: PinholeId) -> Self {
        id.0
    }
}

impl fmt::Display for PinholeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What is wished for one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pinhole {
    pub id: PinholeId,
    /// What is left of the session. A duration, since clocks of two machines differ.
    #[serde(with = "milliseconds", rename = "remaining-ms")]
    pub remaining: Duration,
    #[serde(flatten)]
    pub way: Way,
}

/// What is opened, without when it ends. Either family alone, or both for the same service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Way {
    pub protocol: Protocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translated: Option<Translated>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<Direct>,
}

/// IPv4: a port of the router's public address leads to a machine inside. The port is this session's alone, so that two
/// people behind one carrier's NAT are never taken for each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Translated {
    /// 0: the router chooses one, and keeps it for this session.
    #[serde(default)]
    pub public_port: u16,
    pub target: SocketAddrV4,
    pub sources: BTreeSet<Ipv4Addr>,
    /// For whoever is inside already and comes by the public address: their source is that of the LAN.
    #[serde(default)]
    pub neighbours: bool,
}

/// IPv6: a machine inside is reached at its own address and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Direct {
    pub target: SocketAddrV6,
    pub sources: BTreeSet<Site>,
}

/// An IPv6 /64: the network that one household or one phone has. Its lower half is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Ipv6Addr", into = "Ipv6Addr")]
pub struct Site(Ipv6Addr);

impl Site {
    pub fn address(self) -> Ipv6Addr {
        self.0
    }
}

impl From<Ipv6Addr> for Site {
    fn from(address: Ipv6Addr) -> Self {
        Self(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
    }
}

impl From<Site> for Ipv6Addr {
    fn from(site: Site) -> Self {
        site.0
    }
}

mod milliseconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
