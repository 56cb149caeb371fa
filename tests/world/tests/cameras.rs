//! Cameras between machines: what Doorward adds to the age of a picture, and what an hour of pictures leaves behind.

use anyhow::{Context, Result, bail, ensure};
use doorward_world::site::{GATEWAY_FILE, SOON, Site, script};
use doorward_world::{Conditions, Node, Process, Shape, World, addresses, until};
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

const AGENT_FILE: &str = r#"
[[service]]
name = "camera"
target = "camera+http://127.0.0.1:8090/"
access = { who = "public" }
"#;
const CAMERA: &str = "camera-zumi.gateway.example";
const PORT: u16 = 8090;
const ONE_WAY: Duration = Duration::from_millis(20);
/// Of 15 pictures a second.
const INTERVAL: Duration = Duration::from_millis(67);
const LOOK: u64 = 5;
/// As many as 15 a second are in an hour.
const HOUR: u32 = 54_000;
const HOUR_LIMIT: Duration = Duration::from_secs(420);
/// What the allocator may keep, or give back later.
const GROWTH: u64 = 8 << 20;

fn film(node: &Node, words: &[u32]) -> Result<Process> {
    let words: Vec<String> = [u32::from(PORT)].iter().chain(words).map(u32::to_string).collect();
    let mut film = node.spawn(&script("film.py", &words))?;
    film.wait_for_line("ready", SOON)?;
    Ok(film)
}

fn looker(at: IpAddr, port: u16, seconds: u64) -> [String; 4] {
    [at.to_string(), port.to_string(), CAMERA.to_owned(), seconds.to_string()]
}

/// How old pictures are when they are seen: the middle one, and all but a twentieth.
fn ages(world: &World, at: IpAddr, port: u16) -> Result<[Duration; 2]> {
    let look = script("look.py", &looker(at, port, LOOK));
    let said = world.visitor.run_program(&look, SOON)?.ok()?;
    let figures: Vec<u64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [seen, half, most] = figures[..] else { bail!("somebody who looked said {said:?}") };
    ensure!(seen > 10 * LOOK, "only {seen} pictures in {LOOK} s");
    Ok([Duration::from_millis(half), Duration::from_millis(most)])
}

#[test]
fn a_picture_is_seen_hardly_later_than_without_doorward() -> Result<()> {
    let world = World::build(Shape::home().over_line(Conditions::new().delay(ONE_WAY)))?;
    let _film = film(&world.device, &[67, 50_000])?;
    let _site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    world.home_router.forward_tcp_port(PORT, addresses::DEVICE[0], PORT)?.stays();
    until(SOON, "the camera is served", || Ok(ages(&world, addresses::GATEWAY[0], 80).is_ok()))?;
    let goal = INTERVAL + 2 * ONE_WAY;
    let mut least = [Duration::MAX; 2];
    // The best of three: what else this machine does is no part of the question.
    for _ in 0..3 {
        let [half, most] = ages(&world, addresses::HOME[0], PORT)?;
        let [through_half, through_most] = ages(&world, addresses::GATEWAY[0], 80)?;
        println!("world: ages {half:?} and {most:?}, through Doorward {through_half:?} and {through_most:?}");
        let more = [through_half.saturating_sub(half), through_most.saturating_sub(most)];
        least = [least[0].min(more[0]), least[1].min(more[1])];
    }
    println!("world: Doorward adds {:?} to a picture's age, p95 {:?} (goal ≤ {goal:?})", least[0], least[1]);
    ensure!(least[0] <= 2 * goal && least[1] <= 4 * goal, "{least:?}");
    Ok(())
}

/// Bytes of a process that are in memory.
fn resident(process: &Process) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

#[test]
fn an_hour_of_pictures_leaves_nothing_behind_with_a_slow_viewer_beside() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut film = film(&world.device, &[0, 6_000, HOUR])?;
    let site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    let served = "curl -sS -o /dev/null -w '%{http_code}' --max-time 5 --resolve camera-zumi.gateway.example:80:203.0.113.10 \
                  http://camera-zumi.gateway.example/favicon.ico";
    // What is no picture is refused without a look at the camera.
    until(SOON, "the camera is offered", || Ok(world.visitor.run(served)?.stdout == "404"))?;
    let words = looker(addresses::GATEWAY[0], 80, HOUR_LIMIT.as_secs());
    let _quick = world.visitor.spawn(&script("look.py", &words))?;
    let slow: Vec<String> = words.into_iter().chain(["20000".to_owned()]).collect();
    let _slow = world.other_visitor.spawn(&script("look.py", &slow))?;
    film.wait_for_line(&format!("filmed {}", HOUR / 10), HOUR_LIMIT)?;
    let before = [resident(&site.gateway)?, resident(&site.agent)?];
    film.wait_for_line(&format!("filmed {HOUR}"), HOUR_LIMIT)?;
    let after = [resident(&site.gateway)?, resident(&site.agent)?];
    for (who, (before, after)) in ["gateway", "agent"].into_iter().zip(before.into_iter().zip(after)) {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "world: the {who} has {:.1} MiB after a tenth of an hour's pictures, {:.1} after all",
            mib(before),
            mib(after)
        );
        ensure!(after <= before + GROWTH, "the {who} grew from {before} to {after} bytes");
    }
    Ok(())
}
