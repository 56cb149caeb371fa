//! Pinholes of the home router: the kernel opens and ends them.

mod router;
mod talk;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use doorward_world::{Node, Shape, World, addresses as at};
use router::steps::{LATE, MINUTE, SHORT, ended_in_time, goes_on, home, is_dead, is_silence, opened};
use router::{Daemon, FILE, by_udp, change, direct, for_source, nas, program, write_file};
use serde_json::{Value, json};
use talk::{Kind, SOON, call_at, serve, tell};

#[test]
fn one_visitor_comes_in_for_a_while_and_others_hear_nothing() -> Result<()> {
    let world = World::build(Shape::home())?;
    let daemon = Daemon::start(&world)?;
    is_silence(&world.visitor, &home(), 40022)?;
    let (start, server, mut caller) = opened(&world, &daemon, SHORT)?;
    is_silence(&world.other_visitor, &home(), 40022)?;
    is_silence(&world.visitor, &home(), 40023)?;
    let answer = daemon.want(&[nas("a", SHORT.saturating_sub(start.elapsed()))])?;
    ensure!(answer["pinholes"][0]["state"] == "passed", "{answer}");
    ensure!(server.log().contains(&format!("from {}", at::VISITOR[0])), "the device sees who it is");
    caller.wait_for_line("Connection reset", SOON)?;
    ended_in_time(start, SHORT)?;
    is_dead(&mut caller)?;
    is_silence(&world.visitor, &home(), 40022)
}

#[test]
fn it_ends_in_the_kernel_though_the_daemon_was_killed() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut daemon = Daemon::start(&world)?;
    let (start, _server, mut caller) = opened(&world, &daemon, SHORT)?;
    daemon.process.kill()?;
    goes_on(&mut caller)?;
    caller.wait_for_line("Connection reset", SOON)?;
    ended_in_time(start, SHORT)?;
    is_dead(&mut caller)?;
    is_silence(&world.visitor, &home(), 40022)
}

#[test]
fn whoever_sends_first_after_the_end_is_reset_inside_as_well_as_outside() -> Result<()> {
    let world = World::build(Shape::home())?;
    let daemon = Daemon::start(&world)?;
    let mut server = tell(&world.device, Kind::Tcp, 22)?;
    let start = Instant::now();
    daemon.open(&[nas("a", SHORT)])?;
    let mut caller = call_at(&world.visitor, Kind::Tcp, &home(), 40022)?;
    goes_on(&mut caller)?;
    let frozen = caller.freeze()?;
    server.wait_for_line("broken", SOON)?;
    ended_in_time(start, SHORT)?;
    let mark = caller.log().len();
    frozen.mend()?;
    caller.wait_for_line_after(mark, "Connection reset", SOON).map(drop)
}

#[test]
fn revoked_it_is_dead_at_once() -> Result<()> {
    let world = World::build(Shape::home())?;
    let daemon = Daemon::start(&world)?;
    let (_, _server, mut caller) = opened(&world, &daemon, MINUTE)?;
    let start = Instant::now();
    daemon.want(&[])?;
    caller.wait_for_line("Connection reset", SOON)?;
    ended_in_time(start, Duration::ZERO)?;
    is_dead(&mut caller)?;
    is_silence(&world.visitor, &home(), 40022)
}

#[test]
fn udp_ends_in_silence() -> Result<()> {
    let world = World::build(Shape::home())?;
    let daemon = Daemon::start(&world)?;
    let _server = serve(&world.device, Kind::Udp, 22)?;
    for revoked in [false, true] {
        let lasts = if revoked { MINUTE } else { SHORT };
        let start = Instant::now();
        daemon.open(&[by_udp(nas("a", lasts))])?;
        let mut caller = call_at(&world.visitor, Kind::Udp, &home(), 40022)?;
        goes_on(&mut caller)?;
        if revoked {
            daemon.want(&[])?;
            thread::sleep(LATE);
        } else {
            thread::sleep((lasts + LATE).saturating_sub(start.elapsed()));
        }
        let mark = caller.log().len();
        thread::sleep(Duration::from_millis(500));
        ensure!(!caller.log()[mark..].contains("echo"), "the visitor still hears something");
        daemon.want(&[])?;
    }
    Ok(())
}

