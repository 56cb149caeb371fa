//! What routers go through while a pinhole stands: short cuts past the rules, other addresses, a restart.

mod router;
mod talk;

use std::time::Duration;

use anyhow::{Result, ensure};
use doorward_world::{Node, Shape, World, addresses as at};
use router::steps::{MINUTE, SHORT, ended_in_time, goes_on, hears_nothing, home, is_dead, is_silence, opened};
use router::{Daemon, for_source, nas};
use serde_json::json;
use talk::{Kind, SOON, call_at};

/// `nft` with a flowtable in what it lists, while /mnt/fast is there.
const SHORT_CUT: &str = r#"#!/bin/sh
case "$*" in
"-j list ruleset")
    if test -e /mnt/fast; then
        /mnt/nft "$@" | sed 's/\]}$/, {"flowtable": {"family": "inet", "table": "fast", "name": "cut", "handle": 1}}]}/'
        exit
    fi
esac
exec /mnt/nft "$@"
"#;

/// Answers the command that takes it away. Where the kernel has no flowtables, one is only listed.
fn make_flowtable(router: &Node) -> Result<&'static str> {
    let fast = "add table inet fast; add flowtable inet fast cut { hook ingress priority 0; devices = { wan }; }";
    if router.run(&format!("nft '{fast}'"))?.succeeded() {
        return Ok("nft delete table inet fast");
    }
    println!("world: this kernel has no flowtables, so one is only listed");
    let script = router.folder().join("short-cut");
    std::fs::write(&script, SHORT_CUT)?;
    let install = format!(
        "mount -t tmpfs none /mnt && cp /usr/sbin/nft {} /mnt && chmod 755 /mnt /mnt/* && touch /mnt/fast \
         && mount --bind /mnt/short-cut /usr/sbin/nft",
        script.display()
    );
    router.run(&install)?.ok()?;
    Ok("rm /mnt/fast")
}

#[test]
fn where_a_flowtable_lets_packets_pass_unseen_nothing_is_opened_and_what_stood_is_over() -> Result<()> {
    let world = World::build(Shape::home())?;
    let daemon = Daemon::start(&world)?;
    let (_, _server, caller) = opened(&world, &daemon, MINUTE)?;
    let take_away = make_flowtable(&world.home_router)?;
    let ask = || daemon.say(&serde_json::to_vec(&json!({ "pinholes": [nas("a", MINUTE)] }))?);
    let answer = ask()?.unwrap_or_default();
    ensure!(answer["fault"].as_str().is_some_and(|fault| fault.contains("flowtable inet fast cut")), "{answer}");
    ensure!(answer["pinholes"] == json!([]), "{answer}");
    hears_nothing(&caller)?;
    is_silence(&world.visitor, &home(), 40022)?;
    // Switched off, it is as it was.
    world.home_router.run(take_away)?.ok()?;
    daemon.open(&[nas("a", MINUTE)])?;
    let mut caller = call_at(&world.visitor, Kind::Tcp, &home(), 40022)?;
    goes_on(&mut caller)
}

#[test]
fn an_address_that_came_later_leads_there_too_and_the_session_ends_as_before() -> Result<()> {
    let world = World::build(Shape::home())?;
    let daemon = Daemon::start(&world)?;
    let lasts = SHORT * 2;
    let (start, _server, mut caller) = opened(&world, &daemon, lasts)?;
    // A second public address, as of another provider; then the first one is gone.
    world.home_router.add_addresses(&[at::HOME_SPARE])?.stays();
    let new = at::HOME_SPARE.to_string();
    let mut later = call_at(&world.visitor, Kind::Tcp, &new, 40022)?;
    goes_on(&mut later)?;
    goes_on(&mut caller)?;
    is_silence(&world.other_visitor, &new, 40022)?;
    world.home_router.change_addresses(&[at::HOME_SPARE])?.stays();
    goes_on(&mut later)?;
    let mut latest = call_at(&world.visitor, Kind::Tcp, &new, 40022)?;
    goes_on(&mut latest)?;
    latest.wait_for_line("Connection reset", SOON)?;
    ended_in_time(start, lasts)?;
    is_dead(&mut later)?;
    is_silence(&world.visitor, &new, 40022)
}

#[test]
fn a_router_that_was_restarted_has_its_session_back_with_the_next_message_and_no_longer_than_granted() -> Result<()> {
    let world = World::build(Shape::home())?;
    let router = &world.home_router;
    let saved = router.folder().join("saved.nft");
    router.run(&format!("nft -s list ruleset >{}", saved.display()))?.ok()?;
    let mut daemon = Daemon::start(&world)?;
    let lasts = SHORT * 3;
    let (start, _server, caller) = opened(&world, &daemon, lasts)?;
    daemon.process.kill()?;
    router.run(&format!("nft flush ruleset; conntrack -F; nft -f {}", saved.display()))?.ok()?;
    let daemon = Daemon::start_again(router)?;
    is_silence(&world.visitor, &home(), 40022)?;
    hears_nothing(&caller)?;
    daemon.open(&[nas("a", lasts.saturating_sub(start.elapsed()))])?;
    let mut caller = call_at(&world.visitor, Kind::Tcp, &home(), 40022)?;
    goes_on(&mut caller)?;
    caller.wait_for_line("Connection reset", SOON)?;
    ended_in_time(start, lasts)?;
    is_silence(&world.visitor, &home(), 40022)
}

#[test]
fn a_port_that_something_on_the_router_takes_while_a_session_has_it_is_that_things() -> Result<()> {
    let world = World::build(Shape::home())?;
    let daemon = Daemon::start(&world)?;
    let (_, _server, mut caller) = opened(&world, &daemon, MINUTE)?;
    let _local = talk::serve(&world.home_router, Kind::Tcp, 40022)?;
    let answer = daemon.want(&[nas("a", MINUTE)])?;
    ensure!(answer["pinholes"][0]["state"] == json!({ "refused": { "port-in-use": 40022 } }), "{answer}");
    is_dead(&mut caller)?;
    // Where the router chooses, it chooses another one.
    let answer = daemon.want(&[for_source("b", 0, &at::VISITOR[0].to_string(), Duration::from_secs(30))])?;
    ensure!(answer["pinholes"][0]["public-port"].as_u64().is_some_and(|port| port != 40022), "{answer}");
    Ok(())
}
