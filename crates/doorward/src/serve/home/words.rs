//! Why a port is not forwarded, and what to do, for whoever runs a gateway at home.

use doorward_control::{MappingReport, MappingState, Protocol};
use doorward_portmap::{NoRouter, Verdict, Why, verdict};
use std::net::Ipv4Addr;

pub(super) fn kind(mapping: &MappingReport) -> &'static str {
    match mapping.protocol {
        Protocol::Tcp => "TCP port",
        Protocol::Udp => "UDP port",
    }
}

/// `external`: the router's address, as far as it said.
pub(super) fn failed(why: &Why, external: Option<Ipv4Addr>) -> MappingState {
    let (why, remedy) = match why {
        // Some routers refuse everything then.
        Why::Refused { .. } if is_behind_carrier_nat(external) => unreachable(verdict(external, None)),
        Why::NoRouter(NoRouter::OwnAddress(_)) => (why.to_string(), "take [port-mapping] out of gateway.toml"),
        Why::NoRouter(_) => (why.to_string(), "look at this machine's network, or forward the port by hand"),
        Why::Silent => (
            "the router answers in none of PCP, NAT-PMP and UPnP, or they are switched off in it".to_owned(),
            "switch UPnP (\"port forwarding by applications\") on in the router, or forward the port by hand",
        ),
        Why::Unreachable(verdict) => unreachable(*verdict),
        Why::Taken(port) => (
            format!("port {port} of the router is in use by another"),
            "free it in the router, or name another under [port-mapping] in gateway.toml",
        ),
        Why::PermanentOnly => (
            "the router only makes mappings without an end".to_owned(),
            "allow them by `permanent = true` under [port-mapping] in gateway.toml, or forward the port by hand",
        ),
        Why::Refused { .. } => {
            (why.to_string(), "allow this machine to open this port in the router, or forward it by hand")
        }
        Why::Strange(_) => (why.to_string(), "look for an update of the router, or forward the port by hand"),
        Why::Unwritable(_) => (why.to_string(), "make room on the disk, or put the data directory's rights in order"),
        // We wish none of the kind.
        Why::CannotRestrict | Why::Nobody | Why::Twice | Why::TooMany(_) | Why::Over => {
            (why.to_string(), "look at the gateway's log")
        }
    };
    MappingState::Failed { why, remedy: remedy.to_owned() }
}

pub(super) fn is_behind_carrier_nat(external: Option<Ipv4Addr>) -> bool {
    matches!(verdict(external, None), Verdict::CarrierNat { .. })
}

fn unreachable(verdict: Verdict) -> (String, &'static str) {
    const ELSEWHERE: &str = "put the gateway on a rented machine (docs/where.md), or ask the provider for a public IPv4 \
                             address";
    match verdict {
        Verdict::CarrierNat { external } | Verdict::SeenElsewhere { external, .. } => (
            format!(
                "this home is behind carrier NAT (its router's own address is {external}), and a home behind carrier \
                 NAT cannot publish itself"
            ),
            ELSEWHERE,
        ),
        Verdict::Reachable | Verdict::Unknown => (
            "the router does not say which address it has, so its line may be down".to_owned(),
            "look at the router's own page",
        ),
    }
}
