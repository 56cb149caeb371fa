//! Lanes: connections of a link that carry one stream at a time, and the next one after it.
//!
//! On TCP, streams that share a connection wait for each other's lost packets (seconds, on a poor line); a lane each
//! does not. Since a lane outlives its streams, ends are frames (`wire`): DATA, FIN, and RESET with a reason. A lane
//! is used again only after both sides finished cleanly; in doubt it is dropped.

use crate::messages::lane_kind;
use crate::pipe::Pipe;
use crate::pulse::Pulse;
use crate::stream::Reset;
use crate::wire::{DATA_LIMIT, HEADER, header, parse_header};
use bytes::{Buf, BufMut, BytesMut};
use futures_util::FutureExt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The most that a TLS record holds (RFC 8446, 5.1).
const RECORD: usize = 16 * 1024;
/// How much is framed at once; larger writes become several frames. With its header a frame fills whole TLS records: four
/// bytes more would cost one of their own.
pub(crate) const FRAME: usize = 2 * RECORD - HEADER;

/// One stream on a lane.
pub(crate) struct LaneStream {
    pipe: Option<Pipe>,
    pulse: Arc<Pulse>,
    reading: Reading,
    writing: Writing,
    /// Framed bytes that the pipe has not taken yet; one frame at most.
    out: BytesMut,
    /// Where the lane goes when the stream ended cleanly.
    home: Option<Home>,
    /// The end of the link, once for whoever reads and once for whoever writes: the two may be different tasks.
    gone: [Pin<Box<WaitForCancellationFutureOwned>>; 2],
}

/// Takes a lane back that is ready for another stream.
pub(crate) type Home = Box<dyn FnOnce(Pipe) + Send + Sync>;

enum Reading {
    Header { bytes: [u8; HEADER], filled: usize },
    Data { left: usize },
    Finished,
    Failed(Reset),
}

#[derive(PartialEq)]
enum Writing {
    Open,
    Finishing,
    Finished,
    /// The pipe was full: when it takes bytes again, the peer has acknowledged some.
    Full,
}

const READER: usize = 0;
const WRITER: usize = 1;

const START: Reading = Reading::Header { bytes: [0; HEADER], filled: 0 };

impl LaneStream {
    /// `gone` ends the stream with its link.
    pub(crate) fn new(pipe: Pipe, pulse: Arc<Pulse>, gone: &CancellationToken, home: Home) -> Self {
        Self {
            pipe: Some(pipe),
            pulse,
            reading: START,
            writing: Writing::Open,
            out: BytesMut::new(),
            home: Some(home),
            gone: [Box::pin(gone.clone().cancelled_owned()), Box::pin(gone.clone().cancelled_owned())],
        }
    }

    /// Ends the stream and with it the lane. Reasons reach the peer if they fit the pipe at once.
    pub(crate) fn reset(&mut self, reason: Reset) {
        let Some(mut pipe) = self.pipe.take() else { return };
        if reason != Reset::Cut && self.out.is_empty() {
            let mut frame = [0; HEADER + 4];
            frame[..HEADER].copy_from_slice(&header(lane_kind::RESET, 4));
            frame[HEADER..].copy_from_slice(&reason.code().to_be_bytes());
            let _ = pipe.write_all(&frame).now_or_never();
            let _ = pipe.flush().now_or_never();
        } else {
            pipe.abort();
        }
        self.reading = Reading::Failed(reason);
    }

    fn check_link(&mut self, who: usize, cx: &mut Context<'_>) -> io::Result<()> {
        if self.pipe.is_some() && self.gone[who].as_mut().poll(cx).is_ready() {
            self.break_off(Reset::Peer);
        }
        match self.reading {
            Reading::Failed(reason) if self.pipe.is_none() => Err(reason.into()),
            _ => Ok(()),
        }
    }

    fn break_off(&mut self, reason: Reset) {
        if let Some(mut pipe) = self.pipe.take() {
            pipe.abort();
        }
        self.reading = Reading::Failed(reason);
    }

