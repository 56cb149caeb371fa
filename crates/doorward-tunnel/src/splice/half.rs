//! One direction of something that both directions share. They take turns in one task, so nobody ever waits for the lock;
//! tokio's own halves would hide what else the thing can do.

use super::Source;
use crate::pieces::Pieces;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Half<'a, T>(pub(super) &'a Mutex<T>);

impl<T: Unpin> Half<'_, T> {
    fn with<R>(&self, deed: impl FnOnce(Pin<&mut T>) -> R) -> R {
        deed(Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl<T: Source> Source for Half<'_, T> {
    fn poll_pieces(&mut self, cx: &mut Context<'_>, most: usize) -> Option<Poll<io::Result<Pieces>>> {
        self.with(|whole| whole.get_mut().poll_pieces(cx, most))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Half<'_, T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|whole| whole.poll_read(cx, buf))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Half<'_, T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|whole| whole.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|whole| whole.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.with(|whole| whole.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|whole| whole.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|whole| whole.poll_shutdown(cx))
    }
}
