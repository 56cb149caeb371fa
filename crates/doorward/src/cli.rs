//! The command line, with examples.

use crate::agent::quick::Wish;
use crate::agent::{self, JoinWish, Places};
use crate::serve::settings::File;
use crate::{demo, logging, paths, serve};
use clap::{Args, Parser, Subcommand};
use doorward_core::names::HostName;
use doorward_core::service::ServiceKind;
use doorward_core::site::Address;
use std::path::PathBuf;

/// Opens the private devices behind your NAT to exactly the people you choose, for exactly as long as you say.
#[derive(Debug, Parser)]
#[command(name = "doorward", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to log: a level, or levels by part, as "info,doorward_tunnel=debug".
    #[arg(long, global = true, value_name = "LEVELS", default_value = "info")]
    log: String,
    /// How to log, on stderr.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: logging::Format,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  doorward demo                          see it work, here and now
  doorward serve --domain example.org    on a machine that everybody can reach
  doorward join                          on a device: paste the invite that serve printed
  doorward http 5000 --name printer1     on that device: open a web page on port 5000";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs gateway, agent and a sample device on this machine, to look at.
    #[command(after_help = "Examples:\n  doorward demo\n  doorward demo http://127.0.0.1:8888     a real service instead of the sample\n  doorward demo tcp://127.0.0.1:22")]
    Demo {
        /// A local service, as http://HOST:PORT, tcp://HOST:PORT, udp://HOST:PORT or unix:/PATH.
        target: Option<String>,
    },
    /// Runs the gateway that visitors and agents reach.
    Serve(ServeArgs),
    /// Enrols this device with a gateway.
    #[command(after_help = "The invite is asked for, or read from FILE, from stdin (-) or from $DOORWARD_INVITE; never from the\ncommand line, where every user of this machine could read it.\n\nExamples:\n  doorward join\n  doorward join invite.txt --name printer1")]
    Join(JoinArgs),
    /// Runs the services of agent.toml, and whatever else is offered here.
    Agent(AgentArgs),
    /// Offers a web service from this device, while the command runs.
    #[command(after_help = "A password is made and shown once, unless --public says otherwise.\n\nExamples:\n  doorward http 5000 --name printer1\n  doorward http 192.168.3.90:80 --name printer2 --public\n  doorward http /run/app.sock")]
    Http(QuickArgs),
    /// Offers a TCP service on a public port, while the command runs.
    #[command(after_help = "Examples:\n  doorward tcp 22 --from 192.0.2.0/24\n  doorward tcp 5900 --public --port 20005")]
    Tcp(QuickArgs),
    /// Offers a UDP service on a public port, while the command runs.
    Udp(QuickArgs),
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Services get names below it, as printer1.example.org.
    #[arg(long, value_parser = HostName::parse)]
    domain: Option<HostName>,
    /// How agents reach this gateway, as gw.example.org:443; may be repeated.
    #[arg(long = "address", value_name = "HOST:PORT", value_parser = Address::parse)]
    addresses: Vec<Address>,
    /// Where the gateway keeps everything.
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// gateway.toml, if it is not in the usual place.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct StateArgs {
    /// Where the agent keeps its keys.
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
    /// agent.toml, if it is not in the usual place.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct JoinArgs {
    /// A file with the invite; - is stdin.
    invite: Option<PathBuf>,
    /// What to call this device; its host name unless said.
    #[arg(long)]
    name: Option<String>,
    /// What to call the gateway here, where there are several.
    #[arg(long, value_name = "NAME")]
    gateway: Option<String>,
    /// Forget the gateway that was joined under this name before.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Join with the invite in this file first, if no gateway was joined yet (for images that are copied).
    #[arg(long, value_name = "FILE")]
    invite_file: Option<PathBuf>,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Args)]
pub struct QuickArgs {
    /// A port here, HOST:PORT in the local network, a URL or a socket's path.
    target: String,
    /// The service's name; with the device's name it makes the address.
    #[arg(long)]
    name: Option<String>,
    /// Everybody may use it.
    #[arg(long)]
    public: bool,
    /// Only from this network, as 192.0.2.0/24; may be repeated.
    #[arg(long, value_name = "NETWORK")]
    from: Vec<String>,
    /// The public port (tcp and udp); the gateway chooses one otherwise.
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    state: StateArgs,
}

impl Cli {
    pub async fn run(self) -> anyhow::Result<()> {
        logging::start(&self.log, self.log_format)?;
        match self.command {
            Command::Demo { target } => demo::run(target.as_deref()).await,
            Command::Serve(args) => args.run().await,
            Command::Join(args) => args.run().await,
            Command::Agent(args) => {
                let places = args.state.places();
                agent::run(places, args.invite_file.as_deref(), None).await
            }
            Command::Http(args) => args.run(ServiceKind::Http).await,
            Command::Tcp(args) => args.run(ServiceKind::Tcp).await,
            Command::Udp(args) => args.run(ServiceKind::Udp).await,
        }
    }
}

impl ServeArgs {
    async fn run(self) -> anyhow::Result<()> {
        let mut file = File::read(self.config.as_deref())?;
        file.domain = self.domain.or(file.domain);
        if !self.addresses.is_empty() {
            file.addresses = Some(self.addresses);
        }
        let settings = file.into_settings(self.data.unwrap_or_else(paths::gateway_directory))?;
        serve::run(settings).await
    }
}

impl StateArgs {
    fn places(self) -> Places {
        Places { state: self.state.unwrap_or_else(paths::agent_directory), config: self.config }
    }
}

impl JoinArgs {
    async fn run(self) -> anyhow::Result<()> {
        let wish = JoinWish { gateway: self.gateway, name: self.name, invite: self.invite, replace: self.replace };
        let joined = agent::run_join(&self.state.places(), wish).await?;
        println!("Joined. The gateway calls this device \"{}\".", joined.device_name);
        println!("\nNext, one of:\n  doorward http 5000 --name printer1     open something now");
        println!("  doorward install agent                 run the services of agent.toml at every start");
        Ok(())
    }
}

impl QuickArgs {
    async fn run(self, kind: ServiceKind) -> anyhow::Result<()> {
        let wish = Wish {
            kind,
            target: self.target,
            name: self.name,
            is_public: self.public,
            from: self.from,
            port: self.port,
        };
        agent::quick::run(self.state.places(), wish).await
    }
}
