//! Whose turn it is on a visitor's connection, and since when. Time that a visitor takes counts against limits; time
//! that we or the target take does not.

use super::Body;
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

/// How long a visitor may take for the first request, and for each head from its first byte on.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection is kept between requests.
const IDLE_LIMIT: Duration = Duration::from_secs(75);
/// The same, and how long nothing may be taken of an answer, where one source holds many connections. Others may
/// pause as long as they like.
const CROWDED_LIMIT: Duration = Duration::from_secs(4);
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
    /// Requests that are being answered, to the end of their answers' bodies.
    open: usize,
    answered: u64,
    has_switched: bool,
    /// Since when the visitor's next bytes are awaited.
    quiet_since: Instant,
    head_since: Option<Instant>,
    has_asked: bool,
    /// Since when the visitor takes nothing of what is written.
    stuck_since: Option<Instant>,
}

/// One request, from its head to the end of the answer.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Turns>);

/// What a visitor did not do in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    First,
    Head,
    Idle,
    Stuck,
}

impl Turns {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            open: 0,
            answered: 0,
            has_switched: false,
            quiet_since: Instant::now(),
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
        state.has_asked = true;
        Turn(self.clone())
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
        if let Some(since) = state.head_since {
            return (since + HEAD_LIMIT, Some(Overdue::Head));
        }
        if !state.has_asked {
            return (state.quiet_since + HEAD_LIMIT, Some(Overdue::First));
        }
        match state.stuck_since {
            Some(since) if is_crowded => (since + CROWDED_LIMIT, Some(Overdue::Stuck)),
            stuck if stuck.is_some() || state.open > 0 => (Instant::now() + LOOK, None),
            _ if is_crowded => (state.quiet_since + CROWDED_LIMIT, Some(Overdue::Idle)),
            _ => (state.quiet_since + IDLE_LIMIT, Some(Overdue::Idle)),
        }
    }
}

impl Turn {
    /// What the answer is.
    pub(crate) fn answered(&self, switches: bool) {
        let mut state = self.0.state();
        state.answered += 1;
        state.has_switched = switches;
        drop(state);
        self.0.reader.wake();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open -= 1;
        state.quiet_since = Instant::now();
    }
}

/// The body of an answer; the turn is over when hyper has let go of it.
pub(crate) struct InTurn {
    body: Body,
    _turn: Turn,
}

impl InTurn {
    pub(crate) fn new(body: Body, turn: Turn) -> Self {
        Self { body, _turn: turn }
    }
}

impl http_body::Body for InTurn {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    const TICK: Duration = Duration::from_millis(1);

    async fn is_overdue_after(turns: &Turns, time: Duration) -> Option<Overdue> {
        timeout(time, turns.overdue(|| false)).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_asks_is_overdue_after_the_time_for_a_head() {
        let turns = Turns::new();
        assert_eq!(is_overdue_after(&turns, HEAD_LIMIT - TICK).await, None);
        assert_eq!(is_overdue_after(&turns, 2 * TICK).await, Some(Overdue::First));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_own_time_from_its_first_byte() {
        let turns = Turns::new();
        drop(turns.begin());
        let watching = tokio::spawn({
            let turns = turns.clone();
            async move { turns.overdue(|| false).await }
        });
        advance(IDLE_LIMIT - TICK).await;
        let begun = Instant::now();
        turns.head_begun();
        advance(TICK).await;
        turns.head_begun();
        assert_eq!(watching.await.unwrap(), Overdue::Head);
        assert_eq!(begun.elapsed().as_secs(), HEAD_LIMIT.as_secs(), "more of the head gives no more time");
    }

    #[tokio::test(start_paused = true)]
    async fn what_we_take_never_counts_and_idling_counts_from_the_end_of_the_answer() {
        let turns = Turns::new();
        let turn = turns.begin();
        assert_eq!(is_overdue_after(&turns, 100 * IDLE_LIMIT).await, None);
        turn.answered(false);
        assert_eq!(is_overdue_after(&turns, 100 * IDLE_LIMIT).await, None, "its body is still on its way");
        drop(turn);
        assert_eq!(is_overdue_after(&turns, IDLE_LIMIT - TICK).await, None);
        assert_eq!(is_overdue_after(&turns, 2 * TICK).await, Some(Overdue::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn who_still_has_to_take_an_answer_is_not_idle() {
        let turns = Turns::new();
        drop(turns.begin());
        turns.note_stuck(true);
        assert_eq!(is_overdue_after(&turns, 100 * IDLE_LIMIT).await, None);
        turns.note_stuck(false);
        assert_eq!(is_overdue_after(&turns, 2 * IDLE_LIMIT).await, Some(Overdue::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowded_source_has_less_time() {
        let crowded = async |turns: &Turns, time| timeout(time, turns.overdue(|| true)).await.ok();
        let turns = Turns::new();
        let turn = turns.begin();
        assert_eq!(crowded(&turns, 100 * IDLE_LIMIT).await, None, "what we take still costs nothing");
        turns.note_stuck(true);
        assert_eq!(crowded(&turns, CROWDED_LIMIT - TICK).await, None);
        assert_eq!(crowded(&turns, 2 * TICK).await, Some(Overdue::Stuck));
        turns.note_stuck(false);
        drop(turn);
        assert_eq!(crowded(&turns, CROWDED_LIMIT - TICK).await, None);
        assert_eq!(crowded(&turns, 2 * TICK).await, Some(Overdue::Idle));
    }
}
