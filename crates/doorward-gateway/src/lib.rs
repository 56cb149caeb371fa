//! The data plane: entrances, admission, links. It decides nothing by itself: control publishes a snapshot, core
//! decides, and only what was decided opens a link.

mod admit;
mod certificates;
mod clock;
mod links;
mod listen;
mod live;
mod passwords;
mod settings;
mod site;
mod tasks;
mod web;

pub use certificates::CertificateError;
pub use settings::{CertificateSource, EVERYWHERE, FlowSettings, GatewaySettings, Limits};

use admit::Admission;
use doorward_control::{Control, KeyStanding, News, SiteKeys};
use doorward_core::DeviceId;
use doorward_core::site::{Address, Carrier, Endpoint};
use doorward_tunnel::identity::{KeyError, SiteIdentity};
use doorward_tunnel::messages::{Leaving, Message};
use doorward_tunnel::{Acceptor, MemoryDialer, MemoryListener, memory};
use futures_util::future::join_all;
use hyper_util::server::graceful::GracefulShutdown;
use links::Links;
use links::agent::Reception;
use listen::ports::Ports;
use listen::strangers::Strangers;
use listen::web::WebEntrance;
use listen::{listen_tcp, ports, quic};
use live::Live;
use site::SiteVoice;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tasks::Tasks;
use thiserror::Error;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};
use web::forward::Web;

#[derive(Debug, Error)]
pub enum StartError {
    #[error("{what} {address} cannot be opened: {source}")]
    Listen { what: &'static str, address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    SiteKey(#[from] KeyError),
    #[error("the TLS configuration is not usable: {0}")]
    Tls(#[from] rustls::Error),
}

/// A running gateway. Dropping it ends everything at once; [`Gateway::drain`] lets visits finish.
pub struct Gateway {
    control: Control,
    live: Arc<Live>,
    links: Arc<Links>,
    memory: MemoryDialer,
    bound: Bound,
    addresses: Vec<Address>,
    listeners: JoinSet<()>,
    /// What must go on while visits finish: above all, cutting those that are allowed no more.
    keepers: JoinSet<()>,
    quic: Vec<quinn::Endpoint>,
    visits: Tasks,
    graceful: Arc<Mutex<GracefulShutdown>>,
}

/// Where it listens really; port 0 in the settings became something.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    pub https: Vec<SocketAddr>,
    pub http: Vec<SocketAddr>,
    pub quic: Vec<SocketAddr>,
}

impl Bound {
    /// Port 0 in an address stands for the port that was opened.
    fn fill_ports(&self, addresses: &[Address]) -> Vec<Address> {
        if addresses.iter().flat_map(Address::endpoints).all(|endpoint| endpoint.port != 0) {
            return addresses.to_vec();
        }
        let fill = |endpoint: Endpoint| {
            let opened = match endpoint.carrier {
                Carrier::Quic => self.quic.first(),
                Carrier::Tls | Carrier::WebSocket | Carrier::Memory => self.https.first(),
            };
            let port = opened.map(SocketAddr::port).filter(|_| endpoint.port == 0).unwrap_or(endpoint.port);
            Address::one(endpoint.carrier, endpoint.host, port)
        };
        addresses.iter().flat_map(Address::endpoints).map(fill).collect()
    }
}

impl Gateway {
    /// Opens every listener, or none.
    pub async fn start(settings: GatewaySettings, control: Control) -> Result<Self, StartError> {
        let identity = SiteIdentity::issue(&control.site_keys().active.pkcs8)?;
        let acceptor = Arc::new(Acceptor::new(&identity)?);
        let certificate = certificates::web_config(&settings.certificate)?;
        let opened = Opened::open(&settings, &acceptor)?;
        let bound = opened.bound();

        let (live, links) = (Arc::new(Live::default()), Arc::new(Links::default()));
        let web_ports = bound.https.iter().chain(&bound.http).map(SocketAddr::port).collect();
        let addresses = bound.fill_ports(&settings.addresses);
        let voice = Arc::new(SiteVoice::new(control.clone(), addresses.clone(), web_ports));
        let admission =
            Admission { control: control.clone(), live: live.clone(), links: links.clone(), flows: settings.flows };
        let reception =
            Reception { control: control.clone(), links: links.clone(), live: live.clone(), voice: voice.clone() };
        let strangers = Strangers::new(settings.limits);
        let (visits, graceful) = (Tasks::default(), Arc::<Mutex<GracefulShutdown>>::default());
        let web = Arc::new(Web {
            admission: admission.clone(),
            acceptor: acceptor.clone(),
            reception: reception.clone(),
            passwords: passwords::Passwords::new(),
            proxies: settings.proxies,
        });
        let entrance = |certificate| WebEntrance {
            web: web.clone(),
            strangers: strangers.clone(),
            certificate,
            tasks: visits.clone(),
            graceful: graceful.clone(),
        };

        let mut listeners = JoinSet::new();
        for listener in opened.https {
            listeners.spawn(entrance(Some(certificate.clone())).serve(listener));
        }
        for listener in opened.http {
            listeners.spawn(entrance(None).serve(listener));
        }
        for endpoint in &opened.quic {
            let (endpoint, acceptor, reception) = (endpoint.clone(), acceptor.clone(), reception.clone());
            listeners.spawn(quic::serve(endpoint, acceptor, reception, strangers.clone(), visits.clone()));
        }
        let (memory, memory_links) = memory();
        listeners.spawn(take_memory_links(memory_links, acceptor.clone(), reception, visits.clone()));
        let ports = Ports { admission, strangers, ips: settings.port_ips, tasks: visits.clone() };
        listeners.spawn(ports::keep(ports));
        let mut keepers = JoinSet::new();
        keepers.spawn(clock::watch(control.clone(), live.clone()));
        let follower = Follower { control: control.clone(), live: live.clone(), links: links.clone(), voice, acceptor };
        let quic = opened.quic.clone();
        keepers.spawn(follower.follow(opened.quic));
        Ok(Self { control, live, links, memory, bound, addresses, listeners, keepers, quic, visits, graceful })
    }

    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// How agents reach it: as set, with real ports.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// For the built-in agent.
    pub fn memory_dialer(&self) -> MemoryDialer {
        self.memory.clone()
    }

