//! Headers on their way through a gateway.

use doorward::serve::settings::LimitsFile;
use doorward_lab::visitor::{self, connect_from, heard, http2, request, request2, say, send, send2, tls};
use doorward_lab::web::{Answer, EVENTS, ok, web};
use doorward_lab::{Lab, Shape, service, until};
use http::StatusCode;
use std::net::{IpAddr, Ipv4Addr};
use tokio::io::AsyncWriteExt;

const HOST: &str = "page-pi.gw.test";

#[tokio::test(flavor = "multi_thread")]
async fn cookies_that_http_2_splits_reach_the_target_in_one_header() {
    let lab = Lab::start().await;
    let page = web(|_| ok("hello")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let two = http2(lab.https(), HOST).await;
    let split = request2(HOST, "/").header("cookie", "a|b=1").header("cookie", "c=2");
    send2(&two, split.body(visitor::nothing()).unwrap()).await;
    assert_eq!(page.last().header("cookie"), Some("a|b=1; c=2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_arrive_to_the_byte_without_those_of_the_connection() {
    let lab = Lab::start().await;
    let answer = b"HTTP/1.1 200 OK\r\nset-cookie: a=1; Path=/\r\nset-cookie: b|c=2\r\nX-Raw: caf\xe9\r\n\
                   keep-alive: timeout=5\r\nconnection: x-mine\r\nx-mine: 1\r\ncontent-length: 0\r\n\r\n";
    let page = web(|_| Answer::Whole(answer.to_vec())).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let bytes = [
        format!("GET /a%20b;c?d=%FF HTTP/1.1\r\nHost: {HOST}\r\nCookie: session|P443=\"x y\"; z\r\n").as_bytes(),
        b"X-Raw: caf\xe9\r\nX-Empty:\r\nConnection: close, X-Private, X-Forwarded-For, Host\r\nX-Private: 1\r\n",
        b"Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip\r\nX-Forwarded-For: 6.6.6.6\r\n",
        b"Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Host: evil\r\n\r\n",
    ]
    .concat();
    let answer = say(lab.http(), &bytes).await;
    let got = page.last();
    assert_eq!(got.path(), "/a%20b;c?d=%FF");
    assert_eq!(got.header("cookie"), Some("session|P443=\"x y\"; z"));
    assert_eq!(got.header("x-raw"), Some("caf\u{e9}"));
    assert_eq!(got.header("host"), Some(HOST));
    assert_eq!(got.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(got.header("x-forwarded-host"), Some(HOST));
    assert_eq!(got.header("forwarded"), Some(format!("for=127.0.0.1;host={HOST};proto=http").as_str()));
    for gone in ["x-private", "keep-alive", "proxy-connection", "te", "connection", "x-real-ip"] {
        assert_eq!(got.header(gone), None, "{gone}");
    }
    let cookies: Vec<_> = answer.lines().filter(|l| l.to_ascii_lowercase().starts_with("set-cookie")).collect();
    assert_eq!(cookies, ["set-cookie: a=1; Path=/", "set-cookie: b|c=2"]);
    assert!(!answer.contains("x-mine") && !answer.contains("keep-alive"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_source_counts_from_a_configured_proxy_alone() {
    let from_proxies = Shape { proxies: vec!["127.0.0.1".into()], ..Shape::default() };
    for (shape, source) in [(Shape::default(), "127.0.0.1"), (from_proxies, "192.0.2.7")] {
        let lab = Lab::of(shape).await;
        let page = web(|_| ok("hello")).await;
        let _device = lab.device("pi", vec![service("page", &page.url())]).await;
        let forged = request(HOST, "/").header("x-forwarded-for", "nonsense, 192.0.2.7");
        send(lab.http(), forged.body(visitor::nothing()).unwrap()).await;
        assert_eq!(page.last().header("x-forwarded-for"), Some(source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_counts_from_a_configured_proxy_alone() {
    let proxy = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let lab = Lab::of(Shape { proxy_protocol_from: vec![proxy.to_string()], ..Shape::default() }).await;
    let page = web(|_| ok("hello")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let plain = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let text = "PROXY TCP4 192.0.2.7 192.0.2.1 1000 443\r\n";
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\xc0\0\x02\x01\x03\xe8\x01\xbb";
    for (header, source) in [(text.as_bytes(), "192.0.2.7"), (binary, "192.0.2.8")] {
        let mut socket = connect_from(proxy, lab.http()).await.unwrap();
        socket.write_all(&[header, plain.as_bytes()].concat()).await.unwrap();
        assert!(heard(&mut socket).await.ends_with("hello"));
        assert_eq!(page.last().header("x-forwarded-for"), Some(source));

        let mut socket = connect_from(proxy, lab.https()).await.unwrap();
        socket.write_all(header).await.unwrap();
        let mut secure = tls(socket, HOST, &["http/1.1"]).await.unwrap();
        secure.write_all(plain.as_bytes()).await.unwrap();
        assert!(heard(&mut secure).await.ends_with("hello"));
        assert_eq!(page.last().header("x-forwarded-for"), Some(source), "over TLS");

        let from_elsewhere = say(lab.http(), &[header, plain.as_bytes()].concat()).await;
        assert!(!from_elsewhere.contains("hello"), "{from_elsewhere}");
    }
    let mut silent = connect_from(proxy, lab.http()).await.unwrap();
    silent.write_all(plain.as_bytes()).await.unwrap();
    assert!(!heard(&mut silent).await.contains("hello"), "a proxy must say for whom it speaks");
    assert_eq!(page.requests().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_asks_too_often_is_held_back_and_others_are_not() {
    let limits = LimitsFile { requests_per_second_per_source: Some(2), ..LimitsFile::default() };
    let lab = Lab::of(Shape { limits, ..Shape::default() }).await;
    let page = web(|_| ok("hello")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let mut one = visitor::http1(lab.http()).await;
    let mut refused = 0;
    for _ in 0..60 {
        let answer = visitor::send_over(&mut one, request(HOST, "/").body(visitor::nothing()).unwrap()).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers.contains_key("retry-after"));
            refused += 1;
        }
    }
    // Twenty at once and two a second after that.
    assert!((1..=40).contains(&refused), "{refused} of 60");
    let socket = connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 8)), lab.http()).await.unwrap();
    let asking = request(HOST, "/").body(visitor::nothing()).unwrap();
    assert_eq!(visitor::send_over(&mut visitor::http1_over(socket).await, asking).await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_holds_too_many_visits_at_a_service_leaves_room_for_others() {
    let limits = LimitsFile { visits_per_source: Some(2), visits_per_service: Some(3), ..LimitsFile::default() };
    let lab = Lab::of(Shape { limits, ..Shape::default() }).await;
    let page = web(|_| Answer::Endless(EVENTS.to_vec())).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let ask = async |last: u8| {
        let socket = connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), lab.http()).await.unwrap();
        let mut visitor = visitor::http1_over(socket).await;
        let answer = visitor.send_request(request(HOST, "/").body(visitor::nothing()).unwrap()).await.unwrap();
        (answer.status(), visitor, answer)
    };
    let (one, two) = (ask(8).await, ask(8).await);
    assert_eq!((one.0, two.0), (StatusCode::OK, StatusCode::OK));
    let (status, _, answer) = ask(8).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    let other = ask(9).await;
    assert_eq!(other.0, StatusCode::OK, "another source has places of its own");
    assert_eq!(ask(10).await.0, StatusCode::SERVICE_UNAVAILABLE, "the service is full");
    drop((one, two));
    until("whoever left gave the places back", async || ask(8).await.0 == StatusCode::OK).await;
}
