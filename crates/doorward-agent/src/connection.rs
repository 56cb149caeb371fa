//! One gateway, for ever: dial, introduce, hold the link, and again.

mod climb;
mod hold;
mod visits;

use crate::additions::Additions;
use crate::cameras::Cameras;
use crate::counts::Counts;
use crate::deliver::MAX_VISITS;
use crate::join::read_site;
use crate::pinholes::Pinholes;
use crate::prepare::{Board, Preparing};
use crate::proxy::ProxyRule;
use crate::settings::Settings;
use crate::state::{KnownSite, Membership, StateDir, StateError};
use crate::status::{Entry, LinkState};
use crate::tempo::{Tempo, jitter};
use crate::upkeep::Upkeep;
use doorward_core::names::Label;
use doorward_core::site::Carrier;
use doorward_tunnel::identity::DeviceKey;
use doorward_tunnel::messages::{Refusal, Refused, Site};
use doorward_tunnel::{
    AgentStanding, Destination, Dialer, Established, HandshakeError, Introduction, MemoryDialer, Names,
};
use hold::Outcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};
use visits::Visits;

/// What all connections of a process have in common.
pub(crate) struct Shared {
    state: StateDir,
    software: String,
    tempo: Tempo,
    /// Of the environment.
    proxy: Option<ProxyRule>,
    /// The gateway runs in this very process.
    memory: Option<MemoryDialer>,
    /// Changes of the network, counted.
    network: watch::Receiver<u64>,
    /// Tells this process from another machine with the same key.
    instance: [u8; 16],
    epoch: AtomicU64,
    revision: AtomicU64,
    slots: Arc<Semaphore>,
    preparing: Arc<Preparing>,
    additions: Arc<Additions>,
    cameras: Arc<Cameras>,
    pinholes: Arc<Pinholes>,
    /// One look around at a time, whoever asks.
    looking: Arc<Semaphore>,
    upkeep: Option<Upkeep>,
}

/// To which connections pass on what their gateways want.
pub(crate) struct Rooms {
    pub(crate) preparing: Arc<Preparing>,
    pub(crate) additions: Arc<Additions>,
    pub(crate) cameras: Arc<Cameras>,
    pub(crate) pinholes: Arc<Pinholes>,
    pub(crate) upkeep: Option<Upkeep>,
}

impl Shared {
    pub(crate) fn new(
        state: &StateDir,
        software: &str,
        tempo: &Tempo,
        proxy: Option<ProxyRule>,
        memory: Option<MemoryDialer>,
        network: watch::Receiver<u64>,
        rooms: Rooms,
    ) -> Self {
        let Rooms { preparing, additions, cameras, pinholes, upkeep } = rooms;
        Self {
            state: state.clone(),
            software: software.to_owned(),
            tempo: tempo.clone(),
            proxy,
            memory,
            network,
            instance: rand::random(),
            epoch: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            slots: Arc::new(Semaphore::new(MAX_VISITS)),
            preparing,
            additions,
            cameras,
            pinholes,
            looking: Arc::new(Semaphore::new(1)),
            upkeep,
        }
    }

    pub(crate) fn additions(&self) -> &Additions {
        &self.additions
    }

    pub(crate) fn pinholes(&self) -> &Pinholes {
        &self.pinholes
    }

    fn introduction(&self, metered: bool) -> Introduction {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        Introduction { instance: self.instance, epoch, join: None, software: self.software.clone(), metered }
    }
}

pub(crate) struct Connection {
    shared: Arc<Shared>,
    gateway: Label,
    key: Arc<DeviceKey>,
    site: KnownSite,
    /// Whether `site` is on disk as it is here.
    is_stored: bool,
    settings: watch::Receiver<Arc<Settings>>,
    network: watch::Receiver<u64>,
    board: watch::Receiver<Board>,
    status: Entry,
    stop: CancellationToken,
    visits: Visits,
    counts: Arc<Counts>,
    _keeper: AbortOnDropHandle<()>,
    names: Names,
    /// How often a better carrier was tried for in vain.
    climbs: Arc<AtomicUsize>,
    /// Links in a row that did not last.
    short_links: u32,
    /// The last refusal that was logged, so that it is logged once.
    refusal: Option<String>,
}

