//! Files that people and programs write while we run. They are looked at every second, and at SIGHUP.

use anyhow::Context;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why files should be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// By SIGHUP.
    Asked,
    Changed,
}

pub(crate) struct Watch {
    files: Vec<PathBuf>,
    /// As they were when they were read last.
    seen: Vec<Option<Look>>,
    hang_up: Signal,
}

/// What tells one content from another, as far as stat(2) knows: files are replaced, rewritten, or get a new target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    inode: (u64, u64),
    modified: (i64, i64),
    length: u64,
}

const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Watch {
    /// From here on SIGHUP does not end the process. Watch first, read then: nothing falls between.
    pub(crate) fn new(files: Vec<PathBuf>) -> anyhow::Result<Self> {
        let hang_up = signal(SignalKind::hangup()).context("SIGHUP cannot be listened for")?;
        let mut watch = Self { files: Vec::new(), seen: Vec::new(), hang_up };
        watch.look_after(files);
        Ok(watch)
    }

    /// These, from now on. What was watched before keeps what was seen of it.
    pub(crate) fn look_after(&mut self, files: Vec<PathBuf>) {
        let old: Vec<_> = std::mem::take(&mut self.files).into_iter().zip(std::mem::take(&mut self.seen)).collect();
        let seen =
            |file: &PathBuf| old.iter().find(|(known, _)| known == file).map_or_else(|| look(file), |(_, seen)| *seen);
        self.seen = files.iter().map(seen).collect();
        self.files = files;
    }

    /// Resolves when they should be read again. Programs write in several steps: while anything moves, it waits.
    pub(crate) async fn next(&mut self) -> Cause {
        let mut before = self.seen.clone();
        loop {
            let is_asked = tokio::select! {
                _ = self.hang_up.recv() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let now: Vec<_> = self.files.iter().map(look).collect();
            if is_asked {
                self.seen = now;
                return Cause::Asked;
            }
            if now != self.seen && now == before {
                self.seen = now;
                return Cause::Changed;
            }
            before = now;
        }
    }
}

/// `None`: it is not there.
fn look(file: &PathBuf) -> Option<Look> {
    let metadata = std::fs::metadata(file).ok()?;
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    Some(Look { inode: (metadata.dev(), metadata.ino()), modified, length: metadata.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(20);

    fn two_files() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        fs::write(&one, "a").unwrap();
        (directory, one, other)
    }

    #[tokio::test]
    async fn a_file_that_is_rewritten_replaced_made_or_removed_is_noticed_once() {
        let (directory, one, other) = two_files();
        let mut watch = Watch::new(vec![one.clone(), other.clone()]).unwrap();
        let replacement = directory.path().join("new");
        let steps: [&dyn Fn(); 4] = [
            &|| fs::write(&one, "longer").unwrap(),
            &|| {
                fs::write(&replacement, "LONGER").unwrap();
                fs::rename(&replacement, &one).unwrap();
            },
            &|| fs::write(&other, "b").unwrap(),
            &|| fs::remove_file(&other).unwrap(),
        ];
        for step in steps {
            step();
            assert_eq!(timeout(LIMIT, watch.next()).await.expect("it was not noticed"), Cause::Changed);
        }
        assert!(timeout(LOOK_EVERY * 3, watch.next()).await.is_err(), "nothing changed since");
    }

    #[tokio::test]
    async fn a_link_to_another_file_is_another_content() {
        let (_directory, one, other) = two_files();
        fs::write(&other, "b").unwrap();
        let link = one.with_file_name("link");
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let mut watch = Watch::new(vec![link.clone()]).unwrap();
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert_eq!(timeout(LIMIT, watch.next()).await.expect("it was not noticed"), Cause::Changed);
    }

    #[tokio::test]
    async fn what_changed_while_the_list_of_files_was_changed_is_not_lost() {
        let (_directory, one, other) = two_files();
        let mut watch = Watch::new(vec![one.clone()]).unwrap();
        fs::write(&one, "longer").unwrap();
        watch.look_after(vec![one.clone(), other]);
        assert_eq!(timeout(LIMIT, watch.next()).await.expect("it was not noticed"), Cause::Changed);
    }
}
