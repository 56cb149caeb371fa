//! `cargo xtask <task>`: what CI runs is what people run. A new task is one file and one line in `TASKS`.

mod bench;
mod check;
mod conformance;
mod packages;
mod process;
mod test;
mod vendor;

use std::process::ExitCode;

use anyhow::{Result, bail};

struct Task {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const TASKS: &[Task] = &[
    Task { name: "bench", about: bench::ABOUT, run: bench::run },
    Task { name: "check", about: check::ABOUT, run: check::run },
    Task { name: "conformance", about: conformance::ABOUT, run: conformance::run },
    Task { name: "test", about: test::ABOUT, run: test::run },
    Task { name: "vendor", about: vendor::ABOUT, run: vendor::run },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", overview());
        return Ok(());
    };
    if ["help", "--help", "-h"].contains(&name.as_str()) {
        print!("{}", overview());
        return Ok(());
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        bail!("there is no task {name:?}\n\n{}", overview());
    };
    if rest.iter().take_while(|word| *word != "--").any(|word| word == "--help" || word == "-h") {
        println!("{}", task.about);
        return Ok(());
    }
    (task.run)(rest)
}

fn overview() -> String {
    let mut text = String::from("usage: cargo xtask <task> [--help]\n\n");
    for task in TASKS {
        let first = task.about.lines().next().unwrap_or_default();
        text.push_str(&format!("  {:<12} {first}\n", task.name));
    }
    text
}
