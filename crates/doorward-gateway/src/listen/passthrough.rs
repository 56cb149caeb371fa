//! Services that speak TLS themselves, on the port of HTTPS: found by the name in the ClientHello, passed on unread.
//! The gateway holds no key for what they say and never answers under their names; see
//! docs/decisions/0040-names-that-are-passed-through.md.

use crate::admit::Admission;
use crate::listen::complaint::Complaint;
use crate::listen::hello::{Hello, Unread};
use crate::listen::socket::VisitorSocket;
use crate::listen::strangers::{Handshake, Place, Strangers};
use crate::listen::tcp;
use crate::live::Way;
use doorward_core::access::Visitor;
use doorward_core::names::HostName;
use doorward_core::service::Entrance;
use doorward_tunnel::Duplex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::warn;

pub(crate) struct Passthrough {
    admission: Admission,
    strangers: Arc<Strangers>,
    rooms: Arc<Rooms>,
    full: Complaint,
}

impl Passthrough {
    pub(crate) fn new(admission: Admission, strangers: Arc<Strangers>) -> Arc<Self> {
        Arc::new(Self { admission, strangers, rooms: Arc::default(), full: Complaint::new() })
    }

    /// The name, if what the hello begins is for a service, whatever else it offers: `acme-tls/1` is then the service's
    /// own proof, and `doorward/1` a link to another gateway behind this one. Links to this one name nobody.
    pub(crate) fn host(&self, hello: &Hello<VisitorSocket>) -> Option<HostName> {
        hello.host().filter(|host| self.admission.control.snapshot().passes_through(host))
    }

    /// `places`: whoever is admitted needs the one for a handshake no longer.
    pub(crate) async fn visit(
        &self,
        host: HostName,
        mut socket: Unread<VisitorSocket>,
        peer: SocketAddr,
        places: (Option<Place>, Option<Handshake>),
    ) {
        let (_place, handshake) = places;
        let Some(_room) = self.enter(&host) else { return socket.abort() };
        let visitor = Visitor::new(peer.ip(), Entrance::Tls);
        let service = self.admission.control.snapshot().tls(&host);
        let admitted = service.and_then(|service| self.admission.admit(service, &visitor, Way::Tls(host)).ok());
        // One answer for whatever is in the way. A TLS alert would be the gateway's word where it has none to say.
        let Some(admitted) = admitted else { return socket.abort() };
        drop(handshake);
        tcp::carry(socket, &self.admission, admitted).await;
    }

    fn enter(&self, host: &HostName) -> Option<Room> {
        let room = self.rooms.enter(host, self.strangers.connections_per_port());
        if room.is_none()
            && let Some(times) = self.full.raise()
        {
            warn!(%host, times, "a name for TLS has as many connections as it may; others are turned away");
        }
        room
    }
}

/// How many are under each name now.
#[derive(Default)]
struct Rooms(Mutex<HashMap<HostName, usize>>);

/// A place under a name, given back on drop.
struct Room {
    rooms: Arc<Rooms>,
    host: HostName,
}

impl Rooms {
    fn enter(self: &Arc<Self>, host: &HostName, most: usize) -> Option<Room> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(host).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        taken.insert(host.clone(), count + 1);
        Some(Room { rooms: self.clone(), host: host.clone() })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut taken = self.rooms.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_so_many_places_and_forgets_who_left() {
        let rooms = Arc::<Rooms>::default();
        let [one, two] = ["one.gw.test", "two.gw.test"].map(|name| HostName::parse(name).unwrap());
        let held: Vec<_> = (0..4).map(|_| rooms.enter(&one, 3)).collect();
        assert_eq!(held.iter().filter(|room| room.is_some()).count(), 3);
        assert!(rooms.enter(&two, 3).is_some(), "another name has places of its own");
        drop(held);
        assert!(rooms.0.lock().unwrap().is_empty());
    }
}
