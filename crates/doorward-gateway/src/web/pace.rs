//! The pace of uploads. A visitor who has a service wait for a body, and then sends next to nothing, holds it for
//! nothing. Only the time that we wait for the visitor counts: while the target takes nothing, nobody asks for more.

use super::turns::PATIENCE;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Each second of waiting costs so many bytes…
const BYTES_PER_SECOND: u32 = 1024;
/// …and what came faster is a reserve for this long at most: a phone in a tunnel is forgiven.
const RESERVE: Duration = Duration::from_secs(60);

pub(crate) struct Paced<B> {
    body: B,
    /// `None`: without end.
    patience: Option<Patience>,
    /// Made when it is first waited for.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// How much longer a body may be waited for.
#[derive(Debug)]
struct Patience {
    left: Duration,
    waiting_since: Option<Instant>,
}

impl Paced<Incoming> {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, patience: Some(Patience { left: PATIENCE, waiting_since: None }), alarm: None }
    }

    /// For targets to which an open request costs next to nothing, and a silent one may be meant.
    pub(crate) fn unhurried(body: Incoming) -> Self {
        Self { body, patience: None, alarm: None }
    }
}

impl Patience {
    /// Until when it lasts.
    fn wait(&mut self, now: Instant) -> Instant {
        *self.waiting_since.get_or_insert(now) + self.left
    }

    fn earn(&mut self, bytes: usize, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.left = self.left.saturating_sub(now - since);
        }
        let earned = Duration::from_secs(1) * u32::try_from(bytes).unwrap_or(u32::MAX) / BYTES_PER_SECOND;
        self.left = (self.left + earned).min(RESERVE.max(self.left));
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            let Some(patience) = &mut this.patience else { return Poll::Pending };
            let until = patience.wait(Instant::now());
            let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if alarm.deadline() != until {
                alarm.as_mut().reset(until);
            }
            return alarm.as_mut().poll(cx).map(|()| Some(Err(io::ErrorKind::TimedOut.into())));
        };
        if let (Some(Ok(frame)), Some(patience)) = (&frame, &mut this.patience) {
            patience.earn(frame.data_ref().map_or(0, Bytes::len), Instant::now());
        }
        Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
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

    /// Sends so many bytes each time, so many seconds apart; how long it is borne.
    fn borne(bytes: usize, apart: u64, limit: u64) -> Option<u64> {
        let mut patience = Patience { left: PATIENCE, waiting_since: None };
        let begun = Instant::now();
        let mut now = begun;
        while (now - begun).as_secs() < limit {
            let until = patience.wait(now);
            now += Duration::from_secs(apart);
            if until < now {
                return Some((until - begun).as_secs());
            }
            patience.earn(bytes, now);
        }
        None
    }

    #[test]
    fn a_trickle_is_cut_and_a_slow_line_is_not() {
        assert_eq!(borne(10, 1, 3600), Some(7));
        assert_eq!(borne(500, 1, 3600), Some(12));
        assert_eq!(borne(1100, 1, 3600), None);
        let (mut patience, now) = (Patience { left: PATIENCE, waiting_since: None }, Instant::now());
        patience.earn(64 * 1024, now);
        assert!(patience.wait(now) >= now + Duration::from_secs(55), "a pause after much has come");
        assert_eq!(borne(10, 9, 3600), Some(7));
    }

    #[test]
    fn what_the_target_takes_its_time_for_costs_nothing() {
        let mut patience = Patience { left: PATIENCE, waiting_since: None };
        let mut now = Instant::now();
        for _ in 0..1000 {
            patience.wait(now);
            patience.earn(1, now);
            now += Duration::from_secs(100);
        }
        assert!(patience.left >= PATIENCE);
    }
}
