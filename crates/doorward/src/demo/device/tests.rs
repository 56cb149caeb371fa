//! Over real sockets, as a visitor meets the device.

use super::{Device, camera, file, start, streams};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

const LIMIT: Duration = Duration::from_secs(20);

/// A device and one kept-alive connection to it.
struct Visit {
    device: Device,
    sender: http1::SendRequest<Full<Bytes>>,
    _connection: JoinSet<()>,
}

impl Visit {
    async fn begin() -> Self {
        let device = start().await.unwrap();
        let stream = TcpStream::connect(device.address()).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self { device, sender, _connection: tasks }
    }

    async fn ask(
        &mut self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &'static [u8],
    ) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(target).header("host", "printer");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await.unwrap();
        let request = request.body(Full::new(Bytes::from_static(body))).unwrap();
        timeout(LIMIT, self.sender.send_request(request)).await.unwrap().unwrap()
    }

    async fn read(&mut self, target: &str, headers: &[(&str, &str)]) -> (http::response::Parts, Vec<u8>) {
        let (parts, body) = self.ask(Method::GET, target, headers, b"").await.into_parts();
        let body = timeout(LIMIT, body.collect()).await.unwrap().unwrap();
        (parts, body.to_bytes().to_vec())
    }

    async fn status(&mut self, method: Method, target: &str) -> StatusCode {
        let answer = self.ask(method, target, &[], b"").await;
        let status = answer.status();
        timeout(LIMIT, answer.into_body().collect()).await.unwrap().unwrap();
        status
    }
}

/// Takes data until it holds `enough`.
async fn until(mut body: Incoming, mut is_enough: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut seen = Vec::new();
    while !is_enough(&seen) {
        let frame = timeout(LIMIT, body.frame()).await.unwrap().expect("an endless body").unwrap();
        seen.extend_from_slice(frame.data_ref().unwrap());
    }
    seen
}

