//! The gateway's end of a link: a device is let in or refused, and the link runs until it ends.

use crate::gateway_link::{GatewayLink, Opener};
use crate::handshake::{self, Claims, LaneSecret};
use crate::lane_pool::LaneDoors;
use crate::link::{LinkEnd, LinkId, Speaker, Vitals, as_announced, read_control, split, write_control};
use crate::messages::{CAPABILITY, Message, Refusal, Site, Welcome};
use crate::pipe::Pipe;
use crate::pulse::{Pulse, Rhythm};
use crate::transport::quic;
use crate::udp::dispatch_datagrams;
use crate::wire::read_frame;
use doorward_core::Secret;
use doorward_core::names::Label;
use doorward_core::site::Carrier;
use quinn::Connection;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
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

/// Each may be as long as a control frame, or have as many parts as a message may.
const EVENTS: usize = 8;

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
        // The agent asks often enough for both.
        self.channel.pipe.keep_alive(None);
        let (sentinel, sentinels) = mpsc::channel(1);
        let sentinel = self.quic.is_some().then_some(sentinel);
        let lanes = self.doors.open(id, secret, pulse.clone(), speaker.clone(), sentinel);
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
            capability: self.claims.capability,
            opener,
            speaker: speaker.clone(),
            vitals,
            traffic: Arc::default(),
            closing: CancellationToken::new(),
            rhythm: Rhythm::for_link(self.carrier, self.claims.introduction.metered),
            in_doubt: watch::Sender::default(),
        });
        let owner = Owner(link.clone());
        handshake::send(&mut self.channel, &Message::Welcome(welcome)).await?;
        let (events, received) = mpsc::channel(EVENTS);
        let (reader, writer) = split(self.channel.pipe);
        let control = (read_control(reader, speaker, pulse, events), write_control(writer, spoken));
        let driver = Box::pin(drive(owner, control.0, control.1, sentinels));
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
    sentinels: mpsc::Receiver<Pipe>,
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
    let mut reading = pin!(reading);
    let seen = tokio::select! {
        biased;
        end = &mut reading => return end,
        end = writing => end,
        () = carried => LinkEnd::Closed,
        () = link.vitals.until_silent(link.rhythm.silence) => LinkEnd::Silent,
        () = watch_sentinels(link, sentinels) => LinkEnd::Silent,
        () = link.closing.cancelled() => LinkEnd::ClosedHere,
    };
    as_announced(seen, reading).await
}

/// The end of a sentinel says that the agent's process may have died; resolves when it did.
async fn watch_sentinels(link: &GatewayLink, mut sentinels: mpsc::Receiver<Pipe>) {
    while let Some(mut sentinel) = sentinels.recv().await {
        loop {
            tokio::select! {
                // Its predecessor died in silence.
                Some(newer) = sentinels.recv() => sentinel = newer,
                _ = read_frame(&mut sentinel, 0) => break,
            }
        }
        link.in_doubt.send_replace(Some(Instant::now()));
        if !link.vitals.probe_twice().await {
            return;
        }
        link.in_doubt.send_replace(None);
    }
    std::future::pending().await
}
