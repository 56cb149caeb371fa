//! What the agent keeps between starts: a folder for each joined gateway, with the device's key for it and what is
//! known of its site.
//!
//! ```text
//! <root>/<gateway>/device.key    PKCS#8, mode 0600: the device's identity there
//! <root>/<gateway>/joining.key   the same, while a gateway is being joined anew
//! <root>/<gateway>/site.json     addresses, pinned keys; there if and only if the gateway was joined
//! <root>/<gateway>/counts.json   bytes that passed for each service, ever
//! <root>/<gateway>/additions.json  what was wished for at its portal
//! <root>/prepared.json           the services that were made ready and not let go yet
//! ```
//!
//! Every file is written beside its place, synced and renamed, so a power cut leaves the old one or the new one. A
//! damaged file is an error: a new identity is never made silently.

mod files;

use doorward_core::Secret;
use doorward_core::names::Label;
use doorward_core::site::{Address, Carrier, Fingerprint};
use doorward_tunnel::identity::DeviceKey;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

#[derive(Clone, Debug)]
pub struct StateDir {
    root: PathBuf,
}

/// A gateway that was joined.
#[derive(Clone)]
pub struct Membership {
    pub gateway: Label,
    pub key: Arc<DeviceKey>,
    pub site: KnownSite,
}

/// What an agent knows of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct KnownSite {
    pub addresses: Vec<Address>,
    pub keys: Vec<Fingerprint>,
    pub revision: u64,
    pub device_name: Label,
    /// What worked last, and is tried first.
    #[serde(default)]
    pub carrier: Option<Carrier>,
}

#[derive(Debug, Error)]
pub enum StateError {
    #[error("{} cannot be written ({source}): {}", .path.display(), files::remedy(.source))]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("{} cannot be read ({source}): run this as the user that joined, or name another directory with --state", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is damaged ({why}): bring it back from a backup, or remove {} and join again", .file.display(), .file.parent().unwrap_or(.file).display())]
    Damaged { file: PathBuf, why: String },
    #[error("{} belongs to another key now: the gateway was joined anew, or left", .folder.display())]
    Replaced { folder: PathBuf },
}

const KEY: &str = "device.key";
const JOINING: &str = "joining.key";
const SITE: &str = "site.json";
const COUNTS: &str = "counts.json";
const ADDITIONS: &str = "additions.json";
const PREPARED: &str = "prepared.json";

impl StateDir {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where state is kept unless said otherwise: the system's place for root and for a service user that may write
    /// there, else the user's own.
    pub fn default_root(variable: impl Fn(&str) -> Option<String>) -> PathBuf {
        let system = Path::new("/var/lib/doorward/agent");
        if rustix::process::geteuid().is_root() || files::probe(system).is_ok() {
            return system.to_owned();
        }
        let named = |name| variable(name).filter(|path| path.starts_with('/')).map(PathBuf::from);
        let base = named("XDG_STATE_HOME").or_else(|| named("HOME").map(|home| home.join(".local/state")));
        base.map_or(system.to_owned(), |base| base.join("doorward/agent"))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The gateways that were joined, by name.
    pub fn gateways(&self) -> Result<Vec<Label>, StateError> {
        let unreadable = |source| StateError::Unreadable { path: self.root.clone(), source };
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_str().and_then(|name| Label::parse(name).ok());
            names.extend(name.filter(|_| entry.path().join(SITE).exists()));
        }
        names.sort();
        Ok(names)
    }

    /// `None`: not joined.
    pub fn membership(&self, gateway: &Label) -> Result<Option<Membership>, StateError> {
        let folder = self.folder(gateway);
        let Some(text) = files::read(&folder.join(SITE))? else { return Ok(None) };
        let damaged = |why: String| StateError::Damaged { file: folder.join(SITE), why };
        let site: KnownSite = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if site.addresses.is_empty() || site.keys.is_empty() {
            return Err(damaged("it names no address or no key".into()));
        }
        let missing = || StateError::Damaged { file: folder.join(KEY), why: "it is missing".into() };
        let key = read_key(&folder.join(KEY))?.ok_or_else(missing)?;
        Ok(Some(Membership { gateway: gateway.clone(), key: Arc::new(key), site }))
    }

    pub(crate) fn prepared(&self) -> Result<BTreeSet<Label>, StateError> {
        let file = self.root.join(PREPARED);
        let Some(text) = files::read(&file)? else { return Ok(BTreeSet::new()) };
        serde_json::from_slice(&text).map_err(|error| StateError::Unreadable { path: file, source: error.into() })
    }

    pub(crate) fn keep_prepared(&self, services: &BTreeSet<Label>) -> Result<(), StateError> {
        let path = self.root.join(PREPARED);
        let text = serde_json::to_vec(services).map_err(io::Error::other);
        text.and_then(|text| files::write(&path, &text)).map_err(|source| StateError::Unwritable { path, source })
    }

