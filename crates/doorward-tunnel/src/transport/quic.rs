//! QUIC on UDP. Every connection starts with a stranger's limits; windows and streams are raised after the proof.

use crate::handshake::EXPORTER_LABEL;
use crate::pinning::server_name;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig,
    VarInt,
};
use rustls_pki_types::ServerName;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A connection and the socket it runs on, which it must not outlive.
pub(crate) struct Connected {
    pub(crate) connection: Connection,
    /// Held for its socket: the connection ends when the endpoint is dropped.
    _endpoint: Endpoint,
}

/// One stalled visitor may hold this much of a device's credit…
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// …and all of them together this much. 64 stalled visitors do not stop the next one.
const CONNECTION_WINDOW: u32 = 128 * 1024 * 1024;
const STRANGER_WINDOW: u32 = 64 * 1024;
/// Visits at once over one link.
const STREAMS: u32 = 4096;
/// What an agent may open on its own: the control stream.
const STRANGER_STREAMS: u32 = 1;
/// Our own watch (`link`) is what notices a dead peer; this only clears up after it.
const IDLE: Duration = Duration::from_secs(180);
/// Before the path is known. The default of 333 ms makes every lost first packet cost a second.
const FIRST_RTT: Duration = Duration::from_millis(100);
/// A path rarely widens; probing for it every ten minutes would be half of what an idle link costs.
const MTU_INTERVAL: Duration = Duration::from_secs(12 * 3600);
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

fn transport() -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.interval(MTU_INTERVAL);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .send_window(8 * 1024 * 1024)
        .initial_rtt(FIRST_RTT)
        .mtu_discovery_config(Some(mtu))
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .datagram_receive_buffer_size(Some(1024 * 1024))
        .datagram_send_buffer_size(256 * 1024);
    transport
}

pub(crate) fn server_config(tls: Arc<rustls::ServerConfig>) -> io::Result<ServerConfig> {
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut transport = transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STRANGER_STREAMS))
        .receive_window(VarInt::from_u32(STRANGER_WINDOW));
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Lifts a stranger's limits.
pub(crate) fn welcome(connection: &Connection) {
    connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW));
}

pub(crate) fn client_config(tls: rustls::ClientConfig) -> io::Result<ClientConfig> {
    let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let mut transport = transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW));
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// A UDP socket with room for bursts. IPv6 sockets here carry IPv6 only; IPv4 has its own.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let domain = if address.is_ipv6() { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel clamps these to its own limits.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

pub(crate) fn unspecified_like(ip: IpAddr) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

pub(crate) async fn connect(address: SocketAddr, config: ClientConfig) -> io::Result<Connected> {
    // Where no route leads there the kernel says so at once; quinn would go on sending.
    std::net::UdpSocket::bind(unspecified_like(address.ip()))?.connect(address)?;
    let mut endpoint_config = EndpointConfig::default();
    // One connection per socket needs no connection id: eight bytes less in every packet.
    endpoint_config.cid_generator(|| Box::new(quinn_proto::RandomConnectionIdGenerator::new(0)));
    let socket = bind(unspecified_like(address.ip()))?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint = Endpoint::new(endpoint_config, None, socket, runtime)?;
    let name = match server_name() {
        ServerName::DnsName(name) => name.as_ref().to_owned(),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let connection = endpoint.connect_with(config, address, &name).map_err(io::Error::other)?.await?;
    Ok(Connected { connection, _endpoint: endpoint })
}

pub(crate) fn exporter(connection: &Connection) -> io::Result<[u8; 32]> {
    let mut exporter = [0; 32];
    connection
        .export_keying_material(&mut exporter, EXPORTER_LABEL, &[])
        .map_err(|_| io::Error::other("no keying material"))?;
    Ok(exporter)
}
