//! `doorward router`.

use crate::logging::Logging;
use clap::Args;
use doorward_router::{Options, prepare, remove, usual_socket};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
It hears the agent on a unix socket, opens nothing that its file does not
allow, keeps CAP_NET_ADMIN alone (iptables-legacy needs CAP_NET_RAW, too), and
listens to no network. Sessions end in the kernel, also when it is dead.

Examples:
  sudo doorward install router
  sudo doorward router --config ./router.toml
  sudo doorward router --remove              takes all its rules away";

#[derive(Debug, Args)]
pub(super) struct RouterArgs {
    /// What may be opened, if not in /etc/doorward/router.toml.
    #[arg(long, value_name = "FILE", default_value = "/etc/doorward/router.toml", hide_default_value = true)]
    config: PathBuf,
    /// Where the agent speaks to it, if not at /run/doorward-router/router.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Take all rules of an earlier run away, and end what they let in.
    #[arg(long)]
    remove: bool,
}

impl RouterArgs {
    /// The log has a thread of its own, which must be born without rights.
    pub(super) fn run(self, start_log: impl FnOnce() -> anyhow::Result<Logging>) -> anyhow::Result<()> {
        if self.remove {
            return Ok(remove(&self.config)?);
        }
        let socket = self.socket.unwrap_or_else(usual_socket);
        let prepared = prepare(Options { config: self.config, socket })?;
        let _logging = start_log()?;
        let ready = || {
            // Whether systemd hears it or is not there makes no difference here.
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        };
        Ok(prepared.run(ready)?)
    }
}
