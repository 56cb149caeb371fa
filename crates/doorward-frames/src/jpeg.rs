//! Where a JPEG ends and how large it is, by walking its segments (ITU-T T.81, annex B).
//!
//! To look for the end marker does not do: thumbnails in segments have one of their own. Cameras err, though; what is not
//! where it belongs is passed over up to the next marker, and the walk `is_sound` no longer.

use bytes::Bytes;
use memchr::memchr;

const MARK: u8 = 0xff;
const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
/// What every JPEG begins with: a start marker and the first byte of another marker.
pub(crate) const BEGINNING: [u8; 3] = [MARK, START, MARK];
/// Of a frame header: precision, then height and width in 16 bits each.
const FRAME_HEADER: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub width: u16,
    pub height: u16,
}

/// A JPEG and nothing else, from its start marker to its end marker if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub jpeg: Bytes,
    /// As its own header says.
    pub size: Option<Size>,
}

impl Picture {
    /// What a picture file, or a message, holds: without what follows the end marker. `None` if it is no JPEG with
    /// anything to be seen.
    pub fn read(bytes: &Bytes) -> Option<Self> {
        let rest = bytes.strip_prefix(&BEGINNING[..2])?;
        let mut walker = Walker::default();
        let (mut taken, mut end) = (0, None);
        while taken < rest.len() {
            let (step, found) = walker.walk(&rest[taken..]);
            taken += step;
            let is_end = found == Some(Found::End) && walker.has_scan();
            end = if is_end { Some(taken) } else { end };
            // Whoever strayed may have met a thumbnail's end.
            if is_end && walker.is_sound() {
                break;
            }
        }
        let jpeg = bytes.slice(..2 + end.unwrap_or(taken));
        walker.has_scan().then(|| Self { jpeg, size: walker.size() })
    }
}

/// What a walk came to, with its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    End,
    /// The start marker of another picture.
    Another,
}

/// A walk through a picture that arrives in pieces. It begins after the start marker.
#[derive(Debug, Clone)]
pub(crate) struct Walker {
    place: Place,
    size: Option<Size>,
    has_scan: bool,
    is_sound: bool,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// A marker belongs here.
    Before,
    /// After 0xff, where a marker belongs.
    Mark,
    Length {
        code: u8,
        high: Option<u8>,
    },
    Segment {
        code: u8,
        left: usize,
    },
    FrameHeader {
        read: [u8; FRAME_HEADER],
        count: usize,
        left: usize,
    },
    /// Picture data, or what is passed over up to the next marker.
    Data,
    /// After 0xff in it.
    DataMark,
}

impl Default for Walker {
    fn default() -> Self {
        Self { place: Place::Before, size: None, has_scan: false, is_sound: true }
    }
}

impl Walker {
    pub(crate) fn size(&self) -> Option<Size> {
        self.size
    }

    /// Something can be seen.
    pub(crate) fn has_scan(&self) -> bool {
        self.has_scan
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// How many bytes were walked, up to what was found. One may walk on behind it.
    pub(crate) fn walk(&mut self, bytes: &[u8]) -> (usize, Option<Found>) {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let (step, found) = self.step(rest);
            taken += step;
            if found.is_some() {
                return (taken, found);
            }
        }
        (taken, None)
    }

    /// At least one byte.
    fn step(&mut self, rest: &[u8]) -> (usize, Option<Found>) {
        match self.place {
            Place::Data => {
                let Some(at) = memchr(MARK, rest) else { return (rest.len(), None) };
                self.place = Place::DataMark;
                (at + 1, None)
            }
            Place::Segment { code, left } => {
                let step = left.min(rest.len());
                self.place = Self::after_segment(code, left - step);
                (step, None)
            }
            Place::FrameHeader { read, count, left } => {
                self.frame_header(read, count, left, rest[0]);
                (1, None)
            }
            Place::Length { code, high } => {
                self.length(code, high, rest[0]);
                (1, None)
            }
            Place::Before if rest[0] == MARK => {
                self.place = Place::Mark;
                (1, None)
            }
            Place::Before => {
                self.lose_the_way();
                (1, None)
            }
            Place::Mark => (1, self.marker(rest[0], false)),
            Place::DataMark => (1, self.marker(rest[0], true)),
        }
    }

    fn lose_the_way(&mut self) {
        self.is_sound = false;
        self.place = Place::Data;
    }

    fn marker(&mut self, code: u8, in_data: bool) -> Option<Found> {
        match code {
            // Fill bytes may precede any marker (B.1.1.2).
            MARK => return None,
            END | START => {
                self.place = Place::Data;
                return Some(if code == END { Found::End } else { Found::Another });
            }
            // A stuffed 0xff, restart markers.
            0x00 | 0xd0..=0xd7 if in_data => self.place = Place::Data,
            0x00 | 0x02..=0xbf => self.lose_the_way(),
            0x01 | 0xd0..=0xd7 => self.place = Place::Before,
            code => self.place = Place::Length { code, high: None },
        }
        None
    }

