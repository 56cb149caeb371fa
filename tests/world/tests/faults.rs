//! Each fault at a node does what it says, and so does its end.

mod talk;

use std::time::Duration;

use anyhow::{Result, ensure};
use doorward_world::{Program, Shape, World, addresses, until};
use talk::{Kind, SOON, Talk};

#[test]
fn a_cut_swallows_everything_in_silence_and_mending_lets_the_same_connection_go_on() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    for (node, port) in [(&world.device, 1), (&*world.home_router, 2), (&world.gateway, 3)] {
        let mut tcp = Talk::start(&world.device, &world.gateway, Kind::Tcp, port)?;
        let mut udp = Talk::start(&world.device, &world.gateway, Kind::Udp, port)?;
        let cut = node.cut()?;
        tcp.is_silent()?;
        udp.is_silent()?;
        cut.mend()?;
        println!("{}: UDP after {:?}, TCP after {:?}", node.name(), udp.goes_on()?, tcp.goes_on()?);
        ensure!(tcp.callers().len() == 1, "TCP called again");
        ensure!(!tcp.caller.log().contains("broken") && !udp.caller.log().contains("broken"));
    }
    Ok(())
}

#[test]
fn nothing_reaches_a_node_that_is_cut_off() -> Result<()> {
    let world = World::build(Shape::home())?;
    let listen = ["-d", "-d", "-u", "UDP4-RECV:9", "-"];
    let mut ear = world.visitor.spawn(&Program::new("socat").args(listen))?;
    ear.wait_for_line("starting data transfer", SOON)?;
    let tell = |word: &str| world.gateway.run(&format!("echo {word} | socat -u - UDP4-SENDTO:198.51.100.10:9"))?.ok();
    let cut = world.visitor.cut()?;
    tell("during")?;
    cut.mend()?;
    tell("after")?;
    ear.wait_for_line("after", SOON)?;
    ensure!(!ear.log().contains("during"), "{}", ear.log());
    Ok(())
}

#[test]
fn a_cut_is_silent_in_ipv6_as_well() -> Result<()> {
    let world = World::build(Shape::home())?;
    let ping = format!("ping -c2 -i0.2 -W1 {}", addresses::GATEWAY[1]);
    world.visitor.run(&ping)?.ok()?;
    let cut = world.visitor.cut()?;
    let output = world.visitor.run(&ping)?;
    ensure!(output.stdout.contains("100% packet loss") && !output.stdout.contains("From"), "{output:?}");
    cut.mend()?;
    world.visitor.run(&ping)?.ok().map(drop)
}

#[test]
fn a_dropped_fault_is_mended_and_a_one_way_cut_is_one_way() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut udp = Talk::start(&world.device, &world.gateway, Kind::Udp, 7)?;
    {
        let _deaf = world.device.cut_incoming()?;
        udp.is_silent()?;
        let before = world.gateway.traffic()?;
        udp.is_silent()?;
        ensure!(world.gateway.traffic()?.since(before).received.packets >= 15, "nothing arrived at the gateway");
    }
    udp.goes_on()?;
    let mute = world.device.cut_outgoing()?;
    let before = world.gateway.traffic()?;
    udp.is_silent()?;
    ensure!(world.gateway.traffic()?.since(before).received.packets <= 4, "packets still arrive");
    mute.mend()?;
    udp.goes_on().map(drop)
}

#[test]
fn an_unplugged_device_has_no_network_until_it_is_plugged_in() -> Result<()> {
    let world = World::build(Shape::home().with_ipv6_at_home())?;
    let unplugged = world.device.unplug()?;
    let output = world.device.run("ping -4 -c1 -W1 gateway.example")?;
    ensure!(output.stderr.contains("Network is unreachable"), "{output:?}");
    unplugged.mend()?;
    for family in ["-4", "-6"] {
        world.device.run(&format!("ping {family} -c1 -W2 gateway.example"))?.ok()?;
    }
    Ok(())
}

