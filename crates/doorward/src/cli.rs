//! The command line, with examples.

mod access;
mod alerts;
mod approvals;
mod audit;
mod certificates;
mod certify;
mod device;
mod doctor;
mod install;
mod knock;
mod login;
mod open;
mod owner;
mod people;
mod presets;
mod print;
mod router;
mod rules;
mod scan;
mod shares;
mod ssh;
mod upkeep;
mod welcomes;

use crate::serve::Source;
use crate::serve::settings::Behind;
use crate::{demo, logging, paths, serve};
use clap::{Args, Parser, Subcommand};
use device::{AgentArgs, JoinArgs, QuickArgs};
use doctor::DoctorArgs;
use doorward_core::names::HostName;
use doorward_core::service::ServiceKind;
use doorward_core::site::Address;
use install::{InstallArgs, WhatArgs};
use owner::OwnerCommand;
use presets::PresetsArgs;
use print::PrintArgs;
use router::RouterArgs;
use scan::ScanArgs;
use std::path::PathBuf;
use tokio::runtime::Runtime;
use upkeep::{BackupArgs, CompletionsArgs, ManArgs, RestoreArgs};

/// Opens the private devices behind your NAT to exactly the people you choose, for exactly as long as you say.
#[derive(Debug, Parser)]
#[command(name = "doorward", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to log: a level, or levels by part, as "info,doorward_tunnel=debug" [default: info; where
    /// people look on, as with demo and http: warn].
    #[arg(long, global = true, value_name = "LEVELS", help_heading = "Logging")]
    log: Option<String>,
    /// How to log, on stderr.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", help_heading = "Logging")]
    log_format: logging::Format,
    #[command(subcommand)]
    work: Work,
}

const EXAMPLES: &str = "\
Examples:
  doorward demo                          see it work, here and now
  doorward serve --domain example.org    on a machine that everybody can reach
  doorward join                          on a device: paste the invite that serve printed
  doorward http 5000 --name octoprint    on that device: open the web page there
  doorward services                      on the gateway's machine: what is where";

