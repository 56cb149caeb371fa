//! Our table in nftables, and what stands beside it. Rules are written in nft's own language, since people will read
//! them, and read back as JSON.

mod elements;
mod firewall;
mod foreign;
mod listing;
mod table;

pub(crate) use firewall::Nftables;

use foreign::{Family, blocking, offload, own_accepts, translated_ports};
use listing::Ruleset;
use table::{NAME, Structure, accept_rule, batch, drop_rule, drop_table};

use crate::error::{RouterError, first_lines};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program; found where systems put it, not where somebody's PATH leads.
#[derive(Clone, Debug)]
pub(crate) struct Nft(PathBuf);

impl Nft {
    pub(crate) fn find() -> Result<Self, RouterError> {
        let places = ["/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft", "/usr/bin/nft"];
        places.iter().map(Path::new).find(|path| path.is_file()).map(|path| Self(path.into())).ok_or(RouterError::NoNft)
    }

    /// Everything in `text` happens at once, or nothing.
    pub(crate) fn apply(&self, text: &str) -> Result<(), RouterError> {
        let mut child = Command::new(&self.0)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env_clear()
            .spawn()
            .map_err(|error| self.not_run(error))?;
        // Where it stops reading, its own words say why.
        let _not_read = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output().map_err(|error| self.not_run(error))?;
        if output.status.success() { Ok(()) } else { Err(RouterError::Nft(first_lines(&output.stderr))) }
    }

    /// All rules of the machine.
    pub(crate) fn ruleset(&self) -> Result<Ruleset, RouterError> {
        self.list(&["ruleset"])
    }

    /// Our own table; nothing, where it is not there.
    pub(crate) fn own_table(&self) -> Result<Ruleset, RouterError> {
        self.list(&["table", "inet", NAME])
    }

    fn not_run(&self, error: io::Error) -> RouterError {
        RouterError::Run(self.0.clone(), error)
    }

    fn list(&self, what: &[&str]) -> Result<Ruleset, RouterError> {
        let output = Command::new(&self.0)
            .args(["-j", "list"])
            .args(what)
            .stdin(Stdio::null())
            .env_clear()
            .output()
            .map_err(|error| self.not_run(error))?;
        if !output.status.success() {
            return Err(RouterError::Nft(first_lines(&output.stderr)));
        }
        Ruleset::parse(&output.stdout)
    }
}
