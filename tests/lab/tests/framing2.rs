//! What HTTP/2 can say and HTTP/1.1 cannot: nothing of it becomes another request, or another reading of one, at a
//! target that speaks HTTP/1.1.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use doorward_lab::flood::{
    DATA, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, PREFACE, RESET, frame, literal, next_frame,
};
use doorward_lab::visitor::get;
use doorward_lab::web::{Received, WebTarget, ok, web};
use doorward_lab::{LIMIT, Lab, LabDevice, service};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

const HOST: &str = "page-pi.gw.test";

struct Site {
    lab: Lab,
    page: WebTarget,
    _device: LabDevice,
}

#[derive(Debug, PartialEq, Eq)]
enum Answered {
    Status(u16),
    /// The stream or the whole connection was broken.
    Broken,
}

type Field<'a> = (&'a [u8], &'a [u8]);

impl Site {
    async fn start() -> Self {
        let lab = Lab::start().await;
        let page = web(|_| ok("reached")).await;
        let device = lab.device("pi", vec![service("page", &page.url())]).await;
        Self { lab, page, _device: device }
    }

    /// Sends frames on a connection of their own, and says how the first stream was answered.
    async fn say(&self, frames: &[Vec<u8>]) -> Answered {
        let mut socket = TcpStream::connect(self.lab.http()).await.unwrap();
        let _ = socket.write_all(&[PREFACE, &frames.concat()].concat()).await;
        let reading = async {
            loop {
                match next_frame(&mut socket).await {
                    Ok((HEADERS, block)) => return Answered::Status(status(&block)),
                    Ok((RESET | GO_AWAY, _)) | Err(_) => return Answered::Broken,
                    Ok(_) => {}
                }
            }
        };
        timeout(LIMIT, reading).await.expect("an answer in time")
    }

    /// What has reached the target by the time that a later visitor is answered.
    async fn reached(&self) -> Vec<Received> {
        assert_eq!(get(self.lab.http(), HOST, "/later").await.text(), "reached");
        self.page.requests().into_iter().filter(|request| request.path() != "/later").collect()
    }
}

/// Those that HPACK's static table has (RFC 7541, A); any other is 0.
fn status(block: &[u8]) -> u16 {
    match block.first() {
        Some(0x88) => 200,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        _ => 0,
    }
}

