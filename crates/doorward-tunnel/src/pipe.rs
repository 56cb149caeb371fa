//! A byte stream as a carrier hands it over, whatever it is made of.

use socket2::{SockRef, TcpKeepalive};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpStream, UnixStream};

/// A duplex byte stream whose connection can be torn down at once, unsent bytes and all.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the coming drop abortive (TCP: a reset instead of a FIN). Where the carrier knows no such thing, the
    /// drop itself has to do.
    fn abort(&mut self) {}
}

pub type Pipe = Box<dyn Duplex>;

impl Duplex for DuplexStream {}

impl Duplex for UnixStream {}

impl Duplex for TcpStream {
    fn abort(&mut self) {
        // Fails only on a socket that is gone already.
        let _ = SockRef::from(&*self).set_linger(Some(Duration::ZERO));
    }
}

impl<T: Duplex> Duplex for tokio_rustls::client::TlsStream<T> {
    fn abort(&mut self) {
        self.get_mut().0.abort();
    }
}

impl<T: Duplex> Duplex for tokio_rustls::server::TlsStream<T> {
    fn abort(&mut self) {
        self.get_mut().0.abort();
    }
}

/// Unsent bytes in the kernel beyond this make the socket unwritable (tcp(7), TCP_NOTSENT_LOWAT): what is cut or
/// superseded should not be on its way already.
const UNSENT_LIMIT: u32 = 128 * 1024;

/// Sets what every TCP connection of ours wants. Each setting is a refinement: a kernel without it still works.
///
/// No TCP_USER_TIMEOUT: it would also end those who merely do not read for a while, as a paused video does.
pub fn tune_tcp(socket: &TcpStream) {
    let socket = SockRef::from(socket);
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(45)).with_interval(Duration::from_secs(5)).with_retries(3);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_notsent_lowat(UNSENT_LIMIT);
}
