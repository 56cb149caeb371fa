//! What a world consists of.

use crate::conditions::Conditions;

/// Which nodes there are besides internet, gateway, home router, device and two visitors.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    pub(crate) carrier: bool,
    pub(crate) second_device: bool,
    pub(crate) other_gateway: bool,
    pub(crate) hidden_visitor: bool,
    pub(crate) ipv6_at_home: bool,
    pub(crate) line: Option<Conditions>,
}

impl Shape {
    /// device – home router – internet – gateway, and two visitors.
    pub fn home() -> Shape {
        Shape::default()
    }

    /// The home router's uplink has an address of 100.64.0.0/10, behind the provider's own NAT.
    pub fn behind_carrier_nat(mut self) -> Shape {
        self.carrier = true;
        self
    }

    pub fn with_second_device(mut self) -> Shape {
        self.second_device = true;
        self
    }

    /// Another host with public addresses, where the gateway can be restored.
    pub fn with_other_gateway(mut self) -> Shape {
        self.other_gateway = true;
        self
    }

    /// A visitor behind a NAT of its own.
    pub fn with_hidden_visitor(mut self) -> Shape {
        self.hidden_visitor = true;
        self
    }

    /// The home has IPv6 as well, with the usual firewall: out yes, in no. Not together with a carrier's NAT.
    pub fn with_ipv6_at_home(mut self) -> Shape {
        self.ipv6_at_home = true;
        self
    }

    /// The home router's uplink is a line with delay, loss, a rate, …, see [`crate::World::line`].
    pub fn over_line(mut self, conditions: Conditions) -> Shape {
        self.line = Some(conditions);
        self
    }
}

/// The addresses of the world (RFC 5737, RFC 6598, RFC 3849). Those called SPARE belong to nobody at first.
pub mod addresses {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }

    const fn v6(site: u16, host: u16) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, site, 0, 0, 0, 0, host))
    }

    pub const GATEWAY: [IpAddr; 2] = [v4(203, 0, 113, 10), v6(0x10, 0x10)];
    pub const GATEWAY_SPARE: [IpAddr; 2] = [v4(203, 0, 113, 11), v6(0x10, 0x11)];
    pub const OTHER_GATEWAY: [IpAddr; 2] = [v4(203, 0, 113, 20), v6(0x10, 0x20)];
    pub const VISITOR: [IpAddr; 2] = [v4(198, 51, 100, 10), v6(0x20, 0x10)];
    pub const OTHER_VISITOR: [IpAddr; 2] = [v4(198, 51, 100, 20), v6(0x20, 0x20)];
    pub const CAFE_ROUTER: IpAddr = v4(198, 51, 100, 200);
    pub const CAFE_LAN: IpAddr = v4(10, 20, 0, 1);
    pub const HIDDEN_VISITOR: IpAddr = v4(10, 20, 0, 10);
    /// The home router's public address, where there is no carrier's NAT.
    pub const HOME: [IpAddr; 2] = [v4(198, 51, 100, 77), v6(0x77, 1)];
    pub const HOME_SPARE: IpAddr = v4(198, 51, 100, 78);
    /// The home router's address towards the carrier.
    pub const HOME_AT_CARRIER: IpAddr = v4(100, 64, 0, 77);
    pub const HOME_AT_CARRIER_SPARE: IpAddr = v4(100, 64, 0, 78);
    pub const CARRIER: IpAddr = v4(198, 51, 100, 100);
    pub const CARRIER_SPARE: IpAddr = v4(198, 51, 100, 101);
    pub const CARRIER_INSIDE: IpAddr = v4(100, 64, 0, 1);
    pub const HOME_LAN: [IpAddr; 2] = [v4(192, 168, 77, 1), v6(0x78, 1)];
    pub const DEVICE: [IpAddr; 2] = [v4(192, 168, 77, 10), v6(0x78, 0x10)];
    pub const DEVICE_SPARE: IpAddr = v4(192, 168, 77, 60);
    pub const DEVICE_SPARE_IPV6: IpAddr = v6(0x78, 0x60);
    pub const SECOND_DEVICE: [IpAddr; 2] = [v4(192, 168, 77, 11), v6(0x78, 0x11)];
    /// The internet's end of every public host's line.
    pub const INTERNET: IpAddr = v4(192, 0, 2, 1);
    /// The next hop towards the internet in IPv6, the same on every line.
    pub const NEXT_HOP: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
}
