//! UDP services through a gateway.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use doorward::serve::settings::LimitsFile;
use doorward_control::Protocol;
use doorward_core::site::Carrier;
use doorward_lab::{LIMIT, LOOPBACK, Lab, Shape, service, target, until};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn packets_of_every_size_come_back_over_every_carrier() {
    for carrier in [Carrier::Quic, Carrier::Tls] {
        let lab = Lab::of(Shape::over(&[carrier])).await;
        let echo = target::udp_echo().await;
        let _device = lab.device("pi", vec![service("echo", &format!("udp://{}", echo.address))]).await;
        let visitor = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        visitor.connect(lab.port("pi", "echo", Protocol::Udp)).await.unwrap();
        let mut buffer = vec![0; 70_000];
        for size in [1, 1472, 65_507] {
            let packet: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
            visitor.send(&packet).await.unwrap();
            let heard = timeout(LIMIT, visitor.recv(&mut buffer)).await.expect("the packet comes back").unwrap();
            assert!(buffer[..heard] == packet, "{carrier:?}: {heard} of {size} bytes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_way_flow_lives_and_an_idle_one_is_forgotten_and_opened_anew() {
    let lab = Lab::of(Shape { udp_idle_seconds: Some(1), ..Shape::default() }).await;
    let (echo, fountain) = (target::udp_echo().await, target::udp_fountain().await);
    let services = vec![
        service("echo", &format!("udp://{}", echo.address)),
        service("fountain", &format!("udp://{}", fountain.address)),
    ];
    let _device = lab.device("pi", services).await;
    let (listener, asker) =
        (UdpSocket::bind((LOOPBACK, 0)).await.unwrap(), UdpSocket::bind((LOOPBACK, 0)).await.unwrap());
    listener.connect(lab.port("pi", "fountain", Protocol::Udp)).await.unwrap();
    asker.connect(lab.port("pi", "echo", Protocol::Udp)).await.unwrap();
    listener.send(b"begin").await.unwrap();
    let mut buffer = [0; 100];
    for _ in 0..2 {
        asker.send(b"well?").await.unwrap();
        timeout(LIMIT, asker.recv(&mut buffer)).await.expect("an answer").unwrap();
        assert_eq!(lab.gateway.gateway.open_streams(), 2);
        let took = until("the idle flow is forgotten", async || {
            timeout(Duration::from_secs(1), listener.recv(&mut [0; 100])).await.expect("the other flows on").unwrap();
            lab.gateway.gateway.open_streams() == 1
        })
        .await;
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_has_so_many_flows_and_no_more() {
    let lab = Lab::start().await;
    let echo = target::udp_echo().await;
    let _device = lab.device("pi", vec![service("echo", &format!("udp://{}", echo.address))]).await;
    let port = lab.port("pi", "echo", Protocol::Udp);
    let mut visitors = Vec::new();
    for _ in 0..300 {
        let visitor = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        visitor.send_to(b"well?", port).await.unwrap();
        visitors.push(visitor);
    }
    until("the table is full", async || lab.gateway.gateway.open_streams() == 256).await;
    let other = UdpSocket::bind(("127.0.0.2", 0)).await.unwrap();
    other.send_to(b"well?", port).await.unwrap();
    timeout(LIMIT, other.recv(&mut [0; 100])).await.expect("another source is served").unwrap();
    assert_eq!(lab.gateway.gateway.open_streams(), 257);
}

/// Tells each visitor the address that its packets come from: another flow, another port.
async fn mirror() -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let answering = async move {
        let mut buffer = [0; 2048];
        loop {
            let Ok((_, peer)) = socket.recv_from(&mut buffer).await else { continue };
            let _ = socket.send_to(peer.to_string().as_bytes(), peer).await;
        }
    };
    (address, tokio::spawn(answering))
}

async fn seen_as(visitor: &UdpSocket) -> String {
    let mut buffer = [0; 100];
    for _ in 0..20 {
        visitor.send(b"who am I?").await.unwrap();
        if let Ok(heard) = timeout(Duration::from_secs(1), visitor.recv(&mut buffer)).await {
            return String::from_utf8_lossy(&buffer[..heard.unwrap()]).into_owned();
        }
    }
    panic!("no answer comes")
}

/// Resident memory and open files of this process, gateway, agent and visitors together.
fn cost() -> (usize, usize) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    (pages * 4096 / (1024 * 1024), std::fs::read_dir("/proc/self/fd").unwrap().count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_flows_from_many_sources_pushes_out_the_idle_and_leaves_the_active_alone() {
    let limits = LimitsFile { udp_flows_per_port: Some(100), udp_flows_per_source: Some(60), ..LimitsFile::default() };
    let lab = Lab::of(Shape { limits, ..Shape::default() }).await;
    let (address, _mirror) = mirror().await;
    let _device = lab.device("pi", vec![service("mirror", &format!("udp://{address}"))]).await;
    let port = lab.port("pi", "mirror", Protocol::Udp);
    let connect = async || {
        let visitor = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        visitor.connect(port).await.unwrap();
        visitor
    };
    let (idle, active) = (connect().await, connect().await);
    let first = (seen_as(&idle).await, seen_as(&active).await);
    // Whoever comes back in another second is no flood.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(seen_as(&active).await, first.1);

    let before = cost();
    for source in 2..=101 {
        for _ in 0..20 {
            let stranger = UdpSocket::bind((IpAddr::from([127, 0, 0, source]), 0)).await.unwrap();
            stranger.send_to(&[7; 1400], port).await.unwrap();
        }
        assert_eq!(seen_as(&active).await, first.1, "the active flow goes on, {source} sources on");
        assert!(lab.gateway.gateway.open_streams() <= 250, "{} flows are open", lab.gateway.gateway.open_streams());
    }
    until("the table is as full as it may be", async || lab.gateway.gateway.open_streams() == 100).await;
    let during = cost();
    println!("2000 flows from 100 sources: from {before:?} to {during:?} (MiB, files)");
    assert!(during.0 < before.0 + 60, "{before:?} {during:?}");
    assert!(during.1 < before.1 + 250, "{before:?} {during:?}");
    assert_ne!(seen_as(&idle).await, first.0, "the idle one had given way, and comes in anew");
    assert_eq!(seen_as(&active).await, first.1);
}
