//! From a visit to its target: the service is looked up in the agent's own list, the target is connected, and bytes
//! pass until one side ends, the time is up, or the service is not offered any more.

mod camera;
pub(crate) mod https;
pub(crate) mod tcp;
mod udp;
pub(crate) mod unix;

use self::https::Spoken;
use crate::cameras::Cameras;
use crate::counts::Counts;
use crate::settings::Settings;
use crate::target::{Place, Target};
use doorward_core::hop::HopFailure;
use doorward_core::names::{Label, PathPrefix};
use doorward_tunnel::splice::{End, Traffic, splice};
use doorward_tunnel::{Duplex, Visit};
use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// Visits at once, over all gateways.
pub(crate) const MAX_VISITS: usize = 2048;
/// Less than the gateway waits (`doorward_tunnel::OPEN_LIMIT`), so that it hears the reason.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(8);
/// For the few bytes of an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Delivers the visits of one gateway.
#[derive(Clone)]
pub(crate) struct Deliverer {
    pub(crate) gateway: Label,
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) troubles: Arc<Troubles>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) cameras: Arc<Cameras>,
    /// Ends all that runs.
    pub(crate) cut: CancellationToken,
    /// Takes no more.
    pub(crate) draining: CancellationToken,
}

/// Why a target was not connected.
pub(crate) struct Failure {
    hop: HopFailure,
    /// For the device's owner. It names no address: those are the agent's own.
    pub(crate) detail: String,
}

impl Failure {
    fn new(hop: HopFailure, detail: impl Into<String>) -> Self {
        Self { hop, detail: detail.into() }
    }
}

impl Deliverer {
    /// Takes the visits of one link; resolves when there will be no more and all have ended.
    pub(crate) async fn take(self, mut visits: mpsc::Receiver<Visit>) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                visit = visits.recv() => match visit {
                    Some(visit) => drop(running.spawn(self.clone().deliver(visit))),
                    None => break,
                },
                Some(done) = running.join_next() => note_panic(done),
                () = self.draining.cancelled() => break,
            }
        }
        drop(visits);
        while let Some(done) = running.join_next().await {
            note_panic(done);
        }
    }

    async fn deliver(mut self, visit: Visit) {
        let deadline = visit.remaining.and_then(|left| Instant::now().checked_add(left));
        let (service, mount) = (visit.service.clone(), visit.mount.clone());
        let Ok(_slot) = self.slots.clone().try_acquire_owned() else {
            return refuse(visit, Failure::new(HopFailure::Busy, "the device serves as many visits as it can")).await;
        };
        let found = self.settings.borrow_and_update().target(&self.gateway, &service, mount.as_ref()).cloned();
        let Some(target) = found else {
            debug!(%service, gateway = %self.gateway, "a visit to a service that is not in the list");
            let detail = "the device's own list has no such service for this gateway";
            return refuse(visit, Failure::new(HopFailure::AgentRefused, detail)).await;
        };
        let cut = self.clone().until_cut((&service, mount.as_ref()), &target, deadline);
        let (troubles, counts) = (&self.troubles, &self.counts);
        match &target {
            Target::Http(Place::Network { host, port })
            | Target::H2c(Place::Network { host, port })
            | Target::Tcp(Place::Network { host, port }) => {
                bridge(visit, tcp::connect(host, *port), &target, (troubles, counts), cut).await;
            }
            Target::Https { host, port, verify } => {
                let connecting = https::connect(host, *port, *verify, Spoken::Http1);
                bridge(visit, connecting, &target, (troubles, counts), cut).await;
            }
            Target::H2 { host, port, verify } => {
                let connecting = https::connect(host, *port, *verify, Spoken::Http2);
                bridge(visit, connecting, &target, (troubles, counts), cut).await;
            }
            Target::Http(Place::Socket(path)) | Target::H2c(Place::Socket(path)) | Target::Tcp(Place::Socket(path)) => {
                bridge(visit, unix::connect(path), &target, (troubles, counts), cut).await;
            }
            Target::Udp { host, port } => udp::deliver(visit, (host, *port), &target, (troubles, counts), cut).await,
            Target::Camera(of) => camera::deliver(visit, of, (&self.cameras, counts), cut).await,
        }
    }

    /// Resolves when the visit's time is up, its service is gone or leads elsewhere, or everything ends.
    async fn until_cut(
        mut self,
        (service, mount): (&Label, Option<&PathPrefix>),
        target: &Target,
        deadline: Option<Instant>,
    ) {
        let out_of_time = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let changed = async {
            while self.settings.changed().await.is_ok() {
                if self.settings.borrow_and_update().target(&self.gateway, service, mount) != Some(target) {
                    return;
                }
            }
            pending().await
        };
        tokio::select! {
            () = out_of_time => {}
            () = changed => {}
            () = self.cut.cancelled() => {}
        }
    }
}

