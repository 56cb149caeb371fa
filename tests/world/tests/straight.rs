//! A session's straight way: opened at the gateway, asked for by the agent, made by the home router, used past all of them.

mod router;
mod talk;

use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use doorward_world::{Node, Process, Shape, World, addresses as at, built, site, until};
use router::{Daemon, FILE};
use serde_json::Value;
use talk::{Kind, SOON, call_at, serve};

/// What is promised.
const LATE: Duration = Duration::from_secs(1);

fn gateway_file() -> String {
    format!("{}\n[sessions]\nports = \"21000-21009\"\n", site::GATEWAY_FILE)
}

/// The agent stands on the router; what it leads to is another machine.
fn agent_file(router: &Node) -> String {
    format!(
        r#"
[router]
socket = "{socket}"

[[service]]
name = "nas"
target = "tcp://{device}:22"
pinhole-to = "{device}:22"
entrances = ["pinhole"]
access = {{ who = "people", people = ["anna"], how = "on-request", max-duration = "1h" }}
"#,
        socket = router::socket(router).display(),
        device = at::DEVICE[0],
    )
}

struct Scene {
    _gateway: Process,
    _agent: Process,
    _daemon: Daemon,
    server: Process,
    // Last: the files of the others lie in it.
    world: World,
}

impl Scene {
    /// `file`: what the owner of the home allows.
    fn start(file: &str) -> Result<Scene> {
        let world = World::build(Shape::home())?;
        fs::write(site::gateway_settings(&world.gateway), gateway_file())?;
        let gateway = site::serve(&world.gateway)?;
        owner(&world.gateway, "people add anna")?;
        let router = &world.home_router;
        site::join(router, &site::invite(&world.gateway, "{}")?, "zumi")?.ok()?;
        fs::write(site::agent_settings(router), agent_file(router))?;
        let daemon = Daemon::start_with(&world, file)?;
        let server = serve(&world.device, Kind::Tcp, 22)?;
        let mut agent = site::run_agent(router)?;
        agent.wait_for_line("connected", site::SOON)?;
        Ok(Scene { _gateway: gateway, _agent: agent, _daemon: daemon, server, world })
    }

    /// For the visitor, by the command line of the gateway's machine; the session's number.
    fn open(&self, length: &str) -> Result<i64> {
        let words = format!("sessions open zumi/nas --person anna --for {length} --from {}", at::VISITOR[0]);
        until(SOON, "the device's service can be opened", || Ok(owner(&self.world.gateway, &words).is_ok()))?;
        let sessions = self.sessions()?;
        sessions[0]["id"].as_i64().with_context(|| format!("no session: {sessions}"))
    }

    fn end(&self, session: i64) -> Result<()> {
        owner(&self.world.gateway, &format!("sessions end {session}")).map(drop)
    }

    /// Those that are open.
    fn sessions(&self) -> Result<Value> {
        Ok(serde_json::from_str(&owner(&self.world.gateway, "sessions --json")?)?)
    }

    /// What is shown of the only session's straight way once it stands, or does not.
    fn straight(&self, is_told: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut straight = Value::Null;
        let told = until(SOON, "the router's answer is shown", || {
            straight = self.sessions()?[0]["reach"]["straight"].clone();
            Ok(is_told(&straight))
        });
        told.with_context(|| format!("it is {straight}"))?;
        Ok(straight)
    }

    /// The public port, as it is shown.
    fn straight_port(&self) -> Result<u16> {
        let straight = self.straight(|straight| straight["port"].is_u64())?;
        ensure!(straight["host"] == home(), "{straight}");
        Ok(straight["port"].as_u64().context("a port")?.try_into()?)
    }

    fn call(&self, port: u16) -> Result<Process> {
        let mut caller = call_at(&self.world.visitor, Kind::Tcp, &home(), port)?;
        goes_on(&mut caller)?;
        Ok(caller)
    }

    fn is_shut(&self, port: u16) -> Result<()> {
        is_silence(&self.world.visitor, port)
    }
}

/// `doorward …` on the gateway's machine.
fn owner(gateway: &Node, words: &str) -> Result<String> {
    let (program, data) = (built("doorward")?, site::data(gateway));
    gateway.run(&format!("'{}' {words} --data '{}'", program.display(), data.display()))?.ok()
}

fn home() -> String {
    at::HOME[0].to_string()
}

/// The other side has answered since now.
fn goes_on(caller: &mut Process) -> Result<()> {
    let mark = caller.log().len();
    caller.wait_for_line_after(mark, "echo", SOON).map(drop)
}

/// The caller was reset, and hears nothing any more however often it tries.
fn is_dead(caller: &mut Process) -> Result<()> {
    caller.wait_for_line("Connection reset", SOON)?;
    let mark = caller.log().len();
    thread::sleep(LATE);
    ensure!(!caller.log()[mark..].contains("echo"), "something came after the end");
    Ok(())
}

/// A connection attempt is swallowed, not refused.
fn is_silence(node: &Node, port: u16) -> Result<()> {
    let output = node.run(&format!("socat -u /dev/null TCP:{}:{port},connect-timeout=1", home()))?;
    ensure!(!output.succeeded() && output.stderr.contains("timed out"), "{output:?}");
    Ok(())
}

fn ended(what: &str, late: Duration) -> Result<()> {
    println!("world: a straight way is dead after {what}: {:.2} s (goal ≤ 1 s)", late.as_secs_f64());
    ensure!(late <= LATE, "{late:?}");
    Ok(())
}

#[test]
fn a_session_leads_its_visitor_straight_to_the_home_until_it_is_ended() -> Result<()> {
    let scene = Scene::start(FILE)?;
    let session = scene.open("10m")?;
    let port = scene.straight_port()?;
    let mut caller = scene.call(port)?;
    ensure!(scene.server.log().contains(&format!("from {} ", at::VISITOR[0])), "it comes past the gateway, as itself");
    is_silence(&scene.world.other_visitor, port)?;
    scene.straight(|straight| straight["state"] == "passed")?;
    goes_on(&mut caller)?;
    let start = Instant::now();
    scene.end(session)?;
    caller.wait_for_line("Connection reset", SOON)?;
    ended("`sessions end`", start.elapsed())?;
    is_dead(&mut caller)?;
    scene.is_shut(port)
}
