//! HTTP/2 to a target: one connection inside one stream of the link, for the requests of one visitor's connection.
//! Each request is an HTTP/2 stream of its own and ends alone: one that is given up is reset (RST_STREAM, CANCEL), and
//! its neighbours are not. When the link's stream ends, at the deadline of the permit that opened it, all of them do.

use super::Body;
use super::breaking::TargetStream;
use super::framing::MAX_HEAD;
use crate::tasks::Tasks;
use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

/// What a target may send before its visitor takes it: for one request, and for all of them together.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
const SEND_BUFFER: usize = 64 * 1024;
/// How long a target may take to end a connection that nobody uses any more.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take to say what it takes.
const SETTINGS_LIMIT: Duration = Duration::from_secs(5);

/// A connection; clones are the same one. It ends when the last is dropped and nothing is on it.
#[derive(Clone)]
pub(crate) struct Multiplexed {
    sender: SendRequest<Bytes>,
    ended: CancellationToken,
    usage: Arc<Usage>,
    tasks: Tasks,
}

/// Who is on a connection.
struct Usage {
    state: Mutex<UsageState>,
    /// Taken by whoever first wants to know the target's settings.
    ping: Mutex<Option<PingPong>>,
    are_settings_known: OnceCell<()>,
    _last: DropGuard,
}

struct UsageState {
    leases: usize,
    idle_since: Instant,
}

/// One exchange on a connection. Dropped before it is finished, the exchange is given up.
pub(crate) struct Lease {
    usage: Arc<Usage>,
    given_up: CancellationToken,
    is_finished: bool,
}

/// Why there is no answer.
pub(crate) enum SendError {
    /// The target has not looked at the request; it may be sent elsewhere.
    Unsent(Box<Request<Body>>, h2::Error),
    Broken(h2::Error),
}

impl Multiplexed {
    pub(crate) async fn speak(stream: TargetStream, tasks: Tasks) -> Result<Self, h2::Error> {
        let mut http2 = Builder::new();
        http2
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .enable_push(false);
        let (sender, mut connection) = http2.handshake(stream).await?;
        let ping = Mutex::new(connection.ping_pong());
        let (ended, unused) = (CancellationToken::new(), CancellationToken::new());
        let state = Mutex::new(UsageState { leases: 0, idle_since: Instant::now() });
        let usage =
            Arc::new(Usage { state, ping, are_settings_known: OnceCell::new(), _last: unused.clone().drop_guard() });
        tasks.spawn(drive(connection, unused, ended.clone().drop_guard()));
        Ok(Self { sender, ended, usage, tasks })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// `None`: it is in use.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let state = self.usage.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.leases == 0).then_some(state.idle_since)
    }

    /// Whether the target takes WebSockets in here (RFC 8441, 3). Its settings come before whatever it answers.
    pub(crate) async fn takes_websockets(&self) -> bool {
        let asking = async || {
            let ping = self.usage.ping.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(mut ping) = ping {
                let _ = timeout(SETTINGS_LIMIT, ping.ping(Ping::opaque())).await;
            }
        };
        self.usage.are_settings_known.get_or_init(asking).await;
        self.sender.is_extended_connect_protocol_enabled()
    }

    /// For an exchange that ends before it has begun.
    pub(crate) fn lease(&self) -> Lease {
        Lease::new(self.usage.clone())
    }

    /// Sends a request, its target in absolute form. The answer may come before the body has been sent.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<(Response<Body>, Lease), SendError> {
        let lease = self.lease();
        let (parts, body) = request.into_parts();
        let is_whole = body.is_end_stream();
        let head = Request::from_parts(parts.clone(), ());
        let unsent = |body, error| SendError::Unsent(Box::new(Request::from_parts(parts, body)), error);
        let mut sender = match self.sender.clone().ready().await {
            Ok(sender) => sender,
            Err(error) => return Err(unsent(body, error)),
        };
        let (answer, upload) = match sender.send_request(head, is_whole) {
            Ok(sent) => sent,
            Err(error) => return Err(unsent(body, error)),
        };
        drop(sender);
        if is_whole {
            drop(upload);
            return match answer.await {
                Ok(response) => Ok((response.map(receive), lease)),
                Err(error) if is_untouched(&error) => Err(unsent(body, error)),
                Err(error) => Err(SendError::Broken(error)),
            };
        }
        self.tasks.spawn(send_body(upload, body, lease.given_up.clone()));
        match answer.await {
            Ok(response) => Ok((response.map(receive), lease)),
            Err(error) => Err(SendError::Broken(error)),
        }
    }
}

