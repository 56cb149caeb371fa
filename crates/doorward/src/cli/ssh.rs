//! Commands about SSH keys.

use super::owner::{DataArgs, ListArgs};
use crate::admin::Owner;
use crate::admin::ssh::{self, Holder};
use crate::admin::ssh_passwords::{self, SenderPlace};
use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use std::io::Read;

pub(super) const KEYS_EXAMPLES: &str =
    "Examples:\n  doorward ssh-keys\n  doorward ssh-keys remove SHA256:2cYl…\n  doorward ssh-keys remove password-7";
pub(super) const TOKEN_EXAMPLES: &str = "\
For machines whose SSH client has no key. A device that is not there yet is made.

Examples:
  doorward devices token printer1";
pub(super) const SENDER_EXAMPLES: &str = "\
The password is good for this one port of this one device: for VidGear's NetGear
and whatever else opens `ssh -L`. The lines to paste on both sides are printed.

Examples:
  doorward sender-key livingroom:5454";
pub(super) const PERSON_EXAMPLES: &str = "\
Keys are read from stdin: a .pub file or a whole authorized_keys.

Examples:
  doorward people add-key anna < id_ed25519.pub
  doorward access zumi01/ssh set --person anna
  curl https://github.com/anna.keys | doorward people add-key anna
  doorward people certify ben --for 8h --key ben.pub > ben-cert.pub
  doorward people remove anna";
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
    /// Lists keys and passwords (the same as without a word).
    List,
    /// Takes a key or password away from whoever has it, and ends its connections.
    Remove {
        /// As in the list: a fingerprint, or a password's number.
        fingerprint: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddKeyArgs {
    /// Whose they are.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct SenderKeyArgs {
    /// DEVICE:PORT, the virtual port that its agent offers.
    place: SenderPlace,
    #[command(flatten)]
    data: DataArgs,
}

impl SenderKeyArgs {
    pub(super) async fn run(self) -> anyhow::Result<String> {
        Ok(ssh_passwords::sender_key(&self.data.owner(), &self.place).await?)
    }
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
