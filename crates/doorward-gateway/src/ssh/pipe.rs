//! One channel as a pair of directions, and its end.
//!
//! russh forgets a channel wholly only if the client closes it: of one that is closed from here some 3 KiB stay as long
//! as the connection stands. A client closes a channel when both directions have ended, so an end is said first
//! and the close is left to the client for a moment.

use super::places::ChannelPlace;
use super::queue::{Outlet, Queues};
use crate::tasks::Tasks;
use doorward_tunnel::{Duplex, Pieces};
use russh::server::Msg;
use russh::{Channel, ChannelWriteHalf};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// How long the client has to close a channel whose end it was told. A cut must have reached the target within a second.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// What the channels of a connection share.
#[derive(Clone)]
pub(crate) struct Channels {
    pub(crate) queues: Arc<Queues>,
    pub(crate) tasks: Tasks,
    /// How many channels were closed from here.
    pub(crate) closed_here: Arc<AtomicUsize>,
}

pub(crate) struct ChannelPipe {
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    parts: Option<Parts>,
}

struct Parts {
    outlet: Outlet,
    half: ChannelWriteHalf<Msg>,
    channels: Channels,
    is_finished: bool,
    closes_at_once: bool,
    _place: Option<ChannelPlace>,
}

impl Channels {
    /// Takes over a channel that carries bytes and nothing else.
    /// `place`: what is held for as long as the channel stands.
    pub(crate) fn take(&self, channel: Channel<Msg>, place: Option<ChannelPlace>) -> ChannelPipe {
        let (copies, half) = channel.split();
        self.pipe(self.queues.outlet(half.id(), Some(copies)), half, place)
    }

    /// Takes over a channel of a terminal or a command. Its own queue, in which each request lies, is dropped: it would make
    /// the connection wait.
    pub(crate) fn take_session(&self, channel: Channel<Msg>, place: ChannelPlace) -> ChannelPipe {
        let (_, half) = channel.split();
        self.pipe(self.queues.outlet(half.id(), None), half, Some(place))
    }

    fn pipe(&self, outlet: Outlet, half: ChannelWriteHalf<Msg>, place: Option<ChannelPlace>) -> ChannelPipe {
        let writer = Box::pin(half.make_writer());
        let (channels, is_finished, closes_at_once) = (self.clone(), false, false);
        let parts = Parts { outlet, half, channels, is_finished, closes_at_once, _place: place };
        ChannelPipe { writer, parts: Some(parts) }
    }
}

impl ChannelPipe {
    /// For session channels: there the client waits for the close.
    pub(crate) fn close_at_once(&mut self) {
        self.parts().closes_at_once = true;
    }

    fn parts(&mut self) -> &mut Parts {
        self.parts.as_mut().expect("only a drop takes them")
    }
}

impl Parts {
    async fn end(self) {
        if !self.is_finished && self.half.eof().await.is_err() {
            return;
        }
        let patience = if self.closes_at_once { Duration::ZERO } else { CLOSE_LIMIT };
        if timeout(patience, self.outlet.closed()).await.is_err() {
            self.channels.closed_here.fetch_add(1, Ordering::Relaxed);
            let _ = self.half.close().await;
        }
    }
}

impl Drop for ChannelPipe {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            parts.outlet.discard();
            let tasks = parts.channels.tasks.clone();
            tasks.spawn(parts.end());
        }
    }
}

impl Duplex for ChannelPipe {
    fn poll_pieces(&mut self, cx: &mut Context<'_>, most: usize) -> Option<Poll<io::Result<Pieces>>> {
        Some(self.parts().outlet.poll_pieces(cx, most))
    }
}

impl AsyncRead for ChannelPipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.parts().outlet).poll_read(cx, buf)
    }
}

impl AsyncWrite for ChannelPipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // russh's writer refuses what is empty.
        if buf.is_empty() { Poll::Ready(Ok(0)) } else { self.writer.as_mut().poll_write(cx, buf) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = self.writer.as_mut().poll_shutdown(cx);
        if shut.is_ready() {
            self.parts().is_finished = true;
        }
        shut
    }
}