/// Whether the target says that it has not begun with a request (RFC 9113, 8.7).
fn is_untouched(error: &h2::Error) -> bool {
    let reason = error.reason();
    error.is_remote()
        && (reason == Some(Reason::REFUSED_STREAM) || (error.is_go_away() && reason == Some(Reason::NO_ERROR)))
}

impl Lease {
    fn new(usage: Arc<Usage>) -> Self {
        usage.state.lock().unwrap_or_else(PoisonError::into_inner).leases += 1;
        Self { usage, given_up: CancellationToken::new(), is_finished: false }
    }

    pub(crate) fn finish(mut self) {
        self.is_finished = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_finished {
            self.given_up.cancel();
        }
        let mut state = self.usage.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.leases -= 1;
        state.idle_since = Instant::now();
    }
}

/// Moves the connection's bytes until it ends.
async fn drive(mut connection: Connection<TargetStream>, unused: CancellationToken, _ended: DropGuard) {
    let done = tokio::select! {
        done = &mut connection => Some(done),
        () = unused.cancelled() => timeout(FAREWELL_LIMIT, connection).await.ok(),
    };
    match done {
        Some(Ok(())) => {}
        Some(Err(error)) => debug!(%error, "a connection to a target ended early"),
        None => debug!("a target did not end a connection"),
    }
}

/// Why a body stopped before its end.
enum Stopped {
    /// The visitor's side broke.
    Source,
    /// The target wants no more of it, or its connection ended.
    Target,
}

impl From<h2::Error> for Stopped {
    fn from(_: h2::Error) -> Self {
        Self::Target
    }
}

/// Sends a body to its end, or resets the stream.
async fn send_body(mut stream: SendStream<Bytes>, mut body: Body, given_up: CancellationToken) {
    let sent = tokio::select! {
        biased;
        () = given_up.cancelled() => Err(Stopped::Source),
        sent = send_frames(&mut stream, &mut body) => sent,
    };
    match sent {
        Ok(()) | Err(Stopped::Target) => {}
        Err(Stopped::Source) => stream.send_reset(Reason::CANCEL),
    }
}

async fn send_frames(stream: &mut SendStream<Bytes>, body: &mut Body) -> Result<(), Stopped> {
    loop {
        let frame = tokio::select! {
            biased;
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return Err(Stopped::Target),
            frame = body.frame() => frame,
        };
        let Some(frame) = frame else {
            stream.send_data(Bytes::new(), true)?;
            return Ok(());
        };
        match frame.map_err(|_| Stopped::Source)?.into_data() {
            Ok(data) => send_data(stream, data).await?,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    stream.send_trailers(trailers)?;
                    return Ok(());
                }
            }
        }
    }
}

/// As much at a time as the target takes.
async fn send_data(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), Stopped> {
    while !data.is_empty() {
        // Asked for only while there is something to send: what is reserved is kept from the neighbours.
        stream.reserve_capacity(data.len());
        while stream.capacity() == 0 {
            poll_fn(|cx| stream.poll_capacity(cx)).await.ok_or(Stopped::Target)??;
        }
        let piece = data.split_to(stream.capacity().min(data.len()));
        stream.send_data(piece, false)?;
    }
    Ok(())
}

/// The body of an answer, to the end of its trailers.
struct Receiving {
    stream: RecvStream,
    are_trailers_due: bool,
}

fn receive(stream: RecvStream) -> Body {
    Receiving { stream, are_trailers_due: false }.boxed_unsync()
}

impl http_body::Body for Receiving {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if !this.are_trailers_due {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // hyper asks for more when the visitor has taken what there was.
                    let _ = this.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(end(error)),
                None => this.are_trailers_due = true,
            }
        }
        match ready!(this.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(end(error)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// NO_ERROR behind a whole answer only says that the rest of the request is not wanted (RFC 9113, 8.1).
fn end(error: h2::Error) -> Option<io::Result<Frame<Bytes>>> {
    (error.reason() != Some(Reason::NO_ERROR)).then(|| Err(io::Error::other(BrokenAnswer(error))))
}

/// An `io::Error` hides what it was made of, and hyper looks for the reason there, to give it to the visitor.
#[derive(Debug, Error)]
#[error("the target broke off its answer")]
struct BrokenAnswer(#[source] h2::Error);
