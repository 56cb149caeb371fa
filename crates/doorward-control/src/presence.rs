//! What gateways report of the world: who is online and by which link, which ports could be bound, which service
//! failed. In memory only and never part of a decision. Links are compared by id, so that an old link's end never
//! takes its successor offline.

use crate::snapshot::Protocol;
use doorward_core::hop::HopFailure;
use doorward_core::names::PathPrefix;
use doorward_core::prepare::Phase;
use doorward_core::site::{Carrier, Fingerprint};
use doorward_core::{AccountId, DeviceId, ServiceId, SessionId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// One way to reach a device. Unique in this process and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A link came to stand.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub device: DeviceId,
    pub link: LinkId,
    pub carrier: Carrier,
    pub source: IpAddr,
    pub agent_version: String,
}

/// What a link is doing now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkReport {
    pub rtt: Option<Duration>,
    pub streams: u32,
    /// From visitors to the device, since the link stands.
    pub bytes_in: u64,
    pub bytes_out: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePresence {
    pub link: LinkState,
    /// Of the link that stands, or the last one.
    pub agent_version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    Online {
        since: Timestamp,
        id: LinkId,
        carrier: Carrier,
        source: IpAddr,
        report: LinkReport,
    },
    /// `None`: never seen.
    Offline {
        since: Option<Timestamp>,
    },
}

/// What became of a port that the gateway was to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    Bound,
    Failed { why: String },
}

/// Whether a port can be reached from outside, as somebody there saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reachability {
    Reachable,
    Unreachable { detail: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFailure {
    pub failure: HopFailure,
    /// The first failure since the service last worked.
    pub since: Timestamp,
}

/// How far a service is that must be made ready for its visitors, as its device tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preparation {
    pub phase: Phase,
    /// The step that runs, or failed; from 1.
    pub step: u16,
    pub steps: u16,
    /// What that step is, for people.
    pub what: String,
    pub since: Timestamp,
    /// Why the step failed, for the owner.
    pub error: Option<String>,
    pub retry_at: Option<Timestamp>,
}

/// A session's way through the router of its device's home, as the device tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StraightWay {
    pub standing: PinholeStanding,
    /// `None`: that of the device's home.
    pub host: Option<IpAddr>,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinholeStanding {
    /// Nobody has come yet.
    Ready,
    Passed,
    Closed {
        why: String,
    },
}

/// Who is at a service now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visits {
    /// Connections, requests under way, flows.
    pub count: u32,
    /// Of those who said who they are.
    pub people: BTreeSet<AccountId>,
}

/// A camera: a service, or what is mounted at a path of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CameraPlace {
    pub service: ServiceId,
    pub mount: Option<PathPrefix>,
}

/// How a camera does that somebody looks at, over the last second.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraSeen {
    pub viewers: u32,
    /// As they come from the device.
    pub frames_per_second: f64,
    pub bytes_per_second: u64,
    /// Of the newest frame.
    pub age: Option<Duration>,
    /// Width and height.
    pub size: Option<(u16, u16)>,
    pub is_live: bool,
    /// What whoever reads the camera says of it.
    pub words: String,
    /// What it does wrong, and how often.
    pub faults: String,
}

#[derive(Debug, Default)]
pub struct Presence {
    world: Mutex<World>,
    bell: Bell,
}

#[derive(Debug, Default)]
struct World {
    devices: HashMap<DeviceId, DevicePresence>,
    /// Last-seen times that the store does not have yet.
    departed: BTreeSet<DeviceId>,
    ports: BTreeMap<(Protocol, u16), PortState>,
    reachability: BTreeMap<(Protocol, u16), Reachability>,
    failures: HashMap<ServiceId, ServiceFailure>,
    preparations: HashMap<ServiceId, Preparation>,
    /// Where on its device a service's policy is written.
    written: HashMap<ServiceId, String>,
    visits: HashMap<ServiceId, Visits>,
    cameras: HashMap<CameraPlace, CameraSeen>,
    straight: HashMap<DeviceId, HashMap<SessionId, StraightWay>>,
    /// The successor of the site key that a device said it has on its disk.
    successors: HashMap<DeviceId, Fingerprint>,
}

#[derive(Debug)]
struct Bell {
    version: watch::Sender<u64>,
    departure: Notify,
}

impl Default for Bell {
    fn default() -> Self {
        Self { version: watch::Sender::new(0), departure: Notify::new() }
    }
}

const NEVER_SEEN: DevicePresence = DevicePresence { link: LinkState::Offline { since: None }, agent_version: None };

