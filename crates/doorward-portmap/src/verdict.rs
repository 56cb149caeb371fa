//! Whether the router's external address is one that the internet reaches.

use std::fmt;
use std::net::Ipv4Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As far as can be told from inside. Only a probe from outside proves it.
    Reachable,
    /// The router itself has an address that is not of the internet.
    CarrierNat { external: Ipv4Addr },
    /// The router has a public address, and the gateway sees this home coming from another.
    SeenElsewhere { external: Ipv4Addr, seen: Ipv4Addr },
    /// The router does not say, or says nonsense: its line may be down.
    Unknown,
}

/// `seen`: where the gateway sees our link come from, if it comes straight and in IPv4.
pub fn verdict(external: Option<Ipv4Addr>, seen: Option<Ipv4Addr>) -> Verdict {
    let Some(external) = external.filter(|address| !is_nonsense(*address)) else { return Verdict::Unknown };
    match seen {
        _ if !is_public(external) => Verdict::CarrierNat { external },
        // A gateway in the same private network sees a private address, which says nothing.
        Some(seen) if is_public(seen) && seen != external => Verdict::SeenElsewhere { external, seen },
        Some(_) | None => Verdict::Reachable,
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reachable => f.write_str("the router has a public address"),
            Self::CarrierNat { external } => {
                write!(f, "behind carrier NAT (the router's own address is {external}): using the relay instead")
            }
            Self::SeenElsewhere { external, seen } => write!(
                f,
                "behind carrier NAT (the router says {external}, the gateway sees {seen}): using the relay instead"
            ),
            Self::Unknown => f.write_str("the router does not say its external address: using the relay instead"),
        }
    }
}

fn is_nonsense(address: Ipv4Addr) -> bool {
    address.octets()[0] == 0 || address.is_loopback() || address.is_multicast() || address.octets()[0] >= 240
}

/// Private (RFC 1918), shared by carriers (RFC 6598), link-local (RFC 3927).
pub(crate) fn is_private(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private() || address.is_link_local() || (a == 100 && b & 0xc0 == 64)
}

fn is_public(address: Ipv4Addr) -> bool {
    // RFC 6333 and RFC 7335: the inside of carriers' translation from IPv4 to IPv6.
    let is_translators = address.octets()[..3] == [192, 0, 0];
    !is_nonsense(address) && !is_private(address) && !is_translators
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_plain() {
        let reachable = Verdict::Reachable;
        let carrier = |text: &str| Verdict::CarrierNat { external: text.parse().unwrap() };
        let table: &[(Option<&str>, Option<&str>, Verdict)] = &[
            (Some("198.51.100.7"), None, reachable),
            (Some("198.51.100.7"), Some("198.51.100.7"), reachable),
            (Some("198.51.100.7"), Some("192.168.1.5"), reachable),
            (
                Some("198.51.100.7"),
                Some("203.0.113.9"),
                Verdict::SeenElsewhere {
                    external: Ipv4Addr::new(198, 51, 100, 7),
                    seen: Ipv4Addr::new(203, 0, 113, 9),
                },
            ),
            (Some("100.64.0.1"), None, carrier("100.64.0.1")),
            (Some("100.127.255.255"), Some("203.0.113.9"), carrier("100.127.255.255")),
            (Some("100.128.0.1"), None, reachable),
            (Some("100.63.255.255"), None, reachable),
            (Some("10.0.0.2"), Some("203.0.113.9"), carrier("10.0.0.2")),
            (Some("172.31.0.2"), None, carrier("172.31.0.2")),
            (Some("192.168.1.1"), None, carrier("192.168.1.1")),
            (Some("169.254.1.1"), None, carrier("169.254.1.1")),
            (Some("192.0.0.2"), None, carrier("192.0.0.2")),
            (Some("0.0.0.0"), Some("203.0.113.9"), Verdict::Unknown),
            (Some("0.1.2.3"), None, Verdict::Unknown),
            (Some("127.0.0.1"), None, Verdict::Unknown),
            (Some("224.0.0.1"), None, Verdict::Unknown),
            (Some("255.255.255.255"), None, Verdict::Unknown),
            (None, Some("203.0.113.9"), Verdict::Unknown),
        ];
        for (external, seen, expected) in table {
            let [external, seen] = [external, seen].map(|text| text.map(|text| text.parse().unwrap()));
            assert_eq!(verdict(external, seen), *expected, "{external:?} {seen:?}");
        }
    }
}
