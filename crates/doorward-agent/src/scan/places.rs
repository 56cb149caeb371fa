//! Which addresses are this device's own neighbours.

use std::net::{IpAddr, Ipv4Addr};

/// A network that this machine is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    pub network: Ipv4Addr,
    pub length: u8,
}

/// A larger one is no home's: nobody wants a thousand and more machines asked.
const SHORTEST: u8 = 22;
/// proc(5), route(8).
const ROUTES: &str = "/proc/net/route";
const IS_UP: u32 = 1;
const HAS_GATEWAY: u32 = 2;

impl Subnet {
    pub fn is_small(&self) -> bool {
        self.length >= SHORTEST
    }

    /// Without the network's own address and its broadcast.
    pub fn hosts(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let size = 1_u32.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
        let first = u32::from(self.network);
        (1..size.saturating_sub(1)).map(move |n| Ipv4Addr::from(first + n))
    }
}

/// Private ones, as the kernel routes to them without a gateway.
pub fn own_subnets() -> Vec<Subnet> {
    std::fs::read_to_string(ROUTES).map(|text| read(&text)).unwrap_or_default()
}

fn read(table: &str) -> Vec<Subnet> {
    let mut subnets: Vec<_> = table.lines().skip(1).filter_map(read_line).collect();
    subnets.sort();
    subnets.dedup();
    subnets
}

/// Iface, Destination, Gateway, Flags, RefCnt, Use, Metric, Mask, …; addresses as the machine's own numbers.
fn read_line(line: &str) -> Option<Subnet> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
    let address = |at: usize| number(at).map(|number| Ipv4Addr::from(number.to_ne_bytes()));
    let flags = number(3)?;
    if flags & IS_UP == 0 || flags & HAS_GATEWAY != 0 {
        return None;
    }
    let (network, mask) = (address(1)?, u32::from(address(7)?));
    let length = u8::try_from(mask.leading_ones()).ok()?;
    (length < 32 && is_private(network.into())).then_some(Subnet { network, length })
}

pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback(),
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn only_own_private_networks_are_looked_at() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            wlan0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            eth1\t0002A8C0\t0101A8C0\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            eth2\t00000A0A\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            ppp0\t0100000A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n\
            wan\t00020BCB\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\nnonsense\n";
        let subnet = |network: &str, length| Subnet { network: network.parse().unwrap(), length };
        assert_eq!(read(table), [subnet("172.17.0.0", 16), subnet("192.168.1.0", 24)]);
        assert_eq!((subnet("172.17.0.0", 16).is_small(), subnet("10.0.0.0", 22).is_small()), (false, true));
        let hosts: Vec<_> = subnet("192.168.1.0", 24).hosts().collect();
        assert_eq!(
            (hosts.len(), hosts[0].to_string(), hosts[253].to_string()),
            (254, "192.168.1.1".into(), "192.168.1.254".into())
        );
        assert_eq!(subnet("10.0.0.0", 31).hosts().count() + subnet("10.0.0.0", 22).hosts().count(), 1022);
    }
}
