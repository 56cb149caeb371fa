//! Programs that devices fetch from their gateway: the running one, for machines of its own kind, and what its owner put
//! into `<data>/builds` as `doorward-<arch>`. They are public, as the program is; whoever fetches one knows by its SHA-256
//! that it is the right one, since that stands in the line that they paste.

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::{Body, Bytes};
use data_encoding::HEXLOWER;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt;

/// What there is for one kind of machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub(crate) struct Build {
    /// As `uname -m` says it, except that `arm` stands for all 32-bit ARM and `x86` for all 32-bit PCs.
    pub(crate) arch: String,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

/// Digests are reckoned once for each file as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Builds(Arc<Mutex<HashMap<PathBuf, (Face, String)>>>);

/// By what a file is known not to have changed: device, inode, length, and the time of its last change.
type Face = (u64, u64, u64, i64, i64);

const DIRECTORY: &str = "builds";
const PREFIX: &str = "doorward-";
/// The program as it runs, also when another one lies in its place by now (proc(5)).
const RUNNING: &str = "/proc/self/exe";
const OWN_ARCH: &str = std::env::consts::ARCH;
const PIECE: usize = 64 * 1024;

impl Builds {
    /// By kind of machine. `data`: the gateway's data directory. What cannot be read is not there.
    pub(crate) async fn list(&self, data: &Path) -> Vec<Build> {
        let (builds, data) = (self.clone(), data.to_owned());
        tokio::task::spawn_blocking(move || builds.look(&data)).await.unwrap_or_default()
    }

    fn look(&self, data: &Path) -> Vec<Build> {
        let mut archs: Vec<String> = std::fs::read_dir(data.join(DIRECTORY))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(PREFIX).map(str::to_owned))
            .filter(|arch| is_arch(arch))
            .collect();
        archs.push(OWN_ARCH.to_owned());
        archs.sort_unstable();
        archs.dedup();
        archs.into_iter().filter_map(|arch| self.build(data, arch).ok()).collect()
    }

    fn build(&self, data: &Path, arch: String) -> io::Result<Build> {
        let path = place(data, &arch);
        let file = File::open(&path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let face = (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
        let known = self.known().get(&path).filter(|(seen, _)| *seen == face).map(|(_, digest)| digest.clone());
        let sha256 = match known {
            Some(digest) => digest,
            None => {
                let digest = digest(file)?;
                self.known().insert(path, (face, digest.clone()));
                digest
            }
        };
        Ok(Build { arch, sha256, bytes: meta.len() })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Face, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The program itself, with its length; `None`: there is none for such machines.
pub(crate) async fn open(data: &Path, arch: &str) -> Option<(u64, Body)> {
    if !is_arch(arch) {
        return None;
    }
    let file = tokio::fs::File::open(place(data, arch)).await.ok()?;
    let meta = file.metadata().await.ok().filter(std::fs::Metadata::is_file)?;
    // As long as was announced, should it grow meanwhile.
    let pieces = futures_util::stream::unfold(file.take(meta.len()), |mut rest| async move {
        let mut piece = vec![0; PIECE];
        match rest.read(&mut piece).await {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some((Ok(Bytes::from(piece)), rest))
            }
            Err(error) => Some((Err(error), rest)),
        }
    });
    Some((meta.len(), Body::from_stream(pieces)))
}

/// What the owner put there comes first: it may be made to run on more machines than the gateway's own.
fn place(data: &Path, arch: &str) -> PathBuf {
    let given = data.join(DIRECTORY).join(format!("{PREFIX}{arch}"));
    if arch == OWN_ARCH && !given.exists() { PathBuf::from(RUNNING) } else { given }
}

fn is_arch(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn digest(mut file: File) -> io::Result<String> {
    let (mut context, mut piece) = (Context::new(&SHA256), vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(HEXLOWER.encode(context.finish().as_ref())),
            length => context.update(&piece[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_running_program_is_there_for_its_own_kind_and_others_are_what_lies_in_the_directory() {
        let data = tempfile::tempdir().unwrap();
        let builds = Builds::default();
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let listed = builds.list(data.path()).await;
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].arch.as_str(), listed[0].bytes), (OWN_ARCH, own.len() as u64));
        assert_eq!(listed[0].sha256, sha256(&own));

        let directory = data.path().join("builds");
        std::fs::create_dir_all(directory.join("doorward-folder")).unwrap();
        for (name, text) in
            [("doorward-mips", "one"), ("doorward-../x".replace('/', "_").as_str(), "no"), ("mips", "no")]
        {
            std::fs::write(directory.join(name), text).unwrap();
        }
        std::fs::write(directory.join(format!("doorward-{OWN_ARCH}")), "better").unwrap();
        let listed = builds.list(data.path()).await;
        let mut expected = vec![("mips", sha256(b"one"), 3), (OWN_ARCH, sha256(b"better"), 6)];
        expected.sort_unstable();
        let seen: Vec<_> =
            listed.iter().map(|build| (build.arch.as_str(), build.sha256.clone(), build.bytes)).collect();
        assert_eq!(seen, expected);

        std::fs::write(directory.join("doorward-mips"), "another").unwrap();
        let listed = builds.list(data.path()).await;
        let mips = listed.iter().find(|build| build.arch == "mips").unwrap();
        assert_eq!(mips.sha256, sha256(b"another"), "a file that changed is looked at again");
    }

    #[tokio::test]
    async fn nothing_but_builds_is_given_out() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("builds")).unwrap();
        std::fs::write(data.path().join("builds/doorward-mips"), "one").unwrap();
        std::fs::write(data.path().join("secret"), "secret").unwrap();
        let (length, body) = open(data.path(), "mips").await.unwrap();
        assert_eq!((length, axum::body::to_bytes(body, 100).await.unwrap().as_ref()), (3, &b"one"[..]));
        for arch in ["", "x/../../secret", "..", "mips\0", "MIPS", "/proc/self/environ", "riscv64"] {
            assert!(open(data.path(), arch).await.is_none(), "{arch:?}");
        }
    }

    fn sha256(bytes: &[u8]) -> String {
        HEXLOWER.encode(aws_lc_rs::digest::digest(&SHA256, bytes).as_ref())
    }
}
