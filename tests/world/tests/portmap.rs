//! Port mappings asked of a real home router, miniupnpd, by a program of the device.

mod miniupnpd;
mod talk;

use std::time::Duration;

use anyhow::{Result, ensure};
use doorward_world::{Node, Process, Shape, World, addresses as at, until};
use miniupnpd::{ADDRESS, Asker, Speaks, Upnpd};
use talk::{Kind, SOON, call_at, serve};

/// A UPnP search is given up after some seconds, in each of three ways before it.
const PATIENCE: Duration = Duration::from_secs(30);

fn world() -> Result<World> {
    let world = World::build(Shape::home().with_second_device())?;
    // miniupnpd refuses to work with addresses that are reserved for examples.
    world.home_router.change_addresses(&[ADDRESS])?.stays();
    Ok(world)
}

/// Packets pass both ways.
fn is_reached(node: &Node, kind: Kind, port: u16) -> Result<Process> {
    let mut caller = call_at(node, kind, &ADDRESS.to_string(), port)?;
    caller.wait_for_line("echo", SOON)?;
    Ok(caller)
}

fn is_silence(node: &Node, port: u16) -> Result<()> {
    let output = node.run(&format!("socat -u /dev/null TCP:{ADDRESS}:{port},connect-timeout=1"))?;
    ensure!(!output.succeeded() && output.stderr.contains("timed out"), "{output:?}");
    Ok(())
}

#[test]
fn all_three_protocols_open_a_port_for_packets_and_close_it_again() -> Result<()> {
    let world = world()?;
    let _tcp = serve(&world.device, Kind::Tcp, 8000)?;
    let _udp = serve(&world.device, Kind::Udp, 8000)?;
    // Without PCP and NAT-PMP there is UPnP. How a router without PCP speaks NAT-PMP is told by unit tests.
    for (speaks, way) in [(Speaks::All, "PCP"), (Speaks::NatPmpOnly, "NAT-PMP"), (Speaks::UpnpOnly, "UPnP")] {
        let router = Upnpd::start(&world, speaks)?;
        is_silence(&world.visitor, 40080)?;
        let mut asker = Asker::start(&world, &["web:tcp:8000:40080", "game:udp:8000:40081"])?;
        asker.says(&format!("open game {ADDRESS}:40081 by {way}"), PATIENCE)?;
        asker.says(&format!("open web {ADDRESS}:40080 by {way}"), PATIENCE)?;
        is_reached(&world.visitor, Kind::Tcp, 40080)?;
        is_reached(&world.visitor, Kind::Udp, 40081)?;
        asker.stop()?;
        is_silence(&world.visitor, 40080)?;
        ensure!(router.rules()?.is_empty(), "{way}: {:?}", router.rules()?);
    }
    Ok(())
}

#[test]
fn only_the_wished_source_comes_through_where_the_router_can_tell() -> Result<()> {
    let world = world()?;
    let _server = serve(&world.device, Kind::Tcp, 8000)?;
    let router = Upnpd::start(&world, Speaks::All)?;
    // miniupnpd says yes to PCP's filter and lets everybody in; UPnP's remote host it keeps
    // (in its build for iptables; the one for nftables says yes to that, too, and lets everybody in).
    let wish = format!("web:tcp:8000:40080:{}", at::VISITOR[0]);
    let mut asker = Asker::start(&world, &[&wish])?;
    asker.says(&format!("open web {ADDRESS}:40080 by UPnP restricted"), PATIENCE)?;
    is_reached(&world.visitor, Kind::Tcp, 40080)?;
    is_silence(&world.other_visitor, 40080)?;
    asker.stop()?;
    is_silence(&world.visitor, 40080)?;
    drop(router);
    let _router = Upnpd::start(&world, Speaks::NoUpnp)?;
    let mut asker = Asker::start(&world, &[&wish])?;
    asker.says("failed web: the router cannot restrict a mapping", PATIENCE)?;
    is_silence(&world.visitor, 40080)
}

