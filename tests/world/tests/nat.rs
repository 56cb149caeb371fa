//! What NAT routers do to connections, and what they block.

mod talk;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorward_world::{Node, Shape, World, addresses};
use talk::{Kind, SOON, Talk, serve};

#[test]
fn blocked_udp_is_silent_and_tcp_goes_on() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut tcp = Talk::start(&world.device, &world.gateway, Kind::Tcp, 443)?;
    let mut udp = Talk::start(&world.device, &world.gateway, Kind::Udp, 443)?;
    let blocked = world.home_router.block_udp()?;
    udp.is_silent()?;
    tcp.goes_on()?;
    blocked.mend()?;
    udp.goes_on().map(drop)
}

#[test]
fn where_only_tcp_443_passes_nothing_else_does() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut https = Talk::start(&world.device, &world.gateway, Kind::Tcp, 443)?;
    let mut http = Talk::start(&world.device, &world.gateway, Kind::Tcp, 80)?;
    let mut quic = Talk::start(&world.device, &world.gateway, Kind::Udp, 443)?;
    let strict = world.home_router.only_tcp_443()?;
    https.goes_on()?;
    http.is_silent()?;
    quic.is_silent()?;
    ensure!(!world.device.run("ping -4 -c1 -W1 gateway.example")?.succeeded());
    strict.mend()?;
    quic.goes_on()?;
    http.goes_on().map(drop)
}

#[test]
fn a_router_can_refuse_aloud() -> Result<()> {
    let world = World::build(Shape::home())?;
    let _server = serve(&world.gateway, Kind::Tcp, 443)?;
    let refusal = world.home_router.block_matching("tcp dport 443 reject with tcp reset")?;
    let output = world.device.run("curl -sS --max-time 5 http://gateway.example:443/")?;
    let refused = output.status.code() == Some(7) && output.took < Duration::from_secs(1);
    ensure!(refused, "{output:?}");
    refusal.mend()
}

#[test]
fn a_nat_that_forgot_is_deaf_to_old_tcp_and_gives_udp_a_new_port() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    count_tcp_packets(&world.gateway)?;
    for (router, port) in [(&world.home_router, 7), (world.carrier()?, 8)] {
        let tcp = Talk::start(&world.device, &world.gateway, Kind::Tcp, port)?;
        let mut udp = Talk::start(&world.device, &world.gateway, Kind::Udp, port)?;
        let old = udp.last_caller()?;
        router.forget_mappings()?;
        udp.goes_on()?;
        let new = udp.last_caller()?;
        ensure!(old.0 == new.0 && old.1 != new.1, "{old:?} {new:?}");
        udp.caller.kill()?;
        // A NAT that lets the unknown pass sends retransmissions with private addresses.
        let before = tcp_packets(&world.gateway)?;
        ensure!(before > 0, "what is counted is counted");
        tcp.is_silent()?;
        ensure!(tcp_packets(&world.gateway)? == before, "the old connection still reaches the gateway");
        ensure!(tcp.callers().len() == 1 && !tcp.server.log().contains("broken"), "{}", tcp.server.log());
    }
    Ok(())
}

fn count_tcp_packets(node: &Node) -> Result<()> {
    let rules = "add table inet arrived
        add chain inet arrived packets { type filter hook prerouting priority -300; }
        add rule inet arrived packets meta l4proto tcp counter";
    node.run(&format!("echo '{rules}' | nft -f -"))?.ok().map(drop)
}

/// How many arrived since they are counted.
fn tcp_packets(node: &Node) -> Result<u64> {
    let listed = node.run("nft list chain inet arrived packets")?.ok()?;
    let mut words = listed.split_whitespace().skip_while(|word| *word != "counter").skip(2);
    Ok(words.next().context("no counter")?.parse()?)
}

#[test]
fn udp_ports_are_rebound_while_tcp_goes_on() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    let mut tcp = Talk::start(&world.device, &world.gateway, Kind::Tcp, 7)?;
    let mut udp = Talk::start(&world.device, &world.gateway, Kind::Udp, 7)?;
    for rebindings in 1..=3 {
        world.carrier()?.rebind_udp_ports()?;
        udp.goes_on()?;
        tcp.goes_on()?;
        ensure!(udp.callers().len() == 1 + rebindings, "{:?}", udp.callers());
    }
    ensure!(tcp.callers().len() == 1);
    Ok(())
}

#[test]
fn the_same_udp_flow_comes_from_another_public_address() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    let mut udp = Talk::start(&world.device, &world.gateway, Kind::Udp, 7)?;
    ensure!(udp.last_caller()?.0 == addresses::CARRIER.to_string());
    let rebound = world.carrier()?.rebind_to(addresses::CARRIER_SPARE)?;
    udp.goes_on()?;
    ensure!(udp.last_caller()?.0 == addresses::CARRIER_SPARE.to_string());
    rebound.mend()?;
    udp.goes_on().map(drop)
}

#[test]
fn after_a_redial_old_connections_are_dead_and_new_ones_come_from_the_new_address() -> Result<()> {
    for behind_carrier in [false, true] {
        let shape = if behind_carrier { Shape::home().behind_carrier_nat() } else { Shape::home() };
        let spare = if behind_carrier { addresses::HOME_AT_CARRIER_SPARE } else { addresses::HOME_SPARE };
        let world = World::build(shape)?;
        let tcp = Talk::start(&world.device, &world.gateway, Kind::Tcp, 7)?;
        let redialled = world.home_router.redial(&[spare])?;
        ensure!(world.home_router.ip()? == spare);
        tcp.is_silent()?;
        let udp = Talk::start(&world.device, &world.gateway, Kind::Udp, 8)?;
        let seen = udp.last_caller()?.0;
        ensure!(behind_carrier || seen == spare.to_string(), "{seen}");
        redialled.mend()?;
        world.device.run("ping -4 -c1 -W2 gateway.example")?.ok()?;
        ensure!(world.home_router.ip()? != spare);
    }
    Ok(())
}

#[test]
fn a_short_mapping_is_gone_after_its_time() -> Result<()> {
    let world = World::build(Shape::home())?;
    world.home_router.shorten_udp_mappings(1)?;
    let mut udp = Talk::start(&world.device, &world.gateway, Kind::Udp, 7)?;
    let remembers =
        || Ok::<_, anyhow::Error>(world.home_router.mappings()?.iter().any(|flow| flow.contains("dport=7 ")));
    ensure!(remembers()?);
    udp.caller.kill()?;
    let took = doorward_world::until(SOON, "the mapping is gone", || Ok(!remembers()?))?;
    println!("gone after {took:?}");
    ensure!(took > Duration::from_millis(300), "{took:?}");
    Ok(())
}

#[test]
fn a_forwarded_port_reaches_the_device_until_it_is_closed() -> Result<()> {
    let world = World::build(Shape::home())?;
    let _server = serve(&world.device, Kind::Tcp, 22)?;
    let ask = format!("echo hi | socat -T2 - TCP:{}:2222,connect-timeout=1", addresses::HOME[0]);
    let forwarded = world.home_router.forward_tcp_port(2222, addresses::DEVICE[0], 22)?;
    ensure!(world.visitor.run(&ask)?.ok()? == "hi\n");
    forwarded.mend()?;
    ensure!(!world.visitor.run(&ask)?.succeeded());
    Ok(())
}