#[test]
fn the_owners_own_forwards_and_firewall_are_never_touched() -> Result<()> {
    let world = World::build(Shape::home())?;
    let _forward = world.home_router.forward_tcp_port(2222, at::DEVICE[0], 22)?;
    let rules = || world.home_router.run("nft -s list ruleset")?.ok();
    let before = rules()?;
    let daemon = Daemon::start(&world)?;
    let (_, _server, mut caller) = opened(&world, &daemon, MINUTE)?;
    let mut own = call_at(&world.visitor, Kind::Tcp, &home(), 2222)?;
    let mut others = call_at(&world.other_visitor, Kind::Tcp, &home(), 2222)?;
    daemon.want(&[])?;
    is_dead(&mut caller)?;
    goes_on(&mut own)?;
    goes_on(&mut others)?;
    ensure!(rules()?.contains("table inet doorward"), "there is something to remove");
    drop(daemon);
    world.home_router.run_program(&program(&world.home_router, &["--remove"])?, SOON)?.ok()?;
    goes_on(&mut own)?;
    ensure!(rules()? == before, "{}", rules()?);
    Ok(())
}

#[test]
fn a_port_that_the_owner_uses_is_not_taken_away() -> Result<()> {
    let world = World::build(Shape::home())?;
    let _forward = world.home_router.forward_tcp_port(40022, at::DEVICE[0], 8000)?;
    let _listening = serve(&world.home_router, Kind::Tcp, 40023)?;
    let daemon = Daemon::start(&world)?;
    let source = at::VISITOR[0].to_string();
    let wishes = [40022, 40023, 40024].map(|port| for_source(&format!("p{port}"), port, &source, MINUTE));
    let answer = daemon.want(&wishes)?;
    let states: Vec<&Value> = answer["pinholes"].as_array().context("a list")?.iter().map(|t| &t["state"]).collect();
    let in_use = |port: u16| json!({ "refused": { "port-in-use": port } });
    ensure!(states == [&in_use(40022), &in_use(40023), &json!("ready")], "{answer}");
    Ok(())
}

/// Where a router takes up connections whose beginning it did not see, as most do, forgetting a connection is not
/// ending it.
#[test]
fn what_is_over_stays_over_on_a_router_that_takes_up_connections_midway() -> Result<()> {
    let world = World::build(Shape::home().with_ipv6_at_home())?;
    world.home_router.run("echo 1 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose")?.ok()?;
    let daemon = Daemon::start_with(&world, &format!("join-firewalls = true\n{FILE}"))?;
    for (kind, host, port, wish) in
        [(Kind::Tcp, home(), 40022, nas("a", MINUTE)), (Kind::Tcp6, at::DEVICE[1].to_string(), 22, direct("b", MINUTE))]
    {
        let mut server = tell(&world.device, kind, 22)?;
        daemon.open(&[wish])?;
        let mut caller = call_at(&world.visitor, kind, &host, port)?;
        goes_on(&mut caller)?;
        // Nobody says anything for a while; then the inside does, which may dial out.
        let (outside, inside) = (caller.freeze()?, server.freeze()?);
        daemon.want(&[])?;
        inside.mend()?;
        server.wait_for_line("broken", SOON)?;
        let mark = caller.log().len();
        outside.mend()?;
        caller.wait_for_line_after(mark, "Connection reset", SOON)?;
        is_dead(&mut caller)?;
        server.kill()?;
    }
    Ok(())
}

#[test]
fn a_daemon_that_starts_again_finds_its_sessions_and_cuts_nobody() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut daemon = Daemon::start(&world)?;
    let (start, _server, mut caller) = opened(&world, &daemon, MINUTE)?;
    daemon.process.kill()?;
    let mut daemon = Daemon::start_again(&world.home_router)?;
    goes_on(&mut caller)?;
    let left = expires(&world)?;
    ensure!(left <= (MINUTE - start.elapsed()).as_secs() + 1, "a session grew by a restart: {left} s");
    daemon.open(&[nas("a", MINUTE.saturating_sub(start.elapsed()))])?;
    goes_on(&mut caller)?;
    daemon.open(&[nas("a", MINUTE * 2)])?;
    ensure!(expires(&world)? > 100, "it was prolonged");
    goes_on(&mut caller)?;
    ensure!(!caller.log().contains("broken"), "{}", caller.log());
    // What the owner no longer allows does not outlive the next start.
    daemon.process.kill()?;
    write_file(&world.home_router, &FILE.replace("[22, 8000]", "[8000]"))?;
    let _daemon = Daemon::start_again(&world.home_router)?;
    is_dead(&mut caller)
}

