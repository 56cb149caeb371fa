//! What an authority of the gateway's own may certify. Whoever installs its root trusts it for this and nothing else
//! (RFC 5280, 4.2.1.10).

use super::NamesError;
use crate::names::HostName;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// One domain with every name below it, and single addresses. Written with commas between, the domain first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub domain: HostName,
    pub addresses: BTreeSet<IpAddr>,
}

impl Scope {
    pub fn new(domain: HostName, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { domain, addresses: addresses.into_iter().collect() }
    }

    pub fn covers(&self, host: &HostName) -> bool {
        host.is_under(&self.domain)
    }

    /// Which of the other's addresses it does not cover.
    pub fn lacks(&self, other: &Scope) -> Vec<IpAddr> {
        other.addresses.difference(&self.addresses).copied().collect()
    }

    pub fn parse(text: &str) -> Result<Self, NamesError> {
        let wrong = || NamesError(text.to_owned());
        let mut parts = text.split(',');
        let domain = parts.next().and_then(|part| HostName::parse(part).ok()).ok_or_else(wrong)?;
        let addresses = parts.map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        Ok(Self { domain, addresses })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.domain)?;
        self.addresses.iter().try_for_each(|ip| write!(f, ",{ip}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    #[test]
    fn a_scope_is_a_domain_with_all_below_it_and_single_addresses() {
        let scope = Scope::parse("gw.lan,192.0.2.1,2001:db8::1").unwrap();
        assert_eq!(scope.to_string(), "gw.lan,192.0.2.1,2001:db8::1");
        for name in ["gw.lan", "a.gw.lan", "x.a.gw.lan"] {
            assert!(scope.covers(&host(name)), "{name}");
        }
        for name in ["lan", "agw.lan", "gw.lan.net", "192.0.2.1"] {
            assert!(!scope.covers(&host(name)), "{name}");
        }
        let wanted = Scope::parse("gw.lan,192.0.2.1,192.0.2.2").unwrap();
        assert_eq!(scope.lacks(&wanted), ["192.0.2.2".parse::<IpAddr>().unwrap()]);
        assert!(wanted.lacks(&Scope::parse("gw.lan").unwrap()).is_empty());
        for bad in ["", "192.0.2.1,gw.lan", "gw.lan,", "gw.lan,gw.lan"] {
            assert!(Scope::parse(bad).is_err(), "{bad}");
        }
    }
}
