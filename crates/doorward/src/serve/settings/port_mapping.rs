//! `[port-mapping]` of `gateway.toml`: what the router at home is asked to forward here.

use super::{Listen, wrong};
use crate::serve::home::MappingSettings;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PortMappingFile {
    /// Ports of the router that shall lead to HTTPS, in turn; in place of the last one any other will do.
    pub https: Option<Vec<NonZeroU16>>,
    /// The same on UDP, for QUIC; as `https` unless said.
    pub quic: Option<Vec<NonZeroU16>>,
    /// The same for what leads to HTTPS.
    pub http: Option<Vec<NonZeroU16>>,
    /// Whether a router that knows no leases may make mappings that only we end.
    pub permanent: Option<bool>,
    pub lease_seconds: Option<u32>,
    /// How often the router is asked whether it still knows, and for its address.
    pub check_seconds: Option<u32>,
}

/// What the router gave, which the other settings follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub address: Option<Ipv4Addr>,
    pub https: Option<u16>,
    pub quic: Option<u16>,
}

/// RFC 6887, 15: two minutes at least are to be asked for.
const SHORTEST_LEASE: u32 = 120;
const LONGEST_LEASE: u32 = 24 * 3600;
const LEASE: u32 = 3600;
const CHECK: u32 = 60;

impl PortMappingFile {
    pub(super) fn settings(&self, listen: &Listen, https: &[SocketAddr]) -> anyhow::Result<MappingSettings> {
        if listen.public_port.is_some() {
            let why = "[port-mapping] finds out by itself which port the router gives; take one of the two out";
            return Err(wrong("listen.public-port", why));
        }
        if https.iter().all(|address| address.ip().to_canonical().is_loopback()) {
            let why = "the router cannot reach HTTPS here, since listen.https has no address of the home's network: \
                       name one there, as \"0.0.0.0:443\"";
            return Err(wrong("port-mapping", why));
        }
        let lease = self.lease_seconds.unwrap_or(LEASE);
        if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease) {
            let why = format!("{lease} is not between {SHORTEST_LEASE} and {LONGEST_LEASE}");
            return Err(wrong("port-mapping.lease-seconds", why));
        }
        let check = self.check_seconds.unwrap_or(CHECK);
        if check == 0 {
            return Err(wrong("port-mapping.check-seconds", "routers cannot be asked all the time: 1 is the least"));
        }
        let turn = |ports: &Option<Vec<NonZeroU16>>, usual: [u16; 2]| {
            ports.clone().unwrap_or_else(|| usual.into_iter().filter_map(NonZeroU16::new).collect())
        };
        let ports = turn(&self.https, [443, 8443]);
        if ports.is_empty() {
            return Err(wrong("port-mapping.https", "name at least one port of the router, as [443, 8443]"));
        }
        Ok(MappingSettings {
            quic: self.quic.clone().unwrap_or_else(|| ports.clone()),
            https: ports,
            http: turn(&self.http, [80, 8080]),
            may_be_permanent: self.permanent.unwrap_or(true),
            lease: Duration::from_secs(lease.into()),
            check: Duration::from_secs(check.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{File, ServeSettings};
    use super::*;

    fn read(text: &str, given: Given) -> anyhow::Result<ServeSettings> {
        let mut file: File = toml::from_str(&format!("domain = \"example.org\"\n{text}"))?;
        file.given = given;
        file.into_settings("/tmp/x".into())
    }

    #[test]
    fn links_addresses_and_hsts_follow_the_port_that_the_router_gave() {
        let table =
            "[port-mapping]\n[listen]\nhttps = [\"0.0.0.0:443\"]\nquic = [\"0.0.0.0:443\"]\nredirect = []\nssh = []\n";
        let before = read(table, Given::default()).unwrap();
        assert_eq!((before.site.web.port, before.gateway.public_port), (443, None));
        assert!(before.gateway.hsts.is_zero(), "who knows whether 443 leads here");
        let address = Some(Ipv4Addr::new(198, 51, 100, 7));
        for (https, quic, expected) in [
            (443, 443, vec!["example.org"]),
            (8443, 8443, vec!["example.org:8443"]),
            (8443, 443, vec!["quic://example.org:443", "tls://example.org:8443", "wss://example.org:8443"]),
        ] {
            let settings = read(table, Given { address, https: Some(https), quic: Some(quic) }).unwrap();
            let addresses: Vec<_> = settings.gateway.addresses.iter().map(ToString::to_string).collect();
            let expected: Vec<_> =
                expected.iter().map(|text| doorward_core::site::Address::parse(text).unwrap().to_string()).collect();
            assert_eq!(addresses, expected);
            assert_eq!((settings.site.web.port, settings.site.tls_port), (https, Some(https)));
            assert_eq!(settings.gateway.public_port, Some(https));
            assert_eq!(settings.gateway.hsts.is_zero(), https != 443);
        }
    }

    #[test]
    fn without_a_domain_agents_are_told_the_routers_address_first() {
        let mut file: File = toml::from_str("[port-mapping]\n").unwrap();
        file.given = Given { address: Some(Ipv4Addr::new(198, 51, 100, 7)), https: Some(443), quic: Some(443) };
        let settings = file.into_settings("/tmp/x".into()).unwrap();
        assert!(settings.gateway.addresses[0].to_string().contains("198.51.100.7"), "{:?}", settings.gateway.addresses);
    }

    #[test]
    fn certificates_are_ordered_where_one_of_the_ports_is_asked_for_that_authorities_look_at() {
        let listen = "[listen]\nhttps = [\"0.0.0.0:8443\"]\nssh = []\n";
        for (text, expected) in [
            ("[port-mapping]\n", true),
            ("[port-mapping]\nhttps = [8443]\nhttp = []\n", false),
            ("[port-mapping]\nhttps = [8443]\nhttp = []\n[certificates.dns.hook]\nprogram = \"/x\"\n", true),
        ] {
            let mut file: File = toml::from_str(&format!("domain = \"gw.net\"\n{text}{listen}")).unwrap();
            file.given = Given::default();
            let settings = file.into_settings("/tmp/x".into()).unwrap();
            assert_eq!(settings.gateway.issuing.is_some(), expected, "{text}: {:?}", settings.notes);
            let is_said = settings.notes.iter().any(|note| note.contains("[certificates.dns]"));
            assert_eq!(is_said, !expected, "{text}: {:?}", settings.notes);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, part) in [
            ("[port-mapping]\nhttps = []\n", "port-mapping.https: name at least one"),
            ("[port-mapping]\nhttps = [0]\n", "nonzero"),
            ("[port-mapping]\nlease-seconds = 5\n", "port-mapping.lease-seconds: 5 is not between"),
            ("[port-mapping]\ncheck-seconds = 0\n", "port-mapping.check-seconds"),
            ("[port-mapping]\nports = [443]\n", "unknown field"),
            ("[port-mapping]\n[listen]\npublic-port = 8443\n", "listen.public-port"),
            ("[port-mapping]\n[listen]\nhttps = [\"127.0.0.1:8443\"]\n", "port-mapping: the router cannot reach"),
            ("behind = \"127.0.0.1:8080\"\n[port-mapping]\n", "port-mapping: the web server in front"),
        ] {
            let error = read(text, Given::default()).err().unwrap_or_else(|| panic!("{text} was taken"));
            assert!(format!("{error:#}").contains(part), "{text}: {error:#}");
        }
    }
}