    fn pipe(&mut self) -> io::Result<&mut Pipe> {
        self.pipe.as_mut().ok_or_else(|| Reset::Cut.into())
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let pipe = self.pipe.as_mut().ok_or_else(|| io::Error::from(Reset::Cut))?;
            match Pin::new(pipe).poll_write(cx, &self.out)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(n) => {
                    self.out.advance(n);
                    if self.writing == Writing::Full {
                        self.writing = Writing::Open;
                        self.pulse.beat();
                    }
                }
                Poll::Pending => {
                    if self.writing == Writing::Open {
                        self.writing = Writing::Full;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what the header announces. `Ok(false)`: the stream is at its end.
    fn enter(&mut self, kind: u8, length: usize) -> io::Result<bool> {
        self.reading = match kind {
            lane_kind::DATA if length <= DATA_LIMIT => Reading::Data { left: length },
            lane_kind::FIN if length == 0 => Reading::Finished,
            lane_kind::RESET => Reading::Failed(Reset::Peer),
            _ => {
                self.reading = Reading::Failed(Reset::Protocol);
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not a lane frame"));
            }
        };
        Ok(!matches!(self.reading, Reading::Finished))
    }
}

impl AsyncRead for LaneStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buf.remaining() == 0 {
            // Below, reading nothing means that the pipe has ended.
            return Poll::Ready(Ok(()));
        }
        this.check_link(READER, cx)?;
        loop {
            match &mut this.reading {
                Reading::Finished => return Poll::Ready(Ok(())),
                Reading::Failed(reason) => return Poll::Ready(Err((*reason).into())),
                Reading::Data { left: 0 } => this.reading = START,
                Reading::Data { left } => {
                    let pipe = this.pipe.as_mut().ok_or_else(|| io::Error::from(Reset::Cut))?;
                    let space = (*left).min(buf.remaining());
                    let mut part = ReadBuf::new(buf.initialize_unfilled_to(space));
                    ready!(Pin::new(pipe).poll_read(cx, &mut part))?;
                    let n = part.filled().len();
                    buf.advance(n);
                    if n == 0 {
                        return Poll::Ready(Err(Reset::Peer.into()));
                    }
                    *left -= n;
                    this.pulse.beat();
                    return Poll::Ready(Ok(()));
                }
                Reading::Header { bytes, filled } => {
                    let pipe = this.pipe.as_mut().ok_or_else(|| io::Error::from(Reset::Cut))?;
                    let mut part = ReadBuf::new(&mut bytes[*filled..]);
                    ready!(Pin::new(pipe).poll_read(cx, &mut part))?;
                    let n = part.filled().len();
                    if n == 0 {
                        return Poll::Ready(Err(Reset::Peer.into()));
                    }
                    *filled += n;
                    if *filled == HEADER {
                        let (kind, length) = parse_header(*bytes);
                        if !this.enter(kind, length)? {
                            return Poll::Ready(Ok(()));
                        }
                    }
                }
            }
        }
    }
}

impl AsyncWrite for LaneStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check_link(WRITER, cx)?;
        if matches!(this.writing, Writing::Finishing | Writing::Finished) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(this.poll_drain(cx))?;
        let n = buf.len().min(FRAME);
        if n == 0 {
            return Poll::Ready(Ok(0));
        }
        this.out.reserve(HEADER + n);
        this.out.put_slice(&header(lane_kind::DATA, n));
        this.out.put_slice(&buf[..n]);
        let _ = this.poll_drain(cx)?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_link(WRITER, cx)?;
        ready!(self.poll_drain(cx))?;
        Pin::new(self.pipe()?).poll_flush(cx)
    }

    /// Sends FIN. The lane itself stays.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.writing == Writing::Finished {
            return Poll::Ready(Ok(()));
        }
        self.check_link(WRITER, cx)?;
        if self.writing != Writing::Finishing {
            ready!(self.poll_drain(cx))?;
            self.out.put_slice(&header(lane_kind::FIN, 0));
            self.writing = Writing::Finishing;
        }
        ready!(self.as_mut().poll_flush(cx))?;
        self.writing = Writing::Finished;
        Poll::Ready(Ok(()))
    }
}

