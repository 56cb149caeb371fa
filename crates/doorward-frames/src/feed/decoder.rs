//! Reads a feed that arrives in pieces.

use super::{BEFORE_PICTURE, FAULTS, FRAME, HEADER, LEAVE, Message, SHORT, SHOWN, STATE, State, WATCH};
use crate::faults::{Fault, Faults};
use crate::jpeg::Picture;
use crate::pace::Caps;
use bytes::Bytes;
use std::time::Duration;
use thiserror::Error;

/// More is reserved only for what has come.
const RESERVED: usize = 64 * 1024;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum FeedError {
    #[error("a message of kind {kind} and {length} bytes exceeds the limit of {limit}")]
    TooLong { kind: u8, length: usize, limit: usize },
    #[error("a message of kind {kind} cannot be read")]
    Malformed { kind: u8 },
    #[error("a frame is no JPEG")]
    NoPicture,
}

/// Holds one message at most, within the limit of its kind.
#[derive(Debug)]
pub struct Decoder {
    picture_limit: usize,
    header: Vec<u8>,
    payload: Vec<u8>,
    /// The other side writes something newer.
    passed_over: u64,
}

impl Decoder {
    /// Whoever takes no frames takes pictures of 0 bytes at most.
    pub fn new(picture_limit: usize) -> Self {
        Self { picture_limit, header: Vec::with_capacity(HEADER), payload: Vec::new(), passed_over: 0 }
    }

    /// Messages of kinds, or with states, that are not known here.
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.payload.capacity()
    }

    /// The next message. Takes bytes off `input` up to its end, or all of them. After an error the feed is of no use.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Message>, FeedError> {
        loop {
            take(&mut self.header, input, HEADER);
            let Some([kind, _, camera_high, camera_low, length @ ..]) = self.header.first_chunk::<HEADER>() else {
                return Ok(None);
            };
            let (kind, camera) = (*kind, u16::from_be_bytes([*camera_high, *camera_low]));
            let length = u32::from_be_bytes(*length) as usize;
            self.check(kind, length)?;
            take(&mut self.payload, input, length);
            if self.payload.len() < length {
                return Ok(None);
            }
            self.header.clear();
            let payload = std::mem::take(&mut self.payload);
            match message(kind, camera, payload)? {
                Some(message) => return Ok(Some(message)),
                None => self.passed_over += 1,
            }
        }
    }

    fn check(&self, kind: u8, length: usize) -> Result<(), FeedError> {
        let limit = if kind == FRAME { self.picture_limit.saturating_add(BEFORE_PICTURE) } else { SHORT };
        if length > limit {
            return Err(FeedError::TooLong { kind, length, limit });
        }
        Ok(())
    }
}

/// Fills up to `length`.
fn take(buffer: &mut Vec<u8>, input: &mut &[u8], length: usize) {
    let (taken, rest) = input.split_at(input.len().min(length - buffer.len()));
    let needed = buffer.len() + taken.len();
    if needed > buffer.capacity() {
        let room = (buffer.capacity() * 2).max(RESERVED).max(needed).min(length);
        buffer.reserve_exact(room - buffer.len());
    }
    buffer.extend_from_slice(taken);
    *input = rest;
}

/// `None`: nothing that is known.
fn message(kind: u8, camera: u16, payload: Vec<u8>) -> Result<Option<Message>, FeedError> {
    let malformed = FeedError::Malformed { kind };
    let message = match kind {
        FRAME => return frame(camera, payload).map(Some),
        STATE => {
            let (state, text) = payload.split_first().ok_or(malformed)?;
            let Some(state) = State::ALL.into_iter().find(|known| *known as u8 == *state) else { return Ok(None) };
            let text = std::str::from_utf8(text).map_err(|_| FeedError::Malformed { kind })?;
            Message::State { camera, state, text: text.to_owned() }
        }
        FAULTS => Message::Faults { camera, faults: faults(&payload).ok_or(malformed)? },
        WATCH => {
            let (millihertz, kilobits) = payload.split_first_chunk().ok_or(malformed)?;
            let kilobits = kilobits.try_into().map_err(|_| FeedError::Malformed { kind })?;
            let (millihertz, kilobits) = (u32::from_be_bytes(*millihertz), u32::from_be_bytes(kilobits));
            let frames_per_second = (millihertz > 0).then(|| f64::from(millihertz) / 1000.0);
            let kilobits_per_second = (kilobits > 0).then_some(kilobits);
            Message::Watch { camera, caps: Caps { frames_per_second, kilobits_per_second } }
        }
        LEAVE if payload.is_empty() => Message::Leave { camera },
        SHOWN => {
            let number = payload.try_into().map_err(|_| malformed)?;
            Message::Shown { camera, number: u32::from_be_bytes(number) }
        }
        LEAVE => return Err(malformed),
        _ => return Ok(None),
    };
    Ok(Some(message))
}

