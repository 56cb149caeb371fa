//! How fast bytes may pass. Whoever passed some waits until they are paid for at the bucket's rate; those who share a bucket
//! pay one after the other, in pieces of the same size, so that each gets the same. Nobody asks twice: the time is known
//! beforehand. Where nothing is limited there is no bucket.

use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// A rate, shared by whoever holds it.
#[derive(Debug)]
pub struct Bucket {
    /// Bytes a second; 0 is without limit.
    rate: AtomicU64,
    /// When all that was passed is paid for.
    paid: Mutex<Instant>,
}

/// The buckets of both directions; the slowest counts.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Towards the target.
    pub up: Vec<Arc<Bucket>>,
    pub down: Vec<Arc<Bucket>>,
}

/// What was not used up for so long is lost: it is also how late a timer may be without costing anything.
const SAVED: Duration = Duration::from_millis(50);
/// Turns a second, as far as pieces stay within reason.
const TURNS: u64 = 50;
const LEAST: u64 = 512;
const MOST: u64 = 64 * 1024;

impl Bucket {
    pub fn new(rate: Option<NonZeroU64>) -> Arc<Self> {
        let paid = Instant::now();
        Arc::new(Self { rate: AtomicU64::new(rate.map_or(0, NonZeroU64::get)), paid: Mutex::new(paid) })
    }

    /// Counts from the next piece on.
    pub fn set(&self, rate: Option<NonZeroU64>) {
        self.rate.store(rate.map_or(0, NonZeroU64::get), Ordering::Relaxed);
    }

    /// Passes `bytes`; says when they are paid for.
    fn pass(&self, bytes: usize) -> Instant {
        let (now, rate) = (Instant::now(), self.rate.load(Ordering::Relaxed));
        if rate == 0 {
            return now;
        }
        let costs = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let from = now.checked_sub(SAVED).map_or(*paid, |earliest| earliest.max(*paid));
        *paid = from + costs;
        *paid
    }

    fn piece(&self) -> usize {
        let rate = self.rate.load(Ordering::Relaxed);
        let piece = if rate == 0 { MOST } else { (rate / TURNS).clamp(LEAST, MOST) };
        usize::try_from(piece).unwrap_or(usize::MAX)
    }
}

/// One direction of one visit.
pub(crate) struct Turns {
    buckets: Vec<Arc<Bucket>>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Turns {
    pub(crate) fn new(buckets: Vec<Arc<Bucket>>) -> Self {
        Self { buckets, waiting: None }
    }

    /// Ready when more may pass.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(()) };
        std::task::ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(())
    }

    pub(crate) fn piece(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.piece()).min().unwrap_or(usize::MAX)
    }

    pub(crate) fn passed(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let paid = self.buckets.iter().map(|bucket| bucket.pass(bytes)).max();
        self.waiting = paid.filter(|paid| *paid > Instant::now()).map(|paid| Box::pin(sleep_until(paid)));
    }

    /// For packets: the next may pass when this is done.
    pub(crate) async fn pass(&mut self, bytes: usize) {
        self.passed(bytes);
        if let Some(waiting) = self.waiting.take() {
            waiting.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(bytes)
    }

    async fn pass_all(buckets: Vec<Arc<Bucket>>, mut bytes: usize) -> Duration {
        let (mut turns, started) = (Turns::new(buckets), Instant::now());
        while bytes > 0 {
            let piece = turns.piece().min(bytes);
            turns.pass(piece).await;
            bytes -= piece;
        }
        started.elapsed()
    }

    fn is_close(took: Duration, seconds: f64) -> bool {
        (took.as_secs_f64() / seconds - 1.0).abs() < 0.05
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_take_as_long_as_their_rate_says() {
        for bytes in [1_000, 50_000, 1_000_000, 100_000_000] {
            let took = pass_all(vec![Bucket::new(rate(bytes))], usize::try_from(10 * bytes).unwrap()).await;
            assert!(is_close(took, 10.0), "{bytes} a second: {took:?}");
        }
        assert_eq!(pass_all(vec![Bucket::new(None)], 1_000_000_000).await, Duration::ZERO);
        let slowest = vec![Bucket::new(rate(1_000_000)), Bucket::new(rate(100_000))];
        assert!(is_close(pass_all(slowest, 1_000_000).await, 10.0));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_share_a_rate_get_the_same_and_no_more_than_it_together() {
        let shared = Bucket::new(rate(100_000));
        let visits: Vec<_> = (0..5).map(|_| tokio::spawn(pass_all(vec![shared.clone()], 200_000))).collect();
        for visit in visits {
            let took = visit.await.unwrap();
            assert!(is_close(took, 10.0), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_rate_counts_at_once() {
        let bucket = Bucket::new(rate(1_000));
        let passing = tokio::spawn(pass_all(vec![bucket.clone()], 105_000));
        tokio::time::sleep(Duration::from_secs(5)).await;
        bucket.set(rate(100_000));
        let took = passing.await.unwrap();
        assert!(is_close(took, 6.0), "{took:?}");
    }
}
