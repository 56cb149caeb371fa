//! `cargo xtask conformance`: installs the suites of others below `target/`, then lets `doorward-conformance` run them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::MetadataCommand;

use crate::packages;
use crate::process::{cargo, program, root, run as run_command};

pub(crate) const ABOUT: &str = "\
runs suites that others wrote against a gateway, and floods; writes docs/conformance.md

usage: cargo xtask conformance [chapter…]
chapters: api desync floods http2 slow tls ssh

Named chapters are printed; only a run of all is written down. It builds for release and takes half an hour, most of it
OpenSSH's. Needs Debian packages (installs them when root, else says which), crates.io for the corpus and httpwg, and
PyPI for sslyze and schemathesis. Figures count on a machine that does nothing else.";

const CHAPTERS: &[&str] = &["api", "desync", "floods", "http2", "slow", "tls", "ssh"];
const REPORT: &str = "docs/conformance.md";
const CORPUS: &str = "http_desync_guardian";
const CORPUS_VERSION: &str = "=0.1.3";
const HTTPWG_VERSION: &str = "0.2.5";
/// Of Debian's openssh-tests.
const OPENSSH_REGRESS: &str = "/usr/lib/openssh/regress";
const SSLYZE: &str = "sslyze==6.3.1";
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let Some(unknown) = arguments.iter().find(|word| !CHAPTERS.contains(&word.as_str())) {
        bail!("there is no chapter {unknown:?}\n\n{ABOUT}");
    }
    packages::provide(&["build", "conformance"])?;
    let folder = root().join("target/conformance");
    fs::create_dir_all(&folder)?;
    let mut suites = cargo(["run", "--release", "--quiet", "--locked", "--package", "doorward-conformance", "--"]);
    suites.args(arguments);
    let wants = |chapter: &str| arguments.is_empty() || arguments.iter().any(|word| word == chapter);
    if wants("api") {
        suites.env("DOORWARD_SCHEMATHESIS", from_pypi(&folder, "venv-schemathesis", SCHEMATHESIS, "schemathesis")?);
    }
    if wants("desync") {
        suites.env("DOORWARD_DESYNC_CORPUS", corpus(&folder)?);
    }
    if wants("http2") {
        suites.env("DOORWARD_HTTPWG", httpwg(&folder)?);
    }
    if wants("tls") {
        suites.env("DOORWARD_SSLYZE", from_pypi(&folder, "venv", SSLYZE, "sslyze")?);
    }
    suites.env("DOORWARD_OPENSSH_REGRESS", OPENSSH_REGRESS);
    if arguments.is_empty() {
        suites.env("DOORWARD_REPORT", root().join(REPORT));
    }
    run_command(&mut suites)
}

/// The corpus lies in a crate, which cargo fetches for a package that is never built.
fn corpus(folder: &Path) -> Result<PathBuf> {
    let package = folder.join("corpus");
    fs::create_dir_all(package.join("src"))?;
    fs::write(package.join("src/lib.rs"), "")?;
    let manifest = format!(
        "[package]\nname = \"corpus\"\nversion = \"0.0.0\"\n\n[workspace]\n\n[dependencies]\n{CORPUS} = \"{CORPUS_VERSION}\"\n"
    );
    fs::write(package.join("Cargo.toml"), manifest)?;
    let metadata = MetadataCommand::new().manifest_path(package.join("Cargo.toml")).exec()?;
    let found = metadata.packages.iter().find(|package| package.name == CORPUS).context(CORPUS)?;
    let tests = found.manifest_path.parent().context(CORPUS)?.join("tests").into_std_path_buf();
    ensure!(tests.join("severe.yaml").is_file(), "{} holds no corpus", tests.display());
    Ok(tests)
}

fn httpwg(folder: &Path) -> Result<PathBuf> {
    let tool = folder.join("bin/httpwg");
    if !tool.exists() {
        let mut install = cargo(["install", "--locked", "--version", HTTPWG_VERSION, "httpwg-cli", "--root"]);
        run_command(install.arg(folder).env("CARGO_TARGET_DIR", folder.join("build")))?;
    }
    Ok(tool)
}

/// Each in an environment of its own: what they need may not go together.
fn from_pypi(folder: &Path, environment: &str, package: &str, tool: &str) -> Result<PathBuf> {
    let venv = folder.join(environment);
    let tool = venv.join("bin").join(tool);
    if !tool.exists() {
        run_command(program("/usr/bin/python3").args(["-m", "venv"]).arg(&venv))?;
        run_command(program(venv.join("bin/pip")).args(["install", "--quiet", package]))?;
    }
    Ok(tool)
}
