//! The machine that all of it runs on, and who gets which of its cores.

use anyhow::{Result, ensure};
use doorward_lab::flood::resident;
use std::thread::available_parallelism;
use tokio::process::Command;

pub(crate) fn describe() -> String {
    let cores = available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    let memory = resident() / (1 << 20);
    format!("It has {cores} cores; at the end\nthe load average was {load} and the program's memory {memory} MiB.")
}

/// The last core is the attackers', the others are for everybody else. `None` where there is one core only.
pub(crate) struct Cores {
    pub(crate) attackers: usize,
}

impl Cores {
    /// Keeps this process away from the attackers' core.
    pub(crate) async fn part() -> Result<Option<Self>> {
        let last = available_parallelism()?.get() - 1;
        if last == 0 {
            return Ok(None);
        }
        pin_ourselves(&format!("0-{}", last - 1)).await?;
        Ok(Some(Self { attackers: last }))
    }

    pub(crate) async fn join(self) -> Result<()> {
        pin_ourselves(&format!("0-{}", self.attackers)).await
    }
}

/// A program on the attackers' core.
pub(crate) fn on_core(cores: Option<&Cores>, program: &str) -> Command {
    match cores {
        Some(cores) => {
            let mut command = Command::new("taskset");
            command.arg("--cpu-list").arg(cores.attackers.to_string()).arg(program);
            command
        }
        None => Command::new(program),
    }
}

async fn pin_ourselves(list: &str) -> Result<()> {
    let pinning = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", list, &std::process::id().to_string()])
        .output()
        .await?;
    ensure!(pinning.status.success(), "taskset: {}", String::from_utf8_lossy(&pinning.stderr));
    Ok(())
}

/// Seconds of processor time that this process has used. proc_pid_stat(5), in hundredths on every Linux that there is.
pub(crate) fn processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    ensure!(fields.len() > 13, "/proc/self/stat is too short");
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
