//! Places for channels: those of one connection, and those of all connections of whoever it is.

use super::link::MAX_CHANNELS;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Clone)]
pub(crate) struct Places {
    here: Arc<Semaphore>,
    of_all: Option<Arc<Semaphore>>,
}

/// Held for as long as a channel stands.
pub(crate) struct ChannelPlace {
    _here: OwnedSemaphorePermit,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { here: Arc::new(Semaphore::new(MAX_CHANNELS)), of_all: None }
    }

    pub(super) fn share(&mut self, of_all: Arc<Semaphore>) {
        self.of_all = Some(of_all);
    }

    pub(super) fn take(&self) -> Option<ChannelPlace> {
        let here = self.here.clone().try_acquire_owned().ok()?;
        let of_all = self.of_all.clone().map(Semaphore::try_acquire_owned).transpose().ok()?;
        Some(ChannelPlace { _here: here, _of_all: of_all })
    }

    /// Whether no channel of this connection stands.
    pub(super) fn are_free(&self) -> bool {
        self.here.available_permits() == MAX_CHANNELS
    }
}
