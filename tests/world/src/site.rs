//! Doorward in a world: a gateway, a device that has joined it and offers three services, a visitor who keeps asking.
//!
//! Each step is a function of its own, for tests that want to do something between two of them; [`Site::start`] takes
//! them all. Nothing of Doorward is linked: it is the built program, its command line and its owner's socket.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::faults::Fault;
use crate::node::Node;
use crate::process::Process;
use crate::program::{Output, Program, built};
use crate::shape::addresses;
use crate::wait::until;
use crate::world::World;

/// For what takes no time on a machine that is not busy.
pub const SOON: Duration = Duration::from_secs(30);
/// The host name of the page of the device `zumi`.
pub const PAGE: &str = "page-zumi.gateway.example";
pub const TCP_PORT: u16 = 20001;
pub const UDP_PORT: u16 = 20002;

/// The usual `gateway.toml`.
pub const GATEWAY_FILE: &str = r#"
domain = "gateway.example"
[listen]
https = ["0.0.0.0:443", "[::]:443"]
quic = ["0.0.0.0:443", "[::]:443"]
http = ["0.0.0.0:80", "[::]:80"]
"#;

/// The usual services of `agent.toml`; settings of the agent itself belong in front.
pub const AGENT_FILE: &str = r#"
[[service]]
name = "page"
target = "http://127.0.0.1:8000"
access = { who = "public" }

[[service]]
name = "echo"
target = "tcp://127.0.0.1:7001"
entrances = [{ tcp-port = 20001 }]
access = { who = "public" }

[[service]]
name = "packets"
target = "udp://127.0.0.1:7002"
entrances = [{ udp-port = 20002 }]
access = { who = "public" }
"#;

/// A gateway and a device that has joined it, both running.
#[derive(Debug)]
pub struct Site {
    pub gateway: Process,
    pub agent: Process,
    pub services: Process,
}

impl Site {
    /// On the nodes `gateway` and `device`, with the usual settings.
    pub fn start(world: &World) -> Result<Site> {
        Site::start_with(world, GATEWAY_FILE, AGENT_FILE)
    }

    pub fn start_with(world: &World, gateway_file: &str, agent_file: &str) -> Result<Site> {
        fs::write(gateway_settings(&world.gateway), gateway_file)?;
        let gateway = serve(&world.gateway)?;
        join(&world.device, &invite(&world.gateway, "{}")?, "zumi")?.ok()?;
        fs::write(agent_settings(&world.device), agent_file)?;
        let services = offer(&world.device)?;
        let mut agent = run_agent(&world.device)?;
        agent.wait_for_line("connected", SOON)?;
        Ok(Site { gateway, agent, services })
    }

    /// The word for the carrier that the agent uses since it last said so.
    pub fn carrier(&self) -> Option<String> {
        carrier(&self.agent)
    }
}

/// The built program with its usual logging.
pub fn doorward<const N: usize>(words: [&str; N]) -> Result<Program> {
    let levels = "info,doorward_tunnel=debug,doorward_agent=debug,doorward_gateway=debug";
    Ok(Program::new(built("doorward")?).args(["--log", levels]).args(words))
}

pub fn gateway_settings(node: &Node) -> PathBuf {
    node.folder().join("gateway.toml")
}

pub fn agent_settings(node: &Node) -> PathBuf {
    node.folder().join("agent.toml")
}

/// The gateway's data directory.
pub fn data(node: &Node) -> PathBuf {
    node.folder().join("data")
}

/// The agent's state directory.
pub fn state(node: &Node) -> PathBuf {
    node.folder().join("state")
}

/// Starts a gateway and waits until it serves.
pub fn serve(node: &Node) -> Result<Process> {
    let mut gateway = node.spawn(&serve_program(node)?)?;
    gateway.wait_for_line("start page", SOON)?;
    Ok(gateway)
}

pub fn serve_program(node: &Node) -> Result<Program> {
    let program = doorward(["serve"])?.args(["--data".into(), data(node)]);
    Ok(program.args(["--config".into(), gateway_settings(node)]))
}

/// A new invite of the gateway that runs on this node; `request` as in the API.
pub fn invite(node: &Node, request: &str) -> Result<String> {
    let answer: Value = serde_json::from_str(&ask_owner(node, "POST", "invites", request)?)?;
    answer["invite"].as_str().map(str::to_owned).with_context(|| format!("no invite: {answer}"))
}

/// Asks the owner's API of the gateway on this node.
pub fn ask_owner(node: &Node, method: &str, path: &str, body: &str) -> Result<String> {
    let socket = data(node).join("owner.sock");
    let socket = socket.display();
    node.run(&format!(
        "curl -sS --max-time 10 --unix-socket '{socket}' -X {method} 'http://doorward/api/v1/{path}' \
         -H 'content-type: application/json' -d '{body}'"
    ))?
    .ok()
}

