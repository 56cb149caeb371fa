//! Starts test programs and reads what they say at the end.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::build::{Built, TestProgram};
use super::suites::{Suite, Tests};
use crate::process::{cargo, is_ci, program};

/// In CI a test program that hangs is ended, so that the others are still heard.
const LIMIT_SECONDS: &str = "1200";

/// How long the output may stay open after the test program has ended.
const LINGER: Duration = Duration::from_secs(5);

/// How one test program, or the examples of all documentation, went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) suite: &'static str,
    pub(crate) label: String,
    /// The lines `test result: …`, as printed.
    pub(crate) closing: Vec<String>,
    pub(crate) counts: Counts,
    pub(crate) succeeded: bool,
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
    fn parse(closing: &str) -> Self {
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
    let mut outcomes = Vec::new();
    for test in built.programs.iter().filter(|test| suite.has(&test.package)) {
        println!("\n-- {}", test.label);
        let mut command = limited(test.file.as_os_str());
        command.args(threads(suite, options)).args(options);
        as_cargo_would(&mut command, test, built);
        outcomes.push(listen(command, suite.name, &test.label)?);
    }
    if matches!(suite.tests, Tests::Rest) {
        println!("\n-- examples in the documentation");
        let mut command = cargo(["test", "--workspace", "--doc", "--locked", "--no-fail-fast", "--"]);
        command.args(options);
        outcomes.push(listen(command, suite.name, "documentation")?);
    }
    Ok(outcomes)
}

fn limited(file: &OsStr) -> Command {
    if !is_ci() {
        return program(file);
    }
    let mut command = program("timeout");
    command.args(["--kill-after=10", LIMIT_SECONDS]).arg(file);
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

fn listen(mut command: Command, suite: &'static str, label: &str) -> Result<Outcome> {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {label}"))?;
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let (sender, receiver) = channel();
    thread::spawn(move || {
        if let Err(error) = pass_on(BufReader::new(stdout), std::io::stdout(), &sender) {
            eprintln!("cannot pass on the output: {error}");
        }
    });
    let status = child.wait()?;
    let (closing, is_closed) = collect(&receiver, LINGER);
    let counts = closing.iter().map(|line| Counts::parse(line)).fold(Counts::default(), Counts::plus);
    let label = format!("{label}{}", remark(status, is_closed));
    Ok(Outcome { suite, label, closing, counts, succeeded: status.success() && is_closed, took: start.elapsed() })
}

fn remark(status: ExitStatus, is_closed: bool) -> String {
    // What timeout(1) answers when it had to end the program.
    if is_ci() && matches!(status.code(), Some(124 | 137)) {
        return format!(", ended after {LIMIT_SECONDS} s");
    }
    if is_closed { String::new() } else { ", which left processes behind".to_owned() }
}

/// Copies everything; tells the closing lines.
fn pass_on(mut from: impl BufRead, mut to: impl Write, closing: &Sender<String>) -> std::io::Result<()> {
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        let text = String::from_utf8_lossy(&line);
        if let Some(at) = text.find("test result: ") {
            // Nobody listens any more once the program is judged.
            let _ = closing.send(text[at..].trim_end().to_owned());
        }
        line.clear();
    }
    Ok(())
}

/// The closing lines, and whether the output came to its end: a process that a test forgot keeps it open.
fn collect(lines: &Receiver<String>, linger: Duration) -> (Vec<String>, bool) {
    let mut closing = Vec::new();
    loop {
        match lines.recv_timeout(linger) {
            Ok(line) => closing.push(line),
            Err(RecvTimeoutError::Disconnected) => return (closing, true),
            Err(RecvTimeoutError::Timeout) => return (closing, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "test result: ok. 12 passed; 1 failed; 3 ignored; 0 measured; 4 filtered out; finished in 0.51s";

    #[test]
    fn a_closing_line_is_counted() {
        assert_eq!(Counts::parse(LINE), Counts { passed: 12, failed: 1, ignored: 3 });
    }

    #[test]
    fn closing_lines_are_kept_even_behind_output_without_a_newline() {
        let output = format!("running 1 test\n\u{fffd}noise{LINE}\n\n{LINE}\n");
        let (sender, receiver) = channel();
        let mut copy = Vec::new();
        pass_on(output.as_bytes(), &mut copy, &sender).unwrap();
        drop(sender);
        assert_eq!(collect(&receiver, LINGER), (vec![LINE.to_owned(), LINE.to_owned()], true));
        assert_eq!(copy, output.as_bytes());
    }

    #[test]
    fn output_that_stays_open_is_not_waited_for() {
        let (_forgotten_process, receiver) = channel();
        assert_eq!(collect(&receiver, Duration::ZERO), (vec![], false));
    }

    #[test]
    fn the_caller_may_choose_the_number_of_threads() {
        let world = super::super::suites::SUITES.iter().find(|suite| suite.name == "world").unwrap();
        assert_eq!(threads(world, &[]).unwrap(), "--test-threads=2");
        assert_eq!(threads(world, &["--test-threads=1".to_owned()]), None);
    }
}
