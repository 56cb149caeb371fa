//! Wires between nodes: providers' lines and local networks.

use std::net::IpAddr;

use anyhow::Result;

use crate::conditions::Conditions;
use crate::line::handle::Line;
use crate::node::Node;
use crate::port::{Port, PortKind};
use crate::shape::addresses as at;

pub(crate) fn plug_into_internet(node: &Node, internet: &Node, addresses: &[IpAddr]) -> Result<()> {
    join(node, internet, Port::to_internet("eth0", node.name(), addresses), None).map(drop)
}

/// Lays the wire of an uplink. In IPv6 the far end of every wire is the next hop fe80::1.
pub(crate) fn join(node: &Node, far: &Node, port: Port, conditions: Option<&Conditions>) -> Result<Option<Line>> {
    let Port { interface, far_interface, .. } = &port;
    let line = match conditions {
        Some(conditions) => Some(Line::lay(node, interface, far, far_interface, conditions)?),
        None => {
            let pid = far.pid();
            node.ip_batch(&format!("link add name {interface} type veth peer name {far_interface} netns {pid}\n"))?;
            None
        }
    };
    let mut batch = format!("link set dev {far_interface} up\n");
    if port.addresses.iter().any(IpAddr::is_ipv6) {
        batch.push_str(&format!("addr replace {}/64 dev {far_interface} nodad\n", at::NEXT_HOP));
    } else {
        silence_ipv6(node, interface)?;
        silence_ipv6(far, far_interface)?;
    }
    far.ip_batch(&(batch + &port.far_routes()))?;
    node.ip_batch(&port.bring_up())?;
    node.set_uplink(port, far.clone());
    Ok(line)
}

/// Multicast reports of an interface without need for IPv6 would be counted as traffic.
fn silence_ipv6(node: &Node, interface: &str) -> Result<()> {
    node.run(&format!("echo 1 >/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"))?.ok().map(drop)
}

/// A local network: a switch in its router.
pub(crate) struct Lan<'a> {
    pub(crate) router: &'a Node,
    pub(crate) address: &'a [IpAddr],
    pub(crate) ipv6: bool,
}

impl Lan<'_> {
    pub(crate) fn make(&self) -> Result<()> {
        let mut batch = String::from("link add name lan type bridge mcast_snooping 0\nlink set dev lan up\n");
        for address in self.wanted(self.address) {
            let (length, nodad) = if address.is_ipv4() { (24, "") } else { (64, " nodad") };
            batch.push_str(&format!("addr add {address}/{length} dev lan{nodad}\n"));
        }
        if self.ipv6 {
            batch.push_str(&format!("addr add {}/64 dev lan nodad\n", at::NEXT_HOP));
        }
        self.router.ip_batch(&batch)?;
        if self.ipv6 { Ok(()) } else { silence_ipv6(self.router, "lan") }
    }

    pub(crate) fn plug_in(&self, node: &Node, addresses: &[IpAddr], number: usize) -> Result<()> {
        let far_interface = format!("lan{number}");
        let pid = self.router.pid();
        node.ip_batch(&format!("link add name eth0 type veth peer name {far_interface} netns {pid}\n"))?;
        self.router.ip_batch(&format!("link set dev {far_interface} master lan up\n"))?;
        silence_ipv6(self.router, &far_interface)?;
        let port = Port {
            interface: "eth0".to_owned(),
            far_interface,
            addresses: self.wanted(addresses),
            via: self.wanted(self.address),
            kind: PortKind::Lan,
        };
        node.ip_batch(&port.bring_up())?;
        node.set_uplink(port, self.router.clone());
        Ok(())
    }

    fn wanted(&self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        addresses.iter().copied().filter(|address| address.is_ipv4() || self.ipv6).collect()
    }
}

impl Port {
    pub(crate) fn to_internet(interface: &str, far_interface: &str, addresses: &[IpAddr]) -> Port {
        Port {
            interface: interface.to_owned(),
            far_interface: far_interface.to_owned(),
            addresses: addresses.to_vec(),
            via: vec![at::INTERNET, at::NEXT_HOP],
            kind: PortKind::Routed,
        }
    }
}

pub(crate) fn forward_packets(node: &Node) -> Result<()> {
    let line = "echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";
    node.run(line)?.ok().map(drop)
}
