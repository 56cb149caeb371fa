//! Commands that keep a gateway or a device well.

use super::owner::DataArgs;
use crate::generate::{self, Shell};
use crate::{backup, paths, restore, terminal};
use anyhow::bail;
use clap::Args;
use doorward_control::passwords;
use doorward_core::Secret;
use std::io::IsTerminal;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Where to; must not exist yet.
    file: PathBuf,
    /// A file with the passphrase, instead of asking for it.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The settings, if not in /etc/doorward/gateway.toml (root) or ~/.config/doorward/gateway.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// A file that `doorward backup` made.
    file: PathBuf,
    /// A file with the passphrase, instead of asking for it.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Where to, if not to the usual place; must be empty or not exist yet.
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Where to write a page for each command; otherwise the main page goes to stdout.
    directory: Option<PathBuf>,
}

pub(super) const BACKUP_EXAMPLES: &str = "\
The file holds everything but certificate files: the store with the site key,
and gateway.toml. It can also be opened without Doorward:  age -d FILE | tar xv

Examples:
  doorward backup /media/stick/gateway.age
  doorward backup gateway.age < passphrase.txt
  doorward backup /backup/$(date +%F).age --passphrase-file /root/passphrase";

pub(super) const RESTORE_EXAMPLES: &str = "\
Examples:
  doorward restore gateway.age
  doorward restore gateway.age --data /srv/doorward";

pub(super) const PASSWORD_EXAMPLES: &str = "\
The password is asked for twice, or read from stdin. What is printed goes into
agent.toml:

  [service.access]
  who = \"password\"
  passwords = { anna = \"$argon2id$…\" }

Examples:
  doorward password
  doorward password < password.txt";

impl BackupArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let owner = self.data.here();
        backup::check_target(&self.file)?;
        backup::check_source(&owner).await?;
        let passphrase = match self.passphrase_file {
            Some(file) => terminal::secret_in(&file, "passphrase")?,
            None => terminal::new_secret("passphrase".to_owned()).await?,
        };
        check_length(&passphrase)?;
        let made = backup::run(&owner, &self.file, self.config.as_deref(), passphrase).await?;
        terminal::print(&made.words())
    }
}

/// Whoever finds the file has all the time in the world to guess.
fn check_length(passphrase: &Secret<String>) -> anyhow::Result<()> {
    const LEAST: usize = 10;
    if passphrase.expose().chars().count() < LEAST {
        bail!("the passphrase is too short: {LEAST} characters at least, better four or five words");
    }
    Ok(())
}

impl RestoreArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let directory = std::path::absolute(self.data.unwrap_or_else(paths::gateway_directory))?;
        restore::check_file(&self.file)?;
        restore::check_place(&directory)?;
        let passphrase = match self.passphrase_file {
            Some(file) => terminal::secret_in(&file, "passphrase")?,
            None => terminal::known_secret("passphrase".to_owned()).await?,
        };
        let restored = restore::run(&self.file, &directory, passphrase).await?;
        terminal::print(&restored.words())
    }
}

impl CompletionsArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        terminal::print(&generate::completions(self.shell))
    }
}

impl ManArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.directory {
            None => terminal::print(&generate::man_page()?),
            Some(directory) => {
                let pages = generate::man_pages(&directory)?;
                terminal::print(&format!("{pages} pages are in {}.\n", directory.display()))
            }
        }
    }
}

/// Hashes a password for `agent.toml`.
pub(super) async fn hash_password() -> anyhow::Result<()> {
    let password = terminal::new_secret("password".to_owned()).await?;
    let hash = tokio::task::spawn_blocking(move || passwords::hash(&password)).await?;
    if std::io::stdout().is_terminal() {
        eprintln!("For agent.toml, with the user name of your choice:\n\n[service.access]\nwho = \"password\"");
        return terminal::print(&format!("passwords = {{ anna = \"{hash}\" }}\n"));
    }
    terminal::print(&format!("{hash}\n"))
}
