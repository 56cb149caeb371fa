//! A camera on a thin line: what goes up for one viewer and for many, and how old a picture is when it is seen. The same camera
//! is offered twice, as a camera and as a web service like any other, whose bytes are copied to each viewer.

mod film;
mod look;

pub(crate) use film::run as film;
pub(crate) use look::run as look;

use crate::process::Usage;
use crate::report::{Table, load};
use anyhow::{Context, Result, bail};
use doorward_world::site::Site;
use doorward_world::{Conditions, Program, Shape, World, until};
use std::time::Duration;

/// The names of our own subcommands.
pub(crate) const FILM: &str = "film";
pub(crate) const LOOK: &str = "look";

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
/// As pages name them.
const WAYS: [(&str, &str); 2] = [("camera", "camera-zumi.gateway.example"), ("copied", "copied-zumi.gateway.example")];
const VIEWERS: [usize; 3] = [1, 5, 50];
const MANY: usize = 100;
const WATCH: Duration = Duration::from_secs(10);
/// A third of what 15 frames a second of 50 kB take.
const THIN: u64 = 250_000;
const WIDE: u64 = 125_000_000;
const QUEUE: u64 = 64 * 1024;
const ONE_WAY: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(60);
const MEGA: f64 = 1e6;

fn line(rate: u64) -> Conditions {
    Conditions::new().delay(ONE_WAY).rate(rate).queue(QUEUE.max(rate / 20))
}

pub(crate) async fn run() -> Result<()> {
    let world = World::build(Shape::home().over_line(line(WIDE)))?;
    let film = world.device.spawn(&Program::new(std::env::current_exe()?).args([FILM, "127.0.0.1:8090"]))?;
    let site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    let at = world.gateway.ip()?;
    for (_, host) in WAYS {
        until(LIMIT, "the camera is served", || Ok(watch(&world, at, host, 1, Duration::from_secs(1)).is_ok()))?;
    }
    println!("15 frames a second of 50 kB: 0.75 MB/s are needed. 40 ms there and back. Load {}.\n", load());
    uploads(&world, at)?;
    world.line()?.set(&line(THIN))?;
    ages(&world, at)?;
    world.line()?.set(&line(WIDE))?;
    let before = Usage::of(site.gateway.pid()?)?.cpu;
    let seen = watch(&world, at, WAYS[0].1, MANY, WATCH)?;
    let cpu = (Usage::of(site.gateway.pid()?)?.cpu - before) / WATCH.as_secs_f64();
    println!(
        "\n{MANY} viewers: {:.1} frames a second each, the gateway takes {:.0} % of a processor.",
        seen.rate,
        cpu * 100.0
    );
    println!("Load at the end {}.", load());
    drop(film);
    Ok(())
}

fn uploads(world: &World, at: std::net::IpAddr) -> Result<()> {
    let mut table = Table::new(["offered as", "viewers", "MB/s up", "frames a second each"]);
    for (name, host) in WAYS {
        for viewers in VIEWERS {
            let before = world.line()?.stats()?.up.bytes;
            let seen = watch(world, at, host, viewers, WATCH)?;
            let up = (world.line()?.stats()?.up.bytes - before) as f64 / WATCH.as_secs_f64() / MEGA;
            table.row([name.to_owned(), viewers.to_string(), format!("{up:.2}"), format!("{:.1}", seen.rate)]);
        }
    }
    table.print();
    Ok(())
}

fn ages(world: &World, at: std::net::IpAddr) -> Result<()> {
    println!("\nThe line carries {} kB/s, a third of what is needed. Ages when seen, after 20 s:\n", THIN / 1000);
    let mut table = Table::new(["offered as", "frames a second", "age, p50", "age, p95"]);
    for (name, host) in WAYS {
        let seen = watch(world, at, host, 1, 3 * WATCH)?;
        let said = |seconds: f64| format!("{seconds:.2} s");
        table.row([name.to_owned(), format!("{:.1}", seen.rate), said(seen.half), said(seen.most)]);
    }
    table.print();
    Ok(())
}

/// What viewers saw: frames a second of each, and ages in seconds.
struct Seen {
    rate: f64,
    half: f64,
    most: f64,
}

fn watch(world: &World, at: std::net::IpAddr, host: &str, viewers: usize, length: Duration) -> Result<Seen> {
    let words =
        [LOOK.to_owned(), format!("{at}:80"), host.to_owned(), viewers.to_string(), length.as_secs().to_string()];
    let program = Program::new(std::env::current_exe()?).args(words);
    let said = world.visitor.run_program(&program, length + LIMIT)?.ok()?;
    let figures: Vec<f64> = said.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
    let [rate, half, most] = figures[..] else { bail!("a visitor said {said:?}") };
    Ok(Seen { rate, half, most })
}

/// Of a picture in hexadecimal, in milliseconds since 1970; the last that stands in it.
const STAMP: &[u8] = b"STAMP:";
const DIGITS: usize = 16;

fn now() -> Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    u64::try_from(since.as_millis()).context("the clock is set to a far future")
}
