//! Where the work that a crowded source gives us stands in line. A thousand visitors from one address who all want
//! something in the same second get it one after the other, and let everybody else go before them.

use crate::tasks::Tasks;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Whoever takes longer no longer works us, but waits for somebody: a target, or the visitor. The next may go.
const HOLD: Duration = Duration::from_millis(3);
/// A crowd stands back for so long at most: it is served, too, however many others there are.
const GIVES_WAY: Duration = Duration::from_millis(6);

/// One source's.
#[derive(Clone)]
pub(crate) struct Turnstile(Arc<Semaphore>);

/// Those of no crowd who are being served.
#[derive(Default)]
pub(crate) struct Others {
    served: Mutex<Served>,
    one_less: Notify,
}

#[derive(Default)]
struct Served {
    count: usize,
    newest: Option<Instant>,
}

/// Being served, until it is dropped; one of a crowd, until that has lasted long enough.
pub(crate) enum Passing {
    Crowd { _through: DropGuard },
    Other(Arc<Others>),
}

impl Default for Turnstile {
    /// All processors but one work for them, if there are several.
    fn default() -> Self {
        Self::of(available_parallelism().map_or(1, |processors| processors.get() - 1).max(1))
    }
}

impl Turnstile {
    fn of(abreast: usize) -> Self {
        Self(Arc::new(Semaphore::new(abreast)))
    }

    /// Waits for those who came before, and for others who are being served.
    pub(crate) async fn pass(self, others: &Others, tasks: &Tasks) -> Option<Passing> {
        let place = self.0.acquire_owned().await.ok()?;
        others.give_way().await;
        let through = CancellationToken::new();
        let passed = through.clone();
        tasks.spawn(async move {
            // Either way the next may go.
            let _ = timeout(HOLD, passed.cancelled()).await;
            drop(place);
        });
        Some(Passing::Crowd { _through: through.drop_guard() })
    }
}

impl Others {
    pub(crate) fn pass(self: &Arc<Self>) -> Passing {
        let mut served = self.served();
        served.count += 1;
        served.newest = Some(Instant::now());
        Passing::Other(self.clone())
    }

    /// Until none is left who still works us.
    async fn give_way(&self) {
        let enough = Instant::now() + GIVES_WAY;
        loop {
            let one_less = self.one_less.notified();
            let Some(until) = self.works_us_until() else { return };
            let until = until.min(enough);
            if until <= Instant::now() {
                return;
            }
            let _ = timeout_at(until, one_less).await;
        }
    }

    fn works_us_until(&self) -> Option<Instant> {
        let served = self.served();
        served.newest.filter(|_| served.count > 0).map(|newest| newest + HOLD)
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Self::Other(others) = self {
            others.served().count -= 1;
            others.one_less.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn the_next_goes_when_one_is_through_or_has_lasted_long_enough() {
        let (turnstile, others, tasks) = (Turnstile::of(2), Others::default(), Tasks::default());
        let pass = || turnstile.clone().pass(&others, &tasks);
        let mut through = pass().await;
        let lasting = pass().await;
        let mut third = Box::pin(pass());
        assert!((&mut third).now_or_never().is_none(), "two are abreast");
        drop(through.take());
        let begun = Instant::now();
        let third = third.await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let _fourth = pass().await;
        assert_eq!(begun.elapsed(), HOLD, "whoever takes long no longer keeps the others waiting");
        drop((lasting, third));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_gives_way_to_others_who_are_being_served_but_not_for_ever() {
        let (turnstile, others, tasks) = (Turnstile::of(9), Arc::new(Others::default()), Tasks::default());
        let pass = || turnstile.clone().pass(&others, &tasks);
        let other = others.pass();
        let mut waiting = Box::pin(pass());
        assert!((&mut waiting).now_or_never().is_none(), "another is being served");
        drop(other);
        let begun = Instant::now();
        drop(waiting.await);
        assert_eq!(begun.elapsed(), Duration::ZERO);

        let _downloading = others.pass();
        drop(pass().await);
        assert_eq!(begun.elapsed(), HOLD, "whoever takes long works us no longer");

        let newer = tokio::spawn({
            let others = others.clone();
            async move {
                loop {
                    let _one = others.pass();
                    tokio::time::sleep(HOLD / 2).await;
                }
            }
        });
        tokio::task::yield_now().await;
        let begun = Instant::now();
        drop(pass().await);
        assert_eq!(begun.elapsed(), GIVES_WAY, "others come all the time");
        newer.abort();
    }
}
