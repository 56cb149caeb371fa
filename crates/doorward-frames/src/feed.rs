//! Frames of many cameras in one stream or WebSocket, from agents to gateways and from gateways to pages.
//!
//! ```text
//! kind u8 │ 0 u8 │ camera u16 │ length u32 │ payload        numbers are big endian, `length` is the payload's
//!
//! to the viewer     1 Frame   number u32 │ age u32, ms │ JPEG
//!                   2 State   state u8 │ text, UTF-8, may be empty
//!                   3 Faults  (fault u8 │ count u32)*, all since the camera is being read
//! to the camera  0x41 Watch   mHz u32 │ kbit/s u32, 0 for no cap
//!                0x42 Leave
//!                0x43 Shown   number u32: that frame and all before it came to their end
//! ```
//!
//! A camera's number is the viewer's choice, and one feed's alone. Kinds, states and faults that are not known are passed
//! over. In a WebSocket each message is one of these. `age` is what lay between the frame's capture and its writing: clocks
//! are not compared.

mod decoder;

pub use decoder::{Decoder, FeedError};

use crate::faults::{Fault, Faults};
use crate::jpeg::Picture;
use crate::pace::Caps;
use crate::slot::Frame;
use bytes::{BufMut, Bytes, BytesMut};
use std::time::{Duration, Instant};

pub const HEADER: usize = 8;
/// Before the picture in a frame's payload.
const BEFORE_PICTURE: usize = 8;
/// The payload of what is no frame.
pub const SHORT: usize = 1024;

const FRAME: u8 = 1;
const STATE: u8 = 2;
const FAULTS: u8 = 3;
const WATCH: u8 = 0x41;
const LEAVE: u8 = 0x42;
const SHOWN: u8 = 0x43;

#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Frame { camera: u16, number: u32, age: Duration, picture: Picture },
    State { camera: u16, state: State, text: String },
    Faults { camera: u16, faults: Faults },
    Watch { camera: u16, caps: Caps },
    Leave { camera: u16 },
    Shown { camera: u16, number: u32 },
}

/// How a camera does, for people. The text says more, in words of whoever read the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Opening = 0,
    Live = 1,
    /// Nothing comes; it is being asked anew.
    Stalled = 2,
    /// It cannot be reached, or answers with something else.
    Failed = 3,
    /// There will be nothing more of it in this feed.
    Ended = 4,
}

impl State {
    pub const ALL: [Self; 5] = [Self::Opening, Self::Live, Self::Stalled, Self::Failed, Self::Ended];
}

/// A frame as it is written: its picture is shared, not copied.
pub fn frame(camera: u16, frame: &Frame, now: Instant) -> [Bytes; 2] {
    head(camera, frame.number, now.saturating_duration_since(frame.captured), &frame.picture)
}

fn head(camera: u16, number: u32, age: Duration, picture: &Picture) -> [Bytes; 2] {
    let mut head = start(FRAME, camera, BEFORE_PICTURE + picture.jpeg.len());
    head.put_u32(number);
    head.put_u32(u32::try_from(age.as_millis()).unwrap_or(u32::MAX));
    [head.freeze(), picture.jpeg.clone()]
}

fn start(kind: u8, camera: u16, length: usize) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(HEADER + length.min(SHORT));
    bytes.put_slice(&[kind, 0]);
    bytes.put_u16(camera);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes
}

fn short(kind: u8, camera: u16, payload: &[u8]) -> Bytes {
    let mut bytes = start(kind, camera, payload.len());
    bytes.put_slice(payload);
    bytes.freeze()
}

impl Message {
    pub fn camera(&self) -> u16 {
        match self {
            Self::Frame { camera, .. }
            | Self::State { camera, .. }
            | Self::Faults { camera, .. }
            | Self::Watch { camera, .. }
            | Self::Leave { camera }
            | Self::Shown { camera, .. } => *camera,
        }
    }

    /// The frame that it is, by the clock of whoever received it: it is as old as it was when it was written, and the way
    /// is not known.
    pub fn into_frame(self, now: Instant) -> Option<Frame> {
        match self {
            Self::Frame { number, age, picture, .. } => {
                Some(Frame { number, captured: now.checked_sub(age).unwrap_or(now), picture })
            }
            Self::State { .. } | Self::Faults { .. } | Self::Watch { .. } | Self::Leave { .. } | Self::Shown { .. } => {
                None
            }
        }
    }