    fn length(&mut self, code: u8, high: Option<u8>, byte: u8) {
        let Some(high) = high else {
            self.place = Place::Length { code, high: Some(byte) };
            return;
        };
        // It counts itself.
        let Some(left) = usize::from(u16::from_be_bytes([high, byte])).checked_sub(2) else {
            return self.lose_the_way();
        };
        self.has_scan |= code == SCAN;
        let has_size = matches!(code, 0xc0..=0xcf) && !matches!(code, 0xc4 | 0xc8 | 0xcc);
        self.place = if has_size && left >= FRAME_HEADER {
            Place::FrameHeader { read: [0; FRAME_HEADER], count: 0, left }
        } else {
            Self::after_segment(code, left)
        };
    }

    fn frame_header(&mut self, mut read: [u8; FRAME_HEADER], count: usize, left: usize, byte: u8) {
        read[count] = byte;
        let (count, left) = (count + 1, left - 1);
        if count < FRAME_HEADER {
            self.place = Place::FrameHeader { read, count, left };
            return;
        }
        let [_, height @ .., width_high, width_low] = read;
        let size = Size { width: u16::from_be_bytes([width_high, width_low]), height: u16::from_be_bytes(height) };
        // A height of 0 is said later, by a marker that nobody uses.
        if size.width > 0 && size.height > 0 {
            self.size = self.size.or(Some(size));
        }
        self.place = Self::after_segment(0, left);
    }

    fn after_segment(code: u8, left: usize) -> Place {
        match (left, code) {
            (0, SCAN) => Place::Data,
            (0, _) => Place::Before,
            (left, code) => Place::Segment { code, left },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitter::samples;

    fn read(bytes: Vec<u8>) -> Option<(usize, Option<(u16, u16)>)> {
        Picture::read(&bytes.into()).map(|p| (p.jpeg.len(), p.size.map(|s| (s.width, s.height))))
    }

    #[test]
    fn a_picture_is_as_large_as_its_header_says_and_ends_at_its_own_end() {
        let plain = samples::picture(1);
        let length = plain.len();
        let size = Some((32, 24));
        assert_eq!(read(plain.clone()), Some((length, size)));
        assert_eq!(read([&plain[..], b"\0\0\0trailer\xff\xd9"].concat()), Some((length, size)));
        let with_thumbnail = samples::with_thumbnail(1);
        assert_eq!(read(with_thumbnail.clone()), Some((with_thumbnail.len(), size)));
    }

    #[test]
    fn what_is_no_picture_is_none() {
        let plain = samples::picture(1);
        for bytes in [&b""[..], b"\xff\xd8", b"\xff\xd8\xff\xd9", b"<html>", &plain[1..], &plain[..30]] {
            assert_eq!(read(bytes.to_vec()), None, "{bytes:02x?}");
        }
    }

    #[test]
    fn every_kind_of_frame_header_tells_the_size_and_tables_do_not() {
        for code in 0xc0..=0xcf_u8 {
            let is_table = matches!(code, 0xc4 | 0xc8 | 0xcc);
            let header = [&[0xff, 0xd8, 0xff, code, 0, 11, 8, 1, 2, 3, 4, 1, 1, 0x11, 0], &SCAN_AND_END[..]].concat();
            let size = (!is_table).then_some((0x0304, 0x0102));
            assert_eq!(read(header.clone()), Some((header.len(), size)), "{code:02x}");
        }
    }

    const SCAN_AND_END: [u8; 14] = [0xff, 0xda, 0, 4, 1, 2, 0x55, 0xff, 0, 0xff, 0xd3, 0x55, 0xff, 0xd9];

    #[test]
    fn segments_that_lie_are_passed_over_and_noticed() {
        let plain = samples::picture(1);
        let (start, rest) = plain.split_at(2);
        let comment = |said: u8, real: usize| [&[0xff, 0xfe, 0, said][..], &vec![0; real]].concat();
        let strayed_into = [&plain[..2], &[0xff, 0xe1, 0, 30], &samples::picture(9), &plain[2..]].concat();
        assert_eq!(read(strayed_into.clone()), Some((strayed_into.len(), Some((32, 24)))));
        let filled = vec![0xff, 0xff, 0xff, 0xfe, 0, 3, 7];
        for (inserted, is_sound) in
            [(comment(12, 10), true), (comment(12, 40), false), (comment(1, 10), false), (filled, true)]
        {
            let mut walker = Walker::default();
            let bytes = [&inserted, rest].concat();
            assert_eq!(walker.walk(&bytes), (bytes.len(), Some(Found::End)));
            assert_eq!(walker.is_sound(), is_sound);
            assert_eq!(walker.size(), Some(Size { width: 32, height: 24 }));
        }
        assert_eq!(start, &BEGINNING[..2]);
    }

    #[test]
    fn pieces_make_no_difference_to_a_walk() {
        let bytes = samples::with_thumbnail(2);
        let mut walker = Walker::default();
        let found: Vec<_> = bytes[2..].iter().map(|byte| walker.walk(&[*byte]).1).collect();
        assert_eq!(found.iter().position(Option::is_some), Some(bytes.len() - 3));
        assert_eq!(walker.size(), Some(Size { width: 32, height: 24 }));
    }
}
