//! Whether the public ports can be reached is tried from outside, by an agent.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorward_world::site::{self, Site};
use doorward_world::{Node, Shape, World, until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

/// What the status says of a TCP port: "reachable", or why not; nothing before somebody looked.
fn reachability(gateway: &Node, port: u16) -> Result<Option<String>> {
    let status: Value = serde_json::from_str(&site::ask_owner(gateway, "GET", "status", "")?)?;
    let ports = status["ports"].as_array().context("no ports")?;
    let found = ports.iter().find(|entry| entry["port"] == port && entry["protocol"] == "tcp");
    Ok(found.map(|entry| entry["reachability"].to_string()).filter(|text| text != "null"))
}

#[test]
fn a_port_that_a_firewall_closes_is_told_from_one_that_is_open() -> Result<()> {
    let world = World::build(Shape::home())?;
    // The provider's firewall: it lets the link in and nothing to the ports of services.
    let rules = "add table inet closed
        add chain inet closed in { type filter hook input priority 0; }
        add rule inet closed in tcp dport 20000-20999 drop";
    world.gateway.run(&format!("echo '{rules}' | nft -f -"))?.ok()?;
    let _site = Site::start(&world)?;
    until(SOON, "both ports were tried", || {
        Ok(reachability(&world.gateway, 443)?.is_some() && reachability(&world.gateway, site::TCP_PORT)?.is_some())
    })?;
    let (open, closed) = (reachability(&world.gateway, 443)?, reachability(&world.gateway, site::TCP_PORT)?);
    println!("    443: {open:?}; {}: {closed:?}", site::TCP_PORT);
    ensure!(open.is_some_and(|text| !text.contains("unreachable")), "443 is said to be closed");
    ensure!(closed.is_some_and(|text| text.contains("unreachable")), "{} is said to be open", site::TCP_PORT);
    // It exits with a status that tells of the trouble; what counts here is what it says.
    let doctor = site::doorward(["doctor", "--data"])?.args([site::data(&world.gateway)]);
    let said = world.gateway.run_program(&doctor, SOON)?.stdout;
    println!("{said}");
    ensure!(said.lines().any(|line| line.contains("20001")), "doctor does not name the closed port");
    Ok(())
}
