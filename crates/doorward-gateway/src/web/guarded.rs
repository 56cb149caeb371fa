//! A visitor's stream as hyper may read it: `framing.rs` has looked at every byte. Heads and trailers are held until
//! they are whole, bodies pass as they come, without a copy where nothing is held.

use super::framing::{Framing, MAX_HEAD, Phase, Refusal};
use super::rates::Meter;
use super::turns::Turns;
use bytes::{Buf, BytesMut};
use http::{Method, Request};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::debug;

pub(crate) struct Guarded<S> {
    inner: S,
    framing: Framing,
    turns: Arc<Turns>,
    /// What came and hyper did not get yet.
    held: BytesMut,
    /// So many of them it may get.
    ready: usize,
    idle_frames: Meter,
    is_in_head: bool,
    is_refused: bool,
    is_ended: bool,
}

/// hyper is given this in place of a head that was refused: so the refusal is answered in its turn, behind the answers
/// to earlier requests, and the connection ends with it.
const REFUSED_PATH: &str = "/.well-known/doorward/refused/";
/// Of what follows a refused head, so much is read and forgotten, lest a reset overtakes the answer.
const MAX_FORGOTTEN: usize = 256 * 1024;
/// HTTP/2 frames that carry nothing: a client that measures the line pings some ten times a second.
const IDLE_FRAMES_PER_SECOND: u32 = 50;
const IDLE_FRAMES_AT_ONCE: u32 = 1000;
const READ: usize = 8 * 1024;

/// The refusal that a request stands for. Visitors may ask for it as well; the answer is the same.
pub(crate) fn refused<B>(request: &Request<B>) -> Option<Refusal> {
    let word = request.uri().path().strip_prefix(REFUSED_PATH)?;
    Refusal::ALL.into_iter().find(|refusal| refusal.word() == word && request.method() == Method::GET)
}

impl<S> Guarded<S> {
    pub(crate) fn new(inner: S, turns: Arc<Turns>) -> Self {
        Self {
            inner,
            framing: Framing::default(),
            turns,
            held: BytesMut::new(),
            ready: 0,
            idle_frames: Meter::new(IDLE_FRAMES_PER_SECOND, IDLE_FRAMES_AT_ONCE),
            is_in_head: false,
            is_refused: false,
            is_ended: false,
        }
    }

    /// Lets on what may go on of what is held.
    fn scan_held(&mut self) -> io::Result<()> {
        match self.framing.scan(&self.held) {
            Ok(passed) => {
                self.ready = passed;
                self.check_flood()?;
            }
            Err(refusal) => self.refuse(refusal)?,
        }
        self.note_phase();
        Ok(())
    }

    fn note_phase(&mut self) {
        let is_in_head = self.framing.phase() == Phase::Head;
        if is_in_head && !self.is_in_head {
            self.turns.head_begun();
        } else if self.is_in_head && !is_in_head {
            self.turns.head_ended();
        }
        self.is_in_head = is_in_head;
    }

    /// A head is answered. In the middle of a body the request is with the target already: it breaks.
    fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        metrics::counter!("doorward_requests_refused_total", "why" => refusal.word()).increment(1);
        debug!(why = refusal.word(), "a request is refused");
        self.is_refused = true;
        self.held.clear();
        if self.framing.phase() == (Phase::Refused { in_body: true }) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, refusal.reason()));
        }
        let word = refusal.word();
        let instead =
            format!("GET {REFUSED_PATH}{word} HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n");
        self.held.extend_from_slice(instead.as_bytes());
        self.ready = self.held.len();
        Ok(())
    }

    fn check_flood(&mut self) -> io::Result<()> {
        let idle = self.framing.take_idle_frames();
        if idle == 0 || self.idle_frames.admit(idle, Instant::now()) {
            return Ok(());
        }
        metrics::counter!("doorward_requests_refused_total", "why" => "frame-flood").increment(1);
        debug!("a flood of HTTP/2 frames");
        Err(io::Error::other("a flood of frames"))
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.ready.min(buf.remaining());
        buf.put_slice(&self.held[..length]);
        self.held.advance(length);
        self.ready -= length;
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Nothing is held: what comes goes where hyper wants it, and what may not go on is taken out again.
    fn read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let fresh = &buf.filled()[before..];
        self.is_ended = fresh.is_empty();
        if self.is_ended || self.framing.phase() == Phase::Opaque {
            return Poll::Ready(Ok(()));
        }
        let passed = match self.framing.scan(fresh) {
            Ok(passed) => {
                self.held.extend_from_slice(&fresh[passed..]);
                self.note_phase();
                self.check_flood()?;
                passed
            }
            Err(refusal) => {
                self.refuse(refusal)?;
                0
            }
        };
        buf.set_filled(before + passed);
        Poll::Ready(Ok(()))
    }

    fn read_to_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; READ];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
        self.is_ended = piece.filled().is_empty();
        self.held.extend_from_slice(piece.filled());
        Poll::Ready(Ok(()))
    }

    /// Behind a refusal. hyper would take an end for a visitor who left, and not answer.
    fn forget(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut forgotten = 0;
        while forgotten < MAX_FORGOTTEN {
            ready!(self.read_to_held(cx))?;
            if self.is_ended {
                return Poll::Pending;
            }
            forgotten += self.held.len();
            self.held.clear();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        loop {
            if this.ready > 0 {
                this.give(buf);
                return Poll::Ready(Ok(()));
            }
            if this.is_refused {
                return this.forget(cx);
            }
            if matches!(this.framing.phase(), Phase::Refused { .. }) {
                this.scan_held()?;
                continue;
            }
            if this.framing.phase() == Phase::Asked {
                match this.turns.switched(this.framing.requests(), cx.waker()) {
                    Some(switched) => {
                        this.framing.answered(switched);
                        this.scan_held()?;
                        continue;
                    }
                    // A visitor who leaves is still noticed; one who talks on is not heard for ever.
                    None if this.held.len() >= MAX_HEAD => return Poll::Pending,
                    None => {}
                }
            }
            if this.is_ended {
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty() {
                ready!(this.read_through(cx, buf))?;
                if buf.filled().len() > before || this.is_ended {
                    return Poll::Ready(Ok(()));
                }
            } else {
                ready!(this.read_to_held(cx))?;
                this.scan_held()?;
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.turns.note_stuck(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.turns.note_stuck(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
