//! Visitors: HTTP with every header under the test's control, and raw sockets.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

mod trusting;

pub type Body = UnsyncBoxBody<Bytes, io::Error>;

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

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub fn nothing() -> Body {
    full(Bytes::new())
}

/// A body that is sent piece by piece.
pub fn pieces() -> (mpsc::Sender<Frame<Bytes>>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = futures_util::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Frame<Bytes>>| {
        receiver.recv().await.map(|frame| (Ok(frame), receiver))
    });
    (sender, StreamBody::new(frames).boxed_unsync())
}

/// A TCP connection that comes from another loopback address.
pub async fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

/// A TLS connection as browsers make it; any certificate will do.
pub async fn tls(socket: TcpStream, host: &str, protocols: &[&str]) -> io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(trusting::config(protocols)));
    connector.connect(ServerName::try_from(host.to_owned()).unwrap(), socket).await
}

/// What a visitor says first who asks for this name.
pub fn hello(host: &str, protocols: &[&str]) -> Vec<u8> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut said = Vec::new();
    let mut connection = ClientConnection::new(Arc::new(trusting::config(protocols)), name).unwrap();
    connection.write_tls(&mut said).unwrap();
    said
}

/// A TLS connection as browsers make it that trust this root (DER) alone. `host`: a name or an address.
pub async fn tls_with_root(socket: TcpStream, host: &str, root: &[u8]) -> io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(trusting::config_with_root(root)));
    connector.connect(ServerName::try_from(host.to_owned()).unwrap(), socket).await
}

/// An HTTP/1.1 connection.
pub async fn http1(address: SocketAddr) -> http1::SendRequest<Body> {
    http1_over(TcpStream::connect(address).await.unwrap()).await
}

pub async fn http1_over(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> http1::SendRequest<Body> {
    let builder = http1::Builder::new().preserve_header_case(true).clone();
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

/// An HTTP/2 connection over TLS.
pub async fn http2(address: SocketAddr, host: &str) -> http2::SendRequest<Body> {
    let socket = tls(TcpStream::connect(address).await.unwrap(), host, &["h2"]).await.unwrap();
    assert_eq!(socket.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub fn request(host: &str, path: &str) -> http::request::Builder {
    Request::builder().uri(path).header("host", host)
}

/// For HTTP/2, where the host is part of the target.
pub fn request2(host: &str, path: &str) -> http::request::Builder {
    Request::builder().uri(format!("https://{host}{path}"))
}

pub async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    send(address, request(host, path).body(nothing()).unwrap()).await
}

pub async fn send(address: SocketAddr, request: Request<Body>) -> Answer {
    send_over(&mut http1(address).await, request).await
}

pub async fn send_over(sender: &mut http1::SendRequest<Body>, request: Request<Body>) -> Answer {
    let sending = async {
        sender.ready().await?;
        sender.send_request(request).await
    };
    read(timeout(crate::LIMIT, sending).await.expect("an answer in time").unwrap()).await
}

pub async fn send2(sender: &http2::SendRequest<Body>, request: Request<Body>) -> Answer {
    let sending = sender.clone().send_request(request);
    read(timeout(crate::LIMIT, sending).await.expect("an answer in time").unwrap()).await
}

/// Writes these bytes and returns all that comes until the connection ends.
pub async fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    heard(&mut socket).await
}

/// All that comes until the connection ends.
pub async fn heard(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut heard = Vec::new();
    let reading = async { while matches!(socket.read_buf(&mut heard).await, Ok(n) if n > 0) {} };
    timeout(crate::LIMIT, reading).await.expect("the connection ends in time");
    String::from_utf8_lossy(&heard).into_owned()
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
pub async fn ending(socket: &mut (impl AsyncRead + Unpin), limit: Duration) -> Ending {
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
