//! Where links arrive at a gateway. The listeners accept and hand over here; this speaks the handshake, each part of
//! it with a limit, and yields devices that proved their key.

use crate::gateway_end::Arrival;
use crate::handshake::{Channel, Claims, First, HandshakeError, hear};
use crate::identity::SiteIdentity;
use crate::lane_pool::LaneDoors;
use crate::pinning;
use crate::pipe::Duplex;
use crate::stream::QuicStream;
use crate::transport::tls::PipeIo;
use crate::transport::{quic, tls, websocket};
use doorward_core::site::Carrier;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use thiserror::Error;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

pub struct Acceptor {
    tls: RwLock<Arc<rustls::ServerConfig>>,
    doors: Arc<LaneDoors>,
}

#[derive(Debug, Error)]
pub enum ArrivalError {
    #[error("the TLS or QUIC handshake failed: {0}")]
    Carrier(#[from] io::Error),
    #[error("the TLS or QUIC handshake took longer than {} s", CARRIER_LIMIT.as_secs())]
    Slow,
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("it belongs to no link that stands here")]
    StrayLane,
    /// A link over QUIC has streams of its own; nothing could tell such a lane's end from the connection's.
    #[error("it is a lane inside QUIC, where there are none")]
    LaneInQuic,
}

/// How long a carrier's own handshake may take.
pub const CARRIER_LIMIT: Duration = Duration::from_secs(10);

impl Acceptor {
    pub fn new(identity: &SiteIdentity) -> Result<Self, rustls::Error> {
        Ok(Self { tls: RwLock::new(Arc::new(pinning::server_config(identity)?)), doors: Arc::default() })
    }

    /// The configuration for connections whose ClientHello asks for our ALPN.
    pub fn tls_config(&self) -> Arc<rustls::ServerConfig> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on another identity answers: the site key was rotated. Links that stand are not touched.
    pub fn take_identity(&self, identity: &SiteIdentity, endpoints: &[quinn::Endpoint]) -> io::Result<()> {
        let tls = Arc::new(pinning::server_config(identity).map_err(io::Error::other)?);
        let quic = quic::server_config(tls.clone())?;
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        for endpoint in endpoints {
            endpoint.set_server_config(Some(quic.clone()));
        }
        Ok(())
    }

    /// A UDP endpoint that takes links.
    pub fn listen_quic(&self, address: SocketAddr) -> io::Result<quinn::Endpoint> {
        let config = quic::server_config(self.tls_config())?;
        let socket = quic::bind(address)?;
        quinn::Endpoint::new(quinn::EndpointConfig::default(), Some(config), socket, Arc::new(quinn::TokioRuntime))
    }

    /// A QUIC connection attempt.
    pub async fn take_quic(&self, incoming: quinn::Incoming) -> Result<Arrival, ArrivalError> {
        let peer = incoming.remote_address();
        let connecting = async {
            let connection = incoming.accept().map_err(io::Error::from)?.await.map_err(io::Error::from)?;
            let control = connection.accept_bi().await.map_err(io::Error::from)?;
            Ok::<_, io::Error>((connection, QuicStream::new(control)))
        };
        let (connection, control) = timeout(CARRIER_LIMIT, connecting).await.map_err(|_| ArrivalError::Slow)??;
        let exporter = quic::exporter(&connection)?;
        let mut channel = Channel { pipe: Box::new(control), exporter };
        match hear(&mut channel).await? {
            First::Device(claims) => Ok(self.arrival(claims, channel, Carrier::Quic, peer, Some(connection))),
            First::Lane(_) => Err(ArrivalError::LaneInQuic),
        }
    }

    /// A TLS connection with our ALPN, its handshake done. `None`: it was a lane and has found its link.
    pub async fn take_tls<T: Duplex + 'static>(
        &self,
        stream: tokio_rustls::server::TlsStream<T>,
        peer: SocketAddr,
    ) -> Result<Option<Arrival>, ArrivalError> {
        self.greet(tls::channel(stream)?, Carrier::Tls, peer).await
    }

    /// A WebSocket on our path, its upgrade done. `None` as above.
    pub async fn take_websocket(
        &self,
        upgraded: impl Duplex + 'static,
        peer: SocketAddr,
    ) -> Result<Option<Arrival>, ArrivalError> {
        let pipe = websocket::accept(upgraded).await;
        let securing = TlsAcceptor::from(self.tls_config()).accept(PipeIo(pipe));
        let stream = timeout(CARRIER_LIMIT, securing).await.map_err(|_| ArrivalError::Slow)??;
        self.greet(tls::channel(stream)?, Carrier::WebSocket, peer).await
    }

    /// A link of this very process. `None` as above.
    pub async fn take_memory(&self, channel: Channel) -> Result<Option<Arrival>, ArrivalError> {
        let peer = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
        self.greet(channel, Carrier::Memory, peer).await
    }

    async fn greet(
        &self,
        mut channel: Channel,
        carrier: Carrier,
        peer: SocketAddr,
    ) -> Result<Option<Arrival>, ArrivalError> {
        match hear(&mut channel).await? {
            First::Device(claims) => Ok(Some(self.arrival(claims, channel, carrier, peer, None))),
            First::Lane(lane) if self.doors.enter(&lane, channel) => Ok(None),
            First::Lane(_) => Err(ArrivalError::StrayLane),
        }
    }

    fn arrival(
        &self,
        claims: Claims,
        channel: Channel,
        carrier: Carrier,
        peer: SocketAddr,
        quic: Option<quinn::Connection>,
    ) -> Arrival {
        Arrival { claims, carrier, peer, channel, quic, doors: self.doors.clone() }
    }
}
