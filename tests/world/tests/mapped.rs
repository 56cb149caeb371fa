//! A session's straight way through a router without us: miniupnpd makes the mapping, the agent listens behind it, the gateway
//! tries it from outside, and all of it ends with the session.

mod miniupnpd;
mod opened;
mod talk;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use doorward_world::{Node, Process, Shape, World, addresses as at, site, until};
use miniupnpd::{ADDRESS, Speaks, Upnpd};
use opened::owner;
use serde_json::Value;
use talk::{Kind, SOON, call_at, goes_on, serve};

/// What is promised.
const LATE: Duration = Duration::from_secs(1);
/// A UPnP search comes after vain questions by PCP and NAT-PMP; a try that fails takes ten seconds.
const PATIENCE: Duration = Duration::from_secs(40);

const ALLOWED: &str = "[port-mapping]\nallow = [\"nas\"]\n";

fn agent_file(mapping: &str) -> String {
    format!(
        r#"
{mapping}
[[service]]
name = "nas"
target = "tcp://127.0.0.1:2022"
pinhole-to = "127.0.0.1:2022"
entrances = ["pinhole"]
access = {{ who = "people", people = ["anna"], how = "on-request", max-duration = "1h" }}
"#
    )
}

struct Scene {
    gateway: Process,
    agent: Process,
    server: Process,
    router: Upnpd,
    // Last: the files of the others lie in it.
    world: World,
}

impl Scene {
    fn start(speaks: Speaks) -> Result<Scene> {
        let world = World::build(Shape::home())?;
        // miniupnpd refuses to work with addresses that are reserved for examples.
        world.home_router.change_addresses(&[ADDRESS])?.stays();
        let router = Upnpd::start(&world, speaks)?;
        Scene::start_in(world, router, ALLOWED)
    }

    fn start_in(world: World, router: Upnpd, mapping: &str) -> Result<Scene> {
        let gateway_file = format!("{}\n[sessions]\nports = \"21000-21009\"\n", site::GATEWAY_FILE);
        fs::write(site::gateway_settings(&world.gateway), gateway_file)?;
        let gateway = site::serve(&world.gateway)?;
        owner(&world.gateway, "people add anna")?;
        site::join(&world.device, &site::invite(&world.gateway, "{}")?, "zumi")?.ok()?;
        fs::write(site::agent_settings(&world.device), agent_file(mapping))?;
        let server = serve(&world.device, Kind::Tcp, 2022)?;
        let mut agent = site::run_agent(&world.device)?;
        agent.wait_for_line("connected", site::SOON)?;
        Ok(Scene { gateway, agent, server, router, world })
    }

    /// For the visitor, by the command line of the gateway's machine; the session's number.
    fn open(&self, length: &str) -> Result<i64> {
        opened::open(&self.world.gateway, "nas", length, at::VISITOR[0])
    }

    fn end(&self, session: i64) -> Result<()> {
        opened::end(&self.world.gateway, session)
    }

    fn sessions(&self) -> Result<Value> {
        opened::sessions(&self.world.gateway)
    }

    fn straight(&self, is_told: impl Fn(&Value) -> bool) -> Result<Value> {
        opened::straight(&self.world.gateway, PATIENCE, is_told)
    }

    /// The router's port, as it is shown once the gateway came through.
    fn straight_port(&self) -> Result<u16> {
        let straight = self.straight(|straight| straight["port"].is_u64())?;
        ensure!(straight["host"] == ADDRESS.to_string() && straight["state"] == "ready", "{straight}");
        Ok(straight["port"].as_u64().context("a port")?.try_into()?)
    }

    fn call(&self, port: u16) -> Result<Process> {
        let mut caller = call_at(&self.world.visitor, Kind::Tcp, &ADDRESS.to_string(), port)?;
        goes_on(&mut caller)?;
        Ok(caller)
    }

