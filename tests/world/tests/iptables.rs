//! Pinholes of a home router that has iptables, of either kind.

mod router;
mod talk;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use doorward_world::{Node, Process, Shape, World, addresses as at};
use router::steps::{LATE, MINUTE, SHORT, ended_in_time, goes_on, hears_nothing, home, is_dead, is_silence, opened};
use router::{Daemon, FILE, by_udp, change, direct, for_source, nas, program, write_file};
use serde_json::{Value, json};
use talk::{Kind, SOON, call_at, serve, tell};

/// What follows `iptables` in the programs' names.
const KINDS: [&str; 2] = ["nft", "legacy"];

/// What the world's routers do by nftables.
const FIREWALL: &str = "\
*filter
:INPUT ACCEPT
:FORWARD DROP
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan+ -j ACCEPT
-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i wan -p tcp -j DROP
-A INPUT -i wan -p udp -j DROP
COMMIT
*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
";

struct Home {
    kind: &'static str,
    world: World,
}

impl Home {
    fn build(kind: &'static str, shape: Shape) -> Result<Self> {
        let home = Self { kind, world: World::build(shape)? };
        home.router().run("nft flush ruleset")?.ok()?;
        home.restore("iptables", FIREWALL)?;
        let (six, _) = FIREWALL.split_once("*nat").context("a table")?;
        home.restore("ip6tables", &six.replace("-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT\n", ""))?;
        Ok(home)
    }

    fn router(&self) -> &Node {
        &self.world.home_router
    }

    fn restore(&self, program: &str, text: &str) -> Result<()> {
        let file = self.router().folder().join("rules");
        std::fs::write(&file, text)?;
        self.router().run(&format!("{program}-{}-restore -w 5 <{}", self.kind, file.display()))?.ok().map(drop)
    }

    fn iptables(&self, words: &str) -> Result<String> {
        self.router().run(&format!("iptables-{} -w 5 {words}", self.kind))?.ok()
    }

    fn daemon(&self) -> Result<Daemon> {
        self.daemon_with("")
    }

    fn daemon_with(&self, lines: &str) -> Result<Daemon> {
        Daemon::start_with(&self.world, &with(lines))
    }

    /// All rules and chains, without what counts.
    fn rules(&self) -> Result<String> {
        let kind = self.kind;
        let saves = ["iptables", "ip6tables"]
            .map(|program| format!("for table in filter nat mangle; do {program}-{kind}-save -t $table; done"));
        let printed = self.router().run(&saves.join("; "))?.ok()?;
        let rules = printed.lines().filter(|line| line.starts_with('-') || line.ends_with("- [0:0]"));
        Ok(rules.map(|line| format!("{line}\n")).collect())
    }
}

fn with(lines: &str) -> String {
    format!("backend = \"iptables\"\n{lines}\n{FILE}")
}

fn each(shape: impl Fn() -> Shape, test: impl Fn(&Home) -> Result<()>) -> Result<()> {
    for kind in KINDS {
        test(&Home::build(kind, shape())?).with_context(|| format!("iptables-{kind}"))?;
    }
    Ok(())
}

#[test]
fn one_visitor_comes_in_for_a_while_and_others_hear_nothing() -> Result<()> {
    each(Shape::home, |Home { world, .. }| {
        let daemon = Daemon::start_with(world, &with(""))?;
        is_silence(&world.visitor, &home(), 40022)?;
        let (start, server, mut caller) = opened(world, &daemon, SHORT)?;
        is_silence(&world.other_visitor, &home(), 40022)?;
        is_silence(&world.visitor, &home(), 40023)?;
        let answer = daemon.want(&[nas("a", SHORT.saturating_sub(start.elapsed()))])?;
        ensure!(answer["pinholes"][0]["state"] == "passed", "{answer}");
        ensure!(server.log().contains(&format!("from {}", at::VISITOR[0])), "the device sees who it is");
        caller.wait_for_line("Connection reset", SOON)?;
        ended_in_time(start, SHORT)?;
        is_dead(&mut caller)?;
        is_silence(&world.visitor, &home(), 40022)
    })
}

