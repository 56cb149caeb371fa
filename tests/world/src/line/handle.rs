//! The tests' side of a line: starts the program `slow-line` and talks to it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::conditions::Conditions;
use crate::faults::Fault;
use crate::line::lane::Counters;
use crate::line::pump::Direction;
use crate::node::Node;
use crate::program::{Program, built};
use crate::requirements::check_tun;

/// What waits in the kernel for `slow-line` must not be what drops packets: 500 of them by default. Set with `ip`,
/// because the ioctl is root's alone.
const KERNEL_QUEUE: u32 = 10_000;
const TO_ANSWER: Duration = Duration::from_secs(10);

/// A line between two nodes, left and right. It ends with this value.
#[derive(Clone, Debug)]
pub struct Line {
    talk: Arc<Mutex<Talk>>,
}

/// What was carried and dropped each way since the line was laid. Bytes are those of whole IP packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStats {
    pub up: Counters,
    pub down: Counters,
}

#[derive(Debug)]
struct Talk {
    program: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Line {
    /// Joins two nodes by new interfaces, which are down and without addresses at first.
    pub fn lay(left: &Node, name: &str, right: &Node, far_name: &str, conditions: &Conditions) -> Result<Line> {
        check_tun()?;
        let namespace = |node: &Node| format!("/proc/{}/ns/net", node.pid());
        let (left_end, right_end) = (format!("{}:{name}", namespace(left)), format!("{}:{far_name}", namespace(right)));
        let conditions = conditions.to_string();
        let program = Program::new(built("slow-line")?).args([&left_end, &right_end]).args(conditions.split(' '));
        let mut command = left.command_with_our_pids(&program)?;
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("slow-line")?;
        let output = program.stdout.take().context("no standard output")?;
        let (sender, answers) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        let mut talk = Talk { commands: program.stdin.take(), program, answers };
        talk.expect("ready")?;
        for (node, interface) in [(left, name), (right, far_name)] {
            node.ip_batch(&format!("link set dev {interface} txqueuelen {KERNEL_QUEUE}\n"))?;
        }
        Ok(Line { talk: Arc::new(Mutex::new(talk)) })
    }

    /// Other conditions from now on, in both directions. Packets under way keep theirs.
    pub fn set(&self, conditions: &Conditions) -> Result<()> {
        self.command(&conditions.to_string())
    }

    pub fn set_one_way(&self, direction: Direction, conditions: &Conditions) -> Result<()> {
        self.command(&match direction {
            Direction::Up => format!("up {conditions}"),
            Direction::Down => format!("down {conditions}"),
        })
    }

    /// The line loses everything, also what is under way. Interfaces stay up.
    pub fn cut(&self) -> Result<Fault> {
        self.command("cut")?;
        let line = self.clone();
        Ok(Fault::new(move || line.command("mend")))
    }

    pub fn stats(&self) -> Result<LineStats> {
        let mut talk = self.talk.lock().expect("no talker panics");
        let answer = talk.ask("stats")?;
        match *answer.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u64>>() {
            [packets, bytes, lost, overflowed, down_packets, down_bytes, down_lost, down_overflowed] => Ok(LineStats {
                up: Counters { packets, bytes, lost, overflowed },
                down: Counters {
                    packets: down_packets,
                    bytes: down_bytes,
                    lost: down_lost,
                    overflowed: down_overflowed,
                },
            }),
            _ => bail!("slow-line answered {answer:?}"),
        }
    }

    fn command(&self, command: &str) -> Result<()> {
        let mut talk = self.talk.lock().expect("no talker panics");
        match talk.ask(command)?.as_str() {
            "ok" => Ok(()),
            complaint => bail!("slow-line refused {command:?}: {complaint}"),
        }
    }
}

impl Talk {
    fn ask(&mut self, command: &str) -> Result<String> {
        let commands = self.commands.as_mut().context("slow-line has ended")?;
        writeln!(commands, "{command}")?;
        self.answers.recv_timeout(TO_ANSWER).context("slow-line does not answer")
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        let answer = self.answers.recv_timeout(TO_ANSWER).context("slow-line did not start; see its standard error")?;
        if answer == word { Ok(()) } else { bail!("slow-line said {answer:?} instead of {word:?}") }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // Its standard input closed is its end; killing is for the case that it hangs.
        drop(self.commands.take());
        let _already_gone = self.program.kill();
        let _status = self.program.wait();
    }
}
