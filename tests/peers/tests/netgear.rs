//! VidGear's NetGear, unmodified, sends through two NATs to a viewer behind a third, who has an agent and no SSH server. All
//! lines are those of docs/netgear.md and of `doorward sender-key`.

use anyhow::{Context, Result, ensure};
use doorward_world::front::wait_for_port;
use doorward_world::site::{self, GATEWAY_FILE, SOON, Site, report};
use doorward_world::{Node, Process, Program, Shape, World};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("../../../docs/netgear.md");
const CAMERAS: &str = include_str!("../../../docs/cameras.md");
const VIDGEAR: &str = "vidgear==0.3.6";
/// In its newest form it wants this for JPEG, its usual way.
const SIMPLEJPEG: &str = "simplejpeg==1.9.0";
const INSTALL: Duration = Duration::from_secs(300);
/// What NetGear needs, Python's imports included.
const FIRST_FRAME: Duration = Duration::from_secs(3);
/// NetGear waits 4 s for an answer before it dials anew, and may do so twice while the gateway starts.
const AGAIN: Duration = Duration::from_secs(12);
const FRAME: &str = "a frame of (480, 640, 3)";

/// The fenced block of this language that contains `what`.
fn block(language: &str, what: &str) -> Result<&'static str> {
    block_of(PAGE, language, what)
}

fn block_of(page: &'static str, language: &str, what: &str) -> Result<&'static str> {
    let blocks = page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix(language));
    let mut found = blocks.filter(|block| block.contains(what));
    found.next().with_context(|| format!("the page has no {language} with {what}"))
}

/// The line of a script that makes the stream.
fn stream_line(script: &str) -> Result<&str> {
    script.lines().find(|line| line.starts_with("stream = ")).context("no line of the stream")
}

/// Python with NetGear, in an environment beside the built tests.
fn python() -> Result<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("netgear");
    let ready = place.join("ready");
    if !ready.exists() {
        let run = |program: &Path, arguments: &[&str]| -> Result<()> {
            let status = std::process::Command::new(program).args(arguments).status()?;
            ensure!(status.success(), "{} {arguments:?}: {status}", program.display());
            Ok(())
        };
        println!("peers: fetching {VIDGEAR}, for at most {} s", INSTALL.as_secs());
        run(Path::new("/usr/bin/python3"), &["-m", "venv", "--system-site-packages", &place.display().to_string()])?;
        let (limit, pip) = (INSTALL.as_secs().to_string(), place.join("bin/pip").display().to_string());
        // All else is Debian's.
        let install =
            [&limit, &pip, "install", "--quiet", "--disable-pip-version-check", "--no-deps", VIDGEAR, SIMPLEJPEG];
        run(Path::new("/usr/bin/timeout"), &install).context("VidGear cannot be had from PyPI")?;
        fs::write(ready, "")?;
    }
    Ok(place.join("bin/python3"))
}

/// One side's script, in a folder of its node.
fn script(node: &Node, name: &str, text: &str, arguments: &[&str]) -> Result<Program> {
    let file = node.folder().join(name);
    fs::write(&file, text)?;
    let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/netgear.py");
    // `nohup` as the page has it.
    let program = Program::new("/usr/bin/nohup").args([python()?.as_os_str(), runner.as_os_str(), file.as_os_str()]);
    Ok(program.args(arguments).env("HOME", node.folder()).in_folder(node.folder()))
}

struct Pair {
    world: World,
    gateway: Process,
    _agent: Process,
    /// What `doorward sender-key` printed.
    printed: String,
}

/// The viewer's side, from the settings of the page.
fn agent_as_on_the_page(viewer: &Node) -> Result<Process> {
    fs::write(site::agent_settings(viewer), block("toml", "senders")?)?;
    let mut agent = site::run_agent(viewer)?;
    agent.wait_for_line("connected", SOON)?;
    Ok(agent)
}

