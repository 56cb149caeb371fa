//! Builds a world: starts the nodes, lays the wires, plugs the routers in.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::holder::Holder;
use crate::line::handle::Line;
use crate::node::{Node, Starting};
use crate::port::{Port, PortKind};
use crate::requirements::check_tools;
use crate::router::Router;
use crate::shape::{Shape, addresses as at};
use crate::wires::{Lan, forward_packets, join, plug_into_internet};

/// A small internet. It ends, with all that runs in it, when this value is dropped or the test process ends.
pub struct World {
    /// Every public line ends here; also a place to look at the world from outside.
    pub internet: Node,
    pub gateway: Node,
    pub home_router: Router,
    pub device: Node,
    pub visitor: Node,
    pub other_visitor: Node,
    carrier: Option<Router>,
    other_gateway: Option<Node>,
    second_device: Option<Node>,
    hidden_visitor: Option<Node>,
    cafe_router: Option<Router>,
    line: Option<Line>,
    // Dropped in this order: first all processes end, then their files go.
    _holder: Holder,
    _folder: TempDir,
}

impl World {
    pub fn build(shape: Shape) -> Result<World> {
        ensure!(!(shape.carrier && shape.ipv6_at_home), "a home behind a carrier's NAT has no IPv6 in this world");
        check_tools()?;
        let folder = tempfile::Builder::new().prefix("doorward-world-").tempdir()?;
        let holder = Holder::start()?;
        let nodes = Nodes::start(&shape, &holder, &folder)?;
        let internet = nodes.internet.clone();
        make_internet(&internet)?;
        connect_public_hosts(&nodes)?;
        let (carrier, line) = connect_home(&shape, &nodes, &internet)?;
        let home_router = Router::set_up(nodes.home_router.clone())?;
        connect_devices(&shape, &nodes)?;
        let cafe_router = connect_cafe(&nodes, &internet)?;
        let Nodes { gateway, device, visitor, other_visitor, other_gateway, second_device, hidden_visitor, .. } = nodes;
        let world = World {
            internet,
            gateway,
            home_router,
            device,
            visitor,
            other_visitor,
            carrier,
            other_gateway,
            second_device,
            hidden_visitor,
            cafe_router,
            line,
            _holder: holder,
            _folder: folder,
        };
        world.point("gateway.example", &at::GATEWAY)?;
        Ok(world)
    }

    /// What `name` means on every node from now on. At first `gateway.example` is known.
    pub fn point(&self, name: &str, addresses: &[IpAddr]) -> Result<()> {
        self.nodes().iter().try_for_each(|node| node.point(name, addresses))
    }

    /// Takes an address from whoever has it and gives it to `node`, as when a host is restored elsewhere with its
    /// old address.
    pub fn move_address(&self, address: IpAddr, node: &Node) -> Result<()> {
        for owner in self.nodes().into_iter().filter(|owner| owner.addresses().contains(&address)) {
            let rest: Vec<_> = owner.addresses().into_iter().filter(|other| *other != address).collect();
            owner.change_addresses(&rest)?.stays();
        }
        node.add_addresses(&[address])?.stays();
        Ok(())
    }

    pub fn carrier(&self) -> Result<&Router> {
        self.carrier.as_ref().context("the shape is not behind_carrier_nat()")
    }

    pub fn other_gateway(&self) -> Result<&Node> {
        self.other_gateway.as_ref().context("the shape is not with_other_gateway()")
    }

    pub fn second_device(&self) -> Result<&Node> {
        self.second_device.as_ref().context("the shape is not with_second_device()")
    }

    pub fn hidden_visitor(&self) -> Result<&Node> {
        self.hidden_visitor.as_ref().context("the shape is not with_hidden_visitor()")
    }

    pub fn cafe_router(&self) -> Result<&Router> {
        self.cafe_router.as_ref().context("the shape is not with_hidden_visitor()")
    }

    /// The home router's uplink: left is home, right is the provider.
    pub fn line(&self) -> Result<&Line> {
        self.line.as_ref().context("the shape is not over_line(…)")
    }

    /// All nodes there are.
    pub fn nodes(&self) -> Vec<&Node> {
        let always: [&Node; 6] =
            [&self.internet, &self.gateway, &self.home_router, &self.device, &self.visitor, &self.other_visitor];
        let nodes = [&self.other_gateway, &self.second_device, &self.hidden_visitor];
        let routers = [&self.carrier, &self.cafe_router];
        let optional = nodes.into_iter().flatten().chain(routers.into_iter().flatten().map(|router| &**router));
        always.into_iter().chain(optional).collect()
    }
}

struct Nodes {
    internet: Node,
    gateway: Node,
    home_router: Node,
    device: Node,
    visitor: Node,
    other_visitor: Node,
    carrier: Option<Node>,
    other_gateway: Option<Node>,
    second_device: Option<Node>,
    hidden_visitor: Option<Node>,
    cafe_router: Option<Node>,
}

