//! The owner's commands, on the gateway's machine.

use super::access::AccessArgs;
use super::alerts::AlertsArgs;
use super::approvals::ApprovalsArgs;
use super::audit::AuditArgs;
use super::login::{LoginArgs, TokensArgs};
use super::people::{GroupsArgs, PeopleArgs, SessionsArgs};
use super::shares::{ShareArgs, SharesArgs};
use super::ssh::{AddKeyArgs, SenderKeyArgs, SshKeysArgs};
use crate::admin::invites::{self, Wish};
use crate::admin::portal::{self, Portal};
use crate::admin::release::Reservation;
use crate::admin::{
    Form, Owner, authority, certify, devices, release, services, site_key, ssh, ssh_passwords, status, when,
};
use crate::{invite, paths, terminal};
use clap::{Args, Subcommand};
use doorward_core::Secret;
use jiff::{SignedDuration, Timestamp};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// Which gateway.
#[derive(Clone, Debug, Args)]
pub(super) struct DataArgs {
    /// Where the gateway keeps everything, if not in /var/lib/doorward/gateway (root) or
    /// ~/.local/state/doorward/gateway.
    #[arg(long, value_name = "DIRECTORY", global = true)]
    pub(super) data: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct FormArgs {
    /// Print it as JSON, for programs; times are absolute there.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum OwnerCommand {
    /// Makes an invite that lets a device join.
    #[command(
        after_help = "Alone on stdout where that is no terminal, so that it can be piped.\n\nExamples:\n  doorward invite\n  doorward invite --name printer1 --expires 12h\n  doorward invite --uses 30 --expires 2w --no-qr\n  doorward invite | ssh pi@printer1.local doorward join -"
    )]
    Invite(InviteArgs),
    /// Lists invites, or takes one back.
    #[command(after_help = "Examples:\n  doorward invites\n  doorward invites revoke 3")]
    Invites(InvitesArgs),
    /// Lists devices, renames, revokes or replaces one.
    #[command(
        after_help = "Examples:\n  doorward devices\n  doorward devices rename raspberrypi printer1\n  doorward devices replace printer1     its card died: an invite for the new one\n  doorward devices revoke printer1      it was stolen"
    )]
    Devices(DevicesArgs),
    /// Lists services: where each is reached, who may use it, what stands in the way.
    #[command(after_help = "Examples:\n  doorward services\n  doorward services --json | jq -r '.[].\"reached-by\"[]'")]
    Services(ListArgs),
    /// Shows or says who may use a service.
    #[command(after_help = super::access::EXAMPLES)]
    Access(AccessArgs),
    /// Gives up a host name or port that is reserved for a service.
    #[command(
        after_help = "Names and ports belong to their service for ever, until they are released here.\n\nExamples:\n  doorward release printer1.example.org\n  doorward release example.org/cam/\n  doorward release tcp/20005\n  doorward release printer1/webcam     a whole service that is offered no more"
    )]
    Release(ReleaseArgs),
    /// Shows who did what, the newest first.
    #[command(after_help = super::audit::EXAMPLES)]
    Audit(AuditArgs),
    /// Shows who is told when something happens, and tests it.
    #[command(after_help = super::alerts::EXAMPLES)]
    Alerts(AlertsArgs),
    /// Shows the key that devices trust, and rotates it in two steps.
    #[command(
        after_help = "Examples:\n  doorward site-key rotate        announces the next key; devices store it\n  doorward site-key               who has not stored it yet\n  doorward site-key activate      puts it in use"
    )]
    SiteKey(SiteKeyArgs),
    /// Shows the gateway's own certificate authority, and how to have a machine trust it.
    #[command(
        after_help = "It signs for names that have no other certificate. Its root counts for the\ngateway's domain and addresses alone: trusting it endangers no other site.\n\nExamples:\n  doorward ca\n  doorward ca --pem > doorward-ca.pem\n  doorward ca renew       a new root, for the addresses as they are now"
    )]
    Ca(CaArgs),
    /// Lists SSH keys and passwords and whose each is, or removes one.
    #[command(after_help = super::ssh::KEYS_EXAMPLES)]
    SshKeys(SshKeysArgs),
    /// Makes a password for sending to one port of one device by SSH, as NetGear does.
    #[command(after_help = super::ssh::SENDER_EXAMPLES)]
    SenderKey(SenderKeyArgs),
    /// Lists people, adds and changes them.
    #[command(visible_alias = "users", after_help = super::people::PEOPLE_EXAMPLES)]
    People(PeopleArgs),
    /// Lists groups of people, makes and changes them.
    #[command(after_help = super::people::GROUPS_EXAMPLES)]
    Groups(GroupsArgs),
    /// Lists who opened what for how long; opens, extends and ends it.
    #[command(after_help = super::people::SESSIONS_EXAMPLES)]
    Sessions(SessionsArgs),
    /// Lists sessions that wait for somebody's consent, and answers them.
    #[command(after_help = super::approvals::EXAMPLES)]
    Approvals(ApprovalsArgs),
    /// Makes a link by which whoever has it comes to one web service, for a while.
    #[command(after_help = super::shares::SHARE_EXAMPLES)]
    Share(ShareArgs),
    /// Lists share links and who is looking, or takes one back.
    #[command(after_help = super::shares::SHARE_EXAMPLES)]
    Shares(SharesArgs),
    /// Has the commands ask a portal elsewhere, by an API token.
    #[command(after_help = super::login::LOGIN_EXAMPLES)]
    Login(LoginArgs),
    /// Has the commands ask the gateway of this machine again.
    #[command(after_help = super::login::LOGOUT_EXAMPLES)]
    Logout,
    /// Lists API tokens, makes and revokes them.
    #[command(after_help = super::login::TOKENS_EXAMPLES)]
    Tokens(TokensArgs),
    /// Lists keys by which people knock, makes and removes them.
    #[command(after_help = super::knock::KEYS_EXAMPLES)]
    KnockKeys(super::knock::KnockKeysArgs),
    /// Lists client certificates, makes and revokes them.
    #[command(after_help = super::certificates::EXAMPLES)]
    Certificates(super::certificates::CertificatesArgs),
    /// Shows the key by which SSH clients know the gateway, for known_hosts and DNS.
    #[command(after_help = "Examples:\n  doorward ssh-host-key")]
    SshHostKey(DataArgs),
    /// Shows the key that signs certificates of people.
    #[command(after_help = super::certify::AUTHORITY_EXAMPLES)]
    SshCa(DataArgs),
    /// Shows the gateway at a glance.
    #[command(after_help = "Examples:\n  doorward status\n  doorward status --json | jq '.\"devices-online\"'")]
    Status(ListArgs),
}

