//! The process: one connection for each joined gateway, for as long as it runs.

use crate::additions::Additions;
use crate::cameras::Cameras;
use crate::connection::{Connection, Rooms, Shared};
use crate::network::watch_network;
use crate::pinholes::Pinholes;
use crate::prepare::Preparing;
use crate::proxy::ProxyRule;
use crate::settings::Settings;
use crate::state::{Membership, StateDir, StateError};
use crate::status::{Entry, Status};
use crate::tempo::Tempo;
use crate::upkeep::Upkeep;
use doorward_core::names::Label;
use doorward_tunnel::MemoryDialer;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

/// Keeps a link to every joined gateway, and delivers what comes over it.
pub struct Agent {
    state: StateDir,
    software: String,
    settings: watch::Receiver<Arc<Settings>>,
    tempo: Tempo,
    proxy: Option<ProxyRule>,
    memory: Option<MemoryDialer>,
    upkeep: Option<Upkeep>,
    status: watch::Sender<Status>,
}

#[derive(Debug, Error)]
pub enum AgentError {
    /// What was kept cannot be read: nothing is dialled before somebody looked.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What a running connection was started with.
struct Running {
    task: Id,
    key: [u8; 32],
    stop: CancellationToken,
}

/// Beyond the drain, for saying goodbye.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// For a router to take mappings back; what it does not is taken back at the next start.
const TAKE_BACK_LIMIT: Duration = Duration::from_secs(12);

impl Agent {
    /// New settings are sent through `settings` and take effect at once.
    pub fn new(state: StateDir, software: impl Into<String>, settings: watch::Receiver<Arc<Settings>>) -> Self {
        let (tempo, status) = (Tempo::default(), watch::Sender::default());
        let software = software.into();
        Self { state, software, settings, tempo, proxy: None, memory: None, upkeep: None, status }
    }

    /// The proxy of the environment, for when the settings name none.
    #[must_use]
    pub fn with_proxy(self, proxy: Option<ProxyRule>) -> Self {
        Self { proxy, ..self }
    }

    /// For a gateway's built-in agent: its one gateway runs in this very process.
    #[must_use]
    pub fn over_memory(self, dialer: MemoryDialer) -> Self {
        Self { memory: Some(dialer), ..self }
    }

    /// What its gateway may ask of the program itself. Without it, nothing.
    #[must_use]
    pub fn with_upkeep(self, upkeep: Upkeep) -> Self {
        Self { upkeep: Some(upkeep), ..self }
    }

