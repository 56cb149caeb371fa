//! What people see of a pinhole.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use doorward_world::{Node, Process, World, addresses as at};

use super::{Daemon, nas};
pub(crate) use crate::talk::goes_on;
use crate::talk::{Kind, SOON, call_at, serve};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const SHORT: Duration = Duration::from_secs(4);
/// What is promised.
pub(crate) const LATE: Duration = Duration::from_secs(1);

/// The caller was reset, and hears nothing any more however often it tries.
pub(crate) fn is_dead(caller: &mut Process) -> Result<()> {
    caller.wait_for_line("Connection reset", SOON)?;
    let mark = caller.log().len();
    thread::sleep(LATE);
    let heard = caller.log()[mark..].lines().filter(|line| line.contains("echo")).count();
    ensure!(heard == 0, "{heard} numbers came after the end");
    Ok(())
}

/// The caller hears nothing, whatever it tries.
pub(crate) fn hears_nothing(caller: &Process) -> Result<()> {
    // What was under way may still arrive.
    thread::sleep(LATE);
    let mark = caller.log().len();
    thread::sleep(LATE);
    ensure!(!caller.log()[mark..].contains("echo"), "it still hears something");
    Ok(())
}

/// A connection attempt is swallowed, not refused.
pub(crate) fn is_silence(node: &Node, host: &str, port: u16) -> Result<()> {
    let output = node.run(&format!("socat -u /dev/null TCP:{host}:{port},connect-timeout=1"))?;
    let timed_out = output.stderr.contains("timed out");
    ensure!(!output.succeeded() && timed_out, "{output:?}");
    Ok(())
}

pub(crate) fn home() -> String {
    at::HOME[0].to_string()
}

/// When it was wanted, and somebody inside to talk to.
pub(crate) fn opened(world: &World, daemon: &Daemon, lasts: Duration) -> Result<(Instant, Process, Process)> {
    let server = serve(&world.device, Kind::Tcp, 22)?;
    let start = Instant::now();
    daemon.open(&[nas("a", lasts)])?;
    let mut caller = call_at(&world.visitor, Kind::Tcp, &home(), 40022)?;
    goes_on(&mut caller)?;
    Ok((start, server, caller))
}

/// Between its end and a second later.
pub(crate) fn ended_in_time(start: Instant, lasts: Duration) -> Result<()> {
    let late = start.elapsed().checked_sub(lasts).context("it ended too early")?;
    println!("world: a pinhole is dead after its end: {:.2} s (goal ≤ 1 s)", late.as_secs_f64());
    ensure!(late <= LATE + SOON / 10, "{late:?}");
    Ok(())
}