/// `doorward join`, the invite in the environment.
pub fn join(node: &Node, invite: &str, name: &str) -> Result<Output> {
    node.run_program(&join_program(node, invite, name)?, Duration::from_secs(90))
}

pub fn join_program(node: &Node, invite: &str, name: &str) -> Result<Program> {
    let program = doorward(["join", "--name", name])?.args(["--state".into(), state(node)]);
    Ok(program.env("DOORWARD_INVITE", invite))
}

/// Starts the page and the echoes that the usual `agent.toml` offers.
pub fn offer(node: &Node) -> Result<Process> {
    let mut services = node.spawn(&script("device.py", &[]))?;
    services.wait_for_line("serving", SOON)?;
    Ok(services)
}

/// Starts the agent; it has its own ideas about when to connect.
pub fn run_agent(node: &Node) -> Result<Process> {
    node.spawn(&agent_program(node)?)
}

pub fn agent_program(node: &Node) -> Result<Program> {
    let program = doorward(["agent"])?.args(["--state".into(), state(node)]);
    Ok(program.args(["--config".into(), agent_settings(node)]))
}

/// The carrier that an agent used last.
pub fn carrier(agent: &Process) -> Option<String> {
    let log = agent.log();
    let line = log.lines().rfind(|line| line.contains(" connected ") || line.ends_with("connected"))?;
    let after = line.split_once("carrier=")?.1;
    Some(after.split([' ', '"']).find(|word| !word.is_empty())?.to_owned())
}

/// A visitor who asks for all three services every 50 ms.
#[derive(Debug)]
pub struct Poll {
    process: Process,
}

impl Poll {
    /// One who is served already.
    pub fn start(node: &Node, gateway: IpAddr) -> Result<Poll> {
        let mut poll = Poll::waiting(node, gateway)?;
        poll.served_since(SystemTime::now(), SOON)?;
        Ok(poll)
    }

    /// One who may not be served yet.
    pub fn waiting(node: &Node, gateway: IpAddr) -> Result<Poll> {
        let words = [gateway.to_string(), PAGE.to_owned(), TCP_PORT.to_string(), UDP_PORT.to_string()];
        Ok(Poll { process: node.spawn(&script("poll.py", &words))? })
    }

    /// A visitor at the usual place who asks the usual gateway.
    pub fn of(world: &World) -> Result<Poll> {
        Poll::start(&world.visitor, addresses::GATEWAY[0])
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The visitor pauses; what it has open stays open.
    pub fn freeze(&self) -> Result<Fault> {
        self.process.freeze()
    }

    /// How long after `event` a visit that began after it was served; the slowest of the three kinds counts.
    pub fn served_since(&mut self, event: SystemTime, limit: Duration) -> Result<Duration> {
        let event = event.duration_since(UNIX_EPOCH)?.as_secs_f64();
        let mut first = [None; KINDS.len()];
        let asking = until(limit, "a visitor is served", || {
            let log = self.process.log();
            for (kind, first) in KINDS.iter().zip(&mut first) {
                let visits = log.lines().filter_map(|line| parse_visit(line.strip_prefix(kind)?));
                let served = visits.filter(|(begun, _)| *begun >= event).map(|(_, served)| served);
                *first = served.min_by(f64::total_cmp);
            }
            Ok(first.iter().all(Option::is_some))
        });
        let told = KINDS.iter().zip(first).map(|(kind, first)| match first {
            Some(served) => format!("{kind} {:.2} s", served - event),
            None => format!("{kind} not"),
        });
        let told = told.collect::<Vec<_>>().join(", ");
        asking.with_context(|| told.clone())?;
        println!("    {told}");
        let slowest = first.into_iter().flatten().fold(event, f64::max);
        Ok(Duration::from_secs_f64(slowest - event))
    }
}

/// When a visit began and when it was served; a line still being written is none.
fn parse_visit(words: &str) -> Option<(f64, f64)> {
    let (begun, served) = words.trim().split_once(' ')?;
    Some((begun.parse().ok()?, served.parse().ok()?))
}

const KINDS: [&str; 3] = ["page", "tcp", "udp"];

/// Prints a figure as the suite's summary wants it, and fails where it is hopelessly beyond its goal: machines differ,
/// so the goal itself is for people to look at.
pub fn report(what: &str, took: Duration, goal: Duration) -> Result<()> {
    println!("world: {what}: {:.2} s (goal ≤ {} s)", took.as_secs_f64(), goal.as_secs_f64());
    let limit = goal * 4 + Duration::from_secs(2);
    if took > limit {
        bail!("{what}: {took:?}, more than {limit:?}");
    }
    Ok(())
}

/// One of the small programs in `programs/`.
pub fn script(name: &str, words: &[String]) -> Program {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("programs").join(name);
    Program::new("/usr/bin/python3").args([path.into_os_string()]).args(words)
}
