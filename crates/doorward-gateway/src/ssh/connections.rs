//! The connections that stand, with the keys by which they came in: whoever loses a key loses what stands by it.

use super::wire::Shared;
use doorward_control::{KeyFingerprint, Snapshot, SshHolder, SshStanding};
use doorward_core::person::PersonStanding;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections by one key at once. A device has few; a person may have many, each with channels.
const MOST_BY_ONE_KEY: usize = 64;

#[derive(Default)]
pub(crate) struct Connections {
    standing: Mutex<HashMap<u64, Standing>>,
    last: AtomicU64,
}

struct Standing {
    by: Option<(KeyFingerprint, SshHolder)>,
    shared: Arc<Shared>,
}

/// A connection's place among those that stand. Without it the connection ends: russh runs it in a task of its own.
pub(super) struct Seat {
    pub(super) number: u64,
    shared: Arc<Shared>,
    connections: Arc<Connections>,
}

impl Connections {
    /// Ends those whose key is no longer whose it was when they came in.
    pub(crate) fn end_strangers(&self, snapshot: &Snapshot) {
        for standing in self.table().values() {
            if standing.by.as_ref().is_some_and(|(key, holder)| holder_of(snapshot, key).as_ref() != Some(holder)) {
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

    /// `false`: there are as many by this key as there may be. Whoever was entered reads the snapshot once more, so that
    /// no change slips between.
    pub(super) fn came_in_by(&self, number: u64, key: KeyFingerprint, holder: SshHolder) -> bool {
        let mut table = self.table();
        let by_it = table.values().filter(|standing| standing.by.as_ref().is_some_and(|(other, _)| *other == key));
        if by_it.count() >= MOST_BY_ONE_KEY {
            return false;
        }
        if let Some(standing) = table.get_mut(&number) {
            standing.by = Some((key, holder));
        }
        true
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose key it is now, if it counts.
pub(super) fn holder_of(snapshot: &Snapshot, key: &KeyFingerprint) -> Option<SshHolder> {
    match snapshot.ssh_standing(key) {
        SshStanding::Device(device) => Some(SshHolder::Device(device.id)),
        SshStanding::Person(person) => match person.standing(Timestamp::now()) {
            PersonStanding::Good => Some(SshHolder::Person(person.id)),
            PersonStanding::Disabled | PersonStanding::Ended => None,
        },
        SshStanding::Refused | SshStanding::Unknown => None,
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
    use super::super::wire::Wire;
    use super::*;
    use crate::listen::socket::VisitorSocket;
    use doorward_core::DeviceId;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn one_key_stands_for_so_many_connections_and_others_are_not_concerned() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_wire, shared) = Wire::new(VisitorSocket::new(socket));
        let connections = Arc::<Connections>::default();
        let (key, other) = (KeyFingerprint([1; 32]), KeyFingerprint([2; 32]));
        let enter = |key| {
            let seat = connections.enter(shared.clone());
            connections.came_in_by(seat.number, key, SshHolder::Device(DeviceId(1))).then_some(seat)
        };
        let mut held: Vec<_> = (0..MOST_BY_ONE_KEY).map(|_| enter(key).expect("there is room")).collect();
        assert!(enter(key).is_none());
        assert!(enter(other).is_some());
        held.pop();
        assert!(enter(key).is_some());
    }
}
