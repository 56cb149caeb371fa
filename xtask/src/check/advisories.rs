//! Known vulnerabilities: what is compiled, against a checkout of the RustSec advisory database. Its files are
//! Markdown with TOML in front: `crates/<name>/RUSTSEC-<year>-<number>.md`.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cargo_metadata::semver::{Version, VersionReq};
use serde::Deserialize;

use super::deny::{Advisories, Deny, Unmaintained};
use super::graph::{self, Package};
use super::report::Report;

const DATABASE: &str = "DOORWARD_ADVISORY_DB";

#[derive(Debug, Deserialize)]
struct Advisory {
    advisory: Head,
    versions: Versions,
}

#[derive(Debug, Deserialize)]
struct Head {
    id: String,
    package: String,
    /// Absent for a vulnerability; else `unmaintained`, `unsound` or `notice`.
    informational: Option<String>,
    withdrawn: Option<toml::Value>,
}

#[derive(Debug, Deserialize)]
struct Versions {
    patched: Vec<VersionReq>,
    #[serde(default)]
    unaffected: Vec<VersionReq>,
}

/// Where the database lies, if we were told.
pub(crate) fn database() -> Option<PathBuf> {
    env::var_os(DATABASE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

pub(crate) fn check() -> Result<()> {
    let Some(database) = database() else {
        println!("{DATABASE} names no checkout of the RustSec database: this step has looked at nothing");
        return Ok(());
    };
    let deny = Deny::read()?;
    let mut report = Report::default();
    let advisories = load(&database, &graph::compiled(&deny)?)?;
    judge(&advisories, &deny.advisories, &mut report);
    report.finish()
}

/// The advisories about the packages, each with the package it is about.
fn load(database: &Path, packages: &[Package]) -> Result<Vec<(Advisory, String, bool)>> {
    let folder = database.join("crates");
    let count = std::fs::read_dir(&folder).with_context(|| format!("{DATABASE}: {}", folder.display()))?.count();
    ensure!(count > 0, "{DATABASE}: {} is empty", folder.display());
    println!("{} packages against the advisories of {count} crates", packages.len());
    let mut found = Vec::new();
    for package in packages {
        for advisory in about(&folder.join(&package.name))? {
            if affects(&advisory, &package.version) {
                found.push((advisory, package.version.to_string(), package.is_direct));
            }
        }
    }
    Ok(found)
}

fn about(folder: &Path) -> Result<Vec<Advisory>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(&path)?;
            found.push(parse(&text).with_context(|| path.display().to_string())?);
        }
    }
    Ok(found)
}

fn parse(text: &str) -> Result<Advisory> {
    let front = text.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("\n```"));
    let (front, _) = front.context("no TOML in front")?;
    Ok(toml::from_str(front)?)
}

/// A pre-release matches a requirement only where semver lets it: rather one finding too many.
fn affects(advisory: &Advisory, version: &Version) -> bool {
    let Versions { patched, unaffected } = &advisory.versions;
    advisory.advisory.withdrawn.is_none() && !patched.iter().chain(unaffected).any(|safe| safe.matches(version))
}

fn judge(found: &[(Advisory, String, bool)], rules: &Advisories, report: &mut Report) {
    for (Advisory { advisory, .. }, version, is_direct) in found {
        let kind = advisory.informational.as_deref().unwrap_or("vulnerability");
        let text = format!("{}: {} {version} ({kind})", advisory.id, advisory.package);
        if let Some(ignored) = rules.ignore.iter().find(|ignored| ignored.id == advisory.id) {
            report.note(format!("{text}, ignored: {}", ignored.reason));
        } else if kind == "notice" || (kind == "unmaintained" && !counts(rules.unmaintained, *is_direct)) {
            report.note(text);
        } else {
            report.problem(text);
        }
    }
    for ignored in &rules.ignore {
        if !found.iter().any(|(advisory, ..)| advisory.advisory.id == ignored.id) {
            report.note(format!("{} is ignored in deny.toml and concerns nothing here", ignored.id));
        }
    }
}

fn counts(unmaintained: Unmaintained, is_direct: bool) -> bool {
    match unmaintained {
        Unmaintained::All => true,
        Unmaintained::Workspace => is_direct,
    }
}

#[cfg(test)]
mod tests {
    use super::super::deny::Ignore;
    use super::*;

    const TEXT: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2020-0001\"\npackage = \"x\"\ndate = \"2020-01-01\"\n\n\
                        [versions]\npatched = [\">= 1.2.3\"]\nunaffected = [\"< 0.9\"]\n```\n\n# Title\n";

    fn is_affected(version: &str) -> bool {
        affects(&parse(TEXT).unwrap(), &Version::parse(version).unwrap())
    }

    fn judged(kind: &str, is_direct: bool, ignore: Vec<Ignore>) -> Report {
        let text = TEXT.replace("date =", &format!("{kind}\ndate ="));
        let mut report = Report::default();
        let rules = Advisories { unmaintained: Unmaintained::Workspace, ignore };
        judge(&[(parse(&text).unwrap(), "1.0.0".into(), is_direct)], &rules, &mut report);
        report
    }

    #[test]
    fn versions_before_the_patch_are_affected() {
        assert!(is_affected("1.2.2"));
        assert!(is_affected("0.9.0"));
        assert!(!is_affected("1.2.3"));
        assert!(!is_affected("0.8.9"));
    }

    #[test]
    fn a_withdrawn_advisory_affects_nothing() {
        let text = TEXT.replace("date =", "withdrawn = \"2021-01-01\"\ndate =");
        assert!(!affects(&parse(&text).unwrap(), &Version::new(1, 0, 0)));
    }

    #[test]
    fn a_vulnerability_is_a_problem_unless_ignored_with_a_reason() {
        assert_eq!(judged("", false, vec![]).problems(), ["RUSTSEC-2020-0001: x 1.0.0 (vulnerability)"]);
        let ignore = Ignore { id: "RUSTSEC-2020-0001".into(), reason: "not reachable".into() };
        assert!(judged("", false, vec![ignore]).problems().is_empty());
    }

    #[test]
    fn an_abandoned_crate_is_a_problem_where_we_name_it_ourselves() {
        assert_eq!(judged("informational = \"unmaintained\"", true, vec![]).problems().len(), 1);
        assert_eq!(judged("informational = \"unmaintained\"", false, vec![]).notes().len(), 1);
        assert_eq!(judged("informational = \"unsound\"", false, vec![]).problems().len(), 1);
    }

    #[test]
    fn an_ignore_without_effect_is_noted() {
        let ignore = Ignore { id: "RUSTSEC-1999-0001".into(), reason: "old".into() };
        assert_eq!(judged("informational = \"notice\"", false, vec![ignore]).notes().len(), 2);
    }
}
