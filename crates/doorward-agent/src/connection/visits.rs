//! The visits of one gateway and the links they came by. Streams over lanes outlive the link that opened them; all
//! end with this.

use crate::cameras::Cameras;
use crate::counts::Counts;
use crate::deliver::Deliverer;
use crate::settings::Settings;
use doorward_core::names::Label;
use doorward_tunnel::messages::Message;
use doorward_tunnel::{LinkEnd, Visit};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub(super) struct Visits {
    deliverer: Deliverer,
    running: JoinSet<()>,
    /// Links that were replaced, until their streams have finished.
    retired: JoinSet<()>,
}

/// For streams to be reset after the cut.
const CUT_LIMIT: Duration = Duration::from_secs(1);

impl Visits {
    pub(super) fn new(
        gateway: Label,
        settings: watch::Receiver<Arc<Settings>>,
        slots: Arc<Semaphore>,
        counts: Arc<Counts>,
        cameras: Arc<Cameras>,
    ) -> Self {
        let (cut, draining) = (CancellationToken::new(), CancellationToken::new());
        let deliverer =
            Deliverer { gateway, settings, slots, troubles: Arc::default(), counts, cameras, cut, draining };
        Self { deliverer, running: JoinSet::new(), retired: JoinSet::new() }
    }

    /// Takes the visits of one more link.
    pub(super) fn take(&mut self, visits: mpsc::Receiver<Visit>) {
        while self.running.try_join_next().is_some() {}
        self.running.spawn(self.deliverer.clone().take(visits));
    }

    /// Keeps a link that was replaced going until it ends, or for `limit`.
    pub(super) fn retire(
        &mut self,
        driver: AbortOnDropHandle<LinkEnd>,
        mut events: mpsc::Receiver<Message>,
        limit: Duration,
    ) {
        while self.retired.try_join_next().is_some() {}
        self.retired.spawn(async move {
            // What it still says is of no interest, but must not stop it.
            let listening = async {
                while events.recv().await.is_some() {}
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = timeout(limit, driver) => {}
                () = listening => {}
            }
        });
    }

    /// Resets all that runs; later visits are taken again.
    pub(super) fn cut(&mut self) {
        self.deliverer.cut.cancel();
        self.deliverer.cut = CancellationToken::new();
    }

    /// Takes no more, lets what runs finish within `limit`, and resets the rest.
    pub(super) async fn drain(&mut self, limit: Duration) {
        self.deliverer.draining.cancel();
        if timeout(limit, self.all_ended()).await.is_err() {
            self.deliverer.cut.cancel();
            let _ = timeout(CUT_LIMIT, self.all_ended()).await;
        }
    }

    async fn all_ended(&mut self) {
        while self.running.join_next().await.is_some() {}
    }
}
