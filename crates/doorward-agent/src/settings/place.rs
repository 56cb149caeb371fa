//! Where in the file something is, as people count.

use std::ops::Range;

/// Both from 1; the column in characters.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// The key that a place belongs to, read off its own line: the name before the last `=`, or the name right there.
pub(super) fn key(text: &str, at: &Range<usize>) -> Option<String> {
    let start = text.get(..at.start)?.rfind('\n').map_or(0, |n| n + 1);
    let before = &text[start..at.start];
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = match before.rfind('=') {
        Some(equals) => {
            let stem = before[..equals].trim_end();
            &stem[stem.rfind(|c| !is_name(c)).map_or(0, |n| n + 1)..]
        }
        None => {
            let rest = text[at.start..].trim_start_matches('[').trim_start();
            &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())]
        }
    };
    (!name.is_empty()).then(|| name.to_owned())
}
