//! Caps on frames and bytes per second, for one camera or one viewer. The caller has the clock.
//!
//! Whoever may not send yet waits and then takes the newest frame: what is over the cap is never sent, and nothing is
//! sent late.

use std::time::{Duration, Instant};

/// No cap makes frames rarer.
const RAREST: Duration = Duration::from_secs(3600);

/// Nothing said is no cap.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Caps {
    /// Below one for thumbnails: 0.2 is a frame in five seconds.
    pub frames_per_second: Option<f64>,
    pub kilobits_per_second: Option<u32>,
}

impl Caps {
    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let frames = [self.frames_per_second, other.frames_per_second];
        let kilobits = [self.kilobits_per_second, other.kilobits_per_second];
        Self {
            frames_per_second: frames.into_iter().flatten().reduce(f64::min),
            kilobits_per_second: kilobits.into_iter().flatten().min(),
        }
    }

    /// Each holds for itself, whoever asks for more gets it: what a camera is read with for all its viewers.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            frames_per_second: self.frames_per_second.zip(other.frames_per_second).map(|(a, b)| a.max(b)),
            kilobits_per_second: self.kilobits_per_second.zip(other.kilobits_per_second).map(|(a, b)| a.max(b)),
        }
    }

    fn interval(&self) -> Duration {
        let rate = self.frames_per_second.filter(|rate| *rate > 0.0);
        rate.map_or(Duration::ZERO, |rate| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(RAREST).min(RAREST))
    }

    fn time_for(&self, bytes: usize) -> Duration {
        let Some(kilobits) = self.kilobits_per_second else { return Duration::ZERO };
        // A kilobit per second is a bit per millisecond.
        Duration::from_micros((bytes as u64).saturating_mul(8000) / u64::from(kilobits.max(1))).min(RAREST)
    }
}

/// When the next frame may be sent.
#[derive(Debug, Clone)]
pub struct Pace {
    caps: Caps,
    next_frame: Instant,
    /// When what was sent is worked off.
    worked_off: Instant,
}

impl Pace {
    pub fn new(caps: Caps, now: Instant) -> Self {
        Self { caps, next_frame: now, worked_off: now }
    }

    pub fn caps(&self) -> Caps {
        self.caps
    }

    /// From now on. What was sent before counts by the old ones, no longer than a frame by the new ones would.
    pub fn change(&mut self, caps: Caps, now: Instant) {
        self.caps = caps;
        self.next_frame = self.next_frame.min(now + caps.interval());
        if caps.kilobits_per_second.is_none() {
            self.worked_off = now;
        }
    }

    /// How long to wait before the newest frame is taken and sent.
    pub fn wait(&self, now: Instant) -> Duration {
        self.next_frame.max(self.worked_off).saturating_duration_since(now)
    }

    /// A frame of so many bytes was sent.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        let interval = self.caps.interval();
        // Frames come when they come: one that is late by less than an interval does not delay those after it.
        self.next_frame = (self.next_frame + interval).max(now);
        self.worked_off = self.worked_off.max(now) + self.caps.time_for(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(frames: f64, kilobits: u32) -> Caps {
        Caps {
            frames_per_second: (frames > 0.0).then_some(frames),
            kilobits_per_second: (kilobits > 0).then_some(kilobits),
        }
    }

    /// Frames and bytes sent in a minute of a camera that has a frame each `every` ms.
    fn minute(caps: Caps, every: u64, bytes: usize) -> (u64, usize) {
        let start = Instant::now();
        let mut pace = Pace::new(caps, start);
        let (mut frames, mut last_sent) = (0, None);
        for milliseconds in 0..60_000 {
            let now = start + Duration::from_millis(milliseconds);
            let newest = milliseconds / every;
            if pace.wait(now).is_zero() && last_sent != Some(newest) {
                pace.sent(bytes, now);
                (frames, last_sent) = (frames + 1, Some(newest));
            }
        }
        (frames, frames as usize * bytes)
    }

    #[test]
    fn caps_are_used_and_kept() {
        // 15 frames a second of 50 kB are 6000 kbit/s.
        let table = [
            (caps(0.0, 0), 66, 910),
            (caps(10.0, 0), 66, 600),
            (caps(30.0, 0), 66, 910),
            (caps(0.2, 0), 66, 12),
            (caps(0.0, 2000), 66, 300),
            (caps(0.0, 100_000), 66, 910),
            (caps(2.0, 2000), 66, 120),
            (caps(10.0, 1000), 66, 150),
        ];
        for (caps, every, expected) in table {
            let (frames, _) = minute(caps, every, 50_000);
            assert!(frames.abs_diff(expected) <= 2, "{caps:?}: {frames} frames instead of {expected}");
        }
    }

    #[test]
    fn a_frame_larger_than_a_seconds_allowance_is_sent_and_worked_off() {
        let start = Instant::now();
        let mut pace = Pace::new(caps(0.0, 800), start);
        pace.sent(1_000_000, start);
        assert_eq!(pace.wait(start), Duration::from_secs(10));
        assert_eq!(pace.wait(start + Duration::from_secs(10)), Duration::ZERO);
    }

    #[test]
    fn silence_saves_nothing_up() {
        let start = Instant::now();
        let later = start + Duration::from_secs(100);
        let mut pace = Pace::new(caps(10.0, 800), start);
        pace.sent(10_000, later);
        pace.sent(10_000, later);
        assert_eq!(pace.wait(later), Duration::from_millis(200));
    }

    #[test]
    fn new_caps_count_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(caps(0.01, 8), start);
        pace.sent(100_000, start);
        assert_eq!(pace.wait(start), Duration::from_secs(100));
        pace.change(caps(10.0, 0), start);
        assert_eq!(pace.wait(start), Duration::from_millis(100));
        assert_eq!(pace.caps(), caps(10.0, 0));
    }

    #[test]
    fn caps_join_to_the_stricter_for_one_and_to_the_looser_for_all() {
        let table = [
            (caps(5.0, 100), caps(2.0, 300), caps(2.0, 100), caps(5.0, 300)),
            (caps(5.0, 0), caps(0.0, 300), caps(5.0, 300), caps(0.0, 0)),
            (caps(0.0, 0), caps(0.0, 0), caps(0.0, 0), caps(0.0, 0)),
        ];
        for (a, b, both, either) in table {
            assert_eq!((a.and(b), b.and(a)), (both, both));
            assert_eq!((a.or(b), b.or(a)), (either, either));
        }
    }

    #[test]
    fn nonsense_as_a_cap_neither_stops_nor_breaks_anything() {
        for rate in [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MIN_POSITIVE] {
            let start = Instant::now();
            let mut pace = Pace::new(Caps { frames_per_second: Some(rate), kilobits_per_second: Some(0) }, start);
            assert_eq!(pace.wait(start), Duration::ZERO, "{rate}");
            (0..3).for_each(|_| pace.sent(usize::MAX / 16, start));
            pace.change(Caps { frames_per_second: Some(rate), kilobits_per_second: None }, start);
        }
    }
}
