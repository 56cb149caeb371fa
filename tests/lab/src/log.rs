//! An ERROR in the log fails the test in which it happens: the process ends with it, loudly.

use std::io::Write;
use std::sync::Once;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

struct Strict;

impl<S: Subscriber> Layer<S> for Strict {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            // Not by eprintln!: libtest would keep that for the report of a test that never ends.
            let _ = writeln!(std::io::stderr(), "an ERROR was logged, which no test allows: {event:?}");
            std::process::abort();
        }
    }
}

/// Once per test process. DOORWARD_LAB_LOG=1 shows the log.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = std::env::var_os("DOORWARD_LAB_LOG").map(|_| tracing_subscriber::fmt::layer().with_test_writer());
        tracing_subscriber::registry().with(Strict).with(shown).init();
    });
}
