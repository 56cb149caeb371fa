//! Where the work that a crowded source gives us stands in line. A thousand visitors from one address who all want
//! something in the same second get it one after the other, so that a visitor from elsewhere waits behind a few of them only.

use crate::tasks::Tasks;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Whoever takes longer no longer works us, but waits for somebody: a target, or the visitor. The next may go.
const HOLD: Duration = Duration::from_millis(3);

#[derive(Clone)]
pub(crate) struct Turnstile(Arc<Semaphore>);

/// On the way through, until it is dropped or has lasted long enough.
#[derive(Debug)]
pub(crate) struct Passing {
    _through: DropGuard,
}

impl Default for Turnstile {
    /// As many abreast as there are processors to work for them.
    fn default() -> Self {
        Self::of(available_parallelism().map_or(1, usize::from))
    }
}

impl Turnstile {
    fn of(abreast: usize) -> Self {
        Self(Arc::new(Semaphore::new(abreast)))
    }

    /// Waits for those who came before.
    pub(crate) async fn pass(self, tasks: &Tasks) -> Option<Passing> {
        let place = self.0.acquire_owned().await.ok()?;
        let through = CancellationToken::new();
        let passed = through.clone();
        tasks.spawn(async move {
            // Either way the next may go.
            let _ = timeout(HOLD, passed.cancelled()).await;
            drop(place);
        });
        Some(Passing { _through: through.drop_guard() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn the_next_goes_when_one_is_through_or_has_lasted_long_enough() {
        let (turnstile, tasks) = (Turnstile::of(2), Tasks::default());
        let mut through = turnstile.clone().pass(&tasks).await;
        let lasting = turnstile.clone().pass(&tasks).await;
        let mut third = Box::pin(turnstile.clone().pass(&tasks));
        assert!((&mut third).now_or_never().is_none(), "two are abreast");
        drop(through.take());
        let begun = Instant::now();
        let third = third.await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let _fourth = turnstile.clone().pass(&tasks).await;
        assert_eq!(begun.elapsed(), HOLD, "whoever takes long no longer keeps the others waiting");
        drop((lasting, third));
    }
}
