//! The agent's end of a link: it answers opens.

use crate::dialer::Ways;
use crate::handshake::{self, Channel, HandshakeError, Introduction, LaneSecret};
use crate::identity::DeviceKey;
use crate::link::{DOUBT_LIMIT, LinkEnd, Speaker, Vitals, as_announced, read_control, split, write_control};
use crate::messages::{Goodbye, LaneHello, Leaving, Message, Welcome};
use crate::pipe::Pipe;
use crate::pulse::{Pulse, Rhythm};
use crate::stream::QuicStream;
use crate::transport::memory::MemoryDialer;
use crate::transport::{Carried, quic};
use crate::udp::{FlowTable, dispatch_datagrams};
use crate::visit::{Visit, Way};
use crate::wire::{STRANGER_LIMIT, WireError, read_frame};
use doorward_core::Secret;
use doorward_core::site::{Carrier, Endpoint};
use quinn::Connection;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How further connections of this link are dialled: as the link itself was.
#[derive(Clone)]
pub(crate) enum Route {
    Tcp { endpoint: Endpoint, address: SocketAddr, ways: Arc<Ways> },
    Memory(MemoryDialer),
}

impl Route {
    /// The gateway's own address, where it is known (a proxy resolves it itself).
    fn gateway(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp { address, .. } => Some(address.ip()).filter(|ip| !ip.is_unspecified()),
            Self::Memory(_) => None,
        }
    }

    async fn dial(&self) -> io::Result<Channel> {
        match self {
            Self::Tcp { endpoint, address, ways } => {
                // Beside a QUIC link, lanes go to the same port over TCP.
                let carrier = if endpoint.carrier == Carrier::Quic { Carrier::Tls } else { endpoint.carrier };
                ways.dial_pipe(&Endpoint { carrier, ..endpoint.clone() }, *address).await
            }
            Self::Memory(dialer) => dialer.dial().await,
        }
    }
}

/// The agent's side of a standing link, and what comes of it.
pub struct AgentStanding {
    pub link: Arc<AgentLink>,
    pub welcome: Welcome,
    pub visits: mpsc::Receiver<Visit>,
    /// Messages of the gateway: `ServicesReport`, `Site`, `CheckPorts`, `Goodbye`.
    pub events: mpsc::Receiver<Message>,
    /// Runs the link. Whoever polls it owns the link; dropping it ends it.
    pub driver: std::pin::Pin<Box<dyn Future<Output = LinkEnd> + Send>>,
}

pub struct AgentLink {
    carrier: Carrier,
    gateway: Option<IpAddr>,
    speaker: Speaker,
    vitals: Vitals,
    doubt: Notify,
    /// Whether the answer to a ping takes longer than answers usually do.
    overdue: watch::Sender<bool>,
    closing: CancellationToken,
}

const VISITS: usize = 64;
/// Each may be as long as a control frame, or have as many parts as a message may.
const EVENTS: usize = 8;
/// Connections at once beside the control connection.
const MAX_LANES: usize = 1024;
/// A visit's first frame follows its stream at once; this is for slow lines.
const FIRST_FRAME_LIMIT: Duration = Duration::from_secs(10);
const LANE_LIMIT: Duration = Duration::from_secs(10);
/// Where no sentinel lane can be had (TCP blocked), it is tried for again this often.
const SENTINEL_PAUSE: Duration = Duration::from_secs(60);
const SECOND_LOOK: Duration = Duration::from_secs(2);
/// It is there to be ended by the gateway's kernel; a NAT that forgets it costs a speed-up, no visit.
const SENTINEL_KEEP_ALIVE: Duration = Duration::from_secs(240);
/// An answer is overdue after this, which leaves time for one retransmission, or a few times what is usual.
const OVERDUE: Duration = Duration::from_millis(750);

impl AgentLink {
    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// The address that the link was dialled at, unless through a proxy.
    pub fn gateway(&self) -> Option<IpAddr> {
        self.gateway
    }

    /// `false`: the link is gone.
    pub async fn say(&self, message: Message) -> bool {
        self.speaker.say(message).await
    }

    /// Something happened to the network: find out now whether the link still works.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Resolves when the answer to a ping is overdue (or, for `false`, when none is): the link may be dead, long before
    /// it counts as dead. Time to look for another one beside it.
    pub async fn until_overdue(&self, is_overdue: bool) {
        let _ = self.overdue.subscribe().wait_for(|now| *now == is_overdue).await;
    }

    pub async fn close(&self, reason: Leaving) {
        let said = self.speaker.say(Message::Goodbye(Goodbye { reason: reason.into() }));
        let _ = timeout(Duration::from_millis(500), said).await;
        sleep(Duration::from_millis(50)).await;
        self.closing.cancel();
    }
}