#[derive(Debug, Subcommand)]
enum Work {
    #[command(flatten)]
    Command(Box<Command>),
    /// Opens pinholes in this router's firewall for its agent, and lets the kernel end them.
    #[command(after_help = router::EXAMPLES)]
    Router(RouterArgs),
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs gateway, agent and a sample device on this machine, to look at.
    #[command(
        after_help = "Examples:\n  doorward demo\n  doorward demo http://127.0.0.1:8888     a real service, not the sample\n  doorward demo tcp://127.0.0.1:22"
    )]
    Demo {
        /// A local service, as http://HOST:PORT, tcp://HOST:PORT, udp://HOST:PORT or unix:/PATH.
        target: Option<String>,
    },
    /// Runs the gateway that visitors and agents reach.
    #[command(
        after_help = "Examples:\n  doorward serve --domain example.org\n  doorward serve --domain example.org --address gw.example.org:443\n  doorward serve --config ./gateway.toml --data /srv/doorward\n  doorward serve --behind 127.0.0.1:8080      nginx or another has port 443"
    )]
    Serve(ServeArgs),
    /// Enrols this device with a gateway.
    #[command(
        after_help = "The invite is asked for, or read from a file, from stdin (-) or from\n$DOORWARD_INVITE; never from the command line, where every user of this machine\ncould read it.\n\nExamples:\n  doorward join\n  doorward join invite.txt --name printer1"
    )]
    Join(JoinArgs),
    /// Runs the services of agent.toml, and whatever else is offered here.
    #[command(
        after_help = "Examples:\n  doorward agent\n  doorward agent --config ./agent.toml\n  doorward agent --invite-file /boot/invite.txt     on cards that are copied"
    )]
    Agent(AgentArgs),
    /// Offers a web service from this device, while the command runs.
    #[command(
        // Whoever gives it nevertheless is told what to use.
        mut_arg("port", |port| port.hide(true)),
        mut_arg("senders", |senders| senders.hide(true)),
        after_help = "Visitors are asked for a user name (guest) and a password, which is made and\nshown now, unless --public says otherwise.\n\nExamples:\n  doorward http 5000 --name octoprint --preset octoprint\n  doorward http 5000 --mount \"/webcam/=camera+http://127.0.0.1:8080/stream\"\n  doorward http https://192.168.3.1 --headers rewrite --verify off\n  doorward http 192.168.3.90:80 --name cam --public --from 192.0.2.0/24\n  doorward http /run/app.sock"
    )]
    Http(QuickArgs),
    /// Offers a camera from this device, while the command runs: read once, whoever watches.
    #[command(
        mut_arg("port", |port| port.hide(true)),
        mut_arg("senders", |senders| senders.hide(true)),
        mut_arg("preset", |preset| preset.hide(true)),
        mut_arg("headers", |headers| headers.hide(true)),
        mut_arg("mounts", |mounts| mounts.hide(true)),
        mut_arg("verify", |verify| verify.hide(true)),
        after_help = "Visitors are asked for a user name (guest) and a password, which is made and\nshown now, unless --public says otherwise.\n\nExamples:\n  doorward camera \"8080/?action=stream\"\n  doorward camera http://esp32.local:81/stream --name door\n  doorward camera /dev/video0\n  doorward camera netgear://127.0.0.1:5454 --public --from 192.0.2.0/24"
    )]
    Camera(QuickArgs),
    /// Lists the applications that Doorward knows how to stand in front of.
    #[command(
        after_help = "Examples:\n  doorward presets\n  doorward presets octoprint\n  doorward http 5000 --preset octoprint"
    )]
    Presets(PresetsArgs),
    /// Looks for what this device could offer: OctoPrint, Klipper, Home Assistant, Jupyter and cameras.
    #[command(after_help = scan::EXAMPLES)]
    Scan(ScanArgs),
    /// Prints what a web server in front needs to know of the gateway.
    #[command(after_help = print::EXAMPLES)]
    Print(PrintArgs),
    /// Offers a TCP service on a public port, while the command runs.
    #[command(
        after_help = "A raw port cannot ask for a password: it needs --public or --from, or both.\nWith --senders there is no public port: whoever holds a sender key comes by SSH.\n\nExamples:\n  doorward tcp 22 --from 192.0.2.0/24\n  doorward tcp 5900 --public --port 20005\n  doorward tcp 5454 --name netgear --senders"
    )]
    Tcp(QuickArgs),
    /// Offers a UDP service on a public port, while the command runs.
    #[command(
        mut_arg("senders", |senders| senders.hide(true)),
        after_help = "A raw port cannot ask for a password: it needs --public or --from, or both.\n\nExamples:\n  doorward udp 51820 --public\n  doorward udp 192.168.3.1:5060 --from 192.0.2.0/24 --port 20007"
    )]
    Udp(QuickArgs),
    /// Has the agent, the gateway or the router's part start with the machine.
    #[command(after_help = install::EXAMPLES)]
    Install(InstallArgs),
    /// Stops and removes what `install` wrote.
    #[command(after_help = install::UNINSTALL_EXAMPLES)]
    Uninstall(WhatArgs),
    #[command(flatten)]
    Owner(OwnerCommand),
    /// Opens a session at the portal and brings the service to this machine.
    #[command(after_help = open::EXAMPLES)]
    Open(open::OpenArgs),
    /// Has one's sessions opened by one packet, to which nobody answers.
    #[command(after_help = knock::EXAMPLES)]
    Knock(knock::KnockArgs),
    /// Writes everything that the gateway keeps into one file, protected by a passphrase.
    #[command(after_help = upkeep::BACKUP_EXAMPLES)]
    Backup(BackupArgs),
    /// Makes the data directory of a gateway from a backup.
    #[command(after_help = upkeep::RESTORE_EXAMPLES)]
    Restore(RestoreArgs),
    /// Says of every hop whether it is fine, and if not, what to do.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(DoctorArgs),
    /// Hashes a password for agent.toml.
    #[command(after_help = upkeep::PASSWORD_EXAMPLES)]
    Password,
    /// Prints completions for a shell.
    #[command(
        after_help = "Examples:\n  doorward completions bash > /etc/bash_completion.d/doorward\n  doorward completions zsh > ~/.zfunc/_doorward\n  doorward completions fish > ~/.config/fish/completions/doorward.fish"
    )]
    Completions(CompletionsArgs),
    /// Prints the man page, or writes one for each command.
    #[command(after_help = "Examples:\n  doorward man | man -l -\n  doorward man /usr/local/share/man/man1")]
    Man(ManArgs),
}

