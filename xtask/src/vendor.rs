//! `cargo xtask vendor`: all dependencies' sources in one folder, for builds without a network. The folder is made on
//! demand and never committed.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::process::{cargo, output, root, run as run_command};

pub(crate) const ABOUT: &str = "\
writes the dependencies' sources into vendor/, for builds without a network

usage: cargo xtask vendor [--check]

--check builds doorward from vendor/ alone: offline, with an empty cargo home and a fresh target folder (minutes).";

const CONFIG: &str = "vendor/config.toml";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let with_build = match words[..] {
        [] => false,
        ["--check"] => true,
        _ => bail!("unexpected: {}\n\n{ABOUT}", words.join(" ")),
    };
    // What cargo prints is the configuration that points it to the folder.
    let config = output(&mut cargo(["vendor", "--locked", "--versioned-dirs", "vendor"]))?;
    fs::write(root().join(CONFIG), config).with_context(|| format!("cannot write {CONFIG}"))?;

    let scratch = Scratch::create()?;
    resolve(&scratch).context("vendor/ is not complete")?;
    if with_build {
        build(&scratch)?;
    }
    println!("\nvendor/ is complete; build from it with:\n  cargo build --locked --offline --config {CONFIG}");
    Ok(())
}

/// Quick proof: with an empty cargo home, cargo finds every package nowhere but in vendor/.
fn resolve(scratch: &Scratch) -> Result<()> {
    let mut metadata = cargo(["metadata", "--format-version=1", "--locked", "--offline", "--config", CONFIG]);
    output(metadata.env("CARGO_HOME", scratch.home())).map(drop)
}

/// Full proof: the program comes out.
fn build(scratch: &Scratch) -> Result<()> {
    let mut build = cargo(["build", "--package", "doorward", "--locked", "--offline", "--config", CONFIG]);
    build.env("CARGO_HOME", scratch.home()).env("CARGO_TARGET_DIR", scratch.target());
    run_command(&mut build)
}

/// A folder of our own, gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("doorward-vendor-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self(folder))
    }

    fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    fn target(&self) -> PathBuf {
        self.0.join("target")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}
