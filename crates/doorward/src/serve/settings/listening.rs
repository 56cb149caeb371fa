//! Where the gateway listens and how it is reached, as far as nobody said.

use super::File;
use doorward_core::site::{Address, Carrier, Host};
use doorward_gateway::EVERYWHERE;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

pub(super) struct Listening {
    pub(super) https: Vec<SocketAddr>,
    pub(super) quic: Vec<SocketAddr>,
}

impl File {
    /// Where HTTPS and QUIC listen: 443, or high ports for those who may not open that.
    pub(super) fn listening(&self, notes: &mut Vec<String>) -> Listening {
        let everywhere = |port| EVERYWHERE.map(|ip| SocketAddr::new(ip, port)).to_vec();
        let needs_default = self.listen.https.is_none() || self.listen.quic.is_none();
        let port = if needs_default && !may_open(443) {
            notes.push(
                "port 443 is not to be had for this user, so 8443 serves. To get 443: run as root, or \
                 `sysctl net.ipv4.ip_unprivileged_port_start=443`, or `setcap cap_net_bind_service=+ep` on the binary"
                    .to_owned(),
            );
            8443
        } else {
            443
        };
        Listening {
            https: self.listen.https.clone().unwrap_or(everywhere(port)),
            quic: self.listen.quic.clone().unwrap_or(everywhere(port)),
        }
    }

    pub(super) fn guess_addresses(&self, tcp: u16, quic: Option<u16>, notes: &mut Vec<String>) -> Vec<Address> {
        let hosts: Vec<Host> = match &self.domain {
            Some(domain) => vec![Host::Name(domain.clone())],
            None => {
                let given = self.given.address.filter(|_| self.given.https.is_some()).map(IpAddr::V4);
                let mut ips: Vec<_> = given.into_iter().chain(own_addresses()).collect();
                ips.dedup();
                ips.into_iter().map(Host::Ip).collect()
            }
        };
        if self.domain.is_none() {
            let list = hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            notes.push(format!(
                "no domain was given: agents are told to dial {list}, and names end in .localhost, which only this \
                 machine finds. `doorward serve --domain example.org` gives every service a name of its own"
            ));
        }
        let same_port = quic == Some(tcp);
        let address = |host: Host| match quic {
            Some(_) if same_port => vec![Address::any(host, tcp)],
            Some(quic) => vec![
                Address::one(Carrier::Quic, host.clone(), quic),
                Address::one(Carrier::Tls, host.clone(), tcp),
                Address::one(Carrier::WebSocket, host, tcp),
            ],
            None => vec![Address::one(Carrier::Tls, host.clone(), tcp), Address::one(Carrier::WebSocket, host, tcp)],
        };
        hosts.into_iter().flat_map(address).collect()
    }
}

/// Beside HTTPS on its usual port, where nobody else has port 80.
pub(super) fn usual_redirect(https: &[SocketAddr], http: &[SocketAddr]) -> Vec<SocketAddr> {
    if http.iter().any(|address| address.port() == 80) {
        return Vec::new();
    }
    let ips = https.iter().filter(|address| address.port() == 443).map(SocketAddr::ip);
    let addresses = ips.map(|ip| SocketAddr::new(ip, 80));
    addresses.filter(|address| std::net::TcpListener::bind(address).is_ok()).collect()
}

fn may_open(port: u16) -> bool {
    match std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::PermissionDenied,
    }
}

/// The addresses that this machine speaks from, as the routing table tells; no packet is sent.
pub(in crate::serve) fn own_addresses() -> Vec<IpAddr> {
    let towards = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    // Documentation addresses (RFC 5737, RFC 3849) take the default route.
    let found = [towards("0.0.0.0:0", "192.0.2.1:9"), towards("[::]:0", "[2001:db8::1]:9")];
    let ips: Vec<_> = found.into_iter().flatten().collect();
    if ips.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { ips }
}

/// Whether nobody outside can reach it.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip {
        // Beside the private ones those that providers share among customers (RFC 6598).
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}