#[test]
fn it_ends_in_the_kernel_though_the_daemon_was_killed() -> Result<()> {
    each(Shape::home, |here| {
        let mut daemon = here.daemon()?;
        let (start, _server, mut caller) = opened(&here.world, &daemon, SHORT)?;
        daemon.process.kill()?;
        goes_on(&mut caller)?;
        caller.wait_for_line("Connection reset", SOON)?;
        ended_in_time(start, SHORT)?;
        is_dead(&mut caller)?;
        is_silence(&here.world.visitor, &home(), 40022)
    })
}

/// As firewalld and others do when they start: they come first, and let pass what is established.
#[test]
fn it_ends_though_the_daemon_is_dead_and_another_firewall_accepts_before_ours() -> Result<()> {
    each(Shape::home, |here| {
        let mut daemon = here.daemon()?;
        let (start, _server, mut caller) = opened(&here.world, &daemon, SHORT)?;
        daemon.process.kill()?;
        here.iptables("-I FORWARD 1 -m conntrack --ctstate ESTABLISHED -j ACCEPT")?;
        goes_on(&mut caller)?;
        thread::sleep((SHORT + LATE / 2).saturating_sub(start.elapsed()));
        hears_nothing(&caller)?;
        is_silence(&here.world.visitor, &home(), 40022)
    })
}

#[test]
fn revoked_it_is_dead_at_once_and_another_session_goes_on() -> Result<()> {
    each(Shape::home, |here| {
        let daemon = here.daemon()?;
        let (_, _server, mut caller) = opened(&here.world, &daemon, MINUTE)?;
        let other = || for_source("b", 40023, &at::OTHER_VISITOR[0].to_string(), MINUTE);
        daemon.open(&[nas("a", MINUTE), other()])?;
        let mut others = call_at(&here.world.other_visitor, Kind::Tcp, &home(), 40023)?;
        goes_on(&mut others)?;
        let start = Instant::now();
        daemon.open(&[other()])?;
        caller.wait_for_line("Connection reset", SOON)?;
        ended_in_time(start, Duration::ZERO)?;
        is_dead(&mut caller)?;
        is_silence(&here.world.visitor, &home(), 40022)?;
        goes_on(&mut others)?;
        ensure!(!others.log().contains("broken"), "{}", others.log());
        Ok(())
    })
}