/// Connects a byte stream and passes bytes.
async fn bridge<S: Duplex>(
    visit: Visit,
    connecting: impl Future<Output = Result<S, Failure>>,
    target: &Target,
    (troubles, counts): (&Troubles, &Counts),
    cut: impl Future<Output = ()>,
) {
    tokio::pin!(cut);
    if visit.is_flow() {
        return refuse(visit, Failure::new(HopFailure::AgentRefused, "the service takes no UDP")).await;
    }
    let service = visit.service.clone();
    let connected = tokio::select! {
        biased;
        () = &mut cut => Err(out_of_time()),
        connected = timeout(CONNECT_LIMIT, connecting) => connected.unwrap_or_else(|_| Err(too_slow())),
    };
    let near = match connected {
        Ok(near) => near,
        Err(failure) => {
            troubles.note(&service, target, &failure);
            return refuse(visit, failure).await;
        }
    };
    troubles.clear(&service);
    let Ok(Ok(stream)) = timeout(ANSWER_LIMIT, visit.accept()).await else { return };
    let stream = stream.counted_in(counts.of(&service));
    let traffic = Traffic::default();
    let end = splice(near, stream, &traffic.down, &traffic.up, cut).await;
    let reason = match &end {
        End::Finished => "finished".to_owned(),
        End::Lingered => "silent after one side finished".to_owned(),
        End::Broken(error) => format!("broken: {error}"),
        End::Cut => "cut".to_owned(),
    };
    debug!(%service, ?traffic, "a visit ended: {reason}");
}

fn out_of_time() -> Failure {
    Failure::new(HopFailure::AgentRefused, "the permission ended before the target was connected")
}

fn too_slow() -> Failure {
    let detail = format!("it did not take the connection within {} s", CONNECT_LIMIT.as_secs());
    Failure::new(HopFailure::TargetTimedOut, detail)
}

/// What a failed connect means for those who read about it.
fn connect_failure(error: &io::Error) -> Failure {
    let hop = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => HopFailure::TargetRefused,
        io::ErrorKind::TimedOut => HopFailure::TargetTimedOut,
        _ => HopFailure::TargetUnreachable,
    };
    Failure::new(hop, error.to_string())
}

/// Services that cannot be connected at present. Each is logged once, however many visitors find out.
#[derive(Default)]
pub(crate) struct Troubles(Mutex<HashMap<Label, HopFailure>>);

impl Troubles {
    fn note(&self, service: &Label, target: &Target, failure: &Failure) {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.insert(service.clone(), failure.hop) != Some(failure.hop) {
            warn!(%service, %target, "visitors cannot be connected: {} ({})", failure.hop, failure.detail);
        }
    }

    fn clear(&self, service: &Label) {
        let had = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(service);
        if had.is_some() {
            info!(%service, "visitors are connected again");
        }
    }
}

async fn refuse(visit: Visit, failure: Failure) {
    // Whether it is heard does not matter: without an answer the gateway tells the visitor as much.
    let _ = timeout(ANSWER_LIMIT, visit.fail(failure.hop, &failure.detail)).await;
}

fn note_panic(done: Result<(), JoinError>) {
    if let Err(fault) = done
        && fault.is_panic()
    {
        error!(%fault, "a visit ended by a mistake in Doorward; please report it");
    }
}
