//! A line in the user's crontab, where there is nothing better: it starts the command with the machine and again
//! whenever it ends, and gives what it says to syslog.

use super::machine::Machine;
use super::service::{Part, Service};
use super::{Report, Wish, mark};
use anyhow::Context;
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

const WHEN: &str = "@reboot ";

/// The whole line, without its end.
pub(super) fn line(service: &Service, copied: Option<&Path>) -> String {
    let (command, name) = (service.shell_command(), service.part.service_name());
    // If syslog fails, somebody must still read, or the command would be stopped by what it has to say.
    format!(
        "{WHEN}{{ while :; do {command}; sleep 5; done; }} 2>&1 | {{ logger -t {name} || cat; }} >/dev/null {}",
        mark::comment(service.part, copied)
    )
}

pub(super) fn install(machine: &Machine, service: &Service, wish: &Wish, report: &mut Report) -> anyhow::Result<()> {
    let new = line(service, wish.copied.as_deref());
    let (own, others) = read(machine)?.split(service.part);
    let is_changed = own != [new.as_str()];
    if is_changed {
        own.iter().for_each(|line| stop(line));
        write(machine, &[others.as_slice(), std::slice::from_ref(&new)].concat())?;
        report.did("Wrote a line into your crontab");
    } else {
        report.did("Kept the line in your crontab, as it is right");
    }
    report.did(format!("{} starts with the machine", service.part.service_name()));
    if machine.is_root {
        report.note("it runs as root here, which it does not need: better install it as another user");
    }
    if wish.start {
        if wish.is_new_program {
            stop(&new);
        }
        start(&new)?;
        report.did(format!("{} is started", service.part.service_name()));
    }
    Ok(())
}

pub(super) fn uninstall(machine: &Machine, part: Part, report: &mut Report) -> anyhow::Result<()> {
    let (own, others) = read(machine)?.split(part);
    own.iter().for_each(|line| stop(line));
    write(machine, &others)?;
    report.did(format!("Stopped {} and removed its line from your crontab", part.service_name()));
    Ok(())
}

pub(super) fn installed_line(machine: &Machine, part: Part) -> Option<String> {
    if machine.is_image || machine.find("crontab").is_none() {
        return None;
    }
    read(machine).ok()?.split(part).0.into_iter().next()
}

struct Crontab(String);

impl Crontab {
    /// Ours, and those of others.
    fn split(&self, part: Part) -> (Vec<String>, Vec<String>) {
        self.0.lines().map(str::to_owned).partition(|line| mark::is_on_line(line, part))
    }
}

fn read(machine: &Machine) -> anyhow::Result<Crontab> {
    match machine.run_with_input(&["crontab", "-l"], None) {
        Ok(text) => Ok(Crontab(text)),
        Err(error) => {
            let words = error.to_string();
            let is_empty = words.contains("no crontab for") || words.contains("No such file");
            // Anything else must not be taken for an empty crontab, or it would be overwritten.
            if is_empty { Ok(Crontab(String::new())) } else { Err(error).context("your crontab cannot be read") }
        }
    }
}

fn write(machine: &Machine, lines: &[String]) -> anyhow::Result<()> {
    let written = match lines {
        [] => machine.run(&["crontab", "-r"]),
        lines => machine.run_with_input(&["crontab", "-"], Some(&(lines.join("\n") + "\n"))).map(|_| ()),
    };
    written.context("your crontab cannot be written")
}

/// What cron gives to the shell.
fn shell_text(line: &str) -> &str {
    line.trim_start_matches(WHEN).trim_end()
}

/// As cron would, unless it runs.
fn start(line: &str) -> anyhow::Result<()> {
    if !running(line).is_empty() {
        return Ok(());
    }
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(shell_text(line)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.process_group(0).spawn().context("/bin/sh cannot be run")?;
    Ok(())
}

/// Ends the loop and what it runs: cron, like [`start`], gives each command a process group.
fn stop(line: &str) {
    for pid in running(line) {
        let _ = match getpgid(Some(pid)) {
            Ok(group) if group == pid => kill_process_group(group, Signal::TERM),
            // A part of the pipeline; it goes with its group.
            Ok(_) | Err(_) => kill_process(pid, Signal::TERM),
        };
    }
}

fn running(line: &str) -> Vec<Pid> {
    let text = shell_text(line).as_bytes();
    let is_ours = |directory: &Path| {
        let arguments = fs::read(directory.join("cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).skip(1).take(2).eq([b"-c".as_slice(), text])
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        is_ours(&entry.path()).then_some(pid)
    });
    pids.collect()
}
