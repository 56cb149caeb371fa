//! What fuzz targets need and nobody else: the internals that read a peer's bytes.

use crate::lane::LaneStream;
use crate::pipe::Duplex;
use crate::stream::Stream;
use crate::udp;
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

/// A stream on a lane that nobody takes back.
pub fn lane_stream(pipe: impl Duplex + 'static) -> Stream {
    Stream::lane(LaneStream::new(Box::new(pipe), Arc::default(), &CancellationToken::new(), Box::new(drop)))
}

pub use udp::fuzzing::{deliver, number_of, numbered};

/// The next packet of a flow's stream.
pub async fn read_packet(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Bytes>> {
    udp::read_packet(reader).await
}
