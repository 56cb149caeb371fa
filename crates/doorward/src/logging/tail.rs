//! The end of the log, kept for whoever looks after the device from elsewhere.

use doorward_agent::LogTail;
use std::io::{self, Write};
use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, fmt};

/// As text, whatever the log itself is written in.
pub(super) fn layer<S>(tail: LogTail) -> impl Layer<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let writer = move || Writer(tail.clone());
    fmt::layer().with_writer(writer).with_ansi(false).with_target(false).compact()
}

struct Writer(LogTail);

/// tracing hands over a line at a time.
impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::level_filters::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn the_tail_has_each_line_as_text_and_none_of_those_that_may_name_people() {
        let tail = LogTail::default();
        let kept = layer(tail.clone()).with_filter(LevelFilter::INFO);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(kept), || {
            tracing::info!(carrier = "quic", "connected");
            tracing::debug!(visitor = "192.0.2.7", "a visit begins");
            tracing::warn!("the link ended");
        });
        let lines = tail.last(10);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].contains("INFO connected carrier=\"quic\"") || lines[0].contains("connected carrier"),
            "{lines:?}"
        );
        assert!(lines[1].contains("WARN") && lines[1].contains("the link ended"), "{lines:?}");
    }
}
