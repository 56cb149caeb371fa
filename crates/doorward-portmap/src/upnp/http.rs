//! One HTTP exchange with the router, bounded in time and size. A redirect is not followed: it is an answer that
//! makes no sense.

use super::UpnpError;
use super::location::Location;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::fmt;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// For all of it: connection, request, answer.
const LIMIT: Duration = Duration::from_secs(5);
/// A description has 5 to 15 KiB.
const LARGEST: usize = 64 * 1024;
const LARGEST_HEAD: usize = 16 * 1024;

pub(super) async fn fetch(location: &Location) -> Result<Bytes, UpnpError> {
    match exchange(location, Method::GET, None, String::new()).await? {
        (StatusCode::OK, body) => Ok(body),
        (status, _) => Err(UpnpError::Strange(format!("its description has status {}", status.as_u16()))),
    }
}

/// A SOAP request. Faults come with status 500 (UPnP Device Architecture 1.1, 3.1.3).
pub(super) async fn post(location: &Location, action: &str, envelope: String) -> Result<Bytes, UpnpError> {
    match exchange(location, Method::POST, Some(action), envelope).await? {
        (StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR, body) => Ok(body),
        (status, _) => Err(UpnpError::Strange(format!("it answers with status {}", status.as_u16()))),
    }
}

async fn exchange(
    location: &Location,
    method: Method,
    action: Option<&str>,
    body: String,
) -> Result<(StatusCode, Bytes), UpnpError> {
    let mut request = Request::builder()
        .method(method)
        .uri(location.path())
        .header(header::HOST, location.address().to_string())
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, concat!("Linux UPnP/1.1 doorward/", env!("CARGO_PKG_VERSION")));
    if let Some(action) = action {
        request = request.header(header::CONTENT_TYPE, "text/xml; charset=\"utf-8\"").header("SOAPAction", action);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| UpnpError::Strange(error.to_string()))?;
    let late = || UpnpError::Silent(format!("to HTTP within {} s", LIMIT.as_secs()));
    timeout(LIMIT, talk(location, request)).await.unwrap_or_else(|_| Err(late()))
}

async fn talk(location: &Location, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), UpnpError> {
    let socket = TcpStream::connect(location.address()).await.map_err(silent)?;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(LARGEST_HEAD).handshake(TokioIo::new(socket)).await.map_err(silent)?;
    // Ends with this function, however that ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(silent)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    let body = body.map_err(|error| UpnpError::Strange(error.to_string()))?;
    Ok((status, body.to_bytes()))
}

fn silent(error: impl fmt::Display) -> UpnpError {
    UpnpError::Silent(error.to_string())
}
