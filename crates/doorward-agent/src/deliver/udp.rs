//! UDP targets: one connected socket for each flow.

use super::tcp::resolve;
use super::{ANSWER_LIMIT, CONNECT_LIMIT, Failure, Troubles, connect_failure, out_of_time, refuse, too_slow};
use crate::counts::Counts;
use crate::target::Target;
use bytes::{Bytes, BytesMut};
use doorward_core::hop::HopFailure;
use doorward_core::site::Host;
use doorward_tunnel::{PacketQueue, Visit};
use socket2::SockRef;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};
use tracing::debug;

const IDLE: Duration = Duration::from_secs(60);
/// A resolver's flow is one question and its answer.
const IDLE_DNS: Duration = Duration::from_secs(15);
/// The largest packet that IPv4 carries has 65 507 bytes.
const MAX_PACKET: usize = 65_535;
/// Several large packets, counted as the kernel does, with its own overhead (socket(7)).
const SOCKET_BUFFER: usize = 1024 * 1024;

pub(super) async fn deliver(
    visit: Visit,
    (host, port): (&Host, u16),
    target: &Target,
    (troubles, counts): (&Troubles, &Counts),
    cut: impl Future<Output = ()>,
) {
    tokio::pin!(cut);
    if !visit.is_flow() {
        return refuse(visit, Failure::new(HopFailure::AgentRefused, "the service takes UDP only")).await;
    }
    let service = visit.service.clone();
    let connected = tokio::select! {
        biased;
        () = &mut cut => Err(out_of_time()),
        connected = timeout(CONNECT_LIMIT, connect(host, port)) => connected.unwrap_or_else(|_| Err(too_slow())),
    };
    let socket = match connected {
        Ok(socket) => socket,
        Err(failure) => {
            troubles.note(&service, target, &failure);
            return refuse(visit, failure).await;
        }
    };
    troubles.clear(&service);
    let Ok(Ok(flow)) = timeout(ANSWER_LIMIT, visit.accept_flow()).await else { return };
    let flow = flow.counted_in(counts.of(&service));
    let from_target = PacketQueue::default();
    let idle = if port == 53 { IDLE_DNS } else { IDLE };
    // What the target does not take is lost, as on any wire; a flow may live without ever being answered.
    let to_target = |packet: &[u8]| drop(socket.try_send(packet));
    let end = tokio::select! {
        end = flow.run(&from_target, to_target, idle, cut) => end,
        () = receive(&socket, &from_target) => return,
    };
    debug!(%service, ?end, "a flow ended");
}

async fn connect(host: &Host, port: u16) -> Result<UdpSocket, Failure> {
    let mut last = Failure::new(HopFailure::TargetUnreachable, "its name leads to no address");
    for address in resolve(host, port).await? {
        match open(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = connect_failure(&error),
        }
    }
    Err(last)
}

async fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    // The kernel clamps these to its own limits.
    let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER);
    let _ = SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER);
    socket.connect(address).await?;
    // tokio's `try_send` works only once the socket was seen writable.
    socket.writable().await?;
    Ok(socket)
}

/// Queues what the target sends, for ever. Errors are those of earlier packets (ICMP: port unreachable) and say
/// nothing of the next. The large buffer lives only while packets come: most flows are quiet.
async fn receive(socket: &UdpSocket, queue: &PacketQueue) {
    loop {
        if socket.readable().await.is_err() {
            sleep(Duration::from_millis(100)).await;
            continue;
        }
        let mut buffer = BytesMut::with_capacity(MAX_PACKET);
        // Waiting now and then lets others have a turn.
        for _ in 0..64 {
            buffer.clear();
            match socket.try_recv_buf(&mut buffer) {
                Ok(_) => queue.push(Bytes::copy_from_slice(&buffer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    debug!(%error, "the target of a flow");
                    break;
                }
            }
        }
    }
}
