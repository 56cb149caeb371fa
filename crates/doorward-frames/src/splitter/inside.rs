//! Inside a picture, up to whatever ends it first.

use super::boundary::Boundary;
use crate::faults::{Fault, Faults};
use crate::jpeg::{BEGINNING, Found, Picture, Walker};
use memchr::memchr;

/// Reserved at once for a picture whose length is announced: nobody makes us reserve more by a number.
const RESERVED: usize = 256 * 1024;

pub(super) enum Ended {
    /// By its own end marker. Of the announced length so much is left.
    Marker { owed: usize },
    /// By the line between parts, which follows the picture's `at` bytes.
    Line { at: usize, line: Vec<u8> },
    /// By the start of another picture, whose first two bytes are taken.
    AnotherBegins { at: usize },
}

#[derive(Debug)]
pub(super) struct Inside {
    /// Empty when it grew too large.
    picture: Vec<u8>,
    is_too_large: bool,
    /// All bytes of it so far.
    seen: usize,
    length: Option<usize>,
    walker: Walker,
    line: Line,
}

/// A line in the picture that may be the one between parts.
#[derive(Debug)]
enum Line {
    No,
    /// It begins behind so many bytes of the picture, without the end of the line before.
    Perhaps {
        at: usize,
        so_far: Vec<u8>,
    },
}

impl Inside {
    pub(super) fn begun(length: Option<usize>, limit: usize) -> Self {
        let mut inside = Self::begun_at_once();
        let reserved = length.unwrap_or_default().min(limit).min(RESERVED);
        inside.picture.reserve_exact(reserved.saturating_sub(inside.picture.len()));
        inside.length = length;
        inside.see(&BEGINNING[2..]);
        inside
    }

    /// Behind its first two bytes.
    pub(super) fn begun_at_once() -> Self {
        let start = &BEGINNING[..2];
        let walker = Walker::default();
        Self { picture: start.to_vec(), is_too_large: false, seen: start.len(), length: None, walker, line: Line::No }
    }

    pub(super) fn held(&self) -> usize {
        self.picture.capacity()
    }

    pub(super) fn take(&mut self, input: &mut &[u8], boundary: &Boundary, limit: usize) -> Option<Ended> {
        while !input.is_empty() {
            let piece = &input[..self.piece(input)];
            let (taken, found) = self.walker.walk(piece);
            let piece = &piece[..taken];
            *input = &input[taken..];
            self.store(piece, limit);
            if let Some(ended) = found.and_then(|found| self.found(found)) {
                return Some(ended);
            }
            if let Some(ended) = self.watch_lines(piece, boundary) {
                return Some(ended);
            }
        }
        None
    }

    /// What the walker shall see next: up to the end of a line, or of the announced length; within a line that may be
    /// the one between parts a byte at a time.
    fn piece(&self, input: &[u8]) -> usize {
        if matches!(self.line, Line::Perhaps { .. }) {
            return 1;
        }
        let line = memchr(b'\n', input).map_or(input.len(), |at| at + 1);
        match self.length.and_then(|length| length.checked_sub(self.seen)) {
            Some(left @ 1..) => line.min(left),
            Some(0) | None => line,
        }
    }

    fn see(&mut self, bytes: &[u8]) {
        self.walker.walk(bytes);
        self.store(bytes, usize::MAX);
    }

    fn store(&mut self, bytes: &[u8], limit: usize) {
        self.seen += bytes.len();
        if self.seen > limit {
            self.is_too_large = true;
            self.picture = Vec::new();
        } else {
            self.picture.extend_from_slice(bytes);
        }
    }

    fn found(&self, found: Found) -> Option<Ended> {
        let owed = self.length.unwrap_or_default().saturating_sub(self.seen);
        // Whoever strayed may have met a thumbnail's marker.
        if !self.walker.is_sound() && owed > 0 {
            return None;
        }
        Some(match found {
            Found::End => Ended::Marker { owed },
            Found::Another => {
                let at = self.seen - 2;
                Ended::AnotherBegins { at: self.length.map_or(at, |length| length.min(at)) }
            }
        })
    }

    /// `piece` is the end of what was seen.
    fn watch_lines(&mut self, piece: &[u8], boundary: &Boundary) -> Option<Ended> {
        let ends_line = piece.last() == Some(&b'\n');
        if let Line::Perhaps { at, so_far } = &mut self.line {
            if ends_line && boundary.is_line(so_far) {
                return Some(Ended::Line { at: *at, line: std::mem::take(so_far) });
            }
            so_far.extend_from_slice(piece);
            if !boundary.may_begin(so_far) {
                self.line = Line::No;
            }
        }
        if ends_line {
            let line_end = if self.picture.ends_with(b"\r\n") { 2 } else { 1 };
            self.line = Line::Perhaps { at: self.seen - line_end, so_far: Vec::new() };
        } else if self.length == Some(self.seen) && matches!(self.line, Line::No) {
            self.line = Line::Perhaps { at: self.seen, so_far: Vec::new() };
        }
        None
    }

    /// What was ended, if it is worth passing on.
    pub(super) fn picture(mut self, ended: &Ended, faults: &mut Faults) -> Option<Picture> {
        let has_end = match ended {
            Ended::Marker { .. } => true,
            Ended::Line { at, .. } | Ended::AnotherBegins { at } => {
                self.picture.truncate(*at);
                false
            }
        };
        if self.is_too_large {
            faults.count(Fault::TooLarge);
            return None;
        }
        let is_sound = self.walker.is_sound();
        let is_longer = has_end && self.length.is_some_and(|length| length < self.seen);
        let Some(picture) = self.read(has_end) else {
            faults.count(Fault::CutShort);
            return None;
        };
        let met = [(!has_end, Fault::NoEnd), (!is_sound, Fault::Unsound), (is_longer, Fault::LengthTooShort)];
        met.into_iter().filter(|(is_met, _)| *is_met).for_each(|(_, fault)| faults.count(fault));
        Some(picture)
    }

    /// `None` where nothing would be seen.
    fn read(mut self, has_end: bool) -> Option<Picture> {
        // What was reserved on trust, or by doubling, is not carried about with it.
        self.picture.shrink_to_fit();
        let jpeg = self.picture.into();
        if has_end && self.walker.is_sound() {
            return self.walker.has_scan().then(|| Picture { jpeg, size: self.walker.size() });
        }
        // What was walked may be more than what is left of it.
        Picture::read(&jpeg)
    }

    /// The stream has ended in it.
    pub(super) fn finish(self, faults: &mut Faults) -> Option<Picture> {
        if self.length == Some(self.seen) {
            let at = self.seen;
            return self.picture(&Ended::AnotherBegins { at }, faults);
        }
        faults.count(Fault::CutShort);
        None
    }
}
