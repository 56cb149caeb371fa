//! WebSockets inside HTTP/2 (RFC 8441), on either side of the gateway.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use bytes::Bytes;
use doorward_core::access::PolicyDocument;
use doorward_lab::calls::{calls, calls_and_websockets};
use doorward_lab::visitor::{self, Body, Ending, http1, http2, nothing, request, request2, send_over, send2};
use doorward_lab::web::{ok, web};
use doorward_lab::websocket::{echo, is_answered, until_ended};
use doorward_lab::{Lab, service};
use futures_util::{SinkExt, StreamExt};
use h2::Reason;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const HOST: &str = "live-pi.gw.test";

fn opening(protocol: &'static str) -> Request<Body> {
    let request = Request::builder().method(Method::CONNECT).uri(format!("https://{HOST}/live"));
    let request = request.extension(Protocol::from_static(protocol)).header("sec-websocket-version", "13");
    request.header("origin", format!("https://{HOST}")).body(nothing()).unwrap()
}

async fn ask(sender: &SendRequest<Body>, request: Request<Body>) -> Response<Incoming> {
    // The server's settings, which allow it, have come with the first answer.
    send2(sender, request2("nobody.gw.test", "/").body(nothing()).unwrap()).await;
    sender.clone().send_request(request).await.unwrap()
}

