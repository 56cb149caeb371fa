//! A byte stream as a carrier hands it over, whatever it is made of.

use crate::pieces::Pieces;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpStream, UnixStream};

/// A duplex byte stream whose connection can be torn down at once, unsent bytes and all.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the coming drop abortive (TCP: a reset instead of a FIN). Where the carrier knows no such thing, the
    /// drop itself has to do.
    fn abort(&mut self) {}

    /// Asks a silent peer this often whether it is still there (TCP keep-alive); `None`: never, something else watches
    /// it. Where the carrier knows no such thing, it stays as it was.
    fn keep_alive(&mut self, _every: Option<Duration>) {}

    /// What a read would give, without a copy, where it lies in memory anyway: at most `most` bytes, none at the end.
    /// `None`, and always: it is not so here, and to be read.
    fn poll_pieces(&mut self, _cx: &mut Context<'_>, _most: usize) -> Option<Poll<io::Result<Pieces>>> {
        None
    }
}

pub type Pipe = Box<dyn Duplex>;

impl Duplex for DuplexStream {}

impl Duplex for UnixStream {}

impl Duplex for TcpStream {
    fn abort(&mut self) {
        // Fails only on a socket that is gone already.
        let _ = SockRef::from(&*self).set_linger(Some(Duration::ZERO));
    }

    fn keep_alive(&mut self, every: Option<Duration>) {
        keep_alive(SockRef::from(&*self), every);
    }
}

impl<T: Duplex> Duplex for tokio_rustls::client::TlsStream<T> {
    fn abort(&mut self) {
        self.get_mut().0.abort();
    }

    fn keep_alive(&mut self, every: Option<Duration>) {
        self.get_mut().0.keep_alive(every);
    }
}

impl<T: Duplex> Duplex for tokio_rustls::server::TlsStream<T> {
    fn abort(&mut self) {
        self.get_mut().0.abort();
    }

    fn keep_alive(&mut self, every: Option<Duration>) {
        self.get_mut().0.keep_alive(every);
    }
}

/// Unsent bytes in the kernel beyond this make the socket unwritable (tcp(7), TCP_NOTSENT_LOWAT): what is cut or
/// superseded should not be on its way already.
const UNSENT_LIMIT: u32 = 128 * 1024;
/// Where nothing else is known of a connection.
const KEEP_ALIVE: Duration = Duration::from_secs(45);

/// Sets what every TCP connection of ours wants. Each setting is a refinement: a kernel without it still works.
///
/// No TCP_USER_TIMEOUT: it would also end those who merely do not read for a while, as a paused video does.
pub fn tune_tcp(socket: &TcpStream) {
    let socket = SockRef::from(socket);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_notsent_lowat(UNSENT_LIMIT);
    keep_alive(socket, Some(KEEP_ALIVE));
}

/// Sets how often TCP asks a silent peer, or that it does not. As a refinement, it may fail.
pub fn keep_alive(socket: SockRef<'_>, every: Option<Duration>) {
    let _ = match every {
        Some(every) => {
            let interval = Duration::from_secs(5);
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(every).with_interval(interval).with_retries(3))
        }
        None => socket.set_keepalive(false),
    };
}
