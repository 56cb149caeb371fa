//! The data plane: entrances, admission, links. It decides nothing by itself: control publishes a snapshot, core
//! decides, and only what was decided opens a link.

mod access_log;
mod admit;
mod bound;
mod certificates;
mod clock;
mod follower;
mod frames;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod links;
mod listen;
mod live;
mod pacing;
mod passwords;
mod pinholes;
mod preparing;
mod reload;
mod settings;
mod site;
mod ssh;
mod tasks;
mod usage;
mod web;
mod who_is_in;

pub use bound::Bound;
pub use certificates::{
    AccountBinding, AuthoritySettings, CertificateError, DnsRecord, DnsSettings, HookSettings, IssuingSettings,
    KeepError, ResponderSettings, TsigHash, UpdateSettings, Way, needed_records,
};
pub use reload::Checked;
pub use settings::{CertificateSource, EVERYWHERE, FlowSettings, GatewaySettings, Limits};

use admit::Admission;
use arc_swap::ArcSwap;
use bound::Opened;
use certificates::Responder;
use certificates::own::keeper::Keeper;
use certificates::resolver::WebCertificates;
use doorward_control::Control;
use doorward_core::site::Address;
use doorward_tunnel::identity::{KeyError, SiteIdentity};
use doorward_tunnel::messages::Leaving;
use doorward_tunnel::{Acceptor, MemoryDialer, MemoryListener, memory};
use follower::Follower;
use frames::Frames;
use hyper_util::server::graceful::GracefulShutdown;
use jiff::Timestamp;
use links::Links;
use links::agent::Reception;
use listen::passthrough::Passthrough;
use listen::ports::Ports;
use listen::redirect::RedirectEntrance;
use listen::strangers::Strangers;
use listen::web::WebEntrance;
use listen::{knock, ports, quic};
use live::Live;
use pinholes::Pinholes;
use preparing::Preparing;
use reload::Changeable;
use site::SiteVoice;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tasks::Tasks;
use thiserror::Error;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};
use web::forward::Web;
pub use web::portal::{Portal, PortalBody};
use web::rates::Rates;
pub use web::root::ROOT_PATH;
use web::strict;

