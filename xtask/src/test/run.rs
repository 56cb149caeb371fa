//! Starts the test programs of a suite.

use std::ffi::OsStr;
use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::build::{Built, TestProgram};
use super::listen::{listen, listen_quietly};
use super::suites::{Suite, Tests};
use crate::process::{cargo, is_ci, program};

/// In CI a test program that hangs is ended, so that the others are still heard.
pub(super) const LIMIT: Duration = Duration::from_secs(1200);

/// How one test program, or the examples of all documentation, went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) suite: &'static str,
    pub(crate) label: String,
    /// The lines `test result: …`, as printed.
    pub(crate) closing: Vec<String>,
    pub(crate) counts: Counts,
    /// The names of the tests that failed.
    pub(crate) failed: Vec<String>,
    /// The names of those that failed beside others and passed alone.
    pub(crate) unsteady: Vec<String>,
    pub(crate) succeeded: bool,
    /// How it ended, with its last words, where it died without a closing line.
    pub(crate) death: Option<String>,
    pub(crate) took: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
}

impl Counts {
    /// From a closing line: `test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; …`.
    pub(super) fn parse(closing: &str) -> Self {
        let mut counts = Self::default();
        for part in closing.split([';', '.']) {
            let mut words = part.split_whitespace();
            let Some(number) = words.next().and_then(|word| word.parse().ok()) else { continue };
            match words.next() {
                Some("passed") => counts.passed = number,
                Some("failed") => counts.failed = number,
                Some("ignored") => counts.ignored = number,
                _ => {}
            }
        }
        counts
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            ignored: self.ignored + other.ignored,
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Runs all of the suite, also when something in it fails.
pub(crate) fn suite(suite: &Suite, built: &Built, options: &[String]) -> Result<Vec<Outcome>> {
    let programs = built.programs.iter().filter(|test| suite.has(&test.package));
    let (patient, others): (Vec<_>, Vec<_>) = programs.partition(|test| suite.patient.contains(&test.label.as_str()));
    let mut outcomes = Vec::new();
    thread::scope(|scope| {
        let mut beside = Vec::new();
        for test in patient {
            let listening = move || listen_beside(command(suite, test, built, options), suite.name, test);
            beside.push((test, scope.spawn(listening)));
        }
        for test in others {
            println!("\n-- {}", test.label);
            let outcome = listen(command(suite, test, built, options), suite.name, &test.label)?;
            outcomes.push(heard_again(outcome, suite, test, built)?);
        }
        for (test, running) in beside {
            let outcome = running.join().map_err(|_| anyhow!("a test program was not heard out"))??;
            outcomes.push(heard_again(outcome, suite, test, built)?);
        }
        Ok::<_, anyhow::Error>(())
    })?;
    if matches!(suite.tests, Tests::Rest) {
        println!("\n-- examples in the documentation");
        let mut command = cargo(["test", "--workspace", "--doc", "--locked", "--no-fail-fast", "--"]);
        command.args(options);
        outcomes.push(listen(command, suite.name, "documentation")?);
    }
    Ok(outcomes)
}

/// More than so many failures in one program are no accident.
const ACCIDENTS: usize = 2;

/// Where networks, clocks and programs of others take part, what failed is run once more, by itself. What passes then is
/// told at the end, and is somebody's work: a race in the test or in ours (docs/decisions/0074-heard-twice.md).
fn heard_again(first: Outcome, suite: &Suite, test: &TestProgram, built: &Built) -> Result<Outcome> {
    let is_accident = (1..=ACCIDENTS).contains(&first.failed.len()) && first.failed.len() == first.counts.failed;
    if !suite.is_heard_twice || !is_accident {
        return Ok(first);
    }
    println!("\n-- {}, once more: {}", test.label, first.failed.join(", "));
    let mut options = vec!["--exact".to_owned(), "--test-threads=1".to_owned()];
    options.extend(first.failed.iter().cloned());
    let second = listen(command(suite, test, built, &options), suite.name, &test.label)?;
    Ok(first.after(second))
}

impl Outcome {
    /// What is to be said when the failed tests were run again: without exception they have to pass.
    fn after(mut self, second: Self) -> Self {
        self.took += second.took;
        if second.succeeded && second.counts == (Counts { passed: self.failed.len(), ..Counts::default() }) {
            self.unsteady = std::mem::take(&mut self.failed);
            self.counts.passed += self.counts.failed;
            self.counts.failed = 0;
            self.succeeded = true;
        }
        self
    }
}

fn command(suite: &Suite, test: &TestProgram, built: &Built, options: &[String]) -> Command {
    let mut command = limited(test.file.as_os_str());
    command.args(threads(suite, options)).args(options);
    as_cargo_would(&mut command, test, built);
    command
}

/// What it says is said when it has ended: others are being listened to meanwhile.
fn listen_beside(command: Command, suite: &'static str, test: &TestProgram) -> Result<Outcome> {
    let (outcome, said) = listen_quietly(command, suite, &test.label)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n-- {}, beside the others", test.label)?;
    out.write_all(&said)?;
    Ok(outcome)
}

fn limited(file: &OsStr) -> Command {
    if !is_ci() {
        return program(file);
    }
    let mut command = program("timeout");
    command.arg("--kill-after=10").arg(LIMIT.as_secs().to_string()).arg(file);
    command
}

fn as_cargo_would(command: &mut Command, test: &TestProgram, built: &Built) {
    command.current_dir(&test.folder);
    command.env("CARGO_MANIFEST_DIR", &test.folder);
    command.env("CARGO_MANIFEST_PATH", test.folder.join("Cargo.toml"));
    command.env("CARGO_PKG_NAME", &test.package);
    command.env("DOORWARD_BIN", &built.doorward);
}

/// The suite's number of threads, unless the caller says another: libtest refuses to hear it twice.
fn threads(suite: &Suite, options: &[String]) -> Option<String> {
    let is_told = options.iter().any(|option| option.starts_with("--test-threads"));
    suite.threads.filter(|_| !is_told).map(|count| format!("--test-threads={count}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "test result: ok. 12 passed; 1 failed; 3 ignored; 0 measured; 4 filtered out; finished in 0.51s";

    #[test]
    fn a_closing_line_is_counted() {
        assert_eq!(Counts::parse(LINE), Counts { passed: 12, failed: 1, ignored: 3 });
    }

    fn outcome(passed: usize, failed: &[&str]) -> Outcome {
        Outcome {
            suite: "lab",
            label: "doorward-lab".to_owned(),
            closing: vec![],
            counts: Counts { passed, failed: failed.len(), ignored: 0 },
            failed: failed.iter().map(|name| (*name).to_owned()).collect(),
            unsteady: vec![],
            succeeded: failed.is_empty(),
            death: None,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn what_passes_alone_is_unsteady_and_what_fails_again_has_failed() {
        let mended = outcome(7, &["a", "b"]).after(outcome(2, &[]));
        assert!(mended.succeeded && mended.failed.is_empty());
        assert_eq!((mended.unsteady.len(), mended.counts.passed, mended.counts.failed), (2, 9, 0));
        for second in [outcome(1, &["b"]), outcome(1, &[]), outcome(0, &[])] {
            let broken = outcome(7, &["a", "b"]).after(second);
            assert!(!broken.succeeded && broken.unsteady.is_empty());
            assert_eq!((broken.failed.len(), broken.counts.failed), (2, 2));
        }
    }

    #[test]
    fn the_caller_may_choose_the_number_of_threads() {
        let world = super::super::suites::SUITES.iter().find(|suite| suite.name == "world").unwrap();
        assert_eq!(threads(world, &[]).unwrap(), "--test-threads=3");
        assert_eq!(threads(world, &["--test-threads=1".to_owned()]), None);
    }
}
