//! The index of what is open now. Every stream is entered under its service, with the facts it was admitted by, so
//! that a change re-decides exactly those it may concern, and a cut finds them.

use crate::listen::strangers::source_of;
use doorward_control::{HostEntrance, HostReservation, Protocol, ServiceRecord, Snapshot};
use doorward_core::ServiceId;
use doorward_core::access::{Permit, Visitor, decide};
use doorward_core::names::{HostName, PathPrefix};
use doorward_core::service::Entrance;
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(crate) struct Live {
    services: Mutex<HashMap<ServiceId, Seats>>,
    last: AtomicU64,
}

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

/// The name or port by which somebody came.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Web {
        host: HostName,
        prefix: Option<PathPrefix>,
    },
    Port(Protocol, u16),
    /// By the device and a virtual port, or by the service's own name.
    Inner {
        virtual_port: Option<u16>,
    },
    Tls(HostName),
}

impl Way {
    /// Whether it leads to the service still.
    fn leads_to(&self, record: &ServiceRecord) -> bool {
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
            Self::Inner { virtual_port: None } => true,
            Self::Port(protocol, port) => {
                let mut ports = record.ports.iter().filter(|held| (held.protocol, held.port) == (*protocol, *port));
                ports.any(|held| record.routes_port(held))
            }
        }
    }
}

/// What is remembered of one stream.
struct Seat {
    visitor: Visitor,
    way: Way,
    until: watch::Sender<Option<Timestamp>>,
    cut: CancellationToken,
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
        newest: impl FnOnce() -> Arc<Snapshot>,
    ) -> Presence {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat {
            visitor: permit.visitor().clone(),
            way,
            until: watch::Sender::new(permit.until()),
            cut: CancellationToken::new(),
        });
        let service = permit.service();
        let crowd = self.table().entry(service).or_default().take(number, seat.clone());
        seat.decide_again(newest().service_record(service).as_deref(), Timestamp::now());
        Presence { live: self.clone(), service, number, seat, crowd }
    }

    /// Decides again for every stream of these services.
    pub(crate) fn decide_again(&self, snapshot: &Snapshot, services: impl IntoIterator<Item = ServiceId>) {
        let now = Timestamp::now();
        for id in services {
            let seats: Vec<_> = self.table().get(&id).map(|s| s.taken.values().cloned().collect()).unwrap_or_default();
            let record = snapshot.service_record(id);
            for seat in seats {
                seat.decide_again(record.as_deref(), now);
            }
        }
    }

    /// Decides again for everything: changes were missed, or the clock was set.
    pub(crate) fn decide_all_again(&self, snapshot: &Snapshot) {
        let services: Vec<_> = self.table().keys().copied().collect();
        self.decide_again(snapshot, services);
    }

    pub(crate) fn count(&self) -> usize {
        self.table().values().map(|seats| seats.taken.len()).sum()
    }

    /// How many visits have an end to wait for. A UDP flow has none.
    pub(crate) fn finishing(&self) -> usize {
        let ends = |seat: &&Arc<Seat>| !matches!(seat.visitor.entrance, Entrance::UdpPort(_));
        self.table().values().map(|seats| seats.taken.values().filter(ends).count()).sum()
    }

    /// How many streams stand open at each service.
    pub(crate) fn counts(&self) -> HashMap<ServiceId, u32> {
        let table = self.table();
        table.iter().map(|(id, seats)| (*id, u32::try_from(seats.taken.len()).unwrap_or(u32::MAX))).collect()
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<ServiceId, Seats>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn decide_again(&self, record: Option<&ServiceRecord>, now: Timestamp) {
        let led = record.filter(|record| self.way.leads_to(record));
        match led.map(|record| decide(&record.service, &self.visitor, now)) {
            Some(Ok(permit)) => {
                self.until.send_if_modified(|until| std::mem::replace(until, permit.until()) != permit.until());
            }
            Some(Err(_)) | None => self.cut.cancel(),
        }
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
        let mut table = self.live.table();
        if let Some(seats) = table.get_mut(&self.service) {
            seats.leave(self.number);
            if seats.taken.is_empty() {
                table.remove(&self.service);
            }
        }
    }
}
