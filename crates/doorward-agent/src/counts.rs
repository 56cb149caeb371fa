//! What crosses this device's link for each service: every byte of every visit, both ways, also of those that broke off. Counted
//! here, since here is where it is paid for. The counters never go back: they are kept on disk, and told to the gateway, which knows
//! what days and months are.

use crate::state::StateDir;
use doorward_core::names::Label;
use doorward_tunnel::messages::{ServiceSpending, Spending};
use doorward_tunnel::splice::Traffic;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// Those of one gateway.
pub(crate) struct Counts {
    state: StateDir,
    gateway: Label,
    table: Mutex<BTreeMap<Label, Arc<Traffic>>>,
}

/// What one link was told.
#[derive(Default)]
pub(crate) struct Told(BTreeMap<Label, u64>);

/// A budget is overdrawn by what passes in this time.
pub(crate) const TELL_EVERY: Duration = Duration::from_secs(1);
/// Disks of small devices wear out. What is lost with the power was told.
const STORE_EVERY: Duration = Duration::from_secs(60);

impl Counts {
    /// A file that cannot be read begins anew: no reason to keep a device off its link.
    pub(crate) fn load(state: &StateDir, gateway: &Label) -> Arc<Self> {
        let stored =
            state.counts(gateway).inspect_err(|error| warn!("{error}; counting begins anew")).unwrap_or_default();
        let entry = |(service, bytes): (Label, u64)| {
            let traffic = Traffic::default();
            traffic.up.store(bytes, Ordering::Relaxed);
            (service, Arc::new(traffic))
        };
        let table = Mutex::new(stored.into_iter().map(entry).collect());
        Arc::new(Self { state: state.clone(), gateway: gateway.clone(), table })
    }

    pub(crate) fn of(&self, service: &Label) -> Arc<Traffic> {
        self.table().entry(service.clone()).or_default().clone()
    }

    fn all(&self) -> BTreeMap<Label, u64> {
        let bytes =
            |traffic: &Traffic| traffic.up.load(Ordering::Relaxed).saturating_add(traffic.down.load(Ordering::Relaxed));
        self.table().iter().map(|(service, traffic)| (service.clone(), bytes(traffic))).collect()
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<Label, Arc<Traffic>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores what counts, for as long as it is polled.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut stored = self.all();
        loop {
            tokio::time::sleep_until(Instant::now() + STORE_EVERY).await;
            let now = self.all();
            if now != stored {
                self.store(now.clone()).await;
                stored = now;
            }
        }
    }

    pub(crate) async fn store_now(&self) {
        self.store(self.all()).await;
    }

    async fn store(&self, counts: BTreeMap<Label, u64>) {
        let (state, gateway) = (self.state.clone(), self.gateway.clone());
        let storing = tokio::task::spawn_blocking(move || state.store_counts(&gateway, &counts));
        if let Ok(Err(error)) = storing.await {
            // What the gateway was told counts on.
            debug!("{error}");
        }
    }
}

impl Told {
    /// What is news of these services: at first all, since it says where their counters stand.
    pub(crate) fn news<'s>(
        &mut self,
        counts: &Counts,
        services: impl Iterator<Item = &'s Label>,
        reserve: u8,
    ) -> Option<Spending> {
        let now = counts.all();
        let stands = services.map(|service| (service.clone(), now.get(service).copied().unwrap_or(0)));
        let news: Vec<_> = stands.filter(|(service, bytes)| self.0.get(service) != Some(bytes)).collect();
        self.0.extend(news.iter().cloned());
        let services = news.into_iter().map(|(name, bytes)| ServiceSpending { name: name.to_string(), bytes });
        let services: Vec<_> = services.collect();
        (!services.is_empty()).then(|| Spending { services, reserve: reserve.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counters_are_kept_and_what_did_not_change_is_not_told_again() {
        let folder = tempfile::tempdir().unwrap();
        let (state, gateway) = (StateDir::new(folder.path()), Label::parse("main").unwrap());
        std::fs::create_dir(folder.path().join("main")).unwrap();
        let (cam, ssh) = (Label::parse("cam").unwrap(), Label::parse("ssh").unwrap());
        let counts = Counts::load(&state, &gateway);
        counts.of(&cam).up.fetch_add(5, Ordering::Relaxed);
        counts.of(&cam).down.fetch_add(7, Ordering::Relaxed);
        counts.store_now().await;
        drop(counts);

        let counts = Counts::load(&state, &gateway);
        let mut told = Told::default();
        let mut news = || {
            let news = told.news(&counts, [&cam, &ssh].into_iter(), 5);
            news.map(|news| news.services.into_iter().map(|s| (s.name, s.bytes)).collect::<Vec<_>>())
        };
        assert_eq!(news(), Some(vec![("cam".to_owned(), 12), ("ssh".to_owned(), 0)]));
        assert_eq!(news(), None);
        counts.of(&ssh).down.fetch_add(1, Ordering::Relaxed);
        assert_eq!(news(), Some(vec![("ssh".to_owned(), 1)]));

        std::fs::write(folder.path().join("main/counts.json"), "nonsense").unwrap();
        assert!(state.counts(&gateway).unwrap_err().to_string().contains("counts.json"));
        assert!(Counts::load(&state, &gateway).all().is_empty());
    }
}
