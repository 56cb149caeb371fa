//! Services that were wished for at a gateway's portal. The device stays the boss: a wish is fulfilled if the device's own
//! settings say that its target may be offered from there, and as long as they say so. What was wished is kept over
//! restarts, so that nothing is withdrawn only because this program starts anew.

use crate::settings::{Service, Settings};
use crate::state::StateDir;
use crate::target::{Camera, Place, Target, WebCamera};
use doorward_core::addition::{Addition, MAX_ADDITIONS};
use doorward_core::names::Label;
use doorward_core::site::Host;
use doorward_tunnel::messages::{AdditionRefusal, AdditionsReport};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

/// What gateways wish, as they said it.
pub(crate) struct Additions {
    state: StateDir,
    wished: watch::Sender<Wishes>,
}

/// By gateway, each the JSON of an [`Addition`].
type Wishes = BTreeMap<Label, Vec<String>>;

/// Why a wish is not fulfilled, for whoever wished.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
enum Refusal {
    #[error("this device's agent.toml does not let the portal offer {0}")]
    Outside(SocketAddr),
    #[error(
        "only addresses can be offered from the portal, as http://192.168.1.5:80: what a name means can be changed elsewhere"
    )]
    NoAddress,
    #[error("this device has a service of that name in its own settings")]
    NameTaken,
    #[error("this device's agent.toml says which services this gateway sees, and it is not among them")]
    NotForGateway,
    #[error("{0}")]
    Unreadable(String),
}

/// Of one wish; an honest gateway's are much shorter.
const MAX_LENGTH: usize = 2048;

impl Additions {
    /// What was kept. Where that cannot be read, the gateways say it again.
    pub(crate) fn load(state: &StateDir) -> Self {
        let gateways = state.gateways().unwrap_or_default();
        let kept = gateways.into_iter().filter_map(|gateway| match state.additions(&gateway) {
            Ok(wishes) => Some((gateway, wishes)),
            Err(error) => {
                warn!(%gateway, "what was wished for at its portal waits until it says so again: {error}");
                None
            }
        });
        Self { state: state.clone(), wished: watch::Sender::new(kept.collect()) }
    }

    /// The whole of what this gateway wishes from now on.
    pub(crate) async fn hear(&self, gateway: &Label, services: Vec<String>) {
        let wishes: Vec<_> = services.into_iter().filter(|wish| wish.len() <= MAX_LENGTH).take(MAX_ADDITIONS).collect();
        let is_news = self.wished.send_if_modified(|wished| {
            let known = wished.entry(gateway.clone()).or_default();
            let is_news = *known != wishes;
            known.clone_from(&wishes);
            is_news
        });
        if !is_news {
            return;
        }
        info!(%gateway, count = wishes.len(), "services were wished for at the portal");
        let (state, gateway) = (self.state.clone(), gateway.clone());
        let kept = tokio::task::spawn_blocking(move || state.keep_additions(&gateway, &wishes)).await;
        if let Ok(Err(error)) = kept {
            warn!("what was wished for is not kept over a restart: {error}");
        }
    }

    /// The gateway was left.
    pub(crate) fn forget(&self, gateway: &Label) {
        self.wished.send_if_modified(|wished| wished.remove(gateway).is_some());
    }

    /// The settings together with what is fulfilled of the wishes, as either changes for as long as the future is polled.
    pub(crate) fn join(
        &self,
        mut settings: watch::Receiver<Arc<Settings>>,
    ) -> (watch::Receiver<Arc<Settings>>, impl Future<Output = ()> + Send + 'static) {
        let mut wished = self.wished.subscribe();
        let first = joined(&settings.borrow_and_update(), &wished.borrow_and_update());
        let whole = watch::Sender::new(Arc::new(first));
        let receiver = whole.subscribe();
        let following = async move {
            loop {
                tokio::select! {
                    changed = settings.changed() => if changed.is_err() { return std::future::pending().await },
                    Ok(()) = wished.changed() => {}
                }
                let next = joined(&settings.borrow_and_update(), &wished.borrow_and_update());
                whole.send_replace(Arc::new(next));
            }
        };
        (receiver, following)
    }