    /// What was wished for at this gateway's portal.
    pub(crate) fn additions(&self, gateway: &Label) -> Result<Vec<String>, StateError> {
        let file = self.folder(gateway).join(ADDITIONS);
        let Some(text) = files::read(&file)? else { return Ok(Vec::new()) };
        serde_json::from_slice(&text).map_err(|error| StateError::Unreadable { path: file, source: error.into() })
    }

    pub(crate) fn keep_additions(&self, gateway: &Label, wishes: &[String]) -> Result<(), StateError> {
        let path = self.folder(gateway).join(ADDITIONS);
        let text = serde_json::to_vec(wishes).map_err(io::Error::other);
        text.and_then(|text| files::write(&path, &text)).map_err(|source| StateError::Unwritable { path, source })
    }

    /// Whether the folder of this gateway can be written; makes it if need be.
    pub fn check_writable(&self, gateway: &Label) -> Result<(), StateError> {
        let folder = self.folder(gateway);
        files::make_private_folder(&folder)
            .and_then(|()| files::probe(&folder))
            .map_err(|source| StateError::Unwritable { path: folder, source })
    }

    /// The key to join with: the one of an attempt whose answer got lost, or a new one, on disk before it is used.
    /// The key of a membership that is being replaced stays until [`StateDir::joined`].
    pub(crate) fn joining_key(&self, gateway: &Label) -> Result<DeviceKey, StateError> {
        let folder = self.folder(gateway);
        let is_joined = folder.join(SITE).exists();
        if let Some(key) = read_key(&folder.join(JOINING))? {
            return Ok(key);
        }
        if !is_joined && let Some(key) = read_key(&folder.join(KEY))? {
            return Ok(key);
        }
        let file = folder.join(if is_joined { JOINING } else { KEY });
        let unwritable = |source| StateError::Unwritable { path: file.clone(), source };
        let (key, pkcs8) = DeviceKey::generate().map_err(|e| unwritable(io::Error::other(e)))?;
        files::write(&file, pkcs8.expose()).map_err(unwritable)?;
        Ok(key)
    }

    /// The gateway took the joining key. Interrupted anywhere, another attempt to join finds that same key.
    pub(crate) fn joined(&self, gateway: &Label, site: &KnownSite) -> Result<(), StateError> {
        let folder = self.folder(gateway);
        let unwritable = |source| StateError::Unwritable { path: folder.clone(), source };
        if folder.join(JOINING).exists() {
            files::remove(&folder.join(SITE)).map_err(unwritable)?;
            // The next gateway's portal has its own wishes.
            files::remove(&folder.join(ADDITIONS)).map_err(unwritable)?;
            files::rename(&folder.join(JOINING), &folder.join(KEY)).map_err(unwritable)?;
        }
        self.store_site(gateway, site)
    }

    /// What a running agent learns, unless the gateway was joined anew or left behind its back.
    pub(crate) fn update_site(&self, gateway: &Label, key: [u8; 32], site: &KnownSite) -> Result<(), StateError> {
        let folder = self.folder(gateway);
        let is_ours = read_key(&folder.join(KEY))?.is_some_and(|stored| stored.public() == key);
        if !is_ours || !folder.join(SITE).exists() {
            return Err(StateError::Replaced { folder });
        }
        self.store_site(gateway, site)
    }

    /// Bytes by service, as they were stored last.
    pub(crate) fn counts(&self, gateway: &Label) -> Result<BTreeMap<Label, u64>, StateError> {
        let file = self.folder(gateway).join(COUNTS);
        let Some(text) = files::read(&file)? else { return Ok(BTreeMap::new()) };
        serde_json::from_slice(&text).map_err(|error| StateError::Damaged { file, why: error.to_string() })
    }

    pub(crate) fn store_counts(&self, gateway: &Label, counts: &BTreeMap<Label, u64>) -> Result<(), StateError> {
        let file = self.folder(gateway).join(COUNTS);
        let unwritable = |source| StateError::Unwritable { path: file.clone(), source };
        let text = serde_json::to_vec_pretty(counts).map_err(|e| unwritable(e.into()))?;
        files::write(&file, &text).map_err(unwritable)
    }

    fn store_site(&self, gateway: &Label, site: &KnownSite) -> Result<(), StateError> {
        let file = self.folder(gateway).join(SITE);
        let unwritable = |source| StateError::Unwritable { path: file.clone(), source };
        let text = serde_json::to_vec_pretty(site).map_err(|e| unwritable(e.into()))?;
        files::write(&file, &text).map_err(unwritable)
    }

    fn folder(&self, gateway: &Label) -> PathBuf {
        self.root.join(gateway.as_str())
    }
}

fn read_key(file: &Path) -> Result<Option<DeviceKey>, StateError> {
    let Some(pkcs8) = files::read(file)? else { return Ok(None) };
    let damaged = |why: String| StateError::Damaged { file: file.to_owned(), why };
    DeviceKey::from_pkcs8(&Secret::new(pkcs8)).map(Some).map_err(|e| damaged(e.to_string()))
}

#[cfg(test)]
mod tests;
