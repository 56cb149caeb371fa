//! A peer that says given bytes in pieces of a given size, and takes whatever is said to it. Never pending, so no
//! runtime is needed.

use doorward_tunnel::Duplex;
use futures_util::FutureExt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) struct Script {
    says: Vec<u8>,
    said: usize,
    piece: usize,
    heard: Heard,
}

/// What was said to it.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Script {
    pub(crate) fn new(says: &[u8], piece: usize) -> Self {
        Self { says: says.to_vec(), said: 0, piece: piece.max(1), heard: Heard::default() }
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

/// The outcome of what only waits for a script.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a script never lets anybody wait")
}

impl Duplex for Script {}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = self.piece.min(buf.remaining()).min(self.says.len() - self.said);
        buf.put_slice(&self.says[self.said..self.said + n]);
        self.said += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = self.piece.min(bytes.len());
        self.heard.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