fn occurrences(seen: &[u8], what: &[u8]) -> usize {
    seen.windows(what.len()).filter(|window| *window == what).count()
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_unknown_ones_are_refused() {
    let mut visit = Visit::begin().await;
    let (parts, page) = visit.read("/", &[]).await;
    assert_eq!(parts.status, StatusCode::OK);
    assert!(String::from_utf8(page).unwrap().contains("<title>Sample printer</title>"));
    assert_eq!(visit.status(Method::GET, "/below/a/prefix/").await, StatusCode::OK);
    assert_eq!(visit.status(Method::GET, "/nothing").await, StatusCode::NOT_FOUND);
    assert_eq!(visit.status(Method::DELETE, "/").await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(visit.status(Method::GET, "/upload").await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(visit.status(Method::GET, "/live").await, StatusCode::UPGRADE_REQUIRED);
    let head = visit.ask(Method::HEAD, "/file", &[], b"").await;
    assert_eq!(head.headers()["content-length"], "1048576");
    assert_eq!(visit.status(Method::GET, "/snapshot").await, StatusCode::OK);
}

/// A browser enforces the page's policy; this notices a resource from elsewhere before one does.
#[test]
fn the_page_names_nothing_outside_itself() {
    let page = include_str!("../page.html");
    let addresses: Vec<_> = page.match_indices("//").map(|(at, _)| &page[at.saturating_sub(6)..]).collect();
    assert!(!addresses.is_empty());
    for address in addresses {
        let is_namespace = address.contains("://www.w3.org/2000/svg'");
        assert!(is_namespace || address.contains("  // "), "{}", &address[..40]);
    }
    assert!(!page.contains("=\"/"), "links are relative, or a path prefix would break them");
}

#[tokio::test]
async fn a_file_gives_its_ranges() {
    let mut visit = Visit::begin().await;
    let (parts, whole) = visit.read("/file", &[]).await;
    assert_eq!((parts.status, whole.len()), (StatusCode::OK, file::LENGTH));
    assert!(whole.iter().enumerate().all(|(at, byte)| *byte == file::byte(at)));
    let tag = parts.headers["etag"].to_str().unwrap().to_owned();

    let (parts, part) = visit.read("/file", &[("range", "bytes=70000-70009")]).await;
    assert_eq!(parts.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(parts.headers["content-range"], "bytes 70000-70009/1048576");
    assert_eq!(part, whole[70_000..70_010]);

    let (parts, none) = visit.read("/file", &[("range", "bytes=1048576-")]).await;
    assert_eq!((parts.status, none.len()), (StatusCode::RANGE_NOT_SATISFIABLE, 0));
    assert_eq!(parts.headers["content-range"], "bytes */1048576");

    let (parts, _) = visit.read("/file", &[("range", "bytes=0-1"), ("if-range", &tag)]).await;
    assert_eq!(parts.status, StatusCode::PARTIAL_CONTENT);
    let (parts, _) = visit.read("/file", &[("range", "bytes=0-1"), ("if-range", "\"older\"")]).await;
    assert_eq!(parts.status, StatusCode::OK);
}

#[tokio::test]
async fn downloads_are_as_long_as_asked_and_never_endless() {
    let mut visit = Visit::begin().await;
    let (parts, zeros) = visit.read("/download?bytes=200001", &[]).await;
    assert_eq!(parts.headers["content-length"], "200001");
    assert!(zeros.len() == 200_001 && zeros.iter().all(|byte| *byte == 0));
    assert!(visit.read("/download?bytes=0", &[]).await.1.is_empty());
    let too_many = format!("/download?bytes={}", streams::MAX_DOWNLOAD + 1);
    assert_eq!(visit.status(Method::GET, &too_many).await, StatusCode::BAD_REQUEST);
    assert_eq!(visit.status(Method::GET, "/download?bytes=-1").await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn uploads_are_counted() {
    static DATA: [u8; 300_000] = [7; 300_000];
    let mut visit = Visit::begin().await;
    let answer = visit.ask(Method::POST, "/upload", &[], &DATA).await;
    let answer = answer.into_body().collect().await.unwrap().to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["bytes"], 300_000);
}

#[tokio::test]
async fn headers_come_back_in_order_with_their_repetitions() {
    let mut visit = Visit::begin().await;
    let (_, echoed) = visit.read("/headers?a=1", &[("x-one", "a"), ("x-one", "b")]).await;
    let echoed: serde_json::Value = serde_json::from_slice(&echoed).unwrap();
    assert_eq!(echoed["method"], "GET");
    assert_eq!(echoed["target"], "/headers?a=1");
    assert_eq!(echoed["headers"], serde_json::json!([["host", "printer"], ["x-one", "a"], ["x-one", "b"]]));
}

#[tokio::test]
async fn trailers_follow_for_those_who_take_them() {
    let mut visit = Visit::begin().await;
    let answer = visit.ask(Method::GET, "/trailers", &[("te", "trailers")], b"").await;
    assert_eq!(answer.headers()["trailer"], "x-bytes");
    let body = answer.into_body().collect().await.unwrap();
    let announced = body.trailers().unwrap()["x-bytes"].clone();
    assert_eq!(announced, body.to_bytes().len().to_string());
}

#[tokio::test]
async fn events_tick() {
    let mut visit = Visit::begin().await;
    let answer = visit.ask(Method::GET, "/events", &[], b"").await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let seen = until(answer.into_body(), |seen| occurrences(seen, b"\n\n") == 2).await;
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with("id: 1\ndata: {") && seen.contains("id: 2\ndata: {"), "{seen}");
}

#[tokio::test]
async fn the_camera_sends_whole_pictures_one_after_the_other() {
    let mut visit = Visit::begin().await;
    let answer = visit.ask(Method::GET, "/camera", &[], b"").await;
    let media_type = answer.headers()["content-type"].to_str().unwrap();
    assert_eq!(media_type, format!("multipart/x-mixed-replace; boundary={}", camera::BOUNDARY));
    let boundary = camera::opening().into_bytes();
    let seen = until(answer.into_body(), |seen| occurrences(seen, &boundary) == 4).await;
    let mut rest = seen.strip_prefix(boundary.as_slice()).unwrap();
    for _ in 0..3 {
        let head = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let text = std::str::from_utf8(&rest[..head]).unwrap();
        let length: usize = text.strip_prefix("Content-Type: image/jpeg\r\nContent-Length: ").unwrap().parse().unwrap();
        let (picture, after) = rest[head + 4..].split_at(length);
        assert!(picture.starts_with(&[0xff, 0xd8]) && picture.ends_with(&[0xff, 0xd9]));
        rest = after.strip_prefix(b"\r\n").unwrap().strip_prefix(boundary.as_slice()).unwrap();
    }
}

#[tokio::test]
async fn the_web_socket_tells_the_state_and_gives_back_what_it_gets() {
    let device = start().await.unwrap();
    let stream = TcpStream::connect(device.address()).await.unwrap();
    let (mut socket, _) = client_async("ws://printer/some/prefix/live", stream).await.unwrap();
    socket.send(Message::text("ping 1")).await.unwrap();
    let (mut count, mut is_echoed) = (0, false);
    while count < 2 || !is_echoed {
        let message = timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap().into_text().unwrap();
        match message.as_str() {
            "ping 1" => is_echoed = true,
            report => {
                let report: serde_json::Value = serde_json::from_str(report).unwrap();
                count += 1;
                assert_eq!(report["count"], count);
                assert!(report["bed"].as_f64().unwrap() > 50.0);
            }
        }
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = timeout(LIMIT, socket.next()).await.unwrap() {}
}

#[tokio::test]
async fn dropping_the_device_ends_its_connections() {
    let mut visit = Visit::begin().await;
    let events = visit.ask(Method::GET, "/events", &[], b"").await.into_body();
    let mut stream = TcpStream::connect(visit.device.address()).await.unwrap();
    stream.write_all(b"GET /camera HTTP/1.1\r\nhost: printer\r\n\r\n").await.unwrap();
    assert!(stream.read_u8().await.is_ok());
    let address = visit.device.address();
    drop(visit);
    let _ = timeout(LIMIT, events.collect()).await.expect("the events end");
    let _ = timeout(LIMIT, stream.read_to_end(&mut Vec::new())).await.expect("the camera ends");
    assert!(TcpStream::connect(address).await.is_err());
}
