//! TCP services through a gateway.

use doorward_control::Protocol;
use doorward_core::access::PolicyDocument;
use doorward_core::site::Carrier;
use doorward_lab::visitor::{Ending, ending, knock};
use doorward_lab::{Lab, Shape, service, target};
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
