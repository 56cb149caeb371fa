//! How many frames may be on their way at once, so that a line is used and nothing waits in it.
//!
//! Whatever carries frames has buffers: the kernel's, QUIC's windows, proxies. What lies there is past. So the other end
//! says of each frame that it came, and only so many are on their way as keep the line busy: one where the line is slow,
//! more where it is long. Judged as TCP Vegas does: a frame that travelled alone tells how long the way is, and what takes
//! longer in company has waited.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const MOST: usize = 16;
/// Frames that may wait on the way.
const TOO_FEW: f64 = 0.5;
const TOO_MANY: f64 = 1.0;
/// Then the way is measured anew, by a frame alone.
const MEASURED_FOR: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Flight {
    on_their_way: VecDeque<Sent>,
    limit: usize,
    alone: Option<Measured>,
    /// It was full since the last frame was sent.
    was_full: bool,
    /// Frames sent before say nothing about the limit of now.
    changed: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    number: u32,
    at: Instant,
    /// With itself.
    company: usize,
    is_held_back: bool,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    way: Duration,
    at: Instant,
}

impl Default for Flight {
    fn default() -> Self {
        Self { on_their_way: VecDeque::new(), limit: 2, alone: None, was_full: false, changed: None }
    }
}

impl Flight {
    /// No frame is taken from the slot until somebody has shown one.
    pub fn is_full(&mut self, now: Instant) -> bool {
        let is_full = self.on_their_way.len() >= self.allowed(now);
        self.was_full |= is_full;
        is_full
    }

    pub fn on_their_way(&self) -> usize {
        self.on_their_way.len()
    }

    /// `skipped` frames were passed over before it.
    pub fn sent(&mut self, number: u32, skipped: u64, now: Instant) {
        let is_held_back = std::mem::take(&mut self.was_full) && skipped > 0;
        let company = self.on_their_way.len() + 1;
        self.on_their_way.push_back(Sent { number, at: now, company, is_held_back });
    }

    /// It and all before it came to their end. Numbers that are not on their way change nothing.
    pub fn shown(&mut self, number: u32, now: Instant) {
        let Some(at) = self.on_their_way.iter().position(|sent| sent.number == number) else { return };
        let shown = self.on_their_way[at];
        self.on_their_way.drain(..=at);
        let way = now.saturating_duration_since(shown.at);
        if shown.company == 1 {
            self.alone = Some(Measured { way, at: now });
        }
        self.judge(shown, way, now);
    }

    fn allowed(&self, now: Instant) -> usize {
        let is_old = self.alone.is_none_or(|alone| now.saturating_duration_since(alone.at) > MEASURED_FOR);
        if is_old { 1 } else { self.limit }
    }

    fn judge(&mut self, shown: Sent, way: Duration, now: Instant) {
        let Some(alone) = self.alone else { return };
        if self.changed.is_some_and(|changed| shown.at < changed) || way.is_zero() {
            return;
        }
        let waiting = shown.company as f64 * (1.0 - alone.way.as_secs_f64() / way.as_secs_f64());
        let limit = if waiting > TOO_MANY {
            self.limit - 1
        } else if waiting < TOO_FEW && shown.is_held_back && shown.company >= self.limit {
            self.limit + 1
        } else {
            return;
        };
        self.limit = limit.clamp(1, MOST);
        self.changed = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: u64 = 50_000;
    /// 15 frames a second, nearly: 6 Mbit/s.
    const EVERY: u64 = 66;

    #[derive(Clone, Copy)]
    struct Line {
        kilobits: u64,
        round_trip: u64,
    }

    /// Frames a second and the age in ms of the 95th of 100 as they come, between two seconds of a camera that is sent over
    /// a line with a buffer that never ends.
    fn watch(line: impl Fn(u64) -> Line, from: u64, to: u64) -> (f64, u64) {
        let start = Instant::now();
        let mut flight = Flight::default();
        let (mut free_at, mut last, mut answers, mut ages) = (0, None, VecDeque::new(), Vec::new());
        for now in 0..to * 1000 {
            let time = start + Duration::from_millis(now);
            while answers.front().is_some_and(|(at, _)| *at <= now) {
                let (_, number) = answers.pop_front().unwrap();
                flight.shown(number, time);
            }
            let newest = u32::try_from(now / EVERY).unwrap();
            if last == Some(newest) || flight.is_full(time) {
                continue;
            }
            let skipped = last.map_or(0, |last: u32| newest - last - 1);
            flight.sent(newest, skipped.into(), time);
            last = Some(newest);
            let Line { kilobits, round_trip } = line(now / 1000);
            free_at = now.max(free_at) + FRAME * 8 / kilobits;
            let comes = free_at + round_trip / 2;
            answers.push_back((comes + round_trip.div_ceil(2), newest));
            if comes >= from * 1000 {
                ages.push(comes - u64::from(newest) * EVERY);
            }
        }
        ages.sort_unstable();
        (ages.len() as f64 / (to - from) as f64, ages[ages.len() * 95 / 100])
    }

    #[test]
    fn a_line_is_used_and_nothing_grows_old_in_it() {
        // Against what the line could carry at most, and its way and one frame's time on it.
        let table = [
            (100_000, 2, 14.0, 60),
            (100_000, 40, 14.0, 90),
            (100_000, 300, 14.0, 250),
            (20_000, 100, 14.0, 150),
            // A third of what is needed.
            (2000, 2, 4.6, 700),
            (2000, 40, 4.6, 700),
            (2000, 300, 4.4, 1000),
            // A twentieth.
            (300, 100, 0.6, 4000),
        ];
        for (kilobits, round_trip, least, oldest) in table {
            let (frames, age) = watch(|_| Line { kilobits, round_trip }, 10, 100);
            println!("{kilobits} kbit/s, {round_trip} ms: {frames:.1} frames/s, 95 % younger than {age} ms");
            assert!(frames >= least, "{kilobits} kbit/s, {round_trip} ms: {frames} frames/s");
            assert!(age <= oldest, "{kilobits} kbit/s, {round_trip} ms: {age} ms");
        }
    }

    #[test]
    fn a_line_that_becomes_slow_and_quick_again_is_followed() {
        let line = |second| Line { kilobits: if (30..60).contains(&second) { 2000 } else { 50_000 }, round_trip: 300 };
        let (frames, age) = watch(line, 35, 60);
        assert!(frames >= 4.0 && age <= 800, "slow: {frames} frames/s, {age} ms");
        let (frames, age) = watch(line, 95, 150);
        assert!(frames >= 14.0 && age <= 250, "quick again: {frames} frames/s, {age} ms");
    }

    #[test]
    fn nothing_is_sent_until_the_first_frame_was_shown() {
        let now = Instant::now();
        let mut flight = Flight::default();
        assert!(!flight.is_full(now));
        flight.sent(1, 0, now);
        assert!(flight.is_full(now));
        // Nobody sent this one.
        flight.shown(7, now);
        assert!(flight.is_full(now));
        flight.shown(1, now + Duration::from_millis(10));
        assert!(!flight.is_full(now + Duration::from_millis(10)));
    }

    #[test]
    fn one_word_counts_for_all_before_it() {
        let now = Instant::now();
        let mut flight = Flight::default();
        (1..=3).for_each(|number| flight.sent(number, 0, now));
        flight.shown(2, now);
        assert_eq!(flight.on_their_way(), 1);
        flight.shown(1, now);
        assert_eq!(flight.on_their_way(), 1);
    }
}
