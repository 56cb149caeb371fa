//! A WebSocket as a byte pipe: the link's own pinned TLS runs inside binary messages, so any reverse proxy that
//! passes WebSockets passes links, and none of them can read or imitate one.
//!
//! The outer HTTPS, if any, is not verified: it protects nothing here (the inner TLS does), and a device with a wrong
//! clock or an old certificate store must get through.

use super::tls::PipeIo;
use crate::pinning::provider;
use crate::pipe::{Duplex, Pipe};
use bytes::Bytes;
use doorward_core::site::{Endpoint, LINK_PATH};
use futures_util::{SinkExt, StreamExt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

/// Messages are TLS records; a few of them at most.
const MAX_MESSAGE: usize = 256 * 1024;

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE))
}

/// The answer to an HTTP request that asks for a link inside a WebSocket; `None` if it is no WebSocket handshake
/// (RFC 6455, 4.2.1).
pub fn answer_link_upgrade<B>(request: &http::Request<B>) -> Option<http::Response<()>> {
    let mut plain = http::Request::new(());
    *plain.method_mut() = request.method().clone();
    *plain.uri_mut() = request.uri().clone();
    *plain.version_mut() = request.version();
    *plain.headers_mut() = request.headers().clone();
    tokio_tungstenite::tungstenite::handshake::server::create_response(&plain).ok()
}

/// What `Sec-WebSocket-Accept` answers to a key (RFC 6455, 4.2.2).
pub fn websocket_accept(key: &[u8]) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(key)
}

/// The gateway's end, after the HTTP upgrade.
pub(crate) async fn accept(upgraded: impl Duplex + 'static) -> Pipe {
    let socket = WebSocketStream::from_raw_socket(PipeIo(Box::new(upgraded)), Role::Server, Some(config())).await;
    pipe(socket)
}

/// The agent's end, over a connected TCP pipe.
pub(crate) async fn connect(tcp: Pipe, endpoint: &Endpoint) -> io::Result<Pipe> {
    let outer: Pipe = if endpoint.outer_tls { outer_tls(tcp, endpoint).await? } else { tcp };
    let scheme = if endpoint.outer_tls { "wss" } else { "ws" };
    let url = format!("{scheme}://{}:{}{LINK_PATH}", endpoint.host, endpoint.port);
    let connecting = tokio_tungstenite::client_async_with_config(url, PipeIo(outer), Some(config()));
    let (socket, _response) = connecting.await.map_err(io::Error::other)?;
    Ok(pipe(socket))
}

async fn outer_tls(tcp: Pipe, endpoint: &Endpoint) -> io::Result<Pipe> {
    let provider = provider();
    let verifier = Unverified { algorithms: provider.signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let host = endpoint.host.to_string();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, PipeIo(tcp)).await?))
}

fn pipe(socket: WebSocketStream<PipeIo>) -> Pipe {
    let (sink, stream) = socket.split();
    let bytes = stream.filter_map(|message| {
        std::future::ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(Message::Text(_)) => Some(Err(io::Error::new(io::ErrorKind::InvalidData, "text on a link"))),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => None,
            Err(error) => Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, error))),
        })
    });
    let messages = sink.with(|bytes: Bytes| std::future::ready(Ok(Message::Binary(bytes)))).sink_map_err(
        |error: tokio_tungstenite::tungstenite::Error| io::Error::new(io::ErrorKind::ConnectionReset, error),
    );
    let reader = StreamReader::new(Box::pin(bytes));
    let writer = SinkWriter::new(CopyToBytes::new(Box::pin(messages)));
    Box::new(Messages { io: Box::pin(tokio::io::join(reader, writer)) })
}

trait Both: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Both for T {}

struct Messages {
    io: Pin<Box<dyn Both>>,
}

impl AsyncRead for Messages {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Messages {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}

impl Duplex for Messages {}

/// See the module: the outer certificate carries no trust.
#[derive(Debug)]
struct Unverified {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
