//! How many packets are looked at. One source gets a part of what all get, so that a flood from there leaves room for others; who
//! writes other sources on their packets fills the whole, of which a real knock then gets its share as any packet does. No source
//! is shut out for long, since anybody can write it on a packet.

use doorward_core::session::Source;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

pub(super) struct Pace {
    all: Bucket,
    /// Several sources may share one.
    each: Vec<Bucket>,
    hashing: RandomState,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    filled_at: Instant,
}

/// Packets per second that are looked at, which at two microseconds each is less than a tenth of a core.
const ALL: f64 = 40_000.0;
const EACH: f64 = 2_000.0;
/// How much of a second may come at once.
const BURST: f64 = 0.1;
const BUCKETS: usize = 4096;

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        let each = vec![Bucket { left: EACH * BURST, filled_at: now }; BUCKETS];
        Self { all: Bucket { left: ALL * BURST, filled_at: now }, each, hashing: RandomState::new() }
    }

    pub(super) fn admit(&mut self, from: IpAddr, now: Instant) -> bool {
        let place = self.hashing.hash_one(Source::of(from)) as usize % BUCKETS;
        self.each[place].take(EACH, now) && self.all.take(ALL, now)
    }
}

impl Bucket {
    fn take(&mut self, per_second: f64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.left = (self.left + passed * per_second).min(per_second * BURST);
        self.filled_at = now;
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn ip(n: u32) -> IpAddr {
        Ipv4Addr::from(n).into()
    }

    #[test]
    fn one_source_gets_its_part_and_leaves_the_rest_to_others() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |packet: u32| start + Duration::from_micros(u64::from(packet) * 20);
        let from_one = (0..100_000).filter(|packet| pace.admit(ip(1), at(*packet))).count();
        assert!((4000..4300).contains(&from_one), "{from_one} in two seconds");
        assert!(pace.admit(ip(2), at(100_000)));
    }

    #[test]
    fn whatever_sources_a_flood_has_so_many_are_looked_at_and_the_next_ones_again() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |packet: u32| start + Duration::from_micros(u64::from(packet) * 10);
        let looked_at = (0..200_000).filter(|packet| pace.admit(ip(packet * 7919), at(*packet))).count();
        assert!((80_000..84_100).contains(&looked_at), "{looked_at} in two seconds");
        let more = (200_000..200_100).filter(|packet| pace.admit(ip(3), at(*packet))).count();
        assert!(more > 10, "one source in a flood of others got {more} of 100");
    }
}
