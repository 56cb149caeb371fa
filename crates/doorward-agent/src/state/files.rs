//! Small private files, written so that they are never found half.

use super::StateError;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// None of ours comes near.
const MAX_SIZE: u64 = 1024 * 1024;

/// `None`: there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let reading = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_SIZE).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match reading() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(StateError::Unreadable { path: path.to_owned(), source }),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    let written = write_new(&beside, bytes).and_then(|()| rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// The agent and a `join` may write at the same time.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    give_to_owner_of_folder(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_folder(to)
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(path),
    }
}

/// Without this a power cut may bring the old name back.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

pub(super) fn make_private_folder(path: &Path) -> io::Result<()> {
    let new: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    new.into_iter().rev().try_for_each(give_to_owner_of_folder)
}

/// What root makes in a service's directory belongs to the service, which could not read it otherwise.
fn give_to_owner_of_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|_| rustix::process::geteuid().is_root()) else { return Ok(()) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let owner = folder.metadata()?;
    if owner.uid() == 0 {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()))
}

/// Whether files can be made there: asks by making one.
pub(super) fn probe(folder: &Path) -> io::Result<()> {
    let file = beside(&folder.join("probe"));
    write_new(&file, b"doorward looks whether it can write here\n")?;
    std::fs::remove_file(file)
}

pub(super) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run this as the user that owns it, give that user the right, or name another directory with --state"
        }
        io::ErrorKind::ReadOnlyFilesystem => "its file system is read-only; name a writable directory with --state",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full; make room",
        _ => "see that it is a directory on a sound disk, or name another one with --state",
    }
}