impl AgentStanding {
    pub(crate) async fn begin(
        carrier: Carrier,
        carried: Carried,
        route: Route,
        key: &DeviceKey,
        who: &Introduction,
    ) -> Result<Self, HandshakeError> {
        let (mut channel, connected) = match carried {
            Carried::Pipe(channel) => (channel, None),
            Carried::Quic(connected) => {
                let wire = |e: io::Error| HandshakeError::Wire(WireError::Io(e));
                let control = connected.connection.open_bi().await.map_err(|e| wire(e.into()))?;
                let exporter = quic::exporter(&connected.connection).map_err(wire)?;
                (Channel { pipe: Box::new(QuicStream::new(control)), exporter }, Some(connected))
            }
        };
        let asked = Instant::now();
        let welcome = handshake::introduce(&mut channel, key, who).await?;
        let answer_took = asked.elapsed();
        let secret = <[u8; 32]>::try_from(welcome.lane_secret.as_slice())
            .map_err(|_| HandshakeError::Protocol("a lane secret has 32 bytes"))?;

        let pulse = Arc::new(Pulse::default());
        let (speaker, spoken) = Speaker::new();
        let vitals = match &connected {
            Some(connected) => Vitals::Quic(connected.connection.clone()),
            None => Vitals::Control { pulse: pulse.clone(), speaker: speaker.clone() },
        };
        // The watch over the link asks oftener than TCP would.
        channel.pipe.keep_alive(None);
        let rhythm = Rhythm::for_link(carrier, who.metered);
        let closing = CancellationToken::new();
        let link = Arc::new(AgentLink {
            carrier,
            gateway: route.gateway(),
            speaker: speaker.clone(),
            vitals,
            doubt: Notify::new(),
            overdue: watch::Sender::default(),
            closing,
        });
        let (visit_sender, visits) = mpsc::channel(VISITS);
        let (event_sender, events) = mpsc::channel(EVENTS);
        let (heard_sender, heard) = mpsc::channel(EVENTS);
        let (reader, writer) = split(channel.pipe);
        let lanes = Lanes {
            route,
            link: welcome.link.clone(),
            secret: Secret::new(secret),
            visits: visit_sender.clone(),
            pulse: pulse.clone(),
            gone: CancellationToken::new(),
            keep_alive: rhythm.lane_keep_alive,
        };
        let connection = connected.as_ref().map(|connected| connected.connection.clone());
        let driver = Box::pin(drive(
            Owner { link: link.clone(), gone: lanes.gone.clone(), connection },
            read_control(reader, speaker, pulse, heard_sender),
            write_control(writer, spoken),
            keep_watch(link.clone(), rhythm, answer_took),
            route_events(Arc::new(lanes), connected.is_some(), link.clone(), heard, event_sender),
            connected.map(|connected| take_streams(connected, visit_sender)),
        ));
        Ok(Self { link, welcome, visits, events, driver })
    }
}

/// Ends the link with all its streams in whichever way its driver ends.
struct Owner {
    link: Arc<AgentLink>,
    gone: CancellationToken,
    connection: Option<Connection>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.gone.cancel();
        if let Some(connection) = &self.connection {
            connection.close(0_u32.into(), b"");
        }
    }
}

async fn drive(
    owner: Owner,
    reading: impl Future<Output = LinkEnd>,
    writing: impl Future<Output = LinkEnd>,
    watching: impl Future<Output = ()>,
    routing: impl Future<Output = LinkEnd>,
    streams: Option<impl Future<Output = LinkEnd>>,
) -> LinkEnd {
    let streams = async {
        match streams {
            Some(streams) => streams.await,
            None => std::future::pending().await,
        }
    };
    let mut reading = pin!(reading);
    let seen = tokio::select! {
        biased;
        end = &mut reading => return end,
        end = writing => end,
        end = routing => end,
        end = streams => end,
        () = watching => LinkEnd::Silent,
        () = owner.link.closing.cancelled() => LinkEnd::ClosedHere,
    };
    as_announced(seen, reading).await
}

/// Pings in rhythm, and at once when in doubt; tells when an answer is overdue. Resolves when it stays away. `usual` is
/// how long an answer takes as far as is known.
async fn keep_watch(link: Arc<AgentLink>, rhythm: Rhythm, mut usual: Duration) {
    let mut asked = Instant::now();
    loop {
        let limit = tokio::select! {
            () = sleep_until(asked + rhythm.ping_every) => rhythm.answer_within,
            () = link.doubt.notified() => DOUBT_LIMIT.max(link.vitals.round_trip() * 4),
        };
        asked = Instant::now();
        let mut probing = pin!(link.vitals.probe(limit));
        let in_time = timeout(OVERDUE.max(usual * 4), &mut probing).await;
        let answered = match in_time {
            Ok(answered) => answered,
            Err(_) => {
                link.overdue.send_replace(true);
                probing.await
            }
        };
        if !answered {
            return;
        }
        link.overdue.send_replace(false);
        // One that was late says little.
        usual = asked.elapsed().min(usual * 2);
    }
}

