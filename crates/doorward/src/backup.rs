//! Backups: one file, consistent while the gateway runs. The gateway copies its store beside it; whoever asked seals
//! that copy and puts the file where it belongs, with their own rights. Nobody but them learns the passphrase.

pub mod archive;

use crate::admin::{AskError, Owner, status};
use crate::paths;
use crate::serve::settings::File as SettingsFile;
use crate::terminal::story;
use anyhow::{Context, bail};
use archive::Contents;
use doorward_control::{Control, ControlSettings};
use doorward_core::Secret;
use doorward_portal::{BackupHook, BackupRequest};
use http::Method;
use jiff::Timestamp;
use rand::RngExt;
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const COPY_LIMIT: Duration = Duration::from_secs(600);
const COPY: &str = "backup-";

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    pub file: PathBuf,
    pub bytes: u64,
    /// `gateway.toml`, as far as there was one.
    pub settings: Option<PathBuf>,
    /// Named in it, not backed up.
    pub certificate: Vec<PathBuf>,
}

/// A backup must not take the place of another file, and there must be room for it: said before anybody is asked for
/// a passphrase.
pub fn check_target(file: &Path) -> anyhow::Result<()> {
    if file.symlink_metadata().is_ok() {
        bail!("{} is there already: choose another name, or move it away", file.display());
    }
    let folder = folder_of(file);
    tempfile::tempfile_in(&folder).with_context(|| format!("{} cannot be written to", folder.display()))?;
    Ok(())
}

/// There must be something to back up.
pub async fn check_source(owner: &Owner) -> Result<(), AskError> {
    match status::read(owner).await {
        Err(AskError::NoGateway { .. }) if owner.directory().join(archive::STORE).exists() => Ok(()),
        answer => answer.map(drop),
    }
}

/// Backs up the gateway with the owner's data directory, whether it runs or not. `config`: `gateway.toml`, if it is
/// not in the usual place.
pub async fn run(
    owner: &Owner,
    file: &Path,
    config: Option<&Path>,
    passphrase: Secret<String>,
) -> anyhow::Result<Made> {
    check_target(file)?;
    let settings = settings_text(config)?;
    let store = copy_of_store(owner, config).await?;
    let (path, certificate) = match &settings {
        Some((path, text)) => (Some(path.clone()), certificate_files(text)),
        None => (None, Vec::new()),
    };
    let contents = Contents { store, settings: settings.map(|(_, text)| text) };
    let file = file.to_owned();
    let sealing = tokio::task::spawn_blocking(move || write(contents, &passphrase, &file).map(|bytes| (file, bytes)));
    let (file, bytes) = sealing.await??;
    Ok(Made { file, bytes, settings: path, certificate })
}