#[test]
fn udp_ends_in_silence() -> Result<()> {
    each(Shape::home, |here| {
        let daemon = here.daemon()?;
        let _server = serve(&here.world.device, Kind::Udp, 22)?;
        for revoked in [false, true] {
            let lasts = if revoked { MINUTE } else { SHORT };
            let start = Instant::now();
            daemon.open(&[by_udp(nas("a", lasts))])?;
            let mut caller = call_at(&here.world.visitor, Kind::Udp, &home(), 40022)?;
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
    })
}

#[test]
fn the_owners_own_forwards_and_firewall_are_never_touched_and_removal_leaves_nothing() -> Result<()> {
    each(
        || Shape::home().with_ipv6_at_home(),
        |here| {
            let (world, router) = (&here.world, here.router());
            here.iptables(&format!(
                "-t nat -A PREROUTING -i wan -p tcp --dport 2222 -j DNAT --to-destination {}:22",
                at::DEVICE[0]
            ))?;
            here.iptables(&format!(
                "-t nat -A PREROUTING -i wan -p tcp --dport 40030 -j DNAT --to-destination {}:22",
                at::DEVICE[0]
            ))?;
            let before = here.rules()?;
            let daemon = here.daemon()?;
            let (_, _server, mut caller) = opened(world, &daemon, MINUTE)?;
            let answer =
                daemon.want(&[nas("a", MINUTE), for_source("b", 40030, &at::VISITOR[0].to_string(), MINUTE)])?;
            let in_use = json!({ "refused": { "port-in-use": 40030 } });
            ensure!(answer["pinholes"][1]["state"] == in_use, "the owner leads it elsewhere: {answer}");
            let mut own = call_at(&world.visitor, Kind::Tcp, &home(), 2222)?;
            let mut others = call_at(&world.other_visitor, Kind::Tcp, &home(), 2222)?;
            goes_on(&mut own)?;
            daemon.want(&[])?;
            is_dead(&mut caller)?;
            goes_on(&mut own)?;
            goes_on(&mut others)?;
            ensure!(here.rules()?.contains("doorward-"), "there is something to remove");
            drop(daemon);
            router.run_program(&program(router, &["--remove"])?, SOON)?.ok()?;
            goes_on(&mut own)?;
            ensure!(here.rules()? == before, "{}", here.rules()?);
            Ok(())
        },
    )
}

#[test]
fn a_daemon_that_starts_again_finds_its_sessions_and_cuts_nobody() -> Result<()> {
    each(Shape::home, |here| {
        const LASTS: Duration = Duration::from_secs(15);
        let mut daemon = here.daemon()?;
        let (start, _server, mut caller) = opened(&here.world, &daemon, LASTS)?;
        daemon.process.kill()?;
        let mut daemon = Daemon::start_again(here.router())?;
        goes_on(&mut caller)?;
        daemon.open(&[nas("a", LASTS.saturating_sub(start.elapsed()))])?;
        goes_on(&mut caller)?;
        ensure!(!caller.log().contains("broken"), "{}", caller.log());
        daemon.process.kill()?;
        let daemon = Daemon::start_again(here.router())?;
        caller.wait_for_line("Connection reset", LASTS + LATE * 2)?;
        let lived = start.elapsed();
        ensure!(lived <= LASTS + LATE * 2, "a session grew by a restart: {lived:?}");
        // What the owner no longer allows does not outlive the next start.
        drop(daemon);
        let daemon = Daemon::start_again(here.router())?;
        daemon.open(&[nas("c", MINUTE)])?;
        let mut caller = call_at(&here.world.visitor, Kind::Tcp, &home(), 40022)?;
        goes_on(&mut caller)?;
        drop(daemon);
        write_file(here.router(), &with("").replace("[22, 8000]", "[8000]"))?;
        let _daemon = Daemon::start_again(here.router())?;
        is_dead(&mut caller)
    })
}

#[test]
fn rules_that_somebody_flushed_or_overtook_come_back_with_the_next_message() -> Result<()> {
    each(Shape::home, |here| {
        let daemon = here.daemon()?;
        let (_, _server, mut caller) = opened(&here.world, &daemon, MINUTE)?;
        here.iptables("-t mangle -F")?;
        is_silence(&here.world.visitor, &home(), 40022)?;
        daemon.open(&[nas("a", MINUTE)])?;
        // What is there in part cannot be told whose it is: it is opened under another number.
        is_dead(&mut caller)?;
        let mut second = call_at(&here.world.visitor, Kind::Tcp, &home(), 40022)?;
        goes_on(&mut second)?;
        // As Docker and others do: they come first, and would let pass what is established.
        here.iptables("-I FORWARD 1 -m conntrack --ctstate ESTABLISHED -j ACCEPT")?;
        daemon.open(&[nas("a", MINUTE)])?;
        ensure!(here.iptables("-S FORWARD")?.lines().nth(1).is_some_and(|first| first.contains("doorward router")));
        here.iptables("-F doorward-forward")?;
        daemon.want(&[])?;
        is_dead(&mut second)
    })
}

#[test]
fn whoever_sends_first_after_the_end_is_reset_in_both_families_also_where_connections_are_taken_up_midway() -> Result<()>
{
    each(
        || Shape::home().with_ipv6_at_home(),
        |here| {
            let world = &here.world;
            here.router().run("echo 1 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose")?.ok()?;
            let mut daemon = here.daemon()?;
            let answer = daemon.want(&[direct("x", MINUTE)])?;
            ensure!(answer["pinholes"][0]["state"] == json!({ "blocked": "ip6tables filter FORWARD" }), "{answer}");
            is_silence(&world.visitor, &format!("[{}]", at::DEVICE[1]), 22)?;
            daemon.process.kill()?;
            let daemon = here.daemon_with("join-firewalls = true")?;
            for (kind, host, port, wish) in [
                (Kind::Tcp, home(), 40022, nas("a", SHORT)),
                (Kind::Tcp6, at::DEVICE[1].to_string(), 22, direct("b", SHORT)),
            ] {
                let mut server = tell(&world.device, kind, 22)?;
                let start = Instant::now();
                daemon.open(&[wish])?;
                let mut caller = call_at(&world.visitor, kind, &host, port)?;
                goes_on(&mut caller)?;
                let frozen = caller.freeze()?;
                server.wait_for_line("broken", SOON)?;
                ended_in_time(start, SHORT)?;
                let mark = caller.log().len();
                frozen.mend()?;
                caller.wait_for_line_after(mark, "Connection reset", SOON)?;
                // But for what had arrived while it was frozen.
                hears_nothing(&caller)?;
                server.kill()?;
            }
            let accepts = |text: &str| text.matches("-A doorward-forward -j ACCEPT").count();
            ensure!(accepts(&here.rules()?) == 1, "only where it would be dropped: {}", here.rules()?);
            Ok(())
        },
    )
}

#[test]
fn a_neighbour_comes_in_by_the_public_address_too() -> Result<()> {
    each(
        || Shape::home().with_second_device(),
        |here| {
            let world = &here.world;
            // With br_netfilter, resets to machines of a bridge leave beneath the address translation: they hang instead.
            here.router().run("! cd /proc/sys/net/bridge || echo 0 >bridge-nf-call-iptables")?.ok()?;
            let daemon = here.daemon()?;
            let server = serve(&world.device, Kind::Tcp, 22)?;
            daemon.open(&[nas("a", MINUTE)])?;
            let attempt = format!("socat -u /dev/null TCP:{}:40022,connect-timeout=1", home());
            ensure!(!world.second_device()?.run(&attempt)?.succeeded(), "nobody said that neighbours may");
            let mut wish = nas("b", SHORT);
            wish["translated"]["neighbours"] = true.into();
            let start = Instant::now();
            daemon.open(&[wish])?;
            let mut caller = call_at(world.second_device()?, Kind::Tcp, &home(), 40022)?;
            goes_on(&mut caller)?;
            ensure!(server.log().contains(&format!("from {}", at::HOME_LAN[0])), "masqueraded: {}", server.log());
            caller.wait_for_line("Connection reset", SOON)?;
            ended_in_time(start, SHORT)
        },
    )
}

#[test]
fn a_machine_with_another_way_out_is_reached_masqueraded() -> Result<()> {
    each(Shape::home, |here| {
        here.world.device.run("ip route del default")?.ok()?;
        let rule = "[[allow]]\ntarget = \"192.168.77.0/24\"\nports = [22]\nlongest-seconds = 7200\nmasquerade = true\n";
        let daemon = Daemon::start_with(&here.world, &format!("{}\n{rule}", with("")))?;
        let (_, server, _caller) = opened(&here.world, &daemon, MINUTE)?;
        ensure!(server.log().contains(&format!("from {}", at::HOME_LAN[0])), "{}", server.log());
        Ok(())
    })
}

#[test]
fn as_many_sessions_as_it_keeps_are_opened_and_one_more_is_refused() -> Result<()> {
    const MOST: u16 = 256;
    each(Shape::home, |here| {
        let daemon = here.daemon()?;
        let (_, _server, mut caller) = opened(&here.world, &daemon, MINUTE)?;
        let crowd = |n: u16| for_source(&format!("s{n}"), 40100 + n, &format!("203.0.113.{}", n % 250 + 1), MINUTE);
        let mut wishes: Vec<Value> = (0..MOST).map(crowd).collect();
        wishes.push(nas("a", MINUTE));
        let start = Instant::now();
        let answer = daemon.want(&wishes)?;
        println!("world: {MOST} sessions in iptables-{}: {:.2} s", here.kind, start.elapsed().as_secs_f64());
        let told = answer["pinholes"].as_array().context("a list")?;
        let too_many = json!({ "refused": "too-many" });
        let refused: Vec<&Value> =
            told.iter().filter(|told| told["state"] == too_many).map(|told| &told["id"]).collect();
        ensure!(refused == ["s255"], "the newest alone: {refused:?}");
        goes_on(&mut caller)?;
        daemon.open(&wishes[1..])?;
        goes_on(&mut caller)?;
        ensure!(!caller.log().contains("broken"), "{}", caller.log());
        Ok(())
    })
}

/// As it looks after the wall clock was set back.
#[test]
fn an_end_that_is_not_the_one_that_was_granted_is_written_anew_with_the_next_message() -> Result<()> {
    each(Shape::home, |here| {
        let daemon = here.daemon()?;
        let lasts = SHORT * 2;
        let (start, _server, mut caller) = opened(&here.world, &daemon, lasts)?;
        let (kind, to) = (here.kind, "s/--datestop [-0-9T:]*/--datestop 2037-01-01T00:00:00/");
        for table in ["filter", "mangle"] {
            let line =
                format!("iptables-{kind}-save -t {table} | sed '{to}' | iptables-{kind}-restore -w 5 -T {table}");
            here.router().run(&line)?.ok()?;
        }
        ensure!(here.rules()?.contains("2037-01-01"), "{}", here.rules()?);
        daemon.open(&[nas("a", lasts.saturating_sub(start.elapsed()))])?;
        ensure!(!here.rules()?.contains("2037-01-01"), "{}", here.rules()?);
        goes_on(&mut caller)?;
        caller.wait_for_line("Connection reset", SOON)?;
        ended_in_time(start, lasts)?;
        is_silence(&here.world.visitor, &home(), 40022)
    })
}

#[test]
fn where_nft_does_not_work_the_iptables_is_chosen_that_has_the_machines_rules() -> Result<()> {
    each(Shape::home, |here| {
        let router = here.router();
        router.run("mount --bind /bin/false /usr/sbin/nft")?.ok()?;
        let mut daemon = Daemon::start(&here.world)?;
        let word = if here.kind == "nft" { "(nf_tables)" } else { "(legacy)" };
        daemon.process.wait_for_line(word, SOON)?;
        let (_, _server, _caller) = opened(&here.world, &daemon, MINUTE)?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.process.pid()?))?;
        let kept = if here.kind == "nft" { "CapPrm:\t0000000000001000" } else { "CapPrm:\t0000000000003000" };
        ensure!(status.contains(kept) && !status.contains("Uid:\t0"), "{status}");
        Ok(())
    })
}

