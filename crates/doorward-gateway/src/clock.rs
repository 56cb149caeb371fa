//! Notices that the wall clock was set: then every decision that looked at it is taken again.

use crate::live::Live;
use doorward_control::Control;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tracing::info;

const STEP: Duration = Duration::from_millis(500);
const TOLERANCE: Duration = Duration::from_secs(1);

pub(crate) async fn watch(control: Control, live: Arc<Live>) {
    let mut before = (Instant::now(), SystemTime::now());
    loop {
        tokio::time::sleep(STEP).await;
        let now = (Instant::now(), SystemTime::now());
        let expected = before.1 + now.0.duration_since(before.0);
        let jump = now.1.duration_since(expected).unwrap_or_else(|e| e.duration());
        if jump > TOLERANCE {
            info!(seconds = jump.as_secs(), "the clock was set; every open stream is decided again");
            live.decide_all_again(&control.snapshot());
        }
        before = now;
    }
}
