//! What became of packets. A flood is a number here, and one line a minute.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing::info;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Of another length or version.
    NoKnock,
    /// Not looked at: too many came.
    PassedOver,
    /// No key made it.
    NoKey,
    /// A copy of one that came a moment ago.
    Again,
    /// For another time, from elsewhere, or used up.
    Refused,
    /// Too many of known keys at once.
    NoRoom,
    /// It is on its way to the store.
    Known,
    Taken,
    /// The store did not take it.
    Failed,
}

#[derive(Default)]
pub(super) struct Counts([AtomicU64; Outcome::ALL.len()]);

const METRICS_EVERY: Duration = Duration::from_secs(1);
/// Of these a line is written.
const LINE_AFTER: u32 = 60;

impl Outcome {
    const ALL: [Self; 9] = [
        Self::NoKnock,
        Self::PassedOver,
        Self::NoKey,
        Self::Again,
        Self::Refused,
        Self::NoRoom,
        Self::Known,
        Self::Taken,
        Self::Failed,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::NoKnock => "no-knock",
            Self::PassedOver => "passed-over",
            Self::NoKey => "no-key",
            Self::Again => "again",
            Self::Refused => "refused",
            Self::NoRoom => "no-room",
            Self::Known => "known",
            Self::Taken => "taken",
            Self::Failed => "failed",
        }
    }

    /// That strangers can cause.
    fn is_noise(self) -> bool {
        match self {
            Self::NoKnock | Self::PassedOver | Self::NoKey => true,
            Self::Again | Self::Refused | Self::NoRoom | Self::Known | Self::Taken | Self::Failed => false,
        }
    }
}

impl Counts {
    pub(super) fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Never ends by itself.
    pub(super) async fn tell(&self) -> Infallible {
        let mut tick = tokio::time::interval(METRICS_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut noise, mut ticks) = (0_u64, 0_u32);
        loop {
            tick.tick().await;
            for (outcome, counted) in Outcome::ALL.into_iter().zip(&self.0) {
                let counted = counted.swap(0, Ordering::Relaxed);
                if counted > 0 {
                    metrics::counter!("doorward_knocks_total", "outcome" => outcome.word()).increment(counted);
                    noise += if outcome.is_noise() { counted } else { 0 };
                }
            }
            ticks += 1;
            if ticks >= LINE_AFTER && noise > 0 {
                info!(packets = noise, "packets came to the door that no key made");
                noise = 0;
            }
            ticks %= LINE_AFTER;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_own_place() {
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place, "{outcome:?}");
        }
    }
}
