//! Frames as `multipart/x-mixed-replace`, which browsers show in an `<img>`.
//!
//! Browsers look for the boundary and do not count bytes: Blink shows a picture only when the line after it has come, so
//! that line follows each picture at once; Safari shows the picture before the newest, so the first comes twice.
//!
//! A device may put anything into its pictures. The boundary is random for each answer: whoever could guess it could end
//! a picture and send a page of the gateway's own origin.

use crate::slot::Frame;
use bytes::Bytes;
use std::fmt::Write as _;
use std::time::Duration;

const TYPE: &str = "multipart/x-mixed-replace;boundary=";

/// One answer's boundary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    pub fn from_random(random: [u8; 16]) -> Self {
        let digits = random.iter().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        });
        Self(digits)
    }
}

/// What keeps caches, proxies and browsers from holding frames back, or from taking them for something else. Without
/// `Content-Type`.
pub const HEADERS: [(&str, &str); 5] = [
    ("cache-control", "no-store, no-transform"),
    ("x-accel-buffering", "no"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; sandbox"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// The parts of one answer.
#[derive(Debug)]
pub struct Parts {
    boundary: Boundary,
    has_begun: bool,
}

/// What a frame becomes. The picture is shared by all viewers.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub head: Bytes,
    pub picture: Bytes,
    /// The boundary of the next part.
    pub after: Bytes,
}

impl Part {
    pub fn pieces(self) -> [Bytes; 3] {
        [self.head, self.picture, self.after]
    }

    pub fn bytes(&self) -> usize {
        self.head.len() + self.picture.len() + self.after.len()
    }
}

impl Parts {
    pub fn new(boundary: Boundary) -> Self {
        Self { boundary, has_begun: false }
    }

    pub fn content_type(&self) -> String {
        format!("{TYPE}{}", self.boundary.0)
    }

    /// Once for each frame, twice the first time. `captured` is by the wall clock, since 1970.
    pub fn write(&mut self, frame: &Frame, captured: Duration) -> (Part, Option<Part>) {
        let line = &self.boundary.0;
        let jpeg = &frame.picture.jpeg;
        let head = format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {}.{:06}\r\nX-Frame: {}\r\n\r\n",
            jpeg.len(),
            captured.as_secs(),
            captured.subsec_micros(),
            frame.number,
        );
        let after = Bytes::from(format!("\r\n--{line}\r\n"));
        let part = |head: String| Part { head: head.into(), picture: jpeg.clone(), after: after.clone() };
        if std::mem::replace(&mut self.has_begun, true) {
            return (part(head), None);
        }
        (part(format!("--{line}\r\n{head}")), Some(part(head)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::Picture;
    use crate::splitter::{Limits, Splitter, samples};
    use std::time::Instant;

    fn frame(number: u8) -> Frame {
        let picture = Picture::read(&samples::picture(number).into()).unwrap();
        Frame { number: number.into(), captured: Instant::now(), picture }
    }

    fn text(part: &Part) -> String {
        format!("{}…{}", String::from_utf8_lossy(&part.head), String::from_utf8_lossy(&part.after))
    }

    #[test]
    fn the_first_frame_comes_twice_and_each_is_followed_by_the_next_line() {
        let mut parts = Parts::new(Boundary::from_random([0xa5; 16]));
        let line = "a5".repeat(16);
        assert_eq!(parts.content_type(), format!("multipart/x-mixed-replace;boundary={line}"));
        let head = |number, stamp| {
            format!(
                "Content-Type: image/jpeg\r\nContent-Length: 519\r\nX-Timestamp: {stamp}\r\nX-Frame: {number}\r\n\r\n…\r\n--{line}\r\n"
            )
        };
        let (first, again) = parts.write(&frame(7), Duration::from_micros(1_700_000_000_000_042));
        assert_eq!(text(&first), format!("--{line}\r\n{}", head(7, "1700000000.000042")));
        assert_eq!(again.map(|part| text(&part)), Some(head(7, "1700000000.000042")));
        let (second, again) = parts.write(&frame(8), Duration::from_secs(1_700_000_001));
        assert_eq!((text(&second), again), (head(8, "1700000001.000000"), None));
    }

    #[test]
    fn what_is_written_is_read_without_a_fault() {
        let mut parts = Parts::new(Boundary::from_random(*b"0123456789abcdef"));
        let mut splitter = Splitter::new(Some(&parts.content_type()), Limits::default());
        let mut read = Vec::new();
        for number in 1..=3 {
            let (part, again) = parts.write(&frame(number), Duration::from_secs(1));
            let bytes = std::iter::once(part).chain(again).flat_map(Part::pieces).collect::<Vec<_>>().concat();
            let mut input = &bytes[..];
            while !input.is_empty() {
                read.extend(splitter.next(&mut input).unwrap());
            }
        }
        assert_eq!(splitter.finish(), (None, Default::default()));
        assert_eq!(read, [1, 1, 2, 3].map(|number| frame(number).picture));
    }

    #[test]
    fn the_picture_is_shared_and_counted() {
        let frame = frame(1);
        let (part, _) = Parts::new(Boundary::from_random([0; 16])).write(&frame, Duration::ZERO);
        assert_eq!(part.picture.as_ptr(), frame.picture.jpeg.as_ptr());
        let bytes = part.bytes();
        assert_eq!(part.pieces().concat().len(), bytes);
    }
}
