//! A gateway that stands at home, behind a real home router (miniupnpd), and publishes itself.

mod miniupnpd;
mod named;
mod talk;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorward_world::site::{self, SOON};
use doorward_world::{Node, Process, Shape, World, addresses as at, until};
use miniupnpd::{ADDRESS, Speaks, Upnpd};
use named::{KEY, NAME, Named};

/// A UPnP search is given up after some seconds, in each of three ways before it.
const PATIENCE: Duration = Duration::from_secs(40);
const MOVED: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 2, 3, 5));

const LISTENS: &str = "
domain = \"home.example.org\"
[listen]
https = [\"0.0.0.0:443\"]
quic = [\"0.0.0.0:443\"]
redirect = [\"0.0.0.0:80\"]
ssh = []
";
/// The router is asked often, so that the test need not wait.
const ASKS: &str = "
[port-mapping]
check-seconds = 2
";

fn world() -> Result<World> {
    let world = World::build(Shape::home().with_second_device())?;
    // miniupnpd refuses to work with addresses that are reserved for examples.
    world.home_router.change_addresses(&[ADDRESS])?.stays();
    Ok(world)
}

/// The gateway stands where devices usually do.
fn serve(world: &World, settings: &str) -> Result<Process> {
    fs::write(site::gateway_settings(&world.device), settings)?;
    site::serve(&world.device)
}

/// What a visitor gets at the portal, by this address and port of the router.
fn portal(visitor: &Node, address: IpAddr, port: u16) -> Result<String> {
    let line = format!(
        "curl -sk --max-time 2 -o /dev/null -w '%{{http_code}}' --resolve 'portal.{NAME}:{port}:{address}' \
         https://portal.{NAME}:{port}/"
    );
    Ok(visitor.run(&line)?.stdout)
}

fn until_reached(visitor: &Node, address: IpAddr, port: u16) -> Result<Duration> {
    let mut last = String::new();
    let reached = until(PATIENCE, "a visitor reaches the portal", || {
        last = portal(visitor, address, port)?;
        // Where people sign in.
        Ok(last == "401")
    });
    reached.with_context(|| format!("the last answer was {last:?}"))
}

/// Where somebody is sent who comes without TLS.
fn sent_to(visitor: &Node) -> Result<String> {
    let line = format!(
        "curl -s --max-time 2 -o /dev/null -w '%{{redirect_url}}' --resolve 'portal.{NAME}:80:{ADDRESS}' \
         http://portal.{NAME}/"
    );
    Ok(visitor.run(&line)?.stdout)
}

fn until_rules(router: &Upnpd, count: usize) -> Result<()> {
    until(PATIENCE, "the router has its rules", || Ok(router.rules()?.len() == count)).map(drop)
}

fn said(node: &Node, command: &str) -> Result<String> {
    let program = site::doorward([command])?.args(["--data".into(), site::data(node)]);
    Ok(node.run_program(&program, SOON)?.stdout)
}

#[test]
fn a_gateway_at_home_publishes_itself_and_takes_everything_back_at_its_end() -> Result<()> {
    let world = world()?;
    // Without PCP and NAT-PMP there is UPnP.
    for (speaks, way) in [(Speaks::UpnpOnly, "UPnP"), (Speaks::All, "PCP")] {
        let router = Upnpd::start(&world, speaks)?;
        ensure!(portal(&world.visitor, ADDRESS, 443)? == "000", "nothing is forwarded yet");
        let mut gateway = serve(&world, &format!("{LISTENS}{ASKS}"))?;
        until_rules(&router, 3)?;
        until_reached(&world.visitor, ADDRESS, 443)?;
        gateway.wait_for_line("the router was heard: agents dial home.example.org", PATIENCE)?;
        ensure!(sent_to(&world.visitor)? == format!("https://portal.{NAME}/"));
        let status = said(&world.device, "status")?;
        ensure!(
            status.contains(&format!("{ADDRESS} forwards https from 443, quic from 443, redirect from 80")),
            "{status}"
        );
        let doctor = said(&world.device, "doctor")?;
        ensure!(
            doctor.contains(&format!("https is forwarded from {ADDRESS}, port 443, as the router says by {way}")),
            "{doctor}"
        );
        ensure!(gateway.stop(SOON)?.success());
        ensure!(router.rules()?.is_empty(), "{way}: {:?}", router.rules()?);
        ensure!(portal(&world.visitor, ADDRESS, 443)? == "000", "it is closed again");
    }
    Ok(())
}

#[test]
fn a_device_elsewhere_joins_a_gateway_at_home_and_tells_it_that_its_port_is_open() -> Result<()> {
    let world = world()?;
    let _router = Upnpd::start(&world, Speaks::All)?;
    let mut gateway = serve(&world, &format!("{LISTENS}{ASKS}"))?;
    gateway.wait_for_line("the router was heard: agents dial home.example.org:443", PATIENCE)?;
    // A machine of the internet, where otherwise the gateway stands.
    let elsewhere = &world.gateway;
    elsewhere.point(NAME, &[ADDRESS])?;
    site::join(elsewhere, &site::invite(&world.device, "{}")?, "zumi")?.ok()?;
    fs::write(site::agent_settings(elsewhere), "")?;
    let mut agent = site::run_agent(elsewhere)?;
    agent.wait_for_line("connected", SOON)?;
    let is_told = || Ok(said(&world.device, "doctor")?.contains("a device outside reached"));
    until(PATIENCE, "the device has looked", is_told).map(drop)
}

#[test]
fn where_another_machine_has_443_the_gateway_gets_8443_and_all_links_say_so() -> Result<()> {
    let world = world()?;
    let router = Upnpd::start(&world, Speaks::All)?;
    let others = router.map_by_upnpc(world.second_device()?, 443)?;
    let mut gateway = serve(&world, &format!("{LISTENS}{ASKS}"))?;
    gateway.wait_for_line("https cannot have port 443 of the router", PATIENCE)?;
    // QUIC has 443 on UDP, which nobody else wants.
    gateway.wait_for_line("tls://home.example.org:8443", PATIENCE)?;
    until_reached(&world.visitor, ADDRESS, 8443)?;
    ensure!(sent_to(&world.visitor)? == format!("https://portal.{NAME}:8443/"));
    let status = said(&world.device, "status")?;
    ensure!(status.contains("https from 8443, quic from 443"), "{status}");
    let welcome = world.device.run_program(
        &site::doorward(["people", "owner-link"])?.args(["--data".into(), site::data(&world.device)]),
        SOON,
    )?;
    ensure!(welcome.stdout.contains(&format!("https://portal.{NAME}:8443/welcome#")), "{welcome:?}");
    let doctor = said(&world.device, "doctor")?;
    ensure!(doctor.contains("port 443 was not to be had"), "{doctor}");
    ensure!(gateway.stop(SOON)?.success());
    ensure!(router.rules()? == others, "the other's is left alone: {:?}", router.rules()?);
    Ok(())
}

#[test]
fn what_a_killed_gateway_left_is_taken_over_or_swept_by_the_next() -> Result<()> {
    let world = world()?;
    let router = Upnpd::start(&world, Speaks::UpnpOnly)?;
    let mut gateway = serve(&world, &format!("{LISTENS}{ASKS}"))?;
    until_rules(&router, 3)?;
    gateway.kill()?;
    ensure!(router.rules()?.len() == 3, "nobody took them back");
    let mut gateway = serve(&world, &format!("{LISTENS}{ASKS}"))?;
    gateway.wait_for_line("the router forwards its TCP port 443 to https here", PATIENCE)?;
    until_reached(&world.visitor, ADDRESS, 443)?;
    until_rules(&router, 3)?;
    gateway.kill()?;
    // Nobody wishes them any more.
    let _gateway = serve(&world, LISTENS)?;
    until_rules(&router, 0)
}

#[test]
fn a_router_that_restarts_forwards_to_the_gateway_again() -> Result<()> {
    let world = world()?;
    let router = Upnpd::start(&world, Speaks::All)?;
    let _gateway = serve(&world, &format!("{LISTENS}{ASKS}"))?;
    until_rules(&router, 3)?;
    router.is_older_than_clocks_may_differ()?;
    let router = router.start_again(&world)?;
    ensure!(router.rules()?.is_empty(), "it lost its memory");
    until_rules(&router, 3)?;
    until_reached(&world.visitor, ADDRESS, 443).map(drop)
}

#[test]
fn a_new_public_address_is_told_to_the_name_server_with_and_without_port_mapping() -> Result<()> {
    let world = world()?;
    let server = Named::start(&world.other_visitor)?;
    let key = world.device.folder().join("key");
    fs::write(&key, KEY)?;
    let name = format!(
        "[[dynamic-dns]]\nrfc2136 = {{ server = \"{}:53\", zone = \"example.org\", key-name = \"home\", key-file = {key:?} }}\n",
        at::OTHER_VISITOR[0]
    );
    let is_told = |address: IpAddr| {
        let is_so = || Ok(server.look_up(&world.visitor)? == Some(address.to_string()));
        until(3 * PATIENCE, "the name leads here", is_so)
    };
    let router = Upnpd::start(&world, Speaks::All)?;
    let mut gateway = serve(&world, &format!("{LISTENS}{ASKS}{name}"))?;
    is_told(ADDRESS)?;
    until_reached(&world.visitor, ADDRESS, 443)?;
    let status = said(&world.device, "status")?;
    ensure!(status.contains(&format!("home.example.org was told {ADDRESS}")), "{status}");

    // The provider gives another address, and the router begins anew.
    drop(router);
    world.home_router.change_addresses(&[MOVED])?.stays();
    let router = Upnpd::start_claiming(&world, Speaks::All, MOVED)?;
    let took = is_told(MOVED)?;
    println!("at home: the name leads to the new address {:.0} s after the change", took.as_secs_f64());
    until_reached(&world.visitor, MOVED, 443)?;
    ensure!(gateway.stop(SOON)?.success());
    ensure!(router.rules()?.is_empty(), "{:?}", router.rules()?);

    // Whoever forwards by hand has the router say its address alone.
    drop(router);
    world.home_router.change_addresses(&[ADDRESS])?.stays();
    let router = Upnpd::start_claiming(&world, Speaks::UpnpOnly, ADDRESS)?;
    let _gateway = serve(&world, &format!("{LISTENS}{name}"))?;
    is_told(ADDRESS)?;
    ensure!(router.rules()?.is_empty(), "nothing was wished: {:?}", router.rules()?);
    Ok(())
}

#[test]
fn behind_carrier_nat_the_owner_is_told_to_go_elsewhere_and_nothing_else_is_tried() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    let router = Upnpd::start_honest(&world, Speaks::All)?;
    let mut gateway = serve(&world, &format!("{LISTENS}{ASKS}"))?;
    // This router does not say which address it has, if that is an inner one, and refuses everything.
    gateway.wait_for_line("https is not forwarded: the router names no public address of its own", PATIENCE)?;
    let doctor = said(&world.device, "doctor")?;
    ensure!(doctor.contains("put the gateway on a rented machine"), "{doctor}");
    ensure!(!gateway.log().contains("8443"), "another port would not help");
    until_rules(&router, 0)?;
    ensure!(gateway.stop(SOON)?.success());
    Ok(())
}
