//! Entrances: each accepts, learns who is there, and hands over. Nothing here waits for a stranger.

pub(crate) mod complaint;
pub(crate) mod flows;
mod hasty;
mod hello;
pub(crate) mod knock;
pub(crate) mod local;
pub(crate) mod passthrough;
pub(crate) mod ports;
pub(crate) mod proxied;
pub(crate) mod quic;
pub(crate) mod redirect;
pub(crate) mod socket;
pub(crate) mod strangers;
pub(crate) mod tcp;
pub(crate) mod turnstile;
pub(crate) mod udp;
pub(crate) mod web;

use complaint::Complaint;
use doorward_control::Protocol;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

/// A TCP listener that comes back on its port at once after a restart. IPv6 sockets take IPv6 only.
pub(crate) fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// What the owner can do about an address that cannot be opened; `setting` is where it was set.
pub(crate) fn remedy(error: &io::Error, protocol: Protocol, address: SocketAddr, setting: &str) -> String {
    let letter = match protocol {
        Protocol::Tcp => 't',
        Protocol::Udp => 'u',
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program has it, `ss -ln{letter}p 'sport = :{}'` says which: end that one, or set {setting} in \
             gateway.toml",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => format!(
            "low ports need a right: `setcap cap_net_bind_service=+ep` on this program gives it; or set {setting} in \
             gateway.toml"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address: correct {setting} in gateway.toml")
        }
        _ => format!("look at {setting} in gateway.toml"),
    }
}

/// Trouble of the whole process, whichever listener meets it.
static CANNOT_ACCEPT: Complaint = Complaint::new();

/// The next connection.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    persist(|cx| listener.poll_accept(cx)).await
}

/// Running out of files or memory is no reason to stop listening.
async fn persist<T>(mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>) -> T {
    loop {
        match std::future::poll_fn(&mut accept).await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if let Some(times) = CANNOT_ACCEPT.raise() {
                    warn!(%error, times, "no connection can be accepted at the moment; trying on");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
