//! Whose turn it is on a visitor's connection, and since when. Time that a visitor takes counts against limits; time
//! that we or the target take does not.

use super::Body;
use crate::listen::turnstile::Passing;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long a visitor may take for a handshake and the first request together, for each later head from its first byte
/// on, and before the first byte of a body. In a crowd also for the next request and for taking a piece of an answer.
/// What is over this is to be gone within ten seconds, on a busy machine, too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(7);
/// How long a connection is kept between requests where there is no crowd. There, visitors may pause in the middle of
/// an answer as long as they like.
const IDLE_LIMIT: Duration = Duration::from_secs(75);
/// How often a busy connection is looked at.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
    /// Something is due earlier than it was.
    changed: Notify,
    /// The reading side, while it waits for an answer.
    reader: AtomicWaker,
    /// The visitor does not take what is written.
    is_stuck: AtomicBool,
}

#[derive(Debug)]
struct State {
    accepted: Instant,
    /// Requests that are being answered, to the end of their answers' bodies.
    open: usize,
    /// So many of them wait for us or for the target; the others for the visitor to take what is there.
    ours: usize,
    answered: u64,
    has_switched: bool,
    /// Since when the visitor is awaited: to ask, or to take.
    quiet_since: Instant,
    head_since: Option<Instant>,
    has_asked: bool,
    /// Since when the visitor takes nothing of what is written.
    stuck_since: Option<Instant>,
}

/// One request, from its head to the end of the answer.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    is_ours: bool,
}

/// What a visitor did not do in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    First,
    Head,
    Idle,
    Stuck,
}

impl Turns {
    /// Of a connection that was accepted then.
    pub(crate) fn since(accepted: Instant) -> Arc<Self> {
        let state = State {
            accepted,
            open: 0,
            ours: 0,
            answered: 0,
            has_switched: false,
            quiet_since: accepted,
            head_since: None,
            has_asked: false,
            stuck_since: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            reader: AtomicWaker::new(),
            is_stuck: AtomicBool::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request came.
    pub(crate) fn begin(self: &Arc<Self>) -> Turn {
        let mut state = self.state();
        state.open += 1;
        state.ours += 1;
        state.has_asked = true;
        Turn { turns: self.clone(), is_ours: true }
    }

    /// A head, or trailers, came in part.
    pub(crate) fn head_begun(&self) {
        let mut state = self.state();
        if state.head_since.is_none() {
            state.head_since = Some(Instant::now());
            drop(state);
            self.changed.notify_one();
        }
    }

    pub(crate) fn head_ended(&self) {
        self.state().head_since = None;
    }

    pub(crate) fn note_stuck(&self, is_stuck: bool) {
        if self.is_stuck.load(Ordering::Relaxed) != is_stuck {
            self.is_stuck.store(is_stuck, Ordering::Relaxed);
            let (mut state, now) = (self.state(), Instant::now());
            state.stuck_since = is_stuck.then_some(now);
            state.quiet_since = now;
        }
    }

    /// Whether the request of this number, counted from one, was answered by switching protocols; `None` while it was
    /// not answered at all, and then the reader is woken when it is.
    pub(crate) fn switched(&self, request: u64, reader: &Waker) -> Option<bool> {
        self.reader.register(reader);
        let state = self.state();
        (state.answered >= request).then_some(state.has_switched)
    }

    /// Ends when the visitor has taken too long for something. `is_crowded`: whether its source holds many connections.
    pub(crate) async fn overdue(&self, is_crowded: impl Fn() -> bool) -> Overdue {
        loop {
            let (due, what) = self.due(is_crowded());
            if let Some(what) = what
                && due <= Instant::now()
            {
                return what;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(due) => {}
            }
        }
    }

    /// The next moment to look, and what is overdue then. Nothing is while a request is being answered; that is looked
    /// at now and then, so that the end of each answer need not tell.
    fn due(&self, is_crowded: bool) -> (Instant, Option<Overdue>) {
        let state = self.state();
        if !state.has_asked {
            return (state.accepted + PATIENCE, Some(Overdue::First));
        }
        // Behind a request that is being answered, the rest of a head may be here and nobody reads it; trailers have
        // their time as parts of a body.
        if let Some(since) = state.head_since.filter(|_| state.open == 0) {
            return (since.max(state.quiet_since) + PATIENCE, Some(Overdue::Head));
        }
        // HTTP/2 has windows of its own: nothing is written, and nothing is stuck.
        let untaken_since = state.stuck_since.or((state.open > 0 && state.ours == 0).then_some(state.quiet_since));
        match untaken_since {
            Some(since) if is_crowded => (since + PATIENCE, Some(Overdue::Stuck)),
            untaken if untaken.is_some() || state.open > 0 => (Instant::now() + LOOK, None),
            _ if is_crowded => (state.quiet_since + PATIENCE, Some(Overdue::Idle)),
            _ => (state.quiet_since + IDLE_LIMIT, Some(Overdue::Idle)),
        }
    }
}

impl Turn {
    /// What the answer is.
    pub(crate) fn answered(&self, switches: bool) {
        let mut state = self.turns.state();
        state.answered += 1;
        state.has_switched = switches;
        drop(state);
        self.turns.reader.wake();
    }

    /// Whose move it is: ours to have more of the answer, or the visitor's to take what there is.
    fn note_move(&mut self, is_ours: bool) {
        if self.is_ours && is_ours {
            return;
        }
        let mut state = self.turns.state();
        state.ours = state.ours + usize::from(is_ours) - usize::from(self.is_ours);
        state.quiet_since = Instant::now();
        self.is_ours = is_ours;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        state.open -= 1;
        state.ours -= usize::from(self.is_ours);
        state.quiet_since = Instant::now();
    }
}

/// The body of an answer; the turn is over when hyper has let go of it.
pub(crate) struct InTurn {
    body: Body,
    turn: Turn,
    _passing: Option<Passing>,
}

impl InTurn {
    pub(crate) fn new(body: Body, turn: Turn, passing: Option<Passing>) -> Self {
        Self { body, turn, _passing: passing }
    }
}

impl http_body::Body for InTurn {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.turn.note_move(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
