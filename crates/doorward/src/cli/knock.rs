//! `doorward knock` and the keys for it.

use super::owner::{CodeArgs, DataArgs, FormArgs};
use crate::admin::ServicePath;
use crate::admin::knock_keys::{self, Wish};
use crate::knock::{self, Sending, known};
use crate::terminal;
use anyhow::Context;
use clap::{Args, Subcommand};
use doorward_core::span::parse_span;
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
One packet opens your sessions at a gateway. There is never an answer, whether
it counted or not: try the service, or look at the portal.

Examples:
  doorward knock --learn home     paste the line of `doorward knock-keys add`
  doorward knock home
  doorward knock home --only nas/files --for 2h
  doorward knock home --source 203.0.113.7    behind a NAT, as others see it
  doorward knock home --watch                 again whenever the address changes";

pub(super) const KEYS_EXAMPLES: &str = "\
A key is one person's and opens what their policies let them open, no more. It
is shown once; `doorward knock --learn NAME` keeps it where somebody knocks. A
service that asks for a second factor is not opened by a knock.

Examples:
  doorward knock-keys
  doorward knock-keys add phone --opens nas/files,nas/cam
  doorward knock-keys add laptop --person anna --opens nas/files --as-seen
  doorward knock-keys add door        shows a hidden portal, and opens nothing
  doorward knock-keys remove 3";

#[derive(Debug, Args)]
pub(super) struct KnockArgs {
    /// What the gateway is called here; it may be left out where there is one.
    name: Option<String>,
    /// Asks for the line of `doorward knock-keys add`, and keeps it under that name.
    #[arg(long, conflicts_with_all = ["source", "only", "length", "watch"])]
    learn: bool,
    /// From where you come, as the gateway sees it; unless said, this machine's own public address.
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// Only this of what the key opens, as DEVICE/SERVICE; may be repeated.
    #[arg(long, value_name = "DEVICE/SERVICE", value_delimiter = ',')]
    only: Vec<ServicePath>,
    /// How long the sessions last, as 30m or 2h, within what their policies allow [default: 30m].
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    length: Option<SignedDuration>,
    /// Knocks again whenever this machine's address changes, and before the sessions end.
    #[arg(long)]
    watch: bool,
    /// The keys, if not in ~/.config/doorward/knocks.toml.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct KnockKeysArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    form: FormArgs,
    #[command(subcommand)]
    deed: Option<KnockKeysDeed>,
}

#[derive(Debug, Subcommand)]
enum KnockKeysDeed {
    /// Makes a key and shows it, this once.
    Add {
        /// What has it, as phone.
        name: String,
        /// What it opens, as DEVICE/SERVICE; may be repeated. Without any it shows a hidden portal.
        #[arg(long, value_name = "DEVICE/SERVICE", value_delimiter = ',')]
        opens: Vec<ServicePath>,
        /// Lets knocks leave open from where they come, for machines behind a NAT. Whoever holds such a packet back may use
        /// it once, from elsewhere.
        #[arg(long)]
        as_seen: bool,
        /// Whose it is, if not yours.
        #[arg(long, value_name = "NAME")]
        person: Option<String>,
        #[command(flatten)]
        code: CodeArgs,
    },
    /// Has a key open nothing any more.
    Remove {
        /// As in the list.
        id: i64,
    },
}

impl KnockKeysArgs {
    pub(super) async fn run(self, now: Timestamp) -> anyhow::Result<String> {
        let owner = self.data.owner();
        Ok(match self.deed {
            None => knock_keys::list(&owner, self.form.form(), now).await?,
            Some(KnockKeysDeed::Add { name, opens, as_seen, person, code }) => {
                let wish = Wish { name, opens, may_be_seen: as_seen, person };
                let line = knock_keys::make(&owner, &wish).await?;
                let about =
                    "It is shown this once. On the machine that knocks: `doorward knock --learn NAME`, and paste it.\n";
                code.show_with(&line, about)?;
                String::new()
            }
            Some(KnockKeysDeed::Remove { id }) => knock_keys::remove(&owner, id).await?,
        })
    }
}

impl KnockArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let file = self.keys.unwrap_or_else(known::file);
        if self.learn {
            let name = self.name.context("say what to call it: `doorward knock --learn home`")?;
            let line = terminal::known_secret("Knock key".to_owned()).await?;
            known::learn(&file, &name, &line)?;
            return terminal::print(&format!("Kept in {}. `doorward knock {name}` knocks.\n", file.display()));
        }
        let (name, line) = known::find(&file, self.name.as_deref())?;
        let only: Vec<_> = self.only.iter().map(ToString::to_string).collect();
        let sending = Sending { line, source: self.source, only, length: self.length };
        let sent = knock::send(&sending).await?;
        terminal::print(&format!("{}{}", sent.described(&name), knock::HONEST))?;
        if self.watch { knock::watch(&sending, &name, sent).await } else { Ok(()) }
    }
}
