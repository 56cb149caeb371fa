//! A pair of programs that talk without pause between two nodes, see talk.py.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use doorward_world::{Node, Process, Program, addresses};

pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Long enough for twenty numbers; what is silent for so long is taken for silent.
const SILENCE: Duration = Duration::from_secs(1);

pub(crate) struct Talk {
    pub(crate) server: Process,
    pub(crate) caller: Process,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tcp,
    Tcp6,
    Udp,
}

pub(crate) fn serve(node: &Node, kind: Kind, port: u16) -> Result<Process> {
    let mut server = node.spawn(&talk_program(["serve", word(kind), &port.to_string()]))?;
    server.wait_for_line("serving", SOON)?;
    Ok(server)
}

/// A server that speaks without being asked.
pub(crate) fn tell(node: &Node, kind: Kind, port: u16) -> Result<Process> {
    let mut server = node.spawn(&talk_program(["tell", word(kind), &port.to_string()]))?;
    server.wait_for_line("serving", SOON)?;
    Ok(server)
}

pub(crate) fn call(node: &Node, kind: Kind, port: u16) -> Result<Process> {
    call_at(node, kind, &addresses::GATEWAY[0].to_string(), port)
}

pub(crate) fn call_at(node: &Node, kind: Kind, host: &str, port: u16) -> Result<Process> {
    node.spawn(&talk_program(["call", word(kind), host, &port.to_string()]))
}

impl Talk {
    /// `from` calls `to`, and the talk is under way.
    pub(crate) fn start(from: &Node, to: &Node, kind: Kind, port: u16) -> Result<Talk> {
        let server = serve(to, kind, port)?;
        let mut talk = Talk { server, caller: call(from, kind, port)? };
        talk.goes_on()?;
        Ok(talk)
    }

    /// A number sent from now on comes back; answers how long that took.
    pub(crate) fn goes_on(&mut self) -> Result<Duration> {
        let (mark, start) = (self.caller.log().len(), Instant::now());
        self.caller.wait_for_line_after(mark, "echo", SOON)?;
        Ok(start.elapsed())
    }

    /// The caller hears nothing at all: no answer, no error.
    pub(crate) fn is_silent(&self) -> Result<()> {
        // What was under way may still arrive.
        thread::sleep(Duration::from_millis(200));
        let mark = self.caller.log().len();
        thread::sleep(SILENCE);
        let heard = self.caller.log()[mark..].to_owned();
        ensure!(heard.is_empty(), "heard {heard}");
        Ok(())
    }

    /// All (address, port) pairs the server was called from.
    pub(crate) fn callers(&self) -> Vec<(String, String)> {
        let log = self.server.log();
        let words = log.lines().filter_map(|line| line.strip_prefix("from ")?.split_once(' '));
        words.map(|(address, port)| (address.to_owned(), port.to_owned())).collect()
    }

    pub(crate) fn last_caller(&self) -> Result<(String, String)> {
        self.callers().pop().context("nobody called")
    }
}

fn talk_program<const N: usize>(words: [&str; N]) -> Program {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/talk/talk.py");
    Program::new("/usr/bin/python3").args([script.as_os_str()]).args(words)
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Tcp => "tcp",
        Kind::Tcp6 => "tcp6",
        Kind::Udp => "udp",
    }
}

/// The other side has answered since now.
pub(crate) fn goes_on(caller: &mut Process) -> Result<()> {
    let mark = caller.log().len();
    caller.wait_for_line_after(mark, "echo", SOON).map(drop)
}
