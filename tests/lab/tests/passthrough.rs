//! Services that speak TLS themselves, under names of their own on the port of HTTPS.

#![expect(clippy::unwrap_used, reason = "what goes wrong here ends the test")]

use doorward::serve::settings::LimitsFile;
use doorward_core::access::{PolicyDocument, ScheduleDocument};
use doorward_core::site::Carrier;
use doorward_lab::target::{self, Target};
use doorward_lab::tls::{TlsTarget, passing};
use doorward_lab::visitor::{self, Ending, connect_from, ending, hello, request2};
use doorward_lab::web::{ok, web};
use doorward_lab::{LIMIT, LOOPBACK, Lab, LabDevice, Shape, service, until};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

const VAULT: &str = "vault.gw.test";
const PAGE: &str = "page-pi.gw.test";
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

async fn visit(lab: &Lab, host: &str, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let visiting = visitor::tls(TcpStream::connect(lab.https()).await?, host, protocols);
    timeout(LIMIT, visiting).await.expect("an answer in time")
}

fn shown(visitor: &TlsStream<TcpStream>) -> Vec<u8> {
    visitor.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// A device whose vault says back, unread by anybody, what it hears.
async fn vault(lab: &Lab) -> (Target, LabDevice) {
    let echo = target::echo().await;
    let device = lab.device("pi", vec![passing("vault", echo.address, VAULT)]).await;
    (echo, device)
}

/// What comes back for this, and how it ends; a few bytes at once.
async fn answered(address: SocketAddr, said: &[u8], at_once: usize) -> (Vec<u8>, Ending) {
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let mut heard = Vec::new();
    let talking = async {
        let writing = async {
            for piece in said.chunks(at_once) {
                if writer.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            let _ = writer.shutdown().await;
        };
        let reading = async {
            loop {
                match reader.read_buf(&mut heard).await {
                    Ok(0) => return Ending::Finished,
                    Ok(_) => {}
                    Err(_) => return Ending::Reset,
                }
            }
        };
        tokio::join!(writing, reading).1
    };
    let how = timeout(LIMIT, talking).await.unwrap_or(Ending::StillOpen);
    (heard, how)
}

/// The same hello in records of so many bytes.
fn in_records_of(size: usize, hello: &[u8]) -> Vec<u8> {
    let record = |part: &[u8]| [&[0x16, 3, 1, 0, u8::try_from(part.len()).unwrap()], part].concat();
    hello[5..].chunks(size).flat_map(record).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_sees_the_services_own_certificate_over_every_carrier() {
    for carrier in [Carrier::Quic, Carrier::Tls, Carrier::WebSocket] {
        let lab = Lab::of(Shape::over(&[carrier])).await;
        let (own, page) = (TlsTarget::start(VAULT).await, web(|_| ok("page")).await);
        let services = vec![passing("vault", own.address(), VAULT), service("page", &page.url())];
        let device = lab.device("pi", services).await;
        assert_eq!(device.carrier(), Some(carrier));
        for spelt in [VAULT, "VAULT.Gw.Test"] {
            let visitor = visit(&lab, spelt, &[]).await.unwrap();
            assert!(shown(&visitor) == *own.certificate, "{carrier:?}: {spelt} shows another certificate");
            let (mut reader, mut writer) = tokio::io::split(visitor);
            let said = vec![7; 1_000_000];
            let (heard, ()) = tokio::join!(
                async {
                    let mut heard = Vec::new();
                    timeout(LIMIT, reader.read_to_end(&mut heard)).await.unwrap().unwrap();
                    heard
                },
                async {
                    writer.write_all(&said).await.unwrap();
                    writer.shutdown().await.unwrap();
                }
            );
            assert!(heard == said, "{carrier:?}: {} bytes came back", heard.len());
        }
        let beside = visit(&lab, PAGE, &["http/1.1"]).await.unwrap();
        assert!(shown(&beside) != *own.certificate, "names beside it are the gateway's");
        assert_eq!(own.hellos().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_come_first_then_links_then_proofs_then_http() {
    let lab = Lab::of(Shape::over(&[Carrier::Tls])).await;
    let (own, page) = (TlsTarget::start(VAULT).await, web(|_| ok("page")).await);
    let services = vec![passing("vault", own.address(), VAULT), service("page", &page.url())];
    let device = lab.device("pi", services).await;
    for protocols in [&["doorward/1"][..], &["acme-tls/1"], &["h2", "http/1.1"], &["acme-tls/1", "doorward/1"], &[]] {
        let visitor = visit(&lab, VAULT, protocols).await.unwrap();
        assert!(shown(&visitor) == *own.certificate, "{protocols:?}");
        let heard = own.hellos().pop().unwrap();
        assert_eq!(
            (heard.host.as_deref(), heard.protocols),
            (Some(VAULT), protocols.iter().map(|p| p.to_string()).collect())
        );
    }
    let spoken = async |host: &str, protocols: &[&str]| {
        let visitor = visit(&lab, host, protocols).await.ok()?;
        visitor.get_ref().1.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap())
    };
    for host in [PAGE, "unknown.gw.test", "127.0.0.1"] {
        assert_eq!(spoken(host, &["doorward/1", "acme-tls/1", "h2"]).await.as_deref(), Some("doorward/1"), "{host}");
        assert_eq!(spoken(host, &["acme-tls/1", "h2"]).await, None, "{host}: no proof is due");
        assert_eq!(spoken(host, &["h2"]).await.as_deref(), Some("h2"), "{host}");
    }
    assert_eq!(own.hellos().len(), 5, "nobody else came to the service");
    assert_eq!(device.carrier(), Some(Carrier::Tls), "links name nobody, so they are never mistaken");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_pieces_a_hello_comes_in_its_answer_is_the_same() {
    let lab = Lab::start().await;
    let (_echo, _device) = vault(&lab).await;
    let forbidden = target::echo().await;
    let mut shut = passing("shut", forbidden.address, "shut.gw.test");
    shut.offer.access = PolicyDocument::default();
    let _other = lab.device("other", vec![shut]).await;
    for (size, at_once) in [(0, 1), (0, 7), (1, 1), (1, 4096), (3, 64), (200, 4096), (0, 4096)] {
        let form = |host: &str| match (size, hello(host, &["h2"])) {
            (0, hello) => hello,
            (size, hello) => in_records_of(size, &hello),
        };
        // Bytes right behind the hello, as with 0-RTT, are the service's, too.
        let said = [&form(VAULT)[..], b"\x17\x03\x03\x00\x04more"].concat();
        let (heard, how) = answered(lab.https(), &said, at_once).await;
        assert!(heard == said, "records of {size}, {at_once} at once: {} bytes came back", heard.len());
        assert_eq!(how, Ending::Finished);
        let refused = answered(lab.https(), &form("shut.gw.test"), at_once).await;
        assert_eq!(refused, (Vec::new(), Ending::Reset), "records of {size}, {at_once} at once");
        let (heard, _) = answered(lab.https(), &form("unknown.gw.test"), at_once).await;
        assert_eq!(heard.first(), Some(&0x16), "the gateway answers for the names that it speaks for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_in_the_way_strangers_get_a_reset_and_no_word_of_tls() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let from = |network: &str| PolicyDocument { from: Some(vec![network.into()]), ..PolicyDocument::public() };
    let never = ScheduleDocument { zone: "UTC".into(), open: Vec::new() };
    let closed = PolicyDocument { when: Some(never), ..PolicyDocument::public() };
    let password = doorward::password::policy("anna", &doorward_core::Secret::new("secret".to_owned()));
    let table = [
        ("open", PolicyDocument::public()),
        ("nobody", PolicyDocument::default()),
        ("elsewhere", from("192.0.2.0/24")),
        ("closed", closed),
        ("password", password),
        ("withdrawn", PolicyDocument::public()),
        ("dropped", PolicyDocument::public()),
        ("broken", PolicyDocument::public()),
    ];
    let offered = |(name, access): &(&str, PolicyDocument)| {
        let address = if *name == "broken" { target::nobody() } else { echo.address };
        let mut service = passing(name, address, &format!("{name}.gw.test"));
        service.offer.access = access.clone();
        service
    };
    let mut services: Vec<_> = table.iter().map(offered).collect();
    let device = lab.device("pi", services.clone()).await;
    let gone = lab.device("gone", vec![passing("offline", echo.address, "offline.gw.test")]).await;
    for name in ["withdrawn", "dropped", "offline"] {
        let said = hello(&format!("{name}.gw.test"), &[]);
        assert!(answered(lab.https(), &said, 4096).await.0 == said, "{name}: it was served");
    }
    gone.stop().await;
    services.retain(|service| service.offer.name.as_str() != "withdrawn");
    services.iter_mut().filter(|s| s.offer.name.as_str() == "dropped").for_each(|s| s.offer.entrances.clear());
    device.offer(services).await;

    let names = ["nobody", "elsewhere", "closed", "password", "withdrawn", "dropped", "broken", "offline"];
    for name in names {
        let said = hello(&format!("{name}.gw.test"), &["h2"]);
        assert_eq!(answered(lab.https(), &said, 4096).await, (Vec::new(), Ending::Reset), "{name}");
    }
    let said = hello("open.gw.test", &["h2"]);
    assert!(answered(lab.https(), &said, 4096).await.0 == said);
    lab.control().flush_audit().await.unwrap();
    let audit = lab.control().audit(100).await.unwrap();
    let mut refused: Vec<_> = audit.iter().filter(|e| e.deed == "visit-refused").map(|e| e.detail.as_str()).collect();
    refused.sort_unstable();
    assert_eq!(refused, ["closed", "nobody", "not-offered", "source-network"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_the_name_away_cuts_within_a_second_what_runs_under_it() {
    let lab = Lab::start().await;
    let (echo, device) = vault(&lab).await;
    let said = hello(VAULT, &[]);
    let mut visitor = TcpStream::connect(lab.https()).await.unwrap();
    visitor.write_all(&said).await.unwrap();
    visitor.read_exact(&mut vec![0; said.len()]).await.unwrap();
    let (mut elsewhere, started) = (passing("vault", echo.address, "other.gw.test"), Instant::now());
    elsewhere.offer.access = PolicyDocument::public();
    device.offer(vec![elsewhere]).await;
    assert_eq!(ending(&mut visitor, LIMIT).await, Ending::Reset);
    assert!(started.elapsed() < Duration::from_secs(1), "cut after {:?}", started.elapsed());
    let moved = hello("other.gw.test", &[]);
    assert!(answered(lab.https(), &moved, 4096).await.0 == moved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_passed_through_is_misdirected_over_http_and_never_forwarded() {
    let lab = Lab::start().await;
    let (own, page) = (TlsTarget::start(VAULT).await, web(|_| ok("page")).await);
    let services = vec![passing("vault", own.address(), VAULT), service("page", &page.url())];
    let _device = lab.device("pi", services).await;
    for host in [VAULT, "VAULT.gw.test.", "vault.gw.test:443"] {
        let plain = visitor::get(lab.http(), host, "/").await;
        assert_eq!(plain.status, 421, "{host}: {}", plain.text());
    }
    let coalesced = visitor::http2(lab.https(), PAGE).await;
    let ask =
        async |host: &str| visitor::send2(&coalesced, request2(host, "/").body(visitor::nothing()).unwrap()).await;
    assert_eq!(ask(PAGE).await.text(), "page");
    assert_eq!(ask(VAULT).await.status, 421, "the gateway's certificate covers *.gw.test");
    assert_eq!(own.hellos(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn visits_hold_no_place_of_a_handshake_and_a_name_has_so_many() {
    let limits = LimitsFile {
        handshakes_per_source: Some(5),
        connections_per_port: Some(20),
        connections_per_source: Some(30),
        ..LimitsFile::default()
    };
    let lab = Lab::of(Shape { limits, ..Shape::default() }).await;
    let echo = target::echo().await;
    let services = ["vault.gw.test", "other.gw.test"].map(|host| passing(&host[..5], echo.address, host));
    let _device = lab.device("pi", services.to_vec()).await;
    let said = hello(VAULT, &[]);
    let mut held = Vec::new();
    for n in 0..20 {
        let mut visitor = connect_from(ELSEWHERE, lab.https()).await.unwrap();
        visitor.write_all(&said).await.unwrap();
        let echoed = timeout(LIMIT, visitor.read_exact(&mut vec![0; said.len()])).await.unwrap();
        assert!(echoed.is_ok(), "visitor {n}: {echoed:?}");
        held.push(visitor);
    }
    assert_eq!(answered(lab.https(), &said, 4096).await, (Vec::new(), Ending::Reset), "the name is full");
    let other = hello("other.gw.test", &[]);
    assert!(answered(lab.https(), &other, 4096).await.0 == other, "another name is not");
    held.truncate(1);
    until("there is room again", async || answered(lab.https(), &said, 4096).await.0 == said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_without_end_or_without_haste_is_given_up() {
    let lab = Lab::start().await;
    let (_echo, _device) = vault(&lab).await;
    // A message of 60 000 bytes, which TLS would allow.
    let endless = in_records_of(200, &[&[0; 5], &[1, 0, 0xea, 0x60][..], &vec![0; 60_000]].concat());
    let (heard, how) = answered(lab.https(), &endless, 4096).await;
    assert!(heard.is_empty() && how != Ending::StillOpen, "{how:?}, {} bytes", heard.len());

    let started = Instant::now();
    let (mut reader, mut writer) = TcpStream::connect(lab.https()).await.unwrap().into_split();
    let dripping = tokio::spawn(async move {
        for byte in hello(VAULT, &[]) {
            if writer.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert_ne!(ending(&mut reader, LIMIT).await, Ending::StillOpen);
    println!("a dripping hello was given up after {:?}", started.elapsed());
    dripping.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_says_for_whom_it_speaks_is_believed_here_too() {
    let lab = Lab::of(Shape { proxy_protocol_from: vec![ELSEWHERE.to_string()], ..Shape::default() }).await;
    let (_echo, _device) = vault(&lab).await;
    let from = Some(vec!["192.0.2.7".to_owned()]);
    lab.set_access("pi", "vault", PolicyDocument { from, ..PolicyDocument::public() }).await;
    let said = hello(VAULT, &[]);
    for (source, is_admitted) in [("192.0.2.7", true), ("192.0.2.8", false)] {
        let mut visitor = connect_from(ELSEWHERE, lab.https()).await.unwrap();
        let header = format!("PROXY TCP4 {source} 192.0.2.1 1000 443\r\n");
        visitor.write_all(&[header.as_bytes(), &said].concat()).await.unwrap();
        let mut heard = vec![0; said.len()];
        let echoed = timeout(LIMIT, visitor.read_exact(&mut heard)).await.unwrap();
        assert_eq!((echoed.is_ok(), heard == said), (is_admitted, is_admitted), "{source}");
    }
    assert_eq!(answered(lab.https(), &said, 4096).await, (Vec::new(), Ending::Reset), "from {LOOPBACK}");
}