#[derive(Debug, Args)]
pub(super) struct InviteArgs {
    /// What to call the device; otherwise what it calls itself.
    #[arg(long)]
    name: Option<String>,
    /// How many machines may join with it [default: 1].
    #[arg(long, value_name = "NUMBER")]
    uses: Option<u32>,
    /// How long it is good for, as 30m, 12h or 7d [default: 7d].
    #[arg(long, value_name = "SPAN", value_parser = when::parse_span)]
    expires: Option<SignedDuration>,
    #[command(flatten)]
    code: CodeArgs,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct CodeArgs {
    /// With a QR code, even where stdout is no terminal.
    #[arg(long, conflicts_with = "no_qr")]
    qr: bool,
    /// Without a QR code.
    #[arg(long)]
    no_qr: bool,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    pub(super) data: DataArgs,
}

#[derive(Debug, Args)]
pub(super) struct InvitesArgs {
    #[command(subcommand)]
    command: Option<InvitesCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum InvitesCommand {
    /// Lists invites (the same as without a word).
    List,
    /// Takes an invite back; devices that joined with it stay.
    Revoke {
        /// As in the list.
        id: i64,
    },
}

#[derive(Debug, Args)]
pub(super) struct DevicesArgs {
    #[command(subcommand)]
    command: Option<DevicesCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum DevicesCommand {
    /// Lists devices (the same as without a word).
    List,
    /// Gives a device another name.
    Rename {
        /// What it is called now.
        old: String,
        /// What it shall be called.
        new: String,
    },
    /// Refuses a device from now on and cuts what passes through it.
    Revoke {
        /// As in the list.
        name: String,
    },
    /// Makes an SSH key a device's, which needs no agent then; a device that is not there yet is made.
    #[command(after_help = super::ssh::DEVICE_EXAMPLES)]
    AddKey(AddKeyArgs),
    /// Makes a password by which SSH is this device, for a machine that has no key.
    #[command(after_help = super::ssh::TOKEN_EXAMPLES)]
    Token {
        /// As in the list, or a new one.
        name: String,
    },
    /// Makes an invite for a machine that takes a device's place, with its names, ports and policies.
    Replace {
        /// As in the list.
        name: String,
        #[command(flatten)]
        code: CodeArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// HOST, HOST/PATH/, PORT, tcp/PORT, udp/PORT or DEVICE/SERVICE.
    what: Reservation,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Debug, Args)]
pub(super) struct SiteKeyArgs {
    #[command(subcommand)]
    command: Option<SiteKeyCommand>,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Debug, Subcommand)]
enum SiteKeyCommand {
    /// Shows the key in use, the next one, and who has not stored that yet.
    Show,
    /// First step: makes the next key and tells the devices.
    Rotate,
    /// Second step: puts the next key in use, once every device has stored it.
    Activate {
        /// Even if some devices have not; they must join anew.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct CaArgs {
    #[command(subcommand)]
    command: Option<CaCommand>,
    /// Only the root certificate, as PEM.
    #[arg(long, conflicts_with = "der")]
    pem: bool,
    /// Only the root certificate, as DER.
    #[arg(long)]
    der: bool,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    /// Shows the root and how to install it (the same as without a word).
    Show,
    /// Makes a new root and destroys the old one's key; the new one must be installed anew.
    Renew,
}

impl DataArgs {
    pub(super) fn directory(self) -> PathBuf {
        self.data.unwrap_or_else(paths::gateway_directory)
    }

