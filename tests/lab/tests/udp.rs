//! UDP services through a gateway.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use doorward_control::Protocol;
use doorward_core::site::Carrier;
use doorward_lab::{LIMIT, LOOPBACK, Lab, Shape, service, target, until};
use std::time::Duration;
use tokio::net::UdpSocket;
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