impl Nodes {
    fn start(shape: &Shape, holder: &Holder, folder: &TempDir) -> Result<Nodes> {
        let start = |name: &str| Starting::start(name, &holder.entry, folder.path());
        let start_if = |wanted: bool, name: &str| wanted.then(|| start(name)).transpose();
        let always = ["internet", "gateway", "home_router", "device", "visitor", "other_visitor"];
        let always = always.map(start);
        let optional = [
            start_if(shape.carrier, "carrier")?,
            start_if(shape.other_gateway, "other_gateway")?,
            start_if(shape.second_device, "second_device")?,
            start_if(shape.hidden_visitor, "hidden_visitor")?,
            start_if(shape.hidden_visitor, "cafe_router")?,
        ];
        let [internet, gateway, home_router, device, visitor, other_visitor] =
            always.map(|started| started.and_then(Starting::finish));
        let [carrier, other_gateway, second_device, hidden_visitor, cafe_router] =
            optional.map(|started| started.map(Starting::finish).transpose());
        Ok(Nodes {
            internet: internet?,
            gateway: gateway?,
            home_router: home_router?,
            device: device?,
            visitor: visitor?,
            other_visitor: other_visitor?,
            carrier: carrier?,
            other_gateway: other_gateway?,
            second_device: second_device?,
            hidden_visitor: hidden_visitor?,
            cafe_router: cafe_router?,
        })
    }
}

fn make_internet(internet: &Node) -> Result<()> {
    forward_packets(internet)?;
    internet.ip_batch(&format!("addr add {}/32 dev lo\n", at::INTERNET))
}

fn connect_public_hosts(nodes: &Nodes) -> Result<()> {
    plug_into_internet(&nodes.gateway, &nodes.internet, &at::GATEWAY)?;
    plug_into_internet(&nodes.visitor, &nodes.internet, &at::VISITOR)?;
    plug_into_internet(&nodes.other_visitor, &nodes.internet, &at::OTHER_VISITOR)?;
    match &nodes.other_gateway {
        Some(other) => plug_into_internet(other, &nodes.internet, &at::OTHER_GATEWAY),
        None => Ok(()),
    }
}

fn connect_devices(shape: &Shape, nodes: &Nodes) -> Result<()> {
    let home = Lan { router: &nodes.home_router, address: &at::HOME_LAN, ipv6: shape.ipv6_at_home };
    home.make()?;
    home.plug_in(&nodes.device, &at::DEVICE, 0)?;
    if let Some(second) = &nodes.second_device {
        home.plug_in(second, &at::SECOND_DEVICE, 1)?;
    }
    if shape.ipv6_at_home {
        let [_, router] = at::HOME;
        nodes.internet.ip_batch(&format!("route replace 2001:db8:78::/64 via {router} dev home_router\n"))?;
    }
    Ok(())
}

/// Home's uplink: to the internet or to the carrier, over a wire or over an emulated line.
fn connect_home(shape: &Shape, nodes: &Nodes, internet: &Node) -> Result<(Option<Router>, Option<Line>)> {
    forward_packets(&nodes.home_router)?;
    let home: &[IpAddr] = if shape.ipv6_at_home { &at::HOME } else { &at::HOME[..1] };
    let Some(carrier) = &nodes.carrier else {
        let port = Port::to_internet("wan", "home_router", home);
        return Ok((None, join(&nodes.home_router, internet, port, shape.line.as_ref())?));
    };
    forward_packets(carrier)?;
    join(carrier, internet, Port::to_internet("wan", "carrier", &[at::CARRIER]), None)?;
    let router = Router::set_up(carrier.clone())?;
    carrier.ip_batch(&format!("addr add {}/32 dev lo\n", at::CARRIER_INSIDE))?;
    let port = Port {
        interface: "wan".to_owned(),
        far_interface: "lan0".to_owned(),
        addresses: vec![at::HOME_AT_CARRIER],
        via: vec![at::CARRIER_INSIDE],
        kind: PortKind::Routed,
    };
    Ok((Some(router), join(&nodes.home_router, carrier, port, shape.line.as_ref())?))
}

fn connect_cafe(nodes: &Nodes, internet: &Node) -> Result<Option<Router>> {
    let (Some(node), Some(visitor)) = (&nodes.cafe_router, &nodes.hidden_visitor) else { return Ok(None) };
    forward_packets(node)?;
    join(node, internet, Port::to_internet("wan", "cafe_router", &[at::CAFE_ROUTER]), None)?;
    let router = Router::set_up(node.clone())?;
    let lan = Lan { router: node, address: &[at::CAFE_LAN], ipv6: false };
    lan.make()?;
    lan.plug_in(visitor, &[at::HIDDEN_VISITOR], 0)?;
    Ok(Some(router))
}
