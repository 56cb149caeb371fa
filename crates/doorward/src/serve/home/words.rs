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
        // Without a public address most routers refuse everything, and some do not say which one they have.
        Why::Refused { .. } if !is_reachable(external) => unreachable(verdict(external, None)),
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

pub(super) fn is_reachable(external: Option<Ipv4Addr>) -> bool {
    verdict(external, None) == Verdict::Reachable
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
            "the router names no public address of its own: its line is down, or this home is behind carrier NAT, and a \
             home behind carrier NAT cannot publish itself"
                .to_owned(),
            "look at the router's own page whether it is online; if it is, put the gateway on a rented machine \
             (docs/where.md), or ask the provider for a public IPv4 address",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_portmap::Way;

    #[test]
    fn whoever_cannot_publish_at_home_is_told_where_else() {
        let refused = Why::Refused { way: Way::Upnp, code: 501, meaning: "it failed" };
        let inner = Verdict::CarrierNat { external: Ipv4Addr::new(100, 64, 0, 7) };
        for (why, external, expected, elsewhere) in [
            (Why::Unreachable(inner), Some([100, 64, 0, 7]), "cannot publish itself", true),
            (refused.clone(), Some([100, 64, 0, 7]), "its router's own address is 100.64.0.7", true),
            (refused.clone(), Some([0, 0, 0, 0]), "names no public address", true),
            (refused.clone(), None, "names no public address", true),
            (refused, Some([198, 51, 100, 7]), "code 501", false),
            (Why::Taken(443), None, "port 443 of the router is in use by another", false),
        ] {
            let MappingState::Failed { why, remedy } = failed(&why, external.map(Ipv4Addr::from)) else {
                panic!("it failed")
            };
            assert!(why.contains(expected), "{why}");
            assert_eq!(remedy.contains("rented machine"), elsewhere, "{remedy}");
        }
    }
}
