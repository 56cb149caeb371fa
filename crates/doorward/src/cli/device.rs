//! Commands on a device.

use crate::agent::quick::{Requests, Wish};
use crate::agent::{self, JoinWish, Places};
use crate::{paths, terminal};
use clap::Args;
use doorward_agent::Verify;
use doorward_core::names::PathPrefix;
use doorward_core::service::ServiceKind;
use doorward_core::web::HeaderMode;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct StateArgs {
    /// Where the agent keeps its keys, if not in /var/lib/doorward/agent (root) or ~/.local/state/doorward/agent.
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
    /// The settings, if not in /etc/doorward/agent.toml (root) or ~/.config/doorward/agent.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    /// A file with the invite; - is stdin.
    invite: Option<PathBuf>,
    /// What to call this device; its host name unless said.
    #[arg(long)]
    name: Option<String>,
    /// What to call the gateway here, where there are several.
    #[arg(long, value_name = "NAME")]
    gateway: Option<String>,
    /// Forget the gateway that was joined under this name before.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    /// Join with the invite in this file first, if no gateway was joined yet (for images that are copied).
    #[arg(long, value_name = "FILE")]
    invite_file: Option<PathBuf>,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Args)]
pub(super) struct QuickArgs {
    /// A port here, HOST:PORT in the local network, a URL or a socket's path.
    target: String,
    /// The service's name; its address is NAME-DEVICE.DOMAIN.
    #[arg(long)]
    name: Option<String>,
    /// Everybody may use it.
    #[arg(long)]
    public: bool,
    /// Whoever holds a sender key for it may use it, by SSH alone (tcp).
    #[arg(long, conflicts_with_all = ["public", "port"])]
    senders: bool,
    /// Only from this network, as 192.0.2.0/24; may be repeated.
    #[arg(long, value_name = "NETWORK")]
    from: Vec<String>,
    /// The public port (tcp and udp); the gateway chooses one otherwise.
    #[arg(long)]
    port: Option<u16>,
    /// What application it is, as in `doorward presets` (http).
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Whose host the target hears of: preserve, the visitor's, or rewrite, its own (http).
    #[arg(long, value_name = "MODE", value_parser = header_mode)]
    headers: Option<HeaderMode>,
    /// A further target below a path, as /webcam/=8080; may be repeated (http).
    #[arg(long = "mount", value_name = "PATH=TARGET", value_parser = mount)]
    mounts: Vec<(PathPrefix, String)>,
    /// How certificates of https:// targets are checked: system, off, or pin:sha256:… (http).
    #[arg(long, value_name = "HOW", value_parser = Verify::parse)]
    verify: Option<Verify>,
    #[command(flatten)]
    state: StateArgs,
}

fn header_mode(given: &str) -> Result<HeaderMode, &'static str> {
    let modes = [HeaderMode::Preserve, HeaderMode::Rewrite];
    modes.into_iter().find(|mode| mode.word() == given).ok_or("write preserve or rewrite")
}

fn mount(given: &str) -> Result<(PathPrefix, String), String> {
    let (path, target) = given.split_once('=').ok_or("write it as /webcam/=8080")?;
    let path = PathPrefix::parse(path).map_err(|error| error.to_string())?;
    Ok((path, target.to_owned()))
}

impl StateArgs {
    pub(super) fn places(self) -> Places {
        Places { state: self.state.unwrap_or_else(paths::agent_directory), config: self.config }
    }
}

impl JoinArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let wish = JoinWish { gateway: self.gateway, name: self.name, invite: self.invite, replace: self.replace };
        let joined = agent::run_join(&self.state.places(), wish).await?;
        terminal::print(&format!(
            "Joined. The gateway calls this device \"{}\".\n\nNext, one of:\n  \
             doorward http 5000 --name octoprint    open something now\n  \
             doorward install agent                 run the services of agent.toml at every start\n",
            joined.device_name
        ))
    }
}

impl AgentArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        agent::run(self.state.places(), self.invite_file.as_deref(), None).await
    }
}

impl QuickArgs {
    pub(super) async fn run(self, kind: ServiceKind) -> anyhow::Result<()> {
        let wish = Wish {
            kind,
            target: self.target,
            name: self.name,
            is_public: self.public,
            is_for_senders: self.senders,
            from: self.from,
            port: self.port,
            requests: Requests { preset: self.preset, headers: self.headers, verify: self.verify, mounts: self.mounts },
        };
        agent::quick::run(self.state.places(), wish).await
    }
}