impl Drop for LaneStream {
    fn drop(&mut self) {
        let is_clean = matches!(self.reading, Reading::Finished) && self.writing == Writing::Finished;
        match (self.pipe.take(), self.home.take()) {
            (Some(pipe), Some(home)) if is_clean => home(pipe),
            (Some(mut pipe), _) => pipe.abort(),
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::read_frame;
    use tokio::io::AsyncReadExt;
    use tokio::sync::mpsc;

    fn home() -> (Home, mpsc::Receiver<Pipe>) {
        let (sender, receiver) = mpsc::channel(1);
        (Box::new(move |pipe| drop(sender.try_send(pipe))), receiver)
    }

    fn pair(size: usize) -> (LaneStream, mpsc::Receiver<Pipe>, LaneStream, mpsc::Receiver<Pipe>) {
        let (a, b) = tokio::io::duplex(size);
        let ((a_home, a_idle), (b_home, b_idle)) = (home(), home());
        let stream = |pipe, home| LaneStream::new(Box::new(pipe), Arc::default(), &CancellationToken::new(), home);
        (stream(a, a_home), a_idle, stream(b, b_home), b_idle)
    }

    #[tokio::test]
    async fn a_lane_is_used_again_after_both_sides_finished() {
        let (mut a, mut a_idle, mut b, mut b_idle) = pair(7);
        let far = tokio::spawn(async move {
            let mut heard = Vec::new();
            b.read_to_end(&mut heard).await.unwrap();
            b.write_all(&heard).await.unwrap();
            b.shutdown().await.unwrap();
            heard.len()
        });
        let said = vec![5; 100_000];
        a.write_all(&said).await.unwrap();
        a.shutdown().await.unwrap();
        let mut echoed = Vec::new();
        a.read_to_end(&mut echoed).await.unwrap();
        assert_eq!(echoed, said);
        assert_eq!(far.await.unwrap(), said.len());
        drop(a);
        assert!(a_idle.try_recv().is_ok());
        assert!(b_idle.try_recv().is_ok());
    }

    #[tokio::test]
    async fn an_unfinished_stream_is_a_reset_and_its_lane_is_lost() {
        let (mut a, mut a_idle, mut b, mut b_idle) = pair(1000);
        a.write_all(b"half").await.unwrap();
        drop(a);
        let mut heard = Vec::new();
        assert!(b.read_to_end(&mut heard).await.is_err());
        drop(b);
        assert!(a_idle.try_recv().is_err());
        assert!(b_idle.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_reset_is_not_an_end() {
        let (mut a, _a_idle, mut b, _b_idle) = pair(1000);
        a.write_all(b"x").await.unwrap();
        a.flush().await.unwrap();
        a.reset(Reset::TargetReset);
        let mut heard = Vec::new();
        let error = b.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(heard, b"x");
    }

    #[tokio::test]
    async fn a_large_write_fills_whole_tls_records_and_is_taken_by_the_peer() {
        let (mut raw, far) = tokio::io::duplex(1 << 20);
        let (home, _idle) = home();
        let mut stream = LaneStream::new(Box::new(far), Arc::default(), &CancellationToken::new(), home);
        stream.write_all(&vec![1; 5 * RECORD]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut sizes = Vec::new();
        while sizes.last() != Some(&0) {
            sizes.push(read_frame(&mut raw, DATA_LIMIT).await.unwrap().unwrap().payload.len());
        }
        let (full, rest) = sizes.split_at(2);
        assert!(full.iter().all(|size| (HEADER + size).is_multiple_of(RECORD)), "{sizes:?}");
        assert_eq!(rest, [5 * RECORD - full[0] - full[1], 0], "{sizes:?}");
    }

    #[tokio::test]
    async fn garbage_on_a_lane_ends_it() {
        let (mut raw, far) = tokio::io::duplex(1000);
        let (home, _idle) = home();
        let mut stream = LaneStream::new(Box::new(far), Arc::default(), &CancellationToken::new(), home);
        raw.write_all(&[0xff; 20]).await.unwrap();
        let mut heard = Vec::new();
        assert_eq!(stream.read_to_end(&mut heard).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