#[derive(Debug, Error)]
pub enum StartError {
    #[error("{what} {address} cannot be opened: {source}; {remedy}")]
    Listen { what: &'static str, address: SocketAddr, remedy: String, source: io::Error },
    #[error("the socket {} cannot be opened: {source}; {remedy}", .path.display())]
    Local { path: PathBuf, remedy: &'static str, source: io::Error },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    SiteKey(#[from] KeyError),
    #[error("the SSH host key in the store cannot be used: {0}; restore the store from a backup")]
    HostKey(String),
    #[error(transparent)]
    Store(#[from] doorward_control::StoreError),
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
    /// What takes new settings while it runs.
    changeable: Changeable,
    listeners: JoinSet<()>,
    /// What must go on while visits finish: above all, cutting those that are allowed no more.
    keepers: JoinSet<()>,
    quic: Vec<quinn::Endpoint>,
    visits: Tasks,
    graceful: Arc<Mutex<GracefulShutdown>>,
    ssh: Arc<ssh::Connections>,
}

impl Gateway {
    /// Opens every listener, or none.
    pub async fn start(settings: GatewaySettings, control: Control) -> Result<Self, StartError> {
        let identity = SiteIdentity::issue(&control.site_keys().active.pkcs8)?;
        let acceptor = Arc::new(Acceptor::new(&identity)?);
        let shelf = control.certificates();
        let certificates = Arc::new(WebCertificates::new(settings.certificate.clone(), &shelf.borrow())?);
        let mut keeper =
            Keeper { control: control.clone(), source: certificates.sources(), certificates: certificates.clone() };
        let has_https = !settings.https.is_empty();
        if has_https {
            keeper.look().await.map_err(CertificateError::from)?;
        }
        let https = certificates::WebTls::new(&certificates)?;
        let issuing = settings.issuing.as_ref();
        let issuing = issuing.map(|issuing| certificates::issuing(issuing, &control, &certificates.challenges));
        let issuing = issuing.transpose()?;
        let opened = Opened::open(&settings, &acceptor)?;
        let mut bound = opened.bound();
        let responder = issuing.as_ref().and_then(|(_, responder)| responder.as_ref());
        bound.dns = responder.map(Responder::addresses).unwrap_or_default();

        let (live, links) = (Arc::new(Live::default()), Arc::new(Links::default()));
        let web_ports = bound.public_web_ports(settings.public_port);
        let addresses = bound.fill_ports(&settings.addresses);
        let voice = Arc::new(SiteVoice::new(control.clone(), addresses, web_ports));
        let flows = Arc::new(ArcSwap::from_pointee(settings.flows));
        let preparing = Preparing::new(control.clone(), live.clone());
        let pinholes = Pinholes::new(control.clone());
        let admission = Admission {
            control: control.clone(),
            live: live.clone(),
            links: links.clone(),
            flows,
            preparing: preparing.clone(),
        };
        let (herald, port_news) = ports::news();
        let reception = Reception {
            control: control.clone(),
            links: links.clone(),
            live: live.clone(),
            voice: voice.clone(),
            ports: port_news,
            preparing: preparing.clone(),
            pinholes: pinholes.clone(),
        };
        let strangers = Strangers::new(settings.limits);
        let (visits, graceful) = (Tasks::default(), Arc::<Mutex<GracefulShutdown>>::default());
        let web = Arc::new(Web {
            admission: admission.clone(),
            acceptor: acceptor.clone(),
            reception: reception.clone(),
            passwords: passwords::Passwords::new(),
            guesses: web::tokens::Guesses::default(),
            proxies: ArcSwap::from_pointee(settings.proxies),
            certificates: certificates.clone(),
            own_authority: control.own_authority(),
            portal: settings.portal,
            hsts: ArcSwap::from_pointee(strict::hsts(settings.hsts)),
            proxy_protocol_from: ArcSwap::from_pointee(settings.proxy_protocol_from),
            rates: Rates::new(settings.limits),
            frames: Frames::new(admission.clone(), visits.clone()),
        });
        let passthrough = Passthrough::new(admission.clone(), strangers.clone());
        let entrance = |certificate| WebEntrance {
            web: web.clone(),
            strangers: strangers.clone(),
            passthrough: passthrough.clone(),
            certificate,
            only_proxies: settings.is_behind,
            tasks: visits.clone(),
            graceful: graceful.clone(),
        };

        let mut listeners = JoinSet::new();
        for listener in opened.https {
            listeners.spawn(entrance(Some(https.clone())).serve(listener));
        }
        for listener in opened.http {
            listeners.spawn(entrance(None).serve(listener));
        }
        if let Some((_, listener)) = opened.local {
            listeners.spawn(entrance(None).serve_local(listener));
        }
        for listener in opened.redirect {
            let entrance = RedirectEntrance {
                challenges: certificates.challenges.clone(),
                own_authority: control.own_authority(),
                strangers: strangers.clone(),
                tasks: visits.clone(),
                control: control.clone(),
            };
            listeners.spawn(entrance.serve(listener));
        }
        for endpoint in &opened.quic {
            let (endpoint, acceptor, reception) = (endpoint.clone(), acceptor.clone(), reception.clone());
            listeners.spawn(quic::serve(endpoint, acceptor, reception, strangers.clone(), visits.clone()));
        }
        let (memory, memory_links) = memory();
        let ssh = Arc::<ssh::Connections>::default();
        let host_keys = control.ssh_host_keys(ssh::make_host_keys, Timestamp::now()).await?;
        let room = Arc::new(ssh::Room {
            reception: reception.clone(),
            admission: admission.clone(),
            strangers: strangers.clone(),
            tasks: visits.clone(),
            connections: ssh.clone(),
            configuration: ssh::configuration(&host_keys)?,
            attempts: ssh::Attempts::default(),
            parking: ssh::Parking::default(),
            port: bound.ssh.first().map_or(0, SocketAddr::port),
        });
        for listener in opened.ssh {
            listeners.spawn(ssh::serve(room.clone(), listener));
        }
        for socket in opened.knock {
            listeners.spawn(knock::serve(socket, control.clone()));
        }
        let (limits, ips) = (settings.limits, settings.port_ips);
        let ports = Ports { admission, strangers: strangers.clone(), limits, ips, tasks: visits.clone() };
        listeners.spawn(ports::keep(ports, herald));
        let mut keepers = JoinSet::new();
        keepers.spawn(certificates.clone().follow(shelf));
        if has_https {
            keepers.spawn(keeper.run());
        }
        if let Some((issuer, responder)) = issuing {
            keepers.spawn(issuer.run());
            if let Some(responder) = responder {
                keepers.spawn(responder.serve());
            }
        }
        keepers.spawn(clock::watch(control.clone(), live.clone()));
        keepers.spawn(preparing.keep());
        keepers.spawn(pinholes.keep());
        keepers.spawn(web::inspect::replay::serve(web.admission.clone(), visits.clone()));
        keepers.spawn(usage::watch(control.clone(), live.clone(), ssh.clone()));
        keepers.spawn(who_is_in::watch(control.clone(), live.clone()));
        let changeable = Changeable { certificates, strangers, web, voice: voice.clone() };
        listeners.spawn(take_memory_links(memory_links, acceptor.clone(), reception, visits.clone()));
        let follower = Follower {
            control: control.clone(),
            live: live.clone(),
            links: links.clone(),
            voice,
            acceptor,
            ssh: ssh.clone(),
        };
        let quic = opened.quic.clone();
        keepers.spawn(follower.follow(opened.quic));
        Ok(Self { control, live, links, memory, bound, changeable, listeners, keepers, quic, visits, graceful, ssh })
    }

    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// How agents reach it: as set, with real ports.
    pub fn addresses(&self) -> Arc<Vec<Address>> {
        self.changeable.voice.addresses()
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
        self.ssh.end_all();
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
