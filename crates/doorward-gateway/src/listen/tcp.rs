//! Public TCP ports: one service each, or one session.

use crate::access_log;
use crate::admit::{Admission, Admitted};
use crate::listen::accept;
use crate::listen::complaint::Complaint;
use crate::listen::socket::VisitorSocket;
use crate::listen::strangers::{Place, Strangers};
use crate::tasks::Tasks;
use doorward_control::Protocol;
use doorward_core::access::Visitor;
use doorward_core::service::Entrance;
use doorward_tunnel::Duplex;
use doorward_tunnel::splice::splice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

/// What the listeners of one port have in common.
pub(crate) struct Port {
    number: u16,
    room: Arc<Semaphore>,
    full: Complaint,
}

impl Port {
    /// `room`: connections at once.
    pub(crate) fn new(number: u16, room: usize) -> Arc<Self> {
        Arc::new(Self { number, room: Arc::new(Semaphore::new(room)), full: Complaint::new() })
    }

    /// What a connection holds for as long as it stands.
    fn enter(&self, peer: SocketAddr, strangers: &Arc<Strangers>) -> Option<(Place, OwnedSemaphorePermit)> {
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            if let Some(times) = self.full.raise() {
                warn!(
                    port = self.number,
                    times, "a public TCP port has as many connections as it may; others are turned away"
                );
            }
            return None;
        };
        Some((strangers.enter_silently(peer.ip())?, room))
    }
}

pub(crate) async fn serve(
    listener: TcpListener,
    port: Arc<Port>,
    admission: Admission,
    strangers: Arc<Strangers>,
    tasks: Tasks,
) {
    loop {
        let (socket, peer) = accept(&listener).await;
        let Some(places) = port.enter(peer, &strangers) else { continue };
        let visiting = visit(socket, peer, port.number, admission.clone());
        tasks.spawn(async move {
            visiting.await;
            drop(places);
        });
    }
}

async fn visit(socket: TcpStream, peer: SocketAddr, port: u16, admission: Admission) {
    let mut socket = VisitorSocket::new(socket);
    let visitor = Visitor::new(peer.ip(), Entrance::TcpPort(port));
    let admitted = admission.admit_to_port((Protocol::Tcp, port), visitor).await.ok();
    // Whatever is in the way, a raw port has one answer: a reset.
    match admitted {
        Some(admitted) => carry(socket, &admission, admitted).await,
        None => socket.abort(),
    }
}

/// Opens the way and passes bytes until the visit ends. Where that fails, the visitor gets what strangers get.
pub(crate) async fn carry(mut socket: impl Duplex, admission: &Admission, admitted: Admitted) {
    let cut = admitted.presence.cut_owned();
    let stream = tokio::select! {
        opened = admission.open(&admitted, None) => opened,
        () = cut => return socket.abort(),
    };
    match stream {
        Ok(stream) => pass(socket, stream, &admitted).await,
        Err(_) => socket.abort(),
    }
}

/// Passes bytes until the visit ends.
pub(crate) async fn pass(socket: impl Duplex, stream: doorward_tunnel::Stream, admitted: &Admitted) {
    let started = Instant::now();
    let traffic = admitted.presence.traffic();
    let end = splice(socket, stream, &traffic.up, &traffic.down, admitted.presence.cut()).await;
    admitted.presence.ends(end.word());
    info!(
        target: "doorward::access",
        entrance = admitted.permit.visitor().entrance.word(),
        service = admitted.service.path(),
        source = access_log::source(admitted.permit.visitor().source()),
        up = traffic.up.load(Ordering::Relaxed),
        down = traffic.down.load(Ordering::Relaxed),
        seconds = started.elapsed().as_secs_f32(),
        end = end.word(),
    );
}
