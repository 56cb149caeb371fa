//! The line between two parts, as announced and as it really is.

use crate::faults::{Fault, Faults};

/// More is no boundary (RFC 2046, 5.1.1: 70).
const LONGEST: usize = 200;
/// So many characters do not occur by chance inside a picture, even without dashes before them.
const TELLING: usize = 8;

/// Without dashes at either end, which cameras add and forget.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    core: Vec<u8>,
    announced_dashes: usize,
    was_announced: bool,
}

impl Boundary {
    pub(super) fn announced(content_type: &str) -> Self {
        let Some(value) = parameter(content_type) else { return Self::default() };
        let core = core(value.as_bytes());
        let announced_dashes = dashes(value.as_bytes());
        Self { was_announced: !core.is_empty(), core: core.to_vec(), announced_dashes }
    }

    pub(super) fn is_known(&self) -> bool {
        !self.core.is_empty()
    }

    /// Whether a line (without its end) outside of pictures is the one between parts, and what is wrong with it.
    pub(super) fn accept(&mut self, line: &[u8], faults: &mut Faults) -> bool {
        let line = line.trim_ascii_end();
        let core = core(line);
        if self.is_known() && core == self.core {
            self.judge_dashes(line, faults);
            return true;
        }
        if dashes(line) < 2 || line.len() > LONGEST || !core.iter().all(may_stand) {
            return false;
        }
        if self.was_announced && !core.is_empty() {
            faults.count(Fault::OtherBoundary);
        }
        if !core.is_empty() {
            *self = Self { core: core.to_vec(), announced_dashes: 0, was_announced: false };
        }
        true
    }

    /// What is wrong with a line that was found inside a picture.
    pub(super) fn judge(&self, line: &[u8], faults: &mut Faults) {
        self.judge_dashes(line.trim_ascii_end(), faults);
    }

    fn judge_dashes(&self, line: &[u8], faults: &mut Faults) {
        match dashes(line) {
            written if written == self.announced_dashes + 2 => {}
            written if written >= 2 && written == self.announced_dashes => faults.count(Fault::DashesAnnounced),
            0 | 1 => faults.count(Fault::DashesMissing),
            _ if self.was_announced => faults.count(Fault::OtherBoundary),
            _ => {}
        }
    }

    /// Whether these first bytes of a line inside a picture may become the line between parts.
    pub(super) fn may_begin(&self, line: &[u8]) -> bool {
        let dashes = dashes(line);
        let rest = &line[dashes..];
        if !self.is_known() || line.len() > LONGEST {
            return false;
        }
        let Some(after) = rest.strip_prefix(self.core.as_slice()) else {
            return self.core.starts_with(rest) && (rest.is_empty() || self.tells(dashes));
        };
        self.tells(dashes) && after.iter().all(|byte| b"- \t\r".contains(byte))
    }

    fn tells(&self, dashes: usize) -> bool {
        dashes >= 2 || self.core.len() >= TELLING
    }

    /// Whether a whole line inside a picture is it.
    pub(super) fn is_line(&self, line: &[u8]) -> bool {
        self.may_begin(line) && core(line.trim_ascii_end()) == self.core
    }
}

/// The value of `boundary`, whatever stands before it and with or without quotes.
fn parameter(content_type: &str) -> Option<&str> {
    let lower = content_type.to_ascii_lowercase();
    let at = lower.find("boundary")? + "boundary".len();
    let value = content_type[at..].trim_start().strip_prefix('=')?.trim_start();
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split([';', ',', ' ', '\t', '"']).next(),
    };
    value.filter(|value| value.len() <= LONGEST)
}

/// RFC 2046, 5.1.1.
fn may_stand(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte)
}

fn dashes(line: &[u8]) -> usize {
    line.iter().take_while(|byte| **byte == b'-').count()
}

fn core(line: &[u8]) -> &[u8] {
    let line = &line[dashes(line)..];
    let end = line.iter().rposition(|byte| *byte != b'-').map_or(0, |last| last + 1);
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_found_however_it_is_written() {
        let table = [
            ("multipart/x-mixed-replace;boundary=frame", Some("frame")),
            ("multipart/x-mixed-replace; boundary=frame; charset=x", Some("frame")),
            ("multipart/x-mixed-replace; Boundary = \"a b\"", Some("a b")),
            ("multipart/x-mixed-replace: boundary=frame", Some("frame")),
            ("multipart/x-mixed-replace; boundary=--myboundary", Some("--myboundary")),
            ("multipart/x-mixed-replace; boundary=", Some("")),
            ("multipart/x-mixed-replace; boundary", None),
            ("multipart/x-mixed-replace", None),
            ("", None),
        ];
        for (content_type, value) in table {
            assert_eq!(parameter(content_type), value, "{content_type}");
        }
        assert!(!Boundary::announced("multipart/x-mixed-replace; boundary=--").is_known());
    }

    #[test]
    fn lines_are_accepted_in_every_spelling_that_cameras_have() {
        let table: &[(&str, &str, Option<&str>)] = &[
            ("frame", "--frame", Some("")),
            ("frame", "--frame--", Some("")),
            ("frame", "--frame  ", Some("")),
            ("frame", "frame", Some("dashes-missing 1")),
            ("frame", "--other", Some("other-boundary 1")),
            ("frame", "frames", None),
            ("--frame", "----frame", Some("")),
            ("--frame", "--frame", Some("dashes-announced 1")),
            ("--frame--", "--frame--", Some("dashes-announced 1")),
            ("--frame", "frame", Some("dashes-missing 1")),
            ("", "--learned", Some("")),
            ("", "--", Some("")),
            ("", "-->", None),
            ("frame", "--<b>", None),
            ("", "Content-Type: image/jpeg", None),
        ];
        for (announced, line, expected) in table {
            let mut faults = Faults::default();
            let mut boundary = Boundary::announced(&format!("multipart/x-mixed-replace;boundary={announced}"));
            let is_accepted = boundary.accept(line.as_bytes(), &mut faults);
            assert_eq!(is_accepted.then(|| faults.to_string()).as_deref(), *expected, "{announced:?} {line:?}");
        }
    }

    #[test]
    fn inside_a_picture_short_names_need_their_dashes() {
        let boundary = |name: &str| Boundary::announced(&format!("multipart/mixed;boundary={name}"));
        let table = [
            ("b", "--b\r", true),
            ("b", "b\r", false),
            ("b", "--b--\r", true),
            ("b", "--bb", false),
            ("boundarydonotcross", "boundarydonotcross\r", true),
            ("boundarydonotcross", "--boundarydonotcros", false),
            ("", "--anything", false),
        ];
        for (name, line, is_line) in table {
            assert_eq!(boundary(name).is_line(line.as_bytes()), is_line, "{name:?} {line:?}");
        }
        let boundary = boundary("frame");
        assert!((0..=9).all(|length| boundary.may_begin(&b"--frame\r\n"[..length.min(8)])));
        assert!(!boundary.may_begin(b"\r") && !boundary.may_begin(b"fr"));
    }
}
