//! Services that are made ready for their visitors. Which shall be follows from the sessions that are open and from who
//! came lately: it is worked out anew at every change, told to the device that holds the link, and told again now and
//! then, so that nothing has to be remembered over a restart. What the device tells back decides nothing but whether
//! visitors wait.

mod wishes;

use crate::live::Live;
use doorward_control::{Control, Preparation, Snapshot};
use doorward_core::access::How;
use doorward_core::hop::HopFailure;
use doorward_core::names::Label;
use doorward_core::prepare::{Phase, PrepareOffer};
use doorward_core::service::Service;
use doorward_core::{DeviceId, ServiceId};
use doorward_tunnel::messages::{Preparation as Said, Preparations};
use doorward_tunnel::{GatewayLink, OpenError};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use wishes::Told;

pub(crate) struct Preparing {
    control: Control,
    live: Arc<Live>,
    table: Mutex<Table>,
    bell: Notify,
}

#[derive(Default)]
struct Table {
    /// Links of devices that take wishes.
    devices: HashMap<DeviceId, Attended>,
    services: HashMap<ServiceId, Entry>,
}

struct Attended {
    /// Links end elsewhere; nothing here keeps one.
    link: Weak<GatewayLink>,
    told: Option<Told>,
}

/// What is known of a service, and who wants it.
#[derive(Default)]
struct Entry {
    /// `None`: nobody tells.
    seen: watch::Sender<Option<Preparation>>,
    visited_at: Option<Instant>,
    held: usize,
}

/// For so long a visit wakes a service after its end: whoever looks at a page comes again.
const VISIT_COUNTS: Duration = Duration::from_secs(60);
/// Wishes are told again so often. What rests on visits lapses at the device without that.
const TELL_EVERY: Duration = Duration::from_secs(20);
/// Changes tend to come together.
const GATHERING: Duration = Duration::from_millis(20);
/// Visitors who are held for one service at once. Each has a socket open here.
const MOST_HELD: usize = 256;
/// Beyond what the device says that it takes, for its words to arrive.
const GRACE: Duration = Duration::from_secs(30);
/// Of what a device says.
const MOST_WORDS: usize = 100;
const MOST_ERROR: usize = 300;

impl Preparing {
    pub(crate) fn new(control: Control, live: Arc<Live>) -> Arc<Self> {
        Arc::new(Self { control, live, table: Mutex::default(), bell: Notify::new() })
    }

