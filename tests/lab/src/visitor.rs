//! Visitors: HTTP with every header under the test's control, and raw sockets.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An HTTP/1.1 connection.
pub async fn http1(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let socket = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

pub fn request(host: &str, path: &str) -> http::request::Builder {
    Request::builder().uri(path).header("host", host)
}

pub async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    send(address, request(host, path).body(Full::default()).unwrap()).await
}

pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let mut sender = http1(address).await;
    let response = timeout(crate::LIMIT, sender.send_request(request)).await.expect("an answer in time").unwrap();
    read(response).await
}

pub async fn read(response: Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = timeout(crate::LIMIT, body.collect()).await.expect("a body in time").unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// How a connection ended, as the visitor's socket sees it.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    Finished,
    Reset,
    StillOpen,
}

/// Connects and waits for the end. A reset may come before the connect has even returned.
pub async fn knock(address: SocketAddr) -> Ending {
    match TcpStream::connect(address).await {
        Ok(mut socket) => ending(&mut socket, crate::LIMIT).await,
        Err(_) => Ending::Reset,
    }
}

/// Reads until the connection ends.
pub async fn ending(socket: &mut TcpStream, limit: Duration) -> Ending {
    let mut buffer = [0; 4096];
    let reading = async {
        loop {
            match socket.read(&mut buffer).await {
                Ok(0) => return Ending::Finished,
                Ok(_) => {}
                Err(_) => return Ending::Reset,
            }
        }
    };
    timeout(limit, reading).await.unwrap_or(Ending::StillOpen)
}
