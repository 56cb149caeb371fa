//! An agent whose name server is silent, or back.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use doorward_world::site::{self, Poll, SOON, Site, report};
use doorward_world::{Process, Shape, World, addresses};

/// As resolv.conf(5) has it where nothing else is said.
const USUAL: [&str; 2] = ["RES_OPTIONS", "timeout:5 attempts:2"];
/// Tokio's, one for each look-up that waits, and a few more.
const MANY_THREADS: usize = 40;

#[test]
fn a_name_server_that_stays_silent_costs_few_threads_and_a_name_that_is_back_is_used() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut site = Site::start(&world)?;
    site.agent.kill()?;
    let _silent = world.home_router.block_matching("udp dport 53 drop")?;
    world.device.ask_names_of(addresses::OTHER_VISITOR[0])?;
    world.device.point("gateway.example", &[])?;

    let [option, usual] = USUAL;
    let mut agent = world.device.spawn(&site::agent_program(&world.device)?.env(option, usual))?;
    let mut most = 0;
    for _ in 0..24 {
        sleep(Duration::from_millis(500));
        most = most.max(threads(&agent)?);
    }
    println!("    {most} threads at the most");
    ensure!(most < MANY_THREADS, "{most} threads");
    ensure!(!agent.log().contains("connected"), "{}", agent.log());

    let mut poll = Poll::waiting(&world.visitor, addresses::GATEWAY[0])?;
    world.device.point("gateway.example", &addresses::GATEWAY)?;
    let event = SystemTime::now();
    agent.wait_for_line("connected", SOON)?;
    report("names are back after 12 s of silence", poll.served_since(event, SOON)?, Duration::from_secs(3))?;

    // From now on the agent knows where the gateway was last.
    world.device.point("gateway.example", &[])?;
    site.gateway.kill()?;
    site.gateway = site::serve(&world.gateway)?;
    let event = SystemTime::now();
    let took = poll.served_since(event, SOON)?;
    report("gateway restarted while the name server is silent", took, Duration::from_millis(1500))?;

    let event = SystemTime::now();
    agent.stop(SOON)?;
    report("the agent stops while it waits for names", event.elapsed()?, Duration::from_secs(6))
}

fn threads(process: &Process) -> Result<usize> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).context("no count of threads")?;
    Ok(line.trim().parse()?)
}
