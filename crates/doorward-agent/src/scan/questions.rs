//! What a place is asked, and how much of its answer is heard.

use super::recognise::{Answer, Kind, Next, by_page, by_path};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, LOCATION, SERVER, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// Titles stand at the beginning.
const MOST: usize = 32 * 1024;
const RTSP_PORTS: [u16; 2] = [554, 8554];
/// RFC 7826, 13.1. It sets nothing up.
const RTSP_QUESTION: &[u8] = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: doorward\r\n\r\n";

pub(super) async fn ask(mut socket: TcpStream, at: SocketAddr) -> Option<Kind> {
    if RTSP_PORTS.contains(&at.port()) {
        let mut start = [0; 7];
        socket.write_all(RTSP_QUESTION).await.ok()?;
        socket.read_exact(&mut start).await.ok()?;
        return (&start == b"RTSP/1.").then_some(Kind::RtspCamera);
    }
    let page = request(socket, at, "/").await?;
    let path = match (by_page(&page), Kind::telling_path(at.port())) {
        (Next::Known(kind), _) => return Some(kind),
        (Next::Ask(_) | Next::Unknown, Some(path)) => path.to_owned(),
        (Next::Ask(path), None) => path,
        (Next::Unknown, None) => return None,
    };
    let socket = TcpStream::connect(at).await.ok()?;
    by_path(&path, &request(socket, at, &path).await?)
}

pub(super) async fn request(socket: TcpStream, at: SocketAddr, path: &str) -> Option<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.ok()?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(path)
        .header(HOST, at.to_string())
        .header(USER_AGENT, "doorward")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    Some(heard(sender.send_request(request).await.ok()?).await)
}

async fn heard(response: Response<Incoming>) -> Answer {
    let (head, mut body) = response.into_parts();
    let text = |name: HeaderName| {
        head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut answer = Answer {
        status: head.status.as_u16(),
        server: text(SERVER),
        content_type: text(CONTENT_TYPE),
        location: text(LOCATION),
        body: String::new(),
    };
    if answer.is_stream() {
        // It has no end.
        return answer;
    }
    let mut bytes = Vec::new();
    while bytes.len() < MOST
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
    }
    answer.body = String::from_utf8_lossy(&bytes).into_owned();
    answer
}
