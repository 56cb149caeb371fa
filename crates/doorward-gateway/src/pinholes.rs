//! Straight ways through the router of a device's home, for sessions of services that ask for them. Which there shall be follows
//! from the sessions that are open: it is worked out anew at every change, told to the device that holds the link, and told
//! again now and then. What passes there passes by no gateway: policies that count it have none. What the device says of them
//! is shown to people and decides nothing.

mod tries;

use doorward_control::{Control, PinholeStanding, ServiceRecord, Snapshot, StraightWay};
use doorward_core::access::{Facts, Proof, Visitor, preview_visit};
use doorward_core::service::Entrance;
use doorward_core::session::Session;
use doorward_core::{DeviceId, SessionId};
use doorward_tunnel::GatewayLink;
use doorward_tunnel::messages::{Message, PinholeSeen, PinholeState, PinholeWish, PinholesSeen, PinholesWished};
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tries::{Said, Tries, try_from_outside};

pub(crate) struct Pinholes {
    control: Control,
    devices: Mutex<HashMap<DeviceId, Attended>>,
    bell: Notify,
}

struct Attended {
    /// Links end elsewhere; nothing here keeps one.
    link: Weak<GatewayLink>,
    told: Option<(Vec<Wanted>, Instant)>,
    said: HashMap<SessionId, Said>,
    tries: Tries,
}

/// A port mapping, and whether the device was reached through it.
struct Tried {
    device: DeviceId,
    session: SessionId,
    place: SocketAddr,
    worked: bool,
}

/// For one session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    session: SessionId,
    service: String,
    sources: Vec<IpAddr>,
    until: Timestamp,
}

const TELL_EVERY: Duration = Duration::from_secs(20);
/// Changes tend to come together.
const GATHERING: Duration = Duration::from_millis(20);
/// Of one device, of what it says.
const MOST: usize = 1000;
const MOST_WORDS: usize = 300;
/// Port mappings that are tried at once.
const MOST_TRIES: usize = 64;

impl Pinholes {
    pub(crate) fn new(control: Control) -> Arc<Self> {
        Arc::new(Self { control, devices: Mutex::default(), bell: Notify::new() })
    }

