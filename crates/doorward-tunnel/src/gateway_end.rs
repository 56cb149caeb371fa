//! The gateway's end of a link: it opens streams.

use crate::handshake::{self, Claims, LaneSecret};
use crate::lane::LaneStream;
use crate::link::{LinkEnd, LinkId, Speaker, Vitals, read_control, split, write_control};
use crate::messages::{CAPABILITY, Goodbye, LanesWanted, Leaving, Message, Open, Refusal, Site, Welcome};
use crate::pipe::Pipe;
use crate::pulse::{Pulse, Rhythm};
use crate::stream::{QuicStream, Stream};
use crate::transport::quic;
use crate::udp::{Datagrams, Flow, FlowTable, dispatch_datagrams};
use crate::wire::{STRANGER_LIMIT, read_frame};
use doorward_core::Secret;
use doorward_core::hop::HopFailure;
use doorward_core::names::Label;
use doorward_core::site::Carrier;
use quinn::Connection;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::io::AsyncRead;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// A device that proved its key and waits for the answer.
pub struct Arrival {
    pub(crate) claims: Claims,
    pub(crate) carrier: Carrier,
    pub(crate) peer: SocketAddr,
    pub(crate) channel: handshake::Channel,
    pub(crate) quic: Option<Connection>,
    pub(crate) doors: Arc<LaneDoors>,
}

/// The gateway's side of a standing link, and what comes of it.
pub struct Standing {
    pub link: Arc<GatewayLink>,
    /// Messages of the agent: `Services`, `SiteStored`, `PortsChecked`, `Goodbye`.
    pub events: mpsc::Receiver<Message>,
    /// Runs the link. Whoever polls it owns the link; dropping it ends it.
    pub driver: std::pin::Pin<Box<dyn Future<Output = LinkEnd> + Send>>,
}

/// How long the gateway waits for the agent's word on an open.
pub const OPEN_LIMIT: Duration = Duration::from_secs(10);
const EVENTS: usize = 32;
/// Characters of the agent's words on a failed open.
pub(crate) const MAX_DETAIL: usize = 300;

impl Arrival {
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub async fn refuse(mut self, reason: Refusal, message: &str, retry_after: Duration) {
        let seconds = u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX);
        handshake::refuse(&mut self.channel, reason, message, seconds).await;
    }

    /// Lets the device in.
    pub async fn welcome(mut self, device_name: &Label, site: Site) -> Result<Standing, handshake::HandshakeError> {
        let id = LinkId::new();
        let secret: LaneSecret = Secret::new(rand::random());
        let welcome = Welcome {
            capability: CAPABILITY.min(self.claims.capability),
            link: id.0.to_vec(),
            lane_secret: secret.expose().to_vec(),
            device_name: device_name.to_string(),
            site: Some(site),
            seen_as: self.peer.to_string(),
        };
        let pulse = Arc::new(Pulse::default());
        let (speaker, spoken) = Speaker::new();
        let lanes = self.doors.open(id, secret, pulse.clone(), speaker.clone());
        let opener = match self.quic.take() {
            Some(connection) => {
                quic::welcome(&connection);
                Opener::Quic { connection, flows: Arc::default(), lanes }
            }
            None => Opener::Lanes(lanes),
        };
        let vitals = match &opener {
            Opener::Quic { connection, .. } => Vitals::Quic(connection.clone()),
            Opener::Lanes(_) => Vitals::Control { pulse: pulse.clone(), speaker: speaker.clone() },
        };
        let link = Arc::new(GatewayLink {
            id,
            carrier: self.carrier,
            peer: self.peer,
            opener,
            speaker: speaker.clone(),
            vitals,
            closing: CancellationToken::new(),
            rhythm: Rhythm::for_link(self.claims.introduction.metered),
        });
        let owner = Owner(link.clone());
        handshake::send(&mut self.channel, &Message::Welcome(welcome)).await?;
        let (events, received) = mpsc::channel(EVENTS);
        let (reader, writer) = split(self.channel.pipe);
        let control = (read_control(reader, speaker, pulse, events), write_control(writer, spoken));
        let driver = Box::pin(drive(owner, control.0, control.1));
        Ok(Standing { link, events: received, driver })
    }
}

