//! `cargo xtask bench`: builds what is measured the way it is released, then lets `doorward-bench` measure.

use anyhow::{Context, Result, bail};

use crate::process::cargo;

pub(crate) const ABOUT: &str = "\
compares Doorward with rathole and OpenSSH, in ratios to no tunnel at all

usage: cargo xtask bench [line | sshd | scale | cameras | pinhole] [--rounds NUMBER] [subject…]
subjects: doorward-quic doorward-tls rathole-tcp rathole-tls rathole-noise ssh doorward-ssh ssh-chacha20
          doorward-ssh-chacha20

  cargo xtask bench > figures.md
  cargo xtask bench --rounds 2 doorward-tls rathole-tls
  cargo xtask bench sshd              ssh -R to Doorward beside the same ssh -R to sshd
  cargo xtask bench scale             the gateway's state with 100 000 sessions beside one with few
  cargo xtask bench cameras           a camera on a thin line, beside ssh -R, rathole, nginx and a fan-out of queues
  cargo xtask bench pinhole           a router's pinhole beside a forward written by hand, in network namespaces
  cargo xtask bench line              over an emulated line of 50 ms with loss, in network namespaces

Peers that are not installed are left out. bench/README.md says how it measures.";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    // One after the other: built together, the product could get features that only the benchmark wants.
    for package in ["doorward", "doorward-world", "doorward-bench"] {
        start(&["build", "--release", "--locked", "-p", package])?;
    }
    let bench = ["run", "--quiet", "--release", "--locked", "-p", "doorward-bench", "--"];
    start(&bench.into_iter().chain(arguments.iter().map(String::as_str)).collect::<Vec<_>>())
}

/// Runs cargo. The command line is not printed on stdout, where the tables go.
fn start(arguments: &[&str]) -> Result<()> {
    eprintln!("$ cargo {}", arguments.join(" "));
    let status = cargo(arguments.iter().copied()).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo {} failed ({status})", arguments[0]);
    }
    Ok(())
}
