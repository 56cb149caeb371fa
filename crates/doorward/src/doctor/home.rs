//! What a gateway at home reports about its router and its names.

use super::Finding;
use crate::admin::status::{PortStatus, Status};
use doorward_control::{CertificateState, HomeReport, MappingReport, MappingState, NameReport, Reachability};

pub(super) fn about(status: &Status) -> Vec<Finding> {
    let home = &status.home;
    let mut findings: Vec<_> = home.mappings.iter().map(|mapping| about_mapping(home, mapping)).collect();
    findings.extend(home.mappings.iter().filter_map(|mapping| let_through(mapping, &status.ports)));
    if home.leftovers > 0 {
        let what = format!("{} mappings of earlier are not taken back yet", home.leftovers);
        findings.push(Finding::note("router", what, "they go by themselves once the router answers"));
    }
    let is_waiting = status.certificates.sets.iter().any(|set| !matches!(set.state, CertificateState::Fine { .. }));
    findings.extend(on_other_ports(home).filter(|_| is_waiting));
    findings.extend(home.names.iter().map(about_name));
    findings
}

fn about_mapping(home: &HomeReport, mapping: &MappingReport) -> Finding {
    let MappingReport { listener, first, .. } = mapping;
    match &mapping.state {
        MappingState::Asked => {
            Finding::note("router", format!("{listener}: the router is being asked"), "look again in a minute")
        }
        MappingState::Open { port, by } => {
            let from = home.ipv4.map_or_else(|| "its".to_owned(), |ip| format!("{ip}, port"));
            let what = format!("{listener} is forwarded from {from} {port}, as the router says by {by}");
            if port == first {
                return Finding::fine("router", what);
            }
            let remedy = format!(
                "free port {first} in the router and start the gateway anew, or leave it: links name the other"
            );
            Finding::note("router", format!("{what}; port {first} was not to be had"), remedy)
        }
        MappingState::Failed { why, remedy } => {
            Finding::wrong("router", format!("{listener} is not forwarded: {why}"), remedy)
        }
    }
}

/// The router says that it is open, and a device outside found it closed.
fn let_through(mapping: &MappingReport, ports: &[PortStatus]) -> Option<Finding> {
    let MappingState::Open { port: given, .. } = &mapping.state else { return None };
    let is_closed = |port: &PortStatus| {
        port.protocol == "tcp"
            && port.port == *given
            && matches!(port.reachability, Some(Reachability::Unreachable { .. }))
    };
    if mapping.protocol != doorward_control::Protocol::Tcp || !ports.iter().any(is_closed) {
        return None;
    }
    let what = format!("the router says that its port {given} is open, and a device outside found it closed");
    let remedy =
        "the provider may block it: name other ports under [port-mapping] in gateway.toml, as `https = [8443]`";
    Some(Finding::wrong("router", what, remedy))
}

fn on_other_ports(home: &HomeReport) -> Option<Finding> {
    let given = |listener: &str| {
        home.mappings.iter().find_map(|mapping| match mapping.state {
            MappingState::Open { port, .. } if mapping.listener == listener => Some(port),
            MappingState::Open { .. } | MappingState::Asked | MappingState::Failed { .. } => None,
        })
    };
    let https = given("https").filter(|port| *port != 443)?;
    (given("redirect") != Some(80)).then(|| {
        let what = format!("authorities look at port 443 or 80, and the router gave {https}");
        Finding::note("certificates", what, "prove names by DNS instead: [certificates.dns] in gateway.toml")
    })
}

