//! The connections to targets that one visitor's connection has opened and keeps for its next requests. They are
//! never shared with another visitor: what one opened, no other can reach or confuse.

use super::Body;
use super::breaking::TargetStream;
use super::multiplexed::{Lease, Multiplexed};
use crate::listen::strangers::Place;
use crate::pacing::Terms;
use crate::tasks::Tasks;
use doorward_core::ServiceId;
use doorward_core::names::PathPrefix;
use doorward_tunnel::{OpenError, Stream};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(crate) struct Upstreams {
    tasks: Tasks,
    /// The visitor's, held by each stream as well.
    place: Option<Arc<Place>>,
    idle: Mutex<Vec<Exclusive>>,
    shared: Mutex<Vec<Arc<Shared>>>,
}

/// A service, or one of its mounts, and how fast its streams may be: one that was opened under other terms is not used again.
pub(crate) type TargetPlace = (ServiceId, Option<PathPrefix>, Terms);

/// A connection to a target, as one exchange has it. Dropped before `keep` or `let_go`, the exchange is given up, and
/// then it must not look finished to the target.
pub(crate) enum Upstream {
    One(Exclusive),
    Two(Lease),
}

/// An HTTP/1.1 connection to a target, over one stream.
pub(crate) struct Exclusive {
    place: TargetPlace,
    /// The stream ends at the deadline of the permit that opened it.
    until: Option<Timestamp>,
    pub(crate) sender: http1::SendRequest<Body>,
    breaker: CancellationToken,
    /// Since when nothing of anybody's is on it.
    idle_since: Option<Instant>,
}

/// An HTTP/2 connection to a target, or the attempt to open one: those who ask meanwhile wait for the same.
pub(crate) struct Shared {
    place: TargetPlace,
    until: Option<Timestamp>,
    pub(crate) opened: OnceCell<Result<Multiplexed, OpenError>>,
}

impl Upstream {
    /// Its stream goes on without it.
    pub(crate) fn let_go(self) {
        match self {
            Self::One(mut exclusive) => exclusive.idle_since = Some(Instant::now()),
            Self::Two(lease) => lease.finish(),
        }
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        if self.idle_since.is_none() {
            self.breaker.cancel();
        }
    }
}

const MAX_IDLE: usize = 8;
/// How long a connection is kept without a request; looked at this often.
const IDLE_LIMIT: Duration = Duration::from_secs(50);
const LOOK: Duration = Duration::from_secs(10);
const BUFFER: usize = 64 * 1024;

impl Upstreams {
    pub(crate) fn new(tasks: Tasks, place: Option<Arc<Place>>) -> Self {
        Self { tasks, place, idle: Mutex::default(), shared: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Exclusive>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kept HTTP/1.1 connection, for a request whose permit ends no later than its stream.
    pub(crate) fn take(&self, place: &TargetPlace, until: Option<Timestamp>) -> Option<Exclusive> {
        let mut idle = self.idle();
        idle.retain(|kept| !kept.sender.is_closed());
        let fits = |kept: &Exclusive| kept.place == *place && kept.until == until && kept.sender.is_ready();
        let at = idle.iter().rposition(fits)?;
        let mut exclusive = idle.swap_remove(at);
        exclusive.idle_since = None;
        Some(exclusive)
    }

    pub(crate) fn keep(&self, upstream: Upstream) {
        let mut exclusive = match upstream {
            Upstream::One(exclusive) => exclusive,
            Upstream::Two(lease) => return lease.finish(),
        };
        exclusive.idle_since = Some(Instant::now());
        let mut idle = self.idle();
        if !exclusive.sender.is_closed() {
            idle.push(exclusive);
            if idle.len() > MAX_IDLE {
                idle.remove(0);
            }
        }
    }

    /// The HTTP/2 connection for a request whose permit ends no later than its stream; perhaps not opened yet.
    pub(crate) fn find_shared(&self, place: &TargetPlace, until: Option<Timestamp>) -> Arc<Shared> {
        let mut all = self.shared();
        all.retain(|shared| shared.is_usable());
        if let Some(found) = all.iter().find(|shared| shared.place == *place && shared.until == until) {
            return found.clone();
        }
        let fresh = Arc::new(Shared { place: place.clone(), until, opened: OnceCell::new() });
        all.push(fresh.clone());
        fresh
    }

    /// Nobody gets it any more. What is on it goes on.
    pub(crate) fn forget(&self, shared: &Arc<Shared>) {
        self.shared().retain(|kept| !Arc::ptr_eq(kept, shared));
    }

    /// Speaks HTTP/1.1 over a fresh stream.
    pub(crate) async fn speak(
        &self,
        stream: Stream,
        place: TargetPlace,
        until: Option<Timestamp>,
    ) -> Result<Exclusive, hyper::Error> {
        let breaker = CancellationToken::new();
        let stream = self.target_stream(stream, breaker.clone());
        let mut http = http1::Builder::new();
        http.max_buf_size(BUFFER).preserve_header_case(true);
        let (sender, connection) = http.handshake::<_, Body>(TokioIo::new(stream)).await?;
        self.tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%error, "a connection to a target ended early");
            }
        });
        Ok(Exclusive { place, until, sender, breaker, idle_since: None })
    }

    /// Speaks HTTP/2 over a fresh stream.
    pub(crate) async fn speak_http2(&self, stream: Stream) -> Result<Multiplexed, h2::Error> {
        let stream = self.target_stream(stream, CancellationToken::new());
        Multiplexed::speak(stream, self.tasks.clone()).await
    }

    fn target_stream(&self, stream: Stream, breaker: CancellationToken) -> TargetStream {
        TargetStream::new(stream, breaker, self.tasks.clone(), self.place.clone())
    }

    /// Lets go what nobody has used for a while, for as long as this is polled.
    pub(crate) async fn let_idle_go(&self) -> Infallible {
        loop {
            sleep(LOOK).await;
            let is_recent = |since: Option<Instant>| since.is_none_or(|since| since.elapsed() < IDLE_LIMIT);
            self.idle().retain(|kept| is_recent(kept.idle_since));
            self.shared().retain(|kept| kept.is_usable() && is_recent(kept.idle_since()));
        }
    }

    /// The visitor asks for nothing more.
    pub(crate) fn let_all_go(&self) {
        self.idle().clear();
        self.shared().clear();
    }
}

impl Shared {
    /// Whether it is open, or may yet be.
    fn is_usable(&self) -> bool {
        self.opened.get().is_none_or(|opened| opened.as_ref().is_ok_and(|open| !open.has_ended()))
    }

    fn idle_since(&self) -> Option<Instant> {
        self.opened.get()?.as_ref().ok()?.idle_since()
    }
}
