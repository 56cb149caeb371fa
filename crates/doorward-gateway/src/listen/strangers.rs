//! How much those may take who have proved nothing: connections and unfinished handshakes, in all and per source.
//!
//! Whoever holds all places for handshakes would keep everybody else out by saying nothing. So the oldest handshake
//! gives way to the newest: a visitor who means it is done long before its turn comes.

use crate::listen::complaint::Complaint;
use crate::listen::turnstile::{Others, Passing, Turnstile};
use crate::settings::Limits;
use crate::ssh::Share;
use crate::tasks::Tasks;
use crate::web::rates::Rate;
use arc_swap::ArcSwap;
use doorward_core::access::canonical;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(crate) struct Strangers {
    limits: ArcSwap<Limits>,
    counts: Mutex<Counts>,
    turned_away: Complaint,
    pushed_out: Complaint,
    /// How often one source may come by SSH: each new connection costs a key exchange, and is some attempts.
    by_ssh: Rate<IpAddr>,
    /// How often one source may come before it is taken for a crowd.
    comings: Rate<IpAddr>,
    others: Arc<Others>,
}

#[derive(Default)]
struct Counts {
    connections: Tally,
    handshakes: Tally,
    /// Those who hold a place for a handshake, the oldest first.
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
}

struct Waiting {
    source: IpAddr,
    pushed_out: CancellationToken,
}

#[derive(Default)]
struct Tally {
    all: usize,
    by_source: HashMap<IpAddr, Held>,
}

/// What one source holds.
#[derive(Default)]
struct Held {
    count: usize,
    crowded_at: Option<Instant>,
    /// From the first time on that somebody must stand in line.
    turnstile: Option<Turnstile>,
}

/// A source that holds so many has no claim to our patience, for so long.
const CROWD: usize = 64;
const CROWDED_FOR: Duration = Duration::from_secs(60);
/// Nor has a connection of one that comes more often than this, ten seconds' worth at once.
const COMINGS_PER_SECOND: u32 = 16;

/// A place among the connections, given back on drop.
pub(crate) struct Place {
    strangers: Arc<Strangers>,
    source: IpAddr,
    is_one_of_many: bool,
}

/// A place among the handshakes, given back on drop or taken away by somebody newer.
pub(crate) struct Handshake {
    strangers: Arc<Strangers>,
    number: u64,
    pushed_out: CancellationToken,
}

