//! What the device's owner wrote: which services there are, what each connects to, and who may use it.
//!
//! ```toml
//! metered = false
//! proxy = "http://user:password@proxy.example.org:3128"
//!
//! [[gateway]]                              # optional: every joined gateway sees every service unless said otherwise
//! name = "home"                            # as in `doorward join --gateway home`
//! services = ["octoprint"]
//!
//! [[service]]
//! name = "octoprint"
//! title = "Küche"
//! target = "http://127.0.0.1:5000"
//! main = true
//! virtual-port = 80
//! entrances = [{ tcp-port = 0 }, { host = "printer.example.org" }]
//!
//! [service.access]
//! who = "public"
//! ```

mod file;
mod place;

use crate::proxy::ProxyRule;
use crate::target::Target;
use doorward_core::names::Label;
use doorward_core::service::Offer;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The link is paid by the megabyte: fewer signs of life.
    pub metered: bool,
    pub proxy: Option<ProxyRule>,
    pub gateways: Vec<GatewaySettings>,
    pub services: Vec<Service>,
}

/// What one gateway may see.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    pub name: Label,
    /// `None`: every service. An empty list: none.
    pub services: Option<BTreeSet<Label>>,
}

/// A service with both its faces: what the gateway is told, and what only the agent knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub offer: Offer,
    pub target: Target,
}

#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("there is no {}: write one, or name another with --config", .file.display())]
    Missing { file: PathBuf },
    #[error("{} cannot be read: {source}", .file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{}:{line}:{column}: {}{message}", .file.display(), key.as_ref().map(|k| format!("{k}: ")).unwrap_or_default())]
    Wrong { file: PathBuf, line: usize, column: usize, key: Option<String>, message: String },
}

/// The name of a gateway that was joined without `--gateway`.
pub const DEFAULT_GATEWAY: &str = "main";

impl Settings {
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(file).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SettingsError::Missing { file: file.to_owned() },
            _ => SettingsError::Unreadable { file: file.to_owned(), source },
        })?;
        Self::parse(&text, file)
    }

    /// `file` is for the errors.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsError> {
        file::parse(text).map_err(|fault| {
            let (line, column) = place::line_and_column(text, fault.at.start);
            let key = place::key(text, &fault.at);
            SettingsError::Wrong { file: file.to_owned(), line, column, key, message: fault.message }
        })
    }

    /// The services that this gateway may see.
    pub fn services_for(&self, gateway: &Label) -> impl Iterator<Item = &Service> {
        let allowed = self.gateways.iter().find(|g| g.name == *gateway).and_then(|g| g.services.as_ref());
        self.services.iter().filter(move |s| allowed.is_none_or(|allowed| allowed.contains(&s.offer.name)))
    }

    /// What a visit from this gateway to this service connects to.
    pub fn target(&self, gateway: &Label, service: &Label) -> Option<&Target> {
        self.services_for(gateway).find(|s| s.offer.name == *service).map(|s| &s.target)
    }
}

#[cfg(test)]
mod tests;
