//! `[portal]`: what somebody at a gateway's portal may have this device do. Nothing, unless it says so here.

use super::file::Fault;
use doorward_core::access::Networks;
use serde::Deserialize;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use toml::Spanned;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortalSettings {
    /// Targets that may be offered from there. Empty: none.
    pub may_offer: Vec<TargetRange>,
    /// Whether to look around in the own network when asked to.
    pub may_scan: bool,
}

/// Addresses and ports, as `192.168.1.0/24:80`.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetRange {
    text: String,
    networks: Networks,
    ports: RangeInclusive<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PortalTable {
    #[serde(default)]
    may_offer: Vec<Spanned<String>>,
    #[serde(default)]
    may_scan: bool,
}

impl PortalTable {
    pub(super) fn read(self) -> Result<PortalSettings, Fault> {
        let range = |text: &Spanned<String>| {
            TargetRange::parse(text.get_ref()).ok_or_else(|| {
                let why = format!(
                    "\"{}\" is no range: write addresses and ports, as 127.0.0.1:*, 192.168.1.0/24:80, \
                     10.0.0.7:8000-8010 or [fd00::/8]:80",
                    text.get_ref()
                );
                Fault::new(&text.span(), why)
            })
        };
        let may_offer = self.may_offer.iter().map(range).collect::<Result<_, _>>()?;
        Ok(PortalSettings { may_offer, may_scan: self.may_scan })
    }
}

impl TargetRange {
    fn parse(text: &str) -> Option<Self> {
        let (network, ports) = text.rsplit_once(':')?;
        let bare = network.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if network.contains(':') != bare.is_some() {
            return None;
        }
        let networks = Networks::parse(&[bare.unwrap_or(network).to_owned()]).ok()?;
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
        let ports = match (ports, ports.split_once('-')) {
            ("*", _) => 1..=u16::MAX,
            (_, Some((low, high))) => port(low)?..=port(high)?,
            (one, None) => port(one)?..=port(one)?,
        };
        (!ports.is_empty()).then(|| Self { text: text.to_owned(), networks, ports })
    }

    pub(crate) fn covers(&self, ip: IpAddr, port: u16) -> bool {
        self.ports.contains(&port) && self.networks.contain(ip)
    }
}

impl fmt::Display for TargetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_covers_its_addresses_and_ports_and_nothing_beside() {
        let table = [
            ("127.0.0.1:*", "127.0.0.1:1", true),
            ("127.0.0.1:*", "127.0.0.2:1", false),
            ("127.0.0.1:*", "[::ffff:127.0.0.1]:65535", true),
            ("192.168.1.0/24:80", "192.168.1.200:80", true),
            ("192.168.1.0/24:80", "192.168.1.200:81", false),
            ("192.168.1.0/24:80", "192.168.2.1:80", false),
            ("10.0.0.7:8000-8010", "10.0.0.7:8010", true),
            ("10.0.0.7:8000-8010", "10.0.0.7:8011", false),
            ("[fd00::/8]:80", "[fd12::1]:80", true),
            ("[fd00::/8]:80", "[fe80::1]:80", false),
            ("[::1]:*", "[::1]:22", true),
            ("0.0.0.0/0:22", "[2001:db8::1]:22", false),
        ];
        for (range, address, expected) in table {
            let address: std::net::SocketAddr = address.parse().unwrap();
            let range = TargetRange::parse(range).unwrap();
            assert_eq!(range.covers(address.ip(), address.port()), expected, "{range} {address}");
        }
        for wrong in [
            "",
            "*",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:9-8",
            "localhost:80",
            "fd00::/8:80",
            "10.0.0.0/33:1",
            "10.0.0.1:65536",
            "[10.0.0.1:80",
            "10.0.0.1:1-2-3",
            "127.0.0.1:**",
        ] {
            assert_eq!(TargetRange::parse(wrong), None, "{wrong}");
        }
    }
}
