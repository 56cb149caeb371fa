//! Web services through a gateway: routing, and bytes that arrive as they were sent.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use bytes::Bytes;
use doorward_core::names::{HostName, PathPrefix};
use doorward_core::service::{EntranceWish, PathWish};
use doorward_lab::visitor::{
    self, full, get, heard, http1, http1_over, http2, pieces, request, request2, send, send_over, send2, tls,
};
use doorward_lab::web::{Answer, EVENTS, ok, web};
use doorward_lab::{LIMIT, Lab, service, websocket};
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

const HOST: &str = "page-pi.gw.test";

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_found_by_its_names_in_every_spelling() {
    let lab = Lab::start().await;
    let (page, main) = (web(|_| ok("page")).await, web(|_| ok("main")).await);
    let mut own = service("page", &page.url());
    own.offer.entrances.push(EntranceWish::Host(host("own.gw.test")));
    let mut first = service("first", &main.url());
    first.offer.main = true;
    let _device = lab.device("pi", vec![own, first]).await;
    let table = [
        (HOST, "page"),
        ("PAGE-Pi.Gw.TEST", "page"),
        ("page-pi.gw.test.", "page"),
        ("page-pi.gw.test:8443", "page"),
        ("Page-pi.gw.test.:80", "page"),
        ("own.gw.test", "page"),
        ("pi.gw.test", "main"),
    ];
    for (name, body) in table {
        assert_eq!(get(lab.http(), name, "/").await.text(), body, "{name}");
    }
    for name in ["gw.test", "other.gw.test", "x.page-pi.gw.test", "page-pi.gw.test.evil.test"] {
        assert_eq!(get(lab.http(), name, "/").await.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_prefix_is_kept_or_stripped_and_the_target_is_told() {
    let lab = Lab::start().await;
    let page = web(|request| ok(request.path())).await;
    let with = |name: &str, strip| {
        let mut service = service(name, &page.url());
        let prefix = PathPrefix::parse(name).unwrap();
        service.offer.entrances.push(EntranceWish::Path(PathWish { host: None, prefix, strip }));
        service
    };
    let _device = lab.device("pi", vec![with("kept", false), with("cut", true)]).await;
    let table = [
        ("/kept/a/b?c=/d", "/kept/a/b?c=/d", None),
        ("/cut/a//b?c=%2F", "/a//b?c=%2F", Some("/cut")),
        ("/cut/", "/", Some("/cut")),
        ("/cut", "/", Some("/cut")),
    ];
    for (asked, got, prefix) in table {
        let forged = request("gw.test", asked).header("x-forwarded-prefix", "/forged").header("x-script-name", "/f");
        let answer = send(lab.http(), forged.body(visitor::nothing()).unwrap()).await;
        assert_eq!(answer.text(), got, "{asked}");
        assert_eq!(page.last().header("x-forwarded-prefix"), prefix, "{asked}");
        assert_eq!(page.last().header("x-script-name"), prefix, "{asked}");
    }
    assert_eq!(get(lab.http(), "gw.test", "/cutter").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_and_http_1_1_over_tls_reach_the_same_service() {
    let lab = Lab::start().await;
    let page = web(|_| ok("hello")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let two = http2(lab.https(), HOST).await;
    let answer = send2(&two, request2(HOST, "/a").body(visitor::nothing()).unwrap()).await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "hello"));
    assert_eq!(page.last().header("host"), Some(HOST));
    assert_eq!(page.last().header("x-forwarded-proto"), Some("https"));
    let socket = tls(TcpStream::connect(lab.https()).await.unwrap(), HOST, &["http/1.1"]).await.unwrap();
    let mut one = http1_over(socket).await;
    assert_eq!(send_over(&mut one, request(HOST, "/b").body(visitor::nothing()).unwrap()).await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_carries_messages_of_every_size_both_ways() {
    let lab = Lab::start().await;
    let echo = websocket::echo().await;
    let _device = lab.device("pi", vec![service("live", &echo.url())]).await;
    let plain = TcpStream::connect(lab.http()).await.unwrap();
    let mut plain = websocket::open(plain, "live-pi.gw.test").await;
    let secure = tls(TcpStream::connect(lab.https()).await.unwrap(), HOST, &["http/1.1"]).await.unwrap();
    let mut secure = websocket::open(secure, "live-pi.gw.test").await;
    for size in [0, 1, 125, 126, 65_536, 3_000_000] {
        assert!(websocket::is_answered(&mut plain, Message::binary(vec![7; size])).await, "{size} bytes");
        assert!(websocket::is_answered(&mut secure, Message::text("x".repeat(size))).await, "{size} bytes over TLS");
    }
    use futures_util::{SinkExt, StreamExt};
    plain.send(Message::Ping("beat".into())).await.unwrap();
    let pong = timeout(LIMIT, plain.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(pong, Message::Pong("beat".into()));
    plain.close(None).await.unwrap();
    assert!(matches!(timeout(LIMIT, plain.next()).await.unwrap(), Some(Ok(Message::Close(_)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one_as_they_are_sent() {
    let lab = Lab::start().await;
    let (say, events) = mpsc::unbounded_channel();
    let events = Mutex::new(Some(events));
    let page = web(move |_| Answer::Pieces(EVENTS.to_vec(), events.lock().unwrap().take().unwrap())).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let asking = request(HOST, "/").body(visitor::nothing()).unwrap();
    let response = timeout(LIMIT, http1(lab.http()).await.send_request(asking)).await.unwrap().unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    for n in 0..20 {
        let event = format!("data: {n}\n\n");
        say.send(event.clone().into_bytes()).unwrap();
        let frame = timeout(LIMIT, body.frame()).await.expect("the event arrives").unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_and_trailers_pass_both_ways() {
    let lab = Lab::start().await;
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                   5\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 11\r\n\r\n";
    let page = web(|_| Answer::Whole(answer.to_vec())).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let sum = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("6"))]);
    let frames = [Frame::data(Bytes::from("abc")), Frame::data(Bytes::from("def")), Frame::trailers(sum)];
    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok))).boxed_unsync();
    let asking = request(HOST, "/").method("POST").header("te", "trailers").header("trailer", "x-sum");
    let response = http1(lab.http()).await.send_request(asking.body(body).unwrap()).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().expect("trailers")["x-sum"], "11");
    assert_eq!(collected.to_bytes(), "hello world");
    assert_eq!(page.last().body, b"abcdef");
    assert_eq!(page.last().trailers, "x-sum: 6\r\n\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways_over_http_2() {
    let lab = Lab::start().await;
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                   5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n";
    let page = web(|_| Answer::Whole(answer.to_vec())).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let sum = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("3"))]);
    let frames = [Frame::data(Bytes::from("abc")), Frame::trailers(sum)];
    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok))).boxed_unsync();
    let asking = request2(HOST, "/").method("POST").header("te", "trailers").header("trailer", "x-sum");
    let mut two = http2(lab.https(), HOST).await;
    let response = timeout(LIMIT, two.send_request(asking.body(body).unwrap())).await.unwrap().unwrap();
    let collected = timeout(LIMIT, response.into_body().collect()).await.unwrap().unwrap();
    assert_eq!(collected.trailers().expect("trailers")["x-sum"], "5");
    assert_eq!(collected.to_bytes(), "hello");
    assert_eq!(page.last().body, b"abc");
    assert_eq!(page.last().trailers, "x-sum: 3\r\n\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_empty_answers_and_head_pass_through() {
    let lab = Lab::start().await;
    let page = web(|request| {
        Answer::Whole(match request.path() {
            "/range" => {
                b"HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 1-3/9\r\ncontent-length: 3\r\n\r\nbcd".to_vec()
            }
            "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/304" => b"HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n".to_vec(),
        })
    })
    .await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let mut one = http1(lab.http()).await;
    let ranged = request(HOST, "/range").header("range", "bytes=1-3").body(visitor::nothing()).unwrap();
    let answer = send_over(&mut one, ranged).await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::PARTIAL_CONTENT, "bcd"));
    assert_eq!(answer.headers["content-range"], "bytes 1-3/9");
    assert_eq!(page.last().header("range"), Some("bytes=1-3"));
    for (path, status) in [("/204", 204), ("/304", 304)] {
        let answer = send_over(&mut one, request(HOST, path).body(visitor::nothing()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0));
    }
    let head = request(HOST, "/head").method(Method::HEAD).body(visitor::nothing()).unwrap();
    let answer = send_over(&mut one, head).await;
    assert_eq!((answer.headers["content-length"].to_str().unwrap(), answer.body.len()), ("1234", 0));
    assert_eq!(get(lab.http(), HOST, "/204").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_visitor_share_a_stream_and_visitors_never_do() {
    let lab = Lab::start().await;
    let page = web(|_| ok("hello")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let mut one = http1(lab.http()).await;
    for n in 0..50 {
        let post = request(HOST, "/").method("POST").body(full(vec![7; n * 1000])).unwrap();
        assert_eq!(send_over(&mut one, post).await.text(), "hello");
    }
    assert_eq!(page.accepted(), 1, "fifty requests");
    get(lab.http(), HOST, "/").await;
    assert_eq!(page.accepted(), 2, "another visitor");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_overtakes_an_upload_that_goes_on() {
    let lab = Lab::start().await;
    let page = web(|request| match request.path() {
        "/large" => Answer::Early(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nno!".to_vec()),
        _ => ok("next"),
    })
    .await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let (pieces, body) = pieces();
    let mut one = http1(lab.http()).await;
    let asking = one.send_request(request(HOST, "/large").method("POST").body(body).unwrap());
    pieces.send(Frame::data(Bytes::from("a beginning"))).await.unwrap();
    let response = timeout(LIMIT, asking).await.expect("the answer does not wait for the upload").unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(visitor::read(response).await.text(), "no!");
    drop(pieces);
    assert_eq!(get(lab.http(), HOST, "/").await.text(), "next");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_waits_for_100_continue_is_told_to_go_on() {
    let lab = Lab::start().await;
    let page = web(|_| ok("thanks")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let mut socket = TcpStream::connect(lab.http()).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 4\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut line = [0; 25];
    timeout(LIMIT, socket.read_exact(&mut line)).await.expect("100 Continue comes").unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"body").await.unwrap();
    assert!(heard(&mut socket).await.ends_with("thanks"));
    assert_eq!(page.last().body, b"body");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_requests_at_once_get_their_own_answers() {
    let lab = Lab::start().await;
    let page = web(|request| ok(request.path())).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let two = http2(lab.https(), HOST).await;
    let ask = async |n: usize| {
        let path = format!("/{n}");
        let request: Request<_> = request2(HOST, &path).body(visitor::nothing()).unwrap();
        assert_eq!(send2(&two, request).await.text(), path);
        assert_eq!(get(lab.http(), HOST, &path).await.text(), path);
    };
    timeout(Duration::from_secs(60), join_all((0..64).map(ask))).await.unwrap();
    assert_eq!(page.requests().len(), 128);
}