    #[must_use]
    pub fn with_tempo(self, tempo: Tempo) -> Self {
        Self { tempo, ..self }
    }

    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Runs until `stop`. Gateways that are joined or left meanwhile are noticed.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), AgentError> {
        let memberships = self.memberships()?;
        if memberships.is_empty() {
            info!("no gateway was joined yet: run `doorward join`");
        }
        let (network_changes, network) = watch::channel(0);
        let mut watching = JoinSet::new();
        watching.spawn(watch_network(network_changes));
        let additions = Arc::new(Additions::load(&self.state));
        let (settings, following) = additions.join(self.settings);
        self.settings = settings;
        watching.spawn(following);
        let cameras = Arc::new(Cameras::new(self.settings.borrow().camera_rhythm));
        watching.spawn(cameras.clone().follow(self.settings.clone()));
        let preparing = Arc::<Preparing>::default();
        let keeping = {
            let (preparing, settings) = (preparing.clone(), self.settings.clone());
            let (state, again) = (self.state.clone(), self.tempo.prepare_again);
            AbortOnDropHandle::new(tokio::spawn(async move { preparing.run(settings, state, again).await }))
        };
        let pinholes = Arc::<Pinholes>::default();
        let mut opening = {
            let (pinholes, settings) = (pinholes.clone(), self.settings.clone());
            let (state, stop) = (self.state.clone(), stop.clone());
            AbortOnDropHandle::new(tokio::spawn(async move { pinholes.run(settings, state, stop).await }))
        };
        let rooms = Rooms { preparing: preparing.clone(), additions, cameras, pinholes, upkeep: self.upkeep.clone() };
        let shared = Arc::new(Shared::new(
            &self.state,
            &self.software,
            &self.tempo,
            self.proxy.clone(),
            self.memory.clone(),
            network,
            rooms,
        ));
        let mut tasks = JoinSet::new();
        let mut running = HashMap::new();
        self.warn_of_strangers(&memberships);
        self.reconcile(memberships, (&shared, &preparing), &mut tasks, &mut running);
        let mut look = Instant::now() + self.tempo.rescan;
        let mut told = None;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = tasks.join_next_with_id() => note_end(ended, &mut running),
                () = sleep_until(look) => {
                    look = Instant::now() + self.tempo.rescan;
                    match self.memberships() {
                        Ok(memberships) => self.reconcile(memberships, (&shared, &preparing), &mut tasks, &mut running),
                        Err(error) if told.as_ref() == Some(&error.to_string()) => {}
                        Err(error) => {
                            warn!("{error}");
                            told = Some(error.to_string());
                        }
                    }
                }
            }
        }
        // Stopping is no reason to let anything go.
        drop(keeping);
        running.values().for_each(|connection: &Running| connection.stop.cancel());
        let ending = async { while tasks.join_next().await.is_some() {} };
        // But for what leads nowhere without this process: port mappings.
        let taken_back = timeout(TAKE_BACK_LIMIT, &mut opening);
        let _ = tokio::join!(timeout(self.tempo.drain + STOP_LIMIT, ending), taken_back);
        Ok(())
    }

    fn memberships(&self) -> Result<Vec<Membership>, StateError> {
        let gateways = self.state.gateways()?;
        let memberships: Result<Vec<_>, _> = gateways.iter().map(|gateway| self.state.membership(gateway)).collect();
        Ok(memberships?.into_iter().flatten().collect())
    }

    fn warn_of_strangers(&self, memberships: &[Membership]) {
        for gateway in &self.settings.borrow().gateways {
            if !memberships.iter().any(|m| m.gateway == gateway.name) {
                let name = &gateway.name;
                warn!("the settings name a gateway \"{name}\" that was not joined: `doorward join --gateway {name}`");
            }
        }
    }

    /// Starts what was joined, stops what was left; a gateway that was joined anew is stopped first, and started by a
    /// later call.
    fn reconcile(
        &mut self,
        memberships: Vec<Membership>,
        (shared, preparing): (&Arc<Shared>, &Preparing),
        tasks: &mut JoinSet<()>,
        running: &mut HashMap<Label, Running>,
    ) {
        for (gateway, connection) in running.iter() {
            if !memberships.iter().any(|m| m.gateway == *gateway && m.key.public() == connection.key) {
                connection.stop.cancel();
                preparing.forget(gateway);
                shared.additions().forget(gateway);
                shared.pinholes().forget(gateway);
            }
        }
        for membership in memberships {
            let gateway = membership.gateway.clone();
            if running.contains_key(&gateway) {
                continue;
            }
            let (key, stop) = (membership.key.public(), CancellationToken::new());
            let status = Entry::new(self.status.clone(), gateway.clone(), membership.site.device_name.clone());
            let connection = Connection::new(shared.clone(), membership, self.settings.clone(), status, stop.clone());
            let task = tasks.spawn(connection.run()).id();
            running.insert(gateway, Running { task, key, stop });
        }
    }
}

fn note_end(ended: Result<(Id, ()), JoinError>, running: &mut HashMap<Label, Running>) {
    let task = match ended {
        Ok((task, ())) => task,
        Err(fault) => {
            // A program that ends cancels its tasks; nothing is wrong with those.
            if fault.is_panic() {
                error!(%fault, "a connection ended by a mistake in Doorward; please report it");
            }
            fault.id()
        }
    };
    running.retain(|_, connection| connection.task != task);
}
