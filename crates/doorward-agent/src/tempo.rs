//! How patient the agent is. One place, so that tests need not wait as long as life does.

use rand::RngExt;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Tempo {
    /// From a worse carrier a better one is tried for after these pauses; the last one repeats.
    pub climb: Vec<Duration>,
    /// After a refusal the gateway is left alone at least this long…
    pub refused: Duration,
    /// …and this long where only a person can help (revoked, replaced, two machines).
    pub hopeless: Duration,
    /// A link that ended within this time of standing is dialled again only after a pause that grows up to it.
    pub short_link: Duration,
    /// How long the streams of a link that a newer one replaced may finish.
    pub retire: Duration,
    /// How long streams may finish when the agent stops.
    pub drain: Duration,
    /// How often the state directory is looked at for gateways that were joined meanwhile.
    pub rescan: Duration,
    /// After a step that failed to make a service ready or to let it go; longer each time.
    pub prepare_again: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        Self {
            // The first soon: the better one may just have lost a race. A try in vain costs 7 kB.
            climb: [12, 30, 60, 120, 300, 600, 1800, 3600].map(Duration::from_secs).to_vec(),
            refused: Duration::from_secs(5),
            hopeless: Duration::from_secs(60),
            short_link: Duration::from_secs(10),
            retire: Duration::from_secs(600),
            drain: Duration::from_secs(5),
            rescan: Duration::from_secs(10),
            prepare_again: Duration::from_secs(30),
        }
    }
}

impl Tempo {
    pub(crate) fn climb_pause(&self, step: usize) -> Duration {
        let last = self.climb.last().copied().unwrap_or(Duration::from_secs(600));
        jitter(self.climb.get(step).copied().unwrap_or(last))
    }
}

/// A quarter more or less, so that a thousand agents do not come back in step.
pub(crate) fn jitter(pause: Duration) -> Duration {
    pause * rand::rng().random_range(75..=125) / 100
}
