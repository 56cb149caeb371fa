//! A laboratory: gateway, agents, targets and visitors in one process, on loopback and port 0, joined by real invites
//! over real links. Every wait in it has a limit.

#![expect(clippy::unwrap_used, reason = "a laboratory: what goes wrong here ends the test")]

pub mod authority;
pub mod browser;
pub mod calls;
pub mod camera;
mod device;
pub mod flood;
pub mod held;
mod log;
pub mod looking;
pub mod provider;
mod relay;
pub mod sessions;
pub mod ssh;
mod talk;
pub mod target;
pub mod tls;
pub mod visitor;
pub mod web;
pub mod websocket;

pub use device::LabDevice;
pub use relay::Relay;
pub use talk::{carries_much, is_echoed, says_back};

use doorward::serve::{self, settings};
use doorward_agent::{Service, Target};
use doorward_control::{Control, InviteRequest, PortState, Protocol};
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_core::invite::Invite;
use doorward_core::names::{HostName, Label};
use doorward_core::service::EntranceWish;
use doorward_core::site::{Address, Carrier, Host};
use doorward_gateway::IssuingSettings;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Long enough for a busy machine; a test that waits this long has failed.
pub const LIMIT: Duration = Duration::from_secs(20);
pub const DOMAIN: &str = "gw.test";

pub struct Lab {
    pub gateway: serve::Running,
    pub directory: TempDir,
    shape: Shape,
}

/// What a lab is made of, where it differs from the usual.
#[derive(Clone, Debug)]
pub struct Shape {
    pub domain: &'static str,
    pub carriers: Vec<Carrier>,
    /// The port that agents dial, where something stands before the gateway; 0 is the gateway's own.
    pub link_port: u16,
    pub limits: settings::LimitsFile,
    pub proxies: Vec<String>,
    pub proxy_protocol_from: Vec<String>,
    pub udp_idle_seconds: Option<u64>,
    pub built_in: Option<settings::BuiltIn>,
    /// The public ports that devices may be given.
    pub tcp_ports: String,
    pub udp_ports: String,
    /// Where sessions have theirs.
    pub session_ports: Option<String>,
    /// Ports that were bound once and must be the same again after a restart.
    pub https: u16,
    pub http: u16,
    pub quic: u16,
    pub ssh: u16,
    pub redirect: u16,
    /// How certificates are ordered, if they are.
    pub issuing: Option<IssuingSettings>,
    pub hsts: Duration,
    /// Chain and key of somebody else's making, instead of a certificate made here.
    pub certificate: Option<settings::Certificate>,
    /// Whether people sign in: then strangers' browsers are sent there.
    pub has_portal: bool,
    /// Whether only those who knocked see the portal.
    pub hides_portal: bool,
    /// Where people knock, if they may; 0 is any port.
    pub knock: Option<u16>,
    /// Where people may sign in besides the portal.
    pub providers: Vec<settings::OidcFile>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            domain: DOMAIN,
            carriers: vec![Carrier::Quic, Carrier::Tls, Carrier::WebSocket],
            link_port: 0,
            limits: settings::LimitsFile::default(),
            proxies: Vec::new(),
            proxy_protocol_from: Vec::new(),
            udp_idle_seconds: None,
            built_in: None,
            tcp_ports: target::free_ports(),
            udp_ports: target::free_ports(),
            session_ports: Some(target::free_ports()),
            https: 0,
            http: 0,
            quic: 0,
            ssh: 0,
            redirect: 0,
            issuing: None,
            hsts: Duration::ZERO,
            certificate: None,
            has_portal: false,
            hides_portal: false,
            knock: None,
            providers: Vec::new(),
        }
    }
}

impl Shape {
    pub fn over(carriers: &[Carrier]) -> Self {
        Self { carriers: carriers.to_vec(), ..Self::default() }
    }
}

impl Lab {
    pub async fn start() -> Self {
        Self::of(Shape::default()).await
    }

    /// Where people sign in, too.
    pub async fn with_portal() -> Self {
        Self::of(Shape { has_portal: true, ..Shape::default() }).await
    }

    pub async fn of(shape: Shape) -> Self {
        log::watch();
        let directory = tempfile::tempdir().unwrap();
        let gateway = Box::pin(start_gateway(&directory.path().join("gateway"), &shape)).await;
        let mut lab = Self { gateway, directory, shape };
        let bound = lab.gateway.gateway.bound().clone();
        lab.shape.https = bound.https[0].port();
        lab.shape.http = bound.http[0].port();
        lab.shape.quic = bound.quic[0].port();
        lab.shape.ssh = bound.ssh[0].port();
        lab.shape.knock = bound.knock.first().map(SocketAddr::port);
        lab.shape.redirect = bound.redirect.first().map(SocketAddr::port).unwrap_or_default();
        lab
    }

    /// Stops the gateway and starts it again on its store and ports.
    pub async fn restart_gateway(self) -> Self {
        let Self { gateway, directory, shape } = self;
        gateway.stop().await;
        // quinn gives its socket back in a task of its own.
        let quic = SocketAddr::new(LOOPBACK, shape.quic);
        until("the UDP port is free", async || std::net::UdpSocket::bind(quic).is_ok()).await;
        let gateway = Box::pin(start_gateway(&directory.path().join("gateway"), &shape)).await;
        Self { gateway, directory, shape }
    }

    /// Gives the running gateway other settings.
    pub async fn reload(&mut self, change: impl FnOnce(&mut settings::File)) -> anyhow::Result<()> {
        let mut file = settings_file(&self.shape);
        change(&mut file);
        self.gateway.reload(file.into_settings(self.directory.path().join("gateway"))?).await
    }