    pub fn open_streams(&self) -> usize {
        self.live.count()
    }

    pub fn links(&self) -> usize {
        self.links.count()
    }

    /// Stops listening, tells the agents, and lets visits finish for at most `limit`.
    pub async fn drain(mut self, limit: Duration) {
        self.listeners.abort_all();
        let before = self.live.finishing();
        if before > 0 {
            info!(streams = before, "waiting for visits to finish");
        }
        let finishing = async {
            let graceful = std::mem::take(&mut *self.graceful.lock().unwrap_or_else(PoisonError::into_inner));
            graceful.shutdown().await;
            while self.live.finishing() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = tokio::time::timeout(limit, finishing).await;
        let held = self.links.all();
        let goodbyes: JoinSet<()> = held
            .into_iter()
            .map(|(id, _)| {
                let links = self.links.clone();
                async move { links.close(id, Leaving::Stopping).await }
            })
            .collect();
        let _ = tokio::time::timeout(Duration::from_secs(2), goodbyes.join_all()).await;
        let rest = self.live.count();
        if rest > 0 {
            warn!(streams = rest, "visits were broken off");
        }
        let _ = self.control.flush_audit().await;
        self.keepers.abort_all();
        self.visits.stop();
        self.visits.ended().await;
        for endpoint in &self.quic {
            endpoint.close(0_u32.into(), b"");
            let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.visits.stop();
    }
}

/// Sockets that are open, before anything is served on them.
struct Opened {
    https: Vec<tokio::net::TcpListener>,
    http: Vec<tokio::net::TcpListener>,
    quic: Vec<quinn::Endpoint>,
}

impl Opened {
    fn open(settings: &GatewaySettings, acceptor: &Acceptor) -> Result<Self, StartError> {
        let tcp = |what, addresses: &[SocketAddr]| {
            let open =
                |a: &SocketAddr| listen_tcp(*a).map_err(|source| StartError::Listen { what, address: *a, source });
            addresses.iter().map(open).collect::<Result<Vec<_>, _>>()
        };
        let https = tcp("HTTPS on", &settings.https)?;
        let http = tcp("HTTP on", &settings.http)?;
        let open_quic = |address: &SocketAddr| {
            let opened = acceptor.listen_quic(*address);
            opened.map_err(|source| StartError::Listen { what: "QUIC on UDP", address: *address, source })
        };
        let quic = settings.quic.iter().map(open_quic).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { https, http, quic })
    }

    fn bound(&self) -> Bound {
        let tcp =
            |listeners: &[tokio::net::TcpListener]| listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        let quic = self.quic.iter().filter_map(|endpoint| endpoint.local_addr().ok()).collect();
        Bound { https: tcp(&self.https), http: tcp(&self.http), quic }
    }
}

async fn take_memory_links(mut listener: MemoryListener, acceptor: Arc<Acceptor>, reception: Reception, tasks: Tasks) {
    while let Some(channel) = listener.accept().await {
        let (acceptor, reception) = (acceptor.clone(), reception.clone());
        tasks.spawn(async move {
            match acceptor.take_memory(channel).await {
                Ok(Some(arrival)) => reception.receive(arrival).await,
                Ok(None) => {}
                Err(error) => debug!(%error, "the built-in agent did not get through"),
            }
        });
    }
}

/// Does what changes of the state ask for: cuts what is allowed no more, and tells agents what they must know.
struct Follower {
    control: Control,
    live: Arc<Live>,
    links: Arc<Links>,
    voice: Arc<SiteVoice>,
    acceptor: Arc<Acceptor>,
}

impl Follower {
    async fn follow(self, endpoints: Vec<quinn::Endpoint>) {
        let mut changes = self.control.changes();
        let mut keys = self.control.site_keys();
        while let Some(news) = changes.next().await {
            let snapshot = self.control.snapshot();
            match news {
                News::Change(change) => {
                    self.live.decide_again(&snapshot, change.services.iter().copied());
                    self.close_links_of(change.devices.iter().copied()).await;
                }
                News::Lagged => {
                    self.live.decide_all_again(&snapshot);
                    self.close_links_of(self.links.all().into_iter().map(|(id, _)| id)).await;
                }
            }
            let now = self.control.site_keys();
            if !is_same(&keys, &now) {
                self.change_keys(&keys, &now, &endpoints).await;
                keys = now;
            }
        }
    }

