//! A device with `ssh -R` alone, behind a home's NAT and a carrier's; its visitors behind a café's, by web and by `ssh -J`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use doorward_world::site::{self, GATEWAY_FILE, SOON, ask_owner};
use doorward_world::{Node, Process, Program, Shape, World, addresses, built, until};

/// A peer that says nothing any more is noticed within this.
const NOTICED: Duration = Duration::from_secs(15);
const PAGE: &str = "printer1.gateway.example";

/// What stands there while a test runs.
struct Scene {
    link: Process,
    _gateway: Process,
    _services: Process,
    _sshd: Process,
    // Last: the files of the others lie in it.
    world: World,
}

impl Scene {
    fn start() -> Result<Scene> {
        let world = World::build(Shape::home().behind_carrier_nat().with_hidden_visitor())?;
        world.point(PAGE, &addresses::GATEWAY)?;
        fs::write(site::gateway_settings(&world.gateway), GATEWAY_FILE)?;
        let gateway = site::serve(&world.gateway)?;
        let (device, visitor) = (&world.device, world.hidden_visitor()?);
        for node in [device, visitor] {
            make_key(node)?;
        }
        let services = site::offer(device)?;
        let sshd = start_sshd(device, &public_key(visitor)?)?;
        let invite = site::invite(&world.gateway, "{\"name\":\"zumi01\"}")?;
        device.run_program(&ssh(device, &["gateway.example", "join", &invite]), SOON)?.ok()?;
        owner(&world.gateway, &["people", "add-key", "anna"], &public_key(visitor)?)?;
        let mut link = forward(device)?;
        link.wait_for_line("Entering interactive session", SOON)
            .or_else(|_| link.wait_for_line("forward success", SOON))?;
        let open = |service: &str, who: &[&str]| {
            let path = format!("zumi01/{service}");
            let words = [&["access", &path, "set"], who].concat();
            until(SOON, "the service can be allowed", || Ok(owner(&world.gateway, &words, "").is_ok()))
        };
        open("printer1", &["--public"])?;
        open("ssh", &["--person", "anna"])?;
        let scene = Scene { world, link, _gateway: gateway, _services: services, _sshd: sshd };
        scene.is_reached(SOON)?;
        Ok(scene)
    }

    /// By web and by `ssh -J`, from behind another NAT; how long it took.
    fn is_reached(&self, limit: Duration) -> Result<Duration> {
        let (visitor, start) = (self.world.hidden_visitor()?, Instant::now());
        until(limit, "the page is reached", || Ok(fetch(visitor)?.contains("the page of the device")))?;
        let hello = jump(visitor, "echo hello from there")?;
        until(limit, "the shell is reached", || Ok(visitor.run_program(&hello, SOON)?.stdout == "hello from there\n"))?;
        Ok(start.elapsed())
    }

    /// As the owner is told.
    fn is_online(&self) -> Result<bool> {
        let devices = ask_owner(&self.world.gateway, "GET", "devices", "")?;
        Ok(devices.contains("\"online\""))
    }

    /// Where the gateway sees the device.
    fn devices(&self) -> Result<String> {
        ask_owner(&self.world.gateway, "GET", "devices", "")
    }

    /// A new `ssh -R`, as a supervisor starts it.
    fn comes_again(&mut self) -> Result<()> {
        let link = forward(&self.world.device)?;
        let _old = std::mem::replace(&mut self.link, link);
        Ok(())
    }
}

fn make_key(node: &Node) -> Result<()> {
    node.run(&format!("ssh-keygen -q -t ed25519 -N '' -f '{}/key'", node.folder().display()))?.ok().map(drop)
}

fn public_key(node: &Node) -> Result<String> {
    Ok(fs::read_to_string(node.folder().join("key.pub"))?)
}

/// `doorward …` beside the gateway.
fn owner(gateway: &Node, words: &[&str], input: &str) -> Result<String> {
    let program = built("doorward")?.display().to_string();
    let words = words.join(" ");
    let data = site::data(gateway).display().to_string();
    gateway.run(&format!("printf '%s' '{}' | '{program}' {words} --data '{data}'", input.trim()))?.ok()
}

/// OpenSSH with this machine's own key, to the gateway.
fn ssh(node: &Node, words: &[&str]) -> Program {
    let folder = node.folder();
    let options = format!(
        "-F none -p 2222 -i {0}/key -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={0}/known",
        folder.display()
    );
    Program::new("ssh").args(options.split(' ').map(str::to_owned)).args(words)
}

