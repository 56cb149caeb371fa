//! One visit's bytes inside a WebSocket, between the gateway and the program that brings them to a port of a person's own machine
//! (`doorward open`): whatever passes the portal's HTTPS passes this.
//!
//! Binary messages are the bytes. An empty one says that no more come, since a WebSocket knows no half-close; one that is closed
//! without it broke off. Pings keep proxies on the way from forgetting a silent one. Of UDP each packet has its length in front,
//! as on a link.

use super::tls::PipeIo;
use crate::pipe::Duplex;
use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

/// What is written at once goes as one message.
const MAX_MESSAGE: usize = 256 * 1024;
/// Below the minute after which proxies lose patience.
const BEAT: Duration = Duration::from_secs(25);

pub struct Carried<S> {
    socket: WebSocketStream<S>,
    /// Of the message that came last.
    rest: Bytes,
    has_read_all: bool,
    has_written_all: bool,
    beat: Interval,
}

/// The gateway's end, after the HTTP upgrade.
pub async fn accept_carried(upgraded: impl Duplex + 'static) -> impl Duplex {
    let io = PipeIo(Box::new(upgraded));
    Carried::new(WebSocketStream::from_raw_socket(io, Role::Server, Some(carried_config())).await)
}

/// What both ends keep to.
pub fn carried_config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Carried<S> {
    pub fn new(socket: WebSocketStream<S>) -> Self {
        let mut beat = interval_at(Instant::now() + BEAT, BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { socket, rest: Bytes::new(), has_read_all: false, has_written_all: false, beat }
    }

    fn poll_send(&mut self, message: Message, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(broken)?;
        Poll::Ready(Pin::new(&mut self.socket).start_send(message).map_err(broken))
    }

    /// Says now and then that this end is there.
    fn poll_beat(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.beat.poll_tick(cx).is_ready() {
            if let Poll::Ready(sent) = self.poll_send(Message::Ping(Bytes::new()), cx) {
                sent?;
            }
            let _ = Pin::new(&mut self.socket).poll_flush(cx).map_err(broken)?;
        }
        Ok(())
    }
}

fn broken(error: tokio_tungstenite::tungstenite::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Carried<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.rest.is_empty() {
                let length = self.rest.len().min(buf.remaining());
                buf.put_slice(&self.rest[..length]);
                self.rest.advance(length);
                return Poll::Ready(Ok(()));
            }
            if self.has_read_all {
                return Poll::Ready(Ok(()));
            }
            self.poll_beat(cx)?;
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) if bytes.is_empty() => self.has_read_all = true,
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Carried<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let length = buf.len().min(MAX_MESSAGE);
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(broken)?;
        let message = Message::Binary(Bytes::copy_from_slice(&buf[..length]));
        Pin::new(&mut self.socket).start_send(message).map_err(broken)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_written_all {
            ready!(self.poll_send(Message::Binary(Bytes::new()), cx))?;
            self.has_written_all = true;
        }
        Pin::new(&mut self.socket).poll_flush(cx).map_err(broken)
    }
}

impl Duplex for Carried<PipeIo> {
    fn abort(&mut self) {
        self.socket.get_mut().0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    async fn pair() -> (Carried<DuplexStream>, Carried<DuplexStream>) {
        let (near, far) = duplex(64);
        let near = WebSocketStream::from_raw_socket(near, Role::Client, Some(carried_config())).await;
        let far = WebSocketStream::from_raw_socket(far, Role::Server, Some(carried_config())).await;
        (Carried::new(near), Carried::new(far))
    }

    #[tokio::test]
    async fn after_one_side_said_all_the_other_goes_on() {
        let (mut near, mut far) = pair().await;
        let question = vec![7; 300_000];
        let asked = async {
            near.write_all(&question).await.unwrap();
            near.shutdown().await.unwrap();
            let mut answer = String::new();
            near.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answered = async {
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await.unwrap();
            far.write_all(format!("{} bytes", heard.len()).as_bytes()).await.unwrap();
            far.shutdown().await.unwrap();
            heard
        };
        let (answer, heard) = tokio::join!(asked, answered);
        assert_eq!((answer.as_str(), heard), ("300000 bytes", question));
    }

    #[tokio::test]
    async fn what_ends_without_having_said_so_is_broken() {
        let (mut near, far) = pair().await;
        drop(far);
        assert_eq!(near.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_one_is_kept_alive_and_nobody_reads_that() {
        let (mut near, mut far) = pair().await;
        let mut byte = [0];
        let waited = tokio::time::timeout(4 * BEAT, async { tokio::join!(near.read(&mut byte), far.read_u8()) }).await;
        assert!(waited.is_err(), "nothing was said");
        // More than the pipe holds of pings has passed, and both still talk.
        far.write_u8(1).await.unwrap();
        far.flush().await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), 1);
    }
}
