//! `doorward demo`: gateway, agent and a small sample device in one process, on loopback, with a store that goes with
//! it. The same parts as in earnest, joined by a real invite over a real link.

pub mod device;

use crate::agent::SOFTWARE;
use crate::serve::{self, settings};
use crate::{open_files, shutdown};
use anyhow::{Context, bail};
use doorward_agent::settings::DEFAULT_GATEWAY;
use doorward_agent::{Agent, JoinOptions, LinkState, Service, Settings, StateDir, Target, join};
use doorward_control::InviteRequest;
use doorward_core::access::PolicyDocument;
use doorward_core::names::{HostName, Label};
use doorward_core::service::EntranceWish;
use doorward_core::site::{Address, Carrier, Host};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const START_LIMIT: Duration = Duration::from_secs(20);
const HTTP_PORT: u16 = 8080;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Runs until Ctrl-C, or until its terminal is closed. `target`: a real service in the place of the sample device.
pub async fn run(target: Option<&str>) -> anyhow::Result<()> {
    // Listened for from the first moment: whoever gives up while things start wants the files gone, too.
    let end = tokio::spawn(ended());
    open_files::raise();
    let demo = Box::pin(start(target, HTTP_PORT)).await?;
    // A terminal that is gone is no reason to leave anything behind.
    let _ = std::io::stdout().write_all(demo.greeting().as_bytes());
    let _ = end.await;
    let _ = writeln!(std::io::stdout());
    demo.stop().await;
    Ok(())
}

async fn ended() {
    let Ok(mut hang_up) = signal(SignalKind::hangup()) else { return shutdown::requested().await };
    tokio::select! {
        () = shutdown::requested() => {}
        _ = hang_up.recv() => {}
    }
}

pub struct Demo {
    pub reached_by: Vec<String>,
    what: Option<Target>,
    gateway: serve::Running,
    stop: CancellationToken,
    agent: tokio::task::JoinHandle<Result<(), doorward_agent::AgentError>>,
    _device: Option<device::Device>,
    _directory: tempfile::TempDir,
}

pub async fn start(target: Option<&str>, http_port: u16) -> anyhow::Result<Demo> {
    let directory = tempfile::tempdir().context("no temporary directory could be made")?;
    let (device, target) = match target {
        Some(given) => (None, Target::parse(given)?),
        None => {
            let device = device::start().await?;
            let target = Target::parse(&format!("http://{}", device.address()))?;
            (Some(device), target)
        }
    };
    let what = device.is_none().then(|| target.clone());
    let gateway = serve::start(settings_for(directory.path().join("gateway"), http_port)?).await?;
    let state = StateDir::new(directory.path().join("agent"));
    let invite = gateway.invite(InviteRequest::default()).await?;
    let options = JoinOptions {
        suggested_name: Some("demo".to_owned()),
        ..JoinOptions::new(Label::parse(DEFAULT_GATEWAY)?, state.clone(), SOFTWARE)
    };
    join(&invite, options).await.context("the demo's agent could not join the demo's gateway")?;

    let stop = CancellationToken::new();
    let (_settings, receiver) = watch::channel(Arc::new(settings_with(target)?));
    let agent = Agent::new(state, SOFTWARE, receiver);
    let mut status = agent.status();
    let agent = tokio::spawn({
        let stop = stop.clone();
        async move {
            let _settings = _settings;
            agent.run(stop).await
        }
    });
    let reached_by = tokio::time::timeout(START_LIMIT, until_reached(&mut status)).await;
    let reached_by = reached_by.context("the demo's agent did not come up in time")??;
    Ok(Demo { reached_by, what, gateway, stop, agent, _device: device, _directory: directory })
}

impl Demo {
    fn greeting(&self) -> String {
        let what = self.what.as_ref().map_or_else(|| "a sample device".to_owned(), ToString::to_string);
        let places: String = self.reached_by.iter().map(|place| format!("  {place}\n")).collect();
        let place = self.reached_by.first().map_or("", String::as_str);
        let next = match &self.what {
            None => format!(
                "Open it in a browser, or: curl {place}\nA service of yours in its place: doorward demo http://127.0.0.1:8888"
            ),
            Some(Target::Http(_) | Target::Https { .. } | Target::H2c(_) | Target::H2 { .. } | Target::Camera(_)) => {
                format!("Open it in a browser, or: curl {place}")
            }
            Some(Target::Tcp(_) | Target::Udp { .. }) => {
                "Use that address with the program that you use for the service itself.".to_owned()
            }
        };
        format!(
            "Doorward demo: a gateway, an agent and {what} in one process.\n\n{places}\n{next}\n\
             Everything is on loopback and gone afterwards. Ctrl-C ends it.\n"
        )
    }

    /// The gateway first: it breaks off what a browser holds open, which an agent would let finish.
    pub async fn stop(self) {
        self.gateway.stop().await;
        self.stop.cancel();
        let _ = self.agent.await;
    }
}

async fn until_reached(status: &mut watch::Receiver<doorward_agent::Status>) -> anyhow::Result<Vec<String>> {
    loop {
        for gateway in status.borrow_and_update().gateways.values() {
            if let LinkState::Refused { message } = &gateway.state {
                bail!("{message}");
            }
            for service in &gateway.services {
                if !service.problems.is_empty() {
                    bail!("{}", service.problems.join("; "));
                }
                if !service.reached_by.is_empty() {
                    return Ok(service.reached_by.clone());
                }
            }
        }
        status.changed().await?;
    }
}

fn settings_with(target: Target) -> anyhow::Result<Settings> {
    let mut service = Service::new(Label::parse("demo")?, target, PolicyDocument::public());
    service.offer.main = true;
    service.offer.title = Some("Demo".to_owned());
    match service.target {
        Target::Http(_) | Target::Https { .. } | Target::H2c(_) | Target::H2 { .. } | Target::Camera(_) => {}
        Target::Tcp(_) => service.offer.entrances.push(EntranceWish::TcpPort(0)),
        Target::Udp { .. } => service.offer.entrances.push(EntranceWish::UdpPort(0)),
    }
    Ok(Settings { services: vec![service], ..Settings::default() })
}

/// Loopback only. HTTPS is there for the link; visitors use plain HTTP, which browsers trust on localhost.
fn settings_for(directory: std::path::PathBuf, http_port: u16) -> anyhow::Result<settings::ServeSettings> {
    let any = SocketAddr::new(LOOPBACK, 0);
    let http = free_port(http_port)?;
    let file = settings::File {
        domain: Some(HostName::parse("localhost")?),
        addresses: Some(
            [Carrier::Quic, Carrier::Tls].map(|carrier| Address::one(carrier, Host::Ip(LOOPBACK), 0)).to_vec(),
        ),
        listen: settings::Listen {
            https: Some(vec![any]),
            http: vec![http],
            quic: Some(vec![any]),
            ssh: Some(Vec::new()),
            ports: Some(vec![LOOPBACK]),
            operations: Some(any),
            knock: Vec::new(),
            redirect: None,
            public_port: None,
        },
        drain_seconds: Some(1),
        ..settings::File::default()
    };
    let mut settings = file.into_settings(directory)?;
    settings.site.web = doorward_control::WebFace { is_https: false, port: http.port() };
    Ok(settings)
}

/// The wished port, or any other if somebody has it.
fn free_port(wished: u16) -> anyhow::Result<SocketAddr> {
    let listener =
        std::net::TcpListener::bind((LOOPBACK, wished)).or_else(|_| std::net::TcpListener::bind((LOOPBACK, 0)));
    Ok(listener.context("no loopback port is free")?.local_addr()?)
}