    /// Tells devices what is wished, for as long as it is polled.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut changes = self.control.changes();
        let mut trying = JoinSet::new();
        loop {
            self.tell();
            self.begin_tries(&mut trying);
            tokio::select! {
                news = changes.next() => if news.is_none() { return },
                Some(Ok(tried)) = trying.join_next() => self.ended(&tried),
                () = self.bell.notified() => {}
                () = sleep(TELL_EVERY) => {}
            }
            sleep(GATHERING).await;
        }
    }

    /// The device is there and has said what it offers.
    pub(crate) fn attend(&self, device: DeviceId, link: &Arc<GatewayLink>) {
        if link.takes_pinholes() {
            let mut table = self.table();
            // What another link of it said holds until this one says otherwise.
            let (said, tries) = table.remove(&device).map(|held| (held.said, held.tries)).unwrap_or_default();
            table.insert(device, Attended { link: Arc::downgrade(link), told: None, said, tries });
            self.bell.notify_one();
        }
    }

    /// That link is over. What is open ends by the router's own clock.
    pub(crate) fn left(&self, device: DeviceId, link: &Arc<GatewayLink>) {
        let mut table = self.table();
        if table.get(&device).is_some_and(|held| Weak::ptr_eq(&held.link, &Arc::downgrade(link))) {
            table.remove(&device);
            self.control.presence().straight_ways(device, HashMap::new());
        }
    }

    pub(crate) fn hear(&self, device: DeviceId, said: PinholesSeen) {
        let snapshot = self.control.snapshot();
        let is_theirs = |session: SessionId| {
            let service = Facts::session(&*snapshot, session).map(|held| held.service);
            service.and_then(|id| snapshot.service(id)).is_some_and(|service| service.device == device)
        };
        let said = said.pinholes.into_iter().take(MOST).filter_map(read);
        let said = said.filter(|(session, _)| is_theirs(*session)).collect();
        if let Some(attended) = self.table().get_mut(&device) {
            attended.said = said;
            self.show(device, attended);
            self.bell.notify_one();
        }
    }

    fn show(&self, device: DeviceId, attended: &Attended) {
        let Some(link) = attended.link.upgrade() else { return };
        let peer = link.peer().ip();
        let way = |(session, said): (&SessionId, &Said)| (*session, attended.tries.shown(*session, said, peer));
        self.control.presence().straight_ways(device, attended.said.iter().map(way).collect());
    }

    fn begin_tries(&self, trying: &mut JoinSet<Tried>) {
        let now = Instant::now();
        for (device, attended) in self.table().iter_mut() {
            let Some(link) = attended.link.upgrade() else { continue };
            let room = MOST_TRIES.saturating_sub(trying.len());
            for (session, place) in attended.tries.begin(&attended.said, link.peer().ip(), now, room) {
                let (device, link) = (*device, attended.link.clone());
                trying.spawn(async move {
                    let worked = try_from_outside(link, session, place).await;
                    Tried { device, session, place, worked }
                });
            }
        }
    }

    fn ended(&self, tried: &Tried) {
        if let Some(attended) = self.table().get_mut(&tried.device) {
            attended.tries.ended(tried.session, tried.place, tried.worked);
            self.show(tried.device, attended);
        }
    }

    fn tell(&self) {
        let (snapshot, now) = (self.control.snapshot(), Timestamp::now());
        for (device, attended) in self.table().iter_mut() {
            attended.tell(wanted(&snapshot, *device, now), now);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<DeviceId, Attended>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attended {
    /// If it is news, or was told long ago.
    fn tell(&mut self, wanted: Vec<Wanted>, now: Timestamp) {
        let is_due = match &self.told {
            None => true,
            Some((told, at)) => *told != wanted || (!wanted.is_empty() && at.elapsed() >= TELL_EVERY),
        };
        if !is_due {
            return;
        }
        let pinholes = wanted.iter().map(|w| w.wish(now)).collect();
        // Where there is no room now, the next round finds it untold.
        let is_said = self.link.upgrade().is_some_and(|link| {
            let seen_from = Some(link.peer().ip().to_canonical().to_string());
            link.mention(Message::PinholesWished(PinholesWished { pinholes, seen_from }))
        });
        self.told = is_said.then(|| (wanted, Instant::now()));
    }
}

impl Wanted {
    fn wish(&self, now: Timestamp) -> PinholeWish {
        let left = Duration::try_from(self.until.duration_since(now)).unwrap_or_default();
        PinholeWish {
            id: format!("s{}", self.session),
            service: self.service.clone(),
            sources: self.sources.iter().map(ToString::to_string).collect(),
            remaining_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn wanted(snapshot: &Snapshot, device: DeviceId, now: Timestamp) -> Vec<Wanted> {
    let services = snapshot.services_of(device).filter(|record| record.has_pinholes());
    let of_service = |record: Arc<ServiceRecord>| {
        let sessions: Vec<_> = snapshot.sessions_at(record.service.id).cloned().collect();
        sessions.into_iter().filter_map(move |session| want(snapshot, &record, &session, now))
    };
    services.flat_map(of_service).collect()
}

/// For those of its sources from which its person would be let in at its port now.
fn want(snapshot: &Snapshot, record: &ServiceRecord, session: &Session, now: Timestamp) -> Option<Wanted> {
    let mut until = session.until;
    let is_let_in = |ip: &IpAddr| {
        let mut visitor = Visitor::new(*ip, Entrance::TcpPort(0));
        visitor.proofs = vec![Proof::Port(session.id)];
        let answer = preview_visit(&record.service, &visitor, snapshot, now);
        until = answer.as_ref().ok().copied().flatten().map_or(until, |end| end.min(until));
        answer.is_ok()
    };
    let sources: Vec<_> = snapshot.approach(session.id).sources.iter().map(|source| source.address()).collect();
    let sources: Vec<_> = sources.into_iter().filter(is_let_in).collect();
    let service = record.service.name.to_string();
    (!sources.is_empty()).then_some(Wanted { session: session.id, service, sources, until })
}

/// What a device says is shown to people: bounded, and on one line.
fn read(said: PinholeSeen) -> Option<(SessionId, Said)> {
    let session = said.id.strip_prefix('s')?.parse().ok().map(SessionId)?;
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect::<String>();
    let host = said.host.as_deref().and_then(|host| host.parse().ok());
    let port = u16::try_from(said.port).ok()?;
    let standing = match said.state() {
        PinholeState::Ready => PinholeStanding::Ready,
        PinholeState::Passed => PinholeStanding::Passed,
        PinholeState::Closed => PinholeStanding::Closed { why: short(said.why.as_deref().unwrap_or_default()) },
        PinholeState::Untried => return Some((session, Said::Untried { host, port })),
        // Of a newer device.
        PinholeState::Unspecified => return None,
    };
    Some((session, Said::Way(StraightWay { standing, host, port })))
}
