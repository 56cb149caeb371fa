//! What shall be mapped.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::time::Instant;

/// Whoever wishes chooses it; reports come back under it.
pub type WishName = String;

/// All there shall be. What is not in it is withdrawn.
pub type Wishes = BTreeMap<WishName, Wish>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub protocol: Protocol,
    /// The port of this machine.
    pub internal_port: NonZeroU16,
    pub external_port: ExternalPort,
    pub sources: Sources,
    /// The mapping is withdrawn then at the latest.
    pub ends: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// The number of the IANA registry "Protocol Numbers".
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// The port of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalPort {
    Any,
    /// Another will do if this one is taken.
    Prefer(NonZeroU16),
    Exactly(NonZeroU16),
}

/// Who may come through. An empty list admits nobody, and so nothing is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    Anyone,
    /// These where the router can tell them apart, else anyone: whoever listens decides anyway.
    Prefer(Vec<Ipv4Addr>),
    /// These, or no mapping.
    Only(Vec<Ipv4Addr>),
}

impl Sources {
    pub(crate) fn addresses(&self) -> &[Ipv4Addr] {
        match self {
            Self::Anyone => &[],
            Self::Prefer(addresses) | Self::Only(addresses) => addresses,
        }
    }

    pub(crate) fn is_nobody(&self) -> bool {
        match self {
            Self::Anyone => false,
            Self::Prefer(addresses) | Self::Only(addresses) => addresses.is_empty(),
        }
    }
}

/// A protocol in which routers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Pcp,
    NatPmp,
    Upnp,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}
