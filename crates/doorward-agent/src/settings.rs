//! What the device's owner wrote: which services there are, what each connects to, and who may use it.
//!
//! ```toml
//! metered = false
//! reserve = 5
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
//! preset = "octoprint"
//! mounts = { "/webcam/" = "http://127.0.0.1:8080/" }
//! main = true
//! virtual-port = 80
//! entrances = [{ tcp-port = 0 }, { host = "printer.example.org" }]
//!
//! [service.access]
//! who = "public"
//!
//! [portal]                                 # optional: what somebody at a gateway's portal may have this device do
//! may-offer = ["127.0.0.1:*", "192.168.1.0/24:80"]
//! may-scan = true
//!
//! [port-mapping]                                # optional: services for whose sessions the home's router is asked for a port
//! allow = ["nas"]
//! ```

mod access;
mod cameras;
mod entrances;
mod file;
mod pages;
mod place;
mod port_mapping;
mod portal;
mod prepare;
mod web;

pub use cameras::CameraRhythm;
pub use pages::PageFiles;
pub use port_mapping::PortMappingSettings;
pub use portal::{PortalSettings, TargetRange};
pub(crate) use web::offer as web_offer;

use crate::prepare::Plan;
use crate::proxy::ProxyRule;
use crate::target::{Camera, Target};
use doorward_core::access::USUAL_RESERVE;
use doorward_core::names::{Label, PathPrefix};
use doorward_core::service::{MAX_SERVICES, Offer};
use doorward_core::web::PageError;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The link is paid by the megabyte: fewer signs of life.
    pub metered: bool,
    /// Of a hundred: what is kept of each budget for those who come by SSH. `None`: the usual.
    pub reserve: Option<u8>,
    pub proxy: Option<ProxyRule>,
    pub gateways: Vec<GatewaySettings>,
    pub services: Vec<Service>,
    pub portal: PortalSettings,
    pub camera_rhythm: CameraRhythm,
    /// The socket of the router's daemon (`doorward router`), which then opens all pinholes.
    pub router: Option<PathBuf>,
    /// What is asked of another router.
    pub port_mapping: PortMappingSettings,
    /// What each gateway's portal wished for and may have: put there by the agent, never read from a file.
    pub added: BTreeMap<Label, Vec<Service>>,
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
    /// Further targets, at paths of the service.
    pub mounts: Vec<(PathPrefix, Target)>,
    /// Where the pages of the offer come from.
    pub page_files: PageFiles,
    /// How it is made ready, if it is not there by itself.
    pub plan: Option<Plan>,
    /// Where its pinholes lead in the home's network. `None`: port mappings lead to its target.
    pub pinhole_to: Option<SocketAddr>,
    /// File and line of its policy, as its owner is told. `None`: it was not read from a file.
    pub written_at: Option<String>,
}

#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("there is no {}: write one, or name another with --config", .file.display())]
    Missing { file: PathBuf },
    #[error("{} cannot be read: {source}", .file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{}: {source}", .file.display())]
    Page { file: PathBuf, source: PageError },
    #[error("{}: {source}", .file.display())]
    TooMuch { file: PathBuf, source: TooMuch },
    #[error("{}:{line}:{column}: {}{message}", .file.display(), key.as_ref().map(|k| format!("{k}: ")).unwrap_or_default())]
    Wrong { file: PathBuf, line: usize, column: usize, key: Option<String>, message: String },
}

/// All offers together travel in one control message (`doorward_tunnel::wire::CONTROL_LIMIT`), with room to spare.
const MAX_OFFERS: usize = 400 * 1024;

/// More than one gateway takes from one device: this service, the first that is too much, must go or become shorter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TooMuch {
    #[error(
        "{service} is one service too many: a gateway takes {MAX_SERVICES} from one device; have another agent offer some"
    )]
    Services { service: Label },
    #[error(
        "with {service} the services, their policies and pages make more than the {} KiB that a gateway takes from one \
         device; shorten their lists, or have another agent offer some",
        MAX_OFFERS / 1024
    )]
    Bytes { service: Label },
}