#[test]
fn a_router_that_has_neither_nft_nor_ip6tables_opens_ipv4_and_refuses_ipv6() -> Result<()> {
    each(Shape::home, |here| {
        let bare = "mount -t tmpfs none /mnt && cp -a /usr/sbin/iptables* /usr/sbin/xtables-*-multi /mnt \
                    && mount --bind /mnt /usr/sbin && ! which nft ip6tables";
        here.router().run(bare)?.ok()?;
        let mut daemon = Daemon::start(&here.world)?;
        daemon.process.wait_for_line("no pinholes in IPv6", SOON)?;
        let answer = daemon.want(&[direct("b", SHORT)])?;
        ensure!(answer["pinholes"][0]["state"] == json!({ "refused": "no-ipv6" }), "{answer}");
        let (start, _server, mut caller) = opened(&here.world, &daemon, SHORT)?;
        caller.wait_for_line("Connection reset", SOON)?;
        ended_in_time(start, SHORT)
    })
}

#[test]
fn what_an_earlier_daemon_kept_elsewhere_is_taken_away() -> Result<()> {
    let here = Home::build("legacy", Shape::home())?;
    let mut by_nftables = Daemon::start_with(&here.world, &format!("backend = \"nftables\"\n{FILE}"))?;
    by_nftables.open(&[nas("a", MINUTE)])?;
    by_nftables.process.kill()?;
    let by_iptables = here.daemon()?;
    let tables = here.router().run("nft list tables")?.ok()?;
    ensure!(!tables.contains("doorward"), "{tables}");
    by_iptables.open(&[nas("a", MINUTE)])?;
    let _server = serve(&here.world.device, Kind::Tcp, 22)?;
    let mut caller: Process = call_at(&here.world.visitor, Kind::Tcp, &home(), 40022)?;
    goes_on(&mut caller)?;
    let kept = change(nas("a", MINUTE), "/remaining-ms", 50_000);
    by_iptables.open(&[kept])?;
    drop(by_iptables);
    let _by_nftables = Daemon::start_with(&here.world, &format!("backend = \"nftables\"\n{FILE}"))?;
    ensure!(!here.rules()?.contains("doorward"), "{}", here.rules()?);
    Ok(())
}
