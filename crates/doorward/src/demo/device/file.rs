//! A file of known bytes with range requests (RFC 9110, 14): one range at a time; several at once get the whole.

use http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use std::ops::Range;

pub(super) const LENGTH: usize = 1 << 20;
const TAG: HeaderValue = HeaderValue::from_static("\"doorward-sample-1\"");

/// Byte `at` of the file; no two of its 64 KiB stretches are alike.
pub(super) fn byte(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(37)) as u8
}

/// The answer to a request for the file: 200, 206 or 416.
pub(super) fn answer(method: &Method, request: &HeaderMap) -> Response<Vec<u8>> {
    let is_same_file = request.get(IF_RANGE).is_none_or(|tag| tag == TAG);
    let asked = request.get(RANGE).filter(|_| *method == Method::GET && is_same_file);
    let (status, bytes) = match asked.map_or(Asked::Whole, Asked::parse) {
        Asked::Whole => (StatusCode::OK, 0..LENGTH),
        Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Asked::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
    };
    let mut response = Response::new(bytes.clone().map(byte).collect());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ETAG, TAG);
    if let Some(range) = content_range(status, &bytes) {
        headers.insert(CONTENT_RANGE, range);
    }
    response
}

fn content_range(status: StatusCode, bytes: &Range<usize>) -> Option<HeaderValue> {
    let text = match status {
        StatusCode::PARTIAL_CONTENT => format!("bytes {}-{}/{LENGTH}", bytes.start, bytes.end - 1),
        StatusCode::RANGE_NOT_SATISFIABLE => format!("bytes */{LENGTH}"),
        _ => return None,
    };
    Some(HeaderValue::from_str(&text).expect("digits make a header"))
}

#[derive(Debug, PartialEq)]
enum Asked {
    Whole,
    Part(Range<usize>),
    Nothing,
}

impl Asked {
    /// What cannot be understood is as if it had not been said.
    fn parse(range: &HeaderValue) -> Self {
        let Some(range) = range.to_str().ok().and_then(|text| text.strip_prefix("bytes=")) else { return Self::Whole };
        let Some((first, last)) = range.split_once('-') else { return Self::Whole };
        let part = match (number(first), number(last)) {
            (Some(first), Some(last)) if first > last => return Self::Whole,
            (Some(first), Some(last)) => first..last.saturating_add(1).min(LENGTH),
            (Some(first), None) if last.is_empty() => first..LENGTH,
            (None, Some(last)) if first.is_empty() => LENGTH.saturating_sub(last)..LENGTH,
            _ => return Self::Whole,
        };
        if part.is_empty() { Self::Nothing } else { Self::Part(part) }
    }
}

fn number(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_understood_or_ignored() {
        let cases = [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=5-9", Asked::Part(5..10)),
            ("bytes=1048575-", Asked::Part(LENGTH - 1..LENGTH)),
            ("bytes=10-99999999", Asked::Part(10..LENGTH)),
            ("bytes=-7", Asked::Part(LENGTH - 7..LENGTH)),
            ("bytes=-99999999", Asked::Part(0..LENGTH)),
            ("bytes=1048576-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=9-5", Asked::Whole),
            ("bytes=0-1,4-5", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=+1-5", Asked::Whole),
            ("lines=1-2", Asked::Whole),
        ];
        for (text, asked) in cases {
            assert_eq!(Asked::parse(&HeaderValue::from_static(text)), asked, "{text}");
        }
    }
}