#[test]
fn a_device_gets_another_address_and_the_former_one_back() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut tcp = Talk::start(&world.device, &world.gateway, Kind::Tcp, 7)?;
    let changed = world.device.change_addresses(&[addresses::DEVICE_SPARE])?;
    ensure!(world.device.ip()? == addresses::DEVICE_SPARE);
    world.device.run("ping -4 -c1 -W2 gateway.example")?.ok()?;
    tcp.is_silent()?;
    changed.mend()?;
    ensure!(world.device.ip()? == addresses::DEVICE[0]);
    tcp.goes_on().map(drop)
}

#[test]
fn a_host_that_vanished_says_no_goodbye_and_a_killed_process_does() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut killed = Talk::start(&world.device, &world.gateway, Kind::Tcp, 7)?;
    killed.caller.kill()?;
    killed.server.wait_for_line("finished", SOON)?;

    let mut vanished = Talk::start(&world.device, &world.gateway, Kind::Tcp, 8)?;
    world.device.vanish()?;
    vanished.caller.kill()?;
    let mark = vanished.server.log().len();
    std::thread::sleep(Duration::from_secs(1));
    ensure!(vanished.server.log()[mark..].is_empty(), "{}", vanished.server.log());
    let sockets = world.gateway.run("ss -Htn state established sport = :8")?.ok()?;
    ensure!(!sockets.is_empty(), "the gateway knows that the device is gone");
    Ok(())
}

#[test]
fn a_killed_process_is_killed_and_a_frozen_one_wakes() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut udp = Talk::start(&world.device, &world.gateway, Kind::Udp, 7)?;
    let frozen = udp.caller.freeze()?;
    udp.is_silent()?;
    frozen.mend()?;
    udp.goes_on()?;
    let pid = udp.caller.pid()?;
    udp.caller.kill()?;
    ensure!(udp.caller.exited()?.is_some() && !std::path::Path::new(&format!("/proc/{pid}")).exists());

    let mut asleep = world.device.spawn(&Program::new("sleep").args(["1000"]))?;
    let frozen = asleep.freeze()?;
    asleep.kill()?;
    frozen.stays();
    let mut polite =
        world.device.spawn(&Program::shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done"))?;
    polite.wait_for_line("up", SOON)?;
    ensure!(polite.stop(SOON)?.code() == Some(3) && polite.log().contains("bye"));
    Ok(())
}

#[test]
fn a_program_runs_at_another_wall_clock_but_its_timers_do_not() -> Result<()> {
    let world = World::build(Shape::home())?;
    let script = "import select, time; a = time.monotonic(); select.select([], [], [], 0.2); \
                  print(time.gmtime().tm_year, time.monotonic() - a)";
    for year in ["1970", "2040"] {
        let program = Program::new("/usr/bin/python3").args(["-c", script]).at_clock(&format!("{year}-01-01 00:10:00"));
        let told = world.device.run_program(&program, SOON)?.ok()?;
        let (told_year, slept) = told.trim().split_once(' ').unwrap();
        ensure!(told_year == year, "{told}");
        ensure!((0.2..1.0).contains(&slept.parse::<f64>()?), "{told}");
    }
    Ok(())
}

#[test]
fn a_wait_tells_what_it_waited_for() -> Result<()> {
    let limit = Duration::from_millis(50);
    let error = until(limit, "the moon falls", || Ok(false)).unwrap_err();
    ensure!(error.to_string().contains("the moon falls"));
    let world = World::build(Shape::home())?;
    let mut process = world.device.spawn(&Program::shell("echo only this; exit 7"))?;
    let error = process.wait_for_line("never said", SOON).unwrap_err().to_string();
    ensure!(error.contains("only this") && error.contains('7'), "{error}");
    let error = world.device.run_program(&Program::new("sleep").args(["100"]), limit).unwrap_err().to_string();
    ensure!(error.contains("sleep 100"), "{error}");
    Ok(())
}
