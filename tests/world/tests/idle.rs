//! What a link costs that nobody uses: bytes of IP packets, headers included, between the agent's host and the
//! gateway, counted where they leave and enter the host. (What a network needs for itself, address resolution above
//! all, is not the link's.)

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorward_world::site::{self, AGENT_FILE, GATEWAY_FILE, Poll, SOON};
use doorward_world::{Node, Process, Shape, World, addresses};

/// Sixteen pings over QUIC, nineteen over TLS, two or three of the metered rhythm.
const WATCHED: Duration = Duration::from_secs(152);
const DAY: f64 = 86_400.0;

#[test]
fn an_idle_link_costs_little_and_is_still_of_use() -> Result<()> {
    let world = World::build(Shape::home().with_second_device())?;
    fs::write(site::gateway_settings(&world.gateway), GATEWAY_FILE)?;
    let _gateway = site::serve(&world.gateway)?;
    let second = world.second_device()?;
    let udp_blocked = format!("ip saddr {} meta l4proto udp drop", addresses::SECOND_DEVICE[0]);
    let _blocked = world.home_router.block_matching(&udp_blocked)?;

    let _services = site::offer(&world.device)?;
    let agents = [
        start(&world, &world.device, "zumi", "quic", AGENT_FILE)?,
        start(&world, second, "second", "tls", "")?,
        start(&world, &world.other_visitor, "metered", "quic", "metered = true\n")?,
    ];
    // The handshake and its aftermath are over.
    sleep(Duration::from_secs(5));
    let before = read_all(&world)?;
    sleep(WATCHED);
    let after = read_all(&world)?;
    for ((name, limit), (before, after)) in GOALS.iter().zip(before.iter().zip(&after)) {
        let per_day = (after - before) / WATCHED.as_secs_f64() * DAY / 1e6;
        println!("world: idle for a day, {name}: {per_day:.2} MB (goal ≤ {limit} MB)");
        ensure!(per_day > 0.0 && per_day <= *limit, "{name}: {per_day:.2} MB a day");
    }
    ensure!(agents.iter().all(|agent| agent.log().matches("connected").count() == 1), "a link was replaced meanwhile");
    Poll::of(&world).map(drop)
}

/// MB a day; the metered device has IPv6.
const GOALS: [(&str, f64); 3] = [("QUIC", 1.5), ("TLS", 2.5), ("QUIC, metered", 0.5)];

fn read_all(world: &World) -> Result<[f64; 3]> {
    Ok([counted(&world.device)?, counted(world.second_device()?)?, counted(&world.other_visitor)?])
}

/// A device whose packets are counted, joined and connected.
fn start(world: &World, node: &Node, name: &str, carrier: &str, settings: &str) -> Result<Process> {
    site::join(node, &site::invite(&world.gateway, "{}")?, name)?.ok()?;
    fs::write(site::agent_settings(node), settings)?;
    let mut agent = site::run_agent(node)?;
    agent.wait_for_line("connected", SOON)?;
    ensure!(site::carrier(&agent).as_deref() == Some(carrier), "{name}: {:?}", site::carrier(&agent));
    count(node, carrier)?;
    Ok(agent)
}

/// Over TLS only TCP counts: the tries for QUIC, thirty in a day, cost another 0.2 MB, but come early in it and would
/// be multiplied by the extrapolation.
fn count(node: &Node, carrier: &str) -> Result<()> {
    let protocol = if carrier == "tls" { "meta l4proto tcp" } else { "" };
    let [four, six] = addresses::GATEWAY;
    let rules = format!(
        "add table inet count
        add chain inet count out {{ type filter hook output priority 300; }}
        add chain inet count in {{ type filter hook input priority -300; }}
        add rule inet count out ip daddr {four} {protocol} counter
        add rule inet count out ip6 daddr {six} {protocol} counter
        add rule inet count in ip saddr {four} {protocol} counter
        add rule inet count in ip6 saddr {six} {protocol} counter"
    );
    node.run(&format!("echo '{rules}' | nft -f -"))?.ok().map(drop)
}

/// Bytes so far, both ways.
fn counted(node: &Node) -> Result<f64> {
    let listed = node.run("nft list table inet count")?.ok()?;
    let words: Vec<_> = listed.split_whitespace().collect();
    let bytes = words.windows(2).filter(|pair| pair[0] == "bytes").map(|pair| pair[1].parse::<f64>());
    let bytes: Vec<f64> = bytes.collect::<Result<_, _>>()?;
    ensure!(bytes.len() == 4, "{listed}");
    bytes.into_iter().reduce(|a, b| a + b).context("no counters")
}
