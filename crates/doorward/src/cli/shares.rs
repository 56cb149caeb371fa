//! `doorward share` and `doorward shares`.

use super::owner::{CodeArgs, DataArgs, ListArgs};
use crate::admin::shares::{self, Made, Wish};
use clap::{Args, Subcommand};
use doorward_core::span::parse_span;
use jiff::Timestamp;
use std::num::NonZeroU32;

pub(super) const SHARE_EXAMPLES: &str = "\
The service's access must allow it, for so long at most; a PIN is made and shown
with the link, this once. Previews and scanners that open the link use nothing
up: whoever opens it presses a button first.

Examples:
  doorward access pi/cam set --nobody --share-links 7d
  doorward share pi/cam --for 4h --read-only
  doorward share cam --for 4h --read-only --uses 3 --pin
  doorward shares                    who is looking
  doorward shares revoke 3           over, and whoever looks is cut";

#[derive(Debug, Args)]
pub(super) struct ShareArgs {
    /// DEVICE/SERVICE, or SERVICE where one alone has that name.
    service: String,
    /// How long it lasts, as 30m or 4h, within what the service's access allows [default: 4h].
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    length: Option<String>,
    /// How many browsers may come by it [default: as many as come].
    #[arg(long, value_name = "NUMBER")]
    uses: Option<NonZeroU32>,
    /// They may look, and no more: GET, HEAD and OPTIONS.
    #[arg(long)]
    read_only: bool,
    /// They need a PIN besides; it is made and shown here.
    #[arg(long)]
    pin: bool,
    /// For whom or what, as a note for yourself.
    #[arg(long)]
    title: Option<String>,
    #[command(flatten)]
    code: CodeArgs,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Debug, Args)]
pub(super) struct SharesArgs {
    #[command(subcommand)]
    command: Option<SharesCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum SharesCommand {
    /// Lists share links and who is looking (the same as without a word).
    List,
    /// Takes a share link back, and cuts whoever came by it.
    Revoke {
        /// As in the list.
        id: i64,
    },
}

/// What is passed on as it was written.
fn span(given: &str) -> Result<String, String> {
    parse_span(given).map(|_| given.to_owned())
}

impl ShareArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let owner = self.data.owner();
        let service = shares::find(&owner, &self.service).await?.to_string();
        let (length, uses, title) = (self.length, self.uses, self.title);
        let wish = Wish { service, length, uses, read_only: self.read_only, pin: self.pin, title };
        let made = shares::make(&owner, &wish).await?;
        if let Some(pin) = &made.pin {
            crate::terminal::print(&format!("PIN {}\n", pin.expose()))?;
        }
        self.code.show_with(&made.url, &about(&wish, &made))
    }
}

fn about(wish: &Wish, made: &Made) -> String {
    let who = match wish.uses {
        Some(uses) => crate::terminal::counted(uses.get() as usize, "browser"),
        None => "whoever has it".to_owned(),
    };
    let may = if wish.read_only { "looks at" } else { "uses" };
    let pin = if wish.pin { ", with the PIN" } else { "" };
    format!("{who} {may} {} by it{pin}, until {}.\n", wish.service, made.until)
}

impl SharesArgs {
    pub(super) async fn run(self, now: Timestamp) -> anyhow::Result<String> {
        let (form, owner) = (self.list.form(), self.list.owner());
        Ok(match self.command.unwrap_or(SharesCommand::List) {
            SharesCommand::List => shares::list(&owner, form, now).await?,
            SharesCommand::Revoke { id } => shares::revoke(&owner, id).await?,
        })
    }
}
