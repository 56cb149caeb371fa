//! `doorward people`, `groups` and `sessions`.

use super::certify::{CERTIFY_EXAMPLES, CertifyArgs};
use super::owner::ListArgs;
use super::ssh::AddKeyArgs;
use super::welcomes::WelcomeCommand;
use crate::admin::groups::{self, Change as GroupChange};
use crate::admin::people::{self, Change, New};
use crate::admin::sessions::{self, Opening};
use crate::admin::{ServicePath, certify, when};
use clap::{Args, Subcommand, ValueEnum};
use doorward_core::person::Role;
use doorward_core::span::{parse_span, write_span};
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;

pub(super) const PEOPLE_EXAMPLES: &str = "\
Examples:
  doorward people
  doorward people add anna --title \"Anna B.\"
  doorward people add ben --role guest --until 90d
  doorward people add-key anna < id_ed25519.pub
  doorward people invite --uses 30 --group robotics --role guest --until 120d
  doorward people invitations
  doorward people import class.csv --group robotics > letters.csv
  doorward people link anna       a new password, after the old one was lost
  doorward people owner-link      back in, for an owner who is locked out
  doorward people edit ben --until 2027-02-01
  doorward people disable ben     in nowhere from now on; what runs is cut
  doorward people export anna > anna.json    all that is known of her
  doorward people remove ben      with all of that but the lines of the audit";
pub(super) const GROUPS_EXAMPLES: &str = "\
Examples:
  doorward groups
  doorward groups create robotics anna ben
  doorward groups add robotics carl
  doorward groups take robotics ben
  doorward access zumi01/ssh set --group robotics
  doorward groups remove robotics";
