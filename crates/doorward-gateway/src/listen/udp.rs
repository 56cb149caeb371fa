//! Public UDP ports: one service each, one flow per visitor's address and port.

use crate::admit::Admission;
use crate::listen::strangers::source_of;
use crate::tasks::Tasks;
use bytes::Bytes;
use doorward_core::access::Visitor;
use doorward_core::service::Entrance;
use doorward_tunnel::PacketQueue;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UdpSocket;
use tracing::{debug, warn};

/// The flows of one port.
#[derive(Default)]
struct Flows {
    by_peer: HashMap<SocketAddr, Arc<PacketQueue>>,
    by_source: HashMap<IpAddr, usize>,
}

const LARGEST_PACKET: usize = 65_536;

pub(crate) async fn serve(socket: UdpSocket, port: u16, admission: Admission, tasks: Tasks) {
    let socket = Arc::new(socket);
    let flows = Arc::new(Mutex::new(Flows::default()));
    let mut buffer = vec![0; LARGEST_PACKET];
    loop {
        let (length, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // Some peer's port is closed (ICMP): not this port's trouble.
                debug!(%error, port, "a UDP port reported an error");
                continue;
            }
        };
        let packet = Bytes::copy_from_slice(&buffer[..length]);
        let known = flows.lock().unwrap_or_else(PoisonError::into_inner).by_peer.get(&peer).cloned();
        match known {
            Some(queue) => queue.push(packet),
            None => {
                let visitor = Visitor::new(peer.ip(), Entrance::UdpPort(port));
                let Some(place) = Place::take(&flows, peer, &admission) else { continue };
                place.queue.push(packet);
                tasks.spawn(run_flow(socket.clone(), peer, visitor, place, admission.clone()));
            }
        }
    }
}

/// A flow's place in the table, given back on drop.
struct Place {
    flows: Arc<Mutex<Flows>>,
    peer: SocketAddr,
    queue: Arc<PacketQueue>,
}

impl Place {
    fn take(flows: &Arc<Mutex<Flows>>, peer: SocketAddr, admission: &Admission) -> Option<Self> {
        let mut table = flows.lock().unwrap_or_else(PoisonError::into_inner);
        let source = source_of(peer.ip());
        let of_source = table.by_source.get(&source).copied().unwrap_or(0);
        if table.by_peer.len() >= admission.flows.per_port || of_source >= admission.flows.per_source {
            metrics::counter!("doorward_flows_turned_away_total").increment(1);
            return None;
        }
        let queue = Arc::new(PacketQueue::default());
        table.by_peer.insert(peer, queue.clone());
        *table.by_source.entry(source).or_default() += 1;
        Some(Self { flows: flows.clone(), peer, queue })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        table.by_peer.remove(&self.peer);
        let source = source_of(self.peer.ip());
        if let Some(count) = table.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                table.by_source.remove(&source);
            }
        }
    }
}

async fn run_flow(socket: Arc<UdpSocket>, peer: SocketAddr, visitor: Visitor, place: Place, admission: Admission) {
    let Entrance::UdpPort(port) = visitor.entrance else { return };
    let Some(service) = admission.control.snapshot().udp(port) else { return };
    let Ok(admitted) = admission.admit(service, &visitor) else { return };
    let flow = match admission.open_flow(&admitted).await {
        Ok(flow) => flow,
        Err(error) => return debug!(%error, "a flow could not be opened"),
    };
    let deliver = |packet: &[u8]| {
        if let Err(error) = socket.try_send_to(packet, peer)
            && error.kind() != std::io::ErrorKind::WouldBlock
        {
            warn!(%error, port, "a packet could not be sent to a visitor");
        }
    };
    let end = flow.run(&place.queue, deliver, admission.flows.idle, admitted.presence.cut()).await;
    debug!(target: "doorward::access", entrance = "udp", service = admitted.service.path(), ?end);
}