    /// By the gateway, as if there were no straight way.
    fn relay_serves(&self) -> Result<()> {
        let reach = self.sessions()?[0]["reach"].clone();
        let (host, port) = (reach["host"].as_str().context("a host")?, reach["port"].as_u64().context("a port")?);
        goes_on(&mut call_at(&self.world.visitor, Kind::Tcp, host, port.try_into()?)?)
    }

    fn router_has_no_rule(&self) -> Result<()> {
        let gone = until(PATIENCE, "the router has no rule", || Ok(self.router.rules()?.is_empty()));
        gone.map(drop).with_context(|| format!("{:?}", self.router.rules()))
    }

    /// The agent's own listeners: towards the home's network, where a port mapping leads.
    fn listeners(&self) -> Result<Vec<String>> {
        let table = self.world.device.run("ss -Htln")?.ok()?;
        Ok(table.lines().filter(|line| line.contains(&at::DEVICE[0].to_string())).map(str::to_owned).collect())
    }

    fn nothing_listens(&self) -> Result<()> {
        let shut = until(SOON, "nothing listens", || Ok(self.listeners()?.is_empty()));
        shut.map(drop).with_context(|| format!("{:?}", self.listeners()))
    }
}

fn is_dead_soon(caller: &mut Process, what: &str, start: Instant) -> Result<()> {
    caller.wait_for_line("Connection reset", SOON)?;
    let late = start.elapsed();
    println!("world: a mapped way is dead after {what}: {:.2} s (goal ≤ 1 s)", late.as_secs_f64());
    // A busy machine may take longer to start the command, and to see it.
    ensure!(late <= LATE + SOON / 10, "{late:?}");
    Ok(())
}

/// Whatever is sent, nothing comes back.
fn gets_nothing(node: &Node, port: u16) -> Result<()> {
    let output = node.run(&format!("echo hi | socat -T2 - TCP:{ADDRESS}:{port},connect-timeout=2"))?;
    ensure!(output.stdout.is_empty(), "{output:?}");
    Ok(())
}

#[test]
fn a_session_leads_its_visitor_through_the_routers_port_until_it_is_ended() -> Result<()> {
    for (speaks, way) in [(Speaks::All, "pcp"), (Speaks::NatPmpOnly, "nat-pmp"), (Speaks::UpnpOnly, "upnp")] {
        let mut scene = Scene::start(speaks)?;
        scene.nothing_listens()?;
        let session = scene.open("10m")?;
        let port = scene.straight_port()?;
        let ledger = fs::read_to_string(site::state(&scene.world.device).join("mappings.json"))?;
        ensure!(ledger.contains(&format!("\"{way}\"")), "{way}: {ledger}");
        ensure!(
            scene.listeners()?.len() == 1 && scene.router.rules()?.len() == 1,
            "{way}: {:?}",
            scene.router.rules()?
        );
        let mut caller = scene.call(port)?;
        gets_nothing(&scene.world.other_visitor, port)?;
        scene.straight(|straight| straight["state"] == "passed")?;
        let table = owner(&scene.world.gateway, "sessions")?;
        ensure!(table.contains(&format!("{ADDRESS}:{port}")), "{table}");
        goes_on(&mut caller)?;
        let start = Instant::now();
        scene.end(session)?;
        is_dead_soon(&mut caller, &format!("`sessions end` ({way})"), start)?;
        scene.nothing_listens()?;
        scene.router_has_no_rule()?;
        gets_nothing(&scene.world.visitor, port)?;
        ensure!(scene.server.exited()?.is_none(), "the service itself goes on");
    }
    Ok(())
}