impl Presence {
    /// The newest link counts, whatever stood before it.
    pub fn arrived(&self, arrival: Arrival, now: Timestamp) {
        let Arrival { device, link, carrier, source, agent_version } = arrival;
        self.update(|world| {
            let link = LinkState::Online { since: now, id: link, carrier, source, report: LinkReport::default() };
            world.devices.insert(device, DevicePresence { link, agent_version: Some(agent_version) });
        });
    }

    /// The same link from another address: it stands since when it stood.
    pub fn comes_from(&self, device: DeviceId, link: LinkId, from: IpAddr) {
        self.update(|world| {
            let Some(presence) = world.devices.get_mut(&device) else { return };
            match &mut presence.link {
                LinkState::Online { id, source, .. } if *id == link => *source = from,
                LinkState::Online { .. } | LinkState::Offline { .. } => {}
            }
        });
    }

    /// Says whether the device went offline by it: not if another link stands meanwhile.
    pub fn left(&self, device: DeviceId, link: LinkId, now: Timestamp) -> bool {
        let went = self.update(|world| {
            let Some(presence) = world.devices.get_mut(&device) else { return false };
            match &presence.link {
                LinkState::Online { id, .. } if *id == link => {
                    presence.link = LinkState::Offline { since: Some(now) };
                    world.departed.insert(device);
                    true
                }
                LinkState::Online { .. } | LinkState::Offline { .. } => false,
            }
        });
        if went {
            self.bell.departure.notify_one();
        }
        went
    }

    /// A report of a link that does not stand any more is dropped.
    pub fn report(&self, device: DeviceId, link: LinkId, newest: LinkReport) {
        self.update(|world| {
            if let Some(DevicePresence { link: LinkState::Online { id, report, .. }, .. }) =
                world.devices.get_mut(&device)
                && *id == link
            {
                *report = newest;
            }
        });
    }

    pub fn device(&self, device: DeviceId) -> DevicePresence {
        self.world().devices.get(&device).cloned().unwrap_or(NEVER_SEEN)
    }

    pub fn is_online(&self, device: DeviceId) -> bool {
        matches!(self.world().devices.get(&device), Some(DevicePresence { link: LinkState::Online { .. }, .. }))
    }

    /// How many devices are there now.
    pub fn online(&self) -> usize {
        let is_online = |device: &&DevicePresence| matches!(device.link, LinkState::Online { .. });
        self.world().devices.values().filter(is_online).count()
    }

    pub fn port_state(&self, protocol: Protocol, port: u16, state: PortState) {
        self.update(|world| world.ports.insert((protocol, port), state));
    }

    /// The gateway does not listen on it any more.
    pub fn port_closed(&self, protocol: Protocol, port: u16) {
        self.update(|world| {
            world.ports.remove(&(protocol, port));
            world.reachability.remove(&(protocol, port));
        });
    }

    pub fn port_seen(&self, protocol: Protocol, port: u16, reachability: Reachability) {
        self.update(|world| world.reachability.insert((protocol, port), reachability));
    }

    /// What somebody outside saw of it counts no more.
    pub fn port_unseen(&self, protocol: Protocol, port: u16) {
        self.update(|world| world.reachability.remove(&(protocol, port)));
    }

    pub fn ports(&self) -> BTreeMap<(Protocol, u16), PortState> {
        self.world().ports.clone()
    }

    pub fn reachability(&self) -> BTreeMap<(Protocol, u16), Reachability> {
        self.world().reachability.clone()
    }

    pub(crate) fn is_port_failed(&self, protocol: Protocol, port: u16) -> bool {
        matches!(self.world().ports.get(&(protocol, port)), Some(PortState::Failed { .. }))
    }

    pub fn service_failed(&self, service: ServiceId, failure: HopFailure, now: Timestamp) {
        self.update(|world| {
            let known = world.failures.entry(service).or_insert(ServiceFailure { failure, since: now });
            known.failure = failure;
        });
    }

    pub fn service_worked(&self, service: ServiceId) {
        if self.world().failures.contains_key(&service) {
            self.update(|world| world.failures.remove(&service));
        }
    }

    pub fn service_failure(&self, service: ServiceId) -> Option<ServiceFailure> {
        self.world().failures.get(&service).cloned()
    }

    /// `None`: its device did not say.
    pub fn service_written(&self, service: ServiceId, place: Option<String>) {
        if self.written_at(service) != place {
            self.update(|world| match place {
                Some(place) => world.written.insert(service, place),
                None => world.written.remove(&service),
            });
        }
    }

