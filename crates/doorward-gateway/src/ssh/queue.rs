//! What a client sent on a channel and its visitor has not taken yet. russh's callback fills it and never waits; the
//! windows keep it small, and whoever overfills it loses the channel.

use super::window::MOST;
use super::wire::Shared;
use bytes::{Buf, Bytes};
use doorward_tunnel::Pieces;
use russh::{ChannelId, ChannelMsg, ChannelReadHalf};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::unconstrained;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The queues of a connection's channels.
pub(crate) struct Queues {
    shared: Arc<Shared>,
    queues: Mutex<HashMap<ChannelId, Arc<Queue>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// The client closed the channel, or its connection is gone.
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    end: Option<End>,
    reader: Option<Waker>,
    copies: Option<Copies>,
}

/// russh puts each message into a queue of its own, too, before it calls back. It is bounded and would make the whole
/// connection wait, so it is emptied at each call; what lies there owns its bytes, which the call only lends.
struct Copies(ChannelReadHalf);

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client has said all (EOF).
    Finished,
    /// The channel was closed without that, or its connection is gone.
    Broken,
    /// The visitor did not take what came, or the client sent more than it might.
    Overfull,
}

/// Takes a channel's bytes out of its queue. Dropping it forgets the queue.
pub(crate) struct Outlet {
    id: ChannelId,
    queue: Arc<Queue>,
    queues: Arc<Queues>,
}

impl Queues {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared, queues: Mutex::default() })
    }

    /// Makes the channel's queue if there is none yet: bytes may come before anybody asks for them.
    pub(crate) fn open(&self, id: ChannelId) {
        self.table().entry(id).or_default();
    }

    /// `copies`: russh's own queue of a channel for bytes. Dropped, it costs a copy here.
    pub(crate) fn outlet(self: &Arc<Self>, id: ChannelId, copies: Option<ChannelReadHalf>) -> Outlet {
        self.open(id);
        let queue = self.table()[&id].clone();
        queue.state().copies = copies.map(Copies::from_now_on);
        Outlet { id, queue, queues: self.clone() }
    }

    /// Bytes of a channel that nobody asked for any more are dropped.
    pub(crate) fn put(&self, id: ChannelId, data: &[u8]) {
        let Some(queue) = self.find(id) else { return };
        let mut state = queue.state();
        let owned = state.copies.as_mut().and_then(|copies| copies.of(data));
        // A piece of nothing would be read as the end.
        if state.end.is_some() || data.is_empty() {
            return;
        }
        if state.bytes + data.len() > MOST {
            state.chunks = VecDeque::new();
            state.bytes = 0;
            state.finish(End::Overfull);
        } else {
            state.push(data, owned);
        }
        let bytes = state.bytes;
        drop(state);
        self.shared.backlog(id, bytes);
    }

    pub(crate) fn finish(&self, id: ChannelId) {
        if let Some(queue) = self.find(id) {
            queue.state().finish(End::Finished);
        }
    }

    pub(crate) fn close(&self, id: ChannelId) {
        if let Some(queue) = self.find(id) {
            queue.close();
        }
    }

    pub(crate) fn close_all(&self) {
        let queues = std::mem::take(&mut *self.table());
        queues.values().for_each(|queue| queue.close());
    }

    fn find(&self, id: ChannelId) -> Option<Arc<Queue>> {
        self.table().get(&id).cloned()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<ChannelId, Arc<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Small pieces are put together up to this, so that a trickle does not cost a buffer each.
const PIECE: usize = 4096;

impl State {
    fn push(&mut self, data: &[u8], owned: Option<Bytes>) {
        self.bytes += data.len();
        let is_small = self.chunks.back().is_some_and(|last| last.len() + data.len() <= PIECE);
        match self.chunks.pop_back_if(|_| is_small).map(Bytes::try_into_mut) {
            Some(Ok(mut last)) => {
                last.extend_from_slice(data);
                self.chunks.push_back(last.freeze());
            }
            shared => {
                self.chunks.extend(shared.and_then(Result::err));
                self.chunks.push_back(owned.unwrap_or_else(|| Bytes::copy_from_slice(data)));
            }
        }
        self.wake();
    }

    /// The first end counts.
    fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
        if end != End::Finished {
            self.copies = None;
        }
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Copies {
    /// What lies there already was lent before, or is about to be.
    fn from_now_on(half: ChannelReadHalf) -> Self {
        let mut copies = Self(half);
        copies.of(&[]);
        copies
    }

    /// Empties the queue. The same bytes at the same place are those that were lent, and no others.
    fn of(&mut self, lent: &[u8]) -> Option<Bytes> {
        let mut newest = None;
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(message)) = pin!(unconstrained(self.0.wait())).poll(&mut cx) {
            if let ChannelMsg::Data { data } = message {
                newest = Some(data);
            }
        }
        newest.filter(|data| data.len() == lent.len() && data.as_ptr() == lent.as_ptr())
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.state().finish(End::Broken);
        self.closed.cancel();
    }
}

impl Outlet {
    /// Forgets what waits, and takes no more.
    pub(crate) fn discard(&self) {
        let mut state = self.queue.state();
        (state.chunks, state.bytes) = (VecDeque::new(), 0);
        state.finish(End::Broken);
        drop(state);
        self.queues.shared.backlog(self.id, 0);
    }

    /// Resolves when the client closed the channel.
    pub(crate) fn closed(&self) -> WaitForCancellationFutureOwned {
        self.queue.closed.clone().cancelled_owned()
    }
}

impl Outlet {
    /// Some of what waits, as it lies there.
    pub(crate) fn poll_pieces(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<Pieces>> {
        let mut state = self.queue.state();
        if state.chunks.is_empty() {
            return match state.end {
                Some(End::Finished) => Poll::Ready(Ok(Pieces::default())),
                Some(End::Broken) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Some(End::Overfull) => Poll::Ready(Err(io::Error::other("the visitor did not take what came"))),
                None => {
                    state.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        let taken = Pieces::take(&mut state.chunks, most);
        state.bytes -= taken.remaining();
        let bytes = state.bytes;
        drop(state);
        self.queues.shared.backlog(self.id, bytes);
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Outlet {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut pieces = ready!(self.poll_pieces(cx, buf.remaining()))?;
        while pieces.has_remaining() {
            buf.put_slice(pieces.chunk());
            pieces.advance(pieces.chunk().len());
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.queues.table().remove(&self.id);
        self.queues.shared.gone(self.id);
    }
}
