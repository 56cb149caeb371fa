//! slowhttptest in its modes, 1000 connections each.

use crate::{Chapter, HOST, Site};
use anyhow::{Context, Result};
use doorward_lab::flood::waits;
use std::time::{Duration, Instant};
use tokio::process::Command;

const CONNECTIONS: &str = "1000";
const MODES: [(&str, &[&str]); 4] = [
    ("slow headers", &["-H", "-i", "2", "-x", "24"]),
    ("slow body", &["-B", "-i", "2", "-s", "8192", "-x", "10"]),
    ("slow read", &["-X", "-w", "1", "-y", "10", "-n", "1", "-z", "1", "-k", "1"]),
    ("ranges", &["-R", "-a", "10", "-b", "3000"]),
];
const LASTS: Duration = Duration::from_secs(40);

/// Ten seconds for each, two until the last has come, and some for the machine that plays all parts.
const ENOUGH: Duration = Duration::from_secs(15);
/// The other visitor's.
const OURS: usize = 2;

/// How many connections stood open at once at the most, and when the last of them was gone. slowhttptest itself does
/// not notice those that were reset while it does not read.
async fn until_gone(port: u16, started: Instant) -> Result<(usize, Duration)> {
    let mut most = 0;
    loop {
        let table = tokio::fs::read_to_string("/proc/net/tcp").await?;
        let here = format!(":{port:04X}");
        let is_open = |line: &&str| {
            let mut words = line.split_whitespace().skip(1);
            words.next().is_some_and(|local| local.ends_with(&here)) && words.nth(1) == Some("01")
        };
        let open = table.lines().filter(is_open).count();
        most = most.max(open);
        if (most > OURS && open <= OURS) || started.elapsed() > LASTS {
            return Ok((most, started.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn run() -> Result<Chapter> {
    let site = Site::start().await;
    let http = site.lab.http();
    let mut text = "1000 connections from one source that the limits per source do not hold back here.\n\n\
        | mode | connections at once | all gone after | another's median, p99 before | during |\n|---|---|---|---|---|\n"
        .to_owned();
    let mut failures = Vec::new();
    for (mode, arguments) in MODES {
        let before = waits(http, HOST, 200).await;
        let mut command = Command::new("slowhttptest");
        command.args(["-c", CONNECTIONS, "-r", "500", "-p", "3", "-l", &LASTS.as_secs().to_string()]).args(arguments);
        // As if through a proxy: the name need not be known to any resolver.
        command.args(["-u", &format!("http://{HOST}/"), "-d", &http.to_string()]).kill_on_drop(true);
        let started = Instant::now();
        let mut attack = command.stdout(std::process::Stdio::null()).spawn().context("slowhttptest")?;
        let watching = tokio::spawn(until_gone(http.port(), started));
        let during = waits(http, HOST, 200).await;
        let (most, gone) = watching.await??;
        attack.kill().await?;
        text.push_str(&format!("| {mode} | {most} | {gone:.1?} | {before:.1?} | {during:.1?} |\n"));
        if gone > ENOUGH {
            failures.push(format!("{mode}: the last of {most} connections was gone after {gone:.1?}"));
        }
    }
    Ok(Chapter { title: "Slow visitors", text, failures })
}
