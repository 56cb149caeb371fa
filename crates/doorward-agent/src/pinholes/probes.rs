//! Probes that a gateway announced, until they come. Each counts once.

use doorward_core::pinhole::PinholeId;
use doorward_tunnel::Probe;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Probes(Mutex<HashMap<PinholeId, (Arc<Probe>, Instant)>>);

/// A gateway tries for ten seconds.
const LASTING: Duration = Duration::from_secs(15);
const MOST: usize = 1000;

impl Probes {
    /// The newest counts.
    pub(super) fn announced(&self, id: PinholeId, probe: Probe, now: Instant) {
        let mut table = self.table();
        table.retain(|_, (_, until)| now < *until);
        if table.len() < MOST {
            table.insert(id, (Arc::new(probe), now + LASTING));
        }
    }

    pub(super) fn expected(&self, id: &PinholeId) -> Option<Arc<Probe>> {
        self.table().get(id).filter(|(_, until)| Instant::now() < *until).map(|(probe, _)| probe.clone())
    }

    /// `false`: it came already, or another was announced since.
    pub(super) fn use_up(&self, id: &PinholeId, probe: &Probe) -> bool {
        let mut table = self.table();
        let is_it = table.get(id).is_some_and(|(announced, _)| std::ptr::eq(announced.as_ref(), probe));
        is_it && table.remove(id).is_some()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<PinholeId, (Arc<Probe>, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