/// Under its name only once it is whole.
fn write(contents: Contents, passphrase: &Secret<String>, file: &Path) -> anyhow::Result<u64> {
    let unwritable = || format!("{} cannot be written", file.display());
    // Made with mode 0600.
    let mut part =
        tempfile::Builder::new().prefix(".doorward-").tempfile_in(folder_of(file)).with_context(unwritable)?;
    archive::seal(contents, passphrase, Timestamp::now(), std::io::BufWriter::new(part.as_file_mut()))
        .with_context(unwritable)?;
    part.as_file().sync_all().with_context(unwritable)?;
    let bytes = part.as_file().metadata().with_context(unwritable)?.len();
    part.persist_noclobber(file).with_context(unwritable)?;
    Ok(bytes)
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// An open copy of the store, without a name any more.
async fn copy_of_store(owner: &Owner, config: Option<&Path>) -> anyhow::Result<File> {
    let directory = owner.directory();
    let copy = Leftover(copy_in(directory));
    let body = json!({ "path": copy.0 });
    match owner.clone().patient(COPY_LIMIT).ask(Method::POST, "/backup", Some(body)).await {
        Ok(_) => {}
        Err(AskError::NoGateway { .. }) if directory.join(archive::STORE).exists() => {
            copy_at_rest(directory, config, &copy.0).await?;
        }
        Err(error) => return Err(error.into()),
    }
    File::open(&copy.0).with_context(|| format!("the copy of the store, {}, cannot be read", copy.0.display()))
}

/// For a gateway that does not run: nobody else has the store open.
async fn copy_at_rest(directory: &Path, config: Option<&Path>, copy: &Path) -> anyhow::Result<()> {
    let site = SettingsFile::read(config)?.into_settings(directory.to_owned())?.site;
    let settings = ControlSettings { directory: directory.to_owned(), site, now: Timestamp::now() };
    let control = Control::open(settings).await?;
    let copied = control.backup_into(copy).await;
    control.close().await;
    Ok(copied?)
}

fn copy_in(directory: &Path) -> PathBuf {
    directory.join(format!("{COPY}{:016x}.db", rand::rng().random::<u64>()))
}

/// A file that goes with this.
struct Leftover(PathBuf);

impl Drop for Leftover {
    fn drop(&mut self) {
        // If it cannot be removed, the gateway does so at its next start.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What the portal calls: a plain copy of the store for whoever may read it anyway, or a sealed backup.
pub fn hook(control: Control) -> BackupHook {
    remove_leftovers(control.directory());
    Arc::new(move |request| {
        let control = control.clone();
        Box::pin(async move { answer(&control, request).await.map_err(|error| story(&error)) })
    })
}

async fn answer(control: &Control, request: BackupRequest) -> anyhow::Result<()> {
    let Some(passphrase) = request.passphrase else { return Ok(control.backup_into(&request.path).await?) };
    check_target(&request.path)?;
    let copy = Leftover(copy_in(control.directory()));
    control.backup_into(&copy.0).await?;
    let contents = Contents { store: File::open(&copy.0)?, settings: settings_text(None)?.map(|(_, text)| text) };
    drop(copy);
    tokio::task::spawn_blocking(move || write(contents, &passphrase, &request.path)).await??;
    Ok(())
}

/// Of backups that were interrupted.
fn remove_leftovers(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_copy = name.to_str().is_some_and(|name| name.starts_with(COPY) && name.ends_with(".db"));
        if is_copy && let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(file = %entry.path().display(), %error, "the rest of a backup cannot be removed");
        }
    }
}

/// `gateway.toml` as it is written. One that was named must be there.
fn settings_text(config: Option<&Path>) -> anyhow::Result<Option<(PathBuf, Vec<u8>)>> {
    let path = config.map_or_else(|| paths::configuration(archive::SETTINGS), Path::to_owned);
    match std::fs::read(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && config.is_none() => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Whatever else is wrong with the file does not matter here.
pub(crate) fn certificate_files(settings: &[u8]) -> Vec<PathBuf> {
    let read = std::str::from_utf8(settings).ok().and_then(|text| toml::from_str::<SettingsFile>(text).ok());
    read.and_then(|file| file.certificate)
        .map(|certificate| vec![certificate.chain, certificate.key])
        .unwrap_or_default()
}

impl Made {
    pub fn words(&self) -> String {
        let settings = match &self.settings {
            Some(path) => format!("{}", path.display()),
            None => "no gateway.toml,\nas there is none in the usual place (--config FILE names another)".to_owned(),
        };
        let certificate = match self.certificate.as_slice() {
            [] => "Not in it: certificate files.".to_owned(),
            files => {
                let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                format!("Not in it: the certificate files {}.", files.join(" and "))
            }
        };
        format!(
            "{} ({} KiB) has the store and {settings}.\n{certificate}\n\
             It holds the site key: keep it away from this machine, and from its passphrase.\n\
             `doorward restore {0}` brings it back, here or elsewhere.\n",
            self.file.display(),
            self.bytes.div_ceil(1024),
        )
    }
}