    /// As it is written; of a frame in two pieces, the second of which is its picture.
    pub fn encode(&self) -> [Bytes; 2] {
        let whole = match self {
            Self::Frame { camera, number, age, picture } => return head(*camera, *number, *age, picture),
            Self::State { camera, state, text } => {
                let room = text.floor_char_boundary(SHORT - 1);
                short(STATE, *camera, &[&[*state as u8], &text.as_bytes()[..room]].concat())
            }
            Self::Faults { camera, faults } => {
                let one = |(fault, count): (Fault, u32)| [&[fault as u8][..], &count.to_be_bytes()].concat();
                short(FAULTS, *camera, &faults.met().flat_map(one).collect::<Vec<_>>())
            }
            Self::Watch { camera, caps } => {
                let kilobits = caps.kilobits_per_second.unwrap_or_default().to_be_bytes();
                short(WATCH, *camera, &[millihertz(caps).to_be_bytes(), kilobits].concat())
            }
            Self::Leave { camera } => short(LEAVE, *camera, &[]),
            Self::Shown { camera, number } => short(SHOWN, *camera, &number.to_be_bytes()),
        };
        [whole, Bytes::new()]
    }
}

/// A rate so small that it would be none is the smallest there is.
fn millihertz(caps: &Caps) -> u32 {
    caps.frames_per_second.filter(|rate| *rate > 0.0).map_or(0, |rate| (rate * 1000.0).round().max(1.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitter::samples;
    use std::fmt::Write as _;
    use std::fs;
    use std::path::Path;

    pub(super) fn picture() -> Picture {
        Picture::read(&samples::picture(1).into()).unwrap()
    }

    pub(super) fn messages() -> Vec<Message> {
        let mut faults = Faults::default();
        faults.add(Fault::Padding, 3);
        faults.add(Fault::NoPicture, 0x0102_0304);
        let mut messages = vec![
            Message::Frame {
                camera: 0x0102,
                number: 0x0304_0506,
                age: Duration::from_millis(1500),
                picture: picture(),
            },
            Message::Faults { camera: 0, faults },
            Message::Faults { camera: 0, faults: Faults::default() },
            Message::Watch { camera: 7, caps: Caps::default() },
            Message::Watch { camera: 7, caps: Caps { frames_per_second: Some(0.2), kilobits_per_second: Some(2000) } },
            Message::Leave { camera: 7 },
            Message::Shown { camera: 0xffff, number: u32::MAX },
        ];
        let state = |state| Message::State { camera: 1, state, text: "Küche".to_owned() };
        messages.extend(State::ALL.map(state));
        messages
    }

    #[test]
    fn the_bytes_are_as_committed() {
        let mut written = String::new();
        for message in messages() {
            let [head, picture] = message.encode();
            let digits = head.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            let picture = if picture.is_empty() { String::new() } else { format!(" │ {} bytes", picture.len()) };
            let name = format!("{message:?}").split(' ').next().unwrap().to_owned();
            writeln!(written, "{name}: {digits}{picture}").unwrap();
        }
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/feed.golden.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &written).unwrap();
        }
        assert_eq!(written, fs::read_to_string(golden).unwrap());
    }

    #[test]
    fn a_frames_age_passes_from_clock_to_clock() {
        let captured = Instant::now();
        let written = captured + Duration::from_millis(340);
        let [head, jpeg] = frame(3, &Frame { number: 9, captured, picture: picture() }, written);
        assert_eq!(jpeg.as_ptr(), jpeg.clone().as_ptr());
        let mut bytes = &[head, jpeg].concat()[..];
        let message = Decoder::new(crate::PICTURE_LIMIT).next(&mut bytes).unwrap().unwrap();
        assert_eq!(message.camera(), 3);
        let received = written + Duration::from_secs(5);
        let frame = message.into_frame(received).unwrap();
        assert_eq!((frame.number, frame.captured), (9, received.checked_sub(Duration::from_millis(340)).unwrap()));
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let message = Message::State { camera: 0, state: State::Failed, text: "ü".repeat(2000) };
        let [bytes, _] = message.encode();
        let read = Decoder::new(0).next(&mut &bytes[..]).unwrap().unwrap();
        assert_eq!(read, Message::State { camera: 0, state: State::Failed, text: "ü".repeat(511) });
    }
}
