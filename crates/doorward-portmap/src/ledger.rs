//! What was asked of which router: on disk before it is asked, struck out when the router confirmed that it is gone.
//!
//! A process that is killed, or a machine that loses power, finds its mappings here and takes them back. Of leases that
//! matters little; a mapping without an end would stay open for ever.

use crate::pcp::Nonce;
use crate::wish::Protocol;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum LedgerError {
    #[error(
        "{} cannot be read, so mappings that were left in a router are not known: {source}; put it right or, \
         after a look into the router, remove it", path.display()
    )]
    Read { path: PathBuf, source: io::Error },
    #[error("{} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// The number of a line, never used again.
pub(crate) type LineId = u64;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    /// Marks what is ours in a router's own list.
    pub(crate) token: String,
    next: LineId,
    lines: BTreeMap<LineId, Line>,
}

/// One mapping that was, or is about to be, asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) router: Ipv4Addr,
    pub(crate) local: Ipv4Addr,
    pub(crate) protocol: Protocol,
    pub(crate) internal_port: u16,
    pub(crate) external_port: u16,
    pub(crate) by: By,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum By {
    Pcp {
        nonce: Nonce,
    },
    NatPmp,
    Upnp {
        udn: String,
        remote: Option<Ipv4Addr>,
        /// The router knows no end for it.
        permanent: bool,
    },
}

/// More mappings than this are never open or left over at once.
const MOST: usize = 128;

impl Ledger {
    pub(crate) fn new(draw: u32) -> Self {
        Self { token: format!("doorward {draw:08x}"), next: 1, lines: BTreeMap::new() }
    }

    /// `None`: it is full.
    pub(crate) fn add(&mut self, line: Line) -> Option<LineId> {
        if self.lines.len() >= MOST {
            return None;
        }
        let id = self.next;
        self.next += 1;
        self.lines.insert(id, line);
        Some(id)
    }

    pub(crate) fn line(&self, id: LineId) -> Option<&Line> {
        self.lines.get(&id)
    }

    pub(crate) fn line_mut(&mut self, id: LineId) -> Option<&mut Line> {
        self.lines.get_mut(&id)
    }

    pub(crate) fn strike(&mut self, id: LineId) {
        self.lines.remove(&id);
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = LineId> {
        self.lines.keys().copied()
    }
}

/// `None`: there is none yet.
pub(crate) fn read(path: &Path) -> Result<Option<Ledger>, LedgerError> {
    let refuse = |source| LedgerError::Read { path: path.to_owned(), source };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| refuse(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refuse(error)),
    }
}

/// The file is the old one or the new one, whatever happens meanwhile; when this returns, it is the new one.
pub(crate) fn write(path: &Path, ledger: &Ledger) -> Result<(), LedgerError> {
    let bytes = serde_json::to_vec_pretty(ledger).map_err(io::Error::from);
    let written = bytes.and_then(|bytes| replace(path, &bytes));
    written.map_err(|source| LedgerError::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = path.with_extension("new");
    // Left by whoever was killed while writing it.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn line(by: By) -> Line {
        Line {
            router: Ipv4Addr::new(192, 168, 77, 1),
            local: Ipv4Addr::new(192, 168, 77, 10),
            protocol: Protocol::Tcp,
            internal_port: 8000,
            external_port: 40022,
            by,
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mappings.json");
        assert_eq!(read(&path).unwrap(), None);
        let mut ledger = Ledger::new(7);
        let remote = Some(Ipv4Addr::new(198, 51, 100, 10));
        for by in
            [By::Pcp { nonce: [9; 12] }, By::NatPmp, By::Upnp { udn: "uuid:x".to_owned(), remote, permanent: true }]
        {
            ledger.add(line(by)).unwrap();
        }
        fs::write(folder.path().join("mappings.new"), "half").unwrap();
        write(&path, &ledger).unwrap();
        assert_eq!(read(&path).unwrap(), Some(ledger.clone()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        ledger.strike(2);
        assert_eq!(ledger.add(line(By::NatPmp)), Some(4), "a number is not used again");
        write(&path, &ledger).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().ids().collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn a_ledger_that_cannot_be_read_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mappings.json");
        for text in ["", "{", "[]", r#"{"token":"x","next":1,"lines":{},"more":1}"#, r#"{"token":"x","next":1}"#] {
            fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(LedgerError::Read { .. })), "{text}");
        }
    }

    #[test]
    fn a_ledger_does_not_grow_without_end() {
        let mut ledger = Ledger::new(7);
        let added = (0..1000).filter(|_| ledger.add(line(By::NatPmp)).is_some()).count();
        assert_eq!(added, MOST);
    }
}
