//! TLS on TCP, directly or through an HTTP CONNECT proxy.

use crate::handshake::{Channel, EXPORTER_LABEL};
use crate::pinning::server_name;
use crate::pipe::{Duplex, Pipe, tune_tcp};
use data_encoding::BASE64;
use doorward_core::Secret;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An HTTP proxy that takes CONNECT (RFC 9110, 9.3.6).
#[derive(Clone, Debug)]
pub struct Proxy {
    pub host: String,
    pub port: u16,
    /// `user:password`, for Basic authentication.
    pub credentials: Option<Secret<String>>,
}

/// A TCP connection to the first of the addresses that takes it.
pub(crate) async fn connect(addresses: &[SocketAddr]) -> io::Result<Pipe> {
    Ok(Box::new(connect_tcp(addresses).await?))
}

async fn connect_tcp(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(addresses).await?;
    tune_tcp(&socket);
    Ok(socket)
}

/// The same to `target`, a `host:port`, through the proxy at these addresses, which resolves the name itself.
pub(crate) async fn connect_through(proxy: &Proxy, addresses: &[SocketAddr], target: &str) -> io::Result<Pipe> {
    let socket = connect_tcp(addresses).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    // Ends by itself: with the tunnel it hands over, or when `sender` is dropped.
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::connect(target).header(header::HOST, target);
    if let Some(credentials) = &proxy.credentials {
        let basic = format!("Basic {}", BASE64.encode(credentials.expose().as_bytes()));
        request = request.header(header::PROXY_AUTHORIZATION, basic);
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    if response.status() != StatusCode::OK {
        return Err(io::Error::other(format!(
            "the proxy {}:{} answered {}",
            proxy.host,
            proxy.port,
            response.status()
        )));
    }
    let tunnel = hyper::upgrade::on(response).await.map_err(io::Error::other)?;
    Ok(Box::new(Upgraded(TokioIo::new(tunnel))))
}

/// Pinned TLS over any pipe.
pub(crate) async fn secure(pipe: Pipe, config: &Arc<rustls::ClientConfig>) -> io::Result<Channel> {
    let stream = TlsConnector::from(config.clone()).connect(server_name(), PipeIo(pipe)).await?;
    let exporter =
        stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None).map_err(io::Error::other)?;
    Ok(Channel { pipe: Box::new(stream), exporter })
}

/// The gateway's end of the same, after the TLS handshake.
pub(crate) fn channel<T: Duplex + 'static>(stream: tokio_rustls::server::TlsStream<T>) -> io::Result<Channel> {
    let exporter =
        stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None).map_err(io::Error::other)?;
    Ok(Channel { pipe: Box::new(stream), exporter })
}

macro_rules! pass_through {
    ($type:ty) => {
        impl tokio::io::AsyncRead for $type {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
            }
        }

        impl tokio::io::AsyncWrite for $type {
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<io::Result<usize>> {
                std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
            }

            fn poll_flush(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                std::pin::Pin::new(&mut self.0).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
            }
        }
    };
}

/// What HTTP left over after an upgrade.
pub struct Upgraded(pub TokioIo<hyper::upgrade::Upgraded>);

pass_through!(Upgraded);

impl Duplex for Upgraded {}

/// A boxed pipe as a type of its own, for libraries that want one.
pub(crate) struct PipeIo(pub(crate) Pipe);

pass_through!(PipeIo);

impl Duplex for PipeIo {
    fn abort(&mut self) {
        self.0.abort();
    }

    fn keep_alive(&mut self, every: Option<Duration>) {
        self.0.keep_alive(every);
    }
}
