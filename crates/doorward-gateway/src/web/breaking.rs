//! Breaking one exchange off, from outside of it. hyper looks at the body of an answer only while the visitor takes
//! bytes; a cut must reach those too who take none.

use crate::listen::socket::Breaker;
use crate::listen::strangers::Place;
use crate::tasks::Tasks;
use doorward_tunnel::{Reset, Stream};
use http::Version;
use hyper::rt::Executor;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;
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
        // What a stream becomes after an upgrade is spawned from its own task, and breaks with it.
        let cut = STREAM.try_with(CancellationToken::clone).unwrap_or_default();
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

    /// Whether it is known that no answer will arrive.
    pub(crate) fn is_broken(&self) -> bool {
        match self {
            Self::Connection(_) => false,
            Self::Stream(stream) => stream.is_cancelled(),
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
///
/// hyper drops it as soon as it has said all, before the target has. Then it is waited for: a stream that both ends
/// finished gives its connection back to the link, one that is dropped breaks it.
pub(crate) struct TargetStream {
    /// `None`: broken, or handed on.
    stream: Option<Stream>,
    breaker: CancellationToken,
    broken: Pin<Box<WaitForCancellationFutureOwned>>,
    has_said_all: bool,
    tasks: Tasks,
    place: Option<Arc<Place>>,
}

/// How long a target may take to end a connection whose visitor has ended it.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

impl TargetStream {
    /// `place`: the visitor's, kept until the stream has ended.
    pub(crate) fn new(stream: Stream, breaker: CancellationToken, tasks: Tasks, place: Option<Arc<Place>>) -> Self {
        let broken = Box::pin(breaker.clone().cancelled_owned());
        Self { stream: Some(stream), breaker, broken, has_said_all: false, tasks, place }
    }

    /// `None`: it broke.
    pub(crate) fn into_stream(mut self) -> Option<Stream> {
        self.stream.take()
    }

    fn unbroken(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut Stream>> {
        if self.stream.is_some()
            && self.broken.as_mut().poll(cx).is_ready()
            && let Some(mut stream) = self.stream.take()
        {
            stream.reset(Reset::VisitorGone);
        }
        self.stream.as_mut().map(Pin::new).ok_or_else(|| Reset::VisitorGone.into())
    }
}

impl AsyncRead for TargetStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.unbroken(cx)?.poll_read(cx, buf)
    }
}

impl AsyncWrite for TargetStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.unbroken(cx)?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unbroken(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.unbroken(cx)?.poll_shutdown(cx))?;
        self.has_said_all = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for TargetStream {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if self.has_said_all && !self.breaker.is_cancelled() {
            self.tasks.spawn(hear_farewell(stream, self.place.take()));
        }
    }
}

/// Waits for the target's end. A byte instead of it belongs to no answer: then dropping the stream breaks it.
async fn hear_farewell(mut stream: Stream, _place: Option<Arc<Place>>) {
    let _ = timeout(FAREWELL_LIMIT, stream.read_u8()).await;
}