    pub fn control(&self) -> &Control {
        &self.gateway.control
    }

    pub fn http(&self) -> SocketAddr {
        self.gateway.gateway.bound().http[0]
    }

    pub fn https(&self) -> SocketAddr {
        self.gateway.gateway.bound().https[0]
    }

    pub async fn invite(&self, request: InviteRequest) -> Invite {
        self.gateway.invite(request).await.unwrap()
    }

    /// A device that has joined and offers these services, all of them registered.
    pub async fn device(&self, name: &str, services: Vec<Service>) -> LabDevice {
        let invite = self.invite(InviteRequest::default()).await;
        let device = LabDevice::join(self.directory.path(), name, &invite, services).await;
        self.until_listening().await;
        device
    }

    /// Waits until every public port that is wanted is open.
    pub async fn until_listening(&self) {
        until("the public ports are open", async || {
            let snapshot = self.control().snapshot();
            let tcp = snapshot.tcp_ports().map(|port| (Protocol::Tcp, port));
            let udp = snapshot.udp_ports().map(|port| (Protocol::Udp, port));
            let mut wanted = tcp.chain(udp).chain(snapshot.session_ports());
            let states = self.control().presence().ports();
            wanted.all(|port| states.get(&port) == Some(&PortState::Bound))
        })
        .await;
    }

    /// The public port of a service.
    pub fn port(&self, device: &str, service: &str, protocol: Protocol) -> SocketAddr {
        let record = self.record(device, service);
        let port = record.ports.iter().find(|p| p.protocol == protocol).expect("the service has a public port");
        SocketAddr::new(LOOPBACK, port.port)
    }

    pub fn record(&self, device: &str, service: &str) -> std::sync::Arc<doorward_control::ServiceRecord> {
        let snapshot = self.control().snapshot();
        let device = snapshot.device_by_name(&Label::parse(device).unwrap()).expect("the device has joined");
        snapshot.record_of(device.id, &Label::parse(service).unwrap()).expect("the service is registered")
    }

    pub async fn set_access(&self, device: &str, service: &str, policy: PolicyDocument) {
        let record = self.record(device, service);
        let (device, name, now) = (record.service.device, record.service.name.clone(), jiff::Timestamp::now());
        self.control().set_access(device, &name, Some(policy), None, now).await.unwrap();
    }
}

fn settings_file(shape: &Shape) -> settings::File {
    let at = |port| SocketAddr::new(LOOPBACK, port);
    let addresses = shape.carriers.iter().map(|carrier| Address::one(*carrier, Host::Ip(LOOPBACK), shape.link_port));
    let addresses = addresses.collect();
    settings::File {
        domain: Some(HostName::parse(shape.domain).unwrap()),
        addresses: Some(addresses),
        listen: settings::Listen {
            https: Some(vec![at(shape.https)]),
            http: vec![at(shape.http)],
            quic: Some(vec![at(shape.quic)]),
            ssh: Some(vec![at(shape.ssh)]),
            ports: Some(vec![LOOPBACK]),
            operations: Some(at(0)),
            knock: shape.knock.map(at).into_iter().collect(),
            redirect: None,
            public_port: None,
        },
        limits: settings::LimitsFile { udp_flow_idle_seconds: shape.udp_idle_seconds, ..shape.limits },
        proxies: shape.proxies.clone(),
        web: settings::Web { proxy_protocol_from: shape.proxy_protocol_from.clone() },
        certificate: shape.certificate.clone(),
        portal: settings::PortalFile { host: None, public: Some(shape.has_portal), is_hidden: shape.hides_portal },
        sign_in: settings::SignInFile { oidc: shape.providers.clone() },
        built_in: shape.built_in.clone(),
        drain_seconds: Some(1),
        sessions: settings::SessionsFile { ports: shape.session_ports.clone() },
        ports: settings::Ports { tcp: Some(shape.tcp_ports.clone()), udp: Some(shape.udp_ports.clone()) },
        ..settings::File::default()
    }
}

async fn start_gateway(directory: &Path, shape: &Shape) -> serve::Running {
    let file = settings_file(shape);
    let mut settings = file.into_settings(directory.to_owned()).unwrap();
    settings.gateway.issuing = shape.issuing.clone();
    settings.gateway.redirect = shape.issuing.iter().map(|_| SocketAddr::new(LOOPBACK, shape.redirect)).collect();
    settings.gateway.hsts = shape.hsts;
    serve::start(settings).await.unwrap()
}

/// For these people and nobody else.
pub fn people(names: &[&str]) -> PolicyDocument {
    let people = names.iter().map(ToString::to_string).collect();
    PolicyDocument { who: WhoDocument::People, people, ..PolicyDocument::default() }
}

/// A service for a lab: public unless the policy says otherwise.
pub fn service(name: &str, target: &str) -> Service {
    let mut service =
        Service::new(Label::parse(name).unwrap(), Target::parse(target).unwrap(), PolicyDocument::public());
    match service.target {
        Target::Http(_) | Target::Https { .. } | Target::H2c(_) | Target::H2 { .. } | Target::Camera(_) => {}
        Target::Tcp(_) => service.offer.entrances.push(EntranceWish::TcpPort(0)),
        Target::Udp { .. } => service.offer.entrances.push(EntranceWish::UdpPort(0)),
    }
    service
}

/// Waits for a condition; returns how long it took.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        if condition().await {
            return started.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: not within {LIMIT:?}");
}