/// Ends the link in whichever way its driver ends, be it by never running.
struct Owner(Arc<GatewayLink>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.opener.close();
    }
}

async fn drive(
    owner: Owner,
    reading: impl Future<Output = LinkEnd>,
    writing: impl Future<Output = LinkEnd>,
) -> LinkEnd {
    let link = &owner.0;
    let carried = async {
        match &link.opener {
            Opener::Quic { connection, flows, .. } => {
                dispatch_datagrams(connection.clone(), flows.clone()).await;
                connection.closed().await;
            }
            Opener::Lanes(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        end = reading => end,
        end = writing => end,
        () = carried => LinkEnd::Closed,
        () = link.vitals.until_silent(link.rhythm.silence) => LinkEnd::Silent,
        () = link.closing.cancelled() => LinkEnd::ClosedHere,
    }
}

/// A way to one device.
pub struct GatewayLink {
    id: LinkId,
    carrier: Carrier,
    peer: SocketAddr,
    opener: Opener,
    speaker: Speaker,
    vitals: Vitals,
    closing: CancellationToken,
    rhythm: Rhythm,
}

enum Opener {
    /// Streams are the connection's own. The lane that the agent keeps beside it carries nothing: TCP tells the agent
    /// at once when this process dies, which UDP does not.
    Quic {
        connection: Connection,
        flows: Arc<FlowTable>,
        lanes: Arc<LanePool>,
    },
    Lanes(Arc<LanePool>),
}

impl Opener {
    fn close(&self) {
        match self {
            Self::Quic { connection, lanes, .. } => {
                connection.close(0_u32.into(), b"");
                lanes.close();
            }
            Self::Lanes(pool) => pool.close(),
        }
    }
}

/// What a visit needs of the device.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    pub service: Label,
    /// What is left of the permit.
    pub remaining: Option<Duration>,
    pub source: IpAddr,
}

/// The hop that failed, with the agent's words for the owner.
#[derive(Clone, Debug, Error)]
#[error("{hop}{}", if detail.is_empty() { String::new() } else { format!(" ({detail})") })]
pub struct OpenError {
    pub hop: HopFailure,
    pub detail: String,
}

impl OpenError {
    pub fn new(hop: HopFailure) -> Self {
        Self { hop, detail: String::new() }
    }
}

impl GatewayLink {
    pub fn id(&self) -> LinkId {
        self.id
    }

    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// Where the agent is seen; a QUIC link may move.
    pub fn peer(&self) -> SocketAddr {
        match &self.opener {
            Opener::Quic { connection, .. } => connection.remote_address(),
            Opener::Lanes(_) => self.peer,
        }
    }

    pub fn round_trip(&self) -> Option<Duration> {
        match &self.opener {
            Opener::Quic { connection, .. } => Some(connection.rtt()),
            Opener::Lanes(_) => None,
        }
    }

    /// Whether the agent shows a sign of life within `limit`.
    pub async fn probe(&self, limit: Duration) -> bool {
        self.vitals.probe(limit).await
    }

    /// `false`: the link is gone.
    pub async fn say(&self, message: Message) -> bool {
        self.speaker.say(message).await
    }

    /// Tells the agent why, as far as it hears it, and ends the link with all its streams.
    pub async fn close(&self, reason: Leaving) {
        let said = self.speaker.say(Message::Goodbye(Goodbye { reason: reason.into() }));
        let _ = timeout(Duration::from_millis(500), said).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.closing.cancel();
    }

    /// Opens a stream to a service; resolves when the agent has connected the target or said why not.
    pub async fn open(&self, request: &OpenRequest) -> Result<Stream, OpenError> {
        self.open_as(request, None).await
    }

    /// Opens a UDP flow.
    pub async fn open_flow(&self, request: &OpenRequest) -> Result<Flow, OpenError> {
        let (number, datagrams) = match &self.opener {
            Opener::Quic { connection, flows, .. } => {
                let number = flows.next_number();
                (number, Some(Datagrams::new(connection.clone(), flows, number)))
            }
            Opener::Lanes(_) => (0, None),
        };
        let stream = self.open_as(request, Some(number)).await?;
        Ok(Flow { stream, datagrams })
    }

    async fn open_as(&self, request: &OpenRequest, flow: Option<u64>) -> Result<Stream, OpenError> {
        let open = Message::Open(Open {
            service: request.service.to_string(),
            remaining_ms: request.remaining.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            flow,
            source: request.source.to_string(),
        });
        let opening = async {
            match &self.opener {
                Opener::Quic { connection, .. } => open_on_quic(connection, &open).await,
                Opener::Lanes(pool) => pool.open(&open).await,
            }
        };
        timeout(OPEN_LIMIT, opening).await.unwrap_or(Err(OpenError::new(HopFailure::AgentSilent)))
    }
}

async fn open_on_quic(connection: &Connection, open: &Message) -> Result<Stream, OpenError> {
    let offline = |_| OpenError::new(HopFailure::DeviceOffline);
    let mut stream = QuicStream::new(connection.open_bi().await.map_err(offline)?);
    stream.write_all(&open.encode()).await.map_err(|_| OpenError::new(HopFailure::DeviceOffline))?;
    match answer(&mut stream).await {
        Some(Ok(())) => Ok(Stream::quic(stream)),
        Some(Err(failure)) => Err(failure),
        None => Err(OpenError::new(HopFailure::DeviceOffline)),
    }
}

/// The agent's word on an open; `None` if the connection broke before it.
async fn answer(pipe: &mut (impl AsyncRead + Unpin)) -> Option<Result<(), OpenError>> {
    let frame = read_frame(pipe, STRANGER_LIMIT).await.ok().flatten()?;
    match Message::decode(&frame) {
        Ok(Message::Opened) => Some(Ok(())),
        Ok(Message::OpenFailed(failed)) => {
            let detail = failed.detail.chars().take(MAX_DETAIL).collect();
            Some(Err(OpenError { hop: failed.hop().into(), detail }))
        }
        Ok(_) | Err(_) => None,
    }
}

/// Lanes that idle, and the wish for more.
pub(crate) struct LanePool {
    id: LinkId,
    idle: Mutex<Vec<Pipe>>,
    ready: Semaphore,
    waiting: AtomicUsize,
    asked: Mutex<(usize, Instant)>,
    pulse: Arc<Pulse>,
    speaker: Speaker,
    doors: std::sync::Weak<LaneDoors>,
    /// Ends the streams with the link.
    gone: CancellationToken,
}

/// Kept ready beyond what is in use, so that the next visit need not wait for a handshake.
const SPARE_LANES: usize = 1;
const MAX_IDLE_LANES: usize = 32;
/// Asked-for lanes that have not come by then will not come.
const LANE_PATIENCE: Duration = Duration::from_secs(3);
/// How often a visit that waits for a lane looks whether it was asked for.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Counts a visit that waits for a lane, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LanePool {
    async fn open(self: &Arc<Self>, open: &Message) -> Result<Stream, OpenError> {
        // Every idle lane may be dead, but an agent that answers none of so many does not want to.
        for _ in 0..=MAX_IDLE_LANES {
            let mut pipe = self.take().await.ok_or(OpenError::new(HopFailure::DeviceOffline))?;
            if pipe.write_all(&open.encode()).await.is_err() || pipe.flush().await.is_err() {
                continue;
            }
            let pool = self.clone();
            match answer(&mut pipe).await {
                Some(Ok(())) => {
                    let home = Box::new(move |pipe| pool.put_back(pipe));
                    return Ok(Stream::lane(LaneStream::new(pipe, self.pulse.clone(), &self.gone, home)));
                }
                Some(Err(failure)) => {
                    pool.put_back(pipe);
                    return Err(failure);
                }
                // This lane was dead; the agent never saw the open, or never answered it.
                None => {}
            }
        }
        Err(OpenError::new(HopFailure::DeviceOffline))
    }

    async fn take(&self) -> Option<Pipe> {
        let waiting = Waiting::new(&self.waiting);
        let permit = loop {
            self.ask();
            // A wish may get lost: no room on the control stream, or a dial that failed.
            if let Ok(permit) = timeout(ASK_AGAIN, self.ready.acquire()).await {
                break permit;
            }
        };
        drop(waiting);
        permit.ok()?.forget();
        let pipe = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        self.ask();
        pipe
    }

    /// A lane came, new or used.
    fn put_back(&self, pipe: Pipe) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_LANES && !self.ready.is_closed() {
            idle.push(pipe);
            self.ready.add_permits(1);
        }
    }

    fn arrived(&self, pipe: Pipe) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.0 = asked.0.saturating_sub(1);
        drop(asked);
        self.put_back(pipe);
    }

    fn ask(&self) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
        let wanted = self.waiting.load(Ordering::Relaxed) + SPARE_LANES;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.1.elapsed() >= LANE_PATIENCE {
            asked.0 = 0;
        }
        let missing = wanted.saturating_sub(idle + asked.0);
        let count = u32::try_from(missing).unwrap_or(u32::MAX);
        if missing > 0 && self.speaker.mention(Message::LanesWanted(LanesWanted { count })) {
            *asked = (asked.0 + missing, Instant::now());
        }
    }

    fn close(&self) {
        self.gone.cancel();
        self.ready.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(doors) = self.doors.upgrade() {
            doors.close(self.id);
        }
    }
}

