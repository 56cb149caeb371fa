//! What whoever opens a session sees while the service is made ready for them.

use super::Room;
use super::terminal::Terminal;
use doorward_control::Preparation;
use doorward_core::prepare::Phase;
use doorward_core::service::Service;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Nobody watches longer.
const LONGEST: Duration = Duration::from_secs(3600);

impl Room {
    /// Tells of each step until it is ready or failed; the last words, and whether it went well.
    pub(super) async fn tell_progress(&self, service: &Service, terminal: &mut Terminal) -> (String, bool) {
        let mut seen = self.admission.preparing.watch(service.id);
        let (started, mut last) = (Instant::now(), String::new());
        let watching = async {
            loop {
                let now = seen.borrow_and_update().clone();
                let Some(now) = now else {
                    return (format!("{}: nobody tells whether it is ready.\n", service.path()), true);
                };
                if let Some(end) = ending(&now, started) {
                    return end;
                }
                let line = line(&now);
                if line != last && !terminal.say(&line).await {
                    return (String::new(), false);
                }
                last = line;
                if seen.changed().await.is_err() {
                    return (String::new(), false);
                }
            }
        };
        timeout(LONGEST, watching).await.unwrap_or_default()
    }
}

fn ending(seen: &Preparation, started: Instant) -> Option<(String, bool)> {
    match seen.phase {
        Phase::Ready if started.elapsed().as_secs() < 1 => Some(("It is ready.\n".to_owned(), true)),
        Phase::Ready => Some((format!("It is ready, after {} s.\n", started.elapsed().as_secs()), true)),
        Phase::Failed => {
            let again = seen.retry_at.map(|at| at.duration_since(jiff::Timestamp::now()).as_secs().max(0));
            let again = again.map(|seconds| format!(" It is tried again in {seconds} s.")).unwrap_or_default();
            let Preparation { step, steps, what, .. } = seen;
            Some((format!("It could not be made ready: step {step} of {steps}, {what}, failed.{again}\n"), false))
        }
        Phase::Resting | Phase::Preparing | Phase::Releasing => None,
    }
}

fn line(seen: &Preparation) -> String {
    match seen.phase {
        Phase::Preparing => format!("Making it ready: step {} of {}, {} …\n", seen.step, seen.steps, seen.what),
        Phase::Releasing => "It is being put to rest; then it is made ready again …\n".to_owned(),
        Phase::Resting | Phase::Ready | Phase::Failed => String::new(),
    }
}
