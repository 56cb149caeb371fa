//! TCP services through a gateway.

use doorward_control::{LinkState, Protocol};
use doorward_core::access::PolicyDocument;
use doorward_core::site::Carrier;
use doorward_lab::visitor::{Ending, ending, knock};
use doorward_lab::{LOOPBACK, Lab, Shape, service, target, until};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_over_every_carrier_and_half_closes_are_passed_on() {
    for carrier in [Carrier::Quic, Carrier::Tls, Carrier::WebSocket] {
        let lab = Lab::of(Shape::over(&[carrier])).await;
        let echo = target::echo().await;
        let device = lab.device("pi", vec![service("echo", &format!("tcp://{}", echo.address))]).await;
        assert_eq!(device.carrier(), Some(carrier));
        let mut visitor = TcpStream::connect(lab.port("pi", "echo", Protocol::Tcp)).await.unwrap();
        let said = vec![7; 3_000_000];
        let (mut reader, mut writer) = visitor.split();
        let (heard, _) = tokio::join!(
            async {
                let mut heard = Vec::new();
                reader.read_to_end(&mut heard).await.unwrap();
                heard
            },
            async {
                writer.write_all(&said).await.unwrap();
                writer.shutdown().await.unwrap();
            }
        );
        assert!(heard == said, "{carrier:?}: {} bytes came back", heard.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_policy_resets_live_connections_within_a_second() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let _device = lab.device("pi", vec![service("echo", &format!("tcp://{}", echo.address))]).await;
    let mut visitor = TcpStream::connect(lab.port("pi", "echo", Protocol::Tcp)).await.unwrap();
    visitor.write_all(b"hello").await.unwrap();
    visitor.read_exact(&mut [0; 5]).await.unwrap();

    let started = Instant::now();
    lab.set_access("pi", "echo", PolicyDocument::default()).await;
    assert_eq!(ending(&mut visitor, Duration::from_secs(5)).await, Ending::Reset);
    assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());

    assert_eq!(knock(lab.port("pi", "echo", Protocol::Tcp)).await, Ending::Reset);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passed_over_a_link_is_told_with_the_device_while_the_visits_still_stand() {
    for carrier in [Carrier::Quic, Carrier::Tls] {
        let lab = Lab::of(Shape::over(&[carrier])).await;
        let (echo, udp_echo) = (target::echo().await, target::udp_echo().await);
        let services = vec![
            service("echo", &format!("tcp://{}", echo.address)),
            service("udp", &format!("udp://{}", udp_echo.address)),
        ];
        let _device = lab.device("pi", services).await;
        let mut visitor = TcpStream::connect(lab.port("pi", "echo", Protocol::Tcp)).await.unwrap();
        visitor.write_all(&vec![7; 100_000]).await.unwrap();
        visitor.read_exact(&mut vec![0; 100_000]).await.unwrap();
        let packets = tokio::net::UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        packets.connect(lab.port("pi", "udp", Protocol::Udp)).await.unwrap();
        for size in [1000, 30_000] {
            packets.send(&vec![7; size]).await.unwrap();
            packets.recv(&mut vec![0; 40_000]).await.unwrap();
        }
        let device = lab.record("pi", "echo").service.device;
        until("131 000 bytes are counted each way", async || match lab.control().presence().device(device).link {
            LinkState::Online { report, .. } => (report.bytes_in, report.bytes_out) == (131_000, 131_000),
            LinkState::Offline { .. } => false,
        })
        .await;
    }
}
