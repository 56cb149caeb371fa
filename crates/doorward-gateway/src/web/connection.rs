//! One visitor's HTTP connection.

use super::presented::{Presented, Shown};
use super::turns::{Turn, Turns};
use super::upstreams::Upstreams;
use crate::listen::socket::Breaker;
use crate::listen::strangers::{Handshake, Place};
use crate::listen::turnstile::Passing;
use crate::tasks::Tasks;
use doorward_core::names::HostName;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

pub(crate) struct VisitorConnection {
    pub(crate) peer: SocketAddr,
    /// `None`: plain HTTP.
    presented: Option<Presented>,
    pub(crate) breaker: Breaker,
    tasks: Tasks,
    pub(crate) upstreams: Upstreams,
    /// Given back with the connection, with what became of it by an upgrade, and with its streams.
    place: Option<Arc<Place>>,
    /// Given back with the first request.
    handshake: Mutex<Option<Handshake>>,
    pushed_out: CancellationToken,
    pub(crate) turns: Arc<Turns>,
    /// Whether little of an answer may wait on this side (see `keep_little_unsent`).
    little: Arc<AtomicBool>,
}

/// What may wait of an answer in TLS and again in the kernel, once it must be new when it arrives.
pub(crate) const LITTLE: usize = 16 * 1024;

impl VisitorConnection {
    /// `places`: among the connections and among those that have not said anything yet.
    pub(crate) fn new(
        peer: SocketAddr,
        presented: Option<Presented>,
        breaker: Breaker,
        tasks: Tasks,
        places: (Option<Place>, Option<Handshake>),
        turns: Arc<Turns>,
    ) -> Self {
        let (place, handshake) = (places.0.map(Arc::new), places.1);
        let pushed_out = handshake.as_ref().map(Handshake::pushed_out).unwrap_or_default();
        let handshake = Mutex::new(handshake);
        let upstreams = Upstreams::new(tasks.clone(), place.clone());
        Self { peer, presented, breaker, tasks, upstreams, place, handshake, pushed_out, turns, little: Arc::default() }
    }

    /// From now on, for the connection as a whole: what is shown on it must not grow old here.
    pub(crate) fn keep_little_unsent(&self) {
        self.breaker.keep_unsent_below(LITTLE);
        self.little.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked for; for whoever has the connection's TLS.
    pub(crate) fn little(&self) -> Arc<AtomicBool> {
        self.little.clone()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.presented.is_some()
    }

    /// `None`: plain HTTP, where nobody can show one.
    pub(crate) fn shown_in_turn(&self) -> Option<&Shown> {
        self.presented.as_ref().map(Presented::shown_in_turn)
    }

    /// Whether the visitor was shown a certificate for this host, where any is shown.
    pub(crate) fn speaks_for(&self, host: &HostName) -> bool {
        self.presented.as_ref().is_none_or(|presented| presented.covers(host))
    }

    /// Whether the visitor's source holds so many connections that this one need not be kept for it.
    pub(crate) fn is_crowded(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.is_crowded())
    }

    /// Begins work for a request; of a crowd, one after the other.
    pub(crate) async fn pass_turnstile(&self) -> Option<Passing> {
        self.place.as_ref()?.pass(&self.tasks).await
    }

    /// A request came.
    pub(crate) fn begin_turn(&self) -> Turn {
        self.handshake.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.turns.begin()
    }

    /// Resolves when somebody newer needs the place among those who have not said anything yet.
    pub(crate) async fn until_pushed_out(&self) {
        self.pushed_out.cancelled().await;
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}