fn about_name(name: &NameReport) -> Finding {
    let told: Vec<_> =
        [name.ipv4.map(|ip| ip.to_string()), name.ipv6.map(|ip| ip.to_string())].into_iter().flatten().collect();
    let at = name.told_at.map(|at| format!(", {}", at.strftime("%F %R UTC"))).unwrap_or_default();
    let what = match told.as_slice() {
        [] => format!("{} was told nothing yet", name.name),
        told => format!("{} was told {}{at}", name.name, told.join(" and ")),
    };
    match (&name.trouble, name.is_stopped) {
        (Some(why), true) => {
            let remedy =
                "put [[dynamic-dns]] in gateway.toml in order, and start the gateway anew: until then nothing is tried";
            Finding::wrong("dynamic dns", format!("{what}; {why}"), remedy)
        }
        (Some(why), false) => Finding::wrong("dynamic dns", format!("{what}; {why}"), "it is tried again by itself"),
        (None, _) if told.is_empty() => Finding::note(
            "dynamic dns",
            what,
            "no public address of this home is known: see what is said of the router",
        ),
        (None, _) => Finding::fine("dynamic dns", what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Standing;
    use doorward_control::{Protocol, SetReport};

    fn status() -> Status {
        serde_json::from_value(serde_json::json!({
            "release": "0", "domain": "home.example.org", "site-key": "x", "site-key-successor": null,
            "addresses": [], "devices": 0, "devices-online": 0, "services": 0, "ports": [],
        }))
        .unwrap()
    }

    fn mapping(listener: &str, asked: u16, state: MappingState) -> MappingReport {
        let (protocol, port) = (Protocol::Tcp, 443);
        MappingReport { listener: listener.to_owned(), protocol, port, asked, first: 443, state }
    }

    fn open(port: u16) -> MappingState {
        MappingState::Open { port, by: "UPnP".to_owned() }
    }

    #[test]
    fn a_home_that_cannot_publish_itself_is_told_what_to_do() {
        let mut status = status();
        assert!(about(&status).is_empty(), "nothing is said where nothing is set up");
        let failed = MappingState::Failed { why: "carrier NAT".to_owned(), remedy: "rent a machine".to_owned() };
        status.home.mappings = vec![mapping("https", 443, failed)];
        let findings = about(&status);
        assert_eq!((findings[0].standing, findings[0].remedy.as_deref()), (Standing::Wrong, Some("rent a machine")));
    }

    #[test]
    fn another_port_than_wished_is_said_with_what_it_means_for_certificates() {
        let mut status = status();
        status.home.mappings = vec![mapping("https", 8443, open(8443))];
        assert_eq!(about(&status).len(), 1);
        assert!(about(&status)[0].what.contains("port 443 was not to be had"), "{:?}", about(&status));
        let state = CertificateState::Nobody;
        status.certificates.sets = vec![SetReport { names: "home.example.org".to_owned(), held_until: None, state }];
        assert!(about(&status)[1].remedy.as_ref().unwrap().contains("[certificates.dns]"));
        status.home.mappings.push(mapping("redirect", 80, open(80)));
        assert!(about(&status).iter().all(|finding| finding.hop == "router"), "port 80 will do");
    }

    #[test]
    fn a_port_that_the_provider_blocks_is_told_from_one_that_is_open() {
        let mut status = status();
        status.home.mappings = vec![mapping("https", 443, open(443))];
        let seen = |reachability: Reachability| PortStatus {
            protocol: "tcp".to_owned(),
            port: 443,
            service: None,
            state: None,
            reachability: Some(reachability),
        };
        status.ports = vec![seen(Reachability::Reachable)];
        assert_eq!(about(&status).iter().map(|finding| finding.standing).collect::<Vec<_>>(), [Standing::Fine]);
        status.ports = vec![seen(Reachability::Unreachable { detail: "timed out".to_owned() })];
        assert!(about(&status)[1].remedy.as_ref().unwrap().contains("https = [8443]"));
    }

    #[test]
    fn a_name_says_what_it_was_told_and_why_not() {
        let mut status = status();
        let name = NameReport {
            name: "home.example.org".to_owned(),
            ipv4: Some([198, 51, 100, 7].into()),
            ipv6: None,
            told_at: Some("2026-11-21T12:00:00Z".parse().unwrap()),
            trouble: None,
            is_stopped: false,
        };
        let stopped = NameReport { trouble: Some("badauth".to_owned()), is_stopped: true, ..name.clone() };
        status.home.names = vec![name, stopped];
        let findings = about(&status);
        assert_eq!(findings[0].what, "home.example.org was told 198.51.100.7, 2026-11-21 12:00 UTC");
        assert!(findings[1].what.ends_with("badauth") && findings[1].standing == Standing::Wrong, "{findings:?}");
    }
}
