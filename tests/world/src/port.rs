//! Where a node is plugged in: its uplink, and the far end of that wire.

use std::fmt::Write as _;
use std::net::IpAddr;

/// A node's own end of its uplink, with the far end named so that both can be cut.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) interface: String,
    pub(crate) far_interface: String,
    pub(crate) addresses: Vec<IpAddr>,
    /// The far end's address as next hop, per address family.
    pub(crate) via: Vec<IpAddr>,
    pub(crate) kind: PortKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortKind {
    /// A provider's line: single addresses, and the far end holds a route for each. Any address can move to any node.
    Routed,
    /// A place in a local network with its switch: addresses with their prefix, neighbours are reached directly.
    Lan,
}

impl Port {
    /// `ip -batch` lines that bring the interface up with its addresses and default routes. Run again after the
    /// interface was down: the kernel forgets routes then, and IPv6 addresses too.
    pub(crate) fn bring_up(&self) -> String {
        let Port { interface, .. } = self;
        let mut batch = format!("link set dev {interface} up\n");
        for address in &self.addresses {
            let length = self.prefix_length(*address);
            let no_detection = if address.is_ipv6() { " nodad" } else { "" };
            let _ = writeln!(batch, "addr replace {address}/{length} dev {interface}{no_detection}");
        }
        if self.kind == PortKind::Routed && self.addresses.iter().any(IpAddr::is_ipv6) {
            // A router asks for its neighbours from a link-local address.
            let _ = writeln!(batch, "addr replace fe80::2/64 dev {interface} nodad");
        }
        for via in self.via.iter().filter(|via| self.addresses.iter().any(|own| own.is_ipv6() == via.is_ipv6())) {
            let _ = writeln!(batch, "route replace default via {via} dev {interface} onlink");
        }
        batch
    }

    /// Takes the interface down and its addresses away.
    pub(crate) fn take_down(&self) -> String {
        let Port { interface, .. } = self;
        format!("link set dev {interface} down\naddr flush dev {interface}\n")
    }

    /// Takes single addresses away. Those that are not there are no mistake: a downed interface loses some by itself.
    pub(crate) fn remove(&self, addresses: &[IpAddr]) -> String {
        let Port { interface, .. } = self;
        addresses.iter().map(|address| format!("addr flush dev {interface} to {}\n", single(*address))).collect()
    }

    /// Routes the far end of a provider's line needs. A local network needs none.
    pub(crate) fn far_routes(&self) -> String {
        let Port { far_interface, .. } = self;
        let lines = self.addresses.iter().map(|address| format!("route replace {address} dev {far_interface}\n"));
        if self.kind == PortKind::Routed { lines.collect() } else { String::new() }
    }

    /// Takes the routes for `addresses` from the far end; not one that leads elsewhere by now.
    pub(crate) fn remove_far_routes(&self, addresses: &[IpAddr]) -> String {
        let Port { far_interface, .. } = self;
        let lines =
            addresses.iter().map(|address| format!("route flush exact {} dev {far_interface}\n", single(*address)));
        if self.kind == PortKind::Routed { lines.collect() } else { String::new() }
    }

    fn prefix_length(&self, address: IpAddr) -> u8 {
        match (self.kind, address) {
            (PortKind::Routed, IpAddr::V4(_)) => 32,
            (PortKind::Routed, IpAddr::V6(_)) => 128,
            (PortKind::Lan, IpAddr::V4(_)) => 24,
            (PortKind::Lan, IpAddr::V6(_)) => 64,
        }
    }
}

fn single(address: IpAddr) -> String {
    let length = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{length}")
}
