use clap::Parser;
use doorward::cli::Cli;
use doorward::terminal::story;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Every TLS configuration names its provider; this is for libraries that would ask for the default one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("doorward: {}", story(&error));
            ExitCode::FAILURE
        }
    }
}
