//! What agents say to wishes, what scans found, and the bells that ring when there is something to tell an agent.

use crate::presence::LinkId;
use doorward_core::DeviceId;
use doorward_core::addition::Addition;
use doorward_core::names::Label;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// All that an agent shall know: level, not edge, so that a lost word costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub services: Vec<Addition>,
    /// The scan that is wished for and was not answered yet; 0: none.
    pub scan: u64,
}

/// What an agent says of its own settings, and of what was wished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// As in its agent.toml.
    pub may_offer: Vec<String>,
    pub may_scan: bool,
    /// Of the wished services those that it does not offer.
    pub refusals: BTreeMap<Label, Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    /// What `may-offer` would have to list, if that is what stands in the way.
    pub needs: Option<String>,
}

/// The last look around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    pub asked_at: Timestamp,
    pub state: ScanState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanState {
    Running,
    Over(Vec<Finding>),
    Failed(String),
}

/// Something that a device could offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// As `OctoPrint`.
    pub kind: String,
    pub target: String,
    pub preset: Option<String>,
    /// What its service might be called.
    pub name: Label,
}

#[derive(Debug, Default)]
pub(crate) struct Desk(Mutex<HashMap<DeviceId, Place>>);

#[derive(Debug, Default)]
struct Place {
    told: Option<(LinkId, Told)>,
    scans: u64,
    scan: Option<Scan>,
    bell: watch::Sender<u64>,
}

impl Desk {
    pub(crate) fn watch(&self, device: DeviceId) -> watch::Receiver<u64> {
        self.places().entry(device).or_default().bell.subscribe()
    }

    pub(crate) fn ring(&self, device: DeviceId) {
        if let Some(place) = self.places().get(&device) {
            place.bell.send_modify(|rung| *rung += 1);
        }
    }

    pub(crate) fn ask_for_scan(&self, device: DeviceId, now: Timestamp) {
        let mut places = self.places();
        let place = places.entry(device).or_default();
        place.scans += 1;
        place.scan = Some(Scan { asked_at: now, state: ScanState::Running });
        place.bell.send_modify(|rung| *rung += 1);
    }

    pub(crate) fn scan_wished(&self, device: DeviceId) -> u64 {
        let places = self.places();
        let running = |place: &&Place| place.scan.as_ref().is_some_and(|scan| scan.state == ScanState::Running);
        places.get(&device).filter(running).map_or(0, |place| place.scans)
    }

    /// What is said of an older scan is late.
    pub(crate) fn hear_of_scan(&self, device: DeviceId, number: u64, state: ScanState) {
        if let Some(place) = self.places().get_mut(&device)
            && place.scans == number
            && let Some(scan) = &mut place.scan
        {
            scan.state = state;
        }
    }

    pub(crate) fn scan(&self, device: DeviceId) -> Option<Scan> {
        self.places().get(&device)?.scan.clone()
    }

    /// An old link says nothing over a newer one's head.
    pub(crate) fn hear(&self, device: DeviceId, link: LinkId, told: Told) {
        let mut places = self.places();
        let place = places.entry(device).or_default();
        if place.told.as_ref().is_none_or(|(newest, _)| *newest <= link) {
            place.told = Some((link, told));
        }
    }

    pub(crate) fn forget(&self, device: DeviceId, link: LinkId) {
        if let Some(place) = self.places().get_mut(&device)
            && place.told.as_ref().is_some_and(|(of, _)| *of == link)
        {
            place.told = None;
        }
    }

    pub(crate) fn told(&self, device: DeviceId) -> Option<Told> {
        self.places().get(&device)?.told.as_ref().map(|(_, told)| told.clone())
    }

    fn places(&self) -> MutexGuard<'_, HashMap<DeviceId, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_link_and_the_last_scan_count() {
        let (desk, device) = (Desk::default(), DeviceId(1));
        let told = |may_scan| Told { may_scan, ..Told::default() };
        desk.hear(device, LinkId(2), told(true));
        desk.hear(device, LinkId(1), told(false));
        assert_eq!(desk.told(device), Some(told(true)));
        desk.forget(device, LinkId(1));
        assert!(desk.told(device).is_some());
        desk.forget(device, LinkId(2));
        assert_eq!(desk.told(device), None);

        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        let mut bell = desk.watch(device);
        bell.mark_unchanged();
        desk.ask_for_scan(device, now);
        assert!(bell.has_changed().unwrap());
        desk.ask_for_scan(device, now);
        assert_eq!(desk.scan_wished(device), 2);
        desk.hear_of_scan(device, 1, ScanState::Over(Vec::new()));
        assert_eq!(desk.scan(device).unwrap().state, ScanState::Running);
        desk.hear_of_scan(device, 2, ScanState::Failed("no".into()));
        assert_eq!(desk.scan(device).unwrap().state, ScanState::Failed("no".into()));
        assert_eq!(desk.scan_wished(device), 0, "what was answered is asked no more");
    }
}
