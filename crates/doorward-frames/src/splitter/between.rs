//! Outside of pictures: lines, heads and whatever else cameras send there.

use super::boundary::Boundary;
use crate::faults::{Fault, Faults};
use crate::jpeg::BEGINNING;

/// What is kept of a line. Longer ones are no head of a picture.
const LINE: usize = 1024;
/// Lines of one head that are looked at.
const LINES: usize = 64;

pub(super) enum Step {
    All,
    /// Its first three bytes are taken.
    PictureBegins {
        length: Option<usize>,
    },
    /// A part that is no picture begins, and is so long.
    OtherPart {
        length: usize,
    },
}

#[derive(Debug, Default)]
pub(super) struct Between {
    line: Vec<u8>,
    /// Of the next picture's beginning.
    matched: usize,
    before: Before,
    head: Head,
    /// Bytes up to the line that was read last, and of the line that is being read.
    passed: usize,
    reading: usize,
    empty_lines: usize,
    has_text: bool,
}

/// What came before the line between two parts.
#[derive(Debug, Default, Clone, Copy)]
enum Before {
    #[default]
    Nothing,
    /// A picture, of whose announced length so much is left.
    Picture { owed: usize },
    /// A part that is no picture.
    Other,
    /// The line was seen.
    Line,
}

#[derive(Debug, Default)]
struct Head {
    lines: usize,
    length: Option<usize>,
    is_length_unreadable: bool,
    is_other: bool,
    is_finished: bool,
    has_bare_feeds: bool,
}

impl Between {
    pub(super) fn at_the_beginning() -> Self {
        Self::default()
    }

    pub(super) fn after_a_picture(owed: usize) -> Self {
        Self { before: Before::Picture { owed }, ..Self::default() }
    }

    pub(super) fn after_another_part() -> Self {
        Self { before: Before::Other, ..Self::default() }
    }

    /// The line ended a picture, and was seen by whoever read that.
    pub(super) fn after_a_line(line: &[u8], boundary: &Boundary, faults: &mut Faults) -> Self {
        boundary.judge(line, faults);
        Self { before: Before::Line, ..Self::default() }
    }

    pub(super) fn held(&self) -> usize {
        self.line.len()
    }

    pub(super) fn take(
        &mut self,
        input: &mut &[u8],
        boundary: &mut Boundary,
        longest: usize,
        faults: &mut Faults,
    ) -> Step {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.reading += 1;
            self.matched = match (self.matched, *byte) {
                (0, byte) if byte == BEGINNING[0] => 1,
                (1, byte) if byte == BEGINNING[1] => 2,
                (1, byte) if byte == BEGINNING[0] => 1,
                (2, byte) if byte == BEGINNING[2] => return self.picture(faults),
                _ => 0,
            };
            if self.line.len() < LINE {
                self.line.push(*byte);
            }
            if *byte == b'\n'
                && let Some(length) = self.end_line(boundary, longest, faults)
            {
                return Step::OtherPart { length };
            }
        }
        Step::All
    }

    fn picture(&mut self, faults: &mut Faults) -> Step {
        // Without the beginning of the picture.
        self.passed += self.reading.saturating_sub(BEGINNING.len());
        self.has_text |= self.reading > BEGINNING.len();
        if !matches!(self.before, Before::Line) {
            self.leave(faults);
            faults.count(Fault::LineMissing);
        }
        if self.head.lines > 0 && !self.head.is_finished {
            faults.count(Fault::HeadUnfinished);
        }
        self.judge_head(faults);
        Step::PictureBegins { length: self.head.length }
    }

    fn judge_head(&self, faults: &mut Faults) {
        let head = &self.head;
        let met = [
            (head.lines > LINES, Fault::HeadTooLong),
            (head.has_bare_feeds, Fault::BareLineFeeds),
            (head.is_length_unreadable, Fault::LengthUnreadable),
            (head.length.is_none() && !head.is_length_unreadable, Fault::LengthMissing),
        ];
        met.into_iter().filter(|(is_met, _)| *is_met).for_each(|(_, fault)| faults.count(fault));
    }

    /// The length of a part that is no picture, where its head ends.
    fn end_line(&mut self, boundary: &mut Boundary, longest: usize, faults: &mut Faults) -> Option<usize> {
        let length = std::mem::take(&mut self.reading);
        let mut line = std::mem::take(&mut self.line);
        let is_whole = line.len() == length;
        let has_feed = line.pop_if(|byte| *byte == b'\n').is_some();
        let has_return = line.pop_if(|byte| *byte == b'\r').is_some();
        let is_text = is_whole && has_feed && line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
        if line.is_empty() {
            return self.empty_line(length, longest, faults);
        }
        if is_text && boundary.accept(&line, faults) {
            self.leave(faults);
            *self = Self { before: Before::Line, ..Self::default() };
            self.head.has_bare_feeds = !has_return;
            return None;
        }
        self.passed += length;
        if is_text && let Some((name, value)) = header(&line) {
            self.head.has_bare_feeds |= !has_return;
            self.head.read(name, value);
        } else {
            self.has_text = true;
        }
        None
    }

    fn empty_line(&mut self, length: usize, longest: usize, faults: &mut Faults) -> Option<usize> {
        self.passed += length;
        let is_end = self.head.lines > 0 && !self.head.is_finished;
        if !is_end {
            self.empty_lines += 1;
            return None;
        }
        self.head.is_finished = true;
        if !self.head.is_other {
            return None;
        }
        if !matches!(self.before, Before::Line) {
            self.leave(faults);
        }
        faults.count(Fault::NoPicture);
        let length = self.head.length.filter(|length| (1..=longest).contains(length));
        *self = Self { before: Before::Other, ..Self::default() };
        length
    }

    /// Judges what stands between the last picture and the line, or what is in its place.
    fn leave(&self, faults: &mut Faults) {
        match self.before {
            Before::Nothing if self.has_text => faults.count(Fault::Preamble),
            Before::Picture { owed } if owed > self.passed => faults.count(Fault::LengthTooLong),
            Before::Picture { .. } if self.has_text => faults.count(Fault::Padding),
            Before::Nothing | Before::Picture { .. } | Before::Other | Before::Line => {}
        }
        // One ends the picture's last line.
        if self.empty_lines > 1 {
            faults.count(Fault::EmptyLines);
        }
    }
}

impl Head {
    fn read(&mut self, name: &[u8], value: &[u8]) {
        self.lines += 1;
        if self.lines > LINES {
            return;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            self.length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()).filter(|n| *n > 0);
            self.is_length_unreadable = self.length.is_none();
        } else if name.eq_ignore_ascii_case(b"content-type") {
            self.is_other = !may_be_jpeg(value);
        }
    }
}

fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
    let is_name = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    is_name.then_some((name, value))
}

fn may_be_jpeg(content_type: &[u8]) -> bool {
    let media = content_type.split(|byte| b"; ".contains(byte)).next().unwrap_or_default();
    let known: [&[u8]; 5] = [b"image/jpeg", b"image/jpg", b"image/pjpeg", b"application/octet-stream", b""];
    known.iter().any(|name| media.eq_ignore_ascii_case(name))
}
