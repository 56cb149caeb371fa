use clap::Parser;
use doorward::cli::Cli;
use doorward::terminal::story;
use std::process::ExitCode;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    // Every TLS configuration names its provider; this is for libraries that would ask for the default one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failure(&error.into()),
    };
    let outcome = runtime.block_on(Cli::parse().run());
    // Look-ups of names that no server answers cannot be called off; nobody waits for them here.
    runtime.shutdown_background();
    outcome.map_or_else(|error| failure(&error), |()| ExitCode::SUCCESS)
}

fn failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("doorward: {}", story(error));
    ExitCode::FAILURE
}
