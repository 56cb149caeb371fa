//! The gateway's own sockets: opened all or none, and where they came to be.

use crate::StartError;
use crate::listen::{knock, listen_tcp, local, remedy};
use crate::settings::GatewaySettings;
use doorward_control::Protocol;
use doorward_core::site::{Address, Carrier, Endpoint};
use doorward_tunnel::Acceptor;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where it listens really; port 0 in the settings became something.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    pub https: Vec<SocketAddr>,
    pub http: Vec<SocketAddr>,
    /// Plain HTTP on a socket in the file system.
    pub local: Option<PathBuf>,
    pub quic: Vec<SocketAddr>,
    pub ssh: Vec<SocketAddr>,
    /// Where people knock.
    pub knock: Vec<SocketAddr>,
    /// Plain HTTP that leads to HTTPS.
    pub redirect: Vec<SocketAddr>,
    /// The DNS responder, on UDP and TCP.
    pub dns: Vec<SocketAddr>,
}

impl Bound {
    /// The ports by which the web entrance is reached from outside, each once: not those on loopback alone, and where
    /// something in front maps a port, only that one.
    pub(crate) fn public_web_ports(&self, mapped: Option<u16>) -> Vec<u16> {
        if let Some(port) = mapped {
            return vec![port];
        }
        let open = self.https.iter().chain(&self.http).filter(|address| !address.ip().to_canonical().is_loopback());
        let mut ports: Vec<_> = open.map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Port 0 in an address stands for the port that was opened.
    pub(crate) fn fill_ports(&self, addresses: &[Address]) -> Vec<Address> {
        if addresses.iter().flat_map(Address::endpoints).all(|endpoint| endpoint.port != 0) {
            return addresses.to_vec();
        }
        let fill = |endpoint: Endpoint| {
            let opened = match endpoint.carrier {
                Carrier::Quic => self.quic.first(),
                Carrier::Tls | Carrier::WebSocket | Carrier::Memory | Carrier::Ssh => self.https.first(),
            };
            let port = opened.map(SocketAddr::port).filter(|_| endpoint.port == 0).unwrap_or(endpoint.port);
            Address::one(endpoint.carrier, endpoint.host, port)
        };
        addresses.iter().flat_map(Address::endpoints).map(fill).collect()
    }
}

/// Sockets that are open, before anything is served on them.
pub(crate) struct Opened {
    pub(crate) https: Vec<tokio::net::TcpListener>,
    pub(crate) http: Vec<tokio::net::TcpListener>,
    pub(crate) local: Option<(PathBuf, tokio::net::UnixListener)>,
    pub(crate) quic: Vec<quinn::Endpoint>,
    pub(crate) redirect: Vec<tokio::net::TcpListener>,
    pub(crate) ssh: Vec<tokio::net::TcpListener>,
    pub(crate) knock: Vec<tokio::net::UdpSocket>,
}

impl Opened {
    pub(crate) fn open(settings: &GatewaySettings, acceptor: &Acceptor) -> Result<Self, StartError> {
        let tcp = |what, setting, addresses: &[SocketAddr]| {
            let open = |a: &SocketAddr| listen_tcp(*a).map_err(|e| cannot_listen(what, setting, *a, Protocol::Tcp, e));
            addresses.iter().map(open).collect::<Result<Vec<_>, _>>()
        };
        let https = tcp("HTTPS on", "listen.https", &settings.https)?;
        let http = tcp("HTTP on", "listen.http", &settings.http)?;
        let open_local = |path: &PathBuf| match local::listen_local(path) {
            Ok(listener) => Ok((path.clone(), listener)),
            Err(source) => Err(StartError::Local { path: path.clone(), remedy: local::remedy(&source), source }),
        };
        let local = settings.local.as_ref().map(open_local).transpose()?;
        let open_quic = |address: &SocketAddr| {
            let opened = acceptor.listen_quic(*address);
            opened.map_err(|e| cannot_listen("QUIC on UDP", "listen.quic", *address, Protocol::Udp, e))
        };
        let quic = settings.quic.iter().map(open_quic).collect::<Result<Vec<_>, _>>()?;
        let redirect = tcp("HTTP on", "listen.redirect", &settings.redirect)?;
        let ssh = tcp("SSH on", "listen.ssh", &settings.ssh)?;
        let open_knock = |address: &SocketAddr| {
            let opened = knock::open(*address);
            opened.map_err(|e| cannot_listen("knocks on UDP", "listen.knock", *address, Protocol::Udp, e))
        };
        let knock = settings.knock.iter().map(open_knock).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { https, http, local, quic, redirect, ssh, knock })
    }

    pub(crate) fn bound(&self) -> Bound {
        let tcp =
            |listeners: &[tokio::net::TcpListener]| listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        let quic = self.quic.iter().filter_map(|endpoint| endpoint.local_addr().ok()).collect();
        let redirect = tcp(&self.redirect);
        let (https, http, ssh) = (tcp(&self.https), tcp(&self.http), tcp(&self.ssh));
        let local = self.local.as_ref().map(|(path, _)| path.clone());
        let knock = self.knock.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        Bound { https, http, local, quic, redirect, ssh, knock, dns: Vec::new() }
    }
}

fn cannot_listen(
    what: &'static str,
    setting: &str,
    address: SocketAddr,
    protocol: Protocol,
    source: io::Error,
) -> StartError {
    let remedy = remedy(&source, protocol, address, setting);
    StartError::Listen { what, address, remedy, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn ports_are_public_once_by_their_outer_number_and_never_on_loopback() {
        type Row<'r> = (&'r [&'r str], &'r [&'r str], Option<u16>, &'r [u16]);
        let table: [Row<'_>; 5] = [
            (&["0.0.0.0:443", "[::]:443"], &["127.0.0.1:8080", "[::1]:8080"], None, &[443]),
            (&["192.0.2.1:443"], &["[2001:db8::1]:80"], None, &[80, 443]),
            (&["127.0.0.1:8443", "[::ffff:127.0.0.1]:8444"], &["127.0.0.1:8080"], None, &[]),
            (&["127.0.0.1:8443"], &["127.0.0.1:8080"], Some(443), &[443]),
            (&["0.0.0.0:8443", "[::]:8443"], &[], Some(443), &[443]),
        ];
        for (https, http, mapped, expected) in table {
            let bound = Bound { https: at(https), http: at(http), quic: at(&["0.0.0.0:444"]), ..Bound::default() };
            assert_eq!(bound.public_web_ports(mapped), expected, "{https:?} {http:?} {mapped:?}");
        }
    }
}
