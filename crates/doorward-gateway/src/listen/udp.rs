//! Public UDP ports: one service each, or one session, and one flow per visitor's address and port.

use crate::access_log;
use crate::admit::Admission;
use crate::listen::complaint::Complaint;
use crate::listen::flows::{Flows, Found, Place};
use crate::tasks::Tasks;
use bytes::Bytes;
use doorward_control::Protocol;
use doorward_core::access::Visitor;
use doorward_core::service::Entrance;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::UdpSocket;
use tracing::{debug, warn};

/// What the flows of one socket have in common.
struct Port {
    socket: UdpSocket,
    number: u16,
    unsent: Complaint,
}

const LARGEST_PACKET: usize = 65_536;

pub(crate) async fn serve(socket: UdpSocket, number: u16, flows: Arc<Flows>, admission: Admission, tasks: Tasks) {
    let port = Arc::new(Port { socket, number, unsent: Complaint::new() });
    let mut buffer = vec![0; LARGEST_PACKET];
    loop {
        let (length, peer) = match port.socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // Some peer's port is closed (ICMP): not this port's trouble.
                debug!(%error, port = number, "a UDP port reported an error");
                continue;
            }
        };
        let packet = Bytes::copy_from_slice(&buffer[..length]);
        match flows.find(peer, Instant::now()) {
            Found::Known(seat) => seat.push(packet),
            Found::New(place) => {
                place.seat().push(packet);
                tasks.spawn(run_flow(port.clone(), place, admission.clone()));
            }
            Found::NoRoom => metrics::counter!("doorward_flows_turned_away_total").increment(1),
        }
    }
}

async fn run_flow(port: Arc<Port>, place: Place, admission: Admission) {
    let visitor = Visitor::new(place.peer().ip(), Entrance::UdpPort(port.number));
    let Ok(admitted) = admission.admit_to_port((Protocol::Udp, port.number), visitor).await else { return };
    let seat = place.seat();
    let opened = tokio::select! {
        opened = admission.open_flow(&admitted) => opened,
        () = seat.until_pushed_out() => return,
    };
    let flow = match opened {
        Ok(flow) => flow.counted_too(admitted.presence.traffic()),
        Err(error) => return debug!(%error, "a flow could not be opened"),
    };
    let deliver = |packet: &[u8]| {
        place.note_answer(Instant::now());
        port.send(packet, place.peer());
    };
    let cut = async {
        tokio::select! {
            () = admitted.presence.cut() => {}
            () = seat.until_pushed_out() => {}
        }
    };
    let end = flow.run(seat.open(), deliver, admission.flows.load().idle, cut).await;
    admitted.presence.ends(end.word());
    let source = access_log::source(admitted.permit.visitor().source());
    debug!(target: "doorward::access", entrance = "udp", service = admitted.service.path(), source, ?end);
}

impl Port {
    /// What the socket does not take is lost, as packets may be.
    fn send(&self, packet: &[u8], peer: SocketAddr) {
        let Err(error) = self.socket.try_send_to(packet, peer) else { return };
        if error.kind() != io::ErrorKind::WouldBlock
            && let Some(times) = self.unsent.raise()
        {
            warn!(%error, times, port = self.number, "packets could not be sent to visitors");
        }
    }
}
