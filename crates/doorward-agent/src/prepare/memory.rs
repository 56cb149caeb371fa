//! Which services were made ready and not let go yet, over restarts.

use crate::state::StateDir;
use doorward_core::names::Label;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::warn;

pub(super) struct Memory {
    state: StateDir,
    held: Mutex<BTreeSet<Label>>,
}

impl Memory {
    /// A list that cannot be read is no reason to be unreachable: what is on then stays on.
    pub(super) fn open(state: StateDir) -> Self {
        let held = state.prepared().unwrap_or_else(|error| {
            warn!("{error}; services that were made ready before are not let go by themselves");
            BTreeSet::new()
        });
        Self { state, held: Mutex::new(held) }
    }

    pub(super) fn holds(&self, service: &Label) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).contains(service)
    }

    /// Before the first step: whoever dies in the middle has begun.
    pub(super) async fn begin(self: &Arc<Self>, service: &Label) {
        let service = service.clone();
        self.change(move |held| held.insert(service)).await;
    }

    pub(super) async fn end(self: &Arc<Self>, service: &Label) {
        let service = service.clone();
        self.change(move |held| held.remove(&service)).await;
    }

    async fn change(self: &Arc<Self>, change: impl FnOnce(&mut BTreeSet<Label>) -> bool + Send + 'static) {
        let memory = self.clone();
        let storing = tokio::task::spawn_blocking(move || {
            let mut held = memory.held.lock().unwrap_or_else(PoisonError::into_inner);
            if change(&mut held)
                && let Err(error) = memory.state.keep_prepared(&held)
            {
                warn!("{error}; after a restart this is forgotten");
            }
        });
        let _ = storing.await;
    }
}
