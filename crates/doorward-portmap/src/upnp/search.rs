//! SSDP: "who is a router?" The UPnP Device Architecture 1.1, section 1.3.

use super::location::Location;
use crate::route::Network;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// Everything on the LAN hears this; the answers of others are not read.
const EVERYBODY: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const TARGETS: [&str; 4] = [
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
/// The router alone is asked first; some only answer what was sent to everybody.
const ALONE: Duration = Duration::from_millis(700);
const TOGETHER: Duration = Duration::from_secs(3);
const MOST_ANSWERS: usize = 256;
const BUFFER: usize = 2048;

pub(super) async fn search(network: &Network) -> Option<Location> {
    let socket = UdpSocket::bind((network.local, 0)).await.ok()?;
    let mut patience = MOST_ANSWERS;
    for (to, limit) in [(network.router, ALONE), (EVERYBODY, TOGETHER)] {
        for target in TARGETS {
            // A network that is just going down says so here; the next search finds out.
            let _sent = socket.send_to(request(target).as_bytes(), (to, network.ports.search)).await;
        }
        let found = listen(&socket, network.router, Instant::now() + limit, &mut patience).await;
        if found.is_some() {
            return found;
        }
    }
    None
}

fn request(target: &str) -> String {
    format!("M-SEARCH * HTTP/1.1\r\nHOST: {EVERYBODY}:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {target}\r\n\r\n")
}

async fn listen(socket: &UdpSocket, router: Ipv4Addr, end: Instant, patience: &mut usize) -> Option<Location> {
    let mut buffer = vec![0; BUFFER];
    while *patience > 0 {
        let received = timeout_at(end, socket.recv_from(&mut buffer)).await.ok()?;
        *patience -= 1;
        // An error is about one of our own datagrams.
        let Ok((length, source)) = received else { continue };
        if is_from(source, router)
            && let Some(location) = read_answer(&buffer[..length], router)
        {
            return Some(location);
        }
    }
    None
}

fn is_from(source: SocketAddr, router: Ipv4Addr) -> bool {
    source.ip() == IpAddr::V4(router)
}

/// Where the description of a router is, if this is an answer that leads to the router itself.
pub(crate) fn read_answer(bytes: &[u8], router: Ipv4Addr) -> Option<Location> {
    // What is not ended is cut off.
    let (text, _) = std::str::from_utf8(bytes).ok()?.rsplit_once("\r\n")?;
    let mut lines = text.split("\r\n");
    let mut status = lines.next()?.split(' ');
    if !status.next()?.starts_with("HTTP/1.") || status.next()? != "200" {
        return None;
    }
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':')).collect();
    let value = |name: &str| {
        headers.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let target = value("ST")?;
    // Version 2 answers for version 1, and may say either.
    let is_router = TARGETS.iter().any(|wanted| target.starts_with(&wanted[..wanted.len() - 1]));
    if is_router { Location::parse(value("LOCATION")?, router) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n\
        ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nUSN: uuid:x\r\nEXT:\r\n\
        Location: http://192.168.77.1:5000/rootDesc.xml\r\n\r\n";

    #[test]
    fn an_answer_leads_to_the_router_or_nowhere() {
        let found = read_answer(ANSWER.as_bytes(), ROUTER).unwrap();
        assert_eq!((found.address().to_string().as_str(), found.path()), ("192.168.77.1:5000", "/rootDesc.xml"));
        let version_2 = ANSWER.replace("Device:1", "Device:2");
        assert!(read_answer(version_2.as_bytes(), ROUTER).is_some());
        for (what, bytes) in [
            ("another place", ANSWER.replace("77.1:", "77.2:")),
            ("a notice", ANSWER.replace("HTTP/1.1 200 OK", "NOTIFY * HTTP/1.1")),
            ("an error", ANSWER.replace("200", "500")),
            ("another device", ANSWER.replace("InternetGatewayDevice", "MediaServer")),
            ("no location", ANSWER.replace("Location", "Elsewhere")),
            ("a location after the head", ANSWER.replace("Location", "\r\nLocation")),
            ("garbage", "\u{0}".repeat(2048)),
            ("nothing", String::new()),
        ] {
            assert_eq!(read_answer(bytes.as_bytes(), ROUTER), None, "{what}");
        }
        for length in 0..ANSWER.len() - 2 {
            assert_eq!(read_answer(&ANSWER.as_bytes()[..length], ROUTER), None, "{length} bytes of it");
        }
    }

    #[tokio::test]
    async fn answers_of_others_are_not_heard() {
        let here = Ipv4Addr::LOCALHOST;
        let listening = UdpSocket::bind((here, 0)).await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
        let address = listening.local_addr().unwrap();
        let answer = ANSWER.replace("192.168.77.1", "127.0.0.1");
        stranger.send_to(answer.as_bytes(), address).await.unwrap();
        let router = UdpSocket::bind((here, 0)).await.unwrap();
        router.send_to(answer.replace(":5000", ":6000").as_bytes(), address).await.unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        let found = listen(&listening, here, end, &mut MOST_ANSWERS.clone()).await.unwrap();
        assert_eq!(found.address().port(), 6000);
    }
}
