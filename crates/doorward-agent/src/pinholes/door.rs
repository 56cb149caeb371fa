//! The one exception from "nothing listens on a private device": a listener behind a port mapping, for one session, for as long
//! as it is wished and no longer. Routers say more than they do, so that it looks at each peer itself: whoever is not of the
//! session is reset, unread. What passes ends with the session, by this machine's monotonic clock, or when it is wished no more.
//!
//! A NAT keeps what is connected when a mapping goes. That is why a mapping leads here, and never to the target.

use super::probes::Probes;
use crate::deliver::{CONNECT_LIMIT, tcp, unix};
use crate::target::Place;
use doorward_core::pinhole::PinholeId;
use doorward_tunnel::splice::{Traffic, splice};
use doorward_tunnel::{Duplex, Probe, Stream, tune_tcp};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info};

/// Who may come in, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) until: Instant,
    pub(super) sources: BTreeSet<Ipv4Addr>,
}

/// Dropping it shuts it and resets whoever is inside.
pub(super) struct Door {
    pub(super) local: Ipv4Addr,
    pub(super) port: NonZeroU16,
    pub(super) to: Place,
    terms: watch::Sender<Terms>,
    has_passed: Arc<AtomicBool>,
    _cut: DropGuard,
}

/// What all doors have in common.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) probes: Arc<Probes>,
    /// Rings when the first visitor of a door was connected.
    pub(super) bell: Arc<Notify>,
    places: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

/// Connections at once, through all doors.
const MOST_VISITORS: usize = 512;
/// Of those who may be the probe that was announced.
const MOST_STRANGERS: usize = 8;
/// For a probe's first bytes.
const PREFACE_LIMIT: Duration = Duration::from_secs(3);
/// A visitor who is silent at first waits so long while a probe is expected; nobody was told of the door then.
const VISITOR_WAITS: Duration = Duration::from_secs(1);
/// Where no connection can be taken, as with too many files open.
const PAUSE: Duration = Duration::from_millis(200);

impl Common {
    pub(super) fn new(probes: Arc<Probes>) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { probes, bell: Arc::default(), places: places(MOST_VISITORS), strangers: places(MOST_STRANGERS) }
    }
}

impl Door {
    /// Listens at a free port of this address. `tasks` owns what runs.
    pub(super) async fn open(
        (id, local, to): (PinholeId, Ipv4Addr, Place),
        terms: Terms,
        common: &Common,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((local, 0)).await?;
        let port = listener.local_addr()?.port();
        let port = NonZeroU16::new(port).expect("a socket that listens has a port");
        let (terms, has_passed, cut) =
            (watch::Sender::new(terms), Arc::<AtomicBool>::default(), CancellationToken::new());
        let inside = Inside {
            id,
            to: to.clone(),
            common: common.clone(),
            has_passed: has_passed.clone(),
            end: End { terms: terms.subscribe(), cut: cut.clone() },
        };
        info!(id = %inside.id, %port, "listening for a session's visitor");
        tasks.spawn(inside.serve(listener));
        Ok(Self { local, port, to, terms, has_passed, _cut: cut.drop_guard() })
    }

    /// Whoever is inside and not meant any more is reset.
    pub(super) fn set(&self, terms: Terms) {
        self.terms.send_if_modified(|before| {
            let is_news = *before != terms;
            *before = terms;
            is_news
        });
    }

    /// Whether a visitor came in and was connected.
    pub(super) fn has_passed(&self) -> bool {
        self.has_passed.load(Ordering::Relaxed)
    }

