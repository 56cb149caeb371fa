//! What to start, and what came of it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::requirements::fake_clock_library;

/// A program with its arguments, environment and, if wanted, another wall clock.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    clock: Option<Clock>,
}

#[derive(Clone, Debug)]
enum Clock {
    StartsAt(String),
    SetBy(PathBuf),
}

impl Program {
    pub fn new(path: impl Into<PathBuf>) -> Program {
        Program { path: path.into(), arguments: Vec::new(), variables: Vec::new(), folder: None, clock: None }
    }

    /// A line for the shell. The shell is the process that is killed: start the last command with `exec`.
    pub fn shell(line: &str) -> Program {
        Program::new("sh").args(["-c", line])
    }

    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Program {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Program {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> Program {
        self.folder = Some(folder.into());
        self
    }

    /// Starts with its wall clock (not the monotonic one) at `time`, UTC, like `2040-01-01 00:00:00`, running on.
    ///
    /// Not for statically linked programs, and not for those that sleep by clock_nanosleep(2) until a point in time
    /// (Python's `time.sleep`): libfaketime 0.9.10 lets these hang. Rust's sleeps, condition variables and epoll work.
    pub fn at_clock(mut self, time: &str) -> Program {
        self.clock = Some(Clock::StartsAt(time.to_owned()));
        self
    }

    /// Its wall clock is the machine's plus as many seconds as `file` says, as `+86400` or `-60`, at any time.
    pub fn clock_set_by(mut self, file: impl Into<PathBuf>) -> Program {
        self.clock = Some(Clock::SetBy(file.into()));
        self
    }

    /// Started by another program, given its own arguments first: `prlimit --nofile=100 -- PROGRAM`. That one must
    /// replace itself.
    pub fn under(self, starter: &Program) -> Program {
        let mut arguments = starter.arguments.clone();
        arguments.push(self.path.into_os_string());
        arguments.extend(self.arguments);
        Program { path: starter.path.clone(), arguments, ..self }
    }

    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// Appends itself to a command that enters a node. `env` replaces itself by the program, so the process id stays.
    pub(crate) fn append_to(&self, command: &mut Command) -> Result<()> {
        command.arg("env");
        if let Some(folder) = &self.folder {
            command.arg("--chdir").arg(folder);
        }
        if let Some(clock) = &self.clock {
            command.arg(format!("LD_PRELOAD={}", fake_clock_library()?.display()));
            command.args(["FAKETIME_DONT_FAKE_MONOTONIC=1", "TZ=UTC"]);
            match clock {
                Clock::StartsAt(time) => command.arg(format!("FAKETIME=@{time}")),
                // The times of files stay what they are.
                Clock::SetBy(file) => command
                    .arg(format!("FAKETIME_TIMESTAMP_FILE={}", file.display()))
                    .args(["FAKETIME_NO_CACHE=1", "NO_FAKE_STAT=1"]),
            };
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.arg(&self.path).args(&self.arguments);
        Ok(())
    }
}

/// What a finished command said.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
    pub(crate) command: String,
}

impl Output {
    pub fn succeeded(&self) -> bool {
        self.status.success()
    }

    /// The standard output of a command that succeeded; otherwise an error with all it said.
    pub fn ok(self) -> Result<String> {
        if self.succeeded() {
            return Ok(self.stdout);
        }
        bail!("`{}` failed ({}) after {:?}:\n{}{}", self.command, self.status, self.took, self.stdout, self.stderr)
    }
}

/// The path of a program of this workspace, built in the same profile as the running test.
///
/// Set `DOORWARD_PROGRAMS` to a folder to try programs from elsewhere (a package, another release).
pub fn built(name: &str) -> Result<PathBuf> {
    let folder = match env::var_os("DOORWARD_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => target_folder()?,
    };
    let path = folder.join(name);
    if !path.exists() {
        bail!("{} is not there: build it first (cargo build --bin {name})", path.display());
    }
    Ok(path)
}

/// Test binaries lie in `target/<profile>/deps`, programs one above.
fn target_folder() -> Result<PathBuf> {
    let test = env::current_exe()?;
    let folder = test.parent().context("a program lies in a folder")?;
    let above = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    Ok(above.context("a target folder")?.to_owned())
}
