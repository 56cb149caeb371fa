//! A body in chunks (RFC 9112, 7.1). Extensions are allowed, for that is the standard, but only short ones of plain
//! characters; hyper drops them, and the target never sees one.

use super::Refusal;
use super::head::{Lines, check_trailer};

const MAX_SIZE_DIGITS: u8 = 15;
const MAX_EXTENSION: u16 = 256;
const MAX_EXTENSIONS: u16 = 4096;

#[derive(Debug, Default)]
pub(super) struct Chunks {
    part: Part,
    /// Bytes of extensions so far.
    extensions: u16,
}

#[derive(Debug)]
enum Part {
    Size { size: u64, digits: u8 },
    Extension { size: u64, length: u16 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataEnd,
    DataLineFeed,
    Trailers(Lines),
}

impl Default for Part {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

/// How much may be let on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ChunkPart {
    More(usize),
    /// With this the body ends.
    Last(usize),
}

impl Chunks {
    pub(super) fn are_in_trailers(&self) -> bool {
        matches!(&self.part, Part::Trailers(_))
    }

    /// `bytes` is not empty. Nothing is let on of trailers that are not whole.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<ChunkPart, Refusal> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match &mut self.part {
                Part::Data { left } => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    *left -= length as u64;
                    at += length;
                    if *left == 0 {
                        self.part = Part::DataEnd;
                    }
                }
                // What is held must begin with the trailers.
                Part::Trailers(_) if at > 0 => return Ok(ChunkPart::More(at)),
                Part::Trailers(lines) => {
                    while let Some(line) = lines.next(bytes)? {
                        if line.is_empty() {
                            return Ok(ChunkPart::Last(lines.at));
                        }
                        check_trailer(line)?;
                    }
                    return Ok(ChunkPart::More(0));
                }
                Part::Size { .. }
                | Part::Extension { .. }
                | Part::SizeEnd { .. }
                | Part::DataEnd
                | Part::DataLineFeed => {
                    match self.byte(*byte) {
                        Ok(()) => at += 1,
                        // What stands before it passes; the same byte is refused again.
                        Err(_) if at > 0 => return Ok(ChunkPart::More(at)),
                        Err(refusal) => return Err(refusal),
                    }
                }
            }
        }
        Ok(ChunkPart::More(at))
    }

    fn byte(&mut self, byte: u8) -> Result<(), Refusal> {
        self.part = match (&self.part, byte) {
            (Part::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                if *digits == MAX_SIZE_DIGITS {
                    return Err(Refusal::ChunkSize);
                }
                Part::Size { size: size * 16 + hex(byte), digits: digits + 1 }
            }
            (Part::Size { digits: 0, .. }, _) => return Err(Refusal::ChunkSize),
            (Part::Size { size, .. }, b';') => Part::Extension { size: *size, length: 0 },
            (Part::Size { size, .. } | Part::Extension { size, .. }, b'\r') => Part::SizeEnd { size: *size },
            (Part::Size { .. }, _) => return Err(Refusal::ChunkSize),
            (Part::Extension { size, length }, b' '..=b'~') => {
                self.extensions += 1;
                if *length == MAX_EXTENSION || self.extensions > MAX_EXTENSIONS {
                    return Err(Refusal::ChunkExtension);
                }
                Part::Extension { size: *size, length: length + 1 }
            }
            (Part::Extension { .. }, _) => return Err(Refusal::ChunkExtension),
            (Part::SizeEnd { size: 0 }, b'\n') => Part::Trailers(Lines::default()),
            (Part::SizeEnd { size }, b'\n') => Part::Data { left: *size },
            (Part::SizeEnd { .. }, _) => return Err(Refusal::BareCarriageReturn),
            (Part::DataEnd, b'\r') => Part::DataLineFeed,
            (Part::DataLineFeed, b'\n') => Part::default(),
            (Part::DataEnd | Part::DataLineFeed, _) => return Err(Refusal::ChunkEnd),
            (Part::Data { .. } | Part::Trailers(_), _) => unreachable!("these are not looked at byte by byte"),
        };
        Ok(())
    }
}

fn hex(digit: u8) -> u64 {
    char::from(digit).to_digit(16).map_or(0, u64::from)
}
