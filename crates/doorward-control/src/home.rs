//! What a gateway that stands at home found out there, for people: what its router forwards, and what its names were
//! told. In memory; the one thing that rests on it is which addresses lead here.

use crate::{Control, Protocol};
use doorward_core::schema::Instant;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::sync::watch;

/// Empty where neither port mappings nor dynamic DNS are set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HomeReport {
    /// The address in IPv4 that leads here: the router's, as it says, or this machine's own.
    pub ipv4: Option<Ipv4Addr>,
    /// This machine's own that lasts.
    pub ipv6: Option<Ipv6Addr>,
    pub mappings: Vec<MappingReport>,
    /// Mappings of earlier that the router has not taken back yet.
    pub leftovers: usize,
    pub names: Vec<NameReport>,
}

/// A port of the router that is to lead here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MappingReport {
    /// What listens: `https`, `quic`, `redirect`.
    pub listener: String,
    pub protocol: Protocol,
    /// The port of this machine.
    pub port: u16,
    /// The port of the router that is asked for.
    pub asked: u16,
    /// The one that it was to be.
    pub first: u16,
    pub state: MappingState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "state")]
pub enum MappingState {
    Asked,
    /// The router says so.
    Open {
        port: u16,
        by: String,
    },
    Failed {
        why: String,
        remedy: String,
    },
}

/// A name in dynamic DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NameReport {
    pub name: String,
    /// What was told last.
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    #[schemars(with = "Option<Instant>")]
    pub told_at: Option<Timestamp>,
    pub trouble: Option<String>,
    /// Whether nothing is tried any more until the settings change.
    pub is_stopped: bool,
}

impl HomeReport {
    pub fn is_empty(&self) -> bool {
        self.mappings.is_empty() && self.names.is_empty()
    }

    /// Whether what comes to this address comes here.
    pub fn leads_here(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.ipv4 == Some(ip),
            IpAddr::V6(ip) => self.ipv6 == Some(ip),
        }
    }

    /// The addresses that lead here.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6)).collect()
    }
}

impl Control {
    pub fn home(&self) -> watch::Receiver<HomeReport> {
        self.0.home.subscribe()
    }

    /// For whoever looks after it.
    pub fn tell_home(&self, report: HomeReport) {
        self.0.home.send_if_modified(|old| {
            let is_new = *old != report;
            *old = report;
            is_new
        });
    }
}
