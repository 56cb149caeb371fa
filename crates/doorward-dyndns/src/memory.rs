//! What was told last, over restarts. It belongs to the settings under which it was told: with others it counts for
//! nothing.

use crate::address::Addresses;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum MemoryError {
    #[error("{} cannot be read: {source}; remove it, and the name is told anew once", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    pub(crate) settings: String,
    pub(crate) told: Addresses,
    #[serde(default)]
    pub(crate) told_at: Option<Timestamp>,
    pub(crate) stopped: Option<String>,
}

/// An empty one if there is none, or one of other settings.
pub(crate) fn read(path: &Path, settings: &str) -> Result<Memory, MemoryError> {
    let refuse = |source| MemoryError::Read { path: path.to_owned(), source };
    let empty = Memory { settings: settings.to_owned(), ..Memory::default() };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(empty),
        Err(error) => return Err(refuse(error)),
    };
    let memory: Memory = serde_json::from_slice(&bytes).map_err(|error| refuse(error.into()))?;
    Ok(if memory.settings == settings { memory } else { empty })
}

/// The file is the old one or the new one.
pub(crate) fn write(path: &Path, memory: &Memory) -> Result<(), MemoryError> {
    let bytes = serde_json::to_vec(memory).map_err(io::Error::from);
    bytes.and_then(|bytes| replace(path, &bytes)).map_err(|source| MemoryError::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
