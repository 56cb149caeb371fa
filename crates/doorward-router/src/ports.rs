//! Ports of the router that something listens on (proc_pid_net(5)).

use doorward_core::pinhole::Protocol;
use std::collections::BTreeSet;
use std::fs;

const TABLES: [(&str, Protocol, &str); 4] = [
    ("/proc/net/tcp", Protocol::Tcp, LISTENING),
    ("/proc/net/tcp6", Protocol::Tcp, LISTENING),
    ("/proc/net/udp", Protocol::Udp, UNCONNECTED),
    ("/proc/net/udp6", Protocol::Udp, UNCONNECTED),
];
/// TCP_LISTEN and TCP_CLOSE (linux/net/tcp_states.h).
const LISTENING: &str = "0A";
const UNCONNECTED: &str = "07";

/// A table that is not there, as without IPv6, has no ports.
pub(crate) fn listened_on() -> BTreeSet<(Protocol, u16)> {
    let tables =
        TABLES.iter().filter_map(|(path, protocol, state)| Some((fs::read_to_string(path).ok()?, *protocol, *state)));
    tables.flat_map(|(table, protocol, state)| ports(&table, state).into_iter().map(move |p| (protocol, p))).collect()
}

fn ports(table: &str, wanted: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut words = line.split_whitespace();
        let (_, port) = words.nth(1)?.rsplit_once(':')?;
        let state = words.nth(1)?;
        (state == wanted).then(|| u16::from_str_radix(port, 16).ok())?
    };
    table.lines().skip(1).filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn who_listens_is_seen_and_who_only_talks_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let talker = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let packets = UdpSocket::bind("[::1]:0").unwrap();
        let port = |address: std::io::Result<std::net::SocketAddr>| address.unwrap().port();
        let seen = listened_on();
        assert!(seen.contains(&(Protocol::Tcp, port(listener.local_addr()))), "{seen:?}");
        assert!(seen.contains(&(Protocol::Udp, port(packets.local_addr()))), "{seen:?}");
        assert!(!seen.contains(&(Protocol::Tcp, port(talker.local_addr()))), "{seen:?}");
    }
}
