//! Requests that the owner of a service looks at: off unless switched on, for a while, and in memory alone. Gateways put in
//! what they carry, people take out what is theirs to see; when the time is over, all of it is forgotten.
//!
//! While nobody looks at anything, a request costs one load of a number that hardly ever changes.

mod seen;

pub use seen::{Ending, Exchange, KeptBody, MOST_BODY, Replayable, Seen, Taken};

use crate::store::StoreError;
use crate::{Control, EditError};
use doorward_core::audit::Deed;
use doorward_core::{AccountId, ServiceId};
use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// How somebody looks at a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InspectionWish {
    pub length: SignedDuration,
    /// Whether the beginnings of bodies are kept, too.
    pub with_bodies: bool,
}

/// What there is to see, the newest first.
#[derive(Clone, Debug)]
pub struct Inspection {
    pub until: Timestamp,
    pub with_bodies: bool,
    pub seen: Vec<Seen>,
}

/// A request to be sent once more. Whoever asks is the visitor.
#[derive(Debug)]
pub struct ReplayWish {
    pub service: ServiceId,
    pub of: u64,
    pub exchange: Exchange,
    pub account: AccountId,
    pub source: IpAddr,
    pub answer: oneshot::Sender<Result<(), ReplayError>>,
}

/// Why it was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    #[error("there is no such request any more")]
    Gone,
    #[error("it cannot be sent again: {0}")]
    Partial(&'static str),
    #[error("the service's policy does not let you in now ({0}); what you send again is a visit of yours")]
    NotLetIn(&'static str),
    #[error("the device did not take it: {0}")]
    Failed(String),
    #[error("too many are being sent again; try in a moment")]
    Busy,
}

#[derive(Debug)]
pub struct Inspections {
    count: AtomicUsize,
    watched: Mutex<HashMap<ServiceId, Watched>>,
    replays: mpsc::Sender<ReplayWish>,
    taking: Mutex<Option<mpsc::Receiver<ReplayWish>>>,
}

#[derive(Debug)]
struct Watched {
    until: Timestamp,
    with_bodies: bool,
    last: u64,
    seen: VecDeque<Exchange>,
}

/// Each may hold some megabytes.
const MOST_SERVICES: usize = 16;
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
const MOST_SEEN: usize = 100;
/// With bodies.
const MOST_LARGE: usize = 30;
const REPLAYS: usize = 8;

impl Default for Inspections {
    fn default() -> Self {
        let (replays, taking) = mpsc::channel(REPLAYS);
        Self { count: AtomicUsize::new(0), watched: Mutex::default(), replays, taking: Mutex::new(Some(taking)) }
    }
}

impl Control {
    pub fn inspections(&self) -> &Inspections {
        &self.0.inspections
    }

    /// Looks at a service from now on; if somebody does already, until then and like this.
    pub async fn inspect(&self, service: ServiceId, wish: InspectionWish, now: Timestamp) -> Result<(), EditError> {
        if wish.length <= SignedDuration::ZERO || wish.length > LONGEST {
            return Err(EditError::Invalid("look for some time, a day at most".into()));
        }
        let path = self.path_of(service)?;
        let until = now.saturating_add(wish.length).map_err(|_| EditError::Invalid("that is too long".into()))?;
        if !self.inspections().has_room(service, now) {
            let why = "too many services are looked at already; end one of them first";
            return Err(EditError::Invalid(why.into()));
        }
        let bodies = if wish.with_bodies { "with bodies" } else { "without bodies" };
        let detail = format!("until {until}, {bodies}");
        self.record(Deed::InspectionBegun, path, detail, None, now).await?;
        self.inspections().begin(service, until, wish.with_bodies);
        Ok(())
    }

    /// Forgets all that was seen.
    pub async fn stop_inspecting(&self, service: ServiceId, now: Timestamp) -> Result<(), EditError> {
        let path = self.path_of(service)?;
        if self.inspections().end(service) {
            self.record(Deed::InspectionEnded, path, String::new(), None, now).await?;
        }
        Ok(())
    }

    /// Sends a request that was seen once more, as this person.
    pub async fn replay(
        &self,
        service: ServiceId,
        number: u64,
        by: (AccountId, IpAddr),
        now: Timestamp,
    ) -> Result<Result<(), ReplayError>, StoreError> {
        let Some(exchange) = self.inspections().exchange(service, number, now) else {
            return Ok(Err(ReplayError::Gone));
        };
        let Ok(path) = self.path_of(service) else { return Ok(Err(ReplayError::Gone)) };
        if let Err(why) = exchange.seen().replayable() {
            return Ok(Err(ReplayError::Partial(why)));
        }
        let (answer, answered) = oneshot::channel();
        let (account, source) = by;
        let wish = ReplayWish { service, of: number, exchange, account, source, answer };
        self.record(Deed::RequestReplayed, path, format!("request {number}"), None, now).await?;
        if self.inspections().replays.try_send(wish).is_err() {
            return Ok(Err(ReplayError::Busy));
        }
        Ok(answered.await.unwrap_or(Err(ReplayError::Busy)))
    }

    fn path_of(&self, service: ServiceId) -> Result<String, EditError> {
        let record = self.snapshot().service_record(service);
        record.map(|record| record.service.path()).ok_or_else(|| EditError::Unknown(format!("service {service}")))
    }
}

impl Inspections {
    /// Whether somebody looks at any service.
    pub fn is_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// A place for a request to this service, if somebody looks; the first thing of it is noted at once.
    pub fn take(&self, service: ServiceId, now: Timestamp, first: impl FnOnce(bool) -> Seen) -> Option<Exchange> {
        if !self.is_any() {
            return None;
        }
        let mut watched = self.watched();
        self.forget_old(&mut watched, now);
        let place = watched.get_mut(&service)?;
        place.last += 1;
        let exchange = Exchange::new(Seen { number: place.last, ..first(place.with_bodies) }, place.with_bodies);
        place.seen.push_back(exchange.clone());
        if place.seen.len() > if place.with_bodies { MOST_LARGE } else { MOST_SEEN } {
            place.seen.pop_front();
        }
        Some(exchange)
    }

    /// `None`: nobody looks at it.
    pub fn of(&self, service: ServiceId, now: Timestamp) -> Option<Inspection> {
        let mut watched = self.watched();
        self.forget_old(&mut watched, now);
        let place = watched.get(&service)?;
        let seen = place.seen.iter().rev().map(Exchange::seen).collect();
        Some(Inspection { until: place.until, with_bodies: place.with_bodies, seen })
    }

    /// What was to be sent again. For the one who sends.
    pub fn take_replays(&self) -> Option<mpsc::Receiver<ReplayWish>> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn forget(&self, now: Timestamp) {
        let mut watched = self.watched();
        self.forget_old(&mut watched, now);
    }

    fn exchange(&self, service: ServiceId, number: u64, now: Timestamp) -> Option<Exchange> {
        let mut watched = self.watched();
        self.forget_old(&mut watched, now);
        watched.get(&service)?.seen.iter().find(|exchange| exchange.number() == number).cloned()
    }

    fn has_room(&self, service: ServiceId, now: Timestamp) -> bool {
        let mut watched = self.watched();
        self.forget_old(&mut watched, now);
        watched.len() < MOST_SERVICES || watched.contains_key(&service)
    }

    fn begin(&self, service: ServiceId, until: Timestamp, with_bodies: bool) {
        let mut watched = self.watched();
        let fresh = || Watched { until, with_bodies, last: 0, seen: VecDeque::new() };
        let place = watched.entry(service).or_insert_with(fresh);
        (place.until, place.with_bodies) = (until, with_bodies);
        self.count.store(watched.len(), Ordering::Relaxed);
    }

    fn end(&self, service: ServiceId) -> bool {
        let mut watched = self.watched();
        let was_there = watched.remove(&service).is_some();
        self.count.store(watched.len(), Ordering::Relaxed);
        was_there
    }

    fn forget_old(&self, watched: &mut HashMap<ServiceId, Watched>, now: Timestamp) {
        watched.retain(|_, place| now < place.until);
        self.count.store(watched.len(), Ordering::Relaxed);
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<ServiceId, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