/// Dials lanes as the gateway wishes; everything else goes to the agent. Beside QUIC one lane is kept as a sentinel.
async fn route_events(
    lanes: Arc<Lanes>,
    wants_sentinel: bool,
    link: Arc<AgentLink>,
    mut heard: mpsc::Receiver<Message>,
    events: mpsc::Sender<Message>,
) -> LinkEnd {
    let mut running = JoinSet::new();
    if wants_sentinel {
        running.spawn(lanes.clone().sentinel(link));
    }
    loop {
        let message = tokio::select! {
            message = heard.recv() => message,
            Some(_) = running.join_next() => continue,
        };
        match message {
            None => return LinkEnd::Closed,
            Some(Message::LanesWanted(wanted)) => {
                let room = MAX_LANES.saturating_sub(running.len());
                for _ in 0..room.min(wanted.count as usize) {
                    let lanes = lanes.clone();
                    running.spawn(async move {
                        if let Err(error) = lanes.run_lane().await {
                            debug!(%error, "a lane ended");
                        }
                    });
                }
            }
            Some(message) => {
                if events.send(message).await.is_err() {
                    return LinkEnd::ClosedHere;
                }
            }
        }
    }
}

/// What every lane of a link needs.
struct Lanes {
    route: Route,
    link: Vec<u8>,
    secret: LaneSecret,
    visits: mpsc::Sender<Visit>,
    pulse: Arc<Pulse>,
    /// Ends the streams with the link.
    gone: CancellationToken,
    keep_alive: Duration,
}

impl Lanes {
    async fn dial(&self) -> Result<Pipe, HandshakeError> {
        let dialling = async {
            let mut channel = self.route.dial().await.map_err(WireError::from)?;
            let proof = handshake::lane_proof(&self.secret, &channel.exporter);
            let hello = Message::LaneHello(LaneHello { link: self.link.clone(), proof });
            handshake::send(&mut channel, &hello).await?;
            Ok(channel.pipe)
        };
        timeout(LANE_LIMIT, dialling).await.map_err(|_| HandshakeError::Silent)?
    }

    /// One lane, visit after visit, until it breaks.
    async fn run_lane(&self) -> Result<(), HandshakeError> {
        let mut pipe = self.dial().await?;
        pipe.keep_alive(Some(self.keep_alive));
        loop {
            let Some(frame) = read_frame(&mut pipe, STRANGER_LIMIT).await? else { return Ok(()) };
            let message = Message::decode(&frame)?;
            if message == Message::Ping {
                // The gateway asks before it trusts its next visit to a lane that idled.
                timeout(LANE_LIMIT, answer_ping(&mut pipe)).await.map_err(|_| HandshakeError::Silent)??;
                continue;
            }
            let Message::Open(open) = message else {
                return Err(HandshakeError::Protocol("only an open may start on an idle lane"));
            };
            let (home, back) = oneshot::channel();
            let way = Way::Lane { pipe, pulse: self.pulse.clone(), gone: self.gone.clone(), home };
            let Some(visit) = Visit::new(open, way) else {
                return Err(HandshakeError::Protocol("an open without a service name"));
            };
            if self.visits.send(visit).await.is_err() {
                return Ok(());
            }
            match back.await {
                Ok(returned) => pipe = returned,
                Err(_) => return Ok(()),
            }
        }
    }

    /// A lane that carries nothing: when TCP reports its end, the process at the other end has died or moved, and the
    /// link is in doubt. UDP alone would find out only at the next ping. The gateway listens to it as well.
    async fn sentinel(self: Arc<Self>, link: Arc<AgentLink>) {
        loop {
            if let Ok(mut pipe) = self.dial().await {
                pipe.keep_alive(Some(SENTINEL_KEEP_ALIVE));
                let _ = read_frame(&mut pipe, 0).await;
            }
            // A dial that failed says as much: the process may have gone before the sentinel stood.
            link.doubt();
            // The last packets of a dying process may have passed for an answer.
            sleep(SECOND_LOOK).await;
            link.doubt();
            sleep(SENTINEL_PAUSE).await;
        }
    }
}

async fn answer_ping(pipe: &mut Pipe) -> Result<(), WireError> {
    pipe.write_all(&Message::Pong.encode()).await?;
    Ok(pipe.flush().await?)
}

/// Takes the streams that the gateway opens over QUIC.
async fn take_streams(connected: quic::Connected, visits: mpsc::Sender<Visit>) -> LinkEnd {
    let flows = Arc::new(FlowTable::default());
    let mut tasks = JoinSet::new();
    let connection = connected.connection.clone();
    tasks.spawn(dispatch_datagrams(connection.clone(), flows.clone()));
    loop {
        let stream = tokio::select! {
            stream = connection.accept_bi() => stream,
            Some(_) = tasks.join_next() => continue,
        };
        let Ok(stream) = stream else { return LinkEnd::Closed };
        let way = Way::Quic { stream: QuicStream::new(stream), connection: connection.clone(), flows: flows.clone() };
        let visits = visits.clone();
        tasks.spawn(async move {
            if let Some(visit) = first_frame(way).await {
                let _ = visits.send(visit).await;
            }
        });
    }
}

async fn first_frame(way: Way) -> Option<Visit> {
    let Way::Quic { mut stream, connection, flows } = way else { return None };
    let frame = timeout(FIRST_FRAME_LIMIT, read_frame(&mut stream, STRANGER_LIMIT)).await.ok()?.ok()??;
    let Ok(Message::Open(open)) = Message::decode(&frame) else { return None };
    Visit::new(open, Way::Quic { stream, connection, flows })
}
