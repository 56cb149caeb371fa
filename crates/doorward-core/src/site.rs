//! A site and how it is reached: the fingerprint that agents pin, and addresses of its gateways.

use crate::names::{HostName, HostNameError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use thiserror::Error;

/// SHA-256 of the site key's SubjectPublicKeyInfo (DER): the one thing an agent trusts for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" is not a fingerprint: 64 hexadecimal digits are wanted")]
pub struct FingerprintError(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        bytes.and_then(|b| b.try_into().ok()).map(Self).ok_or(FingerprintError(text))
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

/// A host to dial: a name, resolved at each attempt, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Name(HostName),
    Ip(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
        }
    }
}

/// What carries a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// QUIC on UDP: no head-of-line blocking, survives a changing address.
    Quic,
    /// TLS on TCP, on the port that HTTPS uses.
    Tls,
    /// The same pinned TLS inside a WebSocket on an ordinary HTTPS URL.
    WebSocket,
    /// In one process: the gateway's built-in agent.
    Memory,
    /// An SSH connection: a device without an agent. Nobody dials it on a gateway's word.
    Ssh,
}

impl Carrier {
    pub fn word(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
            Self::Memory => "memory",
            Self::Ssh => "ssh",
        }
    }
}

/// One way to a gateway, as `quic://gw.example.org:443`, `tls://…`, `wss://…` or (behind a proxy on a trusted
/// network) `ws://…`. `gw.example.org:443` or `gw.example.org` stands for the first three on that port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    scheme: Scheme,
    host: Host,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scheme {
    Any,
    Quic,
    Tls,
    Wss,
    Ws,
}

/// Where to dial and how: an address with its carrier chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub carrier: Carrier,
    pub host: Host,
    pub port: u16,
    /// For a WebSocket: whether the outer connection is HTTPS.
    pub outer_tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{given}\" is not a gateway address: {why}")]
pub struct AddressError {
    pub given: String,
    pub why: String,
}

/// Below it, on the portal's host, services are carried in WebSockets.
pub const CARRY_PATH: &str = "/.well-known/doorward/carry/";

/// The path on which a gateway takes WebSocket links.
pub const LINK_PATH: &str = "/.well-known/doorward/link";

impl Address {
    pub fn parse(given: &str) -> Result<Self, AddressError> {
        let refuse = |why: &str| AddressError { given: given.chars().take(120).collect(), why: why.to_owned() };
        let (scheme, rest) = match given.trim().split_once("://") {
            None => (Scheme::Any, given.trim()),
            Some(("quic", rest)) => (Scheme::Quic, rest),
            Some(("tls", rest)) => (Scheme::Tls, rest),
            Some(("wss" | "https", rest)) => (Scheme::Wss, rest),
            Some(("ws" | "http", rest)) => (Scheme::Ws, rest),
            Some(_) => return Err(refuse("write host:port, or quic://, tls://, wss:// or ws:// before it")),
        };
        let rest = rest.strip_suffix(LINK_PATH).or(rest.strip_suffix('/')).unwrap_or(rest);
        let default_port = if scheme == Scheme::Ws { 80 } else { 443 };
        let (host, port) =
            split_port(rest, default_port).ok_or_else(|| refuse("its port is not a number from 1 to 65535"))?;
        let host = parse_host(host).map_err(|e| refuse(e.why))?;
        Ok(Self { scheme, host, port })
    }

    /// Shorthand for every carrier on one host and port.
    pub fn any(host: Host, port: u16) -> Self {
        Self { scheme: Scheme::Any, host, port }
    }

    pub fn one(carrier: Carrier, host: Host, port: u16) -> Self {
        let scheme = match carrier {
            Carrier::Quic => Scheme::Quic,
            Carrier::Tls => Scheme::Tls,
            Carrier::WebSocket => Scheme::Wss,
            Carrier::Memory | Carrier::Ssh => Scheme::Any,
        };
        Self { scheme, host, port }
    }

    /// The ways to try, best first.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |carrier, outer_tls| Endpoint { carrier, host: self.host.clone(), port: self.port, outer_tls };
        match self.scheme {
            Scheme::Any => {
                vec![endpoint(Carrier::Quic, false), endpoint(Carrier::Tls, false), endpoint(Carrier::WebSocket, true)]
            }
            Scheme::Quic => vec![endpoint(Carrier::Quic, false)],
            Scheme::Tls => vec![endpoint(Carrier::Tls, false)],
            Scheme::Wss => vec![endpoint(Carrier::WebSocket, true)],
            Scheme::Ws => vec![endpoint(Carrier::WebSocket, false)],
        }
    }
}

fn split_port(text: &str, default: u16) -> Option<(&str, u16)> {
    let bracket = text.rfind(']').unwrap_or(0);
    match text[bracket..].rfind(':') {
        Some(at) if !text[..bracket + at].contains(':') || bracket > 0 => {
            let port = text[bracket + at + 1..].parse().ok().filter(|&p| p != 0)?;
            Some((&text[..bracket + at], port))
        }
        Some(_) | None => Some((text, default)),
    }
}

fn parse_host(text: &str) -> Result<Host, HostNameError> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    match bare.parse() {
        Ok(ip) => Ok(Host::Ip(ip)),
        // `1.2.3.4.` is a name by its dot and an address by everything else: one reading of it, everywhere.
        Err(_) => {
            let name = HostName::parse(text)?;
            Ok(name.as_str().parse().map_or(Host::Name(name), Host::Ip))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Any => "",
            Scheme::Quic => "quic://",
            Scheme::Tls => "tls://",
            Scheme::Wss => "wss://",
            Scheme::Ws => "ws://",
        };
        write!(f, "{scheme}{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.carrier.word(), self.host, self.port)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(given: String) -> Result<Self, AddressError> {
        Self::parse(&given)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_meaning_when_written_and_read_again() {
        let table = [
            ("gw.example.org", "gw.example.org:443"),
            ("GW.example.org:8443", "gw.example.org:8443"),
            ("192.0.2.1:4433", "192.0.2.1:4433"),
            ("2001:db8::1", "[2001:db8::1]:443"),
            ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
            ("quic://gw.example.org:4433", "quic://gw.example.org:4433"),
            ("wss://gw.example.org/.well-known/doorward/link", "wss://gw.example.org:443"),
            ("ws://10.0.0.1:8080/", "ws://10.0.0.1:8080"),
            ("http://10.0.0.1", "ws://10.0.0.1:80"),
        ];
        for (given, canonical) in table {
            let address = Address::parse(given).unwrap();
            assert_eq!(address.to_string(), canonical, "{given}");
            assert_eq!(Address::parse(canonical).unwrap(), address);
        }
        for bad in ["", "ftp://gw", "gw:0", "gw:99999", "gw:x", "a b:443", "user@gw:443", "[::1", "gw/path"] {
            assert!(Address::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_carrier_has_one_spelling_everywhere() {
        for carrier in [Carrier::Quic, Carrier::Tls, Carrier::WebSocket, Carrier::Memory, Carrier::Ssh] {
            assert_eq!(serde_json::to_value(carrier).unwrap(), carrier.word());
        }
    }

    #[test]
    fn a_bare_address_offers_every_carrier_best_first() {
        let carriers: Vec<_> = Address::parse("gw").unwrap().endpoints().iter().map(|e| e.carrier).collect();
        assert_eq!(carriers, [Carrier::Quic, Carrier::Tls, Carrier::WebSocket]);
    }
}
