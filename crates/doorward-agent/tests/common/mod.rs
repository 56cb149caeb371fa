//! A gateway made of the tunnel's own gateway end, and an agent around a scratch directory.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

pub mod camera;
pub mod gateway;
pub mod target;

use doorward_agent::*;
use doorward_core::access::PolicyDocument;
use doorward_core::invite::Invite;
use doorward_core::names::Label;
use gateway::{Gateway, TestLink};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Nothing here may take longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Waits until `get` yields a value, looking often.
pub async fn until<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(value) = get() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, looking).await
}

pub fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

pub fn service(name: &str, target: &str) -> Service {
    Service::new(label(name), Target::parse(target).unwrap(), PolicyDocument::public())
}

pub fn settings(services: &[Service]) -> Settings {
    Settings { services: services.to_vec(), ..Settings::default() }
}

pub fn quick_tempo() -> Tempo {
    Tempo {
        climb: vec![Duration::from_millis(300)],
        refused: Duration::from_millis(400),
        hopeless: Duration::from_secs(1),
        rescan: Duration::from_millis(200),
        ..Tempo::default()
    }
}

pub fn log() {
    if std::env::var_os("TEST_LOG").is_some() {
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer().try_init();
    }
}

pub struct Scratch {
    _folder: tempfile::TempDir,
    pub state: StateDir,
}

impl Scratch {
    pub fn new() -> Self {
        log();
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().join("state"));
        Self { _folder: folder, state }
    }

    pub fn folder(&self) -> &std::path::Path {
        self._folder.path()
    }

    pub fn options(&self) -> JoinOptions {
        JoinOptions::new(label("main"), self.state.clone(), "test/1")
    }

    pub async fn join(&self, invite: &Invite) -> Joined {
        soon("joining", join(invite, self.options())).await.unwrap()
    }
}

pub struct TestAgent {
    pub settings: watch::Sender<Arc<Settings>>,
    pub status: watch::Receiver<Status>,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), AgentError>>,
}

impl TestAgent {
    pub fn start(state: &StateDir, given: Settings) -> Self {
        Self::start_with(state, given, quick_tempo())
    }

    pub fn start_with(state: &StateDir, given: Settings, tempo: Tempo) -> Self {
        let (settings, received) = watch::channel(Arc::new(given));
        let agent = Agent::new(state.clone(), "test/1", received).with_tempo(tempo);
        let (status, stop) = (agent.status(), CancellationToken::new());
        let task = tokio::spawn(agent.run(stop.clone()));
        Self { settings, status, stop, task }
    }

    pub fn reload(&self, given: Settings) {
        self.settings.send(Arc::new(given)).unwrap();
    }

    pub async fn until_status(&mut self, what: &str, is_so: impl Fn(&GatewayStatus) -> bool) {
        let waiting = self.status.wait_for(|all| all.gateways.values().any(&is_so));
        drop(soon(what, waiting).await.unwrap());
    }
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Joined, running, with its first link up.
pub async fn running(gateway: &mut Gateway, scratch: &Scratch, services: &[Service]) -> (TestAgent, TestLink) {
    scratch.join(&gateway.invite()).await;
    gateway.next_link().await;
    let agent = TestAgent::start(&scratch.state, settings(services));
    let link = gateway.next_link().await;
    (agent, link)
}
