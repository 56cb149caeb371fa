//! The connections that stand, with what they came in by: whoever loses a credential loses what stands by it.

use super::credential::Credential;
use super::wire::Shared;
use doorward_control::Snapshot;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// What one device, person or sender may hold at once, by however many credentials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) connections: usize,
    pub(crate) channels: usize,
}

#[derive(Default)]
pub(crate) struct Connections {
    standing: Mutex<HashMap<u64, Standing>>,
    last: AtomicU64,
}

struct Standing {
    by: Option<(Credential, Arc<Semaphore>)>,
    shared: Arc<Shared>,
}

/// A connection's place among those that stand. Without it the connection ends: russh runs it in a task of its own.
pub(super) struct Seat {
    pub(super) number: u64,
    shared: Arc<Shared>,
    connections: Arc<Connections>,
}

impl Connections {
    /// Ends those whose credential is no longer whose it was when they came in.
    pub(crate) fn end_strangers(&self, snapshot: &Snapshot) {
        for standing in self.table().values() {
            if standing.by.as_ref().is_some_and(|(credential, _)| !credential.stands(snapshot)) {
                standing.shared.break_off();
            }
        }
    }

    pub(crate) fn end_all(&self) {
        self.table().values().for_each(|standing| standing.shared.break_off());
    }

    pub(super) fn enter(self: &Arc<Self>, shared: Arc<Shared>) -> Seat {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.table().insert(number, Standing { by: None, shared: shared.clone() });
        Seat { number, shared, connections: self.clone() }
    }

    /// The places for channels that it shares with all others of the same identity; `None`: there are as many
    /// connections as there may be. Whoever was entered reads the snapshot once more, so that no change slips between.
    pub(super) fn came_in_by(&self, number: u64, credential: Credential, share: Share) -> Option<Arc<Semaphore>> {
        let mut table = self.table();
        let bearer = credential.bearer();
        let theirs = table.values().filter_map(|standing| standing.by.as_ref());
        let theirs: Vec<_> = theirs.filter(|(other, _)| other.bearer() == bearer).map(|(_, places)| places).collect();
        if theirs.len() >= share.connections {
            return None;
        }
        let places = theirs.first().map_or_else(|| Arc::new(Semaphore::new(share.channels)), |&places| places.clone());
        if let Some(standing) = table.get_mut(&number) {
            standing.by = Some((credential, places.clone()));
        }
        Some(places)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.table().remove(&self.number);
        self.shared.break_off();
    }
}

#[cfg(test)]
mod tests {
    use super::super::places::Places;
    use super::super::wire::Wire;
    use super::*;
    use crate::listen::socket::VisitorSocket;
    use doorward_control::{KeyFingerprint, SshHolder};
    use doorward_core::DeviceId;
    use tokio::net::{TcpListener, TcpStream};

    const SHARE: Share = Share { connections: 3, channels: 5 };

    fn key(n: u8, device: i64) -> Credential {
        Credential::Key { key: KeyFingerprint([n; 32]), holder: SshHolder::Device(DeviceId(device)) }
    }

    async fn shared() -> (Wire, Arc<Shared>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        Wire::new(VisitorSocket::new(socket))
    }

    #[tokio::test]
    async fn one_identity_has_so_many_connections_by_whichever_keys_and_others_are_not_concerned() {
        let (_wire, shared) = shared().await;
        let connections = Arc::<Connections>::default();
        let enter = |credential| {
            let seat = connections.enter(shared.clone());
            connections.came_in_by(seat.number, credential, SHARE).map(|_| seat)
        };
        let mut held: Vec<_> = (0..3).map(|n| enter(key(n, 1)).expect("there is room")).collect();
        assert!(enter(key(0, 1)).is_none());
        assert!(enter(key(9, 1)).is_none());
        assert!(enter(key(4, 2)).is_some());
        held.pop();
        assert!(enter(key(9, 1)).is_some());
    }

    #[tokio::test]
    async fn all_connections_of_an_identity_share_their_channels() {
        let (_wire, shared) = shared().await;
        let connections = Arc::<Connections>::default();
        let [first, second, other] = [(1, 1), (2, 1), (3, 2)].map(|(n, device)| {
            let seat = connections.enter(shared.clone());
            (connections.came_in_by(seat.number, key(n, device), SHARE).unwrap(), seat)
        });
        let places = |semaphore: &Arc<Semaphore>| {
            let mut places = Places::new();
            places.share(semaphore.clone());
            places
        };
        let held: Vec<_> = (0..5).map(|_| places(&first.0).take().expect("there is room")).collect();
        assert!(places(&second.0).take().is_none());
        assert!(places(&other.0).take().is_some());
        drop(held);
        assert!(places(&second.0).take().is_some());
    }
}
