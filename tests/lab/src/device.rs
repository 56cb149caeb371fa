//! A device in the lab: an agent of its own, with state of its own.

use crate::LIMIT;
use doorward::agent::SOFTWARE;
use doorward_agent::settings::DEFAULT_GATEWAY;
use doorward_agent::{
    Agent, JoinOptions, LinkState, LogTail, Service, Settings, StateDir, Status, Tempo, Upkeep, join,
};
use doorward_core::invite::Invite;
use doorward_core::names::Label;
use doorward_core::site::Carrier;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub struct LabDevice {
    pub state: PathBuf,
    pub status: watch::Receiver<Status>,
    /// What its gateway asks of it ends here.
    pub upkeep: Upkeep,
    settings: watch::Sender<Arc<Settings>>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl LabDevice {
    pub async fn join(root: &Path, name: &str, invite: &Invite, services: Vec<Service>) -> Self {
        let state = root.join(format!("device-{name}"));
        let mut options = JoinOptions::new(gateway(), StateDir::new(&state), SOFTWARE);
        options.suggested_name = Some(name.to_owned());
        join(invite, options).await.expect("the device joins");
        let device = Self::start(state, services);
        device.until_registered().await;
        device
    }

    /// An agent on a state directory that has joined already.
    pub fn start(state: PathBuf, services: Vec<Service>) -> Self {
        Self::start_with(state, Settings { services, ..Settings::default() })
    }

    /// The same with all that an agent.toml may say.
    pub fn start_with(state: PathBuf, whole: Settings) -> Self {
        let settings = watch::Sender::new(Arc::new(whole));
        let tempo = Tempo {
            climb: vec![Duration::from_millis(300)],
            drain: Duration::from_millis(100),
            prepare_again: Duration::from_secs(1),
            ..Tempo::default()
        };
        let upkeep = Upkeep { log: LogTail::default(), restart: Some(CancellationToken::new()) };
        let agent = Agent::new(StateDir::new(&state), SOFTWARE, settings.subscribe()).with_tempo(tempo);
        let agent = agent.with_upkeep(upkeep.clone());
        let (status, stop) = (agent.status(), CancellationToken::new());
        let running = tokio::spawn({
            let stop = stop.clone();
            async move { agent.run(stop).await.expect("the agent's state is readable") }
        });
        Self { state, status, upkeep, settings, stop, running }
    }

    /// Offers something else from now on; resolves when the gateway has taken it.
    pub async fn offer(&self, services: Vec<Service>) {
        let mut status = self.status.clone();
        status.mark_unchanged();
        self.settings.send_replace(Arc::new(Settings { services, ..Settings::default() }));
        self.until_registered().await;
    }

    /// Has other settings from now on.
    pub fn settle(&self, settings: Settings) {
        self.settings.send_replace(Arc::new(settings));
    }

    /// Waits until the gateway reported on exactly the services offered.
    pub async fn until_registered(&self) {
        let names = |settings: &Settings| {
            let mut names: Vec<_> = settings.services.iter().map(|s| s.offer.name.to_string()).collect();
            names.sort_unstable();
            names
        };
        let wanted = names(&self.settings.borrow());
        self.until("the services are registered", |status| {
            let Some(link) = status.gateways.get(&gateway()) else { return false };
            let mut reported: Vec<_> = link.services.iter().map(|s| s.name.clone()).collect();
            reported.sort_unstable();
            matches!(link.state, LinkState::Online { .. }) && reported == wanted
        })
        .await;
    }

    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Status) -> bool) {
        let mut status = self.status.clone();
        let waiting = timeout(LIMIT, status.wait_for(|status| holds(status))).await;
        if waiting.is_err() {
            panic!("{what}: not within {LIMIT:?}; the status is {:?}", self.status.borrow());
        }
    }

    pub fn carrier(&self) -> Option<Carrier> {
        match self.status.borrow().gateways.get(&gateway())?.state {
            LinkState::Online { carrier, .. } => Some(carrier),
            LinkState::Connecting { .. } | LinkState::Refused { .. } => None,
        }
    }

    /// Ends as a crash does: no goodbye.
    pub async fn kill(self) -> PathBuf {
        self.running.abort();
        let _ = self.running.await;
        self.state
    }

    pub async fn stop(self) -> PathBuf {
        self.stop.cancel();
        let _ = self.running.await;
        self.state
    }
}

fn gateway() -> Label {
    Label::parse(DEFAULT_GATEWAY).unwrap()
}
