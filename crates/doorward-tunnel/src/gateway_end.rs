//! The gateway's end of a link: it opens streams.

use crate::handshake::{self, Claims, LaneSecret};
use crate::lane_pool::{LaneDoors, LanePool};
use crate::link::{LinkEnd, LinkId, Speaker, Vitals, read_control, split, write_control};
use crate::messages::{CAPABILITY, Goodbye, Leaving, Message, Open, Refusal, Site, Welcome};
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
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::AsyncRead;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
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
pub(crate) async fn answer(pipe: &mut (impl AsyncRead + Unpin)) -> Option<Result<(), OpenError>> {
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