    pub(super) fn forget_passed(&self) {
        self.has_passed.store(false, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Inside {
    id: PinholeId,
    to: Place,
    common: Common,
    has_passed: Arc<AtomicBool>,
    end: End,
}

#[derive(Clone)]
struct End {
    terms: watch::Receiver<Terms>,
    cut: CancellationToken,
}

impl End {
    fn admits(&self, source: Ipv4Addr) -> bool {
        let terms = self.terms.borrow();
        Instant::now() < terms.until && terms.sources.contains(&source)
    }

    /// Resolves when the time is up or the door is dropped; with a source, also when that is not let in any more.
    async fn come(mut self, source: Option<Ipv4Addr>) {
        loop {
            let until = {
                let terms = self.terms.borrow_and_update();
                if source.is_some_and(|source| !terms.sources.contains(&source)) {
                    return;
                }
                terms.until
            };
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.cut.cancelled() => return,
                changed = self.terms.changed() => if changed.is_err() { return },
            }
        }
    }
}

impl Inside {
    async fn serve(self, listener: TcpListener) {
        let mut visits = JoinSet::new();
        let mut end = Box::pin(self.end.clone().come(None));
        loop {
            tokio::select! {
                biased;
                () = &mut end => break,
                Some(_) = visits.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => self.take(socket, peer.ip(), &mut visits),
                    Err(error) => {
                        debug!(%error, "no connection could be taken");
                        sleep(PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        debug!(id = %self.id, "listening no more");
        // Each has heard of the same end.
        while visits.join_next().await.is_some() {}
    }

    /// A stranger is reset at once, unless a probe is expected.
    fn take(&self, mut socket: TcpStream, source: IpAddr, visits: &mut JoinSet<()>) {
        let probe = self.common.probes.expected(&self.id);
        let source = match source.to_canonical() {
            IpAddr::V4(source) if self.end.admits(source) => Some(source),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        };
        let places = if source.is_some() { &self.common.places } else { &self.common.strangers };
        let place = places.clone().try_acquire_owned().ok().filter(|_| source.is_some() || probe.is_some());
        let Some(place) = place else { return socket.abort() };
        let inside = self.clone();
        visits.spawn(async move {
            let _place = place;
            match source {
                Some(source) => inside.receive(socket, source, probe).await,
                None => inside.receive_stranger(socket, probe).await,
            }
        });
    }

    async fn receive_stranger(self, mut socket: TcpStream, probe: Option<Arc<Probe>>) {
        let first = begins(&mut socket, PREFACE_LIMIT).await;
        match probe {
            Some(probe) if probe.is_begun_by(&first) => self.answer(socket, &probe).await,
            Some(_) | None => socket.abort(),
        }
    }

    /// The gateway's machine may be the visitor's, too.
    async fn receive(self, mut socket: TcpStream, source: Ipv4Addr, probe: Option<Arc<Probe>>) {
        let first = match &probe {
            Some(_) => begins(&mut socket, VISITOR_WAITS).await,
            None => Vec::new(),
        };
        match probe {
            Some(probe) if probe.is_begun_by(&first) => self.answer(socket, &probe).await,
            Some(_) | None => match self.to.clone() {
                Place::Network { host, port } => self.pass(socket, source, first, tcp::connect(&host, port)).await,
                Place::Socket(path) => self.pass(socket, source, first, unix::connect(&path)).await,
            },
        }
    }

    async fn answer(&self, mut socket: TcpStream, probe: &Probe) {
        if !self.common.probes.use_up(&self.id, probe) {
            return socket.abort();
        }
        let answered = timeout(PREFACE_LIMIT, probe.answer(&mut socket)).await;
        debug!(id = %self.id, ?answered, "tried from outside");
    }

    /// `first`: what was read of the visitor already.
    async fn pass<S: Duplex, F>(
        &self,
        mut socket: TcpStream,
        source: Ipv4Addr,
        first: Vec<u8>,
        connecting: impl Future<Output = Result<S, F>>,
    ) {
        let end = self.end.clone().come(Some(source));
        tokio::pin!(end);
        let connected = async {
            let mut target = timeout(CONNECT_LIMIT, connecting).await.ok()?.ok()?;
            timeout(CONNECT_LIMIT, target.write_all(&first)).await.ok()?.ok()?;
            Some(target)
        };
        let target = tokio::select! {
            biased;
            () = &mut end => None,
            target = connected => target,
        };
        let Some(target) = target else {
            debug!(id = %self.id, "the target could not be connected");
            return socket.abort();
        };
        if !self.has_passed.swap(true, Ordering::Relaxed) {
            self.common.bell.notify_one();
        }
        tune_tcp(&socket);
        let traffic = Traffic::default();
        let done = splice(target, Stream::of(Box::new(socket)), &traffic.down, &traffic.up, end).await;
        debug!(id = %self.id, ?traffic, "a visit past the gateway ended: {}", done.word());
    }
}

/// What a connection begins with, as far as it comes in time: no more than a probe's preface.
async fn begins(socket: &mut TcpStream, limit: Duration) -> Vec<u8> {
    let mut first = Vec::with_capacity(Probe::PREFACE);
    // What was read before the limit, or before it broke, is there all the same; whoever passes it on sees the break.
    let _ = timeout(limit, socket.take(Probe::PREFACE as u64).read_to_end(&mut first)).await;
    first
}

#[cfg(test)]
mod tests;
