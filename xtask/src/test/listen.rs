//! Hears a test program out: passes on what it says, keeps how it ended.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::run::{Counts, LIMIT, Outcome};
use crate::process::is_ci;

/// How long the output may stay open after the test program has ended.
const LINGER: Duration = Duration::from_secs(5);

/// What a program said last.
type LastLines = Arc<Mutex<VecDeque<String>>>;

const LAST_LINES: usize = 15;

pub(super) fn listen(command: Command, suite: &'static str, label: &str) -> Result<Outcome> {
    hear_out(command, suite, label, std::io::stdout(), std::io::stderr())
}

/// Keeps what it says for later.
pub(super) fn listen_quietly(command: Command, suite: &'static str, label: &str) -> Result<(Outcome, Vec<u8>)> {
    let said = Said::default();
    let outcome = hear_out(command, suite, label, said.clone(), said.clone())?;
    let said = std::mem::take(&mut *said.0.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((outcome, said))
}

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn hear_out(
    mut command: Command,
    suite: &'static str,
    label: &str,
    out: impl Write + Send + 'static,
    err: impl Write + Send + 'static,
) -> Result<Outcome> {
    let start = Instant::now();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {label}"))?;
    let (sender, receiver) = channel();
    let (said, complained) = (LastLines::default(), LastLines::default());
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let stderr = child.stderr.take().expect("stderr is a pipe");
    follow(stderr, err, complained.clone(), sender.clone());
    follow(stdout, out, said.clone(), sender);
    let status = child.wait()?;
    let took = start.elapsed();
    let (Told { closing, failed }, is_closed) = collect(&receiver, LINGER);
    let counts = closing.iter().map(|line| Counts::parse(line)).fold(Counts::default(), Counts::plus);
    let death = (closing.is_empty() && !status.success()).then(|| death(status, &said, &complained));
    let label = format!("{label}{}", remark(status, took, is_closed));
    let succeeded = status.success() && is_closed;
    // With processes left behind, more went wrong than these.
    let failed = if is_closed { failed } else { Vec::new() };
    Ok(Outcome { suite, label, closing, counts, failed, unsteady: Vec::new(), succeeded, death, took })
}

fn follow(from: impl Read + Send + 'static, to: impl Write + Send + 'static, last: LastLines, told: Sender<Telling>) {
    thread::spawn(move || {
        if let Err(error) = pass_on(BufReader::new(from), to, &last, &told) {
            eprintln!("cannot pass on the output: {error}");
        }
    });
}

/// How it ended, and what it said before.
fn death(status: ExitStatus, said: &LastLines, complained: &LastLines) -> String {
    let mut text = format!("which died without a result ({status})");
    for (stream, last) in [("stdout", said), ("stderr", complained)] {
        let last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if !last.is_empty() {
            text.push_str(&format!("\n  last on {stream}:"));
            last.iter().for_each(|line| text.push_str(&format!("\n    | {line}")));
        }
    }
    text
}

fn remark(status: ExitStatus, took: Duration, is_closed: bool) -> String {
    // timeout(1) ended the program.
    if is_ci() && !status.success() && took >= LIMIT {
        return format!(", ended after {} s", LIMIT.as_secs());
    }
    if is_closed { String::new() } else { ", which left processes behind".to_owned() }
}

/// What is picked out of the output.
#[derive(Debug, PartialEq, Eq)]
enum Telling {
    /// The line `test result: …`.
    Closing(String),
    /// The names that stand before it, of tests that failed.
    Failed(Vec<String>),
}

/// Copies everything; keeps the last lines, tells the closing ones.
fn pass_on(
    mut from: impl BufRead,
    mut to: impl Write,
    last: &LastLines,
    told: &Sender<Telling>,
) -> std::io::Result<()> {
    let mut line = Vec::new();
    let mut names = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        // Nobody listens any more once the program is judged.
        if text == "failures:" {
            // The first such line stands above what they said, the second above their names.
            names.clear();
        } else if let Some(name) = text.strip_prefix("    ").filter(|name| !name.contains(char::is_whitespace)) {
            names.push(name.to_owned());
        } else if let Some(at) = text.find("test result: ") {
            if text[at..].contains("FAILED") {
                let _ = told.send(Telling::Failed(std::mem::take(&mut names)));
            }
            let _ = told.send(Telling::Closing(text[at..].to_owned()));
        }
        if !text.is_empty() {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            last.push_back(text.to_owned());
            if last.len() > LAST_LINES {
                last.pop_front();
            }
        }
        line.clear();
    }
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    closing: Vec<String>,
    failed: Vec<String>,
}

