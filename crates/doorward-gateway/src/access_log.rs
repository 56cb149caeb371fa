//! What the lines of the access log have in common. Their target is written out at each of them, since it is part of
//! the callsite: `doorward::access`.

use std::net::IpAddr;
use tracing::field::{DisplayValue, display};
use tracing::{Level, enabled};

/// The visitor's address, for those who asked for more than the usual: addresses of people are told at DEBUG at most.
pub(crate) fn source(ip: IpAddr) -> Option<DisplayValue<IpAddr>> {
    enabled!(target: "doorward::access", Level::DEBUG).then(|| display(ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Layer, fmt, registry};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(levels: &str) -> String {
        let page = Page::default();
        let writer = page.clone();
        let text = fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
        let filtered = text.with_filter(levels.parse::<Targets>().unwrap());
        tracing::subscriber::with_default(registry().with(filtered), || {
            for _ in 0..2 {
                tracing::info!(target: "doorward::access", entrance = "web", source = source([192, 0, 2, 7].into()));
            }
        });
        let text = page.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_visitors_address_is_told_where_the_access_log_is_at_debug_and_nowhere_else() {
        for quiet in ["info", "info,doorward_gateway=debug", "debug,doorward::access=info"] {
            let text = logged(quiet);
            assert!(text.matches("entrance=\"web\"").count() == 2 && !text.contains("192.0.2.7"), "{quiet}: {text}");
        }
        for loud in ["debug", "info,doorward::access=debug"] {
            let text = logged(loud);
            assert_eq!(text.matches("entrance=\"web\" source=192.0.2.7").count(), 2, "{loud}: {text}");
        }
    }
}