pub(super) const SESSIONS_EXAMPLES: &str = "\
Whoever a policy with --on-request names opens sessions by ssh: `ssh GATEWAY
open zumi01/ssh --for 30m`. Here the owner does it for them.

Examples:
  doorward sessions
  doorward sessions --all --json
  doorward sessions open zumi01/ssh --person anna --for 30m
  doorward sessions extend 7 --for 1h     from now
  doorward sessions end 7                 what came by it is cut
  doorward sessions line zumi01/ssh       who has it, and who waits
  doorward sessions open zumi01/ssh --person tina --take-over
  doorward sessions leave zumi01/ssh --person ben";

#[derive(Debug, Args)]
pub(super) struct PeopleArgs {
    #[command(subcommand)]
    command: Option<PeopleCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum PeopleCommand {
    /// Lists people (the same as without a word).
    List,
    /// Adds somebody.
    #[command(after_help = PEOPLE_EXAMPLES)]
    Add {
        /// What policies call them. It stays.
        name: String,
        #[command(flatten)]
        about: AboutArgs,
    },
    /// Changes what is said here and nothing else.
    #[command(after_help = PEOPLE_EXAMPLES)]
    Edit {
        name: String,
        #[command(flatten)]
        about: AboutArgs,
        /// The account does not end.
        #[arg(long, conflicts_with = "until")]
        for_ever: bool,
    },
    /// Lets them in nowhere until they are enabled again. Their sessions are over.
    Disable { name: String },
    /// Lets them in again.
    Enable { name: String },
    /// Prints all that is known of somebody, as JSON. Nothing in it opens anything.
    #[command(after_help = PEOPLE_EXAMPLES)]
    Export { name: String },
    /// Removes them with all that is known of them, but for the lines of the audit, which go when their time is over.
    Remove { name: String },
    /// Makes SSH keys a person's own; one who is not there yet is added.
    #[command(after_help = super::ssh::PERSON_EXAMPLES)]
    AddKey(AddKeyArgs),
    /// Signs a person's SSH key for a time: a certificate, by which they come in until it ends.
    #[command(after_help = CERTIFY_EXAMPLES)]
    Certify(CertifyArgs),
    /// Lists certificates and when each ends.
    Certificates,
    /// Takes a certificate back, and ends its connections.
    Revoke {
        /// As in the list of certificates.
        number: u64,
    },
    #[command(flatten)]
    Welcome(WelcomeCommand),
}

#[derive(Debug, Args)]
struct AboutArgs {
    /// Any text.
    #[arg(long)]
    title: Option<String>,
    #[arg(long, value_enum)]
    role: Option<RoleArg>,
    /// When the account ends: a day as 2027-02-01 (UTC), a time as 2027-02-01T12:00:00Z, or a span from now as 90d.
    #[arg(long, value_name = "WHEN", value_parser = when::parse_end)]
    until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RoleArg {
    Owner,
    Member,
    Guest,
}

#[derive(Debug, Args)]
pub(super) struct GroupsArgs {
    #[command(subcommand)]
    command: Option<GroupsCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum GroupsCommand {
    /// Lists groups (the same as without a word).
    List,
    /// Makes a group.
    Create { group: String, people: Vec<String> },
    /// Puts people in.
    Add {
        group: String,
        #[arg(required = true)]
        people: Vec<String>,
    },
    /// Takes people out.
    Take {
        group: String,
        #[arg(required = true)]
        people: Vec<String>,
    },
    /// Removes a group; its people stay.
    Remove { group: String },
}

#[derive(Debug, Args)]
pub(super) struct SessionsArgs {
    #[command(subcommand)]
    command: Option<SessionsCommand>,
    /// Those that are over, too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// Lists sessions (the same as without a word).
    List,
    /// Opens a service for somebody, for a while.
    Open {
        /// DEVICE/SERVICE, as `doorward services` lists it.
        service: ServicePath,
        #[arg(long, value_name = "NAME")]
        person: String,
        #[command(flatten)]
        length: LengthArgs,
        /// From whoever has it, where its policy lets them.
        #[arg(long)]
        take_over: bool,
        /// From where they come to the session's own port, where the service has ports for sessions; may be given again.
        #[arg(long, value_name = "ADDRESS")]
        from: Vec<IpAddr>,
    },
    /// Says who has a service that one person has at a time, and who waits.
    Line { service: ServicePath },
    /// Takes somebody out of a line.
    Leave {
        service: ServicePath,
        #[arg(long, value_name = "NAME")]
        person: String,
    },
    /// Has one end later, as far as its policy allows.
    Extend {
        id: i64,
        #[command(flatten)]
        length: LengthArgs,
    },
    /// Ends one, and cuts what came by it.
    End { id: i64 },
}

#[derive(Debug, Args)]
struct LengthArgs {
    /// From now.
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span, default_value = "30m")]
    length: SignedDuration,
}

impl PeopleArgs {
    pub(super) async fn run(self, now: Timestamp) -> anyhow::Result<String> {
        let here = self.list.data.clone().here();
        let (form, owner) = (self.list.form(), self.list.owner());
        Ok(match self.command.unwrap_or(PeopleCommand::List) {
            PeopleCommand::List => people::list(&owner, form, now).await?,
            PeopleCommand::Add { name, about } => {
                let AboutArgs { title, role, until } = about;
                people::add(&owner, New { name, title, role: role.map(Role::from), ends_at: until }).await?
            }
            PeopleCommand::Edit { name, about, for_ever } => {
                let ends_at = about.until.map(Some).or(for_ever.then_some(None));
                let change = Change { title: about.title, role: about.role.map(Role::from), ends_at, disabled: None };
                people::edit(&owner, &name, change).await?
            }
            PeopleCommand::Disable { name } => people::edit(&owner, &name, Change::disabled(true)).await?,
            PeopleCommand::Enable { name } => people::edit(&owner, &name, Change::disabled(false)).await?,
            PeopleCommand::Export { name } => people::export(&owner, &name).await?,
            PeopleCommand::Remove { name } => people::remove(&owner, &name).await?,
            PeopleCommand::AddKey(args) => args.add_to_person(&owner).await?,
            PeopleCommand::Certify(args) => args.run(&owner).await?,
            PeopleCommand::Certificates => certify::list(&owner, form, now).await?,
            PeopleCommand::Revoke { number } => certify::revoke(&owner, number).await?,
            // Whoever is locked out has no portal to ask.
            PeopleCommand::Welcome(command @ WelcomeCommand::OwnerLink { .. }) => command.run(&here, form, now).await?,
            PeopleCommand::Welcome(command) => command.run(&owner, form, now).await?,
        })
    }
}

impl GroupsArgs {
    pub(super) async fn run(self) -> anyhow::Result<String> {
        let (form, owner) = (self.list.form(), self.list.owner());
        Ok(match self.command.unwrap_or(GroupsCommand::List) {
            GroupsCommand::List => groups::list(&owner, form).await?,
            GroupsCommand::Create { group, people } => groups::create(&owner, &group, &people).await?,
            GroupsCommand::Add { group, people } => groups::change(&owner, &group, GroupChange::Add(people)).await?,
            GroupsCommand::Take { group, people } => groups::change(&owner, &group, GroupChange::Take(people)).await?,
            GroupsCommand::Remove { group } => groups::remove(&owner, &group).await?,
        })
    }
}

impl SessionsArgs {
    pub(super) async fn run(self, now: Timestamp) -> anyhow::Result<String> {
        let (form, owner) = (self.list.form(), self.list.owner());
        Ok(match self.command.unwrap_or(SessionsCommand::List) {
            SessionsCommand::List => sessions::list(&owner, self.all, form, now).await?,
            SessionsCommand::Open { service, person, length, take_over, from } => {
                let length = write_span(length.length);
                sessions::open(&owner, Opening { person, service, length, takes_over: take_over, from }, now).await?
            }
            SessionsCommand::Line { service } => sessions::line(&owner, &service, now).await?,
            SessionsCommand::Leave { service, person } => sessions::leave(&owner, &service, &person).await?,
            SessionsCommand::Extend { id, length } => {
                sessions::extend(&owner, id, &write_span(length.length), now).await?
            }
            SessionsCommand::End { id } => sessions::end(&owner, id).await?,
        })
    }
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Owner => Self::Owner,
            RoleArg::Member => Self::Member,
            RoleArg::Guest => Self::Guest,
        }
    }
}
