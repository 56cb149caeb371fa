//! The transport under an SSH connection: bytes pass as they are, except that a refill may be held back for a moment
//! (docs/decisions/0041-ssh.md). It counts what is heard, and can be torn down from outside while it is being used.

use super::window::Windows;
use crate::listen::socket::{Breaker, VisitorSocket};
use doorward_tunnel::Duplex;
use futures_util::task::AtomicWaker;
use russh::ChannelId;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a refill is held back at most.
const HOLD: Duration = Duration::from_millis(50);
const LAST_WORDS: Duration = Duration::from_millis(500);
/// A lone refill is far smaller. Anything larger carries something else, which must not wait.
const LONE_REFILL: usize = 128;

/// What the transport and those above it have in common.
pub(crate) struct Shared {
    windows: Mutex<Windows<ChannelId>>,
    /// Whether what russh writes next is a refill to be held.
    hold_next: AtomicBool,
    /// Whether what is held shall go.
    release: AtomicBool,
    reader: AtomicWaker,
    heard: AtomicU64,
    breaker: Breaker,
}

pub(crate) struct Wire {
    socket: VisitorSocket,
    shared: Arc<Shared>,
    held: Vec<u8>,
    held_until: Pin<Box<Sleep>>,
}

impl Shared {
    /// The next target, after russh refilled this channel.
    pub(crate) fn refilled(&self, id: ChannelId) -> u32 {
        let next = self.windows().refilled(id);
        self.hold_next.store(next.is_held, Ordering::Release);
        next.target
    }

    /// So much waits for the visitor of this channel now.
    pub(crate) fn backlog(&self, id: ChannelId, bytes: usize) {
        if self.windows().backlog(id, bytes) {
            self.let_go();
        }
    }

    pub(crate) fn gone(&self, id: ChannelId) {
        self.windows().gone(id);
        self.let_go();
    }

    /// What waits for all visitors of this connection.
    pub(crate) fn waiting(&self) -> usize {
        self.windows().waiting()
    }

    /// Bytes heard so far.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Ends the connection at once, whatever it is doing.
    pub(crate) fn break_off(&self) {
        self.breaker.reset();
    }

    /// Whether the client has sent more than was read, or does so soon.
    pub(crate) async fn has_more(&self, soon: Duration) -> bool {
        self.breaker.has_more(soon).await
    }

    /// Leaves the client a moment to hear the last words.
    pub(crate) async fn break_off_soon(&self) {
        tokio::time::sleep(LAST_WORDS).await;
        self.break_off();
    }

    fn let_go(&self) {
        self.release.store(true, Ordering::Release);
        self.reader.wake();
    }

    fn windows(&self) -> MutexGuard<'_, Windows<ChannelId>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire {
    pub(crate) fn new(socket: VisitorSocket) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared {
            windows: Mutex::new(Windows::new()),
            hold_next: AtomicBool::new(false),
            release: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            heard: AtomicU64::new(0),
            breaker: socket.breaker(),
        });
        let held_until = Box::pin(sleep_until(Instant::now()));
        (Self { socket, shared: shared.clone(), held: Vec::new(), held_until }, shared)
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.held.is_empty() {
            self.held_until.as_mut().reset(Instant::now() + HOLD);
            self.shared.release.store(false, Ordering::Release);
        }
        self.held.extend_from_slice(bytes);
        // The timer is looked at where the transport is read.
        self.shared.reader.wake();
    }

    fn poll_send_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.held.is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.held))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..sent);
        }
        self.shared.windows().sent();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            self.shared.reader.register(cx.waker());
            let is_due = self.held_until.as_mut().poll(cx).is_ready();
            if (is_due || self.shared.release.swap(false, Ordering::AcqRel))
                && let Poll::Ready(Err(error)) = self.poll_send_held(cx)
            {
                return Poll::Ready(Err(error));
            }
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        self.shared.heard.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.shared.hold_next.swap(false, Ordering::AcqRel) && buf.len() <= LONE_REFILL {
            self.hold(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_send_held(cx))?;
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    /// What is held is not waited for.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_held(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.socket.abort();
    }
}
