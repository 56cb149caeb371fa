//! What is to be run, and by which of the things that start services.

use super::InstallOptions;
use anyhow::{Context, ensure};
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    Agent,
    Gateway,
    /// What opens pinholes in this router's firewall.
    Router,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Agent, Self::Gateway, Self::Router];

    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Gateway => "gateway",
            Self::Router => "router",
        }
    }

    /// The service's name, whoever starts it.
    pub(super) fn service_name(self) -> &'static str {
        match self {
            Self::Agent => "doorward-agent",
            Self::Gateway => "doorward-gateway",
            Self::Router => "doorward-router",
        }
    }

    pub(super) fn subcommand(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Gateway => "serve",
            Self::Router => "router",
        }
    }

    pub(super) fn settings_file(self) -> &'static str {
        match self {
            Self::Agent => "agent.toml",
            Self::Gateway => "gateway.toml",
            Self::Router => "router.toml",
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Agent => "Doorward agent: opens this device's services through its gateways",
            Self::Gateway => "Doorward gateway: the doors to private devices",
            Self::Router => "Doorward router: pinholes in this machine's firewall, for its agent",
        }
    }

    /// A firewall is the machine's, whoever looks after it.
    pub(super) fn can_be(self, flavour: Flavour) -> bool {
        match self {
            Self::Agent | Self::Gateway => true,
            Self::Router => matches!(flavour, Flavour::Systemd | Flavour::Procd),
        }
    }

    pub(super) fn max_files(self) -> u32 {
        match self {
            Self::Agent => 65_536,
            Self::Gateway => 524_288,
            Self::Router => 1024,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flavour {
    /// A systemd service of the machine.
    Systemd,
    /// A systemd service of the user.
    SystemdUser,
    /// OpenWrt.
    Procd,
    /// A line in the user's crontab.
    Cron,
}

impl Flavour {
    pub(super) const ALL: [Self; 4] = [Self::Systemd, Self::SystemdUser, Self::Procd, Self::Cron];

    /// As on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::SystemdUser => "systemd-user",
            Self::Procd => "procd",
            Self::Cron => "cron",
        }
    }
}

/// A command that is safe to write into units, scripts and crontabs: no path in it has a character that means
/// something there, so quoting is all it needs.
pub(super) struct Service {
    pub(super) part: Part,
    pub(super) program: String,
    pub(super) config: Option<String>,
    pub(super) invite_file: Option<String>,
}

impl Service {
    pub(super) fn new(options: &InstallOptions, program: &Path) -> anyhow::Result<Self> {
        let invite_file = options.invite_file.as_deref().map(plain).transpose()?;
        ensure!(invite_file.is_none() || options.part == Part::Agent, "only an agent joins with an invite");
        let config = options.config.as_deref().map(plain).transpose()?;
        Ok(Self { part: options.part, program: plain(program)?, config, invite_file })
    }

    /// The command without the invite, whose place depends on who starts it.
    pub(super) fn command(&self, quote: char) -> String {
        let mut command = format!("{} {}", quoted(&self.program, quote), self.part.subcommand());
        if let Some(config) = &self.config {
            command += &format!(" --config {}", quoted(config, quote));
        }
        command
    }

    pub(super) fn shell_command(&self) -> String {
        let mut command = self.command('\'');
        if let Some(invite_file) = &self.invite_file {
            command += &format!(" --invite-file {}", quoted(invite_file, '\''));
        }
        command
    }
}

fn quoted(word: &str, quote: char) -> String {
    let is_bare = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@:=,".contains(c));
    if is_bare { word.to_owned() } else { format!("{quote}{word}{quote}") }
}

fn plain(path: &Path) -> anyhow::Result<String> {
    let path = std::path::absolute(path).with_context(|| format!("{} names no place", path.display()))?;
    let text = path.to_str().with_context(|| format!("{} is not UTF-8: move it", path.display()))?;
    let is_special = |c: char| c.is_control() || "'\"\\$%`".contains(c);
    ensure!(
        !text.contains(is_special),
        "{text:?} has a character that means something in service files (one of ' \" \\ $ % `): move or rename it"
    );
    Ok(text.to_owned())
}
