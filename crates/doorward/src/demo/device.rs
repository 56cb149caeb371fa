//! The sample device of `doorward demo`: a small pretend printer with a page, a live value over a WebSocket and a
//! camera, and beside them the plain things that show whether a way through carries HTTP faithfully: ranges, trailers,
//! uploads, event streams. Tests use it as a target too. It keeps nothing and knows nothing worth taking.

mod answer;
mod camera;
mod file;
mod jpeg;
mod live;
mod printer;
mod streams;
#[cfg(test)]
mod tests;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use printer::Printer;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// More wait in the listener's backlog until one ends.
const MAX_CONNECTIONS: usize = 64;
/// For a request's head; it also ends a connection on which nothing more is asked.
const HEADER_LIMIT: Duration = Duration::from_secs(15);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running sample device. Dropping it ends it and all its connections.
pub struct Device {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl Device {
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Starts the device on a free loopback port.
pub async fn start() -> anyhow::Result<Device> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.context("the sample device found no free loopback port")?;
    let address = listener.local_addr()?;
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(listener, Printer::start()));
    Ok(Device { address, _accepting: accepting })
}

async fn accept(listener: TcpListener, printer: Printer) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(async move {
                    let _place = place;
                    serve(stream, printer).await;
                });
            }
            // Out of file descriptors, or the peer was gone already.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, to its end. A WebSocket takes the connection over when HTTP is done with it.
async fn serve(stream: TcpStream, printer: Printer) {
    let _ = stream.set_nodelay(true);
    let (sender, mut upgrades) = mpsc::channel(1);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service_fn(|request| answer::answer(request, printer, &sender)))
        .with_upgrades();
    if connection.await.is_err() {
        return;
    }
    if let Ok(upgrade) = upgrades.try_recv()
        && let Ok(upgraded) = upgrade.await
    {
        live::serve(upgraded, printer).await;
    }
}