impl Pair {
    /// `agent`: starts what the viewer's side needs.
    fn start(agent: impl FnOnce(&Node, &str) -> Result<Process>) -> Result<Pair> {
        let world = World::build(Shape::home().behind_carrier_nat().with_hidden_visitor())?;
        fs::write(site::gateway_settings(&world.gateway), GATEWAY_FILE)?;
        let gateway = site::serve(&world.gateway)?;
        let viewer = world.hidden_visitor()?;
        site::join(viewer, &site::invite(&world.gateway, "{}")?, "livingroom")?.ok()?;
        let make =
            site::doorward(["sender-key", "livingroom:5454"])?.args(["--data".into(), site::data(&world.gateway)]);
        let printed = world.gateway.run_program(&make, SOON)?.ok()?;
        let _agent = agent(viewer, &printed)?;
        let pair = Pair { world, gateway, _agent, printed };
        pair.know_the_gateway()?;
        Ok(pair)
    }

    fn printed(&self, start: &str) -> Result<&str> {
        let line = self.printed.lines().find(|line| line.starts_with(start));
        line.with_context(|| format!("no line that begins with {start:?} in\n{}", self.printed))
    }

    /// ssh looks into the home that /etc/passwd names, which is shared by all nodes.
    fn know_the_gateway(&self) -> Result<()> {
        let (sender, known) = (&self.world.device, self.printed("[gateway.example]:2222 ")?);
        let folder = sender.folder().join("ssh");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("known_hosts"), format!("{known}\n"))?;
        let home = "$(getent passwd $(id -u) | cut -d: -f6)";
        let bind = format!("mkdir -p -m 700 {home}/.ssh && mount --bind {} {home}/.ssh", folder.display());
        sender.run(&bind)?.ok().map(drop)
    }

    fn view(&self) -> Result<Process> {
        let viewer = self.world.hidden_visitor()?;
        let receiver = script(viewer, "receiver.py", block("python", "receive_mode=True")?, &[])?;
        viewer.spawn(&receiver.env("PYTHONUNBUFFERED", "1"))
    }

    fn send(&self, how: &[&str]) -> Result<Process> {
        let written = block("python", "stream.send")?;
        let text = written.replace(stream_line(written)?, self.printed("stream = ")?);
        self.world.device.spawn(&script(&self.world.device, "sender.py", &text, how)?)
    }
}

fn frames(viewer: &Process) -> usize {
    viewer.log().matches(FRAME).count()
}

/// From the sender's start to a frame at the viewer; then the gateway is killed, and it goes on after another start.
fn sends(pair: Pair, how: &[&str], words: &str) -> Result<()> {
    let mut viewer = pair.view()?;
    doorward_world::until(SOON, "the viewer listens", || {
        Ok(pair.world.hidden_visitor()?.run("ss -Htln sport = :5454")?.ok()?.contains("5454"))
    })?;
    let started = Instant::now();
    let sender = pair.send(how)?;
    viewer.wait_for_line(FRAME, SOON).with_context(|| sender.log())?;
    let first = started.elapsed();
    report(&format!("the first frame, by {words}"), first, FIRST_FRAME)?;
    // NetGear dials anew after 4 s: it was not by a second tunnel.
    ensure!(first < FIRST_FRAME * 2, "the first tunnel by {words} did not stand: {first:?}");

    // Which of the two it was.
    let has_ssh = pair.world.device.run("pgrep -x ssh")?.succeeded();
    ensure!(has_ssh != how.is_empty(), "ssh runs: {has_ssh}");

    let Pair { world, mut gateway, .. } = pair;
    gateway.kill()?;
    let (killed, mark) = (Instant::now(), viewer.log().len());
    let _gateway = site::serve(&world.gateway)?;
    // Nothing of before can still be on its way.
    let mark = mark.max(viewer.log().len());
    viewer.wait_for_line_after(mark, FRAME, SOON * 2).with_context(|| sender.log())?;
    report(&format!("frames again after the gateway was killed, by {words}"), killed.elapsed(), AGAIN)?;
    let (since, before) = (Instant::now(), frames(&viewer));
    doorward_world::until(SOON, "a hundred frames more", || Ok(frames(&viewer) >= before + 100))?;
    println!("world: 100 frames more by {words} in {:.1} s", since.elapsed().as_secs_f64());
    Ok(())
}

