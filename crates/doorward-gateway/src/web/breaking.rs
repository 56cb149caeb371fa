//! Breaking one exchange off, from outside of it. hyper looks at the body of an answer only while the visitor takes
//! bytes; a cut must reach those too who take none.

use crate::listen::socket::Breaker;
use crate::tasks::Tasks;
use doorward_tunnel::{Reset, Stream};
use http::Version;
use hyper::rt::Executor;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

tokio::task_local! {
    /// Ends the HTTP/2 stream whose task this is.
    static STREAM: CancellationToken;
}

/// Runs what hyper spawns beside a connection: for HTTP/2 a task for each stream. A task that is dropped resets its
/// stream, whatever it still had to say, and no other.
#[derive(Clone)]
pub(crate) struct StreamTasks(pub(crate) Tasks);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for StreamTasks {
    fn execute(&self, stream: F) {
        let cut = CancellationToken::new();
        let running = cut.clone().run_until_cancelled_owned(stream);
        self.0.spawn(async move {
            STREAM.scope(cut, running).await;
        });
    }
}

/// The visitor's side of an exchange.
#[derive(Clone)]
pub(crate) enum VisitorSide {
    /// HTTP/1: nothing else is on the connection.
    Connection(Breaker),
    /// HTTP/2: the connection may carry what others are permitted.
    Stream(CancellationToken),
}

impl VisitorSide {
    /// Called from within the exchange.
    pub(crate) fn of(version: Version, breaker: &Breaker) -> Self {
        match STREAM.try_with(CancellationToken::clone) {
            Ok(stream) if version == Version::HTTP_2 => Self::Stream(stream),
            Ok(_) | Err(_) => Self::Connection(breaker.clone()),
        }
    }

    pub(crate) fn break_off(&self) {
        match self {
            Self::Connection(breaker) => breaker.reset(),
            Self::Stream(stream) => stream.cancel(),
        }
    }
}

/// A stream to a target that can be reset while hyper has it.
pub(crate) struct TargetStream {
    stream: Stream,
    broken: Pin<Box<WaitForCancellationFutureOwned>>,
    is_broken: bool,
}

impl TargetStream {
    pub(crate) fn new(stream: Stream, breaker: CancellationToken) -> Self {
        Self { stream, broken: Box::pin(breaker.cancelled_owned()), is_broken: false }
    }

    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.is_broken && self.broken.as_mut().poll(cx).is_ready() {
            self.is_broken = true;
            self.stream.reset(Reset::VisitorGone);
        }
        if self.is_broken { Err(Reset::VisitorGone.into()) } else { Ok(()) }
    }
}

impl AsyncRead for TargetStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TargetStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
