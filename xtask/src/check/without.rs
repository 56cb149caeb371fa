//! What must not be compiled in: a negative table of dependencies.

use anyhow::Result;

use super::deny::Deny;
use super::graph;
use super::report::Report;
use crate::process::{cargo, output};

struct Absence {
    /// A crate of ours by itself, or all of them together.
    of: Option<&'static str>,
    absent: &'static [&'static str],
    why: &'static str,
}

const ABSENCES: &[Absence] = &[
    Absence {
        of: Some("doorward-core"),
        absent: &["async-std", "hyper", "mio", "rustix", "smol", "socket2", "sqlx", "sqlx-core", "tokio"],
        why: "core decides; it does no I/O",
    },
    Absence {
        of: Some("doorward-frames"),
        absent: &["async-std", "hyper", "mio", "rustix", "smol", "socket2", "tokio"],
        why: "frames are bytes and the time that the caller gives; it does no I/O",
    },
    Absence {
        of: None,
        absent: &["ring", "rustls-mbedcrypto-provider", "rustls-openssl", "rustls-rustcrypto", "rustls-symcrypt"],
        why: "with a second crypto provider compiled in, rustls panics at run time; ours is aws-lc-rs",
    },
];

pub(crate) fn check() -> Result<()> {
    let deny = Deny::read()?;
    let mut report = Report::default();
    for absence in ABSENCES {
        let scope = scope(absence, &deny);
        let names = graph::names(&output(&mut graph::tree(&words(&scope)))?)?;
        let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        for name in present(absence, &names) {
            report.problem(format!("{}\n{}", sentence(absence, name), way_to(name, &scope)));
        }
    }
    report.finish()
}

fn scope(absence: &Absence, deny: &Deny) -> Vec<String> {
    let mut scope = vec!["--edges".to_owned(), "normal".to_owned()];
    match absence.of {
        Some(package) => scope.extend(["--package".to_owned(), package.to_owned()]),
        None => scope.push("--workspace".to_owned()),
    }
    for target in &deny.graph.targets {
        scope.extend(["--target".to_owned(), target.clone()]);
    }
    scope
}

fn present<'a>(absence: &Absence, names: &[&'a str]) -> Vec<&'a str> {
    names.iter().copied().filter(|name| absence.absent.contains(name)).collect()
}

fn sentence(absence: &Absence, name: &str) -> String {
    format!("{} is compiled into {}: {}", name, absence.of.unwrap_or("the workspace"), absence.why)
}

/// Who pulls it in. Cargo repeats the tree for every target; one will do.
fn way_to(name: &str, scope: &[String]) -> String {
    let mut command = cargo(["tree", "--locked", "--invert", name]);
    command.args(scope);
    match output(&mut command) {
        Ok(trees) => trees.split("\n\n").next().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    }
}

fn words(scope: &[String]) -> Vec<&str> {
    scope.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_table_is_found_and_explained() {
        let core = &ABSENCES[0];
        assert_eq!(present(core, &["serde", "tokio", "jiff"]), ["tokio"]);
        assert_eq!(sentence(core, "tokio"), "tokio is compiled into doorward-core: core decides; it does no I/O");
    }

    #[test]
    fn a_similar_name_is_not_meant() {
        assert!(present(&ABSENCES[2], &["string", "ring-buffer"]).is_empty());
    }
}
