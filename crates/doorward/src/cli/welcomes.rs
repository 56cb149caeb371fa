//! Links that bring people in: `doorward people invite`, `import`, `link`, `owner-link`.

use super::owner::CodeArgs;
use super::people::{PEOPLE_EXAMPLES, RoleArg};
use crate::admin::welcomes::{self, Link, Wish};
use crate::admin::{Form, Owner, when};
use crate::terminal;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use std::io::Read;
use std::path::{Path, PathBuf};

const MAX_LIST: u64 = 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum WelcomeCommand {
    /// Makes a link by which one or many come in, each choosing name and password.
    #[command(after_help = PEOPLE_EXAMPLES)]
    Invite {
        #[command(flatten)]
        wish: WishArgs,
        /// How many people may come by it [default: 1].
        #[arg(long, value_name = "NUMBER")]
        uses: Option<u32>,
        /// What it is for, as whoever opens it reads.
        #[arg(long)]
        title: Option<String>,
        #[command(flatten)]
        code: CodeArgs,
    },
    /// Lists invitations and how many may still come by each.
    Invitations,
    /// Takes an invitation back; who came by it stays.
    Uninvite {
        /// As in the list of invitations.
        id: i64,
    },
    /// Adds everybody of a list (CSV: name, title, role, until, groups), or nobody, and prints a link for each.
    #[command(after_help = PEOPLE_EXAMPLES)]
    Import {
        /// The list; - is stdin.
        file: PathBuf,
        #[command(flatten)]
        wish: WishArgs,
    },
    /// Makes a link by which this person sets a new password.
    #[command(after_help = PEOPLE_EXAMPLES)]
    Link {
        name: String,
        /// How long it is good for, as 12h or 7d [default: 7d].
        #[arg(long, value_name = "SPAN", value_parser = when::parse_span)]
        expires: Option<SignedDuration>,
        #[command(flatten)]
        code: CodeArgs,
    },
    /// Makes a link by which an owner who is locked out gets in again, within 30 minutes.
    #[command(after_help = PEOPLE_EXAMPLES)]
    OwnerLink {
        /// Which owner, if not the first one.
        name: Option<String>,
        #[command(flatten)]
        code: CodeArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct WishArgs {
    /// Into this group; may be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    #[arg(long, value_enum)]
    role: Option<RoleArg>,
    /// When the accounts end: a day as 2027-02-01 (UTC), a time as 2027-02-01T12:00:00Z, or a span from now as 90d.
    #[arg(long, value_name = "WHEN", value_parser = when::parse_end)]
    until: Option<Timestamp>,
    /// How long the link is good for, as 12h or 2w [default: 7d].
    #[arg(long, value_name = "SPAN", value_parser = when::parse_span)]
    expires: Option<SignedDuration>,
}

impl WelcomeCommand {
    pub(super) async fn run(self, owner: &Owner, form: Form, now: Timestamp) -> anyhow::Result<String> {
        Ok(match self {
            Self::Invite { wish, uses, title, code } => {
                let made = welcomes::invite(owner, Wish { uses, title, ..wish.wish() }).await?;
                let people =
                    terminal::counted(usize::try_from(uses.unwrap_or(1))?, "person").replace("persons", "people");
                show(code, &made, &format!("{people} may come in by it"))?
            }
            Self::Invitations => welcomes::list(owner, form, now).await?,
            Self::Uninvite { id } => welcomes::revoke(owner, id).await?,
            Self::Import { file, wish } => {
                welcomes::import(owner, read_list(&file)?, wish.wish()).await?.expose().clone()
            }
            Self::Link { name, expires, code } => {
                let made = welcomes::own_link(owner, &name, expires).await?;
                show(code, &made, &format!("{name} sets a new password by it, once"))?
            }
            Self::OwnerLink { name, code } => {
                let made = welcomes::owner_link(owner, name.as_deref()).await?;
                show(code, &made, "It makes an owner of whoever opens it, once")?
            }
        })
    }
}

impl WishArgs {
    fn wish(self) -> Wish {
        let Self { groups, role, until, expires } = self;
        Wish { title: None, uses: None, expires_in: expires, role: role.map(Into::into), groups, ends_at: until }
    }
}

fn show(code: CodeArgs, made: &Link, about: &str) -> anyhow::Result<String> {
    code.show_with(&made.url, &format!("{about}, until {}.\n", made.expires_at))?;
    Ok(String::new())
}

fn read_list(file: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MAX_LIST + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|list| list.take(MAX_LIST + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("the list {} cannot be read", file.display()))?;
    if bytes.len() as u64 > MAX_LIST {
        bail!("the list {} is longer than {} KiB", file.display(), MAX_LIST / 1024);
    }
    String::from_utf8(bytes)
        .ok()
        .with_context(|| format!("the list {} is not UTF-8 text: save it as \"CSV UTF-8\"", file.display()))
}
