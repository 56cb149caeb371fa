//! Which path gives what.

use super::printer::Printer;
use super::streams::{self, Body};
use super::{camera, file, live};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, TRAILER, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{self, OnUpgrade};
use serde_json::json;
use std::convert::Infallible;
use tokio::sync::mpsc;

const PAGE: &str = include_str!("../page.html");
/// Nothing but this device is ever asked by the page.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'",
);
const DEFAULT_DOWNLOAD: u64 = 10 << 20;

type Answer = Response<Body>;

/// The last part of the path decides, so that the device also works where a path prefix is left on.
pub(super) async fn answer(
    request: Request<Incoming>,
    printer: Printer,
    upgrades: &mpsc::Sender<OnUpgrade>,
) -> Result<Answer, Infallible> {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let answer = match name.as_str() {
        "upload" if matches!(*request.method(), Method::POST | Method::PUT) => upload(request).await,
        "upload" => refusal(StatusCode::METHOD_NOT_ALLOWED, Some((ALLOW, "POST, PUT"))),
        "headers" => json(&describe(&request)),
        _ if !is_read => refusal(StatusCode::METHOD_NOT_ALLOWED, Some((ALLOW, "GET, HEAD"))),
        "" | "index.html" => page(),
        "live" => go_live(request, upgrades),
        "camera" => typed("multipart/x-mixed-replace; boundary=frame", streams::camera(printer)),
        "snapshot" => typed("image/jpeg", streams::full(camera::frame(&printer.state(), 0))),
        "events" => typed("text/event-stream", streams::events(printer)),
        "file" => file::answer(request.method(), request.headers()).map(streams::full),
        "download" => download(request.uri().query()),
        "trailers" => with_trailer(),
        _ => refusal(StatusCode::NOT_FOUND, None),
    };
    Ok(answer)
}

fn page() -> Answer {
    let mut answer = typed("text/html; charset=utf-8", streams::full(PAGE));
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    answer
}

fn go_live(mut request: Request<Incoming>, upgrades: &mpsc::Sender<OnUpgrade>) -> Answer {
    let Some(headers) = live::handshake(request.headers()) else {
        return refusal(StatusCode::UPGRADE_REQUIRED, Some((UPGRADE, "websocket")));
    };
    if upgrades.try_send(upgrade::on(&mut request)).is_err() {
        return refusal(StatusCode::BAD_REQUEST, None);
    }
    let mut answer = Response::new(streams::full(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = headers;
    answer
}

fn download(query: Option<&str>) -> Answer {
    let asked = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("bytes=")));
    let bytes = match asked.map(str::parse) {
        None => DEFAULT_DOWNLOAD,
        Some(Ok(bytes)) if bytes <= streams::MAX_DOWNLOAD => bytes,
        Some(_) => return refusal(StatusCode::BAD_REQUEST, None),
    };
    let mut answer = typed("application/octet-stream", streams::zeros(bytes));
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    answer
}

async fn upload(request: Request<Incoming>) -> Answer {
    match streams::count(request.into_body()).await {
        Some(bytes) => json(&json!({ "bytes": bytes })),
        None => refusal(StatusCode::REQUEST_TIMEOUT, None),
    }
}

fn with_trailer() -> Answer {
    let mut answer = typed("text/plain", streams::with_trailer());
    answer.headers_mut().insert(TRAILER, HeaderValue::from_static("x-bytes"));
    answer
}

/// What arrived here, header by header, in order.
fn describe(request: &Request<Incoming>) -> serde_json::Value {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    })
}

fn json(value: &serde_json::Value) -> Answer {
    typed("application/json", streams::full(format!("{value:#}\n")))
}

fn typed(media_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn refusal(status: StatusCode, header: Option<(HeaderName, &'static str)>) -> Answer {
    let mut answer = typed("text/plain", streams::full(format!("{status}\n")));
    *answer.status_mut() = status;
    if let Some((name, value)) = header {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
