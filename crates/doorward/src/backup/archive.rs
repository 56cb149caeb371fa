//! What a backup file is: an age file (age-encryption.org/v1, one scrypt recipient) around a tar with the manifest
//! first, then the store, then the settings if there were any. Without Doorward: `age -d backup.age | tar xv`.

use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, scrypt};
use doorward_core::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How the file is laid out. A release reads its own and every lower one.
const VERSION: u32 = 1;
const MANIFEST: &str = "manifest.json";
pub const STORE: &str = "doorward.db";
pub const SETTINGS: &str = "gateway.toml";
const MAX_MANIFEST: u64 = 64 * 1024;
/// scrypt with N = 2^16: 64 MiB and some tenths of a second, which a small gateway can afford.
const WORK: u8 = 16;
/// What is put up with at reading, for files that were encrypted anew with `age`.
const MAX_WORK: u8 = 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: u32,
    pub created: Timestamp,
    /// Of the Doorward that made it.
    pub release: String,
}

/// What goes in.
pub struct Contents {
    /// A copy at rest, not the store in use.
    pub store: File,
    pub settings: Option<Vec<u8>>,
}

#[derive(Debug, Error)]
pub enum UnsealError {
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not a backup made by `doorward backup`", .0.display())]
    Foreign(PathBuf),
    #[error("the passphrase does not fit {}", .0.display())]
    Passphrase(PathBuf),
    #[error(
        "{} is damaged or incomplete ({why}): copy it again from where it was kept, or take another backup",
        path.display()
    )]
    Damaged { path: PathBuf, why: String },
    #[error("{} was made by a newer Doorward ({release}): update this one ({})", path.display(), env!("CARGO_PKG_VERSION"))]
    Newer { path: PathBuf, release: String },
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

/// Writes all of it. Takes a moment: scrypt is slow on purpose.
pub fn seal(contents: Contents, passphrase: &Secret<String>, now: Timestamp, out: impl Write) -> io::Result<()> {
    let release = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest { version: VERSION, created: now, release };
    seal_as(&manifest, contents, passphrase, out)
}

fn seal_as(manifest: &Manifest, contents: Contents, passphrase: &Secret<String>, out: impl Write) -> io::Result<()> {
    let mut recipient = scrypt::Recipient::new(secret(passphrase));
    recipient.set_work_factor(WORK);
    let recipients = std::iter::once(&recipient as &dyn age::Recipient);
    let sealed = Encryptor::with_recipients(recipients).map_err(io::Error::other)?.wrap_output(out)?;
    let mut tar = tar::Builder::new(sealed);
    let text = serde_json::to_vec_pretty(manifest)?;
    append(&mut tar, MANIFEST, text.len() as u64, manifest.created, text.as_slice())?;
    let length = contents.store.metadata()?.len();
    append(&mut tar, STORE, length, manifest.created, contents.store)?;
    if let Some(settings) = contents.settings {
        append(&mut tar, SETTINGS, settings.len() as u64, manifest.created, settings.as_slice())?;
    }
    // Without its last piece the file would count as cut off.
    tar.into_inner()?.finish()?.flush()
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, size: u64, at: Timestamp, from: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(at.as_second().unsigned_abs());
    tar.append_data(&mut header, name, from)
}

/// Puts what is in the backup into `folder`, an empty one, with mode 0600. After an error there may be parts of it.
pub fn unseal(path: &Path, passphrase: &Secret<String>, folder: &Path) -> Result<Manifest, UnsealError> {
    let file = File::open(path).map_err(|source| UnsealError::Unreadable { path: path.to_owned(), source })?;
    let damaged = |why: String| UnsealError::Damaged { path: path.to_owned(), why };
    let broken = |error: io::Error| damaged(error.to_string());
    let sealed = Decryptor::new_buffered(BufReader::new(file)).map_err(|error| not_ours(path, &error))?;
    if !sealed.is_scrypt() {
        return Err(UnsealError::Foreign(path.to_owned()));
    }
    let mut identity = scrypt::Identity::new(secret(passphrase));
    identity.set_max_work_factor(MAX_WORK);
    let opened = sealed.decrypt(std::iter::once(&identity as &dyn age::Identity));
    let mut tar = tar::Archive::new(opened.map_err(|error| not_opened(path, error))?);

    let mut manifest = None;
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path_bytes().into_owned();
        match (name.as_slice(), &manifest) {
            (b"manifest.json", None) => manifest = Some(read_manifest(&mut entry, path)?),
            (b"doorward.db", Some(_)) => extract(&mut entry, &folder.join(STORE), path)?,
            (b"gateway.toml", Some(_)) => extract(&mut entry, &folder.join(SETTINGS), path)?,
            _ => return Err(UnsealError::Foreign(path.to_owned())),
        }
    }
    // The tar ends before the age file does, whose last piece says that nothing is missing.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(broken)?;
    match manifest {
        Some(manifest) if folder.join(STORE).exists() => Ok(manifest),
        Some(_) | None => Err(damaged("there is no store in it".to_owned())),
    }
}

