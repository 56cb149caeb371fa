//! deny.toml's licences, bans and sources over everything that is compiled.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::deny::{Bans, Deny, Licenses, Sources};
use super::graph::{self, Origin, Package};
use super::report::Report;
use super::spdx::Expression;

pub(crate) fn check() -> Result<()> {
    let deny = Deny::read()?;
    let packages = graph::compiled(&deny)?;
    println!("{} packages", packages.len());
    let mut report = Report::default();
    judge_licences(&packages, &deny.licenses, &mut report);
    judge_bans(&packages, &deny.bans, &mut report);
    judge_sources(&packages, &deny.sources, &mut report);
    report.finish()
}

fn judge_licences(packages: &[Package], rules: &Licenses, report: &mut Report) {
    let mut named = BTreeSet::new();
    for package in packages {
        let Package { name, version, .. } = package;
        let Some(text) = &package.license else {
            report.problem(format!("{name} {version} names no licence"));
            continue;
        };
        match Expression::parse(text) {
            Err(error) => report.problem(format!("{name} {version}: {error}")),
            Ok(expression) => {
                named.extend(expression.licences().into_iter().map(str::to_owned));
                if !expression.is_met_by(&allowed(name, rules)) {
                    report.problem(format!("{name} {version}: licence {text} is not allowed"));
                }
            }
        }
    }
    for licence in rules.allow.iter().filter(|licence| !named.contains(*licence)) {
        report.at(rules.unused_allowed_license, format!("licence {licence} is allowed and occurs nowhere"));
    }
    for exception in &rules.exceptions {
        if !packages.iter().any(|package| package.name == exception.name) {
            let text = format!("the licence exception for {} is not needed any more", exception.name);
            report.at(rules.unused_license_exception, text);
        }
    }
}

fn allowed(name: &str, rules: &Licenses) -> BTreeSet<String> {
    let exceptions = rules.exceptions.iter().filter(|exception| exception.name == name);
    exceptions.flat_map(|exception| &exception.allow).chain(&rules.allow).cloned().collect()
}

fn judge_bans(packages: &[Package], rules: &Bans, report: &mut Report) {
    for ban in &rules.deny {
        if packages.iter().any(|package| package.name == ban.name) {
            report.problem(format!("{} is banned: {} (see: cargo tree -i {})", ban.name, ban.reason, ban.name));
        }
    }
    let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(package.version.to_string());
    }
    let several: Vec<String> = versions
        .iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| format!("{name} {}", versions.join("+")))
        .collect();
    if !several.is_empty() {
        let text = format!("{} crates in several versions: {}", several.len(), several.join(", "));
        report.at(rules.multiple_versions, text);
    }
}

fn judge_sources(packages: &[Package], rules: &Sources, report: &mut Report) {
    for Package { name, origin, .. } in packages {
        match origin {
            Origin::Workspace | Origin::DefaultRegistry => {}
            Origin::Git(url) => report.at(rules.unknown_git, format!("{name} comes from {url}")),
            Origin::Other(place) => report.at(rules.unknown_registry, format!("{name} comes from {place}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use cargo_metadata::semver::Version;

    use super::super::deny::{Ban, Exception};
    use super::super::report::Level;
    use super::*;

    fn package(name: &str, version: &str, license: &str, origin: Origin) -> Package {
        let version = Version::parse(version).unwrap();
        Package {
            name: name.into(),
            version,
            license: Some(license.into()),
            rust_version: None,
            origin,
            is_direct: false,
        }
    }

    fn from_registry(name: &str, license: &str) -> Package {
        package(name, "1.0.0", license, Origin::DefaultRegistry)
    }

    fn licences(packages: &[Package]) -> Report {
        let exception = Exception { name: "known".into(), allow: vec!["MPL-2.0".into()] };
        let rules = Licenses {
            allow: vec!["MIT".into()],
            exceptions: vec![exception],
            unused_allowed_license: Level::Warn,
            unused_license_exception: Level::Warn,
        };
        let mut report = Report::default();
        judge_licences(packages, &rules, &mut report);
        report
    }

    #[test]
    fn an_exception_counts_for_its_crate_alone() {
        let report = licences(&[from_registry("known", "MIT AND MPL-2.0"), from_registry("other", "MPL-2.0")]);
        assert_eq!(report.problems(), ["other 1.0.0: licence MPL-2.0 is not allowed"]);
        assert!(report.notes().is_empty());
    }

    #[test]
    fn what_is_allowed_without_need_is_noted() {
        assert_eq!(licences(&[]).notes().len(), 2);
    }

    #[test]
    fn a_crate_without_a_licence_is_refused() {
        let silent = Package { license: None, ..from_registry("silent", "") };
        assert_eq!(licences(&[silent]).problems(), ["silent 1.0.0 names no licence"]);
    }

    #[test]
    fn a_banned_crate_fails_and_several_versions_are_told() {
        let ban = Ban { name: "ring".into(), reason: "because".into() };
        let rules = Bans { multiple_versions: Level::Warn, deny: vec![ban] };
        let twice = package("ring", "2.0.0", "MIT", Origin::DefaultRegistry);
        let mut report = Report::default();
        judge_bans(&[from_registry("ring", "MIT"), twice], &rules, &mut report);
        assert_eq!(report.problems(), ["ring is banned: because (see: cargo tree -i ring)"]);
        assert_eq!(report.notes(), ["1 crates in several versions: ring 1.0.0+2.0.0"]);
    }

    #[test]
    fn only_the_workspace_and_the_default_registry_are_sources() {
        let rules = Sources { unknown_registry: Level::Deny, unknown_git: Level::Deny };
        let origins = [Origin::Workspace, Origin::DefaultRegistry, Origin::Git("g".into()), Origin::Other("o".into())];
        let packages = origins.map(|origin| package("x", "1.0.0", "MIT", origin));
        let mut report = Report::default();
        judge_sources(&packages, &rules, &mut report);
        assert_eq!(report.problems(), ["x comes from g", "x comes from o"]);
    }
}