/// Dialling that has gone on for longer than this has become patient; a change of the network makes it eager again.
const EAGER: Duration = Duration::from_secs(10);
/// However long a gateway asks to be left alone, the device must come back by itself.
const MAX_RETRY: Duration = Duration::from_secs(600);
/// After a handshake that broke.
const PAUSE: Duration = Duration::from_secs(1);

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        membership: Membership,
        settings: watch::Receiver<Arc<Settings>>,
        status: Entry,
        stop: CancellationToken,
    ) -> Self {
        let Membership { gateway, key, site } = membership;
        let counts = Counts::load(&shared.state, &gateway);
        let visits = Visits::new(
            gateway.clone(),
            settings.clone(),
            shared.slots.clone(),
            counts.clone(),
            shared.cameras.clone(),
        );
        let keeper = AbortOnDropHandle::new(tokio::spawn(counts.clone().keep()));
        let (network, board) = (shared.network.clone(), shared.preparing.board());
        Self {
            shared,
            gateway,
            key,
            site,
            is_stored: true,
            settings,
            network,
            board,
            status,
            stop,
            visits,
            counts,
            _keeper: keeper,
            names: Names::default(),
            climbs: Arc::default(),
            short_links: 0,
            refusal: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        let mut better = None;
        loop {
            let standing = match better.take() {
                Some(standing) => standing,
                None => tokio::select! {
                    standing = self.connect() => standing,
                    () = stop.cancelled() => return self.visits.drain(self.shared.tempo.drain).await,
                },
            };
            let stood = Instant::now();
            let pause = match self.hold(standing).await {
                Outcome::Climbed(standing) => {
                    better = Some(standing);
                    continue;
                }
                Outcome::Stopped => return,
                Outcome::Replaced => Duration::ZERO,
                Outcome::Unwanted => self.shared.tempo.hopeless,
                Outcome::Lost => self.pause_after(stood.elapsed()),
            };
            self.status.set_state(LinkState::Connecting { since: Instant::now() });
            tokio::select! {
                () = sleep(jitter(pause)) => {}
                () = stop.cancelled() => return self.visits.drain(self.shared.tempo.drain).await,
            }
        }
    }

    /// None after a link that lasted; one that grows where link after link ends at once.
    fn pause_after(&mut self, lasted: Duration) -> Duration {
        let limit = self.shared.tempo.short_link;
        if lasted >= limit {
            self.short_links = 0;
            return Duration::ZERO;
        }
        let pause = Duration::from_millis(100) * 2_u32.pow(self.short_links.min(10));
        self.short_links += 1;
        if self.short_links == 1 { Duration::ZERO } else { pause.min(limit) }
    }

    /// Dials and introduces until a link stands.
    async fn connect(&mut self) -> AgentStanding {
        loop {
            let established = self.establish().await;
            let who = self.shared.introduction(self.settings.borrow().metered);
            match established.introduce(&self.key, &who).await {
                Ok(standing) => {
                    self.refusal = None;
                    return standing;
                }
                Err(HandshakeError::Refused(refused)) => self.endure(refused).await,
                Err(error) => {
                    debug!(gateway = %self.gateway, %error, "the handshake broke");
                    sleep(jitter(PAUSE)).await;
                }
            }
        }
    }

    async fn establish(&mut self) -> Established {
        loop {
            self.settings.mark_unchanged();
            let Some(dialer) = self.dialer() else {
                sleep(MAX_RETRY).await;
                continue;
            };
            let started = Instant::now();
            let establishing = dialer.establish(self.site.carrier);
            tokio::pin!(establishing);
            loop {
                tokio::select! {
                    established = &mut establishing => return established,
                    Ok(()) = self.network.changed() => {
                        if started.elapsed() > EAGER {
                            debug!(gateway = %self.gateway, "the network changed: dialling eagerly again");
                            break;
                        }
                    }
                    // There may be another proxy.
                    Ok(()) = self.settings.changed() => break,
                }
            }
        }
    }

    fn dialer(&self) -> Option<Dialer> {
        if let Some(memory) = &self.shared.memory {
            return Some(Dialer::memory(memory.clone()));
        }
        let settings = self.settings.borrow();
        let rule = settings.proxy.as_ref().or(self.shared.proxy.as_ref());
        let destination = Destination {
            addresses: self.site.addresses.clone(),
            keys: self.site.keys.clone(),
            proxy: rule.and_then(|rule| rule.for_addresses(&self.site.addresses)),
            metered: settings.metered,
        };
        let dialer = Dialer::with_names(&destination, self.names.clone());
        dialer.inspect_err(|error| warn!(gateway = %self.gateway, %error, "the gateway cannot be dialled")).ok()
    }

    /// Waits as long as a refusal asks for.
    async fn endure(&mut self, refused: Refused) {
        let tempo = &self.shared.tempo;
        let usual = match refused.reason() {
            // It is no device there any more, and its sessions are over.
            Refusal::UnknownKey | Refusal::Revoked | Refusal::Replaced => {
                self.shared.pinholes.forget(&self.gateway);
                tempo.hopeless
            }
            Refusal::TwoMachines => tempo.hopeless,
            Refusal::Unspecified
            | Refusal::Invite
            | Refusal::Busy
            | Refusal::Unsupported
            | Refusal::BadProof
            | Refusal::Superseded => tempo.refused,
        };
        let asked = Duration::from_secs(refused.retry_after_seconds.into());
        let pause = if asked.is_zero() { usual } else { asked.clamp(tempo.refused, MAX_RETRY) };
        if self.refusal.as_ref() != Some(&refused.message) {
            let again = pause.as_secs();
            warn!(gateway = %self.gateway, "the gateway refuses: {} (asking again every {again} s)", refused.message);
            self.refusal = Some(refused.message.clone());
        }
        self.status.set_state(LinkState::Refused { message: refused.message });
        sleep(jitter(pause)).await;
    }

    /// Takes over what the gateway says of its site. `true`: it is on disk, now or already.
    async fn learn(&mut self, told: &Site) -> bool {
        let Some((addresses, keys, revision)) = read_site(told) else {
            warn!(gateway = %self.gateway, "the gateway told of a site without addresses or keys: ignored");
            return false;
        };
        let site = KnownSite { addresses, keys, revision, ..self.site.clone() };
        let is_news = site != self.site;
        if is_news {
            info!(gateway = %self.gateway, revision, "the gateway told of its addresses and keys anew");
        }
        self.keep(site).await
    }

    /// Remembers what worked, for the next start.
    async fn remember(&mut self, carrier: Carrier, device_name: Label) {
        let site = KnownSite { carrier: Some(carrier), device_name, ..self.site.clone() };
        self.keep(site).await;
    }

    /// A device whose disk has become read-only stays reachable: what cannot be stored is used all the same.
    async fn keep(&mut self, site: KnownSite) -> bool {
        if site == self.site && self.is_stored {
            return true;
        }
        self.site = site.clone();
        let (state, gateway, key) = (self.shared.state.clone(), self.gateway.clone(), self.key.public());
        let storing = tokio::task::spawn_blocking(move || state.update_site(&gateway, key, &site));
        let stored = storing.await;
        match &stored {
            Ok(Err(error @ StateError::Replaced { .. })) => debug!("{error}"),
            // Once, however many links come and go on a full disk.
            Ok(Err(error)) if self.is_stored => warn!("{error}"),
            Ok(Err(error)) => debug!("{error}"),
            Ok(Ok(())) | Err(_) => {}
        }
        self.is_stored = matches!(stored, Ok(Ok(())));
        self.is_stored
    }
}
