//! What the pretend printer is doing: a function of how long it has been running.

use serde::Serialize;
use std::time::{Duration, Instant};

/// A print takes two minutes, then the next one begins.
const PRINT_SECONDS: f64 = 120.0;
const BED_TARGET: f64 = 60.0;
const NOZZLE_TARGET: f64 = 210.0;

#[derive(Clone, Copy, Debug)]
pub(super) struct Printer {
    started: Instant,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct State {
    /// Seconds since the start.
    pub(super) uptime: f64,
    /// Degrees Celsius.
    pub(super) bed: f64,
    pub(super) nozzle: f64,
    /// From 0 to 1.
    pub(super) progress: f64,
}

impl Printer {
    pub(super) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(super) fn state(&self) -> State {
        State::after(self.started.elapsed())
    }
}

impl State {
    pub(super) fn after(uptime: Duration) -> Self {
        let seconds = uptime.as_secs_f64();
        let round = |value: f64| (value * 10.0).round() / 10.0;
        Self {
            uptime: round(seconds),
            bed: round(BED_TARGET + 2.5 * (seconds / 9.0).sin() + 0.6 * (seconds / 2.3).sin()),
            nozzle: round(NOZZLE_TARGET + 1.8 * (seconds / 5.0).cos()),
            progress: (seconds % PRINT_SECONDS) / PRINT_SECONDS,
        }
    }
}
