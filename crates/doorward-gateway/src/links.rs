//! The links that stand, one per device, and the one function that opens a stream in them.

mod additions;
pub(crate) mod agent;
mod errands;
mod registration;
mod takeover;

use crate::ssh::link::{Forward, SshLink};
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
    ssh: Mutex<HashMap<DeviceId, Arc<SshLink>>>,
    last: AtomicU64,
}

/// How a device is reached now.
enum Way {
    Agent(Arc<GatewayLink>),
    Ssh(Arc<SshLink>),
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
        match self.way_to(permit)? {
            Way::Agent(link) => link.open(request).await,
            Way::Ssh(link) => link.open(request).await,
        }
    }

    pub(crate) async fn open_flow(&self, permit: &access::Permit, request: &OpenRequest) -> Result<Flow, OpenError> {
        match self.way_to(permit)? {
            Way::Agent(link) => link.open_flow(request).await,
            Way::Ssh(_) => Err(OpenError::new(HopFailure::AgentRefused)),
        }
    }

    /// An agent comes before SSH: it is the device's own word.
    fn way_to(&self, permit: &Permit) -> Result<Way, OpenError> {
        let device = permit.device();
        let agent = self.holder(device).map(|held| Way::Agent(held.link));
        let way = agent.or_else(|| self.ssh_link(device).map(Way::Ssh));
        way.ok_or(OpenError::new(HopFailure::DeviceOffline))
    }

    /// Whether there is a way to the device now.
    pub(crate) fn is_reachable(&self, device: DeviceId) -> bool {
        self.holder(device).is_some() || self.ssh_link(device).is_some()
    }

    pub(crate) fn ssh_link(&self, device: DeviceId) -> Option<Arc<SshLink>> {
        self.ssh_table().get(&device).cloned()
    }

    /// Puts the forward into the device's SSH link, and returns that.
    pub(crate) fn add_forward(&self, device: DeviceId, forward: Forward) -> Arc<SshLink> {
        let mut table = self.ssh_table();
        if let Some(link) = table.get(&device) {
            link.add(forward);
            return link.clone();
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let link = Arc::new(SshLink::new(device, number));
        link.add(forward);
        table.insert(device, link.clone());
        link
    }

    /// Takes an SSH link out of its place if nothing is left of it, unless a successor has it.
    pub(crate) fn release_ssh(&self, link: &SshLink) -> bool {
        let mut table = self.ssh_table();
        let is_over = link.is_empty() && table.get(&link.device).is_some_and(|held| held.number == link.number);
        if is_over {
            table.remove(&link.device);
        }
        is_over
    }

    fn ssh_table(&self) -> std::sync::MutexGuard<'_, HashMap<DeviceId, Arc<SshLink>>> {
        self.ssh.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.table().len() + self.ssh_table().len()
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
