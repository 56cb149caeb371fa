//! Signs of life of the other end, counted from wherever they show.

use doorward_core::site::Carrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts what was heard from the peer. Anything counts: on a busy line the answer to a ping may stand behind
/// seconds of somebody's download.
#[derive(Debug, Default)]
pub(crate) struct Pulse(AtomicU64);

impl Pulse {
    pub(crate) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often an agent asks, and how long silence may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// The agent pings this often…
    pub ping_every: Duration,
    /// …and counts the link dead this long after an unanswered ping.
    pub answer_within: Duration,
    /// The gateway counts it dead after this long without a sign.
    pub silence: Duration,
    /// The agent has TCP ask this often on lanes that rest. A NAT must not forget them, or a visitor finds out.
    pub lane_keep_alive: Duration,
}

impl Rhythm {
    /// A NAT that forgot is taught anew by the next ping itself. One exchange is 123 bytes, IPv4 headers included.
    const QUIC: Self = Self {
        ping_every: Duration::from_millis(9500),
        answer_within: Duration::from_secs(4),
        silence: Duration::from_secs(15),
        lane_keep_alive: Duration::from_secs(45),
    };
    /// A NAT that forgot takes most of a second of doubt and a new link after the ping, so that comes earlier: service is back
    /// within ten seconds. One exchange is 208 bytes, a third of them TCP's acknowledgements.
    const TCP: Self = Self { ping_every: Duration::from_secs(8), ..Self::QUIC };
    /// For links that are paid by the megabyte.
    const METERED: Self = Self {
        ping_every: Duration::from_secs(60),
        answer_within: Duration::from_secs(15),
        silence: Duration::from_secs(150),
        lane_keep_alive: Duration::from_secs(240),
    };

    pub fn for_link(carrier: Carrier, metered: bool) -> Self {
        match carrier {
            _ if metered => Self::METERED,
            Carrier::Quic => Self::QUIC,
            Carrier::Tls | Carrier::WebSocket | Carrier::Memory | Carrier::Ssh => Self::TCP,
        }
    }
}
