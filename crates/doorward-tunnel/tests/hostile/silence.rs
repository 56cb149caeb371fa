//! Peers that say nothing, at each step. All of it at once: every step has its own limit.

use crate::common::gateway::Gateway;
use crate::common::impostor::Impostor;
use crate::common::stranger::{Stranger, connect_quic};
use crate::common::{bounded, device_key, introduction};
use doorward_core::site::LINK_PATH;
use doorward_tunnel::wire::header;
use doorward_tunnel::{ArrivalError, CARRIER_LIMIT, HANDSHAKE_LIMIT, HandshakeError, LinkEnd};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The gateway's verdict, and that it came when the limit was reached.
async fn verdict(gateway: &mut Gateway, limit: Duration) -> ArrivalError {
    let start = Instant::now();
    let error = gateway.arrival().await.err().expect("nobody arrives in silence");
    let took = start.elapsed();
    assert!(took > limit / 2 && took < limit + Duration::from_secs(2), "{error}: after {took:?}");
    error
}

async fn tcp_only() {
    let mut gateway = Gateway::start().await;
    let _silent = TcpStream::connect(gateway.port).await.unwrap();
    assert!(matches!(verdict(&mut gateway, CARRIER_LIMIT).await, ArrivalError::Slow));
}

async fn tls_without_a_hello() {
    let mut gateway = Gateway::start().await;
    let _silent = Stranger::connect(gateway.port).await;
    let error = verdict(&mut gateway, HANDSHAKE_LIMIT).await;
    assert!(matches!(error, ArrivalError::Handshake(HandshakeError::Silent)), "{error}");
}

async fn a_hello_byte_by_byte() {
    let mut gateway = Gateway::start().await;
    let mut slow = Stranger::connect(gateway.port).await;
    let dripping = async {
        slow.say(&header(1, 4000)).await;
        let mut clock = tokio::time::interval(Duration::from_millis(200));
        loop {
            clock.tick().await;
            slow.say(&[0]).await;
        }
    };
    tokio::select! {
        error = verdict(&mut gateway, HANDSHAKE_LIMIT) => {
            assert!(matches!(error, ArrivalError::Handshake(HandshakeError::Silent)), "{error}");
        }
        () = dripping => {}
    }
}

async fn quic_without_a_control_stream() {
    let mut gateway = Gateway::start().await;
    let silent = connect_quic(gateway.port).await;
    assert!(matches!(verdict(&mut gateway, CARRIER_LIMIT).await, ArrivalError::Slow));
    silent.closed().await;
}

async fn quic_with_half_a_hello() {
    let mut gateway = Gateway::start().await;
    let connection = connect_quic(gateway.port).await;
    let mut control = Stranger::over(&connection).await;
    control.say(&header(1, 100)).await;
    let error = verdict(&mut gateway, HANDSHAKE_LIMIT).await;
    assert!(matches!(error, ArrivalError::Handshake(HandshakeError::Silent)), "{error}");
}

async fn a_websocket_without_tls() {
    let mut gateway = Gateway::start().await;
    let mut silent = TcpStream::connect(gateway.web_port).await.unwrap();
    let request = format!(
        "GET {LINK_PATH} HTTP/1.1\r\nhost: gw\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    silent.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    silent.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    assert!(matches!(verdict(&mut gateway, CARRIER_LIMIT).await, ArrivalError::Slow));
}

/// It shows its key, is welcomed, and neither reads that nor says anything more.
async fn a_device_that_falls_silent_after_its_hello() {
    let mut gateway = Gateway::start().await;
    let mut device = Stranger::connect(gateway.port).await;
    let (standing, _) = device.join(&mut gateway).await;
    let start = Instant::now();
    assert!(matches!(standing.driver.await, LinkEnd::Silent));
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(15) && took < Duration::from_secs(18), "{took:?}");
}

/// It takes the agent's hello and never answers.
async fn a_gateway_that_does_not_answer() {
    let impostor = Impostor::start().await;
    let start = Instant::now();
    let refused = impostor.answers(&[]).await.err().expect("no link stands in silence");
    assert!(matches!(refused, HandshakeError::Silent), "{refused}");
    assert!(start.elapsed() < HANDSHAKE_LIMIT + Duration::from_secs(2), "{:?}", start.elapsed());
}

/// Nor does it read the hello.
async fn a_gateway_that_only_shakes_hands() {
    let impostor = Impostor::start().await;
    let key = device_key();
    let introducing = async { impostor.dialer.establish(None).await.introduce(&key, &introduction()).await };
    let accepting = async {
        let _held = impostor.accept().await;
        std::future::pending::<()>().await
    };
    tokio::select! {
        introduced = introducing => assert!(matches!(introduced.err().unwrap(), HandshakeError::Silent)),
        () = accepting => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_given_up_at_every_step() {
    bounded(async {
        tokio::join!(
            tcp_only(),
            tls_without_a_hello(),
            a_hello_byte_by_byte(),
            quic_without_a_control_stream(),
            quic_with_half_a_hello(),
            a_websocket_without_tls(),
            a_device_that_falls_silent_after_its_hello(),
            a_gateway_that_does_not_answer(),
            a_gateway_that_only_shakes_hands(),
        );
    })
    .await;
}
