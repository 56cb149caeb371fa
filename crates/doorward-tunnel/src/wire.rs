//! Frames: how messages and lane data are cut out of a byte stream.
//!
//! ```text
//! kind: u8 │ length: u24, big endian │ payload
//! ```
//!
//! A reader says how much it will take before a byte of it is allocated.

use bytes::{BufMut, Bytes, BytesMut};
use std::io;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

pub const HEADER: usize = 4;
/// What a stranger may send in one frame.
pub const STRANGER_LIMIT: usize = 4 * 1024;
/// What an authenticated peer may send in one control frame: a hundred services with their policies fit.
pub const CONTROL_LIMIT: usize = 512 * 1024;
/// The most data in one frame of a lane.
pub const DATA_LIMIT: usize = 64 * 1024;

#[derive(Debug, Error)]
pub enum WireError {
    #[error("the connection ended inside a frame")]
    Truncated,
    #[error("a frame of {length} bytes (kind {kind}) exceeds the limit of {limit}")]
    TooLong { kind: u8, length: usize, limit: usize },
    #[error("a frame of kind {kind} cannot be read: {why}")]
    Malformed { kind: u8, why: &'static str },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One frame as read. What its kind means is `messages`' business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub payload: Bytes,
}

pub fn header(kind: u8, length: usize) -> [u8; HEADER] {
    debug_assert!(length < 1 << 24, "callers keep to the limits above");
    let [_, a, b, c] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [kind, a, b, c]
}

pub fn parse_header(header: [u8; HEADER]) -> (u8, usize) {
    let [kind, a, b, c] = header;
    (kind, usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
}

pub fn frame(kind: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER + payload.len());
    bytes.put_slice(&header(kind, payload.len()));
    bytes.put_slice(payload);
    bytes.freeze()
}

/// The next frame, or `None` where the peer ended between two frames.
///
/// Not cancel-safe: a dropped call loses what it had read. Callers keep one future per reader.
pub async fn read_frame(reader: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<Option<Frame>, WireError> {
    let mut head = [0; HEADER];
    if reader.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    read_whole(reader, &mut head[1..]).await?;
    let (kind, length) = parse_header(head);
    if length > limit {
        return Err(WireError::TooLong { kind, length, limit });
    }
    let mut payload = BytesMut::zeroed(length);
    read_whole(reader, &mut payload).await?;
    Ok(Some(Frame { kind, payload: payload.freeze() }))
}

async fn read_whole(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> Result<(), WireError> {
    match reader.read_exact(buffer).await {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(WireError::Truncated),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn frames_survive_arriving_in_pieces() {
        let (mut near, mut far) = tokio::io::duplex(3);
        let sent = [frame(1, b"hello"), frame(250, b""), frame(7, &[9; 1000])].concat();
        let writing = tokio::spawn(async move { near.write_all(&sent).await });
        assert_eq!(&read_frame(&mut far, 1000).await.unwrap().unwrap().payload[..], b"hello");
        assert_eq!(read_frame(&mut far, 1000).await.unwrap().unwrap().kind, 250);
        assert_eq!(read_frame(&mut far, 1000).await.unwrap().unwrap().payload.len(), 1000);
        writing.await.unwrap().unwrap();
        assert!(read_frame(&mut far, 1000).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_oversized_frame_is_refused_before_it_is_read() {
        let mut bytes = &header(1, 1_000_000)[..];
        assert!(matches!(read_frame(&mut bytes, 4096).await, Err(WireError::TooLong { length: 1_000_000, .. })));
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_an_error() {
        for cut in 1..9 {
            let whole = frame(1, b"hello");
            let mut bytes = &whole[..cut.min(whole.len() - 1)];
            assert!(matches!(read_frame(&mut bytes, 4096).await, Err(WireError::Truncated)), "cut at {cut}");
        }
    }
}
