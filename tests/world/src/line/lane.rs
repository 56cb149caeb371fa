//! One direction of a line as a plain value: packets and the time go in, due packets come out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::conditions::Conditions;

/// What may be under way on a line without a rate, so that a flood cannot fill the memory.
const MOST_UNDER_WAY: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Carried to the other end.
    pub packets: u64,
    pub bytes: u64,
    /// Lost by chance or by a cut.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub overflowed: u64,
}

/// What became of a packet that entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    UnderWay,
    Lost,
    Overflowed,
}

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) conditions: Conditions,
    pub(crate) is_cut: bool,
    pub(crate) counters: Counters,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    bytes_under_way: u64,
    /// When the last byte accepted so far will have been sent at the line's rate.
    free_at: Option<Instant>,
}

impl Lane {
    pub(crate) fn new(conditions: Conditions) -> Lane {
        Lane {
            conditions,
            is_cut: false,
            counters: Counters::default(),
            under_way: VecDeque::new(),
            bytes_under_way: 0,
            free_at: None,
        }
    }

    /// A packet enters at `now`. `chance` are two even random numbers from 0 to 1: for its loss and its jitter.
    ///
    /// As on a radio link, a packet that gets lost has used the rate before.
    pub(crate) fn enter(&mut self, packet: Vec<u8>, now: Instant, chance: [f64; 2]) -> Verdict {
        if self.is_cut {
            self.counters.lost += 1;
            return Verdict::Lost;
        }
        let Some(sent_at) = self.send(packet.len() as u64, now) else {
            self.counters.overflowed += 1;
            return Verdict::Overflowed;
        };
        if chance[0] < self.conditions.loss {
            self.counters.lost += 1;
            return Verdict::Lost;
        }
        let due = sent_at + self.conditions.delay + self.conditions.jitter.mul_f64(chance[1]);
        let due = self.under_way.back().map_or(due, |(last, _)| due.max(*last));
        self.bytes_under_way += packet.len() as u64;
        self.under_way.push_back((due, packet));
        Verdict::UnderWay
    }

    /// The next packet that has arrived by `now`, in order. On a cut line packets under way are lost on arrival.
    pub(crate) fn leave(&mut self, now: Instant) -> Option<Vec<u8>> {
        loop {
            let (_, packet) = self.under_way.pop_front_if(|(due, _)| *due <= now)?;
            self.bytes_under_way -= packet.len() as u64;
            if self.is_cut {
                self.counters.lost += 1;
                continue;
            }
            self.counters.packets += 1;
            self.counters.bytes += packet.len() as u64;
            return Some(packet);
        }
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.under_way.front().map(|(due, _)| *due)
    }

    /// When a packet of this length will have been sent; `None` if the queue in front of the rate is full.
    fn send(&mut self, length: u64, now: Instant) -> Option<Instant> {
        let Some(rate) = self.conditions.rate else {
            self.free_at = None;
            return (self.bytes_under_way + length <= MOST_UNDER_WAY).then_some(now);
        };
        let start = self.free_at.map_or(now, |free_at| free_at.max(now));
        let waiting = start.duration_since(now).as_secs_f64() * rate as f64;
        if waiting + length as f64 > self.conditions.queue as f64 {
            return None;
        }
        let sent_at = start + Duration::from_secs_f64(length as f64 / rate as f64);
        self.free_at = Some(sent_at);
        Some(sent_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: [f64; 2] = [1.0, 0.0];

    fn packet(length: usize) -> Vec<u8> {
        vec![0; length]
    }

    fn after(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_packet_arrives_after_the_delay_and_not_before() {
        let start = Instant::now();
        let mut lane = Lane::new(Conditions::new().delay(Duration::from_millis(50)));
        assert_eq!(lane.enter(packet(100), start, KEEP), Verdict::UnderWay);
        assert_eq!(lane.leave(after(start, 49)), None);
        assert_eq!(lane.next_due(), Some(after(start, 50)));
        assert_eq!(lane.leave(after(start, 50)), Some(packet(100)));
        assert_eq!(lane.counters, Counters { packets: 1, bytes: 100, lost: 0, overflowed: 0 });
    }

    #[test]
    fn packets_wait_for_the_rate_and_overflow_the_queue() {
        let start = Instant::now();
        let mut lane = Lane::new(Conditions::new().rate(100_000).queue(3_000));
        let verdicts: Vec<_> = (0..4).map(|_| lane.enter(packet(1000), start, KEEP)).collect();
        assert_eq!(verdicts, [Verdict::UnderWay, Verdict::UnderWay, Verdict::UnderWay, Verdict::Overflowed]);
        for milliseconds in [10, 20, 30] {
            assert_eq!(lane.leave(after(start, milliseconds - 1)), None);
            assert!(lane.leave(after(start, milliseconds)).is_some());
        }
        assert_eq!(lane.enter(packet(1000), after(start, 31), KEEP), Verdict::UnderWay);
        assert_eq!(lane.next_due(), Some(after(start, 41)));
    }

    #[test]
    fn jitter_keeps_the_order() {
        let start = Instant::now();
        let mut lane = Lane::new(Conditions::new().jitter(Duration::from_millis(10)));
        lane.enter(packet(1), start, [1.0, 0.9]);
        lane.enter(packet(2), after(start, 1), [1.0, 0.0]);
        assert_eq!(lane.leave(after(start, 8)), None);
        assert_eq!(lane.leave(after(start, 9)), Some(packet(1)));
        assert_eq!(lane.leave(after(start, 9)), Some(packet(2)));
    }

    #[test]
    fn chance_below_the_loss_loses_the_packet() {
        let start = Instant::now();
        let mut lane = Lane::new(Conditions::new().loss(0.02));
        assert_eq!(lane.enter(packet(1), start, [0.019, 0.0]), Verdict::Lost);
        assert_eq!(lane.enter(packet(1), start, [0.021, 0.0]), Verdict::UnderWay);
        assert_eq!(lane.counters.lost, 1);
    }

    #[test]
    fn a_cut_loses_what_enters_and_what_was_under_way() {
        let start = Instant::now();
        let mut lane = Lane::new(Conditions::new().delay(Duration::from_millis(5)));
        lane.enter(packet(1), start, KEEP);
        lane.is_cut = true;
        assert_eq!(lane.enter(packet(2), start, KEEP), Verdict::Lost);
        assert_eq!(lane.leave(after(start, 10)), None);
        lane.is_cut = false;
        lane.enter(packet(3), after(start, 10), KEEP);
        assert_eq!(lane.leave(after(start, 15)), Some(packet(3)));
        assert_eq!(lane.counters.lost, 2);
    }
}
