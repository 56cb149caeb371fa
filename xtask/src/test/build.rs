//! Builds once, and learns from cargo which programs came out.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Artifact, Message, MetadataCommand, Package, TargetKind};

use crate::process::{cargo, root};

pub(crate) struct Built {
    /// The program as users build it, for tests that start it.
    pub(crate) doorward: PathBuf,
    pub(crate) programs: Vec<TestProgram>,
    /// The workspace's packages, also those without a test.
    pub(crate) packages: BTreeSet<String>,
}

pub(crate) struct TestProgram {
    pub(crate) package: String,
    pub(crate) label: String,
    pub(crate) file: PathBuf,
    /// Where the package lies: tests start there, as under `cargo test`.
    pub(crate) folder: PathBuf,
}

pub(crate) fn build() -> Result<Built> {
    let metadata =
        MetadataCommand::new().current_dir(root()).no_deps().other_options(["--locked".to_owned()]).exec()?;
    println!("\n== build");
    let doorward = artifacts(cargo(["build", "--package", "doorward", "--locked"]))?
        .into_iter()
        .find(|artifact| artifact.target.name == "doorward" && artifact.executable.is_some())
        .and_then(|artifact| artifact.executable)
        .context("building the package doorward gave no program of that name")?;
    let mut programs = Vec::new();
    for artifact in artifacts(cargo(["test", "--workspace", "--locked", "--no-run"]))? {
        let package = metadata.packages.iter().find(|package| package.id == artifact.package_id);
        programs.extend(package.and_then(|package| test_program(package, artifact)));
    }
    programs.sort_by(|one, other| one.label.cmp(&other.label));
    let packages = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    Ok(Built { doorward: doorward.into_std_path_buf(), programs, packages })
}

fn artifacts(mut command: Command) -> Result<Vec<Artifact>> {
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let mut artifacts = Vec::new();
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message? {
            artifacts.push(artifact);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the build failed ({status})");
    }
    Ok(artifacts)
}

fn test_program(package: &Package, artifact: Artifact) -> Option<TestProgram> {
    let file = artifact.executable.filter(|_| artifact.profile.test)?;
    let label = match artifact.target.kind.first() {
        Some(TargetKind::Lib) => package.name.to_string(),
        Some(TargetKind::Bin) => format!("{} (bin {})", package.name, artifact.target.name),
        _ => format!("{} ({})", package.name, artifact.target.name),
    };
    let folder = package.manifest_path.parent()?.to_path_buf().into_std_path_buf();
    Some(TestProgram { package: package.name.to_string(), label, file: file.into_std_path_buf(), folder })
}
