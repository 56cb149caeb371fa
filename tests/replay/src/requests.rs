//! What visitors send over HTTP/1: what the guard lets on can be read in one way only.

use doorward_gateway::fuzzing::Framing;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `piece size │ bytes`: the pieces make no difference, and a plain reading of what was let on finds nothing doubtful.
pub fn framing(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let whole = let_on(bytes, bytes.len().max(1));
    let pieces = let_on(bytes, usize::from(*piece).max(1));
    if bytes.starts_with(PREFACE) {
        // Of frames, those that came with a bad one may be let on or not: the connection ends.
        assert_eq!(pieces.1, whole.1);
    } else {
        assert_eq!(pieces, whole);
        let (passed, refusal, requests) = whole;
        assert!(bytes.starts_with(&passed));
        assert_eq!(read(&passed), requests, "refused afterwards: {refusal:?}");
    }
}

/// Bytes let on, why no more, and how many requests they are. Nothing ever switches to another protocol.
fn let_on(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<&'static str>, u64) {
    let (mut framing, mut passed, mut held) = (Framing::default(), Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        held.extend_from_slice(piece);
        loop {
            framing.answered(false);
            match framing.scan(&held) {
                Ok(0) => break,
                Ok(length) => passed.extend(held.drain(..length)),
                Err(refusal) => return (passed, Some(refusal), framing.requests()),
            }
        }
    }
    (passed, None, framing.requests())
}

/// Reads requests one after the other, as simply as it can be done; how many there are. The last body may be cut off.
fn read(mut bytes: &[u8]) -> u64 {
    let mut requests = 0;
    while !bytes.is_empty() {
        let (head, rest) = head(bytes);
        requests += 1;
        let value = |wanted: &str| {
            let values = head.iter().skip(1).filter_map(|line| line.split_once(':'));
            let mut values = values.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, v)| v.trim());
            let value = values.next();
            assert_eq!(values.next(), None, "{wanted} came twice");
            value
        };
        let is_old = head[0].ends_with("HTTP/1.0");
        assert!(value("host").is_some() || is_old);
        bytes = match (value("content-length"), value("transfer-encoding")) {
            (None, None) => rest,
            (Some(length), None) => &rest[length.parse().unwrap_or(usize::MAX).min(rest.len())..],
            (None, Some(coding)) => {
                assert!(!is_old && coding.eq_ignore_ascii_case("chunked"), "{coding:?}");
                chunks(rest)
            }
            (Some(_), Some(_)) => panic!("a length and chunks"),
        };
    }
    requests
}

/// The lines of a head, and what follows it.
fn head(bytes: &[u8]) -> (Vec<String>, &[u8]) {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("only whole heads are let on");
    let text: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    let lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    for line in &lines {
        assert!(!line.chars().any(|c| c.is_ascii_control() && c != '\t'), "{line:?}");
        assert!(!line.starts_with([' ', '\t']), "{line:?}");
    }
    assert_eq!(lines[0].split(' ').count(), 3, "{:?}", lines[0]);
    (lines, &bytes[end + 4..])
}

/// What follows a body in chunks; nothing, if it is cut off.
fn chunks(mut bytes: &[u8]) -> &[u8] {
    loop {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return &[] };
        let line = str::from_utf8(&bytes[..end]).expect("a plain size");
        let size = line.split(';').next().unwrap_or_default();
        assert!(size.bytes().all(|byte| byte.is_ascii_hexdigit()), "{size:?}");
        let size = usize::from_str_radix(size, 16).expect("a size");
        bytes = &bytes[end + 2..];
        if size == 0 {
            if bytes.is_empty() {
                return bytes;
            }
            let trailers = if bytes.starts_with(b"\r\n") {
                0
            } else {
                bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("whole trailers") + 2
            };
            return &bytes[trailers + 2..];
        }
        let Some(rest) = bytes.get(size..) else { return &[] };
        if rest.len() < 2 {
            return &[];
        }
        assert!(rest.starts_with(b"\r\n"));
        bytes = &rest[2..];
    }
}
