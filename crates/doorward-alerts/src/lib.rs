//! Telling people what happened: each destination has its own task and its own bounded queue, so that one which hangs
//! holds up nobody. What cannot be delivered is tried again for three quarters of an hour, then given up and counted.

mod deliver;
mod mail;
mod ntfy;
mod post;
mod settings;
mod texts;
mod webhook;

pub use mail::{Encryption, Mail, MailError};
pub use ntfy::Ntfy;
pub use post::{Trust, TrustError, Url, UrlError};
pub use settings::{Destination, Language, Way};
pub use webhook::{SIGNATURE, Webhook};

use deliver::{PAUSES, Queue};
use doorward_control::{Alert, Control};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tracing::warn;

/// All destinations, served while this is held.
pub struct Alerts {
    control: Control,
    /// Between the attempts to deliver one.
    pauses: Arc<[Duration]>,
    served: HashMap<String, Served>,
}

struct Served {
    destination: Arc<Destination>,
    queue: Arc<Queue>,
    /// Ends with it.
    _tasks: JoinSet<()>,
}

impl Alerts {
    pub fn new(control: Control) -> Self {
        Self::with_pauses(control, &PAUSES)
    }

    /// For tests, which do not wait.
    pub fn with_pauses(control: Control, pauses: &[Duration]) -> Self {
        Self { control, pauses: pauses.into(), served: HashMap::new() }
    }

    /// From now on these and no others. What waits for a destination that stays by name waits on.
    pub fn serve(&mut self, destinations: Vec<Destination>) {
        let mut before = std::mem::take(&mut self.served);
        for destination in destinations {
            let name = destination.name.clone();
            let served = match before.remove(&name) {
                Some(served) if *served.destination == destination => served,
                Some(served) => self.begin(destination, served.queue.clone()),
                None => self.begin(destination, Arc::default()),
            };
            self.served.insert(name, served);
        }
        for name in before.keys() {
            self.control.alert_destination(name, None);
        }
    }

    fn begin(&self, destination: Destination, queue: Arc<Queue>) -> Served {
        let destination = Arc::new(destination);
        let kind = destination.way.word();
        self.control.alert_destination(&destination.name, Some(&|state| state.kind = kind.to_owned()));
        let mut tasks = JoinSet::new();
        // From here on, not from when the task first runs.
        let raised = self.control.alerts();
        tasks.spawn(collect(self.control.clone(), raised, destination.clone(), queue.clone()));
        tasks.spawn(deliver::run(self.control.clone(), destination.clone(), queue.clone(), self.pauses.clone()));
        Served { destination, queue, _tasks: tasks }
    }
}

/// Takes over what is raised and wanted here. Never waits for a delivery.
async fn collect(control: Control, mut raised: Receiver<Arc<Alert>>, destination: Arc<Destination>, queue: Arc<Queue>) {
    loop {
        match raised.recv().await {
            Ok(alert) if destination.wants(alert.notice.kind()) => {
                deliver::enqueue(&control, &destination, &queue, alert)
            }
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => {
                warn!(missed, to = destination.name, "more happened at once than can be told");
                deliver::count_dropped(&control, &destination, missed);
            }
            Err(RecvError::Closed) => return,
        }
    }
}
