//! The programs of iptables: which there are, and which of them has the machine's rules.

use crate::error::{RouterError, first_lines};
use crate::iptables::{Family, Listing, Lock};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Two programs of one name, that keep their rules apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Rules of nftables underneath.
    Nft,
    Legacy,
}

impl Flavour {
    fn suffix(self) -> &'static str {
        match self {
            Self::Nft => "-nft",
            Self::Legacy => "-legacy",
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Nft => "nf_tables",
            Self::Legacy => "legacy",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) flavour: Flavour,
    folder: PathBuf,
    /// What follows `iptables` and `ip6tables` in the programs' names.
    suffix: &'static str,
    families: Vec<Family>,
    lock: Option<Lock>,
}

/// Where systems put them, not where somebody's PATH leads.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"];

impl Programs {
    /// What is called `iptables`, unless only the other kind has rules.
    pub(crate) fn find() -> Result<Self, RouterError> {
        let mut all = Self::all();
        let has_rules = |programs: &Self| programs.every_table().is_ok_and(|listing| listing.has_foreign_rules());
        let other = all.len() > 1 && !has_rules(&all[0]) && has_rules(&all[1]);
        if all.is_empty() { Err(RouterError::NoIptables) } else { Ok(all.swap_remove(usize::from(other))) }
    }

    /// First what is called `iptables`.
    pub(crate) fn all() -> Vec<Self> {
        let plain = Self::at("", None);
        let other = |programs: &Self| match programs.flavour {
            Flavour::Nft => Flavour::Legacy,
            Flavour::Legacy => Flavour::Nft,
        };
        let others = match plain.as_ref().map(other) {
            Some(other) => vec![other],
            None => vec![Flavour::Nft, Flavour::Legacy],
        };
        let others = others.into_iter().filter_map(|flavour| Self::at(flavour.suffix(), Some(flavour)));
        plain.into_iter().chain(others).collect()
    }

    fn at(suffix: &'static str, flavour: Option<Flavour>) -> Option<Self> {
        let is_there = |folder: &&Path| {
            ["", "-save", "-restore"].iter().all(|end| folder.join(format!("iptables{suffix}{end}")).is_file())
        };
        let folder = FOLDERS.iter().map(Path::new).find(is_there)?.to_owned();
        let flavour = flavour.or_else(|| flavour_of(&folder.join("iptables")))?;
        let lock = match flavour {
            Flavour::Nft => None,
            Flavour::Legacy => Lock::open(),
        };
        let mut programs = Self { flavour, folder, suffix, families: Vec::new(), lock };
        programs.families = Family::ALL.into_iter().filter(|family| programs.is_installed(*family)).collect();
        Some(programs)
    }

    /// Without those that the kernel does not have, as where IPv6 is switched off.
    pub(crate) fn that_work(mut self) -> Result<Self, RouterError> {
        for table in Family::Four.tables() {
            self.save(Family::Four, &["-t", table])?;
        }
        let works = |table: &str| self.save(Family::Six, &["-t", table]).is_ok();
        if self.has(Family::Six) && !Family::Six.tables().iter().all(|table| works(table)) {
            self.families.retain(|family| *family != Family::Six);
        }
        Ok(self)
    }

    fn is_installed(&self, family: Family) -> bool {
        ["-save", "-restore"].iter().all(|end| self.program(family, end).is_file())
    }

    pub(crate) fn has(&self, family: Family) -> bool {
        self.families.contains(&family)
    }

    pub(crate) fn words(&self) -> String {
        format!("{} ({})", self.program(Family::Four, "").display(), self.flavour.word())
    }

    /// The tables in which rules of ours may stand.
    pub(crate) fn our_tables(&self) -> Result<Listing, RouterError> {
        let mut listing = Listing::default();
        for family in Family::ALL.into_iter().filter(|family| self.has(*family)) {
            for table in family.tables() {
                listing.add(family, &self.save(family, &["-t", table])?);
            }
        }
        Ok(listing)
    }

    /// Makes no table that is not there; may need more rights than the daemon keeps.
    pub(crate) fn every_table(&self) -> Result<Listing, RouterError> {
        let mut listing = Listing::default();
        for family in Family::ALL.into_iter().filter(|family| self.has(*family)) {
            listing.add(family, &self.save(family, &[])?);
        }
        Ok(listing)
    }

    fn save(&self, family: Family, words: &[&str]) -> Result<String, RouterError> {
        let program = self.program(family, "-save");
        let output = Command::new(&program).args(words).stdin(Stdio::null()).env_clear().output();
        let output = output.map_err(|error| RouterError::Run(program.clone(), error))?;
        finished(program, &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Each table of `text` changes at once, or not at all.
    pub(crate) fn restore(&self, family: Family, text: &str) -> Result<(), RouterError> {
        let program = self.program(family, "-restore");
        let held = self.lock.as_ref().map(Lock::take).transpose()?;
        let output = run(&program, held.is_some(), text).map_err(|error| RouterError::Run(program.clone(), error))?;
        drop(held);
        finished(program, &output)
    }

    fn program(&self, family: Family, end: &str) -> PathBuf {
        self.folder.join(format!("{}{}{end}", family.program(), self.suffix))
    }
}

fn run(program: &Path, is_locked: bool, text: &str) -> io::Result<Output> {
    let mut command = Command::new(program);
    command.arg("--noflush").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).env_clear();
    if is_locked {
        // We hold the machine's lock; it shall take one that is free.
        command.env("XTABLES_LOCKFILE", "/dev/null");
    }
    let mut child = command.spawn()?;
    // Where it stops reading, its own words say why.
    let _not_read = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    child.wait_with_output()
}

fn finished(program: PathBuf, output: &Output) -> Result<(), RouterError> {
    if output.status.success() { Ok(()) } else { Err(RouterError::Iptables(program, first_lines(&output.stderr))) }
}

/// It says so since both exist.
fn flavour_of(program: &Path) -> Option<Flavour> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).env_clear().output().ok()?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let flavour = if words.contains("nf_tables") { Flavour::Nft } else { Flavour::Legacy };
    words.contains("iptables").then_some(flavour)
}
