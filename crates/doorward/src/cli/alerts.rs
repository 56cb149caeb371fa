//! `doorward alerts`.

use super::owner::ListArgs;
use crate::admin::alerts;
use clap::{Args, Subcommand};
use jiff::Timestamp;

pub(super) const EXAMPLES: &str = "[[alert]] in gateway.toml says who is told what.\n\nExamples:\n  doorward alerts          how each destination fares\n  doorward alerts test     sends one to each of them";

#[derive(Debug, Args)]
pub(super) struct AlertsArgs {
    #[command(subcommand)]
    command: Option<AlertsCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum AlertsCommand {
    /// Sends a test to every destination and says what came of it.
    Test,
}

impl AlertsArgs {
    pub(super) async fn run(self, now: Timestamp) -> anyhow::Result<String> {
        let owner = self.list.data.owner();
        match self.command {
            None => Ok(alerts::list(&owner, self.list.form.form(), now).await?),
            Some(AlertsCommand::Test) => alerts::test(&owner).await,
        }
    }
}
