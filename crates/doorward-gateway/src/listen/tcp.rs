//! Public TCP ports: one service each.

use crate::admit::{Admission, Admitted};
use crate::listen::accept;
use crate::listen::socket::VisitorSocket;
use crate::listen::strangers::{Place, Strangers};
use crate::tasks::Tasks;
use doorward_core::access::Visitor;
use doorward_core::service::Entrance;
use doorward_tunnel::Duplex;
use doorward_tunnel::splice::{Traffic, splice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};
use tracing::info;

pub(crate) async fn serve(
    listener: TcpListener,
    port: u16,
    admission: Admission,
    strangers: Arc<Strangers>,
    tasks: Tasks,
) {
    loop {
        let (socket, peer) = accept(&listener).await;
        let Some(places) = strangers.enter(peer.ip()) else { continue };
        tasks.spawn(visit(socket, peer, port, admission.clone(), places));
    }
}

async fn visit(socket: TcpStream, peer: SocketAddr, port: u16, admission: Admission, places: (Place, Place)) {
    let (_place, opening) = places;
    let mut socket = VisitorSocket::new(socket);
    let visitor = Visitor::new(peer.ip(), Entrance::TcpPort(port));
    let service = admission.control.snapshot().tcp(port);
    let admitted = service.and_then(|service| admission.admit(service, &visitor).ok());
    // Whatever is in the way, a raw port has one answer: a reset.
    let Some(admitted) = admitted else { return socket.abort() };
    let cut = admitted.presence.cut_owned();
    let stream = tokio::select! {
        opened = admission.open(&admitted) => opened,
        () = cut => return socket.abort(),
    };
    drop(opening);
    match stream {
        Ok(stream) => pass(socket, stream, &admitted, peer).await,
        Err(_) => socket.abort(),
    }
}

async fn pass(socket: VisitorSocket, stream: doorward_tunnel::Stream, admitted: &Admitted, peer: SocketAddr) {
    let started = Instant::now();
    let traffic = Traffic::default();
    let end = splice(socket, stream, &traffic.up, &traffic.down, admitted.presence.cut()).await;
    tracing::debug!(target: "doorward::access", %peer, "tcp visit");
    info!(
        target: "doorward::access",
        entrance = "tcp",
        service = admitted.service.path(),
        up = traffic.up.load(Ordering::Relaxed),
        down = traffic.down.load(Ordering::Relaxed),
        seconds = started.elapsed().as_secs_f32(),
        end = end.word(),
    );
}