/// Of the only session, in seconds.
fn expires(world: &World) -> Result<u64> {
    let listed = world.home_router.run("nft -j list set inet doorward live")?.ok()?;
    let listed: Value = serde_json::from_str(&listed)?;
    let found = listed["nftables"]
        .as_array()
        .and_then(|all| all.iter().find_map(|one| one["set"]["elem"][0]["elem"]["expires"].as_u64()));
    found.with_context(|| format!("{listed}"))
}

#[test]
fn rules_that_somebody_flushed_come_back_with_the_next_message() -> Result<()> {
    let world = World::build(Shape::home())?;
    let daemon = Daemon::start(&world)?;
    let (_, _server, mut caller) = opened(&world, &daemon, MINUTE)?;
    world.home_router.run("nft delete table inet doorward")?.ok()?;
    daemon.open(&[nas("b", MINUTE)])?;
    is_dead(&mut caller)?;
    let mut caller = call_at(&world.visitor, Kind::Tcp, &home(), 40022)?;
    goes_on(&mut caller)?;
    world.home_router.run("nft flush chain inet doorward passing")?.ok()?;
    daemon.want(&[])?;
    is_dead(&mut caller)
}

#[test]
fn in_ipv6_a_firewall_that_drops_is_named_or_joined() -> Result<()> {
    let world = World::build(Shape::home().with_ipv6_at_home())?;
    let device = at::DEVICE[1].to_string();
    let mut daemon = Daemon::start(&world)?;
    let _server = serve(&world.device, Kind::Tcp6, 22)?;
    let answer = daemon.want(&[direct("a", MINUTE)])?;
    ensure!(answer["pinholes"][0]["state"] == json!({ "blocked": "inet firewall crossing" }), "{answer}");
    is_silence(&world.visitor, &format!("[{device}]"), 22)?;
    daemon.process.kill()?;
    let daemon = Daemon::start_with(&world, &format!("join-firewalls = true\n{FILE}"))?;
    let start = Instant::now();
    daemon.open(&[direct("a", SHORT)])?;
    let mut caller = call_at(&world.visitor, Kind::Tcp6, &device, 22)?;
    goes_on(&mut caller)?;
    // The other visitor is in the same /64; somebody else is not.
    is_silence(&world.gateway, &format!("[{device}]"), 22)?;
    caller.wait_for_line("Connection reset", SOON)?;
    ended_in_time(start, SHORT)?;
    is_dead(&mut caller)?;
    is_silence(&world.visitor, &format!("[{device}]"), 22)?;
    daemon.want(&[])?;
    let chain = || world.home_router.run("nft list chain inet firewall crossing")?.ok();
    ensure!(
        chain()?.matches("doorward router").count() == 1,
        "one accept, however often it is looked at: {}",
        chain()?
    );
    world.home_router.run_program(&program(&world.home_router, &["--remove"])?, SOON)?.ok()?;
    ensure!(!chain()?.contains("doorward"), "{}", chain()?);
    Ok(())
}

#[test]
fn a_neighbour_comes_in_by_the_public_address_too() -> Result<()> {
    let world = World::build(Shape::home().with_second_device())?;
    // With br_netfilter, resets to machines of a bridge leave beneath the address translation: they hang instead.
    world.home_router.run("! cd /proc/sys/net/bridge || echo 0 >bridge-nf-call-iptables")?.ok()?;
    let daemon = Daemon::start(&world)?;
    let server = serve(&world.device, Kind::Tcp, 22)?;
    daemon.open(&[nas("a", MINUTE)])?;
    let refused = world.second_device()?.run(&format!("socat -u /dev/null TCP:{}:40022,connect-timeout=1", home()))?;
    ensure!(!refused.succeeded(), "nobody said that neighbours may");
    let mut wish = nas("b", SHORT);
    wish["translated"]["neighbours"] = true.into();
    let start = Instant::now();
    daemon.open(&[wish])?;
    let mut caller = call_at(world.second_device()?, Kind::Tcp, &home(), 40022)?;
    goes_on(&mut caller)?;
    ensure!(server.log().contains(&format!("from {}", at::HOME_LAN[0])), "masqueraded: {}", server.log());
    caller.wait_for_line("Connection reset", SOON)?;
    ended_in_time(start, SHORT)
}

