//! The index of what is open now. Every stream is entered under its service, and under the people, logins, sessions and shares that it
//! rests on, with the facts it was admitted by, so that a change re-decides exactly those it may concern, and a cut finds
//! them.

mod room;

use crate::listen::strangers::source_of;
use crate::pacing::{Pacing, Terms};
use doorward_control::{Attendance, Change, HostEntrance, HostReservation, Protocol, ServiceRecord, Snapshot};
use doorward_core::access::{Limits, Permit, Visitor, decide};
use doorward_core::names::{HostName, PathPrefix};
use doorward_core::service::Entrance;
use doorward_core::{AccountId, LoginId, ServiceId, SessionId, ShareId};
use doorward_tunnel::splice::Traffic;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(crate) struct Live {
    table: Mutex<Table>,
    pub(crate) pacing: Pacing,
    last: AtomicU64,
}

#[derive(Default)]
struct Table {
    services: HashMap<ServiceId, Seats>,
    by_account: HashMap<AccountId, BTreeSet<Place>>,
    by_session: HashMap<SessionId, BTreeSet<Place>>,
    by_login: HashMap<LoginId, BTreeSet<Place>>,
    by_share: HashMap<ShareId, BTreeSet<Place>>,
}

/// Where a seat is found.
type Place = (ServiceId, u64);

/// What is open at one service.
#[derive(Default)]
struct Seats {
    taken: HashMap<u64, Arc<Seat>>,
    by_source: HashMap<IpAddr, usize>,
}

/// How many visits one service had when one more came, that one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowd {
    pub(crate) at_service: usize,
    pub(crate) from_source: usize,
}

/// As many are in as the policy allows at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The name or port by which somebody came.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Web {
        host: HostName,
        prefix: Option<PathPrefix>,
    },
    Port(Protocol, u16),
    SessionPort(Protocol, u16, SessionId),
    /// By the device and a virtual port, or by the service's own name.
    Inner {
        virtual_port: Option<u16>,
    },
    Tls(HostName),
    /// From the portal's own pages, by the service's name.
    Portal,
}

impl Way {
    /// Whether it leads to the service still.
    fn leads_to(&self, record: &ServiceRecord, snapshot: &Snapshot) -> bool {
        match self {
            Self::Web { host, prefix } => {
                let is_this = |held: &&HostReservation| held.host == *host && held.prefix == *prefix;
                let mut held = record.hosts.iter().filter(is_this);
                held.any(|held| held.entrance == HostEntrance::Web && record.routes_host(held))
            }
            Self::Tls(host) => {
                let mut held = record.hosts.iter().filter(|held| held.host == *host);
                held.any(|held| held.entrance == HostEntrance::Tls && record.routes_host(held))
            }
            Self::Inner { virtual_port: Some(port) } => record.virtual_port == Some(*port),
            Self::Inner { virtual_port: None } | Self::Portal => true,
            Self::Port(protocol, port) => {
                let mut ports = record.ports.iter().filter(|held| (held.protocol, held.port) == (*protocol, *port));
                ports.any(|held| record.routes_port(held))
            }
            Self::SessionPort(protocol, port, session) => {
                let led = snapshot.at_session_port(*protocol, *port);
                led.is_some_and(|(service, of)| of == *session && service.id == record.service.id)
            }
        }
    }
}

/// What is remembered of one stream.
struct Seat {
    visitor: Visitor,
    /// Who they are, by whatever they proved.
    who: Option<AccountId>,
    way: Way,
    terms: Terms,
    is_read_only: bool,
    until: watch::Sender<Option<Timestamp>>,
    cut: CancellationToken,
    /// What passed, and how much of it was seen before.
    traffic: OnceLock<Arc<Traffic>>,
    seen: AtomicU64,
    /// Its place in the audit.
    attendance: OnceLock<Attendance>,
}

/// A stream's place in the index, left on drop.
pub(crate) struct Presence {
    live: Arc<Live>,
    service: ServiceId,
    number: u64,
    seat: Arc<Seat>,
    pub(crate) crowd: Crowd,
}

/// Deadlines are looked at again this often, so that a clock that was set is noticed.
const CLOCK_STEP: Duration = Duration::from_millis(500);