#[test]
fn with_paramiko_frames_come_through_three_nats_and_again_after_the_gateway_restarted() -> Result<()> {
    let pair = Pair::start(|viewer, _| agent_as_on_the_page(viewer))?;
    sends(pair, &[], "paramiko")
}

#[test]
fn with_openssh_frames_come_through_three_nats_and_again_after_the_gateway_restarted() -> Result<()> {
    let pair = Pair::start(|viewer, printed| {
        let command =
            printed.lines().find(|line| line.starts_with("doorward tcp")).context("no command for the viewer")?;
        ensure!(PAGE.contains(&format!("    {command}\n")), "the page has another command than {command}");
        let words: Vec<_> = command.split(' ').skip(1).collect();
        let command = site::doorward([])?.args(words).args(["--state".into(), site::state(viewer)]);
        let mut agent = viewer.spawn(&command)?;
        agent.wait_for_line(
            "note: livingroom/netgear: whoever has a key of `doorward sender-key livingroom:5454`",
            SOON,
        )?;
        Ok(agent)
    })?;
    sends(pair, &["without-paramiko"], "OpenSSH")
}

#[test]
fn a_sender_that_was_there_first_is_seen_as_soon_as_the_viewer_comes() -> Result<()> {
    let pair = Pair::start(|viewer, _| agent_as_on_the_page(viewer))?;
    let mut gateway_log = pair.gateway.log().len();
    let sender = pair.send(&[])?;
    doorward_world::until(
        SOON,
        "the sender asks",
        || Ok(pair.gateway.log()[gateway_log..].contains("a visit failed")),
    )?;
    gateway_log = pair.gateway.log().len();
    // How often in a span of time is the question here.
    std::thread::sleep(Duration::from_secs(3));
    let asked = pair.gateway.log()[gateway_log..].matches("a visit failed").count();
    println!("world: the device was asked {asked} times in 3 s while nothing listened there");
    ensure!(asked <= 8, "{asked} times in 3 s");
    let mut viewer = pair.view()?;
    doorward_world::until(SOON, "the viewer listens", || {
        Ok(pair.world.hidden_visitor()?.run("ss -Htln sport = :5454")?.ok()?.contains("5454"))
    })?;
    let listening = Instant::now();
    viewer.wait_for_line(FRAME, SOON).with_context(|| sender.log())?;
    report("the first frame after the viewer came", listening.elapsed(), Duration::from_secs(5))
}

/// As docs/cameras.md has it: an agent beside the camera, no tunnel and no program where the frames are looked at.
#[test]
fn an_agent_beside_the_camera_receives_every_pattern() -> Result<()> {
    let world = World::build(Shape::home())?;
    fs::write(site::gateway_settings(&world.gateway), GATEWAY_FILE)?;
    let _gateway = site::serve(&world.gateway)?;
    let device = &world.device;
    site::join(device, &site::invite(&world.gateway, "{}")?, "robot")?.ok()?;
    fs::write(site::agent_settings(device), block_of(CAMERAS, "toml", "netgear://")?)?;
    let mut agent = site::run_agent(device)?;
    agent.wait_for_line("connected", SOON)?;
    let (written, own) = (block("python", "stream.send")?, stream_line(block_of(CAMERAS, "python", "NetGear(")?)?);
    for pattern in 0..=2 {
        let stream = own.replace("pattern=1", &format!("pattern={pattern}"));
        let text = written.replace(stream_line(written)?, &stream);
        let mark = agent.log().len();
        let sender = device.spawn(&script(device, "sender.py", &text, &[])?)?;
        agent.wait_for_line_after(mark, "pictures come again", SOON).with_context(|| sender.log())?;
        ensure!(!sender.log().contains("Reconnecting"), "pattern {pattern} was not answered: {}", sender.log());
        let mark = agent.log().len();
        drop(sender);
        agent.wait_for_line_after(mark, "its sender", SOON)?;
    }
    Ok(())
}

