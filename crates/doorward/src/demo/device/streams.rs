//! The answers that take their time: many bytes, events, camera pictures, trailers; and the upload that counts.

use super::camera;
use super::printer::Printer;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(super) const MAX_DOWNLOAD: u64 = 10 << 30;
const PIECE: usize = 64 << 10;
static ZEROS: [u8; PIECE] = [0; PIECE];
/// The next piece of an upload must come within it.
const UPLOAD_LIMIT: Duration = Duration::from_secs(30);

pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

fn pieces(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync()
}

pub(super) fn zeros(bytes: u64) -> Body {
    pieces(stream::unfold(bytes, async |left: u64| {
        let length = left.min(PIECE as u64);
        (length > 0).then(|| (Bytes::from_static(&ZEROS[..length as usize]), left - length))
    }))
}

/// An event each second, counting up (WHATWG HTML, 9.2).
pub(super) fn events(printer: Printer) -> Body {
    pieces(stream::unfold((every(Duration::from_secs(1)), 1_u64), move |(mut ticks, id)| async move {
        ticks.tick().await;
        let state = serde_json::to_string(&printer.state()).expect("numbers always become JSON");
        Some((format!("id: {id}\ndata: {state}\n\n").into(), (ticks, id + 1)))
    }))
}

/// Frames for ever. A visitor that cannot keep up misses some and never sees an old one: each is drawn when it can go.
pub(super) fn camera(printer: Printer) -> Body {
    let opening = stream::iter([Bytes::from(camera::opening())]);
    let pause = Duration::from_secs(1) / camera::FRAMES_PER_SECOND;
    let frames = stream::unfold((every(pause), 0), move |(mut ticks, number)| async move {
        ticks.tick().await;
        let frame = camera::frame(&printer.state(), number);
        Some((camera::part(&frame).into(), (ticks, number + 1)))
    });
    pieces(opening.chain(frames))
}

/// A body with a trailer that counts its bytes (RFC 9110, 6.5).
pub(super) fn with_trailer() -> Body {
    let text = Bytes::from_static(b"The trailer follows.\n");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-bytes", HeaderValue::from(text.len()));
    StreamBody::new(stream::iter([Ok(Frame::data(text)), Ok(Frame::trailers(trailers))])).boxed_unsync()
}

/// Reads a body to its end and counts it; `None` if it stopped coming.
pub(super) async fn count(mut body: Incoming) -> Option<u64> {
    let mut bytes = 0;
    while let Some(frame) = timeout(UPLOAD_LIMIT, body.frame()).await.ok()? {
        bytes += frame.ok()?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Some(bytes)
}

fn every(pause: Duration) -> Interval {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
