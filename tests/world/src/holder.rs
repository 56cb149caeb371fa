//! The process all of a world hangs from: PID 1 of the world's PID namespace.
//!
//! It reads its standard input, a pipe only the test process holds. When the test lets go of it, in whatever way it
//! ends, the holder ends, and the kernel then kills every process of that PID namespace. Namespaces end with their
//! processes, and interfaces with their namespaces.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::process::child_of;
use crate::requirements::{NAMESPACES_REFUSED, search_path};
use crate::wait::until;

/// How to become part of the world, or of one of its nodes. Refuses once the world has ended, because its process
/// ids may belong to somebody else by then.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) pid: u32,
    alive: Arc<AtomicBool>,
    own_user_namespace: bool,
}

impl Entry {
    /// A command line prefix that enters all namespaces of the process. nsenter stays outside as the parent; when it is
    /// killed, the command is.
    pub(crate) fn command(&self) -> Result<Command> {
        let mut command = self.nsenter()?;
        command.args(["--mount", "--net", "--pid", "--", "setpriv", "--pdeathsig", "KILL", "--"]);
        Ok(command)
    }

    /// Enters the network alone: process ids and /proc are the ones we see. Nothing but its standard input ends such a
    /// command. (A death signal would come when the *thread* ends that started it.)
    pub(crate) fn command_with_our_pids(&self) -> Result<Command> {
        let mut command = self.nsenter()?;
        command.args(["--net", "--"]);
        Ok(command)
    }

    pub(crate) fn for_process(&self, pid: u32) -> Entry {
        Entry { pid, ..self.clone() }
    }

    fn nsenter(&self) -> Result<Command> {
        if !self.alive.load(Ordering::Acquire) {
            bail!("this world has ended");
        }
        let mut command = Command::new("nsenter");
        command.env("PATH", search_path()).args(["--target", &self.pid.to_string()]);
        if self.own_user_namespace {
            command.args(["--user", "--preserve-credentials"]);
        }
        Ok(command)
    }
}

pub(crate) struct Holder {
    unshare: Child,
    stdin: Option<ChildStdin>,
    pub(crate) entry: Entry,
}

impl Holder {
    pub(crate) fn start() -> Result<Holder> {
        let own_user_namespace = !rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.env("PATH", search_path());
        if own_user_namespace {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        // The shell stays as PID 1, because it reaps orphans; `cat` alone would not.
        command.args(["--", "sh", "-c", "echo ready; cat >/dev/null; exit 0"]);
        let mut unshare =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("unshare")?;
        expect_ready(&mut unshare).context(NAMESPACES_REFUSED)?;
        let pid = child_of(unshare.id())?.context("the world's first process is gone")?;
        let entry = Entry { pid, alive: Arc::new(AtomicBool::new(true)), own_user_namespace };
        Ok(Holder { stdin: unshare.stdin.take(), unshare, entry })
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.entry.alive.store(false, Ordering::Release);
        drop(self.stdin.take());
        let ended = until(Duration::from_secs(5), "the world ends", || Ok(self.unshare.try_wait()?.is_some()));
        if ended.is_err() {
            let _already_gone = self.unshare.kill();
            let _status = self.unshare.wait();
        }
    }
}

/// Waits for the line "ready"; otherwise the process has failed, and its standard error says why.
pub(crate) fn expect_ready(child: &mut Child) -> Result<()> {
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
    if line.trim() == "ready" {
        return Ok(());
    }
    let mut complaint = String::new();
    child.stderr.take().context("no standard error")?.read_to_string(&mut complaint)?;
    Err(anyhow!("{}", complaint.trim().to_owned()))
}