impl Strangers {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let (turned_away, pushed_out) = (Complaint::new(), Complaint::new());
        let by_ssh = Rate::per_second(limits.ssh_connections_per_second);
        let comings = Rate::per_second(COMINGS_PER_SECOND);
        let (limits, counts, others) = (ArcSwap::from_pointee(limits), Mutex::default(), Arc::default());
        Arc::new(Self { limits, counts, turned_away, pushed_out, by_ssh, comings, others })
    }

    /// For those who come from now on.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.by_ssh.set_per_second(limits.ssh_connections_per_second);
        self.limits.store(Arc::new(limits));
    }

    /// How many may visit one port, or one name for TLS.
    pub(crate) fn connections_per_port(&self) -> usize {
        self.limits.load().connections_per_port
    }

    /// What one device or person may hold by SSH.
    pub(crate) fn ssh_share(&self) -> Share {
        let limits = self.limits.load();
        Share { connections: limits.ssh_connections_per_identity, channels: limits.ssh_channels_per_identity }
    }

    /// A place for a connection and one for its handshake, or `None` where there is none for this source.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<(Place, Handshake)> {
        let source = source_of(ip);
        let mut counts = self.counts();
        let limits = self.limits.load();
        if !counts.have_room(source, &limits) || counts.handshakes.of(source) >= limits.handshakes_per_source {
            drop(counts);
            return self.turn_away();
        }
        let is_full = counts.handshakes.all >= limits.handshakes;
        if is_full {
            counts.push_out_the_oldest();
        }
        counts.connections.add(source);
        let (number, pushed_out) = counts.wait(source);
        drop(counts);
        if is_full {
            self.note_pushed_out();
        }
        Some((self.place(source), Handshake { strangers: self.clone(), number, pushed_out }))
    }

    /// The same for whoever comes by SSH, if not too often.
    pub(crate) fn enter_by_ssh(self: &Arc<Self>, ip: IpAddr) -> Option<(Place, Handshake)> {
        if self.by_ssh.admit(source_of(ip), Instant::now()) { self.enter(ip) } else { self.turn_away() }
    }

    /// A place where visitors need not say anything: a raw port knows at once whether they may come in.
    pub(crate) fn enter_silently(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let source = source_of(ip);
        let mut counts = self.counts();
        if !counts.have_room(source, &self.limits.load()) {
            drop(counts);
            return self.turn_away();
        }
        counts.connections.add(source);
        drop(counts);
        Some(self.place(source))
    }

    fn place(self: &Arc<Self>, source: IpAddr) -> Place {
        let is_one_of_many = !self.comings.admit(source, Instant::now());
        Place { strangers: self.clone(), source, is_one_of_many }
    }

    fn turn_away<T>(&self) -> Option<T> {
        metrics::counter!("doorward_strangers_turned_away_total").increment(1);
        if let Some(times) = self.turned_away.raise() {
            warn!(times, "connections are turned away: their source, or all together, have as many as they may");
        }
        None
    }

    fn note_pushed_out(&self) {
        metrics::counter!("doorward_strangers_pushed_out_total").increment(1);
        if let Some(times) = self.pushed_out.raise() {
            warn!(times, "many connect and say nothing: the oldest of them give way to the newest");
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake {
    /// Cancelled when somebody newer needs the place. Never after the place was given back.
    pub(crate) fn pushed_out(&self) -> CancellationToken {
        self.pushed_out.clone()
    }
}

impl Counts {
    fn have_room(&self, source: IpAddr, limits: &Limits) -> bool {
        self.connections.all < limits.connections && self.connections.of(source) < limits.connections_per_source
    }

    fn wait(&mut self, source: IpAddr) -> (u64, CancellationToken) {
        self.handshakes.add(source);
        self.last += 1;
        let pushed_out = CancellationToken::new();
        self.waiting.insert(self.last, Waiting { source, pushed_out: pushed_out.clone() });
        (self.last, pushed_out)
    }

    fn push_out_the_oldest(&mut self) {
        if let Some((_, oldest)) = self.waiting.pop_first() {
            self.handshakes.remove(oldest.source);
            oldest.pushed_out.cancel();
        }
    }
}

impl Tally {
    fn of(&self, source: IpAddr) -> usize {
        self.by_source.get(&source).map_or(0, |held| held.count)
    }

    fn add(&mut self, source: IpAddr) {
        self.all += 1;
        let held = self.by_source.entry(source).or_default();
        held.count += 1;
        if held.count > CROWD {
            held.crowded_at = Some(Instant::now());
        }
    }

    fn remove(&mut self, source: IpAddr) {
        self.all -= 1;
        if let Some(held) = self.by_source.get_mut(&source) {
            held.count -= 1;
            if held.count == 0 {
                self.by_source.remove(&source);
            }
        }
    }
}

impl Held {
    fn is_crowded(&self) -> bool {
        self.crowded_at.is_some_and(|at| at.elapsed() < CROWDED_FOR)
    }
}

impl Place {
    /// Whether the source of this connection held many a short while ago, or many came from there just before it, or the
    /// places for all are about to run out.
    pub(crate) fn is_crowded(&self) -> bool {
        let counts = self.strangers.counts();
        let are_few_left = counts.connections.all > self.strangers.limits.load().connections / 4 * 3;
        are_few_left || self.is_of_a_crowd(&counts)
    }

    fn is_of_a_crowd(&self, counts: &Counts) -> bool {
        self.is_one_of_many || counts.connections.by_source.get(&self.source).is_some_and(Held::is_crowded)
    }

    /// Begins work for this connection. One of a crowd stands in line, and behind everybody else.
    pub(crate) async fn pass(&self, tasks: &Tasks) -> Option<Passing> {
        let others = &self.strangers.others;
        match self.turnstile() {
            Some(turnstile) => turnstile.pass(others, tasks).await,
            None => Some(others.pass()),
        }
    }

    /// Where those of a crowded source stand in line; `None` while it is none.
    fn turnstile(&self) -> Option<Turnstile> {
        let mut counts = self.strangers.counts();
        if !self.is_of_a_crowd(&counts) {
            return None;
        }
        let held = counts.connections.by_source.get_mut(&self.source)?;
        Some(held.turnstile.get_or_insert_default().clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.strangers.counts().connections.remove(self.source);
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut counts = self.strangers.counts();
        // Somebody newer may have it already.
        if let Some(Waiting { source, .. }) = counts.waiting.remove(&self.number) {
            counts.handshakes.remove(source);
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

    fn limits(handshakes: usize, handshakes_per_source: usize) -> Limits {
        let usual = Limits::default();
        Limits { connections: 10, connections_per_source: 3, handshakes, handshakes_per_source, ..usual }
    }

    #[test]
    fn one_source_cannot_take_the_others_places() {
        let limits = limits(10, 2);
        let strangers = Strangers::new(limits);
        let (loud, quiet) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let held: Vec<_> = (0..5)
            .map(|n: u16| {
                let same_network = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, n, 0, 0, 1));
                strangers.enter(same_network)
            })
            .collect();
        assert_eq!(held.iter().filter(|place| place.is_some()).count(), 2, "handshakes of one /64");
        assert!(strangers.enter(quiet).is_some());
        let connections: Vec<_> = held.into_iter().flatten().map(|(connection, _handshake)| connection).collect();
        assert!(strangers.enter(loud).is_some(), "a finished handshake makes room");
        assert!(strangers.enter(loud).is_some());
        drop(connections);
        assert!(strangers.counts().connections.by_source.is_empty());
    }

    #[test]
    fn the_oldest_handshake_gives_way_to_the_newest_and_is_counted_once() {
        let strangers = Strangers::new(limits(3, 2));
        let from = |n: u8| strangers.enter(IpAddr::from([192, 0, 2, n])).expect("there is room for one more source");
        let held: Vec<_> = (1..=3).map(from).collect();
        let newest = from(4);
        let gone: Vec<_> = held.iter().map(|(_, handshake)| handshake.pushed_out().is_cancelled()).collect();
        assert_eq!(gone, [true, false, false]);
        assert!(!newest.1.pushed_out().is_cancelled());
        assert_eq!(strangers.counts().handshakes.all, 3);
        drop((held, newest));
        let counts = strangers.counts();
        assert_eq!((counts.handshakes.all, counts.connections.all, counts.waiting.len()), (0, 0, 0));
        assert!(counts.handshakes.by_source.is_empty());
    }

    #[test]
    fn when_places_run_out_all_are_crowded() {
        let strangers = Strangers::new(Limits { connections: 8, ..Limits::default() });
        let mut held: Vec<_> = (1..=7).map(|n: u8| strangers.enter([192, 0, 2, n].into()).unwrap().0).collect();
        assert!(held.iter().all(Place::is_crowded));
        held.pop();
        assert!(!held.iter().any(Place::is_crowded));
    }

    #[test]
    fn a_source_that_held_many_is_crowded_until_it_holds_none() {
        let strangers = Strangers::new(Limits { handshakes_per_source: 1000, ..Limits::default() });
        let enter = |ip: &str| strangers.enter(ip.parse().unwrap()).unwrap().0;
        let mut held: Vec<_> = (0..CROWD).map(|_| enter("192.0.2.1")).collect();
        let other = enter("192.0.2.2");
        assert!(!held[0].is_crowded() && held[0].turnstile().is_none());
        held.push(enter("192.0.2.1"));
        assert!(held[0].is_crowded() && !other.is_crowded());
        assert!(held[0].turnstile().is_some() && other.turnstile().is_none(), "only the crowd stands in line");
        held.truncate(1);
        assert!(held[0].is_crowded(), "for a while");
        held.clear();
        assert!(!enter("192.0.2.1").is_crowded());
    }

    #[test]
    fn whoever_comes_again_and_again_is_a_crowd_though_it_holds_few() {
        let strangers = Strangers::new(Limits { handshakes_per_source: 1000, ..Limits::default() });
        let come = |ip: &str| strangers.enter(ip.parse().unwrap()).unwrap().0.turnstile().is_some();
        let often = 10 * COMINGS_PER_SECOND as usize;
        assert_eq!((0..often).filter(|_| come("192.0.2.1")).count(), 0);
        assert!((0..9).all(|_| come("192.0.2.1")));
        assert!(!come("192.0.2.2"));
    }

    #[test]
    fn by_ssh_one_source_comes_so_often_and_others_do_not_notice() {
        let limits = Limits { ssh_connections_per_second: 1, ..Limits::default() };
        let strangers = Strangers::new(limits);
        let come = |ip: &str| (0..30).filter(|_| strangers.enter_by_ssh(ip.parse().unwrap()).is_some()).count();
        assert_eq!(come("2001:db8::1"), 10);
        assert_eq!(come("2001:db8::2"), 0, "the same /64");
        assert_eq!(come("192.0.2.1"), 10);
        strangers.set_limits(Limits { ssh_connections_per_second: 0, ..limits });
        assert_eq!(come("2001:db8::1"), 30);
    }
}