/// All that was told, and whether the output came to its end: a process that a test forgot keeps it open.
fn collect(tellings: &Receiver<Telling>, linger: Duration) -> (Told, bool) {
    let mut told = Told::default();
    loop {
        match tellings.recv_timeout(linger) {
            Ok(Telling::Closing(line)) => told.closing.push(line),
            Ok(Telling::Failed(names)) => told.failed.extend(names),
            Err(RecvTimeoutError::Disconnected) => return (told, true),
            Err(RecvTimeoutError::Timeout) => return (told, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "test result: ok. 12 passed; 1 failed; 3 ignored; 0 measured; 4 filtered out; finished in 0.51s";

    fn shell(script: &str) -> Outcome {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        // Whoever runs these tests looks for closing lines, too: theirs stay here.
        hear_out(command, "lab", "doorward-lab (links)", std::io::sink(), std::io::sink()).unwrap()
    }

    #[test]
    fn closing_lines_are_kept_even_behind_output_without_a_newline() {
        let output = format!("running 1 test\n\u{fffd}noise{LINE}\n\n{LINE}\n");
        let (sender, receiver) = channel();
        let mut copy = Vec::new();
        pass_on(output.as_bytes(), &mut copy, &LastLines::default(), &sender).unwrap();
        drop(sender);
        let told = Told { closing: vec![LINE.to_owned(), LINE.to_owned()], failed: vec![] };
        assert_eq!(collect(&receiver, LINGER), (told, true));
        assert_eq!(copy, output.as_bytes());
    }

    #[test]
    fn output_that_stays_open_is_not_waited_for() {
        let (_forgotten_process, receiver) = channel();
        assert_eq!(collect(&receiver, Duration::ZERO), (Told::default(), false));
    }

    #[test]
    fn a_program_that_dies_is_told_with_its_signal_and_its_last_words() {
        let outcome = shell("seq 100; echo 'test one ... ok'; echo 'fatal: the stack is full' >&2; kill -SEGV $$");
        let death = outcome.death.unwrap();
        assert!(death.contains("signal: 11 (SIGSEGV"), "{death}");
        assert!(
            death.contains("\n    | test one ... ok") && death.contains("\n    | fatal: the stack is full"),
            "{death}"
        );
        assert!(death.contains("| 100") && !death.contains("| 50\n"), "the last lines only: {death}");
        assert!(!outcome.succeeded);
    }

    #[test]
    fn a_program_that_leaves_early_is_told_with_its_exit_code() {
        assert!(shell("exit 42").death.unwrap().contains("exit status: 42"));
    }

    #[test]
    fn failed_tests_are_told_by_name_and_what_they_said_is_not_taken_for_names() {
        let line = LINE.replace("ok.", "FAILED.");
        let said = "failures:\n\n---- a::one stdout ----\n    trap\nError: no\n\nfailures:\n    a::one\n    a::two\n\n";
        let outcome = shell(&format!("printf '{}'; echo '{line}'; exit 101", said.replace('\n', "\\n")));
        assert_eq!(outcome.failed, ["a::one", "a::two"]);
    }

    #[test]
    fn failing_tests_are_no_death() {
        let outcome = shell(&format!("echo '{LINE}'; exit 101"));
        assert_eq!((outcome.death, outcome.succeeded), (None, false));
        assert_eq!(outcome.counts, Counts { passed: 12, failed: 1, ignored: 3 });
    }
}