impl Live {
    /// Enters a stream. The snapshot is read again after entering, so that no change slips between the decision and
    /// the entry.
    pub(crate) fn enter(
        self: &Arc<Self>,
        permit: &Permit,
        way: Way,
        limits: &Limits,
        who: Option<AccountId>,
        newest: impl FnOnce() -> Arc<Snapshot>,
    ) -> Result<Presence, Full> {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat {
            visitor: permit.visitor().clone(),
            who,
            way,
            terms: Terms::of(limits),
            is_read_only: permit.is_read_only(),
            until: watch::Sender::new(permit.until()),
            cut: CancellationToken::new(),
            traffic: OnceLock::new(),
            seen: AtomicU64::new(0),
            attendance: OnceLock::new(),
        });
        let service = permit.service();
        let crowd = self.table().take((service, number), &seat, limits)?;
        let newest = newest();
        seat.decide_again(newest.service_record(service).as_deref(), &newest, Timestamp::now());
        Ok(Presence { live: self.clone(), service, number, seat, crowd })
    }

    /// Decides again for every stream that rests on what changed.
    pub(crate) fn decide_again(&self, snapshot: &Snapshot, change: &Change) {
        let seats = self.table().concerned(change);
        decide_each_again(seats, snapshot);
        for record in change.services.iter().filter_map(|id| snapshot.service_record(*id)) {
            let (id, limits) = (record.service.id, &record.service.policy.limits);
            self.pacing.change(id, limits);
            self.table().surplus(id, limits).iter().for_each(|seat| seat.cut.cancel());
        }
    }

    /// Decides again for everything: changes were missed, or the clock was set.
    pub(crate) fn decide_all_again(&self, snapshot: &Snapshot) {
        let seats = self.table().all();
        decide_each_again(seats, snapshot);
    }

    /// By which something passed since this was asked last.
    pub(crate) fn sessions_in_use(&self) -> BTreeSet<SessionId> {
        let table = self.table();
        let is_used = |place: &Place| table.seat(*place).is_some_and(|seat| seat.is_used_since());
        // Each is looked at, so that none counts as new the next time.
        let used = |places: &BTreeSet<Place>| places.iter().filter(|place| is_used(place)).count() > 0;
        table.by_session.iter().filter(|(_, places)| used(places)).map(|(id, _)| *id).collect()
    }

    /// Tells the audit what passed until now.
    pub(crate) fn tell_traffic(&self, now: Timestamp) {
        let seats = self.table().all();
        seats.iter().for_each(|(_, seat)| seat.tell_traffic(now));
    }

    pub(crate) fn count(&self) -> usize {
        self.table().services.values().map(|seats| seats.taken.len()).sum()
    }

    /// How many visits have an end to wait for. A UDP flow has none.
    pub(crate) fn finishing(&self) -> usize {
        let ends = |seat: &&Arc<Seat>| !matches!(seat.visitor.entrance, Entrance::UdpPort(_));
        self.table().services.values().map(|seats| seats.taken.values().filter(ends).count()).sum()
    }

    pub(crate) fn is_visited(&self, service: ServiceId) -> bool {
        self.table().services.contains_key(&service)
    }

    /// How many streams stand open at each service.
    pub(crate) fn counts(&self) -> HashMap<ServiceId, u32> {
        let table = self.table();
        table.services.iter().map(|(id, seats)| (*id, u32::try_from(seats.taken.len()).unwrap_or(u32::MAX))).collect()
    }

    /// Who is there, visit by visit.
    pub(crate) fn each_visitor(&self, mut look: impl FnMut(ServiceId, &Visitor)) {
        let table = self.table();
        let each = table.services.iter().flat_map(|(id, seats)| seats.taken.values().map(|seat| (*id, seat)));
        each.for_each(|(service, seat)| look(service, &seat.visitor));
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn take(&mut self, place: Place, seat: &Arc<Seat>, limits: &Limits) -> Result<Crowd, Full> {
        if let Some(seats) = self.services.get(&place.0)
            && !self.has_room(place.0, seats, seat, limits)
        {
            return Err(Full);
        }
        for account in seat.accounts() {
            self.by_account.entry(account).or_default().insert(place);
        }
        for session in seat.visitor.sessions() {
            self.by_session.entry(session).or_default().insert(place);
        }
        for login in seat.visitor.logins() {
            self.by_login.entry(login).or_default().insert(place);
        }
        for used in seat.visitor.shares() {
            self.by_share.entry(used.share).or_default().insert(place);
        }
        Ok(self.services.entry(place.0).or_default().take(place.1, seat.clone()))
    }

    fn leave(&mut self, place: Place, seat: &Seat) {
        seat.accounts().for_each(|account| forget(&mut self.by_account, account, place));
        seat.visitor.sessions().for_each(|session| forget(&mut self.by_session, session, place));
        seat.visitor.logins().for_each(|login| forget(&mut self.by_login, login, place));
        seat.visitor.shares().for_each(|used| forget(&mut self.by_share, used.share, place));
        if let Some(seats) = self.services.get_mut(&place.0) {
            seats.leave(place.1);
            if seats.taken.is_empty() {
                self.services.remove(&place.0);
            }
        }
    }

    fn seat(&self, (service, number): Place) -> Option<&Arc<Seat>> {
        self.services.get(&service)?.taken.get(&number)
    }

    fn concerned(&self, change: &Change) -> Vec<(ServiceId, Arc<Seat>)> {
        let of_service = |id: &ServiceId| {
            let numbers = self.services.get(id).into_iter().flat_map(|seats| seats.taken.keys());
            numbers.map(|number| (*id, *number)).collect::<Vec<_>>()
        };
        let mut places: BTreeSet<Place> = change.services.iter().flat_map(of_service).collect();
        places.extend(change.people.iter().filter_map(|id| self.by_account.get(id)).flatten());
        places.extend(change.sessions.iter().filter_map(|id| self.by_session.get(id)).flatten());
        places.extend(change.logins.iter().filter_map(|id| self.by_login.get(id)).flatten());
        places.extend(change.shares.iter().filter_map(|id| self.by_share.get(id)).flatten());
        places.into_iter().filter_map(|place| Some((place.0, self.seat(place)?.clone()))).collect()
    }

    fn all(&self) -> Vec<(ServiceId, Arc<Seat>)> {
        let seats =
            |(id, seats): (&ServiceId, &Seats)| seats.taken.values().map(|s| (*id, s.clone())).collect::<Vec<_>>();
        self.services.iter().flat_map(seats).collect()
    }
}