#[test]
fn a_machine_with_another_way_out_is_reached_masqueraded() -> Result<()> {
    let world = World::build(Shape::home())?;
    world.device.run("ip route del default")?.ok()?;
    let rule = "[[allow]]\ntarget = \"192.168.77.0/24\"\nports = [22]\nlongest-seconds = 7200\nmasquerade = true\n";
    let daemon = Daemon::start_with(&world, &format!("{FILE}\n{rule}"))?;
    let (_, server, _caller) = opened(&world, &daemon, MINUTE)?;
    ensure!(server.log().contains(&format!("from {}", at::HOME_LAN[0])), "{}", server.log());
    Ok(())
}

#[test]
fn thousands_of_sessions_are_one_change() -> Result<()> {
    const MANY: usize = 10_000;
    let world = World::build(Shape::home())?;
    let daemon = Daemon::start(&world)?;
    let (_, _server, mut caller) = opened(&world, &daemon, MINUTE * 10)?;
    let source = |n: usize| format!("203.0.{}.{}", n / 250, n % 250 + 1);
    let crowd = |n: usize| for_source(&format!("s{n}"), 40100 + n as u16, &source(n), MINUTE * 10);
    let mut wishes: Vec<Value> = (0..MANY).map(crowd).collect();
    wishes.push(nas("a", MINUTE * 10));
    for what in ["opened", "asked again"] {
        let start = Instant::now();
        daemon.open(&wishes)?;
        println!("world: {MANY} sessions {what}: {:.2} s", start.elapsed().as_secs_f64());
        goes_on(&mut caller)?;
    }
    let live = world.home_router.run("nft -j list set inet doorward live | grep -o comment | wc -l")?.ok()?;
    ensure!(live.trim() == (MANY + 1).to_string(), "{live}");
    let start = Instant::now();
    daemon.want(&[])?;
    println!("world: {MANY} sessions ended: {:.2} s", start.elapsed().as_secs_f64());
    is_dead(&mut caller)
}

#[test]
fn what_the_file_does_not_allow_is_refused_and_hostile_messages_change_nothing() -> Result<()> {
    let world = World::build(Shape::home())?;
    let daemon = Daemon::start(&world)?;
    let (_, _server, mut caller) = opened(&world, &daemon, MINUTE)?;
    let wish = |id: &str, port| for_source(id, port, &at::VISITOR[0].to_string(), MINUTE);
    let bad = [
        ("target", change(wish("b", 40023), "/translated/target", "192.168.77.10:23")),
        ("target", change(wish("c", 40024), "/translated/target", "198.51.100.20:22")),
        ("public-port", wish("d", 22)),
        ("too-long", change(wish("e", 40025), "/remaining-ms", 3_600_001)),
        ("shared", wish("f", 40022)),
    ];
    let wishes: Vec<Value> = [nas("a", MINUTE)].into_iter().chain(bad.iter().map(|(_, wish)| wish.clone())).collect();
    let answer = daemon.want(&wishes)?;
    let told = answer["pinholes"].as_array().context("a list")?;
    ensure!(told[0]["state"] == "passed", "{answer}");
    ensure!(told.len() == wishes.len(), "{answer}");
    for (told, (reason, _)) in told[1..].iter().zip(&bad) {
        ensure!(!told["state"]["refused"][reason].is_null(), "{reason}: {told}");
    }
    for message in [&b"{}"[..], b"\0", b"{\"pinholes\":[],\"flush\":true}", &vec![b'['; 100_000]] {
        ensure!(daemon.say(message)?.is_none(), "it was answered");
    }
    goes_on(&mut caller)?;
    ensure!(!caller.log().contains("broken"));
    Ok(())
}