#[test]
fn who_comes_from_elsewhere_later_on_is_let_in_by_the_same_port_and_cuts_nobody() -> Result<()> {
    for speaks in [Speaks::All, Speaks::UpnpOnly] {
        let scene = Scene::start(speaks)?;
        let session = scene.open("10m")?;
        let port = scene.straight_port()?;
        let mut caller = scene.call(port)?;
        let other = &scene.world.other_visitor;
        gets_nothing(other, port)?;
        let from = format!("{{\"from\":\"{}\"}}", at::OTHER_VISITOR[0]);
        site::ask_owner(&scene.world.gateway, "POST", &format!("sessions/{session}/sources"), &from)?;
        let ask = format!("echo hi | socat -T2 - TCP:{ADDRESS}:{port},connect-timeout=1");
        until(PATIENCE, "the other address is let in", || Ok(other.run(&ask)?.stdout.contains("hi")))?;
        goes_on(&mut caller)?;
        ensure!(!caller.log().contains("broken"), "it was cut meanwhile");
    }
    Ok(())
}

#[test]
fn a_device_that_was_revoked_listens_no_more_and_its_router_has_no_rule() -> Result<()> {
    let scene = Scene::start(Speaks::All)?;
    scene.open("10m")?;
    let mut caller = scene.call(scene.straight_port()?)?;
    let start = Instant::now();
    owner(&scene.world.gateway, "devices revoke zumi")?;
    is_dead_soon(&mut caller, "`devices revoke`", start)?;
    scene.nothing_listens()?;
    scene.router_has_no_rule()
}

#[test]
fn with_the_gateway_dead_it_ends_at_its_time_by_the_devices_own_clock() -> Result<()> {
    let mut scene = Scene::start(Speaks::All)?;
    scene.open("12s")?;
    let end = scene.sessions()?[0]["until"].as_str().context("an end")?.to_owned();
    let mut caller = scene.call(scene.straight_port()?)?;
    scene.gateway.kill()?;
    goes_on(&mut caller)?;
    caller.wait_for_line("Connection reset", 2 * SOON)?;
    let late = scene.world.visitor.run(&format!("echo $(( $(date +%s%N) - $(date -d '{end}' +%s%N) ))"))?.ok()?;
    let late = Duration::try_from_secs_f64(late.trim().parse::<f64>()? / 1e9).context("it ended before its time")?;
    println!(
        "world: a mapped way is dead after its time, with the gateway dead: {:.2} s (goal ≤ 1 s)",
        late.as_secs_f64()
    );
    ensure!(late <= LATE + SOON / 10, "{late:?}");
    scene.nothing_listens()?;
    scene.router_has_no_rule()
}

#[test]
fn what_a_killed_agent_left_is_swept_by_the_next_and_one_that_stops_leaves_nothing() -> Result<()> {
    let mut scene = Scene::start(Speaks::UpnpOnly)?;
    let session = scene.open("10m")?;
    scene.straight_port()?;
    scene.agent.kill()?;
    ensure!(scene.router.rules()?.len() == 1, "it is left");
    scene.end(session)?;
    scene.agent = site::run_agent(&scene.world.device)?;
    scene.router_has_no_rule()?;
    scene.nothing_listens()?;
    scene.open("10m")?;
    scene.straight_port()?;
    ensure!(scene.agent.stop(2 * SOON)?.success(), "it stops by itself");
    ensure!(scene.router.rules()?.is_empty(), "{:?}", scene.router.rules()?);
    Ok(())
}

#[test]
fn while_the_gateway_is_away_and_back_its_visitor_goes_on_and_the_port_stays() -> Result<()> {
    let mut scene = Scene::start(Speaks::All)?;
    let session = scene.open("10m")?;
    let port = scene.straight_port()?;
    let mut caller = scene.call(port)?;
    scene.gateway.kill()?;
    goes_on(&mut caller)?;
    scene.gateway = site::serve(&scene.world.gateway)?;
    scene.straight(|straight| straight["port"] == port && straight["state"] == "passed")?;
    goes_on(&mut caller)?;
    ensure!(!caller.log().contains("broken"), "it was cut meanwhile");
    let start = Instant::now();
    scene.end(session)?;
    is_dead_soon(&mut caller, "`sessions end` at a gateway that came back", start)?;
    scene.router_has_no_rule()
}

