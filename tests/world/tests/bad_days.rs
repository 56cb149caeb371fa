//! Bad days of the built programs: clocks that are set, disks that are full, ports and files that are not to be had.

#[path = "talk/mod.rs"]
mod talk;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use doorward_world::site::{self, AGENT_FILE, GATEWAY_FILE, Poll, SOON, Site, TCP_PORT};
use doorward_world::{Node, Process, Program, Shape, World, addresses, until};
use talk::Kind;

const TO_JOIN: Duration = Duration::from_secs(90);

/// How often it said so, to those who do not look at every detail.
fn count(process: &Process, text: &str) -> usize {
    process.log().lines().filter(|line| line.contains(text) && !line.contains(" DEBUG ")).count()
}

fn never_panicked(processes: &[&Process]) -> Result<()> {
    for process in processes {
        ensure!(!process.log().contains("panicked"), "{}", process.log());
    }
    Ok(())
}

fn told(output: &doorward_world::Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

mod clocks {
    use super::*;

    /// Open on Wednesdays alone.
    const ON_WEDNESDAYS: &str = r#"
[[service]]
name = "timed"
target = "tcp://127.0.0.1:7001"
entrances = [{ tcp-port = 20004 }]
access = { who = "public", when = { zone = "UTC", open = ["wed 08:00-16:30"] } }
"#;
    const TIMED_PORT: u16 = 20004;
    /// Seconds since 1970: 10 June 2026, noon, a Wednesday.
    const WEDNESDAY: u64 = 1_781_092_800;
    const DAY: u64 = 24 * 3600;
    const NEW_YEAR_1970: u64 = 600;

    fn set(file: &Path, time: u64) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let unfinished = file.with_extension("new");
        fs::write(&unfinished, format!("{:+}\n", time.cast_signed() - now.cast_signed()))?;
        Ok(fs::rename(unfinished, file)?)
    }

    /// A visitor's connection that passes numbers without end.
    fn call(world: &World, port: u16) -> Result<Process> {
        let mut caller = talk::call(&world.visitor, Kind::Tcp, port)?;
        caller.wait_for_line("echo", SOON)?;
        Ok(caller)
    }

    fn goes_on(caller: &mut Process) -> Result<()> {
        let mark = caller.log().len();
        caller.wait_for_line_after(mark, "echo", SOON).map(drop)
    }

    fn is_admitted(world: &World, port: u16) -> Result<bool> {
        let gateway = addresses::GATEWAY[0];
        let asked = world.visitor.run(&format!("echo hello | socat -t 3 - TCP:{gateway}:{port},connect-timeout=3"))?;
        Ok(asked.stdout.contains("hello"))
    }

    fn has_joined(node: &Node, invite: &str, name: &str) -> Result<String> {
        let program = site::doorward(["join", "--name", name])?.args(["--state".into(), node.folder().join(name)]);
        let joining = node.run_program(&program.env("DOORWARD_INVITE", invite), TO_JOIN)?;
        let outcome = if joining.succeeded() { "joined" } else { "refused" };
        Ok(format!("{outcome}: {}", told(&joining)))
    }

    #[test]
    fn clocks_may_be_set_to_any_day_while_links_stand_and_visits_run() -> Result<()> {
        let world = World::build(Shape::home())?;
        let (gateway_clock, agent_clock) = (world.gateway.folder().join("clock"), world.device.folder().join("clock"));
        set(&gateway_clock, WEDNESDAY)?;
        set(&agent_clock, WEDNESDAY)?;
        fs::write(site::gateway_settings(&world.gateway), GATEWAY_FILE)?;
        let mut gateway = world.gateway.spawn(&site::serve_program(&world.gateway)?.clock_set_by(&gateway_clock))?;
        gateway.wait_for_line("start page", SOON)?;
        site::join(&world.device, &site::invite(&world.gateway, "{}")?, "zumi")?.ok()?;
        fs::write(site::agent_settings(&world.device), AGENT_FILE.to_owned() + ON_WEDNESDAYS)?;
        let _services = site::offer(&world.device)?;
        let mut agent = world.device.spawn(&site::agent_program(&world.device)?.clock_set_by(&agent_clock))?;
        agent.wait_for_line("timed is reached", SOON)?;
        let mut open = call(&world, TCP_PORT)?;
        let (begun, mark) = (Instant::now(), gateway.log().len());
        let invite = site::invite(&world.gateway, r#"{"expires-in": "1h"}"#)?;

        let days = [("the next day", WEDNESDAY + DAY), ("the day before", WEDNESDAY - DAY), ("1970", NEW_YEAR_1970)];
        for (day, time) in days {
            let mut timed = call(&world, TIMED_PORT)?;
            let was_set = Instant::now();
            set(&gateway_clock, time)?;
            timed.wait_for_line("broken", SOON)?;
            println!("    {day}: cut {:?} after the clock was set", was_set.elapsed());
            ensure!(was_set.elapsed() < Duration::from_secs(3), "the cut took {:?}", was_set.elapsed());
            ensure!(!is_admitted(&world, TIMED_PORT)?, "{day}: it is not Wednesday");
            ensure!(is_admitted(&world, TCP_PORT)?, "{day}: who is always admitted");
            goes_on(&mut open)?;
            // All that shows times, for a panic.
            for path in ["status", "devices", "services", "invites", "audit"] {
                site::ask_owner(&world.gateway, "GET", path, "").with_context(|| format!("{day}: {path}"))?;
            }
            if day == "the next day" {
                let answer = has_joined(&world.device, &invite, "late")?;
                ensure!(answer.starts_with("refused") && answer.contains("expired"), "{answer}");
            }
            set(&agent_clock, time)?;
            goes_on(&mut open)?;
            set(&gateway_clock, WEDNESDAY)?;
        }
        ensure!(is_admitted(&world, TIMED_PORT)?, "it is Wednesday again");
        let answer = has_joined(&world.device, &invite, "late")?;
        ensure!(answer.starts_with("joined"), "the invite is good again: {answer}");

        // Signs of life are missed after 15 s: had a timer gone with a wall clock, the link would have ended.
        thread::sleep(Duration::from_secs(17).saturating_sub(begun.elapsed()));
        goes_on(&mut open)?;
        let lost = gateway.log()[mark..].lines().any(|line| line.contains("is offline") && line.contains("zumi"));
        ensure!(count(&agent, "connected") == 1 && !lost, "the link ended: {}{}", gateway.log(), agent.log());
        ensure!(count(&gateway, "the clock was set") >= 3, "{}", count(&gateway, "the clock was set"));
        // And timers go on: a device that vanishes in 1970 is missed.
        set(&gateway_clock, NEW_YEAR_1970)?;
        let _frozen = agent.freeze()?;
        gateway.wait_for_line("is offline", Duration::from_secs(30))?;
        never_panicked(&[&gateway, &agent])
    }
}

mod disks {
    use super::*;

    /// A small disk of its own at this place.
    fn mount(node: &Node, place: &Path, size: &str) -> Result<()> {
        let place = place.display();
        let line = format!("mkdir -p '{place}' && mount -t tmpfs -o size={size},mode=0700 none '{place}'");
        node.run(&line)?.ok().map(drop)
    }

    /// To the last byte.
    fn fill(node: &Node, place: &Path) -> Result<()> {
        let filler = place.join("filler");
        let filler = filler.display();
        node.run(&format!("cat /dev/zero >>'{filler}'; dd if=/dev/zero bs=1 >>'{filler}'"))?;
        let left = node.run(&format!("df --output=avail -B1 '{}' | tail -1", place.display()))?.ok()?;
        ensure!(left.trim() == "0", "{left} bytes are left");
        Ok(())
    }

    fn make_room(node: &Node, place: &Path) -> Result<()> {
        node.run(&format!("rm '{}'", place.join("filler").display()))?.ok().map(drop)
    }

    #[test]
    fn with_a_full_disk_a_gateway_serves_on_refuses_changes_and_loses_nothing() -> Result<()> {
        let world = World::build(Shape::home())?;
        let (node, data) = (&world.gateway, site::data(&world.gateway));
        mount(node, &data, "3m")?;
        let mut site = Site::start(&world)?;
        let mut poll = Poll::of(&world)?;
        let ask = |method: &str, path: &str| site::ask_owner(node, method, path, "{}");
        let before = ask("POST", "invites")?;
        ensure!(before.contains("\"invite\""), "{before}");

        fill(node, &data)?;
        for path in ["invites", "devices/zumi/revoke", "invites", "devices/zumi/replace"] {
            let answer = ask("POST", path)?;
            println!("    {path}: {answer}");
            let place = data.display().to_string();
            ensure!(["full", "free some space", &place].iter().all(|part| answer.contains(part)), "{path}: {answer}");
        }
        ensure!(ask("GET", "devices")?.contains("zumi"));
        poll.served_since(SystemTime::now(), SOON)?;
        // An agent that comes back offers what it offered.
        site.agent.kill()?;
        site.agent = site::run_agent(&world.device)?;
        site.agent.wait_for_line("echo is reached", SOON)?;
        poll.served_since(SystemTime::now(), SOON)?;
        let complaints = count(&site.gateway, "changes are refused");
        ensure!(complaints == 1, "the log says it {complaints} times: {}", site.gateway.log());

        // One that dies finds all it needs; one that stops tidies up, and where that room is gone as well, it says so.
        site.gateway.kill()?;
        site.gateway = site::serve(node)?;
        poll.served_since(SystemTime::now(), SOON)?;
        site.gateway.stop(SOON)?;
        fill(node, &data)?;
        let output = node.run_program(&site::serve_program(node)?, SOON)?;
        let said = told(&output);
        println!("    starting: {}", said.lines().last().unwrap_or_default());
        ensure!(
            !output.succeeded() && said.contains("free some space") && said.contains("nothing in it is lost"),
            "{said}"
        );

        make_room(node, &data)?;
        site.gateway = site::serve(node)?;
        fill(node, &data)?;
        let refused = (0..50)
            .map(|_| ask("POST", "invites"))
            .find(|answer| !matches!(answer, Ok(text) if text.contains("\"invite\"")));
        ensure!(refused.context("the disk is not full")??.contains("free some space"));
        make_room(node, &data)?;
        let after = ask("POST", "invites")?;
        ensure!(after.contains("\"invite\""), "{after}");
        site.gateway.wait_for_line("takes changes again", SOON)?;
        let known = ask("GET", "invites")?;
        for invite in [&before, &after] {
            let id =
                invite.split_once("\"id\":").and_then(|(_, rest)| rest.split([',', '}']).next()).context("no id")?;
            ensure!(known.contains(&format!("\"id\":{id},")), "invite {id} is lost: {known}");
        }
        site.gateway.stop(SOON)?;
        let check = format!(
            "import sqlite3; print(sqlite3.connect('{}').execute('PRAGMA integrity_check').fetchone()[0])",
            data.join("doorward.db").display()
        );
        let checked = node.run_program(&Program::new("/usr/bin/python3").args(["-c", &check]), SOON)?.ok()?;
        ensure!(checked.trim() == "ok", "{checked}");
        site.gateway = site::serve(node)?;
        poll.served_since(SystemTime::now(), SOON)?;
        never_panicked(&[&site.gateway, &site.agent])
    }

    #[test]
    fn with_a_full_disk_a_device_says_so_when_it_joins_and_serves_on_when_it_has() -> Result<()> {
        let world = World::build(Shape::home())?;
        fs::write(site::gateway_settings(&world.gateway), GATEWAY_FILE)?;
        let mut gateway = site::serve(&world.gateway)?;
        let (node, state) = (&world.device, site::state(&world.device));
        mount(node, &state, "256k")?;
        fill(node, &state)?;
        let invite = site::invite(&world.gateway, "{}")?;
        let output = site::join(node, &invite, "zumi")?;
        let place = state.display().to_string();
        println!("    joining: {}", told(&output).trim());
        let said = told(&output);
        ensure!(!output.succeeded() && ["disk is full", &place].iter().all(|part| said.contains(part)), "{said}");
        make_room(node, &state)?;
        site::join(node, &invite, "zumi")?.ok().context("the invite is still good")?;

        fs::write(site::agent_settings(node), AGENT_FILE)?;
        let _services = site::offer(node)?;
        fill(node, &state)?;
        let mut agent = site::run_agent(node)?;
        agent.wait_for_line("echo is reached", SOON)?;
        let mut poll = Poll::of(&world)?;
        // The carrier that works is remembered for the next start, if it can be.
        let blocked = world.home_router.block_udp()?;
        gateway.kill()?;
        gateway = site::serve(&world.gateway)?;
        until(SOON, "the link is on TLS", || Ok(site::carrier(&agent).as_deref() == Some("tls")))?;
        poll.served_since(SystemTime::now(), SOON)?;
        let complaints = count(&agent, "cannot be written");
        let line = agent.wait_for_line("cannot be written", SOON)?;
        println!("    {complaints} times: {line}");
        ensure!(line.contains(&place) && line.contains("disk is full"), "{line}");
        ensure!(complaints == 1, "the log says it {complaints} times");
        make_room(node, &state)?;
        blocked.mend()?;
        never_panicked(&[&gateway, &agent])
    }
}

mod ports {
    use super::*;

    /// Somebody else's program that listens there.
    fn occupy(node: &Node, kind: &str, port: u16) -> Result<Process> {
        let code = format!(
            "import socket, time; s = socket.socket(type=socket.SOCK_{kind}); s.bind(('0.0.0.0', {port})); \
             {}print('taken', flush=True); time.sleep(1000)",
            if kind == "STREAM" { "s.listen(); " } else { "" }
        );
        let mut program = node.spawn(&Program::new("/usr/bin/python3").args(["-c", &code]))?;
        program.wait_for_line("taken", SOON)?;
        Ok(program)
    }

    #[test]
    fn a_gateway_whose_own_port_is_taken_says_which_and_what_to_do() -> Result<()> {
        let world = World::build(Shape::home())?;
        let node = &world.gateway;
        fs::write(site::gateway_settings(node), GATEWAY_FILE)?;
        let table = [
            ("STREAM", 443, "listen.https", "ss -lntp"),
            ("STREAM", 80, "listen.http", "ss -lntp"),
            ("DGRAM", 443, "listen.quic", "ss -lnup"),
            ("STREAM", 9180, "listen.operations", "another program"),
        ];
        for (kind, port, setting, remedy) in table {
            let mut other = occupy(node, kind, port)?;
            let output = node.run_program(&site::serve_program(node)?, SOON)?;
            let said = told(&output);
            println!("    {}", said.lines().last().unwrap_or_default());
            let parts = [&format!(":{port}"), setting, remedy];
            ensure!(!output.succeeded() && parts.iter().all(|part| said.contains(*part)), "{said}");
            other.kill()?;
        }
        site::serve(node).map(drop)
    }

    #[test]
    fn a_device_is_told_that_its_port_is_taken_and_gets_it_when_it_is_free() -> Result<()> {
        let world = World::build(Shape::home())?;
        let mut others = [occupy(&world.gateway, "STREAM", TCP_PORT)?, occupy(&world.gateway, "DGRAM", 20002)?];
        let mut site = Site::start(&world)?;
        for (service, port) in [("echo", "tcp port 20001"), ("packets", "udp port 20002")] {
            let line = site.agent.wait_for_line(&format!("{service}: {port} cannot be opened"), SOON)?;
            println!("    {line}");
            ensure!(line.contains("in use"), "{line}");
        }
        let doctor = site::doorward(["doctor", "--data"])?.args([site::data(&world.gateway)]);
        let said = world.gateway.run_program(&doctor, SOON)?.stdout;
        ensure!(said.contains("tcp/20001 (zumi/echo) cannot be opened"), "{said}");
        ensure!(count(&site.agent, "echo is reached") == 0, "{}", site.agent.log());
        others.iter_mut().try_for_each(Process::kill)?;
        let freed = Instant::now();
        site.agent.wait_for_line("echo is reached", SOON)?;
        site.agent.wait_for_line("packets is reached", SOON)?;
        println!("    told {:?} after the ports were free", freed.elapsed());
        Poll::of(&world)?;
        ensure!(count(&site.gateway, "a public port cannot be opened") == 2, "{}", site.gateway.log());
        ensure!(count(&site.gateway, "cannot reach this TCP port") == 0, "{}", site.gateway.log());
        Ok(())
    }

    #[test]
    fn an_ordinary_start_warns_of_nothing() -> Result<()> {
        let world = World::build(Shape::home())?;
        let site = Site::start(&world)?;
        until(SOON, "the ports were tried from outside", || {
            let status = site::ask_owner(&world.gateway, "GET", "status", "")?;
            Ok(status.matches("\"reachability\":\"reachable\"").count() >= 3)
        })?;
        let warnings = |process: &Process| process.log().lines().filter(|l| l.contains(" WARN ")).count();
        ensure!(warnings(&site.gateway) == 0, "{}", site.gateway.log());
        ensure!(warnings(&site.agent) == 0, "{}", site.agent.log());
        Ok(())
    }
}
