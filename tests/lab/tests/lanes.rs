//! What web visits cost on the carriers that give every stream a connection.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::site::Carrier;
use doorward_lab::visitor::{self, Ending, get, http1_over, request, send_over, tls};
use doorward_lab::web::{Answer, ok, web};
use doorward_lab::{Lab, LabDevice, Relay, Shape, service, until};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HOST: &str = "page-pi.gw.test";

/// A lab whose agents come through a relay.
async fn lab_behind_relay(carrier: Carrier) -> (Lab, Relay) {
    let relay = Relay::start().await;
    let lab = Lab::of(Shape { link_port: relay.address.port(), ..Shape::over(&[carrier]) }).await;
    relay.lead_to(lab.https());
    (lab, relay)
}

async fn device(lab: &Lab, target: &str, carrier: Carrier) -> LabDevice {
    let device = lab.device("pi", vec![service("page", target)]).await;
    assert_eq!(device.carrier(), Some(carrier));
    device
}

/// A page, over a connection of its own.
async fn page_over_https(gateway: SocketAddr, close: bool) -> String {
    let socket = tls(TcpStream::connect(gateway).await.unwrap(), HOST, &["http/1.1"]).await.unwrap();
    let mut asking = request(HOST, "/");
    if close {
        asking = asking.header("connection", "close");
    }
    send_over(&mut http1_over(socket).await, asking.body(visitor::nothing()).unwrap()).await.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn web_visitors_after_each_other_share_lanes() {
    for carrier in [Carrier::Tls, Carrier::WebSocket] {
        let (lab, relay) = lab_behind_relay(carrier).await;
        let page = web(|_| ok("hello")).await;
        let _device = device(&lab, &page.url(), carrier).await;
        assert_eq!(page_over_https(lab.https(), false).await, "hello");
        let before = relay.taken();
        for n in 0..20 {
            assert_eq!(page_over_https(lab.https(), n % 2 == 0).await, "hello");
        }
        assert_eq!(page.accepted(), 21, "every visitor has a connection of their own to the target");
        let lanes = relay.taken() - before;
        println!("{carrier:?}: 20 visits, {lanes} new lanes");
        // A spare one, and others where a lane came home late.
        assert!(lanes <= 4, "{carrier:?}: {lanes} new lanes for 20 visits");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_given_up_is_a_break_to_its_target_and_costs_its_lane() {
    for carrier in [Carrier::Tls, Carrier::WebSocket] {
        let (lab, relay) = lab_behind_relay(carrier).await;
        let mut page = web(|request| if request.path() == "/up" { Answer::Listen } else { ok("hello") }).await;
        let _device = device(&lab, &page.url(), carrier).await;
        let before = relay.taken();
        for n in 1..=3 {
            let mut socket = TcpStream::connect(lab.http()).await.unwrap();
            let head = format!("POST /up HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 9\r\n\r\nhalf");
            socket.write_all(head.as_bytes()).await.unwrap();
            until("the request has arrived", async || page.requests().len() == n).await;
            drop(socket);
            let gone = Instant::now();
            assert_eq!(page.ending().await, Ending::Reset, "{carrier:?}");
            assert!(gone.elapsed() < Duration::from_secs(3), "{carrier:?}: after {:?}", gone.elapsed());
        }
        assert!(relay.taken() - before >= 3, "{carrier:?}: {} lanes", relay.taken() - before);
        assert_eq!(get(lab.http(), HOST, "/").await.text(), "hello");
    }
}