/// Characters of where a policy is written.
const MAX_PLACE: usize = 200;

/// Whether one gateway takes all of these.
pub(crate) fn check_size<'s>(services: impl Iterator<Item = &'s Service>) -> Result<(), TooMuch> {
    let mut length = 0;
    for (index, Service { offer, .. }) in services.enumerate() {
        if index == MAX_SERVICES {
            return Err(TooMuch::Services { service: offer.name.clone() });
        }
        length += serde_json::to_string(offer).map_or(0, |text| text.len());
        if length > MAX_OFFERS {
            return Err(TooMuch::Bytes { service: offer.name.clone() });
        }
    }
    Ok(())
}

/// The name of a gateway that was joined without `--gateway`.
pub const DEFAULT_GATEWAY: &str = "main";

impl Settings {
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(file).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SettingsError::Missing { file: file.to_owned() },
            _ => SettingsError::Unreadable { file: file.to_owned(), source },
        })?;
        let mut settings = Self::parse(&text, file)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        for service in &mut settings.services {
            service.read_pages(folder)?;
        }
        // The pages count, too.
        settings.check_size().map_err(|source| SettingsError::TooMuch { file: file.to_owned(), source })?;
        Ok(settings)
    }

    /// The files that were read beside `file`: when one changes, it is as if `file` had.
    pub fn files_beside(&self, file: &Path) -> Vec<PathBuf> {
        let folder = file.parent().unwrap_or(Path::new(""));
        self.services.iter().flat_map(|service| service.page_files.paths(folder)).collect()
    }

    /// The text alone; pages are not read. `file` is for the errors.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsError> {
        let place = |at: usize| written_at(file, place::line_and_column(text, at).0);
        file::parse(text, &place).map_err(|fault| {
            let (line, column) = place::line_and_column(text, fault.at.start);
            let key = place::key(text, &fault.at);
            SettingsError::Wrong { file: file.to_owned(), line, column, key, message: fault.message }
        })
    }

    pub fn reserve(&self) -> u8 {
        self.reserve.unwrap_or(USUAL_RESERVE)
    }

    /// Whether a gateway takes all of it.
    pub fn check_size(&self) -> Result<(), TooMuch> {
        check_size(self.services.iter())
    }

    /// The services that this gateway may see.
    pub fn services_for(&self, gateway: &Label) -> impl Iterator<Item = &Service> {
        let own = self.services.iter().filter(move |service| self.shows(gateway, &service.offer.name));
        own.chain(self.added.get(gateway).into_iter().flatten())
    }

    /// Whatever a gateway may have read.
    pub(crate) fn cameras(&self) -> impl Iterator<Item = &Camera> {
        let services = self.services.iter().chain(self.added.values().flatten());
        let targets =
            services.flat_map(|s| std::iter::once(&s.target).chain(s.mounts.iter().map(|(_, target)| target)));
        targets.filter_map(Target::camera)
    }

    /// Whether a service of this name is for this gateway at all.
    pub(crate) fn shows(&self, gateway: &Label, service: &Label) -> bool {
        let allowed = self.gateways.iter().find(|g| g.name == *gateway).and_then(|g| g.services.as_ref());
        allowed.is_none_or(|allowed| allowed.contains(service))
    }

    /// What a visit from this gateway to this service, or to a mount of it, connects to.
    pub fn target(&self, gateway: &Label, service: &Label, mount: Option<&PathPrefix>) -> Option<&Target> {
        let service = self.services_for(gateway).find(|s| s.offer.name == *service)?;
        match mount {
            None => Some(&service.target),
            Some(path) => service.mounts.iter().find(|(mounted, _)| mounted == path).map(|(_, target)| target),
        }
    }
}

/// The end of a long path says more than its beginning.
fn written_at(file: &Path, line: usize) -> String {
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let place = format!("{}:{line}", whole.display());
    let surplus = place.chars().count().saturating_sub(MAX_PLACE);
    place.chars().skip(surplus).collect()
}

#[cfg(test)]
mod tests;
