//! What both ends of a standing link share: the control stream, the watch over the other end, the ways to end.

use crate::messages::{Leaving, Message, Unsupported};
use crate::pipe::Pipe;
use crate::pulse::Pulse;
use crate::udp;
use crate::wire::{CONTROL_LIMIT, WireError, read_frame};
use quinn::Connection;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::debug;

/// A link's name for the time that it stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkId(pub [u8; 16]);

impl LinkId {
    pub(crate) fn new() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkId({self})")
    }
}

/// Why a link ended.
#[derive(Debug, Error)]
pub enum LinkEnd {
    #[error("the other end did not answer any more")]
    Silent,
    #[error("the connection was closed")]
    Closed,
    #[error("the other end said goodbye ({0:?})")]
    Goodbye(Leaving),
    #[error("it was closed here")]
    ClosedHere,
    #[error("the other end broke the protocol: {0}")]
    Wire(#[from] WireError),
}

/// Control messages wait here for the wire. A peer that takes none of them for this long is dead.
const CONTROL_QUEUE: usize = 64;
const WRITE_LIMIT: Duration = Duration::from_secs(15);
/// In doubt, an answer is wanted within this, or a few round trips.
pub(crate) const DOUBT_LIMIT: Duration = Duration::from_secs(1);
/// A carrier that ended has nothing to wait for: what came before is there to be read.
const FAREWELL_LIMIT: Duration = Duration::from_millis(100);
/// While an answer is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Speaks on the control stream.
#[derive(Clone, Debug)]
pub(crate) struct Speaker(mpsc::Sender<Message>);

impl Speaker {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(CONTROL_QUEUE);
        (Self(sender), receiver)
    }

    /// Waits for room; `false` if the link is gone.
    pub(crate) async fn say(&self, message: Message) -> bool {
        self.0.send(message).await.is_ok()
    }

    /// Says it if there is room: for what may be said again later. `false`: there was none.
    pub(crate) fn mention(&self, message: Message) -> bool {
        self.0.try_send(message).is_ok()
    }
}

pub(crate) async fn write_control(mut writer: WriteHalf<Pipe>, mut messages: mpsc::Receiver<Message>) -> LinkEnd {
    while let Some(message) = messages.recv().await {
        let bytes = message.encode();
        let writing = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        match timeout(WRITE_LIMIT, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return LinkEnd::Closed,
            Err(_) => return LinkEnd::Silent,
        }
    }
    LinkEnd::ClosedHere
}

/// Reads control messages: answers what needs no thought, and passes the rest on. An end that was announced has its
/// reason.
pub(crate) async fn read_control(
    mut reader: ReadHalf<Pipe>,
    speaker: Speaker,
    pulse: Arc<Pulse>,
    events: mpsc::Sender<Message>,
) -> LinkEnd {
    let mut closed = LinkEnd::Closed;
    loop {
        let frame = match read_frame(&mut reader, CONTROL_LIMIT).await {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(WireError::Io(_) | WireError::Truncated) => return closed,
            Err(error @ (WireError::TooLong { .. } | WireError::Malformed { .. })) => return LinkEnd::Wire(error),
        };
        pulse.beat();
        match Message::decode(&frame) {
            Ok(Message::Ping) => {
                speaker.mention(Message::Pong);
            }
            Ok(Message::Pong) => {}
            Ok(Message::Other(kind)) => {
                speaker.mention(Message::Unsupported(Unsupported { kind: kind.into() }));
            }
            Ok(message) => {
                if let Message::Unsupported(what) = &message {
                    debug!(kind = what.kind, "the peer does not know this message");
                }
                if let Message::Goodbye(goodbye) = &message {
                    closed = LinkEnd::Goodbye(goodbye.reason());
                }
                if events.send(message).await.is_err() {
                    return LinkEnd::ClosedHere;
                }
            }
            Err(error) => return LinkEnd::Wire(error),
        }
    }
}

/// Why a link ended of which something beside `reading` saw the end. The carrier may end between two looks at the same
/// link, so a goodbye that came before may not have been read yet.
pub(crate) async fn as_announced(seen: LinkEnd, reading: impl Future<Output = LinkEnd>) -> LinkEnd {
    match seen {
        LinkEnd::Closed => timeout(FAREWELL_LIMIT, reading).await.unwrap_or(seen),
        LinkEnd::ClosedHere | LinkEnd::Goodbye(_) | LinkEnd::Silent | LinkEnd::Wire(_) => seen,
    }
}

/// Where signs of life are counted and how one is asked for.
#[derive(Clone)]
pub(crate) enum Vitals {
    Quic(Connection),
    Control { pulse: Arc<Pulse>, speaker: Speaker },
}

impl Vitals {
    pub(crate) fn heard(&self) -> u64 {
        match self {
            Self::Quic(connection) => connection.stats().udp_rx.datagrams,
            Self::Control { pulse, .. } => pulse.count(),
        }
    }

    /// As far as it is measured.
    pub(crate) fn round_trip(&self) -> Duration {
        match self {
            Self::Quic(connection) => connection.rtt(),
            Self::Control { .. } => Duration::ZERO,
        }
    }

    pub(crate) fn ping(&self) {
        match self {
            Self::Quic(connection) => udp::ping(connection),
            Self::Control { speaker, .. } => {
                speaker.mention(Message::Ping);
            }
        }
    }

    /// Asks for a sign of life and waits that long for it.
    pub(crate) async fn probe(&self, limit: Duration) -> bool {
        let before = self.heard();
        self.ping();
        let answered = async {
            while self.heard() == before {
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(limit, answered).await.is_ok()
    }

    /// In doubt: whether the peer lives. What was still on its way when it died may pass for an answer, but only once.
    pub(crate) async fn probe_twice(&self) -> bool {
        let limit = DOUBT_LIMIT.max(self.round_trip() * 4);
        self.probe(limit).await && self.probe(limit).await
    }

    /// Resolves when nothing was heard for `limit`.
    pub(crate) async fn until_silent(&self, limit: Duration) {
        let mut seen = self.heard();
        let mut quiet = Duration::ZERO;
        let step = limit / 15;
        while quiet < limit {
            sleep(step).await;
            let heard = self.heard();
            quiet = if heard == seen { quiet + step } else { Duration::ZERO };
            seen = heard;
        }
    }
}

pub(crate) fn split(pipe: Pipe) -> (ReadHalf<Pipe>, WriteHalf<Pipe>) {
    fn halves<T: AsyncRead + AsyncWrite>(io: T) -> (ReadHalf<T>, WriteHalf<T>) {
        tokio::io::split(io)
    }
    halves(pipe)
}
