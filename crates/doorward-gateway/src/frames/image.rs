//! Frames as an endless answer of parts, which browsers show in an `<img>`.
//!
//! Nobody acknowledges what an `<img>` shows, so the body gives hyper the pieces of one frame and takes the next from the slot
//! only when hyper has let go of the last piece, that is, has handed it to TLS or the socket. What the visitor's line does
//! not take is never asked for, and is never sent late.

use super::{FIRST_FRAME_LIMIT, Viewer};
use crate::access_log;
use crate::web::Body as Answer;
use crate::web::breaking::VisitorSide;
use bytes::Bytes;
use doorward_frames::feed::State;
use doorward_frames::mjpeg::{Boundary, HEADERS, Parts};
use doorward_frames::slot::{Frame as Picture, Reader, Seen};
use futures_util::task::AtomicWaker;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

/// The body of one answer. The visit lasts as long as it does.
struct Image {
    viewer: Viewer,
    reader: Reader,
    parts: Parts,
    /// Of the frame that is being given.
    pieces: VecDeque<Bytes>,
    way: Arc<Way>,
    /// Ends the visit from outside: hyper does not ask a body whose visitor takes nothing.
    _watch: AbortOnDropHandle<()>,
    sent: Sent,
}

/// For the log.
struct Sent {
    frames: u64,
    bytes: u64,
    since: Instant,
}

/// What lies between a frame that was given to hyper and the visitor's connection.
#[derive(Default)]
struct Way {
    is_taken: AtomicBool,
    body: AtomicWaker,
}

/// The last piece of a frame; whoever drops it has passed on the frame.
struct LastPiece {
    bytes: Bytes,
    way: Arc<Way>,
}

impl AsRef<[u8]> for LastPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for LastPiece {
    fn drop(&mut self) {
        self.way.is_taken.store(false, Ordering::Release);
        self.way.body.wake();
    }
}

impl Way {
    fn poll_free(&self, cx: &Context<'_>) -> Poll<()> {
        self.body.register(cx.waker());
        if self.is_taken.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
    }

    fn take(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.is_taken.store(true, Ordering::Release);
        Bytes::from_owner(LastPiece { bytes, way: self.clone() })
    }
}

/// Why there is nothing to be seen.
pub(super) enum Blind {
    /// The device says so.
    Failed,
    TooLate,
    Over,
}

/// Waits for something that can be shown, newer than `oldest` if that is said. The viewer counts meanwhile.
pub(super) async fn first(viewer: &Viewer, oldest: Option<Duration>) -> Result<Picture, Blind> {
    let (mut reader, mut news) = (viewer.reader(), viewer.news());
    let has_failed = async {
        match news.wait_for(|news| news.state == State::Failed).await {
            Ok(_) => Blind::Failed,
            Err(_) => Blind::Over,
        }
    };
    let looking = async {
        loop {
            let Some(Seen { frame, .. }) = reader.next().await else { return Err(Blind::Over) };
            if oldest.is_none_or(|oldest| frame.captured.elapsed() <= oldest) {
                return Ok(frame);
            }
        }
    };
    tokio::select! {
        biased;
        found = looking => found,
        () = viewer.admitted.presence.cut() => Err(Blind::Over),
        why = has_failed => Err(why),
        () = tokio::time::sleep(FIRST_FRAME_LIMIT) => Err(Blind::TooLate),
    }
}

/// The head of an answer with pictures in it.
pub(super) fn head(content_type: &str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let content_type = HeaderValue::from_str(content_type);
    headers.insert(CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    response
}

pub(super) fn parts() -> Parts {
    Parts::new(Boundary::from_random(rand::random()))
}

pub(super) fn image(viewer: Viewer, side: VisitorSide) -> Response<Answer> {
    let parts = parts();
    let content_type = parts.content_type();
    let cut = viewer.admitted.presence.cut_owned();
    let watch = AbortOnDropHandle::new(tokio::spawn(async move {
        cut.await;
        side.break_off();
    }));
    let (reader, since) = (viewer.reader(), Instant::now());
    let body = Image {
        viewer,
        reader,
        parts,
        pieces: VecDeque::with_capacity(6),
        way: Arc::default(),
        _watch: watch,
        sent: Sent { frames: 0, bytes: 0, since },
    };
    head(&content_type, body.boxed_unsync())
}

impl Image {
    fn take(&mut self, frame: &Picture) {
        let captured = SystemTime::now().checked_sub(frame.captured.elapsed());
        let captured = captured.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let (part, again) = self.parts.write(frame, captured);
        self.sent.frames += 1;
        self.pieces.extend(std::iter::once(part).chain(again).flat_map(doorward_frames::mjpeg::Part::pieces));
        if let Some(last) = self.pieces.pop_back() {
            self.pieces.push_back(self.way.take(last));
        }
    }
}

impl Body for Image {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.pieces.is_empty() {
            ready!(this.way.poll_free(cx));
            match ready!(this.reader.poll_next(cx)) {
                Some(seen) => this.take(&seen.frame),
                None => return Poll::Ready(None),
            }
        }
        let piece = this.pieces.pop_front().unwrap_or_default();
        this.sent.bytes += piece.len() as u64;
        this.viewer.passed(piece.len());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let admitted = &self.viewer.admitted;
        info!(
            target: "doorward::access",
            entrance = "web",
            service = admitted.service.path(),
            source = access_log::source(admitted.permit.visitor().source()),
            frames = self.sent.frames,
            down = self.sent.bytes,
            seconds = self.sent.since.elapsed().as_secs_f32(),
        );
    }
}
