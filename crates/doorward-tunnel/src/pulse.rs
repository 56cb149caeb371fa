//! Signs of life of the other end, counted from wherever they show.

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
}

impl Rhythm {
    pub const NORMAL: Self = Self {
        ping_every: Duration::from_secs(10),
        answer_within: Duration::from_secs(4),
        silence: Duration::from_secs(15),
    };
    /// For links that are paid by the megabyte.
    pub const METERED: Self = Self {
        ping_every: Duration::from_secs(60),
        answer_within: Duration::from_secs(15),
        silence: Duration::from_secs(150),
    };

    pub fn for_link(metered: bool) -> Self {
        if metered { Self::METERED } else { Self::NORMAL }
    }
}
