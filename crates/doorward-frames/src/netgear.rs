//! Frames that VidGear's NetGear sends over ZeroMQ (vidgear 0.3.x, `vidgear/gears/netgear.py`).
//!
//! A message has two parts: a JSON object about the frame, and the frame, a JPEG unless its sender wanted otherwise. The
//! last message is the object alone. In the patterns pair and request the sender waits for an answer to each.

use crate::jpeg::Picture;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// Of the JSON, in which a sender may put data of its own.
const HEADER_LIMIT: usize = 64 * 1024;

/// What every sender that waits takes for an answer: those that want data back read JSON and find none, the others read
/// nothing of it.
pub const ANSWER: &[u8] = br#"{"return_type": "NoneType", "data": null}"#;

#[derive(Debug, PartialEq)]
pub enum Received {
    Frame {
        picture: Picture,
        /// Which sender it is, where several send to one receiver.
        port: Option<String>,
        /// What the sender's program added, `null` if nothing.
        message: Value,
    },
    /// The sender has closed.
    Ended { port: Option<String> },
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum NetGearError {
    #[error("a message of {0} parts: this is not NetGear")]
    Parts(usize),
    #[error("the message has no header of NetGear's")]
    Header,
    #[error("the frame is not compressed ({dtype}, {shape}): leave jpeg_compression on at the sender")]
    Uncompressed { dtype: String, shape: String },
    #[error("the frame has {length} bytes, and {limit} are allowed")]
    TooLarge { length: usize, limit: usize },
    #[error("the frame is no JPEG")]
    NoPicture,
}

#[derive(Deserialize)]
struct Header {
    terminate_flag: bool,
    #[serde(default)]
    compression: Value,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    dtype: String,
    #[serde(default)]
    shape: Value,
    port: Option<Port>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Port {
    Text(String),
    Number(u16),
}

impl Port {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// `parts` as ZeroMQ's sockets give them, without a routing header.
pub fn read(parts: &[Bytes], limit: usize) -> Result<Received, NetGearError> {
    let (header, frame) = match parts {
        [header] => (header, None),
        [header, frame] => (header, Some(frame)),
        _ => return Err(NetGearError::Parts(parts.len())),
    };
    if header.len() > HEADER_LIMIT {
        return Err(NetGearError::Header);
    }
    let header: Header = serde_json::from_slice(header).map_err(|_| NetGearError::Header)?;
    let port = header.port.map(Port::text);
    if header.terminate_flag {
        return Ok(Received::Ended { port });
    }
    let frame = frame.ok_or(NetGearError::Parts(1))?;
    if !header.compression.is_object() {
        let (dtype, shape) = (shortened(&header.dtype), shortened(&header.shape.to_string()));
        return Err(NetGearError::Uncompressed { dtype, shape });
    }
    if frame.len() > limit {
        return Err(NetGearError::TooLarge { length: frame.len(), limit });
    }
    let picture = Picture::read(frame).ok_or(NetGearError::NoPicture)?;
    Ok(Received::Frame { picture, port, message: header.message })
}

/// It is shown to people.
fn shortened(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PICTURE_LIMIT;
    use crate::splitter::samples;
    use serde_json::json;
    use std::fs;
    use std::path::Path;

    /// What vidgear 0.3.6 sent: for each message the count of its parts, then each with its length in 32 bits.
    fn recorded(name: &str) -> Vec<Vec<Bytes>> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netgear").join(name);
        let mut left = Bytes::from(fs::read(file).unwrap());
        let mut messages = Vec::new();
        while !left.is_empty() {
            let count = left.split_to(1)[0];
            let part = |_| {
                let length = u32::from_be_bytes(left.split_to(4)[..].try_into().unwrap());
                left.split_to(length as usize)
            };
            messages.push((0..count).map(part).collect());
        }
        messages
    }

    fn size(picture: &Picture) -> (u16, u16) {
        picture.size.map(|size| (size.width, size.height)).unwrap()
    }

    #[test]
    fn what_vidgear_sent_is_read_in_every_pattern_and_setting() {
        let table = [
            ("pair", 2, (32, 24), Value::Null),
            ("request", 2, (32, 24), Value::Null),
            ("publish", 2, (32, 24), Value::Null),
            ("two-way", 2, (32, 24), Value::Null),
            ("gray", 2, (32, 24), Value::Null),
            ("usual", 1, (64, 48), Value::Null),
            ("message", 2, (32, 24), json!({"temperature": 21.5, "text": "Küche"})),
        ];
        for (name, frames, expected, expected_message) in table {
            let messages = recorded(name);
            assert_eq!(messages.len(), frames + 1, "{name}");
            for parts in &messages[..frames] {
                let Ok(Received::Frame { picture, port, message }) = read(parts, PICTURE_LIMIT) else {
                    panic!("{name}")
                };
                assert_eq!((size(&picture), port, message), (expected, None, expected_message.clone()), "{name}");
                assert_eq!(picture.jpeg, parts[1], "{name}");
            }
            assert_eq!(read(&messages[frames], PICTURE_LIMIT), Ok(Received::Ended { port: None }), "{name}");
        }
    }

    #[test]
    fn frames_that_are_not_compressed_say_what_to_do() {
        let error = read(&recorded("raw")[0], PICTURE_LIMIT).unwrap_err();
        assert_eq!(error, NetGearError::Uncompressed { dtype: "uint8".to_owned(), shape: "[6,8,3]".to_owned() });
        assert!(error.to_string().contains("jpeg_compression"));
    }

    #[test]
    fn what_is_not_netgear_is_refused_with_the_reason() {
        let header = r#"{"terminate_flag": false, "compression": {"dct": true}, "port": 5567}"#;
        let jpeg = Bytes::from(samples::picture(1));
        let parts = |texts: &[&str]| texts.iter().map(|text| Bytes::from((*text).to_owned())).collect::<Vec<_>>();
        let framed = |frame: Bytes| vec![Bytes::from(header), frame];
        let long = format!(r#"{{"terminate_flag": true, "message": "{}"}}"#, "x".repeat(HEADER_LIMIT));
        let table = [
            (parts(&[]), NetGearError::Parts(0)),
            (parts(&[header]), NetGearError::Parts(1)),
            (parts(&["", header, "x"]), NetGearError::Parts(3)),
            (parts(&["GET / HTTP/1.1"]), NetGearError::Header),
            (parts(&["{}", "x"]), NetGearError::Header),
            (parts(&[&long]), NetGearError::Header),
            (parts(&[&"[".repeat(60_000)]), NetGearError::Header),
            (framed(Bytes::from_static(b"pixels")), NetGearError::NoPicture),
            (framed(jpeg.clone()), NetGearError::TooLarge { length: jpeg.len(), limit: jpeg.len() - 1 }),
        ];
        for (parts, error) in table {
            assert_eq!(read(&parts, jpeg.len() - 1), Err(error), "{parts:?}");
        }
        let read = read(&framed(jpeg.clone()), jpeg.len());
        assert!(matches!(read, Ok(Received::Frame { port: Some(port), .. }) if port == "5567"));
    }
}