#[test]
fn what_a_killed_process_left_is_swept_by_the_next() -> Result<()> {
    let world = world()?;
    let _server = serve(&world.device, Kind::Tcp, 8000)?;
    for (speaks, way) in [(Speaks::All, "PCP"), (Speaks::UpnpOnly, "UPnP")] {
        let router = Upnpd::start(&world, speaks)?;
        let mut killed = Asker::start(&world, &["web:tcp:8000:40080"])?;
        killed.says(&format!("open web {ADDRESS}:40080 by {way}"), PATIENCE)?;
        killed.process.kill()?;
        is_reached(&world.visitor, Kind::Tcp, 40080)?;
        let mut next = Asker::start(&world, &[])?;
        next.says("leftovers 1", SOON)?;
        next.says("leftovers 0", PATIENCE)?;
        ensure!(router.rules()?.is_empty(), "{way}: {:?}", router.rules()?);
        is_silence(&world.visitor, 40080)?;
        next.stop()?;
    }
    Ok(())
}

#[test]
fn a_router_that_restarted_without_its_memory_is_asked_anew() -> Result<()> {
    let world = world()?;
    let _server = serve(&world.device, Kind::Tcp, 8000)?;
    for (speaks, way) in [(Speaks::All, "PCP"), (Speaks::NatPmpOnly, "NAT-PMP"), (Speaks::UpnpOnly, "UPnP")] {
        let router = Upnpd::start(&world, speaks)?;
        let mut asker = Asker::start(&world, &["web:tcp:8000:40080"])?;
        asker.says(&format!("open web {ADDRESS}:40080 by {way}"), PATIENCE)?;
        is_reached(&world.visitor, Kind::Tcp, 40080)?;
        router.is_older_than_clocks_may_differ()?;
        let router = router.start_again(&world)?;
        ensure!(router.rules()?.is_empty(), "it lost its memory");
        let took = until(PATIENCE, "the port is open again", || Ok(!router.rules()?.is_empty()))?;
        println!(
            "portmap: {way} is open again {:.1} s after the router's restart (looked at every 2 s)",
            took.as_secs_f64()
        );
        is_reached(&world.visitor, Kind::Tcp, 40080)?;
        asker.stop()?;
    }
    Ok(())
}

#[test]
fn a_port_of_another_is_left_to_them() -> Result<()> {
    let world = world()?;
    let router = Upnpd::start(&world, Speaks::UpnpOnly)?;
    let others = router.map_by_upnpc(world.second_device()?, 40080)?;
    ensure!(others.len() == 1, "{others:?}");
    let mut asker = Asker::start(&world, &["web:tcp:8000:=40080", "ssh:tcp:22:40080"])?;
    asker.says("failed web: port 40080 of the router is in use by another", PATIENCE)?;
    asker.says(&format!("open ssh {ADDRESS}:"), PATIENCE)?;
    asker.stop()?;
    ensure!(router.rules()? == others, "{:?}", router.rules()?);
    Ok(())
}

#[test]
fn behind_carrier_nat_the_verdict_is_told_and_nothing_stays_open() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    let router = Upnpd::start_claiming(&world, Speaks::All, ADDRESS)?;
    // The router believes in a public address; the gateway sees the carrier's.
    let carrier = at::CARRIER.to_string();
    let mut asker = Asker::start_seen_from(&world, &carrier, &["web:tcp:8000:40080"])?;
    asker.says("failed web: behind carrier NAT", PATIENCE)?;
    until(PATIENCE, "it is withdrawn", || Ok(router.rules()?.is_empty()))?;
    asker.stop()
}

#[test]
fn nothing_is_asked_of_a_router_that_is_not_of_the_default_route() -> Result<()> {
    let world = world()?;
    let router = Upnpd::start(&world, Speaks::All)?;
    let nowhere = at::SECOND_DEVICE[0];
    world.device.run(&format!("ip route replace default via {nowhere}"))?.ok()?;
    let mut asker = Asker::start(&world, &["web:tcp:8000:40080"])?;
    asker.says("failed web: the router answers in none", PATIENCE)?;
    ensure!(router.rules()?.is_empty(), "{:?}", router.rules()?);
    world.device.run("ip route replace default via 203.0.113.1 dev eth0 onlink")?.ok()?;
    asker.says("failed web: the default route leads through 203.0.113.1, which is no router at home", PATIENCE)?;
    world.device.run("ip route del default")?.ok()?;
    asker.says("failed web: this machine has no default route", PATIENCE)?;
    world.device.run(&format!("ip route replace default via {}", at::HOME_LAN[0]))?.ok()?;
    asker.says(&format!("open web {ADDRESS}:40080 by PCP"), PATIENCE)?;
    ensure!(router.rules()?.len() == 1, "{:?}", router.rules()?);
    asker.stop()
}
