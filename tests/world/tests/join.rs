//! How a device comes to its gateway.

use std::fs;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use doorward_world::site::{self, AGENT_FILE, GATEWAY_FILE, Poll, SOON, report};
use doorward_world::{Node, Output, Process, Program, Shape, World};

const TO_JOIN: Duration = Duration::from_secs(90);

fn gateway(world: &World) -> Result<Process> {
    fs::write(site::gateway_settings(&world.gateway), GATEWAY_FILE)?;
    site::serve(&world.gateway)
}

fn invite(world: &World) -> Result<String> {
    site::invite(&world.gateway, "{}")
}

fn join_into(node: &Node, state: &str, source: &str) -> Result<Program> {
    let state = node.folder().join(state);
    Ok(site::doorward(["join", "--name", state.file_name().and_then(|name| name.to_str()).unwrap_or("x")])?
        .args(["--state".into(), state])
        .args(Some(source).filter(|source| !source.is_empty())))
}

/// What it said, both ways.
fn told(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

#[test]
fn a_device_joins_and_is_served_whatever_its_clock_says() -> Result<()> {
    let world = World::build(Shape::home())?;
    let _gateway = gateway(&world)?;
    let _services = site::offer(&world.device)?;
    fs::write(site::agent_settings(&world.device), AGENT_FILE)?;
    for year in ["1970", "2040"] {
        let clock = format!("{year}-01-01 00:10:00");
        // The second card takes the place of the first, so the names and ports stay.
        let request = if year == "1970" { "{}" } else { r#"{"replaces": "zumi"}"# };
        let joining = site::join_program(&world.device, &site::invite(&world.gateway, request)?, "zumi")?;
        world.device.run_program(&joining.at_clock(&clock), TO_JOIN)?.ok()?;
        let mut agent = world.device.spawn(&site::agent_program(&world.device)?.at_clock(&clock))?;
        agent.wait_for_line("connected", SOON)?;
        Poll::of(&world)?;
        agent.kill()?;
        fs::remove_dir_all(site::state(&world.device))?;
    }
    Ok(())
}

#[test]
fn an_invite_comes_from_stdin_a_file_or_the_environment_and_once_only() -> Result<()> {
    let world = World::build(Shape::home())?;
    let _gateway = gateway(&world)?;
    let device = &world.device;
    let file = device.folder().join("invite.txt");

    fs::write(&file, invite(&world)?)?;
    device.run_program(&join_into(device, "by-file", &file.display().to_string())?, TO_JOIN)?.ok()?;

    let by_stdin = join_into(device, "by-stdin", "-")?;
    fs::write(&file, invite(&world)?)?;
    let mut command = device.command(&by_stdin)?;
    let output = command.stdin(fs::File::open(&file)?).output()?;
    ensure!(output.status.success(), "{output:?}");

    let text = invite(&world)?;
    let by_environment = join_into(device, "by-environment", "")?.env("DOORWARD_INVITE", &text);
    device.run_program(&by_environment, TO_JOIN)?.ok()?;

    let again = join_into(device, "again", "")?.env("DOORWARD_INVITE", &text);
    let output = device.run_program(&again, TO_JOIN)?;
    ensure!(!output.succeeded() && told(&output).contains("used"), "{output:?}");
    println!("a used invite: {}", told(&output).lines().last().unwrap_or_default());

    let expiring = site::invite(&world.gateway, r#"{"expires-in": "1s"}"#)?;
    std::thread::sleep(Duration::from_millis(1500));
    let late = join_into(device, "late", "")?.env("DOORWARD_INVITE", &expiring);
    let output = device.run_program(&late, TO_JOIN)?;
    ensure!(!output.succeeded() && told(&output).contains("expired"), "{output:?}");
    println!("an expired invite: {}", told(&output).lines().last().unwrap_or_default());

    let none = device.run_program(&join_into(device, "none", "")?, TO_JOIN)?;
    ensure!(!none.succeeded() && told(&none).contains("DOORWARD_INVITE"), "{none:?}");
    Ok(())
}

#[test]
fn a_read_only_root_is_no_obstacle_but_an_unwritable_state_directory_is_named() -> Result<()> {
    let world = World::build(Shape::home())?;
    let _gateway = gateway(&world)?;
    let device = &world.device;
    let folder = device.folder();
    let writable = folder.join("writable");
    fs::create_dir_all(&writable)?;
    let read_only = |program: &str| {
        let writable = writable.display();
        // A mount namespace of its own, in which all but one directory is read-only.
        Program::new("unshare").args(["--mount", "--propagation", "private", "sh", "-c"]).args([format!(
            "mount -t tmpfs none {writable} && mount -o remount,bind,ro / && ! touch /not-here 2>/dev/null && exec {program}"
        )])
    };
    let binary = doorward_world::built("doorward")?;
    let binary = binary.display();
    let joining = read_only(&format!("{binary} join --name zumi --state {}/state", writable.display()));
    device.run_program(&joining.env("DOORWARD_INVITE", invite(&world)?), TO_JOIN)?.ok()?;

    let state = "/var/lib/doorward-of-the-test";
    let joining = read_only(&format!("{binary} join --name zumi --state {state}"));
    let output = device.run_program(&joining.env("DOORWARD_INVITE", invite(&world)?), TO_JOIN)?;
    ensure!(!output.succeeded() && told(&output).contains(state), "{output:?}");
    println!("unwritable: {}", told(&output).trim());
    Ok(())
}

#[test]
fn a_golden_image_joins_at_its_first_boot_with_the_network_still_down() -> Result<()> {
    let world = World::build(Shape::home())?;
    let _gateway = gateway(&world)?;
    let device = &world.device;
    let file = device.folder().join("invite.txt");
    fs::write(&file, site::invite(&world.gateway, r#"{"uses": 100}"#)?)?;
    let settings = "[[service]]\nname = \"page\"\ntarget = \"http://127.0.0.1:8000\"\naccess = { who = \"public\" }\n";
    fs::write(site::agent_settings(device), settings)?;
    let unplugged = device.unplug()?;
    let mut agent = device.spawn(&site::agent_program(device)?.args(["--invite-file".as_ref(), file.as_os_str()]))?;
    agent.wait_for_line("joining by invite", SOON)?;
    std::thread::sleep(Duration::from_secs(3));
    let event = SystemTime::now();
    unplugged.mend()?;
    agent.wait_for_line("connected", SOON)?;
    report("golden image, from network up to connected", event.elapsed()?, Duration::from_secs(3))?;
    let devices = site::ask_owner(&world.gateway, "GET", "devices", "")?;
    let host_name = device.run("hostname")?.ok()?;
    println!("    {} joined as {devices}", host_name.trim());
    // The second boot needs no invite.
    agent.kill()?;
    fs::remove_file(&file)?;
    let mut agent = device.spawn(&site::agent_program(device)?.args(["--invite-file".as_ref(), file.as_os_str()]))?;
    agent.wait_for_line("connected", SOON).map(drop)
}
