//! `doorward agent`, `doorward join` and the quick forms `doorward http|tcp|udp`.

pub mod local;
pub mod quick;
mod restart;

use crate::follow::Watch;
use crate::{invite, open_files, shutdown};
use anyhow::{Context, bail};
use doorward_agent::settings::DEFAULT_GATEWAY;
use doorward_agent::{
    Agent, JoinOptions, Joined, ProxyRule, Service, Settings, StateDir, Upkeep, join, join_if_invited,
};
use doorward_core::invite::Invite;
use doorward_core::names::Label;
use doorward_tunnel::MemoryDialer;
use local::Extra;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What the gateway's lists show for this program.
pub const SOFTWARE: &str = concat!("doorward ", env!("CARGO_PKG_VERSION"));

/// Where an agent finds what is its own.
#[derive(Clone, Debug)]
pub struct Places {
    pub state: PathBuf,
    /// `agent.toml`; `None`: the usual place, which may be empty.
    pub config: Option<PathBuf>,
}

#[derive(Clone, Debug, Default)]
pub struct JoinWish {
    pub gateway: Option<String>,
    pub name: Option<String>,
    pub invite: Option<PathBuf>,
    pub replace: bool,
}

pub async fn run_join(places: &Places, wish: JoinWish) -> anyhow::Result<Joined> {
    let gateway = Label::parse(wish.gateway.as_deref().unwrap_or(DEFAULT_GATEWAY)).context("--gateway")?;
    let read = invite::read(wish.invite.as_deref())?;
    let mut options = JoinOptions::new(gateway, StateDir::new(&places.state), SOFTWARE);
    options.suggested_name = wish.name;
    options.replace = wish.replace;
    options.proxy = environment_proxy()?;
    Ok(join(&read, options).await?)
}

/// The built-in agent's way in.
pub async fn join_over_memory(
    places: &Places,
    invite: &Invite,
    name: Option<String>,
    dialer: MemoryDialer,
) -> anyhow::Result<Joined> {
    let gateway = Label::parse(DEFAULT_GATEWAY)?;
    let mut options = JoinOptions::new(gateway, StateDir::new(&places.state), SOFTWARE);
    options.suggested_name = name;
    options.memory = Some(dialer);
    Ok(join(invite, options).await?)
}

/// Runs the configured services until told to stop. `invite_file`: joins first if no gateway was joined yet.
pub async fn run(places: Places, invite_file: Option<&Path>, quick: Option<Service>) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let mut agent = start(&places, Start { invite_file, quick, memory: None }, stop.clone()).await?;
    tokio::select! {
        () = shutdown::requested() => info!("stopping"),
        () = agent.restart.cancelled() => {
            stop.cancel();
            agent.ended.await??;
            return Err(restart::start_anew().into());
        }
        ended = &mut agent.ended => return ended?,
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    stop.cancel();
    agent.ended.await?
}

/// A running agent.
pub struct Running {
    pub status: watch::Receiver<doorward_agent::Status>,
    pub ended: tokio::task::JoinHandle<anyhow::Result<()>>,
    /// Cancelled when somebody at the gateway wants it to start anew.
    restart: CancellationToken,
}

/// How an agent is started, beside its places.
#[derive(Clone, Debug, Default)]
pub struct Start<'a> {
    /// Joins with the invite in it first, if no gateway was joined yet.
    pub invite_file: Option<&'a Path>,
    pub quick: Option<Service>,
    /// The gateway runs in this very process.
    pub memory: Option<MemoryDialer>,
}

