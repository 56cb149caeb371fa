//! All of it over IPv6.

use anyhow::{Result, ensure};
use doorward_world::site::{self, AGENT_FILE, Poll, Site};
use doorward_world::{Shape, World, addresses};

#[test]
fn link_and_visitors_use_ipv6_where_there_is_nothing_else() -> Result<()> {
    let world = World::build(Shape::home().with_ipv6_at_home())?;
    world.point("gateway.example", &addresses::GATEWAY[1..])?;
    let six = |all: &[std::net::IpAddr]| all.iter().copied().filter(std::net::IpAddr::is_ipv6).collect::<Vec<_>>();
    for node in [&world.device, &world.visitor] {
        node.change_addresses(&six(&node.addresses()))?.stays();
    }
    let site = Site::start_with(&world, site::GATEWAY_FILE, AGENT_FILE)?;
    ensure!(site.carrier().as_deref() == Some("quic"), "{:?}", site.carrier());
    let devices = site::ask_owner(&world.gateway, "GET", "devices", "")?;
    ensure!(devices.contains(&addresses::DEVICE[1].to_string()), "{devices}");
    Poll::start(&world.visitor, addresses::GATEWAY[1]).map(drop)
}
