//! Programs that we started: what they use, and that they end with us.
//!
//! Every program is started through ourselves (`held`), which asks the kernel to be killed with its parent and then
//! becomes the program: so nothing stays after Ctrl-C, a panic or even a kill of the benchmark.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// The name of our own subcommand that becomes another program.
pub(crate) const HELD: &str = "held";

/// What `held PROGRAM …` does.
pub(crate) fn become_held(arguments: &[String]) -> Result<()> {
    let (program, arguments) = arguments.split_first().context("held: which program?")?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| program.clone())
}

/// A command that becomes `program` and ends with us.
pub(crate) fn held(program: impl AsRef<Path>) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(HELD).arg(program.as_ref());
    Ok(command)
}

/// A running program, killed when dropped, with whatever it has started.
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Its output goes to a file in `folder`.
    pub(crate) fn start(name: &str, mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("starting {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has written `text`.
    pub(crate) async fn wait_for(&mut self, text: &str, limit: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            let log = fs::read_to_string(&self.log)?;
            if log.contains(text) {
                return Ok(());
            }
            if ended.is_some() || start.elapsed() > limit {
                bail!("{} did not say {text:?}; it said:\n{log}", self.name);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let started = tree(self.id()).unwrap_or_default();
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
        for process in started.iter().filter(|process| process.id != self.child.id()) {
            if let Some(id) = i32::try_from(process.id).ok().and_then(Pid::from_raw) {
                let _already_gone = kill_process(id, Signal::KILL);
            }
        }
    }
}

/// What a process and all that descend from it have used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds, user and system.
    pub(crate) cpu: f64,
    /// Bytes.
    pub(crate) resident: u64,
}

impl Usage {
    pub(crate) fn of(id: u32) -> Result<Self> {
        let mut usage = Self::default();
        for Process { id, cpu_ticks, .. } in tree(id)? {
            usage.cpu += cpu_ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
            usage.resident += resident(id).unwrap_or(0);
        }
        Ok(usage)
    }
}

struct Process {
    id: u32,
    parent: u32,
    cpu_ticks: u64,
}

/// A process and all that descend from it.
fn tree(root: u32) -> Result<Vec<Process>> {
    let mut rest: Vec<Process> = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while we look.
        rest.extend(fs::read_to_string(entry.path().join("stat")).ok().and_then(|stat| parse(id, &stat)));
    }
    let at = rest.iter().position(|process| process.id == root).with_context(|| format!("process {root} is gone"))?;
    let mut found = vec![rest.swap_remove(at)];
    let mut seen = 0;
    while let Some(parent) = found.get(seen).map(|process| process.id) {
        let (children, others) = rest.into_iter().partition(|process| process.parent == parent);
        rest = others;
        found.extend::<Vec<_>>(children);
        seen += 1;
    }
    Ok(found)
}

/// proc_pid_stat(5): pid (name) state ppid …, utime and stime are the 14th and 15th. The name may contain anything.
fn parse(id: u32, stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
    Some(Process { id, parent: number(4)?.try_into().ok()?, cpu_ticks: number(14)? + number(15)? })
}

fn resident(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_and_spaces_do_not_confuse() {
        let stat = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 2 3 4 50 25 0 0 20 0 1 0 1 1 1";
        let process = parse(7, stat).unwrap();
        assert_eq!((process.parent, process.cpu_ticks), (3, 75));
    }

    #[test]
    fn what_was_started_counts_and_ends_with_the_one_who_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & wait"]);
        let running = Running::start("shell", command, folder.path()).unwrap();
        let start = Instant::now();
        while tree(running.id()).unwrap().len() < 2 {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
        let sleeper = tree(running.id()).unwrap()[1].id;
        drop(running);
        let gone = || !fs::read_to_string(format!("/proc/{sleeper}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while !gone() {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
    }
}