    /// What this gateway is told: what may be wished for, and which wishes are not fulfilled.
    pub(crate) fn report(&self, gateway: &Label, settings: &Settings) -> AdditionsReport {
        let wished = self.wished.borrow();
        let wishes = wished.get(gateway).map(Vec::as_slice).unwrap_or_default();
        let refusals = wishes.iter().filter_map(|wish| refusal(wish, gateway, settings)).collect();
        AdditionsReport {
            may_offer: settings.portal.may_offer.iter().map(ToString::to_string).collect(),
            may_scan: settings.portal.may_scan,
            refusals,
        }
    }
}

fn refusal(wish: &str, gateway: &Label, settings: &Settings) -> Option<AdditionRefusal> {
    #[derive(Deserialize)]
    struct Named {
        name: Label,
    }
    let refusal = judge(wish, gateway, settings).err()?;
    // A newer gateway's wish may say more than is understood here; a name it has.
    let Named { name } = serde_json::from_str(wish).ok()?;
    let needs = match &refusal {
        Refusal::Outside(address) => Some(address.to_string()),
        Refusal::NoAddress | Refusal::NameTaken | Refusal::NotForGateway | Refusal::Unreadable(_) => None,
    };
    Some(AdditionRefusal { service: name.to_string(), why: refusal.to_string(), needs })
}

fn joined(settings: &Settings, wished: &Wishes) -> Settings {
    let mut whole = settings.clone();
    whole.added =
        wished.iter().map(|(gateway, wishes)| (gateway.clone(), fulfilled(wishes, gateway, settings))).collect();
    whole
}

fn fulfilled(wishes: &[String], gateway: &Label, settings: &Settings) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for mut service in wishes.iter().filter_map(|wish| judge(wish, gateway, settings).ok()) {
        let mut others = settings.services.iter().chain(&services);
        if others.clone().any(|other| other.offer.name == service.offer.name) {
            continue;
        }
        if others.any(|other| other.offer.virtual_port == service.offer.virtual_port) {
            service.offer.virtual_port = None;
        }
        services.push(service);
    }
    services
}

/// The one place where it is decided whether a wish may be.
fn judge(wish: &str, gateway: &Label, settings: &Settings) -> Result<Service, Refusal> {
    let unreadable = |why: String| Refusal::Unreadable(why);
    let wish: Addition = serde_json::from_str(wish).map_err(|error| unreadable(error.to_string()))?;
    wish.check().map_err(|error| unreadable(error.to_string()))?;
    if settings.services.iter().any(|service| service.offer.name == wish.name) {
        return Err(Refusal::NameTaken);
    }
    if !settings.shows(gateway, &wish.name) {
        return Err(Refusal::NotForGateway);
    }
    // Read as if it stood in the device's own file, which has the only syntax there is.
    let read =
        Settings::parse(&wish.table(), Path::new("the portal")).map_err(|error| unreadable(error.to_string()))?;
    let [service] = <[Service; 1]>::try_from(read.services).map_err(|_| unreadable("it is no service".into()))?;
    let (ip, port) = address(&service.target).ok_or(Refusal::NoAddress)?;
    if !settings.portal.may_offer.iter().any(|range| range.covers(ip, port)) {
        return Err(Refusal::Outside(SocketAddr::new(ip.to_canonical(), port)));
    }
    Ok(service)
}

fn address(target: &Target) -> Option<(IpAddr, u16)> {
    let (host, port) = match target {
        Target::Http(Place::Network { host, port })
        | Target::H2c(Place::Network { host, port })
        | Target::Tcp(Place::Network { host, port })
        | Target::Udp { host, port }
        | Target::Https { host, port, .. }
        | Target::H2 { host, port, .. } => (host, port),
        Target::Camera(Camera::Web(WebCamera { host, port, .. })) => (host, port),
        Target::Http(Place::Socket(_))
        | Target::H2c(Place::Socket(_))
        | Target::Tcp(Place::Socket(_))
        | Target::Camera(Camera::Device(_) | Camera::NetGear { .. }) => return None,
    };
    match host {
        Host::Ip(ip) => Some((*ip, *port)),
        Host::Name(_) => None,
    }
}

#[cfg(test)]
mod tests;
