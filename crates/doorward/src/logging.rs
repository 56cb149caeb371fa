//! Logs go to stderr, as text or as JSON (one object a line). Levels per part: `info`, `debug`,
//! `info,doorward_gateway=debug`.

use std::io::IsTerminal;
use std::str::FromStr;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Starts logging for this process. `levels` that cannot be read are an error, not silence.
pub fn start(levels: &str, format: Format) -> anyhow::Result<()> {
    let filter = Targets::from_str(levels).map_err(|error| {
        anyhow::anyhow!("--log {levels}: {error}; write a level, as \"info\", or \"info,doorward_tunnel=debug\"")
    })?;
    let text = || fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let layer = match format {
        Format::Text => text().with_target(false).compact().with_filter(filter).boxed(),
        Format::Json => text().json().flatten_event(true).with_filter(filter).boxed(),
    };
    tracing_subscriber::registry().with(layer).init();
    Ok(())
}
