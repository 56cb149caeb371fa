//! Logs go to stderr, as text or as JSON (one object a line). Levels per part: `info`, `debug`,
//! `info,doorward_gateway=debug`.

mod lines;
mod tail;

use anyhow::Context;
use doorward_agent::LogTail;
use lines::Lines;
use std::io::IsTerminal;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// This process's log, for its end.
static LINES: OnceLock<Lines> = OnceLock::new();
/// Its last lines.
static TAIL: OnceLock<LogTail> = OnceLock::new();
/// How long the end waits for whoever reads the log.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Writes what was logged, when dropped.
#[must_use]
pub struct Logging(());

impl Drop for Logging {
    fn drop(&mut self) {
        flush();
    }
}

/// Before the process ends in a way that drops nothing.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(FLUSH_LIMIT);
    }
}

/// The last lines of this process's log that name nobody: `info` and above.
pub fn tail() -> LogTail {
    TAIL.get_or_init(LogTail::default).clone()
}

/// Starts logging for this process. `levels` that cannot be read are an error, not silence.
pub fn start(levels: &str, format: Format) -> anyhow::Result<Logging> {
    let filter = Targets::from_str(levels).map_err(|error| {
        anyhow::anyhow!("--log {levels}: {error}; write a level, as \"info\", or \"info,doorward_tunnel=debug\"")
    })?;
    let lines = Lines::into(std::io::stderr()).context("the log cannot be written")?;
    let lines = LINES.get_or_init(|| lines).clone();
    let text = fmt::layer().with_writer(move || lines.clone()).with_ansi(std::io::stderr().is_terminal());
    let layer = match format {
        Format::Text => text.with_target(false).compact().with_filter(filter.clone()).boxed(),
        Format::Json => text.json().flatten_event(true).with_filter(filter.clone()).boxed(),
    };
    let kept = tail::layer(tail()).with_filter(filter).with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(layer).with(kept).init();
    Ok(Logging(()))
}