const PORT_FILE: &str = r#"
[[service]]
name = "netgear"
target = "tcp://127.0.0.1:5454"
entrances = [{ tcp-port = 20454 }]
access = { who = "public" }
"#;

/// A receiver behind a public port, and a sender that goes there: nothing but TCP to Doorward. `options`: NetGear's own.
fn through_a_port(world: &World, pattern: u8, options: &str) -> Result<(Process, Process)> {
    let receiver = format!(
        "from vidgear.gears import NetGear\n\
         viewer = NetGear(address='127.0.0.1', port='5454', protocol='tcp', pattern={pattern}, receive_mode=True, logging=True, \
         max_retries=1000000, **{options})\n\
         seen = 0\n\
         while (got := viewer.recv(return_data={{'seen': seen}})) is not None:\n\
         \x20   said, frame = got if isinstance(got, (tuple, list)) else (None, got)\n\
         \x20   seen += 1\n\
         \x20   print('a frame of', frame.shape, 'with', said, flush=True)\n"
    );
    let sender = format!(
        "import cv2\nfrom vidgear.gears import NetGear\n\
         stream = NetGear(address='203.0.113.10', port='20454', protocol='tcp', pattern={pattern}, logging=True, max_retries=1000000, **{options})\n\
         camera, number = cv2.VideoCapture(0), 0\n\
         while True:\n\
         \x20   number += 1\n\
         \x20   print('came back', stream.send(camera.read()[1], message={{'number': number}}), flush=True)\n"
    );
    let viewer =
        world.device.spawn(&script(&world.device, "receiver.py", &receiver, &[])?.env("PYTHONUNBUFFERED", "1"))?;
    wait_for_port(&world.device, 5454).with_context(|| viewer.log())?;
    let sender =
        world.visitor.spawn(&script(&world.visitor, "sender.py", &sender, &[])?.env("PYTHONUNBUFFERED", "1"))?;
    doorward_world::until(SOON * 2, "a hundred frames", || Ok(frames(&viewer) >= 100))
        .with_context(|| format!("{}\n---\n{}", viewer.log(), sender.log()))?;
    Ok((viewer, sender))
}

#[test]
fn data_goes_both_ways_with_the_frames_through_a_port() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    let _site = Site::start_with(&world, GATEWAY_FILE, PORT_FILE)?;
    for pattern in [0, 1] {
        let (viewer, sender) = through_a_port(&world, pattern, "{'bidirectional_mode': True}")?;
        ensure!(viewer.log().contains("with {'number': 50}"), "pattern {pattern}: {}", viewer.log());
        ensure!(sender.log().contains("came back {'seen': 50}"), "pattern {pattern}: {}", sender.log());
    }
    Ok(())
}

#[test]
fn what_netgear_encrypts_itself_goes_through_a_port() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    let _site = Site::start_with(&world, GATEWAY_FILE, PORT_FILE)?;
    for (mode, name) in [(1, "StoneHouse"), (2, "IronHouse")] {
        // Both machines have the same key files, as NetGear wants it.
        let keys = tempfile::tempdir()?;
        let (viewer, sender) = through_a_port(
            &world,
            1,
            &format!(
                "{{'secure_mode': {mode}, 'overwrite_cert': False, 'custom_cert_location': '{}'}}",
                keys.path().display()
            ),
        )?;
        for one in [&viewer, &sender] {
            let log = one.log();
            ensure!(log.contains(&format!("ZMQ Security Mechanism: `{name}`")), "{log}");
            ensure!(!log.contains("Mechanism is disabled"), "{log}");
        }
    }
    Ok(())
}
