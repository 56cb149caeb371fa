//! The machine that all of it runs on, and who gets which of its cores.

use anyhow::{Result, ensure};
use doorward_lab::flood::resident;
use std::thread::available_parallelism;

pub(crate) fn describe() -> String {
    let cores = available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    let memory = resident() / (1 << 20);
    format!("It has {cores} cores; at the end\nthe load average was {load} and the program's memory {memory} MiB.")
}

/// Seconds of processor time that this process has used. proc_pid_stat(5), in hundredths on every Linux that there is.
pub(crate) fn processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    ensure!(fields.len() > 13, "/proc/self/stat is too short");
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