fn forget<K: Eq + Hash>(index: &mut HashMap<K, BTreeSet<Place>>, key: K, place: Place) {
    if let Some(places) = index.get_mut(&key) {
        places.remove(&place);
        if places.is_empty() {
            index.remove(&key);
        }
    }
}

fn decide_each_again(seats: Vec<(ServiceId, Arc<Seat>)>, snapshot: &Snapshot) {
    let now = Timestamp::now();
    for (service, seat) in seats {
        seat.decide_again(snapshot.service_record(service).as_deref(), snapshot, now);
    }
}

impl Seats {
    fn take(&mut self, number: u64, seat: Arc<Seat>) -> Crowd {
        let from_source = self.by_source.entry(source_of(seat.visitor.source())).or_default();
        *from_source += 1;
        let from_source = *from_source;
        self.taken.insert(number, seat);
        Crowd { at_service: self.taken.len(), from_source }
    }

    fn leave(&mut self, number: u64) {
        let Some(seat) = self.taken.remove(&number) else { return };
        let source = source_of(seat.visitor.source());
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }
}

impl Seat {
    fn accounts(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.visitor.people().chain(self.who)
    }

    fn decide_again(&self, record: Option<&ServiceRecord>, snapshot: &Snapshot, now: Timestamp) {
        let led = record.filter(|record| self.way.leads_to(record, snapshot));
        let led = led.filter(|record| self.terms.satisfy(&record.service.policy.limits));
        match led.map(|record| decide(&record.service, &self.visitor, snapshot, now)) {
            // What somebody was let in to do goes on only for whoever may do it still.
            Some(Ok(permit)) if permit.is_read_only() && !self.is_read_only => self.cut.cancel(),
            Some(Ok(permit)) => {
                self.until.send_if_modified(|until| std::mem::replace(until, permit.until()) != permit.until());
            }
            Some(Err(_)) | None => self.cut.cancel(),
        }
    }

    fn is_used_since(&self) -> bool {
        let passed = |traffic: &Arc<Traffic>| traffic.up.load(Ordering::Relaxed) + traffic.down.load(Ordering::Relaxed);
        let passed = self.traffic.get().map_or(0, passed);
        self.seen.swap(passed, Ordering::Relaxed) != passed
    }

    fn tell_traffic(&self, now: Timestamp) {
        if let (Some(attendance), Some(traffic)) = (self.attendance.get(), self.traffic.get()) {
            attendance.passed(traffic.up.load(Ordering::Relaxed), traffic.down.load(Ordering::Relaxed), now);
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.cut.is_cancelled() || self.until.borrow().is_some_and(|until| until <= now)
    }

    async fn until_over(&self) {
        let mut until = self.until.subscribe();
        loop {
            let deadline = *until.borrow_and_update();
            let Some(deadline) = deadline else {
                if until.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let left = Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO);
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(CLOCK_STEP)) => {}
                _ = until.changed() => {}
            }
        }
    }
}

impl Presence {
    /// What passes by it, counted.
    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        self.seat.traffic.get_or_init(Arc::default).clone()
    }

    /// What passed, but is no use: a session is not kept open by it.
    pub(crate) fn overlook(&self, bytes: u64) {
        self.seat.seen.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It stands in the audit from here on.
    pub(crate) fn attended(&self, attendance: Attendance) {
        let _ = self.seat.attendance.set(attendance);
    }

    /// How it ended, for the audit. The first word counts.
    pub(crate) fn ends(&self, how: &'static str) {
        if let Some(attendance) = self.seat.attendance.get() {
            attendance.ends(how);
        }
    }

    /// Resolves when the permission ends: by its deadline, or because a change took it away.
    pub(crate) async fn cut(&self) {
        self.cut_owned().await;
    }

    /// The same, to be held apart from the place itself.
    pub(crate) fn cut_owned(&self) -> impl Future<Output = ()> + Send + 'static {
        let seat = self.seat.clone();
        async move {
            tokio::select! {
                () = seat.cut.cancelled() => {}
                () = seat.until_over() => {}
            }
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.live.table().leave((self.service, self.number), &self.seat);
        let now = Timestamp::now();
        self.seat.tell_traffic(now);
        if let Some(attendance) = self.seat.attendance.get() {
            if self.seat.is_over(now) {
                attendance.ends("cut");
            }
            attendance.leave(now);
        }
    }
}
