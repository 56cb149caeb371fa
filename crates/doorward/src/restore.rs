//! `doorward restore`: a backup becomes the data directory of a gateway that does not run yet, here or elsewhere.
//! Everything is unpacked and examined in a folder of its own; the store, whose presence makes the directory one,
//! comes last.

use crate::backup::{archive, certificate_files};
use crate::operations::SOCKET;
use crate::paths;
use crate::serve::settings::File as SettingsFile;
use crate::terminal::counted;
use anyhow::{Context, bail};
use archive::{Manifest, SETTINGS, STORE};
use doorward_control::{Control, ControlSettings, SEAL_FILE};
use doorward_core::Secret;
use doorward_core::site::Fingerprint;
use jiff::Timestamp;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Restored {
    pub directory: PathBuf,
    pub manifest: Manifest,
    pub site_key: Fingerprint,
    pub devices: usize,
    pub services: usize,
    /// Where `gateway.toml` is now, if there was one.
    pub settings: Option<PathBuf>,
}

/// Refuses a place where something is, before anybody is asked for a passphrase.
pub fn check_place(directory: &Path) -> anyhow::Result<()> {
    if std::os::unix::net::UnixStream::connect(directory.join(SOCKET)).is_ok() {
        bail!("a gateway runs with {}: stop it, or name another directory with --data", directory.display());
    }
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("{} cannot be used", directory.display()))?,
    };
    // A file system of its own has this from the start.
    let mut names = entries.flatten().map(|entry| entry.file_name()).filter(|name| name != "lost+found");
    if let Some(name) = names.next() {
        bail!(
            "{} is not empty ({} is in it), and nothing is overwritten: move it away, or name another directory with --data",
            directory.display(),
            name.display()
        );
    }
    Ok(())
}

/// There must be something to restore.
pub fn check_file(file: &Path) -> anyhow::Result<()> {
    File::open(file).map(drop).with_context(|| format!("{} cannot be read", file.display()))
}

pub async fn run(file: &Path, directory: &Path, passphrase: Secret<String>) -> anyhow::Result<Restored> {
    check_place(directory)?;
    let is_new = !directory.exists();
    let restored = restore(file, directory, passphrase).await;
    if restored.is_err() && is_new {
        // Only if it is empty again; what was wrong is said either way.
        let _ = std::fs::remove_dir(directory);
    }
    restored
}

async fn restore(file: &Path, directory: &Path, passphrase: Secret<String>) -> anyhow::Result<Restored> {
    let unusable = || format!("{} cannot be used", directory.display());
    DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(unusable)?;
    let workshop = tempfile::Builder::new().prefix(".restoring-").tempdir_in(directory).with_context(unusable)?;
    let (from, into) = (file.to_owned(), workshop.path().to_owned());
    let unsealing = tokio::task::spawn_blocking(move || archive::unseal(&from, &passphrase, &into));
    let manifest = unsealing.await??;
    let (site_key, devices, services) = examine(workshop.path()).await.with_context(|| file.display().to_string())?;

    let has_settings = workshop.path().join(SETTINGS).exists();
    for name in [SETTINGS, SEAL_FILE, STORE].into_iter().filter(|name| *name != SETTINGS || has_settings) {
        hand_over(&workshop.path().join(name), directory)?;
        std::fs::rename(workshop.path().join(name), directory.join(name)).with_context(unusable)?;
    }
    File::open(directory).and_then(|folder| folder.sync_all()).with_context(unusable)?;
    let settings = has_settings.then(|| directory.join(SETTINGS));
    Ok(Restored { directory: directory.to_owned(), manifest, site_key, devices, services, settings })
}

/// Opens the store as a gateway would: one that is damaged, or of a newer release, is refused here.
async fn examine(folder: &Path) -> anyhow::Result<(Fingerprint, usize, usize)> {
    let site = SettingsFile::default().into_settings(folder.to_owned())?.site;
    let settings = ControlSettings { directory: folder.to_owned(), site, now: Timestamp::now() };
    let control = Control::open(settings).await?;
    let snapshot = control.snapshot();
    let devices = snapshot.devices().filter(|device| device.revoked_at.is_none()).count();
    let found = (control.site_keys().active.fingerprint, devices, snapshot.services().count());
    control.close().await;
    if folder.join("doorward.db-wal").exists() {
        bail!("the store could not be closed; try again");
    }
    Ok(found)
}

/// root restores for the user to whom the directory belongs.
fn hand_over(file: &Path, directory: &Path) -> anyhow::Result<()> {
    if !paths::is_root() {
        return Ok(());
    }
    let owner = std::fs::metadata(directory)?;
    std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid()))
        .with_context(|| format!("{} cannot be given to the owner of {}", file.display(), directory.display()))
}

impl Restored {
    /// What was brought back, and what to do next.
    pub fn words(&self) -> String {
        let Manifest { created, release, .. } = &self.manifest;
        let text = self.settings.as_deref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let data = match paths::gateway_directory() {
            usual if usual == self.directory => String::new(),
            _ => format!(" --data {}", self.directory.display()),
        };
        let config = self.settings.as_ref().map(|path| format!(" --config {}", path.display())).unwrap_or_default();
        let mut steps =
            vec!["Stop the old gateway, if it still runs: two with one site key confuse the devices.".to_owned()];
        if let Some(path) = &self.settings {
            steps.push(format!("Look through {}: are its addresses right for this machine?", path.display()));
        }
        for file in certificate_files(&text) {
            steps.push(format!("Bring {}: certificate files are not in a backup.", file.display()));
        }
        steps.push(format!("Start it:  doorward serve{data}{config}"));
        steps.push(format!("Let DNS lead to this machine{}.", domain(&text)));
        steps
            .push("Devices come back by themselves, and find their names, ports and policies as they were.".to_owned());
        let steps: String = steps.iter().enumerate().map(|(n, step)| format!("  {}. {step}\n", n + 1)).collect();
        format!(
            "Restored the gateway of {} (release {release}): {}, {}.\nSite key: {}\n\nNext:\n{steps}",
            created.strftime("%Y-%m-%d %H:%M UTC"),
            counted(self.devices, "device"),
            counted(self.services, "service"),
            self.site_key
        )
    }
}

/// What the records are called, if there is a domain.
fn domain(settings: &[u8]) -> String {
    let read = std::str::from_utf8(settings).ok().and_then(|text| toml::from_str::<SettingsFile>(text).ok());
    let domain = read.and_then(|file| file.domain);
    domain.map(|domain| format!(": {domain} and *.{domain}")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
