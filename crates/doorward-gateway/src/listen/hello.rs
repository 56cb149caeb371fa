//! A ClientHello, read whole before anything is decided and kept as it came. Who speaks TLS is decided by it; if that is
//! a service, the service hears every byte as if nobody had read it.
//!
//! Whatever pieces it comes in, there is one reading of it, by the TLS library that would also answer it. One that is
//! too long or not understood leads nowhere: no hello ever falls through to another rule.

use doorward_core::names::HostName;
use doorward_tunnel::Duplex;
use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

/// A ClientHello with a key for post-quantum exchange has 2 KiB; in records of one byte each it has six times as many.
const MAX_HELLO: usize = 32 * 1024;

pub(crate) struct Hello<T> {
    handshake: StartHandshake<T>,
    /// All that was read from the visitor.
    said: Vec<u8>,
}

impl<T: Duplex> Hello<T> {
    /// How long that takes is for the caller to limit.
    pub(crate) async fn read(socket: T) -> io::Result<Self> {
        let recording = Recording { socket, said: Vec::new() };
        let StartHandshake { accepted, io, .. } = LazyConfigAcceptor::new(Acceptor::default(), recording).await?;
        let Recording { socket, said } = io;
        Ok(Self { handshake: StartHandshake::from_parts(accepted, socket), said })
    }

    pub(crate) fn client_hello(&self) -> ClientHello<'_> {
        self.handshake.client_hello()
    }

    /// The name that it asks for. Under ECH (RFC 9849) it is the outer one: nobody here could read the other.
    pub(crate) fn host(&self) -> Option<HostName> {
        HostName::parse(self.client_hello().server_name()?).ok()
    }

    pub(crate) fn offers(&self, protocol: &[u8]) -> bool {
        self.client_hello().alpn().is_some_and(|mut alpn| alpn.any(|name| name == protocol))
    }

    /// Speaks TLS with the visitor.
    pub(crate) async fn answer(self, config: Arc<ServerConfig>) -> io::Result<TlsStream<T>> {
        self.handshake.into_stream(config).await
    }

    /// As if nothing had been read.
    pub(crate) fn unread(self) -> Unread<T> {
        Unread { said: self.said, heard: 0, socket: self.handshake.io }
    }
}

/// Keeps what is read.
struct Recording<T> {
    socket: T,
    said: Vec<u8>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Recording<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.said.len() >= MAX_HELLO {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a ClientHello without end")));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.said.extend_from_slice(&buf.filled()[before..]);
        read
    }
}

/// For the alert that a bad hello is answered with.
impl<T: AsyncWrite + Unpin> AsyncWrite for Recording<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// A connection of which nothing seems to have been read yet.
pub(crate) struct Unread<T> {
    said: Vec<u8>,
    heard: usize,
    socket: T,
}

impl<T: Duplex> Duplex for Unread<T> {
    fn abort(&mut self) {
        self.socket.abort();
    }

    fn keep_alive(&mut self, every: Option<Duration>) {
        self.socket.keep_alive(every);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Unread<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.heard == self.said.len() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let next = &self.said[self.heard..];
        let length = next.len().min(buf.remaining());
        buf.put_slice(&next[..length]);
        self.heard += length;
        if self.heard == self.said.len() {
            // The connection may last for days.
            self.said = Vec::new();
            self.heard = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Unread<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
