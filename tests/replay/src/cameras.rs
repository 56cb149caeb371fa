//! What cameras send, and whoever passes their pictures on.

use bytes::Bytes;
use doorward_frames::feed::{Decoder, FeedError, Message};
use doorward_frames::netgear::{self, Received};
use doorward_frames::splitter::{Limits, SplitError, Splitter};
use doorward_frames::zmtp::{Receiver, Step, ZmtpError};
use doorward_frames::{Picture, faults::Faults};

/// Small, so that inputs reach them.
const LIMITS: Limits = Limits { picture: 2048, fruitless: 4096 };
const START: &[u8] = &[0xff, 0xd8];

/// `piece size │ content type │ line feed │ bytes`: the pieces make no difference; what comes out are JPEGs, within the limit.
pub fn camera_stream(data: &[u8]) {
    let Some((piece, rest)) = data.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (content_type, bytes) = (String::from_utf8_lossy(&rest[..end]), rest.get(end + 1..).unwrap_or_default());
    let whole = pictures(&content_type, bytes, bytes.len().max(1));
    assert_eq!(pictures(&content_type, bytes, usize::from(*piece).max(1)), whole);
    for picture in whole.0 {
        assert!(picture.jpeg.starts_with(START) && picture.jpeg.len() <= LIMITS.picture);
        let again = Picture::read(&picture.jpeg).expect("what came out is a picture");
        assert_eq!(again.size, picture.size);
    }
}

fn pictures(content_type: &str, bytes: &[u8], piece: usize) -> (Vec<Picture>, Faults, Option<SplitError>) {
    let mut splitter = Splitter::new(Some(content_type), LIMITS);
    let mut pictures = Vec::new();
    for mut piece in bytes.chunks(piece) {
        while !piece.is_empty() {
            match splitter.next(&mut piece) {
                Ok(picture) => pictures.extend(picture),
                Err(error) => return (pictures, *splitter.faults(), Some(error)),
            }
            assert!(splitter.held() <= 2 * LIMITS.picture, "{} bytes are held", splitter.held());
        }
    }
    let (last, faults) = splitter.finish();
    pictures.extend(last);
    (pictures, faults, None)
}

/// `piece size │ bytes`: the pieces make no difference, and what is read means the same after it was written again.
pub fn frame_feed(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let (messages, error) = messages(bytes, bytes.len().max(1));
    assert_eq!(self::messages(bytes, usize::from(*piece).max(1)), (messages.clone(), error));
    let written = messages.iter().flat_map(Message::encode).collect::<Vec<_>>().concat();
    assert_eq!(self::messages(&written, written.len().max(1)), (messages, None));
}

fn messages(bytes: &[u8], piece: usize) -> (Vec<Message>, Option<FeedError>) {
    let mut decoder = Decoder::new(LIMITS.picture);
    let mut messages = Vec::new();
    for mut piece in bytes.chunks(piece) {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

/// `length of the header u8 │ header │ frame`: a frame is a JPEG within the limit.
pub fn netgear_message(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (header, frame) = rest.split_at(usize::from(*length).min(rest.len()));
    let parts = [Bytes::copy_from_slice(header), Bytes::copy_from_slice(frame)];
    for parts in [&parts[..], &parts[..1]] {
        match netgear::read(parts, LIMITS.picture) {
            Ok(Received::Frame { picture, .. }) => {
                assert!(picture.jpeg.starts_with(START) && picture.jpeg.len() <= LIMITS.picture);
            }
            Ok(Received::Ended { .. }) => {}
            Err(error) => assert!(error.to_string().len() < 250),
        }
    }
}

/// `piece size │ bytes`: the pieces make no difference, a message stays within its limit, and no more is held than has come.
pub fn zmtp_stream(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    // What every connection begins with, so that inputs get further.
    let greeted = [&Receiver::greeting()[..], bytes].concat();
    for bytes in [bytes, &greeted] {
        assert_eq!(steps(bytes, usize::from(*piece).max(1)), steps(bytes, bytes.len().max(1)));
    }
}

fn steps(bytes: &[u8], piece: usize) -> (Vec<Step>, Option<ZmtpError>) {
    let (mut receiver, mut steps) = (Receiver::new(LIMITS.picture), Vec::new());
    for mut piece in bytes.chunks(piece) {
        loop {
            match receiver.next(&mut piece) {
                Ok(Some(Step::Message(parts))) => {
                    assert!(parts.iter().map(Bytes::len).sum::<usize>() <= LIMITS.picture);
                    steps.push(Step::Message(parts));
                }
                Ok(Some(step)) => steps.push(step),
                Ok(None) => break,
                Err(error) => {
                    assert!(error.to_string().len() < 250);
                    return (steps, Some(error));
                }
            }
            assert!(receiver.held() <= 4 * LIMITS.picture, "{} bytes are held", receiver.held());
        }
    }
    (steps, None)
}