fn block(fields: &[Field<'_>]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

fn request<'a>(path: &'a [u8], more: &[Field<'a>]) -> Vec<u8> {
    let pseudo: [Field<'a>; 4] =
        [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", HOST.as_bytes()), (b":path", path)];
    block(&[&pseudo, more].concat())
}

/// A request without a body.
fn whole(block: &[u8]) -> Vec<Vec<u8>> {
    vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, block)]
}

fn with_body(block: &[u8], body: &[u8]) -> Vec<Vec<u8>> {
    vec![frame(HEADERS, END_HEADERS, 1, block), frame(DATA, END_STREAM, 1, body)]
}

fn with_trailers(block: &[u8], trailers: &[Field<'_>]) -> Vec<Vec<u8>> {
    let trailers = self::block(trailers);
    vec![
        frame(HEADERS, END_HEADERS, 1, block),
        frame(DATA, 0, 1, b"body"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_would_be_others_in_http_1_never_reach_a_target() {
    let site = Site::start().await;
    let fields: [Field<'_>; 25] = [
        (b"X-Upper", b"x"),
        (b"x y", b"x"),
        (b"x:y", b"x"),
        (b"x\r\ny", b"x"),
        (b"x\0", b"x"),
        (b"", b"x"),
        (b"x", b"a\r\nTransfer-Encoding: chunked"),
        (b"x", b"a\nHost: b"),
        (b"x", b"a\r"),
        (b"x", b"a\0b"),
        (b"x", b" a"),
        (b"transfer-encoding", b"chunked"),
        (b"transfer_encoding", b"chunked"),
        (b"content_length", b"1"),
        (b"connection", b"close"),
        (b"connection", b"upgrade"),
        (b"upgrade", b"websocket"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"close"),
        (b"te", b"gzip"),
        (b"host", b"other.gw.test"),
        (b"content-length", b"+4"),
        (b"content-length", b"4, 4"),
        (b":path", b"/second"),
        (b":unknown", b"x"),
    ];
    let mut passed = Vec::new();
    for field in fields {
        let answered = site.say(&with_body(&request(b"/", &[field]), b"body")).await;
        if !matches!(answered, Answered::Broken | Answered::Status(400)) {
            passed.push((String::from_utf8_lossy(field.0), String::from_utf8_lossy(field.1), answered));
        }
    }
    assert!(passed.is_empty(), "{passed:?}");
    assert!(site.reached().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_would_be_others_in_http_1_never_reach_a_target() {
    let site = Site::start().await;
    let line = |method: &'static [u8], path: &'static [u8], authority: &'static [u8]| {
        block(&[(b":method", method), (b":scheme", b"http"), (b":authority", authority), (b":path", path)])
    };
    let host = HOST.as_bytes();
    let table = [
        line(b"GET /x HTTP/1.1", b"/", host),
        line(b"GET\r\n", b"/", host),
        line(b"", b"/", host),
        line(b"TRACE", b"/", host),
        line(b"GET", b"/x HTTP/1.1\r\nx: y", host),
        line(b"GET", b"/ x", host),
        line(b"GET", "/caf\u{e9}".as_bytes(), host),
        line(b"GET", b"/\x7f", host),
        line(b"GET", b"*", host),
        line(b"GET", b"x", host),
        line(b"GET", b"http://other.gw.test/", host),
        line(b"GET", b"", host),
        line(b"GET", b"/", b"user@page-pi.gw.test"),
        line(b"GET", b"/", b"page-pi.gw.test/x"),
        line(b"GET", b"/", b"page-pi.gw.test\r\nx: y"),
        line(b"GET", b"/", b"page-pi.gw.test, other.gw.test"),
        block(&[(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")]),
        block(&[(b":method", b"GET"), (b":scheme", b"http"), (b":authority", host)]),
        block(&[(b":method", b"GET"), (b":authority", host), (b":path", b"/")]),
        block(&[(b":scheme", b"http"), (b":authority", host), (b":path", b"/")]),
        block(&[(b":method", b"CONNECT"), (b":authority", host)]),
        [line(b"GET", b"/", host), block(&[(b":protocol", b"websocket")])].concat(),
        [line(b"GET", b"/", host), block(&[(b"x", b"y"), (b":method", b"POST")])].concat(),
        [line(b"GET", b"/", host), block(&[(b":authority", b"other.gw.test")])].concat(),
        [line(b"GET", b"/", host), block(&[(b"host", host), (b"host", host)])].concat(),
    ];
    for block in &table {
        let answered = site.say(&whole(block)).await;
        let is_refused = matches!(answered, Answered::Broken | Answered::Status(400));
        assert!(is_refused, "{answered:?} to {:?}", String::from_utf8_lossy(block));
    }
    assert!(site.reached().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_length_than_it_says_is_no_body() {
    let site = Site::start().await;
    let smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: page-pi.gw.test\r\n\r\n";
    let saying = |length: &'static [u8]| request(b"/", &[(b"content-length", length)]);
    let twice = request(b"/", &[(b"content-length", b"4"), (b"content-length", b"5")]);
    let table = [
        whole(&saying(b"5")),
        with_body(&saying(b"5"), b"body"),
        with_body(&saying(b"3"), b"body"),
        with_body(&saying(b"0"), smuggled),
        with_body(&twice, b"body"),
    ];
    for frames in &table {
        let answered = site.say(frames).await;
        assert!(matches!(answered, Answered::Broken | Answered::Status(400)), "{answered:?}");
    }
    let reached = site.reached().await;
    assert!(reached.is_empty(), "{reached:?}");
    // Without a length, the body is what it is, whatever it looks like.
    assert_eq!(site.say(&with_body(&request(b"/plain", &[]), smuggled)).await, Answered::Status(200));
    let received = &site.reached().await[0];
    assert_eq!((received.path(), received.body.as_slice()), ("/plain", smuggled.as_slice()));
    assert_eq!(site.page.requests().iter().filter(|request| request.path() == "/smuggled").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_say_nothing_that_only_a_head_may() {
    let site = Site::start().await;
    let announced = request(b"/", &[(b"trailer", b"x-sum, content-length, host, transfer-encoding")]);
    let trailers: [&[Field<'_>]; 5] = [
        &[(b"content-length", b"9")],
        &[(b"host", b"other.gw.test")],
        &[(b"transfer-encoding", b"chunked")],
        &[(b":path", b"/other")],
        &[(b"x-sum", b"1\r\nhost: x")],
    ];
    for trailers in trailers {
        site.say(&with_trailers(&announced, trailers)).await;
    }
    for received in site.reached().await {
        let trailers = received.trailers.to_ascii_lowercase();
        let says = |name| trailers.contains(name);
        assert!(
            !says("content-length") && !says("host") && !says("transfer-encoding") && !says("path"),
            "{received:?}"
        );
        assert_eq!((received.path(), received.body.as_slice()), ("/", b"body".as_slice()));
    }
    assert_eq!(site.say(&with_trailers(&announced, &[(b"x-sum", b"1")])).await, Answered::Status(200));
    assert_eq!(site.reached().await.last().unwrap().trailers, "x-sum: 1\r\n\r\n");
}