    /// File and line on the device, as it told.
    pub fn written_at(&self, service: ServiceId) -> Option<String> {
        self.world().written.get(&service).cloned()
    }

    pub fn prepares(&self, service: ServiceId, preparation: Preparation) {
        if self.preparation(service).as_ref() != Some(&preparation) {
            self.update(|world| world.preparations.insert(service, preparation));
        }
    }

    /// Nobody tells of it any more.
    pub fn prepares_no_more(&self, service: ServiceId) {
        if self.preparation(service).is_some() {
            self.update(|world| world.preparations.remove(&service));
        }
    }

    pub fn preparation(&self, service: ServiceId) -> Option<Preparation> {
        self.world().preparations.get(&service).cloned()
    }

    /// Who is where now. Whatever is not in it has no visitors.
    pub fn visited(&self, visits: HashMap<ServiceId, Visits>) {
        if self.world().visits != visits {
            self.update(|world| world.visits = visits);
        }
    }

    pub fn visits(&self, service: ServiceId) -> Visits {
        self.world().visits.get(&service).cloned().unwrap_or_default()
    }

    /// No bell rings: it changes each second, and pages that show it look at frames themselves.
    pub fn camera_seen(&self, place: CameraPlace, seen: CameraSeen) {
        self.world().cameras.insert(place, seen);
    }

    pub fn camera_unseen(&self, place: &CameraPlace) {
        self.world().cameras.remove(place);
    }

    /// `None`: nobody looks at it.
    pub fn camera(&self, place: &CameraPlace) -> Option<CameraSeen> {
        self.world().cameras.get(place).cloned()
    }

    /// All that a device tells of.
    pub fn straight_ways(&self, device: DeviceId, ways: HashMap<SessionId, StraightWay>) {
        let is_same = self.world().straight.get(&device).map_or(ways.is_empty(), |before| *before == ways);
        if !is_same {
            self.update(|world| match ways.is_empty() {
                true => world.straight.remove(&device),
                false => world.straight.insert(device, ways),
            });
        }
    }

    /// Its host is that of the device's link where the device names none.
    pub fn straight_way(&self, device: DeviceId, session: SessionId) -> Option<StraightWay> {
        let world = self.world();
        let way = world.straight.get(&device)?.get(&session)?.clone();
        let home = match &world.devices.get(&device)?.link {
            LinkState::Online { source, .. } => source.is_ipv4().then_some(*source),
            LinkState::Offline { .. } => None,
        };
        Some(StraightWay { host: way.host.or(home), ..way })
    }

    /// Devices say so again with every link, so that nothing need be kept over a restart.
    pub fn successor_stored(&self, device: DeviceId, successor: Fingerprint) {
        self.update(|world| world.successors.insert(device, successor));
    }

    pub(crate) fn has_successor(&self, device: DeviceId, successor: Fingerprint) -> bool {
        self.world().successors.get(&device) == Some(&successor)
    }

    /// Rings after every report; for pages. The number itself means nothing.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.bell.version.subscribe()
    }

    fn update<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.world());
        self.bell.version.send_modify(|version| *version += 1);
        result
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nothing panics while it holds this lock")
    }
}

/// For the store, which keeps when a device was last seen.
impl Presence {
    pub(crate) fn remember(&self, last_seen: Vec<(DeviceId, Timestamp)>) {
        let mut world = self.world();
        for (device, at) in last_seen {
            let link = LinkState::Offline { since: Some(at) };
            world.devices.insert(device, DevicePresence { link, agent_version: None });
        }
    }

    /// Everybody online, as seen now, and whose departure is not stored yet.
    pub(crate) fn seen(&self, now: Timestamp) -> Vec<(DeviceId, Timestamp)> {
        let world = self.world();
        let seen = world.devices.iter().filter_map(|(id, presence)| match presence.link {
            LinkState::Online { .. } => Some((*id, now)),
            LinkState::Offline { since } => since.filter(|_| world.departed.contains(id)).map(|at| (*id, at)),
        });
        seen.collect()
    }

    pub(crate) fn departures_stored(&self, seen: &[(DeviceId, Timestamp)]) {
        let mut world = self.world();
        for (device, at) in seen {
            // Who came and left again meanwhile is due once more.
            if world.devices.get(device).is_some_and(|p| p.link == LinkState::Offline { since: Some(*at) }) {
                world.departed.remove(device);
            }
        }
    }

    pub(crate) async fn departure(&self) {
        self.bell.departure.notified().await;
    }
}
