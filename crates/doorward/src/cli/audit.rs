//! `doorward audit`.

use super::owner::ListArgs;
use crate::admin::{audit, when};
use crate::terminal;
use anyhow::Context;
use clap::{Args, Subcommand};
use doorward_control::LineHash;
use jiff::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) const EXAMPLES: &str = "Examples:\n  doorward audit\n  doorward audit --person ada --since 2d\n  doorward audit --device printer1 --deed visit --json\n  doorward audit --follow\n  doorward audit verify\n  doorward audit export --to audit.jsonl\n  doorward audit verify --file audit.jsonl     anywhere, without a gateway";

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    /// How many lines.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,
    /// Only what this person did, and what was done to them.
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Only this service: DEVICE/SERVICE, or SERVICE on any device.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only this device and its services.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Only this deed, or all that begin with its word, as visit or session-opened.
    #[arg(long, value_name = "WORD")]
    deed: Option<String>,
    /// Only from then on: 2026-11-20, 2026-11-20T12:00:00Z, or 2h (ago).
    #[arg(long, value_name = "TIME", value_parser = when::parse_past)]
    since: Option<Timestamp>,
    /// Only before then.
    #[arg(long, value_name = "TIME", value_parser = when::parse_past)]
    until: Option<Timestamp>,
    /// Print what is written down from now on, as it comes.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Says whether all lines are as they were written, or which is the first that is not.
    Verify {
        /// A copy, instead of the gateway's own.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// A hash from before, which the chain must go through.
        #[arg(long, value_name = "HASH", value_parser = hash)]
        expect: Option<LineHash>,
    },
    /// Writes a copy as JSON Lines, which can be verified anywhere.
    Export {
        /// Only lines from then on: 2026-11-20, or 30d (ago).
        #[arg(long, value_name = "TIME", value_parser = when::parse_past)]
        since: Option<Timestamp>,
        /// A new file; stdout unless said.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

fn hash(given: &str) -> Result<LineHash, &'static str> {
    LineHash::try_from(given.to_owned())
}

impl AuditArgs {
    pub(super) async fn run(self, now: Timestamp) -> anyhow::Result<()> {
        let Self { command, limit, person, service, device, deed, since, until, follow, list } = self;
        let owner = list.data.owner();
        let choice = audit::Choice { person, service, device, deed, since, until, limit };
        let form = list.form.form();
        let text = match command {
            None if follow => return audit::follow(&owner, &choice, form, terminal::print).await,
            None => audit::list(&owner, &choice, form, now).await?,
            Some(AuditCommand::Verify { file: None, expect }) => audit::verify(&owner, expect).await?,
            Some(AuditCommand::Verify { file: Some(file), expect }) => {
                let opened = File::open(&file).with_context(|| format!("{} cannot be read", file.display()))?;
                audit::verify_file(BufReader::new(opened), expect).with_context(|| file.display().to_string())?
            }
            Some(AuditCommand::Export { since, to: None }) => {
                audit::export(&owner, since, io::stdout().lock()).await?;
                return Ok(());
            }
            Some(AuditCommand::Export { since, to: Some(path) }) => {
                let lines = audit::export(&owner, since, BufWriter::new(create(&path)?)).await?;
                format!("{} holds {lines} lines. Whoever reads it learns who went where.\n", path.display())
            }
        };
        terminal::print(&text)
    }
}

/// It tells of people: for its owner alone.
fn create(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.with_context(|| format!("{} cannot be made", path.display()))
}
