//! A camera on a thin line: what goes up for one viewer and for many, and how old a picture is when it is seen. The same camera
//! is reached in several ways, which take turns: as a camera, as a web service like any other, and as people do it today.

mod fan_out;
mod film;
mod look;
mod tables;
mod ways;

pub(crate) use fan_out::run as fan_out;
pub(crate) use film::run as film;
pub(crate) use look::run as look;

use crate::process::Usage;
use crate::subjects::{Carrier, Cipher, SshServer, Subject, Transport};
use anyhow::{Context, Result, bail};
use doorward_world::site::Site;
use doorward_world::{Conditions, Program, Shape, World, until};
use std::time::Duration;
use tables::{Age, Spent, Taken, Up};
use ways::Way;

/// The names of our own subcommands.
pub(crate) const FILM: &str = "film";
pub(crate) const LOOK: &str = "look";
pub(crate) const FAN_OUT: &str = "fan-out";

pub(crate) const SUBJECTS: [Subject; 3] =
    [Subject::Doorward(Carrier::Quic), Subject::Rathole(Transport::Tls), Subject::Ssh(SshServer::Sshd, Cipher::Aes128)];
pub(crate) const HOW: &str = "15 frames a second of 50 kB (0.75 MB/s), a line of 40 ms there and back";

const GATEWAY_FILE: &str = r#"
domain = "gateway.example"
[listen]
https = ["0.0.0.0:443"]
quic = ["0.0.0.0:443"]
http = ["0.0.0.0:80"]
[limits]
connections-per-source = 1000
visits-per-source = 1000
requests-per-second-per-source = 1000
"#;
const AGENT_FILE: &str = r#"
[[service]]
name = "camera"
target = "camera+http://127.0.0.1:8090/"
access = { who = "public" }

[[service]]
name = "copied"
target = "http://127.0.0.1:8090"
access = { who = "public" }
"#;
/// The camera itself, at all addresses of the device.
const FILMED: &str = "0.0.0.0:8090";
const VIEWERS: [usize; 3] = [1, 5, 50];
const CROWDS: [usize; 3] = [1, 10, 100];
const WATCH: Duration = Duration::from_secs(6);
const LONG: Duration = look::LONG;
/// A third of what 15 frames a second of 50 kB take.
const THIN: u64 = 250_000;
const WIDE: u64 = 125_000_000;
const QUEUE: u64 = 64 * 1024;
const ONE_WAY: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(60);
/// Buffers of the way before have run dry when no more than this goes up in a moment.
const QUIET: u64 = 20_000;
const MOMENT: Duration = Duration::from_millis(500);

fn line(rate: u64) -> Conditions {
    Conditions::new().delay(ONE_WAY).rate(rate).queue(QUEUE.max(rate / 20))
}

pub(crate) async fn run(subjects: &[Subject], rounds: usize) -> Result<()> {
    let world = World::build(Shape::home().over_line(line(WIDE)))?;
    let _film = world.device.spawn(&Program::new(std::env::current_exe()?).args([FILM, FILMED]))?;
    let site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    let folder = tempfile::Builder::new().prefix("doorward-bench").tempdir()?;
    let mut ways = ways::start(&world, subjects, folder.path()).await?;
    for way in &ways {
        until(LIMIT, &format!("the camera is served: {}", way.name), || Ok(look_once(&world, way).is_ok()))?;
    }
    let mut taken: Vec<Taken> = ways.iter().map(|way| Taken::new(&way.name)).collect();
    for round in 1..=rounds {
        for (way, taken) in ways.iter().zip(&mut taken) {
            eprintln!("round {round} of {rounds}: {}", way.name);
            sample(&world, way, taken)?;
        }
        // Who is first takes turns.
        ways.rotate_left(1);
        taken.rotate_left(1);
    }
    // As they were begun.
    let turned = rounds % ways.len();
    taken.rotate_right(turned);
    ways.rotate_right(turned);
    tables::print(&taken);
    let camera = ways.first().context("Doorward is one of the ways")?;
    tables::print_spent(
        &CROWDS.into_iter().map(|crowd| spent(&world, &site, camera, crowd)).collect::<Result<Vec<_>>>()?,
    );
    Ok(())
}

/// One turn of one way: uploads and ages where the line is wide, ages where it is thin, and of a viewer who is slow.
fn sample(world: &World, way: &Way, taken: &mut Taken) -> Result<()> {
    for viewers in VIEWERS {
        settle(world)?;
        let before = world.line()?.stats()?.up.bytes;
        let seen = watch(world, way, viewers, WATCH, None)?;
        let bytes = world.line()?.stats()?.up.bytes - before;
        taken.up.push(Up { viewers, bytes_each_second: bytes as f64 / WATCH.as_secs_f64(), rate: seen.rate });
        if viewers == 1 {
            taken.wide.push(seen.age);
        }
    }
    settle(world)?;
    taken.slow.push(watch(world, way, 1, LONG, Some(THIN))?.age);
    settle(world)?;
    world.line()?.set(&line(THIN))?;
    let seen = watch(world, way, 1, LONG, None);
    world.line()?.set(&line(WIDE))?;
    taken.thin.push(seen?.age);
    Ok(())
}

/// What the gateway spends on a crowd.
fn spent(world: &World, site: &Site, way: &Way, viewers: usize) -> Result<Spent> {
    settle(world)?;
    let gateway = site.gateway.pid()?;
    let (cpu, out) = (Usage::of(gateway)?.cpu, world.gateway.traffic()?.sent.bytes);
    let seen = watch(world, way, viewers, WATCH, None)?;
    let cpu = Usage::of(gateway)?.cpu - cpu;
    Ok(Spent {
        viewers,
        rate: seen.rate,
        cpu,
        bytes: world.gateway.traffic()?.sent.bytes - out,
        seconds: WATCH.as_secs_f64(),
    })
}

/// Waits until nothing of the way before is under way.
fn settle(world: &World) -> Result<()> {
    let mut before = world.line()?.stats()?.up.bytes;
    until(LIMIT, "the line is quiet", || {
        std::thread::sleep(MOMENT);
        let now = world.line()?.stats()?.up.bytes;
        Ok(now - std::mem::replace(&mut before, now) < QUIET)
    })
    .map(drop)
}

/// What viewers saw: frames a second of each, and how old these were.
struct Seen {
    rate: f64,
    age: Age,
}

fn look_once(world: &World, way: &Way) -> Result<Seen> {
    watch(world, way, 1, Duration::from_secs(1), None)
}

/// `pace`: bytes a second that each of them takes.
fn watch(world: &World, way: &Way, viewers: usize, length: Duration, pace: Option<u64>) -> Result<Seen> {
    let words = [way.at.to_string(), way.host.clone(), viewers.to_string(), length.as_secs().to_string()];
    let program = Program::new(std::env::current_exe()?).args([LOOK]).args(words);
    let program = program.args(pace.map(|pace| pace.to_string()));
    let said = world.visitor.run_program(&program, length + LIMIT)?.ok()?;
    let figures: Vec<f64> = said.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
    let [rate, half, most] = figures[..] else { bail!("a visitor said {said:?}") };
    Ok(Seen { rate, age: Age { half, most, rate } })
}

/// Of a picture in hexadecimal, in milliseconds since 1970; the last that stands in it.
const STAMP: &[u8] = b"STAMP:";
const DIGITS: usize = 16;

fn now() -> Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    u64::try_from(since.as_millis()).context("the clock is set to a far future")
}