/// With the options of tutorials, under which the client takes ten minutes to notice anything: the gateway must.
fn forward(device: &Node) -> Result<Process> {
    let words = ["-v", "-N", "-T", "-o", "ServerAliveInterval=60", "-o", "ServerAliveCountMax=10"];
    let forwards = ["-o", "ExitOnForwardFailure=yes", "-R", "printer1:80:localhost:8000", "-R", "ssh:22:localhost:22"];
    device.spawn(&ssh(device, &[&words[..], &forwards, &["gateway.example"]].concat()))
}

fn start_sshd(device: &Node, authorized: &str) -> Result<Process> {
    let folder = device.folder();
    device.run(&format!("ssh-keygen -q -t ed25519 -N '' -f '{}/host'", folder.display()))?.ok()?;
    fs::write(folder.join("authorized"), authorized)?;
    // sshd separates privileges there.
    device.run("mkdir -p /run/sshd")?.ok()?;
    let settings = format!(
        "Port 22\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nPidFile none\nUsePAM no\nStrictModes no\n",
        folder.display()
    );
    fs::write(folder.join("sshd_config"), settings)?;
    let program = Program::new("/usr/sbin/sshd").args(["-D", "-e", "-f"]).args([folder.join("sshd_config")]);
    let mut sshd = device.spawn(&program)?;
    sshd.wait_for_line("Server listening", SOON)?;
    Ok(sshd)
}

/// `ssh -J gateway …@zumi01`, everything said in a file: options on the command line are not for the jump.
fn jump(visitor: &Node, command: &str) -> Result<Program> {
    let folder = visitor.folder();
    let file = folder.join("ssh_config");
    let settings = format!(
        "IdentityFile {0}/key\nIdentitiesOnly yes\nStrictHostKeyChecking accept-new\nUserKnownHostsFile {0}/known\n\
         ConnectTimeout 5\nLogLevel ERROR\nBatchMode yes\n",
        folder.display()
    );
    fs::write(&file, settings)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    let words = ["-J", "gateway.example:2222", "zumi01", command];
    Ok(Program::new("ssh").args(["-F".into(), file]).args(words))
}

fn fetch(visitor: &Node) -> Result<String> {
    Ok(visitor.run(&format!("curl -sSk --max-time 3 https://{PAGE}/"))?.stdout)
}

fn report(what: &str, took: Duration) {
    println!("world: ssh -R: {what}: {:.2} s", took.as_secs_f64());
}

#[test]
fn a_device_that_a_nat_forgot_is_given_up_in_15_seconds_and_its_new_connection_has_the_name_at_once() -> Result<()> {
    let mut scene = Scene::start()?;
    scene.world.carrier()?.forget_mappings()?;
    scene.world.home_router.forget_mappings()?;
    // Nobody asks for the device, so the gateway must find out by itself.
    let took = until(NOTICED + Duration::from_secs(1), "the device is known to be away", || Ok(!scene.is_online()?))?;
    report("a forgotten mapping was noticed after", took);
    scene.comes_again()?;
    report("reached again after", scene.is_reached(SOON)?);

    // This time nobody waits for the old one's end.
    scene.world.carrier()?.forget_mappings()?;
    let before = scene.devices()?;
    scene.comes_again()?;
    let took = scene.is_reached(NOTICED)?;
    report("beside the stale connection, reached again after", took);
    ensure!(scene.devices()?.matches("zumi01").count() == before.matches("zumi01").count(), "one device, as before");
    Ok(())
}

#[test]
fn a_device_whose_address_changes_keeps_its_name() -> Result<()> {
    let mut scene = Scene::start()?;
    let redialled = scene.world.home_router.redial(&[addresses::HOME_AT_CARRIER_SPARE])?;
    let rebound = scene.world.carrier()?.rebind_to(addresses::CARRIER_SPARE)?;
    scene.comes_again()?;
    report("after another address, reached again after", scene.is_reached(SOON)?);
    let seen = addresses::CARRIER_SPARE.to_string();
    until(SOON, "the gateway sees the new address", || Ok(scene.devices()?.contains(&seen)))?;
    rebound.mend()?;
    redialled.mend()
}

#[test]
fn an_open_shell_ends_when_its_way_is_lost_and_the_next_one_works() -> Result<()> {
    let mut scene = Scene::start()?;
    let visitor = scene.world.hidden_visitor()?.clone();
    let mut shell = visitor.spawn(&jump(&visitor, "echo here; exec sleep 1000")?)?;
    shell.wait_for_line("here", SOON)?;
    let asleep = scene.link.freeze()?;
    let start = Instant::now();
    shell.wait(NOTICED + Duration::from_secs(2)).context("the shell behind a silent link")?;
    report("an open shell behind a frozen client ended after", start.elapsed());
    asleep.mend()?;
    scene.comes_again()?;
    scene.is_reached(SOON).map(drop)
}
