//! From a worse carrier back up to a better one: a network that lets nothing but HTTPS through today may be another
//! tomorrow.

use super::{Connection, Shared};
use doorward_core::site::Carrier;
use doorward_tunnel::identity::DeviceKey;
use doorward_tunnel::{AgentStanding, Dialer};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::time::sleep;
use tracing::{debug, info};

/// Tries for a better link beside the one that stands.
pub(super) struct Climber {
    shared: Arc<Shared>,
    key: Arc<DeviceKey>,
    metered: bool,
    dialer: Option<Dialer>,
    better: Vec<Carrier>,
    climbs: Arc<AtomicUsize>,
    /// From here on the gateway may end the old link before the new one is known to stand.
    is_introducing: Arc<AtomicBool>,
}

impl Connection {
    pub(super) fn climber(&self, from: Carrier) -> Climber {
        let dialer = self.dialer();
        let offered = |carrier: &Carrier| *carrier < from && dialer.as_ref().is_some_and(|d| d.offers(*carrier));
        let better = [Carrier::Quic, Carrier::Tls].into_iter().filter(offered).collect();
        Climber {
            shared: self.shared.clone(),
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

    /// Resolves when a better link stands; the gateway has replaced the old one by then.
    pub(super) async fn climb(self) -> AgentStanding {
        let Some(dialer) = self.dialer.as_ref().filter(|_| !self.better.is_empty()) else { return pending().await };
        loop {
            sleep(self.shared.tempo.climb_pause(self.climbs.load(Ordering::Relaxed))).await;
            self.climbs.fetch_add(1, Ordering::Relaxed);
            for &carrier in &self.better {
                if let Some(standing) = self.try_carrier(dialer, carrier).await {
                    info!(carrier = carrier.word(), "climbed to a better carrier");
                    return standing;
                }
            }
        }
    }

    async fn try_carrier(&self, dialer: &Dialer, carrier: Carrier) -> Option<AgentStanding> {
        let established = dialer.try_carrier(carrier).await?;
        self.is_introducing.store(true, Ordering::Relaxed);
        let introduced = established.introduce(&self.key, &self.shared.introduction(self.metered)).await;
        self.is_introducing.store(false, Ordering::Relaxed);
        introduced.inspect_err(|error| debug!(%error, carrier = carrier.word(), "no better link")).ok()
    }
}
