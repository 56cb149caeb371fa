//! The flows of one UDP port, by the visitor's address and port.
//!
//! A source address costs nothing in UDP: whoever makes them up could fill any table. When there is no room the flow
//! that was idle longest gives way, first of all those of which a single packet was ever seen. One whose visitor came
//! back is let go only after it was quiet for a while; if none is, the newcomer is turned away.

use crate::listen::strangers::source_of;
use crate::settings::FlowSettings;
use arc_swap::ArcSwap;
use bytes::Bytes;
use doorward_tunnel::PacketQueue;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) struct Flows {
    settings: Arc<ArcSwap<FlowSettings>>,
    started: Instant,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_peer: HashMap<SocketAddr, Entry>,
    /// Who gives way first, in all and of each source.
    order: BTreeMap<Rank, SocketAddr>,
    by_source: HashMap<IpAddr, BTreeSet<Rank>>,
    last: u64,
}

struct Entry {
    seat: Arc<Seat>,
    rank: Rank,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    worth: Worth,
    /// When it last moved.
    second: u64,
    number: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// The visitor has not come back since its first second.
    Fleeting,
    Lasting,
}

/// What is remembered of one flow.
pub(crate) struct Seat {
    queue: PacketQueue,
    /// The last second in which something moved.
    moved: AtomicU64,
    is_open: AtomicBool,
    unopened: AtomicUsize,
    pushed_out: CancellationToken,
}

/// A flow's place in the table, given back on drop.
pub(crate) struct Place {
    flows: Arc<Flows>,
    peer: SocketAddr,
    number: u64,
    seat: Arc<Seat>,
}

/// Whose packet it is.
pub(crate) enum Found {
    Known(Arc<Seat>),
    New(Place),
    NoRoom,
}

/// A flow whose visitor came back counts as idle after this, in seconds.
const QUIET: u64 = 10;
/// What waits for a flow to be opened; one packet of any size fits.
const UNOPENED: usize = 128 * 1024;

impl Flows {
    pub(crate) fn new(settings: Arc<ArcSwap<FlowSettings>>, now: Instant) -> Arc<Self> {
        Arc::new(Self { settings, started: now, table: Mutex::default() })
    }

    /// A packet came from a visitor.
    pub(crate) fn find(self: &Arc<Self>, peer: SocketAddr, now: Instant) -> Found {
        let second = self.second(now);
        let mut table = self.table();
        if let Some(entry) = table.by_peer.get(&peer) {
            let seat = entry.seat.clone();
            if seat.moved.swap(second, Ordering::Relaxed) != second {
                table.promote(peer, second);
            }
            return Found::Known(seat);
        }
        if !table.make_room(&self.settings.load(), source_of(peer.ip()), second) {
            return Found::NoRoom;
        }
        let (number, seat) = table.seat(peer, second);
        Found::New(Place { flows: self.clone(), peer, number, seat })
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// For the device. Until the flow is open little is kept.
    pub(crate) fn push(&self, packet: Bytes) {
        if !self.is_open.load(Ordering::Relaxed)
            && self.unopened.fetch_add(packet.len(), Ordering::Relaxed) + packet.len() > UNOPENED
        {
            return;
        }
        self.queue.push(packet);
    }

    /// What goes to the device, now that it takes it.
    pub(crate) fn open(&self) -> &PacketQueue {
        self.is_open.store(true, Ordering::Relaxed);
        &self.queue
    }

    /// Resolves when the flow must give way.
    pub(crate) async fn until_pushed_out(&self) {
        self.pushed_out.cancelled().await;
    }
}

impl Place {
    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// A packet went to the visitor.
    pub(crate) fn note_answer(&self, now: Instant) {
        let second = self.flows.second(now);
        if self.seat.moved.swap(second, Ordering::Relaxed) != second {
            self.flows.table().refresh(self.peer, self.number, second);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.flows.table();
        // Pushed out, its peer may have a new flow already.
        if table.by_peer.get(&self.peer).is_some_and(|entry| entry.rank.number == self.number) {
            table.remove(self.peer);
        }
    }
}

impl Table {
    fn seat(&mut self, peer: SocketAddr, second: u64) -> (u64, Arc<Seat>) {
        self.last += 1;
        let seat = Arc::new(Seat {
            queue: PacketQueue::default(),
            moved: AtomicU64::new(second),
            is_open: AtomicBool::new(false),
            unopened: AtomicUsize::new(0),
            pushed_out: CancellationToken::new(),
        });
        self.enter(peer, seat.clone(), Rank { worth: Worth::Fleeting, second, number: self.last });
        (self.last, seat)
    }

    fn enter(&mut self, peer: SocketAddr, seat: Arc<Seat>, rank: Rank) {
        self.order.insert(rank, peer);
        self.by_source.entry(source_of(peer.ip())).or_default().insert(rank);
        self.by_peer.insert(peer, Entry { seat, rank });
    }

    fn remove(&mut self, peer: SocketAddr) -> Option<Entry> {
        let entry = self.by_peer.remove(&peer)?;
        self.order.remove(&entry.rank);
        let source = source_of(peer.ip());
        if let Some(ranks) = self.by_source.get_mut(&source) {
            ranks.remove(&entry.rank);
            if ranks.is_empty() {
                self.by_source.remove(&source);
            }
        }
        Some(entry)
    }

