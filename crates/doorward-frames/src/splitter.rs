//! Cuts a camera's endless answer (`multipart/x-mixed-replace`, and what passes for it) into pictures.
//!
//! Every camera errs in its own way, so three witnesses are heard, none of which has to be there: a sound walk through the
//! picture's segments ends it at once; where the walk strays the announced length outweighs it; and the line between
//! parts, in whatever spelling, ends what has no end of its own. Between pictures everything is text up to the next
//! picture's first bytes, which occur in no text. What had to be mended is counted (`Faults`).
//!
//! Where the stream is cut into pieces makes no difference: all that is decided rests on bytes that were seen.

mod between;
mod boundary;
mod inside;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use crate::PICTURE_LIMIT;
use crate::faults::{Fault, Faults};
use crate::jpeg::Picture;
use between::{Between, Step};
use boundary::Boundary;
use inside::{Ended, Inside};
use thiserror::Error;

/// What a camera's answer holds, by its `Content-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pictures without end, or what may be: a splitter finds out.
    Stream,
    /// One picture.
    Picture,
    /// A page, for example: somebody has to sign in, or the path is wrong.
    Other,
}

impl Kind {
    pub fn of(content_type: Option<&str>) -> Self {
        let media = content_type.unwrap_or_default().split([';', ',', ':']).next().unwrap_or_default().trim();
        let is = |names: &[&str]| names.iter().any(|name| media.eq_ignore_ascii_case(name));
        let is_multipart = media.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
        if is_multipart || is(&["", "application/octet-stream", "video/mjpeg", "video/x-mjpeg", "video/x-motion-jpeg"])
        {
            Self::Stream
        } else if is(&["image/jpeg", "image/jpg", "image/pjpeg"]) {
            Self::Picture
        } else {
            Self::Other
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a picture. Larger ones are left out.
    pub picture: usize,
    /// Bytes without a whole picture, after which the stream is given up.
    pub fruitless: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { picture: PICTURE_LIMIT, fruitless: 4 * PICTURE_LIMIT }
    }
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum SplitError {
    #[error("no picture in {bytes} bytes: this is no camera's stream")]
    Fruitless { bytes: usize },
}

/// Holds one picture at most, and a line of text.
#[derive(Debug)]
pub struct Splitter {
    limits: Limits,
    boundary: Boundary,
    place: Place,
    faults: Faults,
    /// Since the last whole picture.
    fruitless: usize,
}

#[derive(Debug)]
enum Place {
    Between(Between),
    Inside(Inside),
    /// In a part that is no picture.
    Over {
        left: usize,
    },
}

impl Splitter {
    /// `content_type` is that of the whole answer.
    pub fn new(content_type: Option<&str>, limits: Limits) -> Self {
        let boundary = Boundary::announced(content_type.unwrap_or_default());
        let mut faults = Faults::default();
        if !boundary.is_known() {
            faults.count(Fault::NoBoundary);
        }
        Self { limits, boundary, place: Place::Between(Between::at_the_beginning()), faults, fruitless: 0 }
    }

    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        match &self.place {
            Place::Between(between) => between.held(),
            Place::Inside(inside) => inside.held(),
            Place::Over { .. } => 0,
        }
    }

    /// The next picture. Takes bytes off `input` up to the end of that picture, or all of them.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Picture>, SplitError> {
        while !input.is_empty() {
            let before = input.len();
            let picture = self.step(input);
            self.fruitless += before - input.len();
            if picture.is_some() {
                self.fruitless = 0;
                return Ok(picture);
            }
            if self.fruitless > self.limits.fruitless {
                return Err(SplitError::Fruitless { bytes: self.limits.fruitless });
            }
        }
        Ok(None)
    }

    /// The stream has ended: a last picture without an end marker, if its length says that it is whole.
    pub fn finish(mut self) -> (Option<Picture>, Faults) {
        let picture = match self.place {
            Place::Inside(inside) => inside.finish(&mut self.faults),
            Place::Between(_) | Place::Over { .. } => None,
        };
        (picture, self.faults)
    }

    fn step(&mut self, input: &mut &[u8]) -> Option<Picture> {
        // What may still come before it is given up.
        let allowed = (self.limits.fruitless - self.fruitless.min(self.limits.fruitless)).saturating_add(1);
        let mut piece = &input[..allowed.min(input.len())];
        let offered = piece.len();
        let picture = match &mut self.place {
            Place::Between(between) => {
                match between.take(&mut piece, &mut self.boundary, self.limits.picture, &mut self.faults) {
                    Step::All => {}
                    Step::PictureBegins { length } => {
                        self.place = Place::Inside(Inside::begun(length, self.limits.picture));
                    }
                    Step::OtherPart { length } => self.place = Place::Over { left: length },
                }
                None
            }
            Place::Inside(inside) => {
                let ended = inside.take(&mut piece, &self.boundary, self.limits.picture);
                ended.and_then(|ended| self.end(&ended))
            }
            Place::Over { left } => {
                let step = piece.len().min(*left);
                piece = &piece[step..];
                *left -= step;
                if *left == 0 {
                    self.place = Place::Between(Between::after_another_part());
                }
                None
            }
        };
        *input = &input[offered - piece.len()..];
        picture
    }

    fn end(&mut self, ended: &Ended) -> Option<Picture> {
        let next = match ended {
            Ended::Marker { owed } => Place::Between(Between::after_a_picture(*owed)),
            Ended::Line { line, .. } => Place::Between(Between::after_a_line(line, &self.boundary, &mut self.faults)),
            Ended::AnotherBegins { .. } => Place::Inside(Inside::begun_at_once()),
        };
        let Place::Inside(inside) = std::mem::replace(&mut self.place, next) else { return None };
        if matches!(ended, Ended::AnotherBegins { .. }) {
            self.faults.count(Fault::LineMissing);
        }
        inside.picture(ended, &mut self.faults)
    }
}
