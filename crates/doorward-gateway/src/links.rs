//! The links that stand, one per device, and the one function that opens a stream in them.

pub(crate) mod agent;
mod registration;
mod takeover;

use doorward_core::access::Permit;
use doorward_core::hop::HopFailure;
use doorward_core::{DeviceId, access};
use doorward_tunnel::messages::{Leaving, Message};
use doorward_tunnel::{Flow, GatewayLink, OpenError, OpenRequest, Stream};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use takeover::Claimant;
use tokio::time::timeout;

const TELL_LIMIT: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Links {
    held: Mutex<HashMap<DeviceId, Held>>,
    contests: Mutex<HashMap<DeviceId, Instant>>,
    last: AtomicU64,
}

/// A link in its place.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) link: Arc<GatewayLink>,
    /// Tells this link from its predecessors and successors; the device's id does not.
    pub(crate) number: u64,
    /// By which it came in: when that key counts no more, the link ends.
    pub(crate) device_key: [u8; 32],
    claimant: Claimant,
}

impl Links {
    /// Opens a stream to the permitted service. The permit is the only key to a device.
    pub(crate) async fn open(&self, permit: &Permit, request: &OpenRequest) -> Result<Stream, OpenError> {
        self.link_for(permit)?.open(request).await
    }

    pub(crate) async fn open_flow(&self, permit: &access::Permit, request: &OpenRequest) -> Result<Flow, OpenError> {
        self.link_for(permit)?.open_flow(request).await
    }

    fn link_for(&self, permit: &Permit) -> Result<Arc<GatewayLink>, OpenError> {
        let held = self.holder(permit.device()).ok_or(OpenError::new(HopFailure::DeviceOffline))?;
        Ok(held.link)
    }

    pub(crate) fn holder(&self, device: DeviceId) -> Option<Held> {
        self.table().get(&device).cloned()
    }

    /// Puts a link in its device's place; returns the one that had it.
    fn hold(
        &self,
        device: DeviceId,
        link: Arc<GatewayLink>,
        device_key: [u8; 32],
        claimant: Claimant,
    ) -> (u64, Option<Held>) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let before = self.table().insert(device, Held { link, number, device_key, claimant });
        (number, before)
    }

    /// Takes a link out of its place, unless a successor has it.
    fn release(&self, device: DeviceId, number: u64) {
        let mut table = self.table();
        if table.get(&device).is_some_and(|held| held.number == number) {
            table.remove(&device);
        }
    }

    pub(crate) fn all(&self) -> Vec<(DeviceId, Held)> {
        self.table().iter().map(|(id, held)| (*id, held.clone())).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.table().len()
    }

    /// Tells every agent something, as far as it listens. One that does not holds up nobody.
    pub(crate) async fn tell_all(&self, message: Message) {
        let telling = self.all().into_iter().map(|(_, held)| {
            let message = message.clone();
            async move { timeout(TELL_LIMIT, held.link.say(message)).await }
        });
        join_all(telling).await;
    }

    pub(crate) async fn close(&self, device: DeviceId, reason: Leaving) {
        let held = self.table().remove(&device);
        if let Some(held) = held {
            held.link.close(reason).await;
        }
    }

    fn contested_since(&self, device: DeviceId) -> Option<Instant> {
        self.contests.lock().unwrap_or_else(PoisonError::into_inner).get(&device).copied()
    }

    fn contest(&self, device: DeviceId) {
        self.contests.lock().unwrap_or_else(PoisonError::into_inner).insert(device, Instant::now());
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<DeviceId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
