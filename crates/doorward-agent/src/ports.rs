//! Trying, from here, the ports that a gateway believes to be open on itself.
//!
//! A stolen gateway must not scan a home network this way: only hosts of the site's own addresses are tried, and an
//! address that is not a public one only if the link itself goes there.

use doorward_core::site::{Address, Host};
use doorward_tunnel::messages::{CheckPorts, PortChecked, PortsChecked};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(3);
const AT_ONCE: usize = 8;
const IN_ALL: usize = 32;

/// `gateway` is where the link goes.
pub(crate) async fn check(wanted: CheckPorts, addresses: Vec<Address>, gateway: Option<IpAddr>) -> PortsChecked {
    let own: Vec<Host> = addresses.iter().flat_map(Address::endpoints).map(|endpoint| endpoint.host).collect();
    let pairs = wanted.hosts.iter().flat_map(|host| wanted.tcp.iter().map(move |&port| (host.clone(), port)));
    let pairs: Vec<(String, u32)> = pairs.take(IN_ALL).collect();
    let mut running = JoinSet::new();
    let mut results = Vec::new();
    for (host, port) in pairs {
        if running.len() >= AT_ONCE {
            results.extend(running.join_next().await.and_then(Result::ok));
        }
        let own = own.clone();
        running.spawn(async move {
            let tried = try_port(&host, port, &own, gateway).await;
            let detail = tried.as_ref().err().map(|why| format!("{host}: {why}")).unwrap_or(host);
            PortChecked { tcp: port, reachable: tried.is_ok(), detail }
        });
    }
    while let Some(done) = running.join_next().await {
        results.extend(done);
    }
    results.sort_by_key(|result| result.tcp);
    PortsChecked { results }
}

async fn try_port(host: &str, port: u32, own: &[Host], gateway: Option<IpAddr>) -> Result<(), String> {
    let port = u16::try_from(port).ok().filter(|&p| p != 0).ok_or("not a port")?;
    let parsed = Address::parse(host).ok().and_then(|address| address.endpoints().into_iter().next());
    let host = parsed.map(|endpoint| endpoint.host).filter(|host| own.contains(host));
    let host = host.ok_or("not an address of this site")?;
    timeout(LIMIT, connect(&host, port, gateway)).await.unwrap_or_else(|_| Err("no answer".into()))
}

async fn connect(host: &Host, port: u16, gateway: Option<IpAddr>) -> Result<(), String> {
    let addresses: Vec<SocketAddr> = match host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, port)],
        Host::Name(name) => lookup_host((name.as_str(), port)).await.map_err(|e| e.to_string())?.collect(),
    };
    let mut last = "its name leads nowhere".to_owned();
    for address in addresses {
        if !is_public(address.ip()) && gateway != Some(address.ip()) {
            last = "not an address of this site".into();
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || is_shared)
                && a != 0
                && a < 240
        }
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn ask(hosts: &[&str], port: u16, own: &str, gateway: Option<IpAddr>) -> Vec<PortChecked> {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        let wanted = CheckPorts { hosts, tcp: vec![port.into()] };
        check(wanted, vec![Address::parse(own).unwrap()], gateway).await.results
    }

    #[tokio::test]
    async fn only_the_sites_own_hosts_are_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let here = IpAddr::from([127, 0, 0, 1]);
        let results = ask(&["127.0.0.1", "127.0.0.2", "192.168.1.1"], port, "127.0.0.1", Some(here)).await;
        let reachable: Vec<_> = results.iter().map(|r| r.reachable).collect();
        assert_eq!(reachable.iter().filter(|r| **r).count(), 1, "{results:?}");
        assert!(results.iter().filter(|r| !r.reachable).all(|r| r.detail.contains("not an address of this site")));
    }

    #[tokio::test]
    async fn a_private_address_is_tried_only_where_the_link_goes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!ask(&["127.0.0.1"], port, "127.0.0.1", None).await[0].reachable);
        assert!(!ask(&["localhost"], port, "localhost", Some([192, 0, 2, 1].into())).await[0].reachable);
    }

    #[tokio::test]
    async fn a_list_without_end_is_cut_off() {
        let hosts: Vec<String> = (0..100).map(|n| format!("10.0.0.{n}")).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        assert_eq!(ask(&hosts, 1, "192.0.2.1", None).await.len(), IN_ALL);
    }

    #[test]
    fn public_addresses_are_told_from_the_rest() {
        for public in ["192.0.2.1", "8.8.8.8", "2001:db8::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in
            ["127.0.0.1", "10.1.1.1", "100.64.0.1", "169.254.1.1", "::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }
}
