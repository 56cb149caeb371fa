//! The transport under an SSH connection: bytes pass as they are, except that a refill may be held back for a moment
//! (docs/decisions/0041-ssh.md). It counts what is heard, and can be torn down from outside while it is being used.

use super::window::Windows;
use crate::listen::socket::{Breaker, VisitorSocket};
use doorward_tunnel::Duplex;
use futures_util::task::AtomicWaker;
use russh::ChannelId;
use std::io::{self, IoSliceMut};
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

/// russh asks for four bytes, then for the rest of a packet. What it asks for goes straight to it, and with the same
/// system call so much of what follows is read ahead: the next four bytes, and all of small packets.
const AHEAD: usize = 4096;

/// What the transport and those above it have in common.
pub(crate) struct Shared {
    windows: Mutex<Windows<ChannelId>>,
    /// Whether what russh writes next is a refill to be held.
    hold_next: AtomicBool,
    /// Whether what is held shall go.
    release: AtomicBool,
    reader: AtomicWaker,
    heard: AtomicU64,
    /// Whether something was read that russh has not asked for yet.
    is_ahead: AtomicBool,
    breaker: Breaker,
}

pub(crate) struct Wire {
    socket: VisitorSocket,
    shared: Arc<Shared>,
    ahead: Ahead,
    held: Vec<u8>,
    held_until: Pin<Box<Sleep>>,
}

/// What was read and not asked for yet.
struct Ahead {
    bytes: Box<[u8; AHEAD]>,
    taken: usize,
    filled: usize,
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

    /// Whether the client has sent more than russh took, or does so soon.
    pub(crate) async fn has_more(&self, soon: Duration) -> bool {
        self.is_ahead.load(Ordering::Acquire) || self.breaker.has_more(soon).await
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
            is_ahead: AtomicBool::new(false),
            breaker: socket.breaker(),
        });
        let held_until = Box::pin(sleep_until(Instant::now()));
        let ahead = Ahead { bytes: Box::new([0; AHEAD]), taken: 0, filled: 0 };
        (Self { socket, shared: shared.clone(), ahead, held: Vec::new(), held_until }, shared)
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

impl Ahead {
    fn is_empty(&self) -> bool {
        self.taken == self.filled
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let count = buf.remaining().min(self.filled - self.taken);
        buf.put_slice(&self.bytes[self.taken..self.taken + count]);
        self.taken += count;
    }

    /// Fills the buffer, then itself, which is empty. How much was heard.
    fn poll_fill(
        &mut self,
        socket: &VisitorSocket,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let wanted = buf.initialize_unfilled();
        let most = wanted.len();
        let mut parts = [IoSliceMut::new(wanted), IoSliceMut::new(&mut self.bytes[..])];
        let heard = ready!(socket.poll_read_vectored(cx, &mut parts))?;
        buf.advance(heard.min(most));
        (self.taken, self.filled) = (0, heard.saturating_sub(most));
        Poll::Ready(Ok(heard))
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
        let Self { socket, shared, ahead, .. } = &mut *self;
        if ahead.is_empty() {
            let heard = ready!(ahead.poll_fill(socket, cx, buf))?;
            shared.heard.fetch_add(heard as u64, Ordering::Relaxed);
        } else {
            ahead.give(buf);
        }
        shared.is_ahead.store(!ahead.is_empty(), Ordering::Release);
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn what_was_read_ahead_comes_in_order_whatever_is_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut wire, shared) = Wire::new(VisitorSocket::new(listener.accept().await.unwrap().0));
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n.wrapping_mul(n) / 7) as u8).collect();
        let (all, mut got) = (sent.clone(), Vec::new());
        let sending = tokio::spawn(async move {
            // In pieces that fit nothing, then the end.
            for piece in all.chunks(7919) {
                client.write_all(piece).await.unwrap();
            }
        });
        for size in [4, 35_000, 1, AHEAD, AHEAD + 1, AHEAD - 1].into_iter().cycle() {
            let mut buffer = vec![0; size];
            match wire.read(&mut buffer).await.unwrap() {
                0 => break,
                n => got.extend_from_slice(&buffer[..n]),
            }
        }
        sending.await.unwrap();
        assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
        assert_eq!(shared.heard(), sent.len() as u64);
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_more_to_come_and_what_was_taken_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut wire, shared) = Wire::new(VisitorSocket::new(listener.accept().await.unwrap().0));
        client.write_all(b"first second").await.unwrap();
        let mut first = [0; 5];
        wire.read_exact(&mut first).await.unwrap();
        assert!(shared.has_more(Duration::ZERO).await);
        wire.read_exact(&mut [0; 7]).await.unwrap();
        assert!(!shared.has_more(Duration::ZERO).await);
    }
}