async fn open(sender: &SendRequest<Body>) -> WebSocketStream<TokioIo<Upgraded>> {
    let response = ask(sender, opening("websocket")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("sec-websocket-accept") && !response.headers().contains_key("upgrade"));
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_inside_http_2_is_one_to_the_target() {
    let lab = Lab::start().await;
    let mut live = echo().await;
    let _device = lab.device("pi", vec![service("live", &live.url())]).await;
    let sender = http2(lab.https(), HOST).await;
    let (mut one, mut other) = (open(&sender).await, open(&sender).await);
    for size in [1, 70_000, 1_000_000] {
        assert!(is_answered(&mut one, Message::binary(vec![7; size])).await, "{size} bytes");
        assert!(is_answered(&mut other, Message::text("x".repeat(size))).await, "{size} characters");
    }
    one.close(None).await.unwrap();
    while one.next().await.is_some_and(|message| message.is_ok()) {}
    assert_eq!(live.ending().await, Ending::Finished);
    assert!(is_answered(&mut other, Message::text("the other goes on")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_resets_the_websocket_alone() {
    let lab = Lab::start().await;
    let (mut live, page) = (echo().await, web(|_| ok("page")).await);
    let _device = lab.device("pi", vec![service("live", &live.url()), service("page", &page.url())]).await;
    let sender = http2(lab.https(), HOST).await;
    let mut socket = open(&sender).await;
    assert!(is_answered(&mut socket, Message::text("hello")).await);
    lab.set_access("pi", "live", PolicyDocument::default()).await;
    until_ended(&mut socket).await;
    assert_eq!(live.ending().await, Ending::Reset);
    let page = send2(&sender, request2("page-pi.gw.test", "/").body(nothing()).unwrap()).await;
    assert_eq!(page.text(), "page", "the connection is still there");
    let refused = ask(&sender, opening("websocket")).await;
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tunnels_inside_http_2_are_refused() {
    let lab = Lab::start().await;
    let page = web(|_| ok("page")).await;
    let _device = lab.device("pi", vec![service("live", &page.url())]).await;
    let sender = http2(lab.https(), HOST).await;
    for protocol in ["connect-udp", "connect-ip", "webtransport"] {
        assert_eq!(ask(&sender, opening(protocol)).await.status(), StatusCode::BAD_REQUEST, "{protocol}");
    }
    let bare = Request::builder().method(Method::CONNECT).uri(format!("{HOST}:443")).body(nothing()).unwrap();
    assert_eq!(sender.clone().send_request(bare).await.unwrap().status(), StatusCode::BAD_REQUEST);
    // The target's 200 is no WebSocket, and must not look like one.
    let plain = ask(&sender, opening("websocket")).await;
    assert_eq!(plain.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(page.requests().len(), 1);
    assert_eq!(page.last().header("upgrade"), Some("websocket"));
}

/// hyper 1.8 and 1.9 kept all that such a reader did not take (hyper#4049).
#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_stops_reading_a_websocket_inside_http_2_costs_little() {
    let lab = Lab::start().await;
    let flood = tokio::net::TcpListener::bind((doorward_lab::LOOPBACK, 0)).await.unwrap();
    let url = format!("http://{}", flood.local_addr().unwrap());
    let _device = lab.device("pi", vec![service("live", &url)]).await;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let target = tokio::spawn({
        let sent = sent.clone();
        async move {
            let (socket, _) = flood.accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(socket).await.unwrap();
            loop {
                if socket.send(Message::Binary(Bytes::from_static(&[7; 16 * 1024]))).await.is_err() {
                    return;
                }
                sent.fetch_add(16 * 1024, std::sync::atomic::Ordering::Relaxed);
            }
        }
    });
    let sender = http2(lab.https(), HOST).await;
    let response = ask(&sender, opening("websocket")).await;
    let mut stalled = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stalled.read_exact(&mut [0; 1000]).await.unwrap();
    // Until no more fits anywhere: the count stands still for a second.
    let mut seen = 0;
    let mut stood_still = 0;
    doorward_lab::until("the target can send no more", async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = sent.load(std::sync::atomic::Ordering::Relaxed);
        stood_still = if now == seen { stood_still + 1 } else { 0 };
        seen = now;
        stood_still > 20
    })
    .await;
    println!("a stalled reader holds {} KiB between target and visitor", seen / 1024);
    assert!(seen < 24 * 1024 * 1024, "{seen} bytes are on their way");
    drop(stalled);
    tokio::time::timeout(doorward_lab::LIMIT, target).await.expect("the target hears that he left").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_reaches_a_target_that_takes_them_inside_http_2() {
    let lab = Lab::start().await;
    let mut rpc = calls_and_websockets().await;
    let _device = lab.device("pi", vec![service("live", &rpc.url())]).await;
    // The example of RFC 6455, 1.3.
    let asking = format!(
        "GET /echo HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-protocol: chat\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut one = TcpStream::connect(lab.http()).await.unwrap();
    one.write_all(asking.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tokio::time::timeout(doorward_lab::LIMIT, one.read_u8()).await.expect("an answer comes").unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: websocket"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");

    let visitor = http2(lab.https(), HOST).await;
    send2(&visitor, request2("nobody.gw.test", "/").body(nothing()).unwrap()).await;
    let asking = request2(HOST, "/echo").method("CONNECT").extension(Protocol::from_static("websocket"));
    let asking = asking.header("sec-websocket-version", "13").body(nothing()).unwrap();
    let answer =
        tokio::time::timeout(doorward_lab::LIMIT, visitor.clone().send_request(asking)).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut two = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());

    for size in [1, 1000, 3_000_000] {
        is_said_back(&mut one, size).await;
        is_said_back(&mut two, size).await;
    }
    let cut = Instant::now();
    lab.set_access("pi", "live", PolicyDocument::default()).await;
    for _ in 0..2 {
        assert_eq!(rpc.reset().await, ("/echo".to_owned(), Some(Reason::CANCEL)));
    }
    assert_eq!(visitor::ending(&mut one, doorward_lab::LIMIT).await, visitor::Ending::Reset);
    visitor::ending(&mut two, doorward_lab::LIMIT).await;
    assert!(cut.elapsed() < Duration::from_secs(1), "{:?}", cut.elapsed());
    lab.set_access("pi", "live", PolicyDocument::public()).await;
    send2(&visitor, request2(HOST, "/").body(nothing()).unwrap()).await;
    let (head, _) = rpc.requests().pop().unwrap();
    assert_eq!(head.uri.path(), "/");
}

async fn is_said_back(socket: &mut (impl AsyncRead + AsyncWrite + Unpin), size: usize) {
    let (mut reader, mut writer) = tokio::io::split(socket);
    let said = vec![7; size];
    let mut heard = vec![0; size];
    let both = async { tokio::try_join!(writer.write_all(&said), reader.read_exact(&mut heard)) };
    tokio::time::timeout(doorward_lab::LIMIT, both).await.expect("it is said back").unwrap();
    assert_eq!(heard, said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_websockets_inside_http_2_is_said_to_take_none() {
    let lab = Lab::start().await;
    let rpc = calls().await;
    let _device = lab.device("pi", vec![service("live", &rpc.url())]).await;
    for to in ["websocket", "foo"] {
        let asking = request(HOST, "/echo").header("connection", "upgrade").header("upgrade", to);
        let asking =
            asking.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").header("sec-websocket-version", "13");
        let answer = send_over(&mut http1(lab.http()).await, asking.body(nothing()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert!(answer.text().contains("takes no WebSockets"), "{}", answer.text());
    }
    assert!(rpc.requests().is_empty());
}