/// Where lanes find their links.
#[derive(Default)]
pub(crate) struct LaneDoors {
    links: Mutex<std::collections::HashMap<LinkId, (LaneSecret, Arc<LanePool>)>>,
}

impl LaneDoors {
    fn open(self: &Arc<Self>, id: LinkId, secret: LaneSecret, pulse: Arc<Pulse>, speaker: Speaker) -> Arc<LanePool> {
        let pool = Arc::new(LanePool {
            id,
            idle: Mutex::default(),
            ready: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            asked: Mutex::new((0, Instant::now())),
            pulse,
            speaker,
            doors: Arc::downgrade(self),
            gone: CancellationToken::new(),
        });
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (secret, pool.clone()));
        pool
    }

    fn close(&self, id: LinkId) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Gives a proved lane to its link; `false` if there is no such link or no proof.
    pub(crate) fn enter(&self, lane: &crate::messages::LaneHello, channel: handshake::Channel) -> bool {
        let Ok(id) = <[u8; 16]>::try_from(lane.link.as_slice()) else { return false };
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((secret, pool)) = links.get(&LinkId(id)) else { return false };
        if !handshake::is_lane_proof(secret, &channel.exporter, &lane.proof) {
            return false;
        }
        let pool = pool.clone();
        drop(links);
        pool.arrived(channel.pipe);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{Channel, Introduction};

    fn arrival(doors: &Arc<LaneDoors>) -> (Arrival, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(4096);
        let introduction =
            Introduction { instance: [3; 16], epoch: 5, join: None, software: String::new(), metered: false };
        let arrival = Arrival {
            claims: Claims { device_key: [1; 32], capability: 1, introduction },
            carrier: Carrier::Memory,
            peer: ([127, 0, 0, 1], 0).into(),
            channel: Channel { pipe: Box::new(near), exporter: [2; 32] },
            quic: None,
            doors: doors.clone(),
        };
        (arrival, far)
    }

    #[tokio::test]
    async fn no_link_leaves_a_door_open_however_it_ends() {
        let doors = Arc::new(LaneDoors::default());
        let open_doors = || doors.links.lock().unwrap().len();
        let name = Label::parse("pi").unwrap();

        let (unheard, far) = arrival(&doors);
        drop(far);
        assert!(unheard.welcome(&name, Site::default()).await.is_err());
        assert_eq!(open_doors(), 0, "the welcome did not arrive");

        let (never_run, _far) = arrival(&doors);
        let standing = never_run.welcome(&name, Site::default()).await.unwrap();
        assert_eq!(open_doors(), 1);
        drop(standing);
        assert_eq!(open_doors(), 0, "its driver never ran");

        let (aborted, _far) = arrival(&doors);
        let standing = aborted.welcome(&name, Site::default()).await.unwrap();
        assert!(timeout(Duration::from_millis(1), standing.driver).await.is_err());
        assert_eq!(open_doors(), 0, "its driver was dropped");
        let request = OpenRequest { service: name, remaining: None, source: [127, 0, 0, 1].into() };
        let opened = timeout(Duration::from_secs(1), standing.link.open(&request)).await.unwrap();
        assert_eq!(opened.err().unwrap().hop, HopFailure::DeviceOffline);
    }
}
