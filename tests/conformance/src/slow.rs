//! slowhttptest in its modes, 1000 connections each.

use crate::machine::processor_seconds;
use crate::{Chapter, HOST, Site};
use anyhow::{Context, Result};
use doorward_lab::visitor::{connect_from, http1_over, nothing, request, send_over};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::time::{interval, sleep};

const CONNECTIONS: &str = "1000";
const MODES: [(&str, &[&str]); 4] = [
    ("slow headers", &["-H", "-i", "2", "-x", "24"]),
    ("slow body", &["-B", "-i", "2", "-s", "8192", "-x", "10"]),
    ("slow read", &["-X", "-w", "1", "-y", "10", "-n", "1", "-z", "1", "-k", "1"]),
    ("ranges", &["-R", "-a", "10", "-b", "3000"]),
];
const ORDINARY: &str = "ordinary visitors";
/// All are to be gone long before.
const LASTS: Duration = Duration::from_secs(30);
const PROMISED: Duration = Duration::from_secs(10);
/// How long the other visitor asks, and how often.
const ASKS: Duration = Duration::from_secs(12);
const EVERY: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(250);
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

const HEAD: &str = "\
1000 connections from one source, 500 of them a second; the limits per source do not hold them back here. How long each \
of them lived is seen from outside, by `ss`, every 250 ms: the most that it can have been, from before the first time \
it was there to the first time it was not. \
Meanwhile a visitor from elsewhere asks for a page of 100 kB every 10 ms, over a connection of its own, for twelve \
seconds from the beginning of the attack; and for as long before and after it. \
The first row is no attack, but as many ordinary visitors, who come as fast, ask for the same page and take it. \
Promised is a p99 below twice the quiet one. Gateway, device, target, visitor and attacker share the machine.

| mode | connections at once | the longest lived | another's median, p99 before and after | during | ratio of p99 | processor time of ours before, during |
|---|---|---|---|---|---|---|
";

pub(crate) async fn run() -> Result<Chapter> {
    let site = Site::start().await;
    let http = site.lab.http();
    let (mut text, mut failures) = (HEAD.to_owned(), Vec::new());
    for (mode, arguments) in [(ORDINARY, &[] as &[&str])].into_iter().chain(MODES) {
        let (mut quiet, idle) = ask(http).await?;
        let attack = match mode {
            ORDINARY => visits(http)?,
            _ => attack(http, arguments)?,
        };
        let watching = tokio::spawn(watch(http.port()));
        let (during, busy) = ask(http).await?;
        let lives = watching.await??;
        drop(attack);
        quiet.extend(ask(http).await?.0);
        let (quiet, during) = (Waits::of(quiet), Waits::of(during));
        let ratio = during.late.as_secs_f64() / quiet.late.as_secs_f64();
        let Lives { most, longest } = lives;
        text.push_str(&format!(
            "| {mode} | {most} | {longest:.1?} | {quiet} | {during} | {ratio:.1} | {idle:.1} s, {busy:.1} s |\n"
        ));
        if longest > PROMISED {
            failures.push(format!("{mode}: one of {most} connections lived for {longest:.1?}"));
        }
        if mode != ORDINARY && ratio >= 2.0 {
            failures.push(format!("{mode}: another visitor's p99 was {during} instead of {quiet}"));
        }
    }
    Ok(Chapter { title: "Slow visitors", text, failures })
}

fn attack(http: SocketAddr, arguments: &[&str]) -> Result<Child> {
    let mut command = Command::new("slowhttptest");
    command.args(["-c", CONNECTIONS, "-r", "500", "-p", "3", "-l", &LASTS.as_secs().to_string()]).args(arguments);
    // As if through a proxy: the name need not be known to any resolver.
    command.args(["-u", &format!("http://{HOST}/"), "-d", &http.to_string()]);
    command.stdout(Stdio::null()).kill_on_drop(true).spawn().context("slowhttptest")
}

/// Five hundred at once, and as many a second later, each over a connection of its own.
fn visits(http: SocketAddr) -> Result<Child> {
    let mut command = Command::new("sh");
    let crowd = "curl --silent --parallel --parallel-immediate --parallel-max 250 --output /dev/null";
    let to = format!("--header 'Connection: close' --connect-to ::{http} 'http://{HOST}/?[1-250]'");
    let four = format!("{crowd} {to} & {crowd} {to} &");
    command.args(["-c", &format!("{four} sleep 1; {four} wait")]);
    command.stdout(Stdio::null()).kill_on_drop(true).spawn().context("curl")
}

struct Waits {
    median: Duration,
    /// The 99th of a hundred.
    late: Duration,
}

impl Waits {
    fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        Self { median: waits[waits.len() / 2], late: waits[waits.len() * 99 / 100] }
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1?}, {:.1?}", self.median, self.late)
    }
}

/// How long another visitor waits for each answer; and the processor time that all of it took here.
async fn ask(http: SocketAddr) -> Result<(Vec<Duration>, f64)> {
    let mut sender = http1_over(connect_from(OTHER, http).await?).await;
    let (begun, used) = (Instant::now(), processor_seconds()?);
    let (mut waits, mut ticks) = (Vec::new(), interval(EVERY));
    while begun.elapsed() < ASKS {
        ticks.tick().await;
        let asked = Instant::now();
        send_over(&mut sender, request(HOST, "/").body(nothing())?).await;
        waits.push(asked.elapsed());
    }
    Ok((waits, processor_seconds()? - used))
}

#[derive(Default)]
struct Lives {
    most: usize,
    longest: Duration,
}

/// The visitors' ends of the connections that the kernel still holds for the gateway.
fn table(port: u16) -> Command {
    let mut command = Command::new("ss");
    command.args(["-Htn", "state", "established", "state", "fin-wait-1", "state", "close-wait", "state", "last-ack"]);
    command.args(["sport", "=", &format!(":{port}")]).kill_on_drop(true);
    command
}

async fn watch(port: u16) -> Result<Lives> {
    let (mut lives, mut alive) = (Lives::default(), HashMap::<String, Instant>::new());
    let (begun, mut before) = (Instant::now(), Instant::now());
    loop {
        let output = table(port).output().await.context("ss")?;
        let now = Instant::now();
        let text = String::from_utf8_lossy(&output.stdout);
        let here = format!(":{port}");
        let others = text.lines().filter(|line| !line.contains(&OTHER.to_string()) && line.contains(&here));
        let seen: Vec<&str> = others.filter_map(|line| line.split_whitespace().last()).collect();
        alive.retain(|peer, since| {
            let is_here = seen.contains(&peer.as_str());
            if !is_here {
                lives.longest = lives.longest.max(now - *since);
            }
            is_here
        });
        for peer in &seen {
            alive.entry((*peer).to_owned()).or_insert(before);
        }
        lives.most = lives.most.max(alive.len());
        let is_over = lives.most > 0 && alive.is_empty() && begun.elapsed() > ASKS;
        if is_over || begun.elapsed() > LASTS {
            lives.longest = alive.values().map(|since| now - *since).fold(lives.longest, Duration::max);
            return Ok(lives);
        }
        before = now;
        sleep(LOOK).await;
    }
}
