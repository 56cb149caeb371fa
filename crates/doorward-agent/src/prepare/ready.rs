//! Whether it is there: by a connection or a request, again and again.

use super::plan::{Probe, Readiness, Step};
use super::{hook, steps};
use crate::deliver::tcp;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// What people read while it is waited for.
pub(super) const WHAT: &str = "waiting until it answers";

/// One probe must not use up the time of the next.
const ONE: Duration = Duration::from_secs(5);
/// A packet that wakes may be lost.
const WAKE_EVERY: Duration = Duration::from_secs(15);
/// What is ready is looked at so many times less often.
const SELDOM: u32 = 5;
/// One look that fails is no reason to wake it.
const LOOKS: u32 = 3;

pub(super) async fn is_ready(readiness: &Readiness) -> bool {
    probe(&readiness.probe).await.is_ok()
}

/// The error is for the owner.
pub(super) async fn wait(readiness: &Readiness, prepared_by: &[Step]) -> Result<(), String> {
    let (started, mut woken) = (Instant::now(), Instant::now());
    loop {
        let Err(last) = probe(&readiness.probe).await else { return Ok(()) };
        if started.elapsed() >= readiness.limit {
            return Err(format!("it does not answer after {} s: {last}", readiness.limit.as_secs()));
        }
        if woken.elapsed() >= WAKE_EVERY {
            woken = Instant::now();
            steps::wake_again(prepared_by).await;
        }
        sleep(readiness.every).await;
    }
}

/// Resolves when it is there no more.
pub(super) async fn until_lost(readiness: &Readiness) {
    let mut failed = 0;
    while failed < LOOKS {
        sleep(readiness.every * SELDOM).await;
        failed = if is_ready(readiness).await { 0 } else { failed + 1 };
    }
}

async fn probe(probe: &Probe) -> Result<(), String> {
    let trying = async {
        match probe {
            Probe::Tcp { host, port } => tcp::connect(host, *port).await.map(drop).map_err(|failure| failure.detail),
            Probe::Http(asked) => hook::ask(asked).await,
        }
    };
    timeout(ONE, trying).await.unwrap_or_else(|_| Err(format!("nothing within {} s", ONE.as_secs())))
}
