//! The oldest Rust that will do is one number: in the workspace, in each package, in README.md; and no dependency asks
//! for a newer one.

use anyhow::{Context, Result};
use cargo_metadata::semver::Version;
use serde::Deserialize;

use super::deny::Deny;
use super::graph::{self, Origin, Package};
use super::report::Report;
use super::tree;

#[derive(Deserialize)]
struct Manifest {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    package: Common,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Common {
    rust_version: String,
}

pub(crate) fn check() -> Result<()> {
    let manifest: Manifest = toml::from_str(&tree::read("Cargo.toml".as_ref())?)?;
    let stated = manifest.workspace.package.rust_version;
    let mut report = Report::default();
    judge_packages(&graph::compiled(&Deny::read()?)?, &full(&stated)?, &mut report);
    judge_readme(&tree::read("README.md".as_ref())?, &stated, &mut report);
    report.finish()
}

fn judge_packages(packages: &[Package], stated: &Version, report: &mut Report) {
    for Package { name, version, rust_version, origin, .. } in packages {
        match (origin, rust_version) {
            (Origin::Workspace, Some(own)) if own == stated => {}
            (Origin::Workspace, _) => {
                report.problem(format!("{name}: its Cargo.toml lacks `rust-version.workspace = true`"));
            }
            (Origin::DefaultRegistry | Origin::Git(_) | Origin::Other(_), Some(needed)) if needed > stated => {
                report.problem(format!("{name} {version} needs Rust {needed}; the workspace promises {stated}"));
            }
            (Origin::DefaultRegistry | Origin::Git(_) | Origin::Other(_), _) => {}
        }
    }
}

fn judge_readme(text: &str, stated: &str, report: &mut Report) {
    if !text.contains(&format!("Rust {stated} or newer")) {
        report.problem(format!("README.md does not say \"Rust {stated} or newer\", as Cargo.toml does"));
    }
}

/// `1.95` is `1.95.0`.
fn full(stated: &str) -> Result<Version> {
    let full = if stated.matches('.').count() == 1 { format!("{stated}.0") } else { stated.to_owned() };
    Version::parse(&full).with_context(|| format!("Cargo.toml: rust-version = {stated:?} is no version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, needs: Option<&str>, origin: Origin) -> Package {
        Package {
            name: name.to_owned(),
            version: Version::new(1, 0, 0),
            license: None,
            rust_version: needs.map(|needs| full(needs).unwrap()),
            origin,
            is_direct: false,
        }
    }

    #[test]
    fn every_package_of_ours_says_the_number_and_no_dependency_says_more() {
        let packages = [
            package("ours", Some("1.95"), Origin::Workspace),
            package("forgot", None, Origin::Workspace),
            package("differs", Some("1.94"), Origin::Workspace),
            package("old", Some("1.60.1"), Origin::DefaultRegistry),
            package("silent", None, Origin::DefaultRegistry),
            package("new", Some("1.96"), Origin::DefaultRegistry),
        ];
        let mut report = Report::default();
        judge_packages(&packages, &full("1.95").unwrap(), &mut report);
        let named: Vec<_> = report.problems().iter().map(|p| p.split([' ', ':']).next().unwrap()).collect();
        assert_eq!(named, ["forgot", "differs", "new"]);
    }

    #[test]
    fn the_readme_says_the_same() {
        let mut report = Report::default();
        judge_readme("needs Rust 1.95 or newer", "1.95", &mut report);
        assert!(report.problems().is_empty());
        judge_readme("needs Rust 1.94 or newer", "1.95", &mut report);
        assert_eq!(report.problems().len(), 1);
    }
}
