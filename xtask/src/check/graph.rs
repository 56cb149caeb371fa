//! What is really compiled. `cargo metadata` also lists what no feature switches on (`ring?/alloc` in some crate's
//! `alloc` feature is enough to list ring); `cargo tree` resolves features as a build does, so it says which packages
//! count, and the metadata say what they are.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;
use cargo_metadata::semver::Version;

use super::deny::Deny;
use crate::process::{cargo, output, root};

#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) license: Option<String>,
    /// The oldest Rust that it says it needs.
    pub(crate) rust_version: Option<Version>,
    pub(crate) origin: Origin,
    /// Named in one of our own manifests.
    pub(crate) is_direct: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Workspace,
    DefaultRegistry,
    Git(String),
    /// Another registry, or a path outside the workspace.
    Other(String),
}

/// Every package that some build, test or build script of ours compiles for a target of deny.toml.
pub(crate) fn compiled(deny: &Deny) -> Result<Vec<Package>> {
    let mut tree = tree(&["--workspace", "--edges", "normal,build,dev"]);
    for target in &deny.graph.targets {
        tree.args(["--target", target]);
    }
    let compiled = names(&output(&mut tree)?)?;
    let metadata = MetadataCommand::new().current_dir(root()).other_options(["--locked".to_owned()]).exec()?;
    let members = metadata.workspace_packages();
    let direct: BTreeSet<&str> =
        members.iter().flat_map(|member| &member.dependencies).map(|dependency| dependency.name.as_str()).collect();
    let packages = metadata
        .packages
        .iter()
        .filter(|package| compiled.contains(&(package.name.to_string(), package.version.clone())));
    let packages = packages.map(|package| Package {
        name: package.name.to_string(),
        version: package.version.clone(),
        license: package.license.clone(),
        rust_version: package.rust_version.clone(),
        origin: origin(package.source.as_ref(), metadata.workspace_members.contains(&package.id)),
        is_direct: direct.contains(package.name.as_str()),
    });
    Ok(packages.collect())
}

/// `cargo tree`, one `name vX.Y.Z …` per line.
pub(crate) fn tree(arguments: &[&str]) -> Command {
    let mut command = cargo(["tree", "--locked", "--prefix", "none"]);
    command.args(arguments);
    command
}

pub(crate) fn names(tree: &str) -> Result<BTreeSet<(String, Version)>> {
    tree.lines().filter(|line| !line.is_empty()).map(name_and_version).collect()
}

fn name_and_version(line: &str) -> Result<(String, Version)> {
    let mut words = line.split(' ');
    let pair = words.next().zip(words.next().and_then(|version| version.strip_prefix('v')));
    let (name, version) = pair.with_context(|| format!("cargo tree printed {line:?}"))?;
    Ok((name.to_owned(), Version::parse(version)?))
}

fn origin(source: Option<&cargo_metadata::Source>, is_member: bool) -> Origin {
    match source {
        None if is_member => Origin::Workspace,
        None => Origin::Other("a path outside the workspace".to_owned()),
        Some(source) if source.is_crates_io() => Origin::DefaultRegistry,
        Some(source) if source.repr.starts_with("git+") => Origin::Git(source.repr.clone()),
        Some(source) => Origin::Other(source.repr.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_cargo_tree_is_a_name_and_a_version() {
        let tree = "serde v1.0.2\nserde_derive v1.0.2 (proc-macro) (*)\n\nxtask v0.1.0 (/x)\n";
        let names: Vec<String> = names(tree).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["serde", "serde_derive", "xtask"]);
        assert!(name_and_version("[dev-dependencies]").is_err());
    }
}
