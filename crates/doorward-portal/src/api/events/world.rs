//! What somebody who looks on was told of the world last: who is online, and how their devices fare.

use crate::PortalState;
use crate::asker::Asker;
use crate::figures::Figures;
use doorward_control::{DevicePresence, Snapshot};
use doorward_core::DeviceId;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct World {
    online: HashSet<DeviceId>,
    /// Of all, whosever they are: services that somebody may use are on others' devices.
    all_online: HashSet<DeviceId>,
    figures: HashMap<DeviceId, (DevicePresence, Figures)>,
    figures_told: Instant,
}

#[derive(Serialize)]
pub(super) struct Presence {
    online: BTreeSet<String>,
    offline: BTreeSet<String>,
    /// Those that can be reached now, or not any more.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    services: BTreeSet<String>,
}

/// Figures change all the time, and are no news.
const FIGURES_EVERY: Duration = Duration::from_secs(5);

impl World {
    pub(super) fn seen(state: &PortalState, asker: &Asker) -> Self {
        let online = online_of(state, asker);
        let figures = figures(state, &online);
        Self { online, all_online: all_online(state), figures, figures_told: Instant::now() }
    }

    /// `before`: as it was, for the names of what went for good.
    pub(super) fn came_and_went(&mut self, state: &PortalState, asker: &Asker, before: &Snapshot) -> Option<Presence> {
        let now = online_of(state, asker);
        let name = |id: &DeviceId| before.device(*id).map(|device| device.name.to_string());
        let online: BTreeSet<_> = now.difference(&self.online).filter_map(name).collect();
        let offline: BTreeSet<_> = self.online.difference(&now).filter_map(name).collect();
        self.online = now;
        let services = self.services_of_those(state, asker);
        let is_news = !online.is_empty() || !offline.is_empty() || !services.is_empty();
        is_news.then_some(Presence { online, offline, services })
    }

    /// Theirs to use, of all devices that came or went.
    fn services_of_those(&mut self, state: &PortalState, asker: &Asker) -> BTreeSet<String> {
        let after = all_online(state);
        let moved: Vec<_> = after.symmetric_difference(&self.all_online).copied().collect();
        self.all_online = after;
        let (snapshot, now) = (state.control.snapshot(), (state.clock)());
        let services = moved.into_iter().flat_map(|device| snapshot.services_of(device));
        let theirs = services.filter(|record| asker.gets_at_service(&snapshot, record, now));
        theirs.map(|record| record.service.path()).collect()
    }

    /// Devices of theirs of which other figures are known than were told last.
    pub(super) fn fared_otherwise(&mut self, state: &PortalState, before: &Snapshot) -> Option<BTreeSet<String>> {
        if self.figures_told.elapsed() < FIGURES_EVERY {
            return None;
        }
        let now = figures(state, &self.online);
        let differing = now.iter().filter(|(id, fares)| self.figures.get(id) != Some(fares));
        let name = |id: &DeviceId| before.device(*id).map(|device| device.name.to_string());
        let names: BTreeSet<_> = differing.filter_map(|(id, _)| name(id)).collect();
        self.figures = now;
        if names.is_empty() {
            return None;
        }
        self.figures_told = Instant::now();
        Some(names)
    }
}

fn online_of(state: &PortalState, asker: &Asker) -> HashSet<DeviceId> {
    let (presence, snapshot) = (state.control.presence(), state.control.snapshot());
    let theirs = snapshot.devices().filter(|device| asker.gets_at_device(device));
    theirs.map(|device| device.id).filter(|id| presence.is_online(*id)).collect()
}

fn all_online(state: &PortalState) -> HashSet<DeviceId> {
    let (presence, snapshot) = (state.control.presence(), state.control.snapshot());
    snapshot.devices().map(|device| device.id).filter(|id| presence.is_online(*id)).collect()
}

fn figures(state: &PortalState, devices: &HashSet<DeviceId>) -> HashMap<DeviceId, (DevicePresence, Figures)> {
    let fares = |id: &DeviceId| (state.control.presence().device(*id), Figures::of_device(state, *id));
    devices.iter().map(|id| (*id, fares(id))).collect()
}
