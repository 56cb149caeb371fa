//! `doorward approvals`.

use super::owner::ListArgs;
use crate::admin::approvals;
use clap::{Args, Subcommand};
use jiff::Timestamp;

pub(super) const EXAMPLES: &str = "\
Where a policy has --approval, whoever wants a session asks for it, and one of
that group answers: by `ssh GATEWAY approve 3`, or here in their name.

Examples:
  doorward approvals
  doorward approvals approve 3 --as tina
  doorward approvals refuse 3 --as tina
  doorward approvals link 3 --as tina     a word by which tina answers, once";

#[derive(Debug, Args)]
pub(super) struct ApprovalsArgs {
    #[command(subcommand)]
    command: Option<ApprovalsCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum ApprovalsCommand {
    /// Lists what waits for an answer (the same as without a word).
    List,
    /// Says yes, which opens the session.
    Approve(AnswerArgs),
    /// Says no.
    Refuse(AnswerArgs),
    /// Makes a word by which one person answers one request, once.
    Link(AnswerArgs),
}

#[derive(Debug, Args)]
struct AnswerArgs {
    id: i64,
    /// Who answers. They must be of the group that the policy names.
    #[arg(long = "as", value_name = "NAME")]
    person: String,
}

impl ApprovalsArgs {
    pub(super) async fn run(self, now: Timestamp) -> anyhow::Result<String> {
        let (form, owner) = (self.list.form(), self.list.owner());
        Ok(match self.command.unwrap_or(ApprovalsCommand::List) {
            ApprovalsCommand::List => approvals::list(&owner, form, now).await?,
            ApprovalsCommand::Approve(args) => approvals::answer(&owner, args.id, &args.person, true).await?,
            ApprovalsCommand::Refuse(args) => approvals::answer(&owner, args.id, &args.person, false).await?,
            ApprovalsCommand::Link(args) => approvals::link(&owner, args.id, &args.person).await?,
        })
    }
}
