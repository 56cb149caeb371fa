//! How everybody else learns that the snapshot changed. Bounded: a subscriber that falls behind is told so, and then
//! decides everything again.

use doorward_core::{AccountId, DeviceId, LoginId, ServiceId, SessionId, ShareId};
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// What differs between two snapshots that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub generation: u64,
    /// Whose policy, standing, name or entrances changed, or which came or went.
    pub services: Vec<ServiceId>,
    /// Whose key, name or standing changed.
    pub devices: Vec<DeviceId>,
    /// Whose standing, role or groups changed, or who came or went.
    pub people: Vec<AccountId>,
    /// That were opened, extended or ended.
    pub sessions: Vec<SessionId>,
    /// That began or ended, and all of each person named here.
    pub logins: Vec<LoginId>,
    /// That were made, used or revoked, and all that each person named here made.
    pub shares: Vec<ShareId>,
    pub site_keys: bool,
    /// Whether an SSH key, certificate or password came, went, or changed its standing.
    pub ssh_keys: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum News {
    Change(Arc<Change>),
    /// Changes were missed: decide everything again by the current snapshot.
    Lagged,
}

#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Arc<Change>>);

/// Enough for a burst; a subscriber that is further behind re-decides everything, which is then cheaper.
const BACKLOG: usize = 256;

impl Changes {
    pub(crate) fn channel() -> broadcast::Sender<Arc<Change>> {
        broadcast::Sender::new(BACKLOG)
    }

    pub(crate) fn subscribe(sender: &broadcast::Sender<Arc<Change>>) -> Self {
        Self(sender.subscribe())
    }

    /// The next news; `None` once the state is closed. Cancel-safe. The snapshot is published before its news.
    pub async fn next(&mut self) -> Option<News> {
        match self.0.recv().await {
            Ok(change) => Some(News::Change(change)),
            Err(RecvError::Lagged(_)) => Some(News::Lagged),
            Err(RecvError::Closed) => None,
        }
    }
}
