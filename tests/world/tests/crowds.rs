//! Crowds that connect and say nothing, and a gateway that runs out of files: others are served meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use doorward_world::site::{self, AGENT_FILE, GATEWAY_FILE, PAGE, Poll, SOON, Site};
use doorward_world::{Node, Process, Program, Shape, World, addresses, until};

/// For a busy machine to open some thousand connections.
const WITHIN: Duration = Duration::from_secs(60);
const QUIET_PORT: u16 = 20003;
/// A raw port of its own for those who say nothing.
const QUIET: &str = r#"
[[service]]
name = "quiet"
target = "tcp://127.0.0.1:7003"
entrances = [{ tcp-port = 20003 }]
access = { who = "public" }
"#;

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug)]
struct Cost {
    resident_mib: u64,
    peak_mib: u64,
    files: usize,
}

impl Cost {
    fn of(process: &Process) -> Result<Cost> {
        let pid = process.pid()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mib = |name: &str| -> Result<u64> {
            let line = status.lines().find(|line| line.starts_with(name)).with_context(|| name.to_owned())?;
            let kib: u64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
            Ok(kib / 1024)
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        Ok(Cost { resident_mib: mib("VmRSS")?, peak_mib: mib("VmHWM")?, files })
    }
}

/// Processes of visitors who connect from many addresses of this node and say nothing.
struct Crowd(Vec<Process>);

impl Crowd {
    fn gather(node: &Node, port: u16, processes: u8, each: u16, net: u8) -> Result<Crowd> {
        let spawn = |n: u8| {
            // Of each process a network of its own, 25 visitors to a place at least.
            let first = format!("127.{net}.{n}.1");
            let words = ["127.0.0.1", &port.to_string(), &each.to_string(), &first, "25"].map(str::to_owned);
            node.spawn(&site::script("silent.py", &words))
        };
        (0..processes).map(spawn).collect::<Result<_>>().map(Crowd)
    }

    fn has_tried(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(|process| process.wait_for_line("all tried", WITHIN).map(drop))
    }

    /// How many connections stand.
    fn held(&self) -> usize {
        let last = |process: &Process| -> Option<usize> {
            process.log().lines().rev().find_map(|line| line.strip_prefix("held ")?.parse().ok())
        };
        self.0.iter().filter_map(last).sum()
    }

