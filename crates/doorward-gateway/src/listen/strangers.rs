//! How much those may take who have proved nothing: connections and unfinished handshakes, in all and per source.

use crate::settings::Limits;
use doorward_core::access::canonical;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) struct Strangers {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: Tally,
    handshakes: Tally,
}

#[derive(Default)]
struct Tally {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Connection,
    Handshake,
}

/// A place among the connections or handshakes, given back on drop.
pub(crate) struct Place {
    strangers: Arc<Strangers>,
    source: IpAddr,
    what: What,
}

impl Strangers {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// A place for a connection and one for its handshake, or `None` if either is full.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<(Place, Place)> {
        let source = source_of(ip);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Limits { connections, connections_per_source, handshakes, handshakes_per_source } = self.limits;
        if !counts.connections.has_room(source, connections, connections_per_source)
            || !counts.handshakes.has_room(source, handshakes, handshakes_per_source)
        {
            metrics::counter!("doorward_strangers_turned_away_total").increment(1);
            return None;
        }
        counts.connections.add(source);
        counts.handshakes.add(source);
        let place = |what| Place { strangers: self.clone(), source, what };
        Some((place(What::Connection), place(What::Handshake)))
    }
}

impl Tally {
    fn has_room(&self, source: IpAddr, all: usize, each: usize) -> bool {
        self.all < all && self.by_source.get(&source).copied().unwrap_or(0) < each
    }

    fn add(&mut self, source: IpAddr) {
        self.all += 1;
        *self.by_source.entry(source).or_default() += 1;
    }

    fn remove(&mut self, source: IpAddr) {
        self.all -= 1;
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.strangers.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match self.what {
            What::Connection => counts.connections.remove(self.source),
            What::Handshake => counts.handshakes.remove(self.source),
        }
    }
}

/// Who counts as one source: an IPv4 address, an IPv6 /64.
pub(crate) fn source_of(ip: IpAddr) -> IpAddr {
    match canonical(ip) {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_cannot_take_the_others_places() {
        let limits = Limits { connections: 10, connections_per_source: 3, handshakes: 10, handshakes_per_source: 2 };
        let strangers = Strangers::new(limits);
        let (loud, quiet) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let mut held: Vec<_> = (0..5)
            .map(|n: u16| {
                let same_network = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, n, 0, 0, 1));
                strangers.enter(same_network)
            })
            .collect();
        assert_eq!(held.iter().filter(|place| place.is_some()).count(), 2, "handshakes of one /64");
        assert!(strangers.enter(quiet).is_some());
        held.iter_mut().flatten().for_each(|_| {});
        let connections: Vec<_> = held.into_iter().flatten().map(|(connection, _handshake)| connection).collect();
        assert!(strangers.enter(loud).is_some(), "a finished handshake makes room");
        assert!(strangers.enter(loud).is_some());
        drop(connections);
        assert!(strangers.counts.lock().unwrap().connections.by_source.is_empty());
    }
}
