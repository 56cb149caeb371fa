//! A visitor's connection that can be torn down from elsewhere: a cut must reach it wherever it is being read, written
//! or wrapped in TLS and HTTP.

use doorward_tunnel::{Duplex, keep_alive, tune_tcp};
use socket2::SockRef;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// What the kernel may hold of an answer beyond what is on its way: a visitor who takes nothing costs little, and shows
/// soon.
const UNSENT: u32 = 128 * 1024;

pub(crate) struct VisitorSocket(Arc<Socket>);

/// Tears the connection down, from anywhere.
#[derive(Clone)]
pub(crate) struct Breaker(Arc<Socket>);

enum Socket {
    Tcp(TcpStream),
    /// From a web server of this machine.
    Local(UnixStream),
}

impl VisitorSocket {
    pub(crate) fn new(socket: TcpStream) -> Self {
        tune_tcp(&socket);
        Self(Arc::new(Socket::Tcp(socket)))
    }

    pub(crate) fn local(socket: UnixStream) -> Self {
        Self(Arc::new(Socket::Local(socket)))
    }

    /// For answers that one visitor takes fast and another slowly.
    pub(crate) fn keep_unsent_short(&self) {
        self.0.keep_unsent_below(UNSENT);
    }

    /// Fills one after the other, with one system call; how much came in all.
    pub(crate) fn poll_read_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [io::IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    pub(crate) fn breaker(&self) -> Breaker {
        Breaker(self.0.clone())
    }
}

impl Breaker {
    /// Whether the visitor has sent more than was read, or does so soon.
    pub(crate) async fn has_more(&self, soon: Duration) -> bool {
        match &*self.0 {
            Socket::Tcp(socket) => matches!(timeout(soon, socket.peek(&mut [0])).await, Ok(Ok(1..))),
            // There is no way to look; nobody needs it.
            Socket::Local(_) => false,
        }
    }

    /// Of what is written from now on, so much waits in the kernel at most.
    pub(crate) fn keep_unsent_below(&self, bytes: usize) {
        self.0.keep_unsent_below(u32::try_from(bytes).unwrap_or(UNSENT));
    }

    /// Resets the connection: what the kernel has not sent yet is dropped, the peer learns at once.
    pub(crate) fn reset(&self) {
        // Either fails only where the connection is gone.
        let _ = match &*self.0 {
            // connect(2) to AF_UNSPEC dissolves the association; for TCP on Linux that sends RST, whoever else holds
            // the socket.
            Socket::Tcp(socket) => rustix::net::connect_unspec(socket).map_err(io::Error::from),
            // There is no RST. HTTP's own framing tells an answer that was cut from one that is finished.
            Socket::Local(socket) => SockRef::from(socket).shutdown(std::net::Shutdown::Both),
        };
    }
}

impl Socket {
    fn keep_unsent_below(&self, bytes: u32) {
        match self {
            // Without it the kernel holds megabytes for the slow; nothing else differs.
            Self::Tcp(socket) => {
                let _ = SockRef::from(socket).set_tcp_notsent_lowat(bytes);
            }
            Self::Local(_) => {}
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(cx),
            Self::Local(socket) => socket.poll_read_ready(cx),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_write_ready(cx),
            Self::Local(socket) => socket.poll_write_ready(cx),
        }
    }

    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_read(buf),
            Self::Local(socket) => socket.try_read(buf),
        }
    }

    /// What did not fill all of the buffers has emptied the socket: it is not asked again before more is announced.
    fn try_read_vectored(&self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        let most: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut read = 0;
        let mut once = |fd: BorrowedFd<'_>| {
            read = rustix::io::readv(fd, bufs)?;
            if read == 0 || read == most { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        };
        let tried = match self {
            Self::Tcp(socket) => socket.try_io(Interest::READABLE, || once(socket.as_fd())),
            Self::Local(socket) => socket.try_io(Interest::READABLE, || once(socket.as_fd())),
        };
        if read > 0 { Ok(read) } else { tried.map(|()| 0) }
    }

    fn try_write(&self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_write_vectored(bufs),
            Self::Local(socket) => socket.try_write_vectored(bufs),
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => SockRef::from(socket).shutdown(std::net::Shutdown::Write),
            Self::Local(socket) => SockRef::from(socket).shutdown(std::net::Shutdown::Write),
        }
    }
}

impl Duplex for VisitorSocket {
    fn abort(&mut self) {
        Breaker(self.0.clone()).reset();
    }

    fn keep_alive(&mut self, every: Option<Duration>) {
        match &*self.0 {
            Socket::Tcp(socket) => keep_alive(SockRef::from(socket), every),
            Socket::Local(_) => {}
        }
    }
}

impl AsyncRead for VisitorSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for VisitorSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.shutdown() {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}
