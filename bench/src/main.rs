//! Doorward beside its peers and beside no tunnel at all. `cargo xtask bench` builds and starts it; README.md says
//! how it measures and what the figures do not say.

mod beside_sshd;
mod cameras;
mod figures;
mod http;
mod line;
mod loopback;
mod pinhole;
mod process;
mod report;
mod sample;
mod scale;
mod site;
mod subjects;
mod target;
mod visit;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use subjects::Subject;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
usage: cargo xtask bench [--rounds NUMBER] [subject…]
       cargo xtask bench line [--rounds NUMBER] [subject…]
       cargo xtask bench sshd [--rounds NUMBER] [--processors NUMBER]
       cargo xtask bench scale
       cargo xtask bench cameras [--rounds NUMBER] [subject…]
       cargo xtask bench pinhole [--rounds NUMBER]

Compares Doorward with its peers in pairs of samples; on one core over loopback, with `line` over an emulated line of
50 ms, 100 Mbit/s and some loss. `sshd` compares `ssh -R` to Doorward with the same `ssh -R` to sshd.
`scale` compares what the gateway's state costs with 100 000 sessions and 10 000 services with what it costs with few.
`cameras` counts what goes up for viewers of a camera, and how old pictures are on a thin line, beside what others do.
`pinhole` compares a pinhole of the home router, 10 000 sessions beside it, with the same forward written by hand.
subjects: doorward-quic doorward-tls rathole-tcp rathole-tls rathole-noise ssh doorward-ssh ssh-chacha20
doorward-ssh-chacha20";

const ROUNDS: usize = 5;
/// A round takes nine minutes.
const ROUNDS_OF_CAMERAS: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(&arguments)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<()> {
    // The first words are for ourselves: parts of the benchmark that are programs of their own.
    match arguments.split_first() {
        Some((word, rest)) if word == process::HELD => process::become_held(rest),
        Some((word, rest)) if word == "target" => target::run(rest.first().context(USAGE)?.parse()?).await,
        Some((word, rest)) if word == line::VISIT => line::visit(rest).await,
        Some((word, _)) if word == "scale" => scale::run().await,
        Some((word, rest)) if word == "pinhole" => pinhole::run(Wish::parse(rest)?.rounds).await,
        Some((word, rest)) if word == cameras::FILM => cameras::film(rest.first().context(USAGE)?).await,
        Some((word, rest)) if word == cameras::LOOK => cameras::look(rest).await,
        Some((word, rest)) if word == cameras::FAN_OUT => {
            let [listen, upstream] = rest else { bail!("fan-out: where, and of what?") };
            cameras::fan_out(listen, upstream).await
        }
        Some((word, rest)) if word == scale::COUNTED => scale::counted(rest).await,
        _ => {
            let wish = Wish::parse(arguments)?;
            // Dropping what runs ends what it has started.
            tokio::select! {
                done = compare(wish) => done,
                () = told_to_stop() => bail!("stopped"),
            }
        }
    }
}

async fn told_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[derive(Debug, PartialEq)]
struct Wish {
    what: What,
    rounds: Option<usize>,
    processors: usize,
    subjects: Vec<Subject>,
}

#[derive(Debug, PartialEq)]
enum What {
    Loopback,
    Line,
    BesideSshd,
    Cameras,
}

impl Wish {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut wish = Self { what: What::Loopback, rounds: None, processors: 1, subjects: Vec::new() };
        let mut words = arguments.iter();
        let number = |word: Option<&String>| word.and_then(|text| text.parse().ok()).filter(|number| *number > 0);
        while let Some(word) = words.next() {
            match word.as_str() {
                "line" => wish.what = What::Line,
                "sshd" => wish.what = What::BesideSshd,
                "cameras" => wish.what = What::Cameras,
                "--rounds" => wish.rounds = Some(number(words.next()).context("--rounds wants a number")?),
                "--processors" => wish.processors = number(words.next()).context("--processors wants a number")?,
                name => wish
                    .subjects
                    .push(Subject::named(name).with_context(|| format!("there is no subject {name:?}\n\n{USAGE}"))?),
            }
        }
        Ok(wish)
    }
}

async fn compare(wish: Wish) -> Result<()> {
    let subjects = present(&wish);
    if subjects.is_empty() {
        bail!("nothing is left to measure");
    }
    if wish.what == What::BesideSshd && subjects != beside_sshd::SUBJECTS {
        bail!("`sshd` compares just those two, and needs both");
    }
    let start = Instant::now();
    let rounds = wish.rounds.unwrap_or(ROUNDS);
    match wish.what {
        What::Line => {
            report::print_circumstances(&subjects, line::HOW)?;
            line::run(&subjects, wish.rounds.unwrap_or(1)).await
        }
        What::Cameras => {
            let rounds = wish.rounds.unwrap_or(ROUNDS_OF_CAMERAS);
            report::print_circumstances(&subjects, &format!("{}, {rounds} rounds", cameras::HOW))?;
            cameras::run(&subjects, rounds).await?;
            report::print_end(start.elapsed());
            Ok(())
        }
        What::BesideSshd => {
            let how = format!("all on {} of them, {rounds} rounds", wish.processors);
            report::print_circumstances(&subjects, &how)?;
            beside_sshd::run(rounds, wish.processors).await?;
            report::print_end(start.elapsed());
            Ok(())
        }
        What::Loopback => {
            report::print_circumstances(&subjects, &format!("all on one core, {rounds} rounds"))?;
            let figures = loopback::run(&subjects, rounds).await?;
            report::print(&figures);
            report::print_end(start.elapsed());
            Ok(())
        }
    }
}

/// The wanted subjects that are installed. The others are named.
fn present(wish: &Wish) -> Vec<Subject> {
    let usual: &[Subject] = match wish.what {
        What::Line => &line::SUBJECTS,
        What::BesideSshd => &beside_sshd::SUBJECTS,
        What::Cameras => &cameras::SUBJECTS,
        What::Loopback => &subjects::USUAL,
    };
    let wanted = if wish.subjects.is_empty() { usual } else { &wish.subjects };
    let is_present = |subject: &Subject| match subject.missing() {
        None => true,
        Some(remedy) => {
            eprintln!("{} is left out, because it is not installed. To get it: {remedy}", subject.name());
            false
        }
    };
    wanted.iter().copied().filter(is_present).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Wish> {
        Wish::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_subject_has_a_name_of_its_own() {
        let named: Vec<Subject> = subjects::ALL.iter().filter_map(|subject| Subject::named(subject.name())).collect();
        assert_eq!(named, subjects::ALL);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let wish = parse("line --rounds 3 ssh rathole-tls").unwrap();
        assert_eq!((wish.what, wish.rounds, wish.subjects.len()), (What::Line, Some(3), 2));
        assert_eq!(parse("cameras --rounds 2").unwrap().what, What::Cameras);
        let wish = parse("sshd --processors 2").unwrap();
        assert_eq!((wish.what, wish.processors), (What::BesideSshd, 2));
        for bad in ["--rounds", "--rounds x", "--rounds 0", "--processors 0", "frp", "--help"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
