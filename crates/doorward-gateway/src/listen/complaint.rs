//! Trouble that comes in floods is told now and then, with how often it happened since.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Complaint(Mutex<State>);

#[derive(Debug)]
struct State {
    told: Option<Instant>,
    times: u64,
}

const EVERY: Duration = Duration::from_secs(60);

impl Complaint {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(State { told: None, times: 0 }))
    }

    /// It happened again. `Some`: it is time to tell, and it happened so often since the last time.
    pub(crate) fn raise(&self) -> Option<u64> {
        self.raise_at(Instant::now())
    }

    fn raise_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.times += 1;
        if state.told.is_some_and(|told| now.duration_since(told) < EVERY) {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_a_minute_and_counted_whole() {
        let (complaint, start) = (Complaint::new(), Instant::now());
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let told: Vec<u64> = (0..1200).filter_map(|n| complaint.raise_at(after(n * 100))).collect();
        assert_eq!(told, [1, 600]);
        assert_eq!(complaint.raise_at(after(1_000_000)), Some(600));
    }
}
