//! What cameras do wrong and was mended, counted for whoever looks after them.

use std::fmt;

/// The order is that of the wire (`feed`): new ones come last, none is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fault {
    /// The answer's head names no boundary.
    NoBoundary,
    /// The boundary is announced with the dashes that come on top of it.
    DashesAnnounced,
    /// The line between two pictures lacks its dashes.
    DashesMissing,
    /// The line between two pictures is another than announced.
    OtherBoundary,
    /// No line stands between two pictures, or before the first.
    LineMissing,
    /// Something else stands before the first picture.
    Preamble,
    /// Lines end without a carriage return.
    BareLineFeeds,
    /// More empty lines than belong there.
    EmptyLines,
    /// No empty line stands between a head and its picture.
    HeadUnfinished,
    /// A head is too long to be read whole.
    HeadTooLong,
    LengthMissing,
    LengthUnreadable,
    LengthTooShort,
    LengthTooLong,
    /// Something stands between the end of a picture and the end of its part.
    Padding,
    /// Segments of the picture are not where its lengths say.
    Unsound,
    /// The picture has no end marker; it was passed on.
    NoEnd,
    /// The picture ends too early; it was left out.
    CutShort,
    /// The picture is larger than the limit; it was left out.
    TooLarge,
    /// A part is no JPEG; it was left out.
    NoPicture,
}

impl Fault {
    pub const ALL: [Self; 20] = [
        Self::NoBoundary,
        Self::DashesAnnounced,
        Self::DashesMissing,
        Self::OtherBoundary,
        Self::LineMissing,
        Self::Preamble,
        Self::BareLineFeeds,
        Self::EmptyLines,
        Self::HeadUnfinished,
        Self::HeadTooLong,
        Self::LengthMissing,
        Self::LengthUnreadable,
        Self::LengthTooShort,
        Self::LengthTooLong,
        Self::Padding,
        Self::Unsound,
        Self::NoEnd,
        Self::CutShort,
        Self::TooLarge,
        Self::NoPicture,
    ];

    /// A stable word for logs and the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoBoundary => "no-boundary",
            Self::DashesAnnounced => "dashes-announced",
            Self::DashesMissing => "dashes-missing",
            Self::OtherBoundary => "other-boundary",
            Self::LineMissing => "line-missing",
            Self::Preamble => "preamble",
            Self::BareLineFeeds => "bare-line-feeds",
            Self::EmptyLines => "empty-lines",
            Self::HeadUnfinished => "head-unfinished",
            Self::HeadTooLong => "head-too-long",
            Self::LengthMissing => "length-missing",
            Self::LengthUnreadable => "length-unreadable",
            Self::LengthTooShort => "length-too-short",
            Self::LengthTooLong => "length-too-long",
            Self::Padding => "padding",
            Self::Unsound => "unsound",
            Self::NoEnd => "no-end",
            Self::CutShort => "cut-short",
            Self::TooLarge => "too-large",
            Self::NoPicture => "no-picture",
        }
    }

    /// A picture was left out for it. Of the others a viewer sees nothing.
    pub fn costs_a_picture(self) -> bool {
        match self {
            Self::CutShort | Self::TooLarge => true,
            Self::NoBoundary
            | Self::DashesAnnounced
            | Self::DashesMissing
            | Self::OtherBoundary
            | Self::LineMissing
            | Self::Preamble
            | Self::BareLineFeeds
            | Self::EmptyLines
            | Self::HeadUnfinished
            | Self::HeadTooLong
            | Self::LengthMissing
            | Self::LengthUnreadable
            | Self::LengthTooShort
            | Self::LengthTooLong
            | Self::Padding
            | Self::Unsound
            | Self::NoEnd
            | Self::NoPicture => false,
        }
    }
}

/// How often each fault was met; pictures, parts or heads, whichever it is of.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    counts: [u32; Fault::ALL.len()],
}

impl Faults {
    pub fn count(&mut self, fault: Fault) {
        self.add(fault, 1);
    }

    pub fn add(&mut self, fault: Fault, times: u32) {
        let count = &mut self.counts[fault as usize];
        *count = count.saturating_add(times);
    }

    pub fn of(&self, fault: Fault) -> u32 {
        self.counts[fault as usize]
    }

    /// Those that were met.
    pub fn met(&self) -> impl Iterator<Item = (Fault, u32)> + '_ {
        Fault::ALL.into_iter().map(|fault| (fault, self.of(fault))).filter(|(_, count)| *count > 0)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `padding 3, unsound 1`, or nothing.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (fault, count) in self.met() {
            write!(f, "{separator}{} {count}", fault.word())?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_own_place_and_word() {
        for (place, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, place);
            assert_eq!(Fault::ALL.iter().filter(|other| other.word() == fault.word()).count(), 1);
        }
    }

    #[test]
    fn what_was_met_is_counted_and_never_wraps() {
        let mut faults = Faults::default();
        assert_eq!(faults.to_string(), "");
        faults.count(Fault::Padding);
        faults.count(Fault::Padding);
        faults.add(Fault::Unsound, u32::MAX);
        faults.count(Fault::Unsound);
        assert_eq!(faults.to_string(), format!("padding 2, unsound {}", u32::MAX));
    }
}
