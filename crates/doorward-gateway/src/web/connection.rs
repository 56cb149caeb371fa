//! One visitor's HTTP connection, and the tunnel streams that it keeps for its next requests. They are never shared
//! with another visitor: what one opened, no other can reach or confuse.

use super::Body;
use super::breaking::TargetStream;
use super::presented::Presented;
use super::turns::{Turn, Turns};
use crate::listen::socket::Breaker;
use crate::listen::strangers::{Handshake, Place};
use crate::tasks::Tasks;
use bytes::Bytes;
use doorward_core::ServiceId;
use doorward_core::names::{HostName, PathPrefix};
use doorward_tunnel::Stream;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(crate) struct VisitorConnection {
    pub(crate) peer: SocketAddr,
    /// `None`: plain HTTP.
    presented: Option<Presented>,
    pub(crate) breaker: Breaker,
    tasks: Tasks,
    idle: Mutex<Vec<Upstream>>,
    /// Given back with the connection, with what became of it by an upgrade, and with its streams.
    place: Option<Arc<Place>>,
    /// Given back with the first request.
    handshake: Mutex<Option<Handshake>>,
    pushed_out: CancellationToken,
    pub(crate) turns: Arc<Turns>,
}

/// A service, or one of its mounts.
pub(crate) type TargetPlace = (ServiceId, Option<PathPrefix>);

/// An HTTP/1.1 connection to a target, over one stream.
pub(crate) struct Upstream {
    pub(crate) place: TargetPlace,
    /// The stream ends at the deadline of the permit that opened it.
    pub(crate) until: Option<Timestamp>,
    pub(crate) sender: http1::SendRequest<Body>,
    breaker: CancellationToken,
    /// Nothing of anybody's is on it.
    is_idle: bool,
}

impl Upstream {
    /// Its stream goes on without it.
    pub(crate) fn let_go(mut self) {
        self.is_idle = true;
    }
}

/// An exchange that is given up must not look finished to the target.
impl Drop for Upstream {
    fn drop(&mut self) {
        if !self.is_idle {
            self.breaker.cancel();
        }
    }
}

const MAX_IDLE: usize = 8;
const BUFFER: usize = 64 * 1024;

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
        Self { peer, presented, breaker, tasks, idle: Mutex::default(), place, handshake, pushed_out, turns }
    }

    pub(crate) fn is_https(&self) -> bool {
        self.presented.is_some()
    }

    /// Whether the visitor was shown a certificate for this host, where any is shown.
    pub(crate) fn speaks_for(&self, host: &HostName) -> bool {
        self.presented.as_ref().is_none_or(|presented| presented.covers(host))
    }

    /// Whether the visitor's source holds so many connections that this one need not be kept for it.
    pub(crate) fn is_crowded(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.is_crowded())
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

    /// A kept connection to the target, for a request whose permit ends no later than its stream.
    pub(crate) fn take(&self, place: &TargetPlace, until: Option<Timestamp>) -> Option<Upstream> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|upstream| !upstream.sender.is_closed());
        let fits = |u: &Upstream| u.place == *place && u.until == until && u.sender.is_ready();
        let at = idle.iter().rposition(fits)?;
        let mut upstream = idle.swap_remove(at);
        upstream.is_idle = false;
        Some(upstream)
    }

    pub(crate) fn keep(&self, mut upstream: Upstream) {
        upstream.is_idle = true;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !upstream.sender.is_closed() {
            idle.push(upstream);
            if idle.len() > MAX_IDLE {
                idle.remove(0);
            }
        }
    }

    /// Speaks HTTP over a fresh stream.
    pub(crate) async fn speak(
        &self,
        stream: Stream,
        place: TargetPlace,
        until: Option<Timestamp>,
    ) -> Result<Upstream, hyper::Error> {
        let breaker = CancellationToken::new();
        let stream = TargetStream::new(stream, breaker.clone(), self.tasks.clone(), self.place.clone());
        let mut http = http1::Builder::new();
        http.max_buf_size(BUFFER).preserve_header_case(true);
        let (sender, connection) = http.handshake::<_, Body>(TokioIo::new(stream)).await?;
        self.tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%error, "a connection to a target ended early");
            }
        });
        Ok(Upstream { place, until, sender, breaker, is_idle: false })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

pub(crate) fn empty() -> Body {
    super::page::body(Bytes::new())
}