fn read_manifest(entry: &mut impl Read, path: &Path) -> Result<Manifest, UnsealError> {
    let damaged = |why: String| UnsealError::Damaged { path: path.to_owned(), why };
    let mut text = String::new();
    entry.take(MAX_MANIFEST).read_to_string(&mut text).map_err(|e| damaged(e.to_string()))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|e| damaged(format!("its manifest: {e}")))?;
    if manifest.version > VERSION {
        return Err(UnsealError::Newer { path: path.to_owned(), release: manifest.release });
    }
    Ok(manifest)
}

fn extract(entry: &mut impl Read, to: &Path, from: &Path) -> Result<(), UnsealError> {
    let unwritable = |source| UnsealError::Unwritable { path: to.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(unwritable)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // Told apart by hand: one is the backup's fault, the other the disk's.
        let read = entry.read(&mut buffer);
        let length = read.map_err(|e| UnsealError::Damaged { path: from.to_owned(), why: e.to_string() })?;
        if length == 0 {
            return file.sync_all().map_err(unwritable);
        }
        file.write_all(&buffer[..length]).map_err(unwritable)?;
    }
}

fn secret(passphrase: &Secret<String>) -> SecretString {
    SecretString::from(passphrase.expose().clone())
}

/// The head of the file cannot be read.
fn not_ours(path: &Path, error: &DecryptError) -> UnsealError {
    let path = path.to_owned();
    match error {
        DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            UnsealError::Damaged { path, why: "it ends in its first lines".to_owned() }
        }
        _ => UnsealError::Foreign(path),
    }
}

fn not_opened(path: &Path, error: DecryptError) -> UnsealError {
    let path = path.to_owned();
    match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys => {
            UnsealError::Passphrase(path)
        }
        other => UnsealError::Damaged { path, why: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn contents(folder: &Path, settings: Option<&str>) -> Contents {
        let path = folder.join("copy");
        std::fs::write(&path, vec![7; 200_000]).unwrap();
        Contents { store: File::open(path).unwrap(), settings: settings.map(|text| text.as_bytes().to_vec()) }
    }

    fn manifest(version: u32) -> Manifest {
        Manifest { version, created: "2026-11-23T12:00:00Z".parse().unwrap(), release: "9.9.9".to_owned() }
    }

    fn backup(folder: &Path, version: u32) -> PathBuf {
        let path = folder.join("backup.age");
        let out = File::create(&path).unwrap();
        seal_as(&manifest(version), contents(folder, Some("domain = \"example.org\"\n")), &secret("right"), out)
            .unwrap();
        path
    }

    #[test]
    fn what_went_in_comes_out_for_whoever_knows_the_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let path = backup(folder.path(), 1);
        let out = tempfile::tempdir().unwrap();
        assert!(matches!(unseal(&path, &secret("wrong"), out.path()), Err(UnsealError::Passphrase(_))));
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
        assert_eq!(unseal(&path, &secret("right"), out.path()).unwrap(), manifest(1));
        assert_eq!(std::fs::read(out.path().join(STORE)).unwrap(), vec![7; 200_000]);
        assert_eq!(std::fs::read_to_string(out.path().join(SETTINGS)).unwrap(), "domain = \"example.org\"\n");
    }

    #[test]
    fn a_file_of_a_later_layout_is_refused_by_its_release() {
        let folder = tempfile::tempdir().unwrap();
        let path = backup(folder.path(), 2);
        let out = tempfile::tempdir().unwrap();
        let error = unseal(&path, &secret("right"), out.path()).unwrap_err().to_string();
        assert!(error.contains("newer Doorward (9.9.9)"), "{error}");
    }

    #[test]
    fn a_file_that_is_cut_off_or_altered_anywhere_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read(backup(folder.path(), 1)).unwrap();
        let path = folder.path().join("damaged.age");
        let mut tried = 0;
        // In the head, in the middle, within the padding of the tar, and just before the end.
        for keep in [0, 10, 100, whole.len() / 2, whole.len() - 2000, whole.len() - 1] {
            std::fs::write(&path, &whole[..keep]).unwrap();
            let out = tempfile::tempdir().unwrap();
            let error = unseal(&path, &secret("right"), out.path()).unwrap_err();
            assert!(matches!(error, UnsealError::Damaged { .. } | UnsealError::Foreign(_)), "{keep}: {error}");
            tried += 1;
        }
        for at in [whole.len() / 2, whole.len() - 1] {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            std::fs::write(&path, &altered).unwrap();
            let out = tempfile::tempdir().unwrap();
            let error = unseal(&path, &secret("right"), out.path()).unwrap_err();
            assert!(matches!(error, UnsealError::Damaged { .. }), "{at}: {error}");
            tried += 1;
        }
        assert_eq!(tried, 8);
    }

    #[test]
    fn something_else_is_not_taken_for_a_backup() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "SQLite format 3\0 and so on, and so on").unwrap();
        assert!(matches!(unseal(&path, &secret("right"), folder.path()), Err(UnsealError::Foreign(_))));
        let none = unseal(&folder.path().join("none"), &secret("right"), folder.path());
        assert!(matches!(none, Err(UnsealError::Unreadable { .. })));
    }
}