impl Command {
    /// What is logged unless somebody says otherwise. What is said to people at a terminal should not drown.
    fn usual_log(&self) -> &'static str {
        let is_for_people = matches!(
            self,
            Self::Demo { .. }
                | Self::Http(_)
                | Self::Camera(_)
                | Self::Tcp(_)
                | Self::Udp(_)
                | Self::Join(_)
                | Self::Open(_)
                | Self::Knock(_)
        );
        if is_for_people { "warn" } else { "info" }
    }

    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Demo { target } => Box::pin(demo::run(target.as_deref())).await,
            Self::Serve(args) => Box::pin(args.run()).await,
            Self::Join(args) => args.run().await,
            Self::Agent(args) => args.run().await,
            Self::Http(args) => args.run(ServiceKind::Http).await,
            Self::Camera(args) => args.run(ServiceKind::Camera).await,
            Self::Presets(args) => args.run(),
            Self::Scan(args) => args.run().await,
            Self::Print(args) => args.run(),
            Self::Tcp(args) => args.run(ServiceKind::Tcp).await,
            Self::Udp(args) => args.run(ServiceKind::Udp).await,
            Self::Install(args) => args.run().await,
            Self::Uninstall(args) => args.uninstall().await,
            Self::Owner(command) => command.run().await,
            Self::Open(args) => args.run().await,
            Self::Knock(args) => args.run().await,
            Self::Backup(args) => args.run().await,
            Self::Restore(args) => args.run().await,
            Self::Doctor(args) => args.run().await,
            Self::Password => upkeep::hash_password().await,
            Self::Completions(args) => args.run(),
            Self::Man(args) => args.run(),
        }
    }
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Services get names below it, as octoprint-printer1.example.org.
    #[arg(long, value_parser = HostName::parse)]
    domain: Option<HostName>,
    /// How agents reach this gateway, as gw.example.org:443; may be repeated.
    #[arg(long = "address", value_name = "HOST:PORT", value_parser = Address::parse)]
    addresses: Vec<Address>,
    /// Plain HTTP here, or on a socket as unix:/run/doorward/web.sock, for the web server that has the public ports
    /// (`doorward print nginx`).
    #[arg(long, value_name = "IP:PORT", value_parser = Behind::parse)]
    behind: Option<Behind>,
    /// Where the gateway keeps everything, if not in /var/lib/doorward/gateway (root) or
    /// ~/.local/state/doorward/gateway.
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// The settings, if not in /etc/doorward/gateway.toml (root) or ~/.config/doorward/gateway.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Cli {
    pub fn run(self) -> anyhow::Result<()> {
        let (levels, format) = (self.log.as_deref(), self.log_format);
        match self.work {
            Work::Router(args) => args.run(|| logging::start(levels.unwrap_or("info"), format)),
            Work::Command(command) => {
                let runtime = Runtime::new()?;
                let outcome = runtime.block_on(async {
                    let _logging = logging::start(levels.unwrap_or(command.usual_log()), format)?;
                    command.run().await
                });
                // Look-ups of names that no server answers cannot be called off; nobody waits for them here.
                runtime.shutdown_background();
                outcome
            }
        }
    }
}

impl ServeArgs {
    async fn run(self) -> anyhow::Result<()> {
        let directory = self.data.unwrap_or_else(paths::gateway_directory);
        let source = Source::new(self.config.as_deref(), directory);
        let source = source.with_domain(self.domain).with_addresses(self.addresses).with_behind(self.behind);
        Box::pin(serve::run(source)).await
    }
}

#[cfg(test)]
mod tests;
