//! `cargo xtask test`: the one command that passes all tests on a Debian machine that has nothing but Rust.
//!
//! The whole workspace is built at once and the test programs are started from here, suite by suite. `cargo test -p`
//! for one suite after the other would choose other features for the dependencies each time, and build them again.

mod build;
mod listen;
mod run;
mod suites;
mod summary;

use anyhow::{Result, bail};

use self::run::Outcome;
use self::suites::{SUITES, Suite};
use crate::packages;
use crate::process::is_ci;

pub(crate) const ABOUT: &str = "\
installs the Debian packages the tests need, builds everything, and runs the tests

usage: cargo xtask test [suite…] [-- filter and options for the test programs]
suites, in this order: unit lab world peers replay

  cargo xtask test lab
  cargo xtask test world -- an_agent_behind_cgnat --nocapture

With CI=true, an ignored test, and a suite in which nothing ran, are failures.";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (names, options) = split(arguments);
    let suites = chosen(names)?;
    let mut needs: Vec<&str> = suites.iter().map(|suite| suite.name).collect();
    needs.push("build");
    packages::provide(&needs)?;

    let built = build::build()?;
    let mut ran = Vec::new();
    let mut outcomes = Vec::new();
    for suite in &suites {
        println!("\n== {}: {}", suite.name, suite.about);
        if let Some(absent) = suite.package().filter(|package| !built.packages.contains(*package)) {
            println!("note: the workspace has no package {absent}");
            continue;
        }
        outcomes.extend(run::suite(suite, &built, options)?);
        ran.push(suite.name);
    }
    verdict(&ran, &outcomes, options)
}

fn split(arguments: &[String]) -> (&[String], &[String]) {
    match arguments.iter().position(|word| word == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[]),
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Suite>> {
    if let Some(unknown) = names.iter().find(|name| !SUITES.iter().any(|suite| suite.name == *name)) {
        bail!("there is no suite {unknown:?}\n\n{ABOUT}");
    }
    Ok(SUITES.iter().filter(|suite| names.is_empty() || names.iter().any(|name| name == suite.name)).collect())
}

fn verdict(suites: &[&str], outcomes: &[Outcome], options: &[String]) -> Result<()> {
    print!("{}", summary::text(outcomes));
    let problems = summary::problems(suites, outcomes, is_ci(), !options.is_empty());
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_follows_the_dashes_goes_to_the_test_programs() {
        let arguments = words("lab world -- name --nocapture");
        assert_eq!(split(&arguments), (&words("lab world")[..], &words("name --nocapture")[..]));
        assert_eq!(split(&words("lab")).1.len(), 0);
    }

    #[test]
    fn suites_keep_their_order_and_unknown_ones_are_refused() {
        let names: Vec<&str> = chosen(&words("world unit")).unwrap().iter().map(|suite| suite.name).collect();
        assert_eq!(names, ["unit", "world"]);
        assert_eq!(chosen(&[]).unwrap().len(), SUITES.len());
        assert!(chosen(&words("word")).is_err());
    }
}
