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
    let (closing, is_closed) = collect(&receiver, LINGER);
    let counts = closing.iter().map(|line| Counts::parse(line)).fold(Counts::default(), Counts::plus);
    let death = (closing.is_empty() && !status.success()).then(|| death(status, &said, &complained));
    let label = format!("{label}{}", remark(status, took, is_closed));
    Ok(Outcome { suite, label, closing, counts, succeeded: status.success() && is_closed, death, took })
}

fn follow(from: impl Read + Send + 'static, to: impl Write + Send + 'static, last: LastLines, closing: Sender<String>) {
    thread::spawn(move || {
        if let Err(error) = pass_on(BufReader::new(from), to, &last, &closing) {
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

/// Copies everything; keeps the last lines, tells the closing ones.
fn pass_on(
    mut from: impl BufRead,
    mut to: impl Write,
    last: &LastLines,
    closing: &Sender<String>,
) -> std::io::Result<()> {
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if let Some(at) = text.find("test result: ") {
            // Nobody listens any more once the program is judged.
            let _ = closing.send(text[at..].to_owned());
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
        assert_eq!(collect(&receiver, LINGER), (vec![LINE.to_owned(), LINE.to_owned()], true));
        assert_eq!(copy, output.as_bytes());
    }

    #[test]
    fn output_that_stays_open_is_not_waited_for() {
        let (_forgotten_process, receiver) = channel();
        assert_eq!(collect(&receiver, Duration::ZERO), (vec![], false));
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
    fn failing_tests_are_no_death() {
        let outcome = shell(&format!("echo '{LINE}'; exit 101"));
        assert_eq!((outcome.death, outcome.succeeded), (None, false));
        assert_eq!(outcome.counts, Counts { passed: 12, failed: 1, ignored: 3 });
    }
}
