//! What a gateway is told at its start. The binary reads files; here are only validated values.

use crate::certificates::IssuingSettings;
use crate::web::portal::Portal;
use doorward_core::access::Networks;
use doorward_core::certificates::Scope;
use doorward_core::site::Address;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// HTTPS and links over TLS and WebSocket, on TCP.
    pub https: Vec<SocketAddr>,
    /// Plain HTTP, for loopback or behind a proxy.
    pub http: Vec<SocketAddr>,
    /// The same on a socket in the file system, for a web server of this machine. `proxies` must hold 127.0.0.1, as
    /// which whoever is on it counts.
    pub local: Option<PathBuf>,
    /// Links over QUIC, on UDP.
    pub quic: Vec<SocketAddr>,
    /// Devices without an agent and visitors by SSH, on TCP.
    pub ssh: Vec<SocketAddr>,
    /// Where people knock, on UDP.
    pub knock: Vec<SocketAddr>,
    /// The web entrance's port as it is from outside, where something in front maps it.
    pub public_port: Option<u16>,
    /// Where the public TCP and UDP ports of services are bound.
    pub port_ips: Vec<IpAddr>,
    /// How agents reach this gateway; told to them over every link.
    pub addresses: Vec<Address>,
    pub certificate: CertificateSource,
    /// How certificates are ordered; `None`: they are not.
    pub issuing: Option<IssuingSettings>,
    /// Plain HTTP for proofs of certificate authorities; everybody else is sent to HTTPS.
    pub redirect: Vec<SocketAddr>,
    /// For how long browsers that saw a trusted certificate shall insist on HTTPS; nothing for not at all.
    pub hsts: Duration,
    /// Proxies in front whose forwarded headers count. Nobody unless said.
    pub proxies: Networks,
    /// Whether these are the only ones who may come by plain HTTP. Then certificates are theirs to keep, too.
    pub is_behind: bool,
    /// Proxies in front of the web entrance that say by the PROXY protocol for whom they speak.
    pub proxy_protocol_from: Networks,
    /// What answers on the host that the site calls its portal; `None`: nothing does.
    pub portal: Option<Portal>,
    pub limits: Limits,
    pub flows: FlowSettings,
}

/// Where the web entrance has its certificate from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// An authority of the gateway's own; browsers warn unless its root was installed.
    Own(Scope),
    /// PEM files of somebody else's making.
    Files { chain: PathBuf, key: PathBuf },
}

/// What strangers may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once, in all and from one source (IPv4 address, IPv6 /64).
    pub connections: usize,
    pub connections_per_source: usize,
    /// Of these, on one public TCP port. Less than a device takes visits, so that one port's visitors leave room for
    /// those of the device's other services.
    pub connections_per_port: usize,
    /// Of these, such that have not said anything useful yet.
    pub handshakes: usize,
    pub handshakes_per_source: usize,
    /// Web requests per second; ten times as many may come at once. Zero: any.
    pub requests_per_source: u32,
    pub requests_per_service: u32,
    /// Web visits under way at one service, and of these from one source.
    pub visits_per_service: usize,
    pub visits_per_source: usize,
    /// SSH connections of one device or person at once, by however many keys, and the channels of all these together.
    pub ssh_connections_per_identity: usize,
    pub ssh_channels_per_identity: usize,
    /// New SSH connections of one source; ten times as many may come at once. Zero: any.
    pub ssh_connections_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_source: 512,
            connections_per_port: 1_500,
            handshakes: 2_000,
            handshakes_per_source: 100,
            requests_per_source: 500,
            requests_per_service: 2_000,
            visits_per_service: 2_000,
            visits_per_source: 512,
            ssh_connections_per_identity: 64,
            ssh_channels_per_identity: 2_000,
            ssh_connections_per_second: 10,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct FlowSettings {
    /// A flow without a packet either way for this long is forgotten.
    pub idle: Duration,
    pub per_port: usize,
    pub per_source: usize,
}

impl Default for FlowSettings {
    fn default() -> Self {
        Self { idle: Duration::from_secs(120), per_port: 2048, per_source: 256 }
    }
}

pub const EVERYWHERE: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
