//! From where somebody comes, as far as an address can say it: one IPv4 address, or the IPv6 /64 that one household or one
//! phone has. It is the weakest of proofs: carriers share addresses, and phones change them.

use crate::access::canonical;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

/// Of one session.
pub const MOST_SOURCES: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{given}\" is not a source: write an address, as 192.0.2.7 or 2001:db8::7")]
pub struct SourceError {
    pub given: String,
}

impl Source {
    pub fn of(ip: IpAddr) -> Self {
        Self(match canonical(ip) {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        })
    }

    pub fn covers(self, ip: IpAddr) -> bool {
        Self::of(ip) == self
    }

    /// Of an IPv6 network the first address.
    pub fn address(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => write!(f, "{ip}"),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(given: &str) -> Result<Self, SourceError> {
        let error = || SourceError { given: given.chars().take(80).collect() };
        let (address, is_network) = given.strip_suffix("/64").map_or((given, false), |address| (address, true));
        let ip: IpAddr = address.parse().map_err(|_| error())?;
        let source = Self::of(ip);
        if is_network && source.0.is_ipv4() { Err(error()) } else { Ok(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(given: &str) -> Source {
        given.parse().unwrap()
    }

    #[test]
    fn it_is_one_ipv4_address_or_the_64_of_an_ipv6_address() {
        let table = [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("::ffff:192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.7", "2001:db8::7", false),
            ("2001:db8:0:1::7", "2001:db8:0:1:ffff::9", true),
            ("2001:db8:0:1::/64", "2001:db8:0:1::9", true),
            ("2001:db8:0:1::7", "2001:db8:0:2::7", false),
        ];
        for (given, ip, is_covered) in table {
            assert_eq!(source(given).covers(ip.parse().unwrap()), is_covered, "{given} and {ip}");
        }
    }

    #[test]
    fn it_reads_back_as_it_is_written_and_nonsense_is_named() {
        for (given, written) in [("192.0.2.7", "192.0.2.7"), ("2001:db8:0:1::7", "2001:db8:0:1::/64")] {
            assert_eq!(source(given).to_string(), written);
            assert_eq!(source(written), source(given));
        }
        for bad in ["", "192.0.2.7/64", "192.0.2.0/24", "2001:db8::/48", "example.org", "192.0.2.7:80"] {
            assert_eq!(bad.parse::<Source>().unwrap_err().given, bad);
        }
    }
}
