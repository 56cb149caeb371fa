//! A program running in a node.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::faults::Fault;
use crate::wait::until;

const TOLD_ON_DROP: usize = 200;
const TO_START: Duration = Duration::from_secs(10);
const TO_DIE: Duration = Duration::from_secs(5);

/// Killed when dropped. What it said is printed then; the test runner shows that for failed tests only.
#[derive(Debug)]
pub struct Process {
    name: String,
    /// `nsenter`, which waits for the program outside the world and passes its exit status on.
    outside: Child,
    /// The program itself; none if it ended before it was seen.
    pid: Option<u32>,
    log: PathBuf,
}

impl Process {
    pub(crate) fn watch(name: String, mut outside: Child, log: PathBuf) -> Result<Process> {
        let mut pid = None;
        until(TO_START, "the program starts", || {
            pid = child_of(outside.id())?;
            Ok(pid.is_some() || outside.try_wait()?.is_some())
        })?;
        Ok(Process { name, outside, pid, log })
    }

    /// All it wrote to standard output and standard error so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until it has written a line that contains `text`, and answers that line.
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) -> Result<String> {
        self.wait_for_line_after(0, text, limit)
    }

    /// The same, overlooking the first `mark` bytes of the log (`process.log().len()` before the event).
    pub fn wait_for_line_after(&mut self, mark: usize, text: &str, limit: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            let ended = self.exited()?;
            let mut log = self.log();
            if ended.is_none() {
                // A line still being written is not one yet.
                log.truncate(log.rfind('\n').map_or(0, |end| end + 1));
            }
            if let Some(line) = log.get(mark..).unwrap_or_default().lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            if let Some(status) = ended {
                bail!("{} ended ({status}) before it said {text:?}; it said:\n{log}", self.name);
            }
            if start.elapsed() >= limit {
                bail!("{} did not say {text:?} within {limit:?}; it said:\n{log}", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process id, as we see it.
    pub fn pid(&self) -> Result<u32> {
        self.pid.with_context(|| format!("{} ended at once", self.name))
    }

    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.outside.try_wait()?)
    }

    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        until(limit, "the program ends", || Ok(self.outside.try_wait()?.is_some()))
            .with_context(|| format!("{} said:\n{}", self.name, self.log()))?;
        Ok(self.outside.wait()?)
    }

    /// kill -9: it sends no farewell of its own. (The kernel still closes its sockets; [`crate::Node::vanish`] first
    /// if not even that shall be heard.)
    pub fn kill(&mut self) -> Result<()> {
        if self.exited()?.is_none() {
            // A process that just ended by itself is as dead as wanted. nsenter may sleep with a frozen program.
            let _gone = self.signal(Signal::KILL);
            let _gone = kill_process(valid(self.outside.id())?, Signal::CONT);
        }
        self.wait(TO_DIE).map(drop)
    }

    /// SIGTERM, then waits.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit)
    }

    /// SIGINT, as Ctrl-C sends it, then waits.
    pub fn interrupt(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::INT)?;
        self.wait(limit)
    }

    /// SIGHUP, which by custom means: read your settings again.
    pub fn hang_up(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// Stops its clockwork (SIGSTOP) as if the machine slept; mending wakes it.
    pub fn freeze(&self) -> Result<Fault> {
        self.signal(Signal::STOP)?;
        let (program, outside) = (valid(self.pid()?)?, valid(self.outside.id())?);
        // nsenter stops itself when its child stops.
        Ok(Fault::new(move || {
            kill_process(program, Signal::CONT)?;
            Ok(kill_process(outside, Signal::CONT)?)
        }))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(valid(self.pid()?)?, signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kill().is_err() {
            let _already_gone = self.outside.kill();
            let _status = self.outside.wait();
        }
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        eprintln!("--- {} said ({} lines):", self.name, lines.len());
        lines.iter().skip(lines.len().saturating_sub(TOLD_ON_DROP)).for_each(|line| eprintln!("    {line}"));
    }
}

fn valid(pid: u32) -> Result<Pid> {
    Pid::from_raw(pid.try_into()?).context("process ids start at 1")
}

/// The first child of a process, by a look at all processes: /proc/…/children is not in every kernel.
pub(crate) fn child_of(parent: u32) -> Result<Option<u32>> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // proc_pid_stat(5): pid (name) state ppid …; the name may contain anything but ends with the last ")".
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        if after_name.split_whitespace().nth(1) == Some(parent.to_string().as_str()) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}