#[test]
fn it_keeps_one_right_hears_one_user_and_listens_to_no_network() -> Result<()> {
    let world = World::build(Shape::home())?;
    let router = &world.home_router;
    let mut daemon = Daemon::start(&world)?;
    let pid = daemon.process.pid()?;
    let mut threads = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        let capabilities: Vec<&str> = status.lines().filter(|line| line.starts_with("Cap")).collect();
        let only_net_admin = |line: &&str| line.ends_with("0000000000001000");
        ensure!(capabilities.len() == 5 && capabilities.iter().all(only_net_admin), "{status}");
        ensure!(status.contains("NoNewPrivs:\t1") && !status.contains("Uid:\t0"), "{status}");
        threads += 1;
    }
    ensure!(threads > 0, "no thread was seen");
    let listening = router.run("ss -Hlntup")?.ok()?;
    ensure!(listening.is_empty(), "{listening}");
    let socket = router::socket(router);
    let ask = format!(
        "setpriv --reuid 12345 --regid 12345 --clear-groups socat -t2 - UNIX-CONNECT:{} </dev/null",
        socket.display()
    );
    router.run(&ask)?;
    daemon.process.wait_for_line("who is not the agent", SOON)?;
    // And it does not start with less.
    daemon.process.kill()?;
    let bare = format!("exec setpriv --bounding-set=-net_admin {}", command_line(router)?);
    let output = router.run(&bare)?;
    ensure!(!output.succeeded() && output.stderr.contains("CAP_NET_ADMIN is needed"), "{output:?}");
    Ok(())
}

fn command_line(node: &Node) -> Result<String> {
    let socket = router::socket(node);
    let program = doorward_world::built("doorward")?;
    let file = node.folder().join("router.toml");
    Ok(format!("{} router --config {} --socket {}", program.display(), file.display(), socket.display()))
}

/// As OpenWrt has it: everything is rejected at the end, in chains of zones, and nothing is forwarded.
const FW4: &str = r#"
table inet fw4
delete table inet fw4
table inet fw4 {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state vmap { established : accept, related : accept }
        iifname "lan" jump forward_lan
        iifname "wan" jump forward_wan
        jump handle_reject
    }
    chain forward_lan { jump accept_to_wan; }
    chain forward_wan { icmpv6 type { echo-request, packet-too-big } limit rate 1000/second accept; jump reject_to_wan; }
    chain accept_to_wan { oifname "wan" counter accept; }
    chain reject_to_wan { oifname "wan" counter jump handle_reject; }
    chain handle_reject { meta l4proto tcp reject with tcp reset; reject with icmpx port-unreachable; }
}
"#;

#[test]
fn a_firewall_like_openwrts_is_named_or_joined_again_after_every_reload() -> Result<()> {
    let world = World::build(Shape::home().with_ipv6_at_home())?;
    let file = world.home_router.folder().join("fw4.nft");
    std::fs::write(&file, FW4)?;
    let reload = || world.home_router.run(&format!("nft -f {}", file.display()))?.ok();
    world.home_router.run("nft delete table inet firewall")?.ok()?;
    reload()?;
    let _servers = [serve(&world.device, Kind::Tcp6, 22)?, serve(&world.device, Kind::Tcp, 8000)?];
    let wishes = || [direct("six", MINUTE), change(nas("four", MINUTE), "/translated/target", "192.168.77.10:8000")];
    let mut daemon = Daemon::start(&world)?;
    let answer = daemon.want(&wishes())?;
    let blocked = json!({ "blocked": "inet fw4 forward" });
    ensure!(answer["pinholes"][0]["state"] == blocked && answer["pinholes"][1]["state"] == blocked, "{answer}");
    let ask = |host: String, port: u16| {
        world.visitor.run(&format!("echo hi | socat -T2 - TCP:{host}:{port},connect-timeout=1"))
    };
    let (six, four) = (format!("[{}]", at::DEVICE[1]), home());
    ensure!(!ask(six.clone(), 22)?.succeeded() && !ask(four.clone(), 40022)?.succeeded(), "it is blocked indeed");
    daemon.process.kill()?;
    let daemon = Daemon::start_with(&world, &format!("join-firewalls = true\n{FILE}"))?;
    for _ in 0..2 {
        daemon.open(&wishes())?;
        ensure!(ask(six.clone(), 22)?.ok()? == "hi\n" && ask(four.clone(), 40022)?.ok()? == "hi\n");
        reload()?;
        ensure!(!ask(four.clone(), 40022)?.succeeded(), "a reload takes the accept away");
    }
    Ok(())
}
