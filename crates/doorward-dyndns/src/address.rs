//! What a name shall point at.

use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Addresses that the internet reaches. A missing one is not known, and what is told about it stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Addresses {
    /// Drops what is no address of the internet: a name in public DNS must not lead into somebody's own network.
    pub fn public(v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> Self {
        Self { v4: v4.filter(|address| is_public_v4(*address)), v6: v6.filter(|address| is_public_v6(*address)) }
    }

    pub fn v4(&self) -> Option<Ipv4Addr> {
        self.v4
    }

    pub fn v6(&self) -> Option<Ipv6Addr> {
        self.v6
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// Only those of families that are wanted.
    pub(crate) fn only(self, v4: bool, v6: bool) -> Self {
        Self { v4: self.v4.filter(|_| v4), v6: self.v6.filter(|_| v6) }
    }

    /// Whether it says anything that `told` does not.
    pub(crate) fn differs_from(&self, told: &Self) -> bool {
        (self.v4.is_some() && self.v4 != told.v4) || (self.v6.is_some() && self.v6 != told.v6)
    }

    pub(crate) fn merged_into(self, told: Self) -> Self {
        Self { v4: self.v4.or(told.v4), v6: self.v6.or(told.v6) }
    }
}

/// Not of RFC 6890's tables of special addresses, as far as anybody meets them.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_carriers_or_for_tests = matches!((a, b, c), (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _));
    let is_inside = matches!((a, b), (0 | 10 | 127, _) | (169, 254) | (172, 16..=31) | (192, 168));
    !is_inside && !is_carriers_or_for_tests && a < 224
}

/// 2000::/3 alone is given to anybody (RFC 4291, 2.4), without Teredo, 6to4 and ORCHID, which lead nowhere today.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let leads_nowhere = matches!((a, b), (0x2002, _) | (0x2001, 0x0000 | 0x0020..=0x002f));
    a & 0xe000 == 0x2000 && !leads_nowhere
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_told() {
        for (text, expected) in [
            ("198.51.100.7", true),
            ("172.32.0.1", true),
            ("100.128.0.1", true),
            ("192.0.2.1", true),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("169.254.0.1", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("198.18.0.1", false),
        ] {
            assert_eq!(Addresses::public(text.parse().ok(), None).v4().is_some(), expected, "{text}");
        }
        for (text, expected) in [
            ("2001:db8::1", true),
            ("2a00::1", true),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("::ffff:198.51.100.7", false),
            ("2002:c633:6407::1", false),
            ("2001::1", false),
        ] {
            assert_eq!(Addresses::public(None, text.parse().ok()).v6().is_some(), expected, "{text}");
        }
    }
}
