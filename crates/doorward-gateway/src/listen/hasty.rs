//! A TLS connection that can be told to hold back little: what is shown live must not lie in rustls while it grows old.

use crate::web::connection::LITTLE;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

pub(crate) struct Hasty<S> {
    stream: TlsStream<S>,
    is_wanted: Arc<AtomicBool>,
    is_hasty: bool,
}

impl<S> Hasty<S> {
    /// `is_wanted`: from when it is set on.
    pub(crate) fn new(stream: TlsStream<S>, is_wanted: Arc<AtomicBool>) -> Self {
        Self { stream, is_wanted, is_hasty: false }
    }

    fn look(&mut self) {
        if !self.is_hasty && self.is_wanted.load(Ordering::Relaxed) {
            self.is_hasty = true;
            self.stream.get_mut().1.set_buffer_limit(Some(LITTLE));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Hasty<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Hasty<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.look();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