    /// The gateway of this machine.
    pub(super) fn here(self) -> Owner {
        Owner::new(self.directory())
    }

    /// The portal that somebody logged in at, unless this machine's gateway is meant.
    pub(super) fn owner(self) -> Owner {
        if self.data.is_some() {
            return self.here();
        }
        match Portal::read(&portal::file()) {
            Ok(Some(portal)) => Owner::at(portal),
            Ok(None) => self.here(),
            Err(error) => Owner::without(terminal::story(&error)),
        }
    }
}

impl ListArgs {
    pub(super) fn owner(self) -> Owner {
        self.data.owner()
    }

    pub(super) fn form(&self) -> Form {
        self.form.form()
    }
}

impl FormArgs {
    pub(super) fn form(self) -> Form {
        if self.json { Form::Json } else { Form::Table }
    }
}

impl CodeArgs {
    /// Says the invite to people, and only the invite to programs.
    fn show(self, text: &Secret<String>, about: &str) -> anyhow::Result<()> {
        self.show_with(text, &format!("{about}\nOn the machine: `doorward join`, and paste it when asked.\n"))
    }

    /// `about`: what people read beside it.
    pub(super) fn show_with(self, text: &Secret<String>, about: &str) -> anyhow::Result<()> {
        let is_terminal = std::io::stdout().is_terminal();
        let code = (self.qr || (is_terminal && !self.no_qr)).then(|| invite::qr_code(text.expose())).flatten();
        let code = code.map(|code| format!("\n{code}\n")).unwrap_or_default();
        let about = if is_terminal { format!("\n{about}") } else { String::new() };
        terminal::print(&format!("{}\n{code}{about}", text.expose()))
    }
}

impl OwnerCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let now = Timestamp::now();
        let text = match self {
            Self::Invite(args) => return args.run().await,
            Self::Ca(args) => return args.run().await,
            Self::Invites(args) => args.run(now).await?,
            Self::Devices(args) => args.run(now).await?,
            Self::Services(args) => services::list(&args.data.owner(), args.form.form(), now).await?,
            Self::Access(args) => args.run().await?,
            Self::Release(args) => release::release(&args.data.owner(), args.what).await?,
            Self::Audit(args) => return args.run(now).await,
            Self::Alerts(args) => args.run(now).await?,
            Self::SiteKey(args) => args.run().await?,
            Self::SshKeys(args) => args.run(now).await?,
            Self::SenderKey(args) => args.run().await?,
            Self::People(args) => args.run(now).await?,
            Self::Groups(args) => args.run().await?,
            Self::Sessions(args) => args.run(now).await?,
            Self::Approvals(args) => args.run(now).await?,
            Self::Share(args) => return args.run().await,
            Self::Shares(args) => args.run(now).await?,
            Self::Login(args) => args.run().await?,
            Self::Logout => super::login::logout()?,
            Self::Tokens(args) => args.run(now).await?,
            Self::KnockKeys(args) => args.run(now).await?,
            Self::Certificates(args) => args.run(now).await?,
            Self::SshHostKey(data) => ssh::host_key(&data.owner()).await?,
            Self::SshCa(data) => certify::authority(&data.owner()).await?,
            Self::Status(args) => status::show(&args.data.owner(), args.form.form()).await?,
        };
        terminal::print(&text)
    }
}

impl InviteArgs {
    async fn run(self) -> anyhow::Result<()> {
        let wish = Wish { name: self.name, uses: self.uses, expires_in: self.expires };
        let text = invites::create(&self.data.owner(), wish.clone()).await?;
        self.code.show(&text, &invites::describe(&wish))
    }
}

impl InvitesArgs {
    async fn run(self, now: Timestamp) -> anyhow::Result<String> {
        let (owner, form) = (self.list.data.owner(), self.list.form.form());
        Ok(match self.command.unwrap_or(InvitesCommand::List) {
            InvitesCommand::List => invites::list(&owner, form, now).await?,
            InvitesCommand::Revoke { id } => invites::revoke(&owner, id).await?,
        })
    }
}

impl DevicesArgs {
    async fn run(self, now: Timestamp) -> anyhow::Result<String> {
        let (owner, form) = (self.list.data.owner(), self.list.form.form());
        Ok(match self.command.unwrap_or(DevicesCommand::List) {
            DevicesCommand::List => devices::list(&owner, form, now).await?,
            DevicesCommand::Rename { old, new } => devices::rename(&owner, &old, &new).await?,
            DevicesCommand::AddKey(args) => args.add_to_device(&owner).await?,
            DevicesCommand::Token { name } => ssh_passwords::token(&owner, &name).await?,
            DevicesCommand::Revoke { name } => devices::revoke(&owner, &name).await?,
            DevicesCommand::Replace { name, code } => {
                let text = devices::replace(&owner, &name).await?;
                code.show(&text, &format!("It lets one machine take the place of {name}, within 7 days."))?;
                String::new()
            }
        })
    }
}

impl CaArgs {
    async fn run(self) -> anyhow::Result<()> {
        let owner = self.data.owner();
        if self.der {
            return Ok(std::io::stdout().write_all(&authority::der(&owner).await?)?);
        }
        let text = match self.command {
            Some(CaCommand::Renew) => authority::renew(&owner).await?,
            Some(CaCommand::Show) | None if self.pem => authority::pem(&owner).await?,
            Some(CaCommand::Show) | None => authority::show(&owner).await?,
        };
        terminal::print(&text)
    }
}

impl SiteKeyArgs {
    async fn run(self) -> anyhow::Result<String> {
        let owner = self.data.owner();
        Ok(match self.command.unwrap_or(SiteKeyCommand::Show) {
            SiteKeyCommand::Show => site_key::show(&owner).await?,
            SiteKeyCommand::Rotate => site_key::rotate(&owner).await?,
            SiteKeyCommand::Activate { force } => site_key::activate(&owner, force).await?,
        })
    }
}