fn frame(camera: u16, payload: Vec<u8>) -> Result<Message, FeedError> {
    let payload = Bytes::from(payload);
    let malformed = FeedError::Malformed { kind: FRAME };
    let Some((number, rest)) = payload.split_first_chunk() else { return Err(malformed) };
    let Some((age, _)) = rest.split_first_chunk() else { return Err(malformed) };
    let (number, age) = (u32::from_be_bytes(*number), u32::from_be_bytes(*age));
    // Whoever sent it may send anything; viewers get nothing but pictures.
    let picture = Picture::read(&payload.slice(BEFORE_PICTURE..)).ok_or(FeedError::NoPicture)?;
    Ok(Message::Frame { camera, number, age: Duration::from_millis(age.into()), picture })
}

fn faults(payload: &[u8]) -> Option<Faults> {
    let (pairs, rest) = payload.as_chunks::<5>();
    let mut faults = Faults::default();
    for [fault, count @ ..] in pairs {
        let known = Fault::ALL.get(usize::from(*fault));
        known.into_iter().for_each(|fault| faults.add(*fault, u32::from_be_bytes(*count)));
    }
    rest.is_empty().then_some(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::tests::{messages, picture};

    fn decode(bytes: &[u8], piece: usize) -> (Vec<Message>, Option<FeedError>) {
        let mut decoder = Decoder::new(4096);
        let mut read = Vec::new();
        for mut piece in bytes.chunks(piece) {
            loop {
                match decoder.next(&mut piece) {
                    Ok(Some(message)) => read.push(message),
                    Ok(None) => break,
                    Err(error) => return (read, Some(error)),
                }
            }
        }
        (read, None)
    }

    #[test]
    fn what_is_written_is_read_in_any_pieces() {
        let bytes = messages().iter().flat_map(Message::encode).collect::<Vec<_>>().concat();
        for piece in [1, 2, 7, 100, bytes.len()] {
            assert_eq!(decode(&bytes, piece), (messages(), None), "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_newer_is_passed_over_and_what_follows_is_read() {
        let newer = [
            b"\x04\0\0\x01\0\0\0\x03abc".to_vec(),
            b"\x02\0\0\x01\0\0\0\x01\x63".to_vec(),
            Message::Leave { camera: 5 }.encode().concat(),
        ];
        let mut decoder = Decoder::new(0);
        assert_eq!(decoder.next(&mut &newer.concat()[..]), Ok(Some(Message::Leave { camera: 5 })));
        assert_eq!(decoder.passed_over(), 2);
        let fault = b"\x03\0\0\0\0\0\0\x0a\xfe\0\0\0\x01\x0e\0\0\0\x02";
        let read = decode(fault, 3).0.pop();
        assert!(matches!(read, Some(Message::Faults { faults, .. }) if faults.to_string() == "padding 2"));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_reason() {
        let frame = |payload: &[u8]| {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            [&[1, 0, 0, 0][..], &length, payload].concat()
        };
        let malformed = |kind| FeedError::Malformed { kind };
        let table = [
            (frame(b"\0\0\0\x01\0\0\0\0<html>"), FeedError::NoPicture),
            (frame(b"\0\0\0\x01\0\0\0\0"), FeedError::NoPicture),
            (frame(b"\0\0\0\x01\0\0"), malformed(1)),
            (b"\x01\0\0\0\0\x00\x10\x09".to_vec(), FeedError::TooLong { kind: 1, length: 4105, limit: 4104 }),
            (b"\x02\0\0\0\0\0\x04\x01".to_vec(), FeedError::TooLong { kind: 2, length: 1025, limit: 1024 }),
            (
                b"\x99\0\0\0\xff\xff\xff\xff".to_vec(),
                FeedError::TooLong { kind: 0x99, length: 0xffff_ffff, limit: 1024 },
            ),
            (b"\x02\0\0\0\0\0\0\0".to_vec(), malformed(2)),
            (b"\x02\0\0\0\0\0\0\x02\0\xff".to_vec(), malformed(2)),
            (b"\x03\0\0\0\0\0\0\x01\0".to_vec(), malformed(3)),
            (b"\x41\0\0\0\0\0\0\x07\0\0\0\0\0\0\0".to_vec(), malformed(0x41)),
            (b"\x42\0\0\0\0\0\0\x01\0".to_vec(), malformed(0x42)),
            (b"\x43\0\0\0\0\0\0\x00".to_vec(), malformed(0x43)),
        ];
        for (bytes, error) in table {
            assert_eq!(decode(&bytes, bytes.len()), (vec![], Some(error)), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_follows_a_picture_in_its_frame_goes_no_further() {
        let jpeg = Bytes::from([&picture().jpeg[..], b"<script>"].concat());
        let sent = Message::Frame { camera: 1, number: 1, age: Duration::ZERO, picture: Picture { jpeg, size: None } };
        let (read, error) = decode(&sent.encode().concat(), 50);
        assert_eq!(error, None);
        assert!(matches!(&read[..], [Message::Frame { picture: read, .. }] if *read == picture()));
    }

    #[test]
    fn a_promise_of_much_reserves_little() {
        let mut decoder = Decoder::new(crate::PICTURE_LIMIT);
        assert_eq!(decoder.next(&mut &b"\x01\0\0\0\0\x80\0\0and"[..]), Ok(None));
        assert!(decoder.held() <= RESERVED);
    }
}
