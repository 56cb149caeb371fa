use clap::Parser;
use doorward::cli::Cli;
use doorward::terminal::story;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    // Every TLS configuration names its provider; this is for libraries that would ask for the default one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("doorward: {}", story(&error));
            ExitCode::FAILURE
        }
    }
}
