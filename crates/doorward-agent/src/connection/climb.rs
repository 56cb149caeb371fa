//! From one link to another while it stands: up to a better carrier (a network that lets nothing but HTTPS through
//! today may be another tomorrow), or away from a link that may be dead.

use super::{Connection, PAUSE, Shared};
use crate::tempo::jitter;
use doorward_core::site::Carrier;
use doorward_tunnel::identity::DeviceKey;
use doorward_tunnel::{AgentLink, AgentStanding, Dialer, Established};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::time::sleep;
use tracing::{debug, info};

/// Looks for another link beside the one that stands.
pub(super) struct Climber {
    shared: Arc<Shared>,
    link: Arc<AgentLink>,
    key: Arc<DeviceKey>,
    metered: bool,
    dialer: Option<Dialer>,
    better: Vec<Carrier>,
    climbs: Arc<AtomicUsize>,
    /// From here on the gateway may end the old link before the new one is known to stand.
    is_introducing: Arc<AtomicBool>,
}

impl Connection {
    pub(super) fn climber(&self, link: &Arc<AgentLink>) -> Climber {
        let dialer = self.dialer();
        let offered =
            |carrier: &Carrier| *carrier < link.carrier() && dialer.as_ref().is_some_and(|d| d.offers(*carrier));
        let better = [Carrier::Quic, Carrier::Tls].into_iter().filter(offered).collect();
        Climber {
            shared: self.shared.clone(),
            link: link.clone(),
            key: self.key.clone(),
            metered: self.settings.borrow().metered,
            dialer,
            better,
            climbs: self.climbs.clone(),
            is_introducing: Arc::default(),
        }
    }
}

impl Climber {
    pub(super) fn is_introducing(&self) -> Arc<AtomicBool> {
        self.is_introducing.clone()
    }

    /// Resolves when another link stands; the gateway has replaced the old one by then.
    pub(super) async fn climb(self) -> AgentStanding {
        let Some(dialer) = &self.dialer else { return pending().await };
        loop {
            let established = tokio::select! {
                established = self.find_better(dialer) => established,
                established = self.find_replacement(dialer) => established,
            };
            // Once begun it is seen through: the gateway may have changed over already.
            if let Some(standing) = self.introduce(established).await {
                return standing;
            }
            sleep(jitter(PAUSE)).await;
        }
    }

    async fn find_better(&self, dialer: &Dialer) -> Established {
        if self.better.is_empty() {
            return pending().await;
        }
        loop {
            sleep(self.shared.tempo.climb_pause(self.climbs.load(Ordering::Relaxed))).await;
            self.climbs.fetch_add(1, Ordering::Relaxed);
            for &carrier in &self.better {
                if let Some(established) = dialer.try_carrier(carrier).await {
                    info!(carrier = carrier.word(), "climbing to a better carrier");
                    return established;
                }
            }
        }
    }

    /// While an answer is overdue, the link may be dead. It is given the time to show that it is not, but nobody waits
    /// for that.
    async fn find_replacement(&self, dialer: &Dialer) -> Established {
        loop {
            self.link.until_overdue(true).await;
            tokio::select! {
                established = dialer.establish(Some(self.link.carrier())) => {
                    debug!(carrier = established.carrier().word(), "the link does not answer, but a new one does");
                    return established;
                }
                () = self.link.until_overdue(false) => {}
            }
        }
    }

    async fn introduce(&self, established: Established) -> Option<AgentStanding> {
        let carrier = established.carrier();
        self.is_introducing.store(true, Ordering::Relaxed);
        let introduced = established.introduce(&self.key, &self.shared.introduction(self.metered)).await;
        self.is_introducing.store(false, Ordering::Relaxed);
        introduced.inspect_err(|error| debug!(%error, carrier = carrier.word(), "no other link")).ok()
    }
}