    fn leave(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(Process::kill)
    }
}

/// How long visits took, the median and the longest; the log of `poll.py` after `mark`.
fn latencies(log: &str, kind: &str) -> Result<(Duration, Duration, usize)> {
    let visit = |line: &str| -> Option<f64> {
        let (begun, served) = line.strip_prefix(kind)?.trim().split_once(' ')?;
        Some(served.parse::<f64>().ok()? - begun.parse::<f64>().ok()?)
    };
    let mut took: Vec<f64> = log.lines().filter_map(visit).collect();
    took.sort_by(f64::total_cmp);
    let (median, longest) = (took.get(took.len() / 2).context("nobody was served")?, took.last().context("nobody")?);
    Ok((Duration::from_secs_f64(*median), Duration::from_secs_f64(longest.max(0.0)), took.len()))
}

fn https_is_served(world: &World) -> Result<Duration> {
    let ask = format!("curl -skS --max-time 10 --connect-to {PAGE}:443:{}:443 https://{PAGE}/", addresses::GATEWAY[0]);
    let asked = world.visitor.run(&ask)?;
    let took = asked.took;
    ensure!(asked.ok()?.contains("the page of the device"));
    Ok(took)
}

/// Gateway and agent as a shell starts them on many systems: with 1024 files, and the right to ask for more.
fn start_with_few_files(world: &World) -> Result<Site> {
    let few = Program::new("prlimit").args(["--nofile=1024:", "--"]);
    fs::write(site::gateway_settings(&world.gateway), GATEWAY_FILE)?;
    let mut gateway = world.gateway.spawn(&site::serve_program(&world.gateway)?.under(&few))?;
    gateway.wait_for_line("start page", SOON)?;
    site::join(&world.device, &site::invite(&world.gateway, "{}")?, "zumi")?.ok()?;
    fs::write(site::agent_settings(&world.device), AGENT_FILE.to_owned() + QUIET)?;
    let services = site::offer(&world.device)?;
    let mut agent = world.device.spawn(&site::agent_program(&world.device)?.under(&few))?;
    agent.wait_for_line("quiet is reached", SOON)?;
    Ok(Site { gateway, agent, services })
}

#[test]
fn twelve_thousand_silent_connections_disturb_nobody_and_leave_nothing_behind() -> Result<()> {
    let world = World::build(Shape::home())?;
    let _echo = {
        let mut echo = world.device.spawn(&site::script("echo.py", &["7003".to_owned()]))?;
        echo.wait_for_line("serving", SOON)?;
        echo
    };
    let mut site = start_with_few_files(&world)?;
    let poll = Poll::of(&world)?;
    https_is_served(&world)?;
    let before = Cost::of(&site.gateway)?;
    let (log_before, mark) = (site.gateway.log().len(), poll.log().len());
    println!("    before: {before:?}");

    let started = Instant::now();
    let mut raw = Crowd::gather(&world.gateway, QUIET_PORT, 4, 1000, 2)?;
    let mut web = Crowd::gather(&world.gateway, 443, 4, 2000, 1)?;
    web.has_tried()?;
    raw.has_tried()?;
    let tried = started.elapsed();
    let https = (0..5).map(|_| https_is_served(&world)).collect::<Result<Vec<_>>>()?;
    let during = Cost::of(&site.gateway)?;
    println!(
        "    12 000 tried within {tried:?}; {} of 8000 stand at 443, {} of 4000 at a raw port",
        web.held(),
        raw.held()
    );
    println!("    during: {during:?}; https took {https:?}");
    until(SOON, "no more stand than may", || Ok(web.held() <= 2000 && raw.held() <= 1500))?;
    ensure!(during.peak_mib - before.resident_mib < 250, "memory grew to {} MiB", during.peak_mib);
    until(WITHIN, "who says nothing at 443 is gone", || Ok(web.held() == 0))?;
    ensure!(raw.held() > 1000, "a raw port's visitors may be silent: {}", raw.held());
    for kind in ["page", "tcp", "udp"] {
        let (median, longest, visits) = latencies(&poll.log()[mark..], kind)?;
        println!("    {kind}: {visits} visits meanwhile, median {median:?}, longest {longest:?}");
        ensure!(
            visits >= 50 && median < Duration::from_secs(1),
            "{kind}: {visits} visits, half of them over {median:?}"
        );
    }
    let said = site.gateway.log()[log_before..].to_owned();
    let (warnings, accesses): (Vec<_>, Vec<_>) = (
        said.lines().filter(|line| line.contains(" WARN ")).collect(),
        said.lines().filter(|line| line.contains("entrance=")).collect(),
    );
    println!("    {} warnings, {} lines of access:\n{}", warnings.len(), accesses.len(), warnings.join("\n"));
    ensure!((2..=6).contains(&warnings.len()), "it is told, and not for each");

    web.leave()?;
    raw.leave()?;
    until(WITHIN, "all files are given back", || Ok(Cost::of(&site.gateway)?.files <= before.files + 40))?;
    let after = Cost::of(&site.gateway)?;
    println!("    after: {after:?}");
    // A second crowd finds the memory of the first: nothing is kept of those who left.
    let mut again = Crowd::gather(&world.gateway, 443, 4, 2000, 1)?;
    again.has_tried()?;
    let second = Cost::of(&site.gateway)?;
    println!("    a second time: {second:?}");
    ensure!(second.peak_mib <= during.peak_mib + 40, "{} MiB, then {} MiB", during.peak_mib, second.peak_mib);
    again.leave()?;
    ensure!(site.gateway.exited()?.is_none() && !site.gateway.log().contains("panicked"));
    Ok(())
}

#[test]
fn a_gateway_that_runs_out_of_files_says_so_once_and_serves_again() -> Result<()> {
    let world = World::build(Shape::home())?;
    let node = &world.gateway;
    fs::write(site::gateway_settings(node), GATEWAY_FILE)?;
    let limit = Program::new("prlimit").args(["--nofile=120:120", "--"]);
    let mut gateway = node.spawn(&site::serve_program(node)?.under(&limit))?;
    gateway.wait_for_line("start page", SOON)?;
    gateway.wait_for_line("few files may be open", SOON)?;
    site::join(&world.device, &site::invite(node, "{}")?, "zumi")?.ok()?;
    fs::write(site::agent_settings(&world.device), AGENT_FILE)?;
    let _services = site::offer(&world.device)?;
    let mut agent = site::run_agent(&world.device)?;
    agent.wait_for_line("echo is reached", SOON)?;
    https_is_served(&world)?;
    let doctor = site::doorward(["doctor", "--data"])?.args([site::data(node)]);
    let said = node.run_program(&doctor, SOON)?.stdout;
    ensure!(said.lines().any(|line| line.contains("only 120 may be")), "{said}");

    let mut crowd = Crowd::gather(node, 443, 1, 160, 1)?;
    gateway.wait_for_line("no connection can be accepted", SOON)?;
    crowd.has_tried()?;
    until(SOON, "they stand or wait in the backlog", || Ok(crowd.held() > 50))?;
    until(WITHIN, "those who say nothing are gone", || Ok(crowd.held() == 0))?;
    crowd.leave()?;
    let took = until(WITHIN, "a visitor is served again", || https_is_served(&world).map(|_| true))?;
    println!("    served again {took:?} after the crowd had gone");
    let complaints = gateway.log().matches("no connection can be accepted").count();
    ensure!(complaints <= 2, "the log says it {complaints} times");
    ensure!(!agent.log().contains("the link ended"), "the link was lost");
    Ok(())
}
