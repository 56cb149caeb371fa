//! The one router that may be spoken to: that of this machine's own default route.

use crate::verdict::is_private;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use thiserror::Error;

/// The router, and this machine as the router sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) router: Ipv4Addr,
    pub(crate) local: Ipv4Addr,
    pub(crate) ports: Ports,
}

/// Where routers listen. Tests have routers elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// PCP and NAT-PMP.
    pub(crate) mapping: u16,
    /// SSDP, UPnP's search.
    pub(crate) search: u16,
}

pub(crate) const PORTS: Ports = Ports { mapping: 5351, search: 1900 };

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoRouter {
    #[error("this machine has no default route in IPv4")]
    NoRoute,
    #[error("the default route leads through {0}, which is no router at home: nothing is asked of it")]
    NotPrivate(Ipv4Addr),
    #[error("this machine has the address {0}, which needs no mapping")]
    OwnAddress(Ipv4Addr),
    #[error("the routes of this machine cannot be read")]
    Unreadable,
}

/// proc_net_route: the kernel's table of this process's own network namespace.
const ROUTES: &str = "/proc/net/route";

pub(crate) fn look() -> Result<Network, NoRouter> {
    let table = fs::read_to_string(ROUTES).map_err(|_| NoRouter::Unreadable)?;
    let router = default_router(&table).ok_or(NoRouter::NoRoute)?;
    if !is_private(router) {
        return Err(NoRouter::NotPrivate(router));
    }
    let local = local_towards(router).ok_or(NoRouter::NoRoute)?;
    if is_private(local) { Ok(Network { router, local, ports: PORTS }) } else { Err(NoRouter::OwnAddress(local)) }
}

/// This machine's address towards the router that would be asked: where whatever a mapping leads to has to listen.
pub fn local_address() -> Result<Ipv4Addr, NoRouter> {
    look().map(|network| network.local)
}

/// Which of our addresses speaks to it. Connecting a datagram socket sends nothing.
fn local_towards(router: Ipv4Addr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((router, PORTS.mapping)).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(local) => Some(local),
        std::net::IpAddr::V6(_) => None,
    }
}

/// RTF_UP and RTF_GATEWAY of route.h; RTF_REJECT is a route that leads nowhere.
const UP: u32 = 0x1;
const GATEWAY: u32 = 0x2;
const REJECT: u32 = 0x200;

/// The router of the default route with the smallest metric. A default route without a router (a VPN, a modem)
/// hides those behind it: what leaves by it does not pass them.
fn default_router(table: &str) -> Option<Ipv4Addr> {
    let mut best: Option<(u32, Option<Ipv4Addr>)> = None;
    for line in table.lines().skip(1) {
        let Some((metric, router)) = default_route(line) else { continue };
        if best.is_none_or(|(smallest, _)| metric < smallest) {
            best = Some((metric, router));
        }
    }
    best.and_then(|(_, router)| router)
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`; addresses in hexadecimal, as they lie in memory.
fn default_route(line: &str) -> Option<(u32, Option<Ipv4Addr>)> {
    let mut words = line.split_whitespace().skip(1);
    let mut number = || u32::from_str_radix(words.next()?, 16).ok();
    let (destination, gateway, flags) = (number()?, number()?, number()?);
    let metric = words.nth(2)?.parse().ok()?;
    let mask = u32::from_str_radix(words.next()?, 16).ok()?;
    if destination != 0 || mask != 0 || flags & UP == 0 || flags & REJECT != 0 {
        return None;
    }
    let router = (flags & GATEWAY != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()));
    Some((metric, router))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn router_of(lines: &[&str]) -> Option<Ipv4Addr> {
        default_router(&format!("{HEAD}{}", lines.join("\n")))
    }

    /// As x86 and ARM write it.
    #[cfg(target_endian = "little")]
    #[test]
    fn the_router_is_that_of_the_default_route_with_the_smallest_metric() {
        let lan = "eth0\t00004DC0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        let home = "eth0\t00000000\t014DA8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0";
        let phone = "wlan0\t00000000\t0100000A\t0003\t0\t0\t600\t00000000\t0\t0\t0";
        let tunnel = "tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0";
        let half = "tun0\t00000000\t0100000A\t0003\t0\t0\t0\t00000080\t0\t0\t0";
        let nowhere = "*\t00000000\t0100000A\t0203\t0\t0\t0\t00000000\t0\t0\t0";
        let down = "eth1\t00000000\t0100000A\t0002\t0\t0\t0\t00000000\t0\t0\t0";
        let at_home = Some(Ipv4Addr::new(192, 168, 77, 1));
        assert_eq!(router_of(&[lan, phone, home]), at_home);
        assert_eq!(router_of(&[home, phone, lan]), at_home);
        assert_eq!(router_of(&[half, nowhere, down, home]), at_home);
        assert_eq!(router_of(&[home, tunnel]), None, "what leaves by a tunnel does not pass the router");
        assert_eq!(router_of(&[lan]), None);
        assert_eq!(router_of(&[]), None);
        assert_eq!(router_of(&["eth0 zz", "eth0\t00000000\t014DA8C0\t0003\t0\t0", "\u{1f6aa}"]), None);
    }
}
