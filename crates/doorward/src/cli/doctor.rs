//! `doorward doctor`.

use super::owner::DataArgs;
use crate::agent::Places;
use crate::{doctor, paths, terminal};
use clap::Args;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
On a gateway's machine it looks at the gateway, on a device at the device, and
at both where both are. Ends with 1 if something is wrong. Takes up to 20 s.

Examples:
  doorward doctor
  doorward doctor --state ~/.local/state/doorward/agent
  doorward doctor --json | jq '.[] | select(.standing == \"wrong\")'";

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Print it as JSON, for programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
    /// Where the agent keeps its keys, if not in /var/lib/doorward/agent (root) or ~/.local/state/doorward/agent.
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
    /// The settings, if not in /etc/doorward/agent.toml (root) or ~/.config/doorward/agent.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DoctorArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let places = Places { state: self.state.unwrap_or_else(paths::agent_directory), config: self.config };
        let findings = doctor::examine(&self.data.here(), &places).await;
        let text = if self.json { serde_json::to_string_pretty(&findings)? + "\n" } else { doctor::words(&findings) };
        terminal::print(&text)?;
        let wrong = doctor::count_wrong(&findings);
        match wrong {
            0 => {}
            1 => eprintln!("doorward: one thing is wrong"),
            many => eprintln!("doorward: {many} things are wrong"),
        }
        crate::logging::flush();
        // Not by returning: a look-up that still hangs in the C library would be waited for.
        std::process::exit(i32::from(wrong > 0))
    }
}