pub async fn start(places: &Places, how: Start<'_>, stop: CancellationToken) -> anyhow::Result<Running> {
    if how.memory.is_none() {
        open_files::raise();
    }
    let state = StateDir::new(&places.state);
    let lock = local::lock(&places.state)?;
    let proxy = environment_proxy()?;
    let file = SettingsFile::find(places.config.clone());
    let mut watch = file.watch()?;
    let settings = file.read()?;
    watch.look_after(file.with_beside(&settings));
    // What can be wrong here is right. Joining may take as long as the network does.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    if let Some(file) = how.invite_file {
        let gateway = Label::parse(DEFAULT_GATEWAY)?;
        let mut options = JoinOptions::new(gateway, state.clone(), SOFTWARE);
        options.proxy = proxy.clone();
        join_if_invited(options, file).await?;
    }
    let is_lasting = how.quick.is_none();
    let extra = Extra::new(settings, how.quick);
    let agent = Agent::new(state, SOFTWARE, extra.settings()).with_proxy(proxy);
    let restart = CancellationToken::new();
    let upkeep = Upkeep { log: crate::logging::tail(), restart: is_lasting.then(|| restart.clone()) };
    let agent = match how.memory {
        // Log and process are the gateway's.
        Some(memory) => agent.over_memory(memory),
        None => agent.with_upkeep(upkeep),
    };
    let status = agent.status();
    let mut helpers = JoinSet::new();
    helpers.spawn(file.follow(watch, extra.clone()));
    helpers.spawn(local::serve(places.state.clone(), extra, agent.status())?);
    let ended = tokio::spawn(async move {
        let _lock = lock;
        let _helpers = helpers;
        agent.run(stop).await.map_err(Into::into)
    });
    Ok(Running { status, ended, restart })
}

/// The proxy of the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY).
pub(crate) fn environment_proxy() -> anyhow::Result<Option<ProxyRule>> {
    Ok(ProxyRule::from_environment(|name| std::env::var(name).ok()).transpose()?)
}

/// `agent.toml` as it is now.
pub(crate) fn read_settings(places: &Places) -> anyhow::Result<Settings> {
    SettingsFile::find(places.config.clone()).read()
}

/// `agent.toml`, followed as it changes.
#[derive(Clone, Debug)]
struct SettingsFile {
    path: PathBuf,
    /// A file that was named must exist; the usual one need not.
    is_named: bool,
}

impl SettingsFile {
    fn find(named: Option<PathBuf>) -> Self {
        match named {
            Some(path) => Self { path, is_named: true },
            None => Self { path: crate::paths::configuration("agent.toml"), is_named: false },
        }
    }

    fn read(&self) -> anyhow::Result<Settings> {
        if !self.is_named && !self.path.exists() {
            return Ok(Settings::default());
        }
        Ok(Settings::load(&self.path)?)
    }

    /// What to watch before it is read.
    fn watch(&self) -> anyhow::Result<Watch> {
        Watch::new(vec![self.path.clone()])
    }

    /// The file, and those that it names.
    fn with_beside(&self, settings: &Settings) -> Vec<PathBuf> {
        [vec![self.path.clone()], settings.files_beside(&self.path)].concat()
    }

    /// Takes changes over. What cannot be read changes nothing.
    async fn follow(self, mut watch: Watch, extra: Extra) {
        loop {
            watch.next().await;
            match self.read() {
                Ok(settings) => {
                    watch.look_after(self.with_beside(&settings));
                    info!(file = %self.path.display(), "the settings were read again");
                    extra.replace(settings);
                }
                Err(error) => warn!("the settings stay as they were: {error:#}"),
            }
        }
    }
}

pub fn has_joined(state: &Path) -> anyhow::Result<bool> {
    Ok(!StateDir::new(state).gateways()?.is_empty())
}

/// Refuses to go on where no gateway was joined.
pub fn require_membership(state: &Path) -> anyhow::Result<()> {
    if !has_joined(state)? {
        bail!(
            "this device has not joined a gateway yet: get an invite there with `doorward invite`, then `doorward join`. \
             If root joined it, only root can use that: try `sudo doorward …`"
        );
    }
    Ok(())
}

pub(crate) fn share(settings: Settings) -> Arc<Settings> {
    Arc::new(settings)
}
