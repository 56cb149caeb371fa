//! The gateway's hold on a link that stands: it opens streams in it.

use crate::lane_pool::LanePool;
use crate::link::{LinkId, Speaker, Vitals};
use crate::messages::{Goodbye, KNOWS_MOUNTS, KNOWS_PINHOLES, KNOWS_WISHES, Leaving, Message, Open};
use crate::pulse::Rhythm;
use crate::splice::Traffic;
use crate::stream::{QuicStream, Stream};
use crate::throttle::Pace;
use crate::udp::{Datagrams, Flow, FlowTable};
use crate::wire::{STRANGER_LIMIT, read_frame};
use doorward_core::hop::HopFailure;
use doorward_core::names::{Label, PathPrefix};
use doorward_core::site::Carrier;
use quinn::Connection;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long the gateway waits for the agent's word on an open.
pub const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// Where the sentinel has ended, an agent that lives answers within this.
const DYING_LIMIT: Duration = Duration::from_millis(200);
/// Characters of the agent's words on a failed open.
pub(crate) const MAX_DETAIL: usize = 300;

/// A way to one device.
pub struct GatewayLink {
    pub(crate) id: LinkId,
    pub(crate) carrier: Carrier,
    pub(crate) peer: SocketAddr,
    /// What the agent can do (`messages::CAPABILITY`).
    pub(crate) capability: u32,
    pub(crate) opener: Opener,
    pub(crate) speaker: Speaker,
    pub(crate) vitals: Vitals,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) closing: CancellationToken,
    pub(crate) rhythm: Rhythm,
    /// Since when there is reason to believe that the agent's process died.
    pub(crate) in_doubt: watch::Sender<Option<Instant>>,
}

pub(crate) enum Opener {
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
    pub(crate) fn close(&self) {
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
    /// One of the service's mounts rather than the service itself.
    pub mount: Option<PathPrefix>,
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

    /// Whether the agent shows a sign of life within `limit`, or much sooner where its process seems to have died.
    pub async fn probe(&self, limit: Duration) -> bool {
        let doubted = *self.in_doubt.borrow();
        let Some(since) = doubted else { return self.vitals.probe(limit).await };
        let enough = DYING_LIMIT.max(self.vitals.round_trip() * 4).min(limit);
        let mut in_doubt = self.in_doubt.subscribe();
        timeout_at(since + enough, in_doubt.wait_for(Option::is_none)).await.is_ok()
    }

    /// `false`: the link is gone.
    pub async fn say(&self, message: Message) -> bool {
        self.speaker.say(message).await
    }

    /// Says it if there is room now. `false`: there was none, or the link is gone.
    pub fn mention(&self, message: Message) -> bool {
        self.speaker.mention(message)
    }

    /// Whether the agent prepares services as it is told.
    pub fn takes_wishes(&self) -> bool {
        self.capability >= KNOWS_WISHES
    }

    /// Whether the agent takes wishes for pinholes.
    pub fn takes_pinholes(&self) -> bool {
        self.capability >= KNOWS_PINHOLES
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
        Ok(self.open_as(request, None).await?.counted_in(self.traffic.clone()))
    }

    /// What passed over all its visits since it stands, as it passes.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
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
        Ok(Flow { stream, datagrams, traffic: self.traffic.clone(), own: Arc::default(), pace: Pace::default() })
    }

    async fn open_as(&self, request: &OpenRequest, flow: Option<u64>) -> Result<Stream, OpenError> {
        if request.mount.is_some() && self.capability < KNOWS_MOUNTS {
            return Err(OpenError::new(HopFailure::AgentRefused));
        }
        let open = Message::Open(Open {
            service: request.service.to_string(),
            remaining_ms: request.remaining.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            flow,
            source: request.source.to_string(),
            mount: request.mount.as_ref().map(ToString::to_string),
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