    /// The visitor came back in another second than before.
    fn promote(&mut self, peer: SocketAddr, second: u64) {
        if let Some(Entry { seat, rank }) = self.remove(peer) {
            self.enter(peer, seat, Rank { worth: Worth::Lasting, second, ..rank });
        }
    }

    fn refresh(&mut self, peer: SocketAddr, number: u64, second: u64) {
        if self.by_peer.get(&peer).is_none_or(|entry| entry.rank.number != number) {
            return;
        }
        if let Some(Entry { seat, rank }) = self.remove(peer) {
            self.enter(peer, seat, Rank { second, ..rank });
        }
    }

    /// Whether there is room for one more of this source, if need be after another one gave way.
    fn make_room(&mut self, settings: &FlowSettings, source: IpAddr, second: u64) -> bool {
        let own = self.by_source.get(&source);
        let first = if own.is_some_and(|own| own.len() >= settings.per_source) {
            own.and_then(BTreeSet::first).copied()
        } else if self.by_peer.len() >= settings.per_port {
            self.order.keys().next().copied()
        } else {
            return true;
        };
        let Some(first) = first else { return false };
        let may_go = match first.worth {
            Worth::Fleeting => true,
            Worth::Lasting => second.saturating_sub(first.second) >= QUIET,
        };
        let gone = self.order.get(&first).copied().filter(|_| may_go).and_then(|peer| self.remove(peer));
        gone.inspect(|gone| gone.seat.pushed_out.cancel()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    struct Port {
        flows: Arc<Flows>,
        start: Instant,
    }

    impl Port {
        fn new(per_port: usize, per_source: usize) -> Self {
            let start = Instant::now();
            let settings = FlowSettings { per_port, per_source, ..FlowSettings::default() };
            Self { flows: Flows::new(Arc::new(ArcSwap::from_pointee(settings)), start), start }
        }

        fn packet(&self, peer: SocketAddr, second: u64) -> Found {
            self.flows.find(peer, self.at(second))
        }

        fn new_flow(&self, peer: SocketAddr, second: u64) -> Place {
            match self.packet(peer, second) {
                Found::New(place) => place,
                Found::Known(_) => panic!("{peer} has a flow already"),
                Found::NoRoom => panic!("there is no room for {peer}"),
            }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn is_empty(&self) -> bool {
            let table = self.flows.table();
            table.by_peer.is_empty() && table.order.is_empty() && table.by_source.is_empty()
        }
    }

    fn peer(n: u16) -> SocketAddr {
        let [a, b] = n.to_be_bytes();
        ([10, 0, a, b], 1000).into()
    }

    fn is_gone(place: &Place) -> bool {
        place.seat.pushed_out.is_cancelled()
    }

    #[test]
    fn a_flood_of_single_packets_leaves_those_alone_who_came_back() {
        let port = Port::new(20, 20);
        let (talker, listener) = (port.new_flow(peer(1), 0), port.new_flow(peer(2), 0));
        for second in 1..=3 {
            assert!(matches!(port.packet(peer(1), second), Found::Known(_)));
            assert!(matches!(port.packet(peer(2), second), Found::Known(_)));
        }
        let flood: Vec<_> = (100..5_000).map(|n| port.new_flow(peer(n), 3)).collect();
        assert_eq!(flood.iter().filter(|place| !is_gone(place)).count(), 18);
        assert!(!is_gone(&talker) && !is_gone(&listener));
        drop((flood, talker, listener));
        assert!(port.is_empty());
    }

    #[test]
    fn among_those_who_came_back_the_longest_idle_gives_way_and_none_that_is_active() {
        let port = Port::new(3, 3);
        let held: Vec<_> = (1..=3).map(|n| port.new_flow(peer(n), 0)).collect();
        (1..=3).for_each(|n| drop(port.packet(peer(n), u64::from(n))));
        assert!(matches!(port.packet(peer(9), 10), Found::NoRoom), "nobody was quiet for long");
        held[0].note_answer(port.at(10));
        let newcomer = port.new_flow(peer(9), 13);
        let gone: Vec<_> = held.iter().map(is_gone).collect();
        assert_eq!(gone, [false, true, false], "the first still hears something");
        assert!(!is_gone(&newcomer));
    }

    #[test]
    fn a_source_that_has_its_share_pushes_out_its_own() {
        let port = Port::new(100, 2);
        let other = port.new_flow(peer(1), 0);
        let at = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
        let mine: Vec<_> = (1..=3).map(|n| port.new_flow(at(n), u64::from(n))).collect();
        assert_eq!(mine.iter().map(is_gone).collect::<Vec<_>>(), [true, false, false]);
        assert!(!is_gone(&other));
    }

    #[test]
    fn the_end_of_a_flow_that_was_pushed_out_leaves_its_successor_alone() {
        let port = Port::new(1, 1);
        let first = port.new_flow(peer(1), 0);
        drop(port.new_flow(peer(2), 0));
        let second = port.new_flow(peer(1), 0);
        drop(first);
        assert!(matches!(port.packet(peer(1), 0), Found::Known(_)));
        drop(second);
        assert!(port.is_empty());
    }

    #[test]
    fn little_waits_for_a_flow_that_is_not_open_yet() {
        let port = Port::new(1, 1);
        let place = port.new_flow(peer(1), 0);
        (0..1000).for_each(|_| place.seat().push(Bytes::from(vec![0; 1000])));
        assert!(place.seat.queue.bytes() <= UNOPENED);
        assert!(place.seat.queue.bytes() > UNOPENED / 2);
    }
}
