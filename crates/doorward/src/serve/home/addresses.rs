//! This machine's own addresses that are worth telling others.

use crate::serve::settings::own_addresses;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};

/// The kernel's table of this network namespace: address, interface, prefix, scope, flags, name.
const IPV6: &str = "/proc/net/if_inet6";
/// if_addr.h: IFA_F_TEMPORARY, IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE.
const DOES_NOT_LAST: u8 = 0x01 | 0x08 | 0x20 | 0x40;

/// As the routing table tells; no packet is sent.
pub(super) fn own() -> Vec<IpAddr> {
    let table = fs::read_to_string(IPV6).unwrap_or_default();
    let lasting = |ip| match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(lasting(ip, &table)),
    };
    own_addresses().into_iter().map(lasting).collect()
}

/// What this machine speaks from may be a temporary address (RFC 8981), which is another one tomorrow: then the lasting
/// one of the same network, if there is one.
fn lasting(spoken_from: Ipv6Addr, table: &str) -> Ipv6Addr {
    let all: Vec<_> = table.lines().filter_map(entry).filter(|(_, flags)| flags & DOES_NOT_LAST == 0).collect();
    let network = |ip: Ipv6Addr| ip.to_bits() >> 64;
    let same = all.iter().find(|(ip, _)| *ip == spoken_from);
    let beside = all.iter().find(|(ip, _)| network(*ip) == network(spoken_from));
    same.or(beside).map_or(spoken_from, |(ip, _)| *ip)
}

fn entry(line: &str) -> Option<(Ipv6Addr, u8)> {
    let mut fields = line.split_whitespace();
    let address = u128::from_str_radix(fields.next()?, 16).ok()?;
    let flags = u8::from_str_radix(fields.nth(3)?, 16).ok()?;
    Some((Ipv6Addr::from_bits(address), flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_another_one_tomorrow_is_not_told() {
        let table = "20010db8000000000000000000000abc 02 40 00 01     eth0\n\
                     20010db8000000010000000000000007 02 40 00 00     eth0\n\
                     20010db8000000000000000000000007 02 40 00 00     eth0\n\
                     20010db8000000000000000000000008 02 40 00 20     eth0\n\
                     fe800000000000000000000000000001 02 40 20 80     eth0\n\
                     nonsense\n";
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        for (spoken_from, told) in [
            ("2001:db8::abc", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("2001:db8::8", "2001:db8::7"),
            ("2001:db8:0:1::7", "2001:db8:0:1::7"),
            ("2001:db8:0:9::7", "2001:db8:0:9::7"),
        ] {
            assert_eq!(lasting(ip(spoken_from), table), ip(told), "{spoken_from}");
        }
    }
}
