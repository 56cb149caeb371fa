//! Commands about SSH keys.

use super::owner::ListArgs;
use crate::admin::Owner;
use crate::admin::ssh::{self, Holder};
use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use std::io::Read;

pub(super) const KEYS_EXAMPLES: &str = "Examples:\n  doorward ssh-keys\n  doorward ssh-keys remove SHA256:2cYl…";
pub(super) const PERSON_EXAMPLES: &str = "\
Keys are read from stdin: a .pub file or a whole authorized_keys.

Examples:
  doorward people add-key anna < id_ed25519.pub
  doorward access zumi01/ssh set --person anna
  curl https://github.com/anna.keys | doorward people add-key anna";
pub(super) const DEVICE_EXAMPLES: &str = "\
Keys are read from stdin: a .pub file or a whole authorized_keys.

Examples:
  doorward devices add-key zumi01 < id_ed25519.pub
  doorward devices add-key zumi01 < ~zumi01/.ssh/authorized_keys";
/// A hundred long keys with their comments.
const MOST: u64 = 60 * 1024;

#[derive(Debug, Args)]
pub(super) struct SshKeysArgs {
    #[command(subcommand)]
    command: Option<SshKeysCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum SshKeysCommand {
    /// Lists the keys (the same as without a word).
    List,
    /// Takes a key away from whoever has it, and ends its connections.
    Remove {
        /// As in the list.
        fingerprint: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddKeyArgs {
    /// Whose they are.
    name: String,
}

impl SshKeysArgs {
    pub(super) async fn run(self, now: Timestamp) -> anyhow::Result<String> {
        let (form, owner) = (self.list.form(), self.list.owner());
        Ok(match self.command.unwrap_or(SshKeysCommand::List) {
            SshKeysCommand::List => ssh::list(&owner, form, now).await?,
            SshKeysCommand::Remove { fingerprint } => ssh::remove(&owner, &fingerprint).await?,
        })
    }
}

impl AddKeyArgs {
    pub(super) async fn add_to_person(self, owner: &Owner) -> anyhow::Result<String> {
        Ok(ssh::add(owner, &Holder::Person(self.name), &keys().await?).await?)
    }

    pub(super) async fn add_to_device(self, owner: &Owner) -> anyhow::Result<String> {
        Ok(ssh::add(owner, &Holder::Device(self.name), &keys().await?).await?)
    }
}

async fn keys() -> anyhow::Result<String> {
    let read = || {
        let mut text = String::new();
        std::io::stdin().lock().take(MOST).read_to_string(&mut text).map(|_| text)
    };
    tokio::task::spawn_blocking(read).await?.context("the keys could not be read from stdin")
}
