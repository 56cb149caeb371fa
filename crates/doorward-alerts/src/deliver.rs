//! One destination: what waits for it, and the attempts.

use crate::post::AttemptError;
use crate::{Destination, Way, texts};
use doorward_control::{Alert, AlertDestination, Control, Tested};
use doorward_core::notice::NoticeKind;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{info, warn};

#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<Arc<Alert>>>,
    bell: Notify,
}

/// What is older than the newest so many is of no interest any more.
const MOST_WAITING: usize = 64;
/// 43 minutes as a whole: a router restarts, a mail server is updated.
pub(crate) const PAUSES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(1800),
];

pub(crate) fn enqueue(control: &Control, destination: &Destination, queue: &Queue, alert: Arc<Alert>) {
    let (is_one_too_many, waiting) = {
        let mut waiting = queue.lock();
        waiting.push_back(alert);
        let is_one_too_many = waiting.len() > MOST_WAITING;
        if is_one_too_many {
            waiting.pop_front();
        }
        (is_one_too_many, waiting.len())
    };
    if is_one_too_many {
        count_dropped(control, destination, 1);
    }
    note(control, destination, &|state| state.waiting = waiting);
    queue.bell.notify_one();
}

pub(crate) fn count_dropped(control: &Control, destination: &Destination, many: u64) {
    count(destination, "dropped", many);
    note(control, destination, &|state| state.dropped += many);
}

fn count(destination: &Destination, outcome: &'static str, many: u64) {
    metrics::counter!("doorward_alerts_total", "way" => destination.way.word(), "outcome" => outcome).increment(many);
}

fn note(control: &Control, destination: &Destination, change: &dyn Fn(&mut AlertDestination)) {
    control.alert_destination(&destination.name, Some(change));
}

pub(crate) async fn run(control: Control, destination: Arc<Destination>, queue: Arc<Queue>, pauses: Arc<[Duration]>) {
    loop {
        let alert = queue.next().await;
        // It has one task, which alone takes out: what was looked at first is still meant.
        deliver(&control, &destination, &alert, &pauses).await;
        let waiting = queue.done(&alert);
        note(&control, &destination, &|state| state.waiting = waiting);
    }
}

/// As often as it takes. A test is tried once: somebody looks on.
async fn deliver(control: &Control, destination: &Destination, alert: &Alert, pauses: &[Duration]) {
    let is_test = alert.notice.kind() == NoticeKind::Test;
    let pauses = if is_test { &[] } else { pauses };
    let mut pauses = pauses.iter();
    loop {
        let trouble = match attempt(destination, alert).await {
            Ok(()) => {
                count(destination, "sent", 1);
                note(control, destination, &|state| {
                    state.sent += 1;
                    state.sent_at = Some(Timestamp::now());
                    state.trouble = None;
                    if is_test {
                        state.tested = Some(Tested { id: alert.id.clone(), trouble: None });
                    }
                });
                return info!(to = destination.name, kind = alert.notice.kind().word(), "an alert was sent");
            }
            Err(trouble) => trouble,
        };
        let why = trouble.to_string();
        let pause = match trouble {
            AttemptError::Later(_) => pauses.next(),
            AttemptError::Never(_) => None,
        };
        let Some(pause) = pause else {
            count(destination, "failed", 1);
            note(control, destination, &|state| {
                state.failed += 1;
                state.trouble = Some(why.clone());
                if is_test {
                    state.tested = Some(Tested { id: alert.id.clone(), trouble: Some(why.clone()) });
                }
            });
            return warn!(to = destination.name, kind = alert.notice.kind().word(), why, "an alert was given up");
        };
        note(control, destination, &|state| state.trouble = Some(why.clone()));
        sleep(*pause).await;
    }
}

async fn attempt(destination: &Destination, alert: &Alert) -> Result<(), AttemptError> {
    let message = texts::message(&alert.notice, destination.language);
    match &destination.way {
        Way::Webhook(webhook) => webhook.send(alert, &message).await,
        Way::Ntfy(ntfy) => ntfy.send(alert, &message).await,
        Way::Mail(mail) => mail.send(alert, &message).await,
    }
}

impl Queue {
    /// The oldest, which stays until it is done.
    async fn next(&self) -> Arc<Alert> {
        loop {
            let rung = self.bell.notified();
            if let Some(first) = self.lock().front() {
                return first.clone();
            }
            rung.await;
        }
    }

    /// Says how many still wait. It may have given way to newer ones meanwhile.
    fn done(&self, alert: &Arc<Alert>) -> usize {
        let mut waiting = self.lock();
        if waiting.front().is_some_and(|first| first.id == alert.id) {
            waiting.pop_front();
        }
        waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Alert>>> {
        self.waiting.lock().expect("nothing panics while it holds this lock")
    }
}