    /// Tells devices what is wished, for as long as it is polled.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut changes = self.control.changes();
        loop {
            self.tell();
            tokio::select! {
                news = changes.next() => if news.is_none() { return },
                () = self.bell.notified() => {}
                () = sleep(TELL_EVERY) => {}
            }
            sleep(GATHERING).await;
        }
    }

    /// The device is there and has said what it offers.
    pub(crate) fn attend(&self, device: DeviceId, link: &Arc<GatewayLink>) {
        if link.takes_wishes() {
            self.table().devices.insert(device, Attended { link: Arc::downgrade(link), told: None });
            self.bell.notify_one();
        }
    }

    /// That link is over. Those who wait go on: the device may be back in a moment.
    pub(crate) fn left(&self, device: DeviceId, link: &Arc<GatewayLink>) {
        let mut table = self.table();
        if table.devices.get(&device).is_none_or(|held| !Weak::ptr_eq(&held.link, &Arc::downgrade(link))) {
            return;
        }
        table.devices.remove(&device);
        let snapshot = self.control.snapshot();
        for record in snapshot.services_of(device) {
            let id = record.service.id;
            self.control.presence().prepares_no_more(id);
            if let Some(entry) = table.services.get(&id) {
                entry.seen.send_replace(None);
            }
            table.tidy(id);
        }
    }

    pub(crate) fn hear(&self, device: DeviceId, said: Preparations) {
        let (snapshot, now) = (self.control.snapshot(), Timestamp::now());
        for said in said.services.into_iter().take(doorward_core::service::MAX_SERVICES) {
            let named = Label::parse(&said.service).ok().and_then(|name| snapshot.service_of(device, &name));
            let service = named.filter(|service| service.prepare.is_some());
            let (Some(service), Some(seen)) = (service, read(said, now)) else { continue };
            self.control.presence().prepares(service.id, seen.clone());
            self.table().services.entry(service.id).or_default().seen.send_replace(Some(seen));
        }
    }

    /// Somebody who is admitted comes. `Some`: they have to wait, and so far it is.
    pub(crate) fn arrive(&self, service: &Service) -> Option<Preparation> {
        let offer = service.prepare?;
        if !is_woken_by_visitors(service, offer) {
            return None;
        }
        let mut table = self.table();
        let entry = table.services.get_mut(&service.id)?;
        let seen = entry.seen.borrow().clone()?;
        let before = entry.visited_at.replace(Instant::now());
        if offer.on_visit && before.is_none_or(|before| before.elapsed() > VISIT_COUNTS / 4) {
            self.bell.notify_one();
        }
        (seen.phase != Phase::Ready).then_some(seen)
    }

    /// How far it is; for those who watch.
    pub(crate) fn watch(&self, service: ServiceId) -> watch::Receiver<Option<Preparation>> {
        self.table().services.entry(service).or_default().seen.subscribe()
    }

    /// Resolves when visitors of the service can be taken to it.
    pub(crate) async fn until_ready(&self, service: &Service) -> Result<(), OpenError> {
        let Some(offer) = service.prepare else { return Ok(()) };
        let Some(first) = self.arrive(service) else { return Ok(()) };
        if let Some(failure) = failure(&first) {
            return Err(failure);
        }
        let _place = self.hold(service.id).ok_or_else(|| OpenError::new(HopFailure::Busy))?;
        let mut seen = self.watch(service.id);
        let deadline = Instant::now() + Duration::from_secs(offer.limit.into()) + GRACE;
        let waiting = async {
            loop {
                let now = seen.borrow_and_update().clone();
                match &now {
                    Some(seen) if seen.phase == Phase::Ready => return Ok(()),
                    Some(seen) => failure(seen).map_or(Ok(()), Err)?,
                    None => {
                        let back = timeout(GRACE, seen.wait_for(Option::is_some)).await;
                        back.map_err(|_| OpenError::new(HopFailure::DeviceOffline))?.map_err(|_| gone())?;
                        continue;
                    }
                }
                seen.changed().await.map_err(|_| gone())?;
            }
        };
        timeout_at(deadline, waiting).await.unwrap_or_else(|_| Err(OpenError::new(HopFailure::NotReady)))
    }

    /// A place among those who wait; given back on drop.
    fn hold(&self, service: ServiceId) -> Option<Place<'_>> {
        let mut table = self.table();
        let entry = table.services.entry(service).or_default();
        if entry.held >= MOST_HELD {
            return None;
        }
        entry.held += 1;
        Some(Place { preparing: self, service })
    }

    fn tell(&self) {
        let (snapshot, now) = (self.control.snapshot(), Timestamp::now());
        let mut table = self.table();
        let Table { devices, services } = &mut *table;
        for (device, attended) in devices {
            let wishes =
                wishes::of(*device, &snapshot, now, |service| self.is_visited(services.get(&service), service));
            wishes::tell(attended, wishes, now);
        }
    }

    fn is_visited(&self, entry: Option<&Entry>, service: ServiceId) -> bool {
        let lately = entry.and_then(|entry| entry.visited_at).is_some_and(|at| at.elapsed() < VISIT_COUNTS);
        lately || self.live.is_visited(service)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Forgets a service of which nobody tells and for which nobody waits.
    fn tidy(&mut self, service: ServiceId) {
        let is_idle = |entry: &Entry| entry.held == 0 && entry.seen.borrow().is_none() && entry.seen.is_closed();
        if self.services.get(&service).is_some_and(is_idle) {
            self.services.remove(&service);
        }
    }
}

struct Place<'p> {
    preparing: &'p Preparing,
    service: ServiceId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut table = self.preparing.table();
        if let Some(entry) = table.services.get_mut(&self.service) {
            entry.held -= 1;
        }
        table.tidy(self.service);
    }
}

/// Whose coming, or session, is a wish. Others find what there is.
fn is_woken_by_visitors(service: &Service, offer: PrepareOffer) -> bool {
    match service.policy.how {
        How::OnRequest { .. } => true,
        How::SignedIn => offer.on_visit,
    }
}

fn failure(seen: &Preparation) -> Option<OpenError> {
    match seen.phase {
        Phase::Failed => {
            let error = seen.error.as_deref().unwrap_or("it failed");
            let detail = format!("step {} of {}, {}: {error}", seen.step, seen.steps, seen.what);
            Some(OpenError { hop: HopFailure::NotReady, detail })
        }
        Phase::Resting | Phase::Preparing | Phase::Ready | Phase::Releasing => None,
    }
}

fn gone() -> OpenError {
    OpenError::new(HopFailure::DeviceOffline)
}

/// What a device says is shown to people: bounded, and on one line. `None`: it is a newer device's.
fn read(said: Said, now: Timestamp) -> Option<Preparation> {
    let phase = said.phase().known()?;
    let words = |text: &str, most: usize| text.chars().filter(|c| !c.is_control()).take(most).collect::<String>();
    let span = |millis: u64| SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
    let number = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    Some(Preparation {
        phase,
        step: number(said.step),
        steps: number(said.steps),
        what: words(&said.what, MOST_WORDS),
        since: now.checked_sub(span(said.for_ms)).unwrap_or(now),
        error: said.error.as_deref().map(|error| words(error, MOST_ERROR)),
        retry_at: said.retry_ms.and_then(|millis| now.checked_add(span(millis)).ok()),
    })
}

/// Whether a service must be ready at all, for what is left of it; see [`wishes`].
fn prepared_services(snapshot: &Snapshot, device: DeviceId) -> impl Iterator<Item = (Arc<Service>, PrepareOffer)> + '_ {
    let services = snapshot.services_of(device).map(|record| record.service.clone());
    services.filter_map(|service| service.prepare.map(|offer| (service, offer)))
}
