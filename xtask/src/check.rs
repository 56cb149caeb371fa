//! `cargo xtask check`: everything about the tree that can be judged without running it.

mod advisories;
mod arrows;
mod deny;
mod graph;
mod lengths;
mod licences;
mod links;
mod report;
mod rust_version;
mod spdx;
mod tree;
mod without;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::process::{cargo, run as run_command, succeeds};

pub(crate) const ABOUT: &str = "\
judges the tree without running it: format, lints, arrows, dependencies, documents

usage: cargo xtask check [step…]
steps: format lengths links rust-version arrows without licences advisories cargo-deny clippy docs";

struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// In order of cost, so that the cheap ones speak first.
const STEPS: &[Step] = &[
    Step { name: "format", run: format },
    Step { name: "lengths", run: lengths::check },
    Step { name: "links", run: links::check },
    Step { name: "rust-version", run: rust_version::check },
    Step { name: "arrows", run: arrows::check },
    Step { name: "without", run: without::check },
    Step { name: "licences", run: licences::check },
    Step { name: "advisories", run: advisories::check },
    Step { name: "cargo-deny", run: cargo_deny },
    Step { name: "clippy", run: clippy },
    Step { name: "docs", run: docs },
];

/// Runs all steps (or the named ones) even when one fails: one run tells everything.
pub(crate) fn run(names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !STEPS.iter().any(|step| step.name == *name)) {
        bail!("there is no step {unknown:?}\n\n{ABOUT}");
    }
    let chosen = STEPS.iter().filter(|step| names.is_empty() || names.iter().any(|name| name == step.name));
    let mut failed = Vec::new();
    let mut summary = String::new();
    for step in chosen {
        println!("== {}", step.name);
        let start = Instant::now();
        let result = (step.run)();
        let seconds = start.elapsed().as_secs_f32();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        summary.push_str(&format!("  {:<12} {verdict:<7} {seconds:>6.1} s\n", step.name));
        if let Err(error) = result {
            println!("{error:#}");
            failed.push(step.name);
        }
    }
    println!("\n{summary}");
    if !failed.is_empty() {
        bail!("check failed: {}", failed.join(", "));
    }
    Ok(())
}

fn format() -> Result<()> {
    need_component("fmt", "rustfmt")?;
    run_command(&mut cargo(["fmt", "--all", "--check"]))
}

/// `-D warnings` comes after `--`: in RUSTFLAGS it would build every dependency once more.
fn clippy() -> Result<()> {
    need_component("clippy", "clippy")?;
    run_command(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn docs() -> Result<()> {
    run_command(cargo(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// A second reader of deny.toml, where it is installed. It fetches the advisories itself, unless we were given them.
fn cargo_deny() -> Result<()> {
    if !succeeds(&mut cargo(["deny", "--version"])) {
        println!("cargo-deny is not installed: deny.toml was enforced by the steps `licences` and `advisories` alone");
        return Ok(());
    }
    // Duplicates were told by `licences`, in one line.
    let mut command = cargo(["deny", "--locked", "check", "--allow", "duplicate", "bans", "licenses", "sources"]);
    if advisories::database().is_none() {
        command.arg("advisories");
    }
    run_command(&mut command)
}

fn need_component(subcommand: &str, component: &str) -> Result<()> {
    if !succeeds(&mut cargo([subcommand, "--version"])) {
        bail!("cargo {subcommand} is not installed; run: rustup component add {component}");
    }
    Ok(())
}
