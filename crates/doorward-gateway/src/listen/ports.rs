//! Keeps the public ports as the snapshot wants them: opens what is missing, closes what is not wanted any more, tries
//! again what was taken. Wanted versus present, at every change and every few seconds.

use crate::admit::Admission;
use crate::listen::flows::Flows;
use crate::listen::strangers::Strangers;
use crate::listen::{listen_tcp, tcp, udp};
use crate::settings::Limits;
use crate::tasks::Tasks;
use doorward_control::{PortState, Protocol, Snapshot};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

/// How soon a port that was taken is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Opening ports takes no time. Whoever waits for it does not wait for ever.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

type Port = (Protocol, u16);

/// What every port is opened with.
pub(crate) struct Ports {
    pub(crate) admission: Admission,
    pub(crate) strangers: Arc<Strangers>,
    pub(crate) limits: Limits,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) tasks: Tasks,
}

/// Tells how far the ports are.
pub(crate) struct Herald {
    settled: watch::Sender<Option<u64>>,
    turns: watch::Sender<()>,
}

/// How far the ports are.
#[derive(Clone)]
pub(crate) struct PortNews {
    settled: watch::Receiver<Option<u64>>,
    turns: watch::Receiver<()>,
}

pub(crate) fn news() -> (Herald, PortNews) {
    let (settled, turns) = (watch::Sender::new(None), watch::Sender::new(()));
    let news = PortNews { settled: settled.subscribe(), turns: turns.subscribe() };
    (Herald { settled, turns }, news)
}

impl PortNews {
    /// Waits until every port that this generation of the snapshot wants is open, or known to be taken.
    pub(crate) async fn settled(&self, generation: u64) {
        let mut settled = self.settled.clone();
        let is_settled = settled.wait_for(|done| done.is_some_and(|done| done >= generation));
        // An error: the gateway stops and keeps no ports any more.
        let _ = timeout(SETTLE_LIMIT, is_settled).await;
    }

    /// Rings whenever a port was opened, failed or was closed.
    pub(crate) fn turns(&self) -> watch::Receiver<()> {
        self.turns.clone()
    }
}

pub(crate) async fn keep(ports: Ports, herald: Herald) {
    let mut changes = ports.admission.control.changes();
    // Dropping a guard ends the listener; the visits that it let in have tasks of their own.
    let mut open: HashMap<Port, DropGuard> = HashMap::new();
    let mut failed: HashMap<Port, String> = HashMap::new();
    loop {
        let snapshot = ports.admission.control.snapshot();
        if reconcile(&ports, &snapshot, &mut open, &mut failed) {
            herald.turns.send_replace(());
        }
        herald.settled.send_replace(Some(snapshot.generation()));
        tokio::select! {
            news = changes.next() => if news.is_none() { return },
            () = tokio::time::sleep(RETRY), if !failed.is_empty() => {}
        }
    }
}

/// Says whether anything about any port is different from before.
fn reconcile(
    ports: &Ports,
    snapshot: &Snapshot,
    open: &mut HashMap<Port, DropGuard>,
    failed: &mut HashMap<Port, String>,
) -> bool {
    let tcp = snapshot.tcp_ports().map(|port| (Protocol::Tcp, port));
    let udp = snapshot.udp_ports().map(|port| (Protocol::Udp, port));
    let wanted: std::collections::HashSet<Port> = tcp.chain(udp).chain(snapshot.session_ports()).collect();
    let presence = ports.admission.control.presence();
    let mut is_news = false;
    let mut close = |port: &Port| {
        let keep = wanted.contains(port);
        if !keep {
            presence.port_closed(port.0, port.1);
            is_news = true;
        }
        keep
    };
    open.retain(|port, _| close(port));
    failed.retain(|port, _| close(port));
    for port in wanted {
        if open.contains_key(&port) {
            continue;
        }
        match open_port(ports, port) {
            Ok(guard) => {
                info!(protocol = port.0.word(), port = port.1, "listening");
                presence.port_state(port.0, port.1, PortState::Bound);
                failed.remove(&port);
                open.insert(port, guard);
                is_news = true;
            }
            Err(error) => {
                let why = error.to_string();
                presence.port_state(port.0, port.1, PortState::Failed { why: why.clone() });
                let before = failed.insert(port, why.clone());
                if before.is_none() {
                    warn!(protocol = port.0.word(), port = port.1, %error, "a public port cannot be opened; trying on");
                }
                is_news |= before != Some(why);
            }
        }
    }
    is_news
}

/// Listens on every address, or on none.
fn open_port(ports: &Ports, port: Port) -> io::Result<DropGuard> {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let tcp_port = tcp::Port::new(port.1, ports.limits.connections_per_port);
    let flows = Flows::new(ports.admission.flows.clone(), Instant::now());
    let mut bound = 0;
    for ip in &ports.ips {
        let address = SocketAddr::new(*ip, port.1);
        let (admission, tasks, stop) = (ports.admission.clone(), ports.tasks.clone(), stop.clone());
        let opened = match port.0 {
            Protocol::Tcp => listen_tcp(address).map(|listener| {
                let strangers = ports.strangers.clone();
                let serving = tcp::serve(listener, tcp_port.clone(), admission, strangers, tasks.clone());
                tasks.spawn(async move { stop.run_until_cancelled(serving).await.unwrap_or(()) });
            }),
            Protocol::Udp => bind_udp(address).map(|socket| {
                let serving = udp::serve(socket, port.1, flows.clone(), admission, tasks.clone());
                tasks.spawn(async move { stop.run_until_cancelled(serving).await.unwrap_or(()) });
            }),
        };
        match opened {
            Ok(()) => bound += 1,
            // A machine without this address family listens on the other.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && ports.ips.len() > 1 => {}
            Err(error) => return Err(error),
        }
    }
    if bound == 0 { Err(io::ErrorKind::AddrNotAvailable.into()) } else { Ok(guard) }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    let _ = socket.set_recv_buffer_size(1024 * 1024);
    let _ = socket.set_send_buffer_size(1024 * 1024);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
