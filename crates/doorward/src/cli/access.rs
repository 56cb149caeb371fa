//! `doorward access DEVICE/SERVICE …`.

use super::owner::{DataArgs, FormArgs};
use super::rules::RuleArgs;
use crate::admin::ServicePath;
use crate::admin::access::{self, PeopleWish, WhoWish, Wish};
use crate::terminal;
use clap::{ArgGroup, Args, Subcommand};
use doorward_core::span::parse_span;
use jiff::Timestamp;

pub(super) const EXAMPLES: &str = "\
Passwords are asked for, or read from stdin, a line for each --password; never
from the command line.

Examples:
  doorward access printer1/octoprint
  doorward access printer1/octoprint set --public
  doorward access printer1/octoprint set --password anna --password ben
  doorward access printer1/ssh set --person anna --group robotics
  doorward access zumi01/ssh set --group robotics --on-request --max-duration 2h
  doorward access zumi01/ssh set --group class --on-request --exclusive
  doorward access zumi01/ssh set --group class --on-request --approval teachers
  doorward access van/cam set --public --per-month \"20 GB\" --budget-zone UTC
  doorward access van/cam set --public --rate \"500 kB\" --read-only
  doorward access zumi01/ssh who
  doorward access printer1/ssh set --public --from 192.0.2.0/24 2001:db8::/32
  doorward access livingroom/netgear set --senders
  doorward access pi/cam set --public --open \"mon-fri 08:00-16:30\" --zone UTC
  doorward access pi/cam set --nobody --share-links 7d
  doorward access printer1/octoprint set --person anna --open-path /api/
  doorward access printer1/octoprint reset";

#[derive(Debug, Args)]
pub(super) struct AccessArgs {
    /// DEVICE/SERVICE, as `doorward services` lists it.
    service: ServicePath,
    #[command(subcommand)]
    command: Option<AccessCommand>,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Debug, Subcommand)]
enum AccessCommand {
    /// Shows who may use it (the same as without a word).
    Show,
    /// Says who may use it, from where and when; what was said before is forgotten.
    #[command(after_help = EXAMPLES)]
    Set(Box<SetArgs>),
    /// Leaves it to the device again.
    Reset,
    /// Says which of the people here would be let in now, and why the others would not.
    Who(FormArgs),
}

#[derive(Debug, Args)]
struct SetArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// Only from these networks.
    #[arg(long, value_name = "NETWORK", num_args = 1.., conflicts_with = "nobody")]
    from: Vec<String>,
    /// Only at these times; may be repeated.
    #[arg(long, value_name = "HOURS", requires = "zone", conflicts_with = "nobody")]
    open: Vec<String>,
    /// The time zone of --open, as Europe/Berlin.
    #[arg(long, value_name = "ZONE", requires = "open")]
    zone: Option<String>,
    /// These people must open a session first.
    #[arg(long, requires = "people")]
    on_request: bool,
    /// How long a session may last, as 30m or 2h [default: 24h].
    #[arg(long, value_name = "SPAN", value_parser = span, requires = "on_request")]
    max_duration: Option<String>,
    /// After how long without use a session is over.
    #[arg(long, value_name = "SPAN", value_parser = span, requires = "on_request")]
    max_idle: Option<String>,
    #[command(flatten)]
    rules: RuleArgs,
}

/// What is passed on as it was written.
pub(super) fn span(given: &str) -> Result<String, String> {
    parse_span(given).map(|_| given.to_owned())
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
#[command(group(ArgGroup::new("people").args(["person", "group"]).multiple(true)))]
struct WhoArgs {
    /// Everybody.
    #[arg(long, conflicts_with_all = ["nobody", "password", "people"])]
    public: bool,
    /// Nobody.
    #[arg(long, conflicts_with_all = ["password", "people"])]
    nobody: bool,
    /// Whoever knows this user's password, which is asked for; may be repeated.
    #[arg(long, value_name = "USER", conflicts_with = "people")]
    password: Vec<String>,
    /// These people, by SSH with a key of theirs (`doorward people add-key`); may be repeated.
    #[arg(long, value_name = "NAME")]
    person: Vec<String>,
    /// Whoever holds a sender key for it (`doorward sender-key`).
    #[arg(long)]
    senders: bool,
    /// Everybody in this group (`doorward groups`); may be repeated.
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
}

impl AccessArgs {
    pub(super) async fn run(self) -> anyhow::Result<String> {
        let (owner, path) = (self.data.owner(), self.service);
        Ok(match self.command.unwrap_or(AccessCommand::Show) {
            AccessCommand::Show => access::show(&owner, &path).await?,
            AccessCommand::Reset => access::reset(&owner, &path).await?,
            AccessCommand::Who(form) => access::who_now(&owner, &path, form.form(), Timestamp::now()).await?,
            AccessCommand::Set(args) => {
                // Nobody likes to type a password for a service that is not there.
                access::show(&owner, &path).await?;
                let wish = args.ask().await?;
                let document = tokio::task::spawn_blocking(|| wish.into_document()).await??;
                access::set(&owner, &path, &document).await?
            }
        })
    }
}

impl SetArgs {
    async fn ask(self) -> anyhow::Result<Wish> {
        let Self { who, from, open, zone, on_request, max_duration, max_idle, rules } = self;
        let who = match who {
            WhoArgs { public: true, .. } => WhoWish::Public,
            WhoArgs { nobody: true, .. } => WhoWish::Nobody,
            WhoArgs { senders: true, .. } => WhoWish::Senders,
            WhoArgs { person: people, group: groups, .. } if !people.is_empty() || !groups.is_empty() => {
                WhoWish::People(PeopleWish { people, groups, is_on_request: on_request, max_duration, max_idle })
            }
            WhoArgs { password, .. } => {
                let mut passwords = Vec::new();
                for user in password {
                    let prompt = format!("password of {}", terminal::plain(&user));
                    let secret = terminal::new_secret(prompt).await?;
                    passwords.push((user, secret));
                }
                WhoWish::Passwords(passwords)
            }
        };
        Ok(Wish { who, from, open, zone, rules: rules.into_rules() })
    }
}