#[test]
fn a_home_whose_link_is_in_ipv6_is_tried_and_reached_in_ipv4_all_the_same() -> Result<()> {
    let world = World::build(Shape::home().with_ipv6_at_home())?;
    world.home_router.change_addresses(&[ADDRESS, at::HOME[1]])?.stays();
    world.point("gateway.example", &at::GATEWAY[1..])?;
    let router = Upnpd::start(&world, Speaks::All)?;
    let scene = Scene::start_in(world, router, ALLOWED)?;
    let session = scene.open("10m")?;
    let mut caller = scene.call(scene.straight_port()?)?;
    let start = Instant::now();
    scene.end(session)?;
    is_dead_soon(&mut caller, "`sessions end` (a link in IPv6)", start)
}

#[test]
fn behind_carrier_nat_that_is_told_and_the_relay_serves() -> Result<()> {
    // A router that believes in a public address where the gateway sees the carrier's; then those that know theirs.
    for (claims, speaks) in [(Some(ADDRESS), Speaks::All), (None, Speaks::All), (None, Speaks::UpnpOnly)] {
        let world = World::build(Shape::home().behind_carrier_nat())?;
        let router = match claims {
            Some(address) => Upnpd::start_claiming(&world, speaks, address)?,
            None => Upnpd::start_honest(&world, speaks)?,
        };
        let scene = Scene::start_in(world, router, ALLOWED)?;
        let session = scene.open("10m")?;
        let words = ["carrier NAT", "using the relay instead"];
        let why = |straight: &Value| straight["why-not"].as_str().unwrap_or_default().to_owned();
        let is_told = |straight: &Value| words.iter().all(|word| why(straight).contains(word));
        let straight = scene.straight(is_told)?;
        println!("world: behind carrier NAT ({speaks:?}, claims {claims:?}): {}", straight["why-not"]);
        ensure!(straight["state"] == "closed" && straight["port"].is_null(), "{straight}");
        scene.relay_serves()?;
        scene.end(session)?;
        scene.router_has_no_rule()?;
    }
    Ok(())
}

#[test]
fn a_router_that_says_yes_and_lets_nothing_through_is_found_out_and_the_relay_serves() -> Result<()> {
    let world = World::build(Shape::home())?;
    world.home_router.change_addresses(&[ADDRESS])?.stays();
    let router = Upnpd::start(&world, Speaks::All)?;
    let drop_rule = "table inet liar { chain c { type filter hook prerouting priority -300; \
                     iifname \"wan\" tcp flags & (syn | ack) == syn drop; }; }";
    world.home_router.run(&format!("nft '{drop_rule}'"))?.ok()?;
    let scene = Scene::start_in(world, router, ALLOWED)?;
    scene.open("10m")?;
    let why = |straight: &Value, text: &str| straight["why-not"].as_str().unwrap_or_default().contains(text);
    scene.straight(|straight| straight["state"] == "closed" && why(straight, "it is being tried from outside"))?;
    let start = Instant::now();
    let straight = scene.straight(|straight| why(straight, "nothing comes through: using the relay"))?;
    println!(
        "world: a router that lies is found out {:.1} s after it was begun to be tried",
        start.elapsed().as_secs_f64()
    );
    ensure!(straight["state"] == "closed" && straight["port"].is_null(), "{straight}");
    scene.relay_serves()
}

#[test]
fn what_the_devices_file_does_not_allow_is_neither_asked_nor_listened_for() -> Result<()> {
    let world = World::build(Shape::home())?;
    world.home_router.change_addresses(&[ADDRESS])?.stays();
    let router = Upnpd::start(&world, Speaks::All)?;
    let scene = Scene::start_in(world, router, "[port-mapping]\nallow = []\n")?;
    scene.open("10m")?;
    let straight = scene.straight(|straight| straight["state"] == "closed")?;
    ensure!(straight["why-not"].as_str().unwrap_or_default().contains("[port-mapping] allow"), "{straight}");
    ensure!(scene.listeners()?.is_empty() && scene.router.rules()?.is_empty(), "something is open");
    scene.relay_serves()
}
