//! One visit's bytes inside a link. An end (FIN) is not a break (RESET): half-closed streams live on, a dropped one
//! is a break unless it was shut down first.

use crate::lane::LaneStream;
use crate::pieces::Pieces;
use crate::pipe::Pipe;
use crate::splice::Traffic;
use crate::throttle::{Pace, Turns};
use bytes::Buf;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Why a stream broke. The code travels (QUIC: as application error code; lanes: in the RESET frame).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reset {
    #[error("cut: the permission ended")]
    Cut,
    #[error("the target reset its connection")]
    TargetReset,
    #[error("the visitor went away")]
    VisitorGone,
    #[error("nothing moved for too long")]
    Idle,
    #[error("the peer broke the protocol")]
    Protocol,
    /// Broken by the other end, or by the loss of the link.
    #[error("broken by the other end")]
    Peer,
}

impl Reset {
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Cut => 1,
            Self::TargetReset => 2,
            Self::VisitorGone => 3,
            Self::Idle => 4,
            Self::Protocol => 5,
            Self::Peer => 6,
        }
    }
}

impl From<Reset> for io::Error {
    fn from(reset: Reset) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, reset)
    }
}

/// A stream of either make. Dropping it unfinished resets it.
pub struct Stream {
    inner: Inner,
    /// Counts what passes, where somebody wants to know.
    traffic: Option<Arc<Traffic>>,
    /// Up and down, where it may not go as fast as it can.
    paced: Option<Box<(Turns, Turns)>>,
}

enum Inner {
    Quic(QuicStream),
    Lane(LaneStream),
    Other(Pipe),
}

impl Stream {
    pub(crate) fn quic(stream: QuicStream) -> Self {
        Self { inner: Inner::Quic(stream), traffic: None, paced: None }
    }

    pub(crate) fn lane(stream: LaneStream) -> Self {
        Self { inner: Inner::Lane(stream), traffic: None, paced: None }
    }

    /// Of a make that is not known here. An abort of the pipe, and its drop, break it.
    pub fn of(pipe: Pipe) -> Self {
        Self { inner: Inner::Other(pipe), traffic: None, paced: None }
    }

    /// Counts what is written as going up and what is read as coming down.
    pub fn counted_in(self, traffic: Arc<Traffic>) -> Self {
        Self { traffic: Some(traffic), ..self }
    }

    /// What is written goes up.
    pub fn paced(self, pace: Pace) -> Self {
        let paced = Box::new((Turns::new(pace.up), Turns::new(pace.down)));
        Self { paced: Some(paced), ..self }
    }

    /// Breaks the stream in both directions, unsent bytes and all.
    pub fn reset(&mut self, reason: Reset) {
        match &mut self.inner {
            Inner::Quic(stream) => stream.reset(reason),
            Inner::Lane(stream) => stream.reset(reason),
            Inner::Other(pipe) => pipe.abort(),
        }
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.inner {
            Inner::Quic($stream) => $call,
            Inner::Lane($stream) => $call,
            Inner::Other($stream) => $call,
        }
    };
}

impl Stream {
    /// As [`Duplex::poll_pieces`](crate::Duplex::poll_pieces). A stream that is paced is read, in pieces of its pace.
    pub(crate) fn poll_pieces(&mut self, cx: &mut Context<'_>, most: usize) -> Option<Poll<io::Result<Pieces>>> {
        if self.paced.is_some() {
            return None;
        }
        let polled = match &mut self.inner {
            Inner::Quic(_) | Inner::Lane(_) => None,
            Inner::Other(pipe) => pipe.poll_pieces(cx, most),
        };
        if let (Some(traffic), Some(Poll::Ready(Ok(pieces)))) = (&self.traffic, &polled) {
            traffic.down.fetch_add(pieces.remaining() as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_read_paced(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some((_, down)) = self.paced.as_deref_mut() else { return Poll::Ready(Ok(())) };
        ready!(down.poll_turn(cx));
        let piece = buf.remaining().min(down.piece());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(piece));
        ready!(each!(self, stream => Pin::new(stream).poll_read(cx, &mut part)))?;
        let read = part.filled().len();
        buf.advance(read);
        if let Some((_, down)) = self.paced.as_deref_mut() {
            down.passed(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = if self.paced.is_some() {
            self.poll_read_paced(cx, buf)
        } else {
            each!(self, stream => Pin::new(stream).poll_read(cx, buf))
        };
        if let Some(traffic) = &self.traffic {
            traffic.down.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut buf = buf;
        if let Some((up, _)) = self.paced.as_deref_mut() {
            ready!(up.poll_turn(cx));
            buf = &buf[..buf.len().min(up.piece())];
        }
        let polled = each!(self, stream => Pin::new(stream).poll_write(cx, buf));
        if let (Some((up, _)), Poll::Ready(Ok(written))) = (self.paced.as_deref_mut(), &polled) {
            up.passed(*written);
        }
        if let (Some(traffic), Poll::Ready(Ok(written))) = (&self.traffic, &polled) {
            traffic.up.fetch_add(*written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// Both halves of a QUIC stream. quinn *finishes* a dropped sender; here a drop is a break.
pub(crate) struct QuicStream {
    pub(crate) send: quinn::SendStream,
    pub(crate) receive: quinn::RecvStream,
    is_finished: bool,
}

impl QuicStream {
    pub(crate) fn new((send, receive): (quinn::SendStream, quinn::RecvStream)) -> Self {
        Self { send, receive, is_finished: false }
    }

    fn reset(&mut self, reason: Reset) {
        self.is_finished = true;
        // Both fail only where the stream ended already.
        let _ = self.send.reset(reason.code().into());
        let _ = self.receive.stop(reason.code().into());
    }
}

impl crate::pipe::Duplex for QuicStream {}

impl AsyncRead for QuicStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.receive).poll_read(cx, buf)
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_finished = true;
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), cx)
    }
}

impl Drop for QuicStream {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = self.send.reset(Reset::VisitorGone.code().into());
        }
    }
}
