//! Certificates for the web entrance: which sets of names need one, and when it is time to order. A certificate
//! authority is asked only for names that are known here (RFC 8555 leaves it to the client what to ask for, and asks
//! for nonsense use up the authority's patience).

mod plan;
mod scope;

pub use plan::{Attempt, AuthorityTerms, Held, Need, Outcome, Pause, Situation, Tempo, WEEK, Window, plan, weekly_use};
pub use scope::Scope;

use crate::names::HostName;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use thiserror::Error;

/// What a certificate can be for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertificateName {
    Host(HostName),
    /// Every name one label below: `*.example.org`.
    Below(HostName),
    /// RFC 8738.
    Ip(IpAddr),
}

impl CertificateName {
    pub fn covers(&self, host: &HostName) -> bool {
        match self {
            Self::Host(name) => name == host,
            Self::Below(parent) => host.as_str().split_once('.').is_some_and(|(_, rest)| rest == parent.as_str()),
            Self::Ip(_) => false,
        }
    }

    /// The name whose address records lead visitors here.
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::Host(name) | Self::Below(name) => Some(name),
            Self::Ip(_) => None,
        }
    }

    fn parse(text: &str) -> Result<Self, NamesError> {
        let wrong = || NamesError(text.to_owned());
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        match text.strip_prefix("*.") {
            Some(parent) => HostName::parse(parent).map(Self::Below),
            None => HostName::parse(text).map(Self::Host),
        }
        .map_err(|_| wrong())
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => name.fmt(f),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// The names of one certificate: at least one, each once, in order. Written with commas between.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Names(Vec<CertificateName>);

#[derive(Debug, Error)]
#[error("{0:?} is not a name that a certificate can be for")]
pub struct NamesError(String);

impl Names {
    pub fn one(name: CertificateName) -> Self {
        Self(vec![name])
    }

    fn domain_and_below(domain: &HostName) -> Self {
        Self(vec![CertificateName::Host(domain.clone()), CertificateName::Below(domain.clone())])
    }

    pub fn parse(text: &str) -> Result<Self, NamesError> {
        let names = text.split(',').map(CertificateName::parse).collect::<Result<BTreeSet<_>, _>>()?;
        Ok(Self(names.into_iter().collect()))
    }

    pub fn iter(&self) -> impl Iterator<Item = &CertificateName> {
        self.0.iter()
    }

    pub fn covers(&self, host: &HostName) -> bool {
        self.0.iter().any(|name| name.covers(host))
    }

    pub fn has_wildcard(&self) -> bool {
        self.0.iter().any(|name| matches!(name, CertificateName::Below(_)))
    }

    pub fn is_address(&self) -> bool {
        self.0.iter().all(|name| matches!(name, CertificateName::Ip(_)))
    }

    /// The same number for the same names, for spreading what need not happen at once.
    pub fn hash(&self) -> u64 {
        // FNV-1a: the same in every version and process.
        self.to_string()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

/// What there is to certify.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub domain: Option<HostName>,
    /// Whether one certificate shall cover every name below the domain; only DNS-01 can prove that.
    pub wildcard: bool,
    pub addresses: Vec<IpAddr>,
    /// Whether names that no public authority certifies are wanted too, from a private one.
    pub reserved_names: bool,
}

/// The sets of names to hold certificates for, the domain's first. `hosts`: the host names of services.
pub fn wanted(wishes: &Wishes, hosts: impl IntoIterator<Item = HostName>) -> Vec<Names> {
    let may = |host: &HostName| wishes.reserved_names || !is_reserved(host);
    let mut sets: Vec<Names> = Vec::new();
    if let Some(domain) = wishes.domain.as_ref().filter(|domain| may(domain)) {
        sets.push(match wishes.wildcard {
            true => Names::domain_and_below(domain),
            false => Names::one(CertificateName::Host(domain.clone())),
        });
    }
    sets.extend(wishes.addresses.iter().map(|ip| Names::one(CertificateName::Ip(*ip))));
    let hosts: BTreeSet<HostName> = hosts.into_iter().collect();
    let further = hosts.into_iter().filter(|host| may(host) && !sets.iter().any(|set| set.covers(host)));
    let further: Vec<_> = further.map(|host| Names::one(CertificateName::Host(host))).collect();
    sets.extend(further);
    sets
}

/// Names that exist nowhere, or only in one network, or for documentation (RFC 2606, RFC 6761, RFC 6762, RFC 8375,
/// ICANN's `.internal`), and names that are no domain at all.
pub fn is_reserved(host: &HostName) -> bool {
    const ENDS: &[&str] = &[
        "alt",
        "arpa",
        "example",
        "example.com",
        "example.net",
        "example.org",
        "internal",
        "invalid",
        "lan",
        "local",
        "localhost",
        "onion",
        "test",
    ];
    let host = host.as_str();
    let ends_in = |end: &&str| host.strip_suffix(*end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !host.contains('.') || ENDS.iter().any(ends_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    fn wanted_words(wishes: &Wishes, hosts: &[&str]) -> Vec<String> {
        wanted(wishes, hosts.iter().map(|name| host(name))).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_known_name_gets_a_certificate_once() {
        let wishes = Wishes { domain: Some(host("gw.net")), ..Wishes::default() };
        let hosts = ["b.gw.net", "a.gw.net", "b.gw.net", "gw.net", "elsewhere.com"];
        assert_eq!(wanted_words(&wishes, &hosts), ["gw.net", "a.gw.net", "b.gw.net", "elsewhere.com"]);
    }

    #[test]
    fn a_wildcard_spares_the_names_one_label_below_the_domain_and_no_others() {
        let wishes = Wishes { domain: Some(host("gw.net")), wildcard: true, ..Wishes::default() };
        let hosts = ["a.gw.net", "x.a.gw.net", "agw.net"];
        assert_eq!(wanted_words(&wishes, &hosts), ["gw.net,*.gw.net", "agw.net", "x.a.gw.net"]);
    }

    #[test]
    fn a_public_authority_is_not_asked_for_names_that_it_cannot_certify() {
        let mut wishes = Wishes { domain: Some(host("gw.test")), ..Wishes::default() };
        let hosts = ["printer.local", "a.localhost", "pi", "www.example.org", "notexample.org", "x.test.net"];
        assert_eq!(wanted_words(&wishes, &hosts), ["notexample.org", "x.test.net"]);
        wishes.reserved_names = true;
        assert_eq!(wanted_words(&wishes, &hosts).len(), 7);
    }

    #[test]
    fn names_survive_being_written_and_read() {
        for text in ["gw.net", "gw.net,*.gw.net", "192.0.2.1", "2001:db8::1"] {
            assert_eq!(Names::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Names::parse("b.net,a.net,b.net").unwrap().to_string(), "a.net,b.net");
        for bad in ["", "*", "a,,b", "*.*.gw.net", "a b"] {
            assert!(Names::parse(bad).is_err(), "{bad}");
        }
    }
}