    /// Ends the links whose key does not count any more.
    async fn close_links_of(&self, devices: impl Iterator<Item = DeviceId>) {
        let snapshot = self.control.snapshot();
        let counts_no_more = |id: &DeviceId| {
            let held = self.links.holder(*id);
            held.is_some_and(|held| match snapshot.device_by_key(&held.device_key) {
                KeyStanding::Active(device) => device.id != *id,
                KeyStanding::Replaced | KeyStanding::Revoked | KeyStanding::Unknown => true,
            })
        };
        join_all(devices.filter(counts_no_more).map(|id| self.links.close(id, Leaving::Revoked))).await;
    }

    async fn change_keys(&self, old: &SiteKeys, new: &SiteKeys, endpoints: &[quinn::Endpoint]) {
        if old.active.fingerprint != new.active.fingerprint {
            let taken = SiteIdentity::issue(&new.active.pkcs8)
                .map_err(|error| error.to_string())
                .and_then(|identity| self.acceptor.take_identity(&identity, endpoints).map_err(|e| e.to_string()));
            match taken {
                Ok(()) => info!(fingerprint = %new.active.fingerprint, "the site has a new key"),
                Err(error) => warn!(%error, "the new site key cannot be used; the old one stays"),
            }
        }
        self.links.tell_all(Message::Site(self.voice.site())).await;
    }
}

fn is_same(a: &SiteKeys, b: &SiteKeys) -> bool {
    let fingerprints = |keys: &SiteKeys| (keys.active.fingerprint, keys.successor.as_ref().map(|key| key.fingerprint));
    fingerprints(a) == fingerprints(b)
}
