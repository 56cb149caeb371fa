//! For tests: a real gateway on loopback with port 0, its owner's commands, and agents that join it.

use crate::admin::Owner;
use crate::agent::{Places, Running as RunningAgent, SOFTWARE, Start, start};
use crate::serve::{self, settings};
use doorward_agent::{JoinOptions, StateDir, join};
use doorward_control::{Device, Enrolment, InviteRequest, accounts};
use doorward_core::invite::Invite;
use doorward_core::names::{HostName, Label};
use doorward_core::service::Offer;
use doorward_core::site::{Address, Carrier, Host};
use jiff::Timestamp;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Testbed {
    pub(crate) directory: TempDir,
    pub(crate) gateway: serve::Running,
    pub(crate) owner: Owner,
}

/// Where a gateway listens; 0 for any.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ports {
    https: u16,
    quic: u16,
}

impl Ports {
    pub(crate) fn of(gateway: &serve::Running) -> Self {
        let bound = gateway.gateway.bound();
        Self { https: bound.https[0].port(), quic: bound.quic[0].port() }
    }
}

pub(crate) fn settings(directory: &Path, ports: Ports) -> settings::ServeSettings {
    let at = |port| vec![SocketAddr::new(LOOPBACK, port)];
    let ways = [(Carrier::Quic, ports.quic), (Carrier::Tls, ports.https)];
    let file = settings::File {
        domain: Some(HostName::parse("example.localhost").unwrap()),
        addresses: Some(ways.map(|(carrier, port)| Address::one(carrier, Host::Ip(LOOPBACK), port)).to_vec()),
        listen: settings::Listen {
            https: Some(at(ports.https)),
            quic: Some(at(ports.quic)),
            ssh: Some(at(0)),
            ports: Some(vec![LOOPBACK]),
            operations: Some(SocketAddr::new(LOOPBACK, 0)),
            ..settings::Listen::default()
        },
        drain_seconds: Some(0),
        ..settings::File::default()
    };
    file.into_settings(directory.to_owned()).unwrap()
}

impl Testbed {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("gateway");
        let gateway = serve::start(settings(&data, Ports::default())).await.unwrap();
        Self { directory, gateway, owner: Owner::new(data) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A device that never comes online.
    pub(crate) async fn enrol(&self, key: u8, name: &str) -> Arc<Device> {
        let control = &self.gateway.control;
        let made = control.create_invite(accounts::OWNER, InviteRequest::default(), Timestamp::now()).await;
        let (_, secret) = made.unwrap();
        let enrolment = Enrolment { secret, key: [key; 32], suggested_name: name.to_owned(), source: LOOPBACK };
        control.enrol(enrolment, Timestamp::now()).await.unwrap()
    }

    pub(crate) async fn offer(&self, device: &Device, offers: &[serde_json::Value]) {
        let offers: Vec<Offer> = offers.iter().map(|offer| serde_json::from_value(offer.clone()).unwrap()).collect();
        for registration in self.gateway.control.register(device.id, offers, Timestamp::now()).await.unwrap() {
            assert_eq!(registration.problems, Vec::<String>::new());
        }
    }

    /// A device with an agent that runs until it is dropped.
    pub(crate) async fn join(&self, invite: &Invite, name: &str, services: &str) -> TestAgent {
        let agent = join_agent(self.directory.path(), invite, name, services).await;
        self.until_online(name).await;
        agent.until_offered(services.matches("[[service]]").count()).await;
        agent
    }

    pub(crate) async fn until_online(&self, name: &str) {
        until_online(&self.gateway, name).await;
    }
}

/// A device of this name, running, with its state and settings in the directory.
pub(crate) async fn join_agent(directory: &Path, invite: &Invite, name: &str, services: &str) -> TestAgent {
    let (state, config) = (directory.join(name), directory.join(format!("{name}.toml")));
    std::fs::write(&config, services).unwrap();
    let mut options = JoinOptions::new(Label::parse("main").unwrap(), StateDir::new(&state), SOFTWARE);
    options.suggested_name = Some(name.to_owned());
    join(invite, options).await.unwrap();
    let mut agent = TestAgent { places: Places { state, config: Some(config) }, running: None };
    agent.start().await;
    agent
}

pub(crate) async fn until_online(gateway: &serve::Running, name: &str) {
    let name = Label::parse(name).unwrap();
    let mut news = gateway.control.presence().watch();
    let waiting = async {
        loop {
            let device = gateway.control.snapshot().device_by_name(&name);
            if device.is_some_and(|device| gateway.control.presence().is_online(device.id)) {
                return;
            }
            news.changed().await.unwrap();
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{name} did not come online"));
}

pub(crate) struct TestAgent {
    pub(crate) places: Places,
    running: Option<(RunningAgent, CancellationToken)>,
}

impl TestAgent {
    pub(crate) async fn start(&mut self) {
        let stop = CancellationToken::new();
        self.running = Some((start(&self.places, Start::default(), stop.clone()).await.unwrap(), stop));
    }

    /// The gateway has answered for so many services.
    pub(crate) async fn until_offered(&self, count: usize) {
        let Some((running, _)) = &self.running else { panic!("it does not run") };
        let mut status = running.status.clone();
        let offered = status.wait_for(|status| status.gateways.values().any(|gateway| gateway.services.len() == count));
        tokio::time::timeout(LIMIT, offered).await.expect("the services were not taken in time").unwrap();
    }

    pub(crate) async fn stop(&mut self) {
        let Some((running, stop)) = self.running.take() else { return };
        stop.cancel();
        running.ended.await.unwrap().unwrap();
    }
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        if let Some((running, stop)) = self.running.take() {
            stop.cancel();
            running.ended.abort();
        }
    }
}
