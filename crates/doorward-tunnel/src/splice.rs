//! Passing bytes between a visitor (or target) and a stream, the same way on both ends of a link.
//!
//! A half-close is passed on. What remains half-open and silent is ended by a linger. A break on one side breaks the
//! other; so does a cut.

mod half;

use self::half::Half;
use crate::lane::FRAME;
use crate::pieces::Pieces;
use crate::pipe::Duplex;
use crate::stream::{Reset, Stream};
use bytes::Buf;
use std::future::poll_fn;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Bytes that passed, visible while they pass.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Visitor → target.
    pub up: AtomicU64,
    /// Target → visitor.
    pub down: AtomicU64,
}

/// How a splice ended.
#[derive(Debug)]
pub enum End {
    /// Both directions finished.
    Finished,
    /// One direction finished and the other stayed silent for the linger.
    Lingered,
    /// One side broke.
    Broken(io::Error),
    /// The permission ended.
    Cut,
}

impl End {
    /// A stable word for logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Lingered => "lingered",
            Self::Broken(_) => "broken",
            Self::Cut => "cut",
        }
    }
}

/// How long a half-closed connection may stay silent. Long: `nc -N` and slow printers do this for good reasons.
pub const LINGER: Duration = Duration::from_secs(600);

const SMALL: usize = 4 * 1024;
/// Whole frames of a lane: a rest would cost a record and a system call of its own. Twice as much saves nothing that could
/// be measured, half as much costs 8 % more CPU (bench/README.md).
const LARGE: usize = 4 * FRAME;
/// An idle connection gives its large buffer back after this.
const SHRINK_AFTER: Duration = Duration::from_secs(3);

/// Passes bytes until both directions ended, or `cut` resolves. `near` is the visitor's or the target's side.
/// `near_sends` counts what comes from it, `near_gets` what goes to it.
pub async fn splice(
    mut near: impl Duplex,
    mut stream: Stream,
    near_sends: &AtomicU64,
    near_gets: &AtomicU64,
    cut: impl Future<Output = ()>,
) -> End {
    let end = {
        let (near_end, stream_end) = (Mutex::new(&mut near), Mutex::new(&mut stream));
        let outward = pass(Half(&near_end), Half(&stream_end), near_sends);
        let inward = pass(Half(&stream_end), Half(&near_end), near_gets);
        tokio::select! {
            biased;
            () = cut => End::Cut,
            end = both(outward, near_sends, inward, near_gets) => end,
        }
    };
    match &end {
        End::Finished => {}
        End::Cut => {
            near.abort();
            stream.reset(Reset::Cut);
        }
        End::Lingered => {
            near.abort();
            stream.reset(Reset::Idle);
        }
        End::Broken(_) => {
            near.abort();
            stream.reset(Reset::TargetReset);
        }
    }
    end
}

async fn both(
    outward: impl Future<Output = io::Result<()>>,
    sent: &AtomicU64,
    inward: impl Future<Output = io::Result<()>>,
    got: &AtomicU64,
) -> End {
    tokio::pin!(outward, inward);
    let (first, rest, counter) = tokio::select! {
        done = &mut outward => (done, Direction::Inward, got),
        done = &mut inward => (done, Direction::Outward, sent),
    };
    if let Err(error) = first {
        return End::Broken(error);
    }
    let last = match rest {
        Direction::Inward => until_silent(inward, counter).await,
        Direction::Outward => until_silent(outward, counter).await,
    };
    match last {
        Some(Ok(())) => End::Finished,
        Some(Err(error)) => End::Broken(error),
        None => End::Lingered,
    }
}

/// What either end is read from.
trait Source: AsyncRead + Unpin {
    fn poll_pieces(&mut self, cx: &mut Context<'_>, most: usize) -> Option<Poll<io::Result<Pieces>>>;
}

impl<T: Duplex> Source for &mut T {
    fn poll_pieces(&mut self, cx: &mut Context<'_>, most: usize) -> Option<Poll<io::Result<Pieces>>> {
        Duplex::poll_pieces(*self, cx, most)
    }
}

impl Source for &mut Stream {
    fn poll_pieces(&mut self, cx: &mut Context<'_>, most: usize) -> Option<Poll<io::Result<Pieces>>> {
        Stream::poll_pieces(self, cx, most)
    }
}

enum Direction {
    Outward,
    Inward,
}

/// Waits for `passing`, as long as `counter` moves at least once per linger.
async fn until_silent(
    mut passing: impl Future<Output = io::Result<()>> + Unpin,
    counter: &AtomicU64,
) -> Option<io::Result<()>> {
    loop {
        let before = counter.load(Ordering::Relaxed);
        match timeout(LINGER, &mut passing).await {
            Ok(done) => return Some(done),
            Err(_) if counter.load(Ordering::Relaxed) == before => return None,
            Err(_) => {}
        }
    }
}

/// One direction, until its end has been passed on.
async fn pass(mut from: impl Source, mut to: impl AsyncWrite + Unpin, counter: &AtomicU64) -> io::Result<()> {
    while let Some(pieces) = poll_fn(|cx| transposed(from.poll_pieces(cx, LARGE))).await {
        let mut pieces = pieces?;
        let n = pieces.remaining();
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all_buf(&mut pieces).await?;
        to.flush().await?;
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }
    copy(from, to, counter).await
}

fn transposed<T>(polled: Option<Poll<T>>) -> Poll<Option<T>> {
    polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
}

/// The buffer grows with full reads and shrinks when idle: a thousand quiet connections must not hold a thousand large
/// buffers.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counter: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; SMALL];
    loop {
        let n = if buffer.len() == SMALL {
            from.read(&mut buffer).await?
        } else {
            match timeout(SHRINK_AFTER, from.read(&mut buffer)).await {
                Ok(n) => n?,
                Err(_) => {
                    buffer = vec![0; SMALL];
                    continue;
                }
            }
        };
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..n]).await?;
        to.flush().await?;
        counter.fetch_add(n as u64, Ordering::Relaxed);
        if n == buffer.len() && n < LARGE {
            buffer = vec![0; LARGE.min(n * 4)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::ready;
    use tokio::io::ReadBuf;
    use tokio::time::{Sleep, sleep};

    /// Fills every buffer that it is shown and notes how large it was; rests once, before the last.
    struct Busy {
        fills: usize,
        rest: Pin<Box<Sleep>>,
        shown: Vec<usize>,
    }

    impl AsyncRead for Busy {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            match self.fills {
                0 => return Poll::Ready(Ok(())),
                1 => ready!(self.rest.as_mut().poll(cx)),
                _ => {}
            }
            self.fills -= 1;
            self.shown.push(buf.remaining());
            buf.initialize_unfilled();
            buf.advance(buf.remaining());
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_direction_gets_a_large_buffer_and_gives_it_back_when_it_rests() {
        let rest = Box::pin(sleep(2 * SHRINK_AFTER));
        let mut from = Busy { fills: 12, rest, shown: Vec::new() };
        copy(&mut from, tokio::io::sink(), &AtomicU64::new(0)).await.unwrap();
        assert_eq!(from.shown.iter().max(), Some(&LARGE), "{:?}", from.shown);
        assert_eq!(from.shown.last(), Some(&SMALL), "{:?}", from.shown);
    }
}
