//! A request's head, line by line (RFC 9112, 2 to 6). Trailers are lines of the same kind.

use super::{MAX_HEAD, MAX_HEADERS, Refusal, Then};

const MAX_METHOD: usize = 32;

/// How long a message's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Counted(u64),
    Chunked,
}

/// A head of which some lines have been seen. An empty line may stand in front (RFC 9112, 2.2).
#[derive(Debug, Default)]
pub(super) struct Head {
    lines: Lines,
    line: usize,
    is_old: bool,
    hosts: usize,
    length: Option<u64>,
    is_chunked: bool,
    has_upgrade: bool,
    wants_upgrade: bool,
}

impl Head {
    pub(super) fn has_begun(&self) -> bool {
        self.lines.seen > 0
    }

    /// The length of the head, once it is whole.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        while let Some(line) = self.lines.next(bytes)? {
            match (self.line, line) {
                (0, []) if self.lines.at == 2 => continue,
                (0, line) => self.request_line(line)?,
                (_, []) => return Ok(Some(self.lines.at)),
                (_, line) => self.header(line)?,
            }
            self.line += 1;
            if self.line > MAX_HEADERS + 1 {
                return Err(Refusal::TooManyHeaders);
            }
        }
        Ok(None)
    }

    /// What a whole head says about the body, and about what comes after that.
    pub(super) fn finish(&self) -> Result<(Body, Then), Refusal> {
        if self.hosts == 0 && !self.is_old {
            return Err(Refusal::NoHost);
        }
        let body = match (self.length, self.is_chunked) {
            (Some(_), true) => return Err(Refusal::LengthAndCoding),
            (None, true) if self.is_old => return Err(Refusal::CodingInOldVersion),
            (None, true) => Body::Chunked,
            (length, false) => Body::Counted(length.unwrap_or(0)),
        };
        let asks = self.has_upgrade && self.wants_upgrade && !self.is_old;
        Ok((body, if asks { Then::Asked } else { Then::Next }))
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Refusal::RequestLine);
        };
        if method.is_empty() || method.len() > MAX_METHOD || !method.iter().all(|byte| is_token(*byte)) {
            return Err(Refusal::RequestLine);
        }
        self.is_old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            version if version.starts_with(b"HTTP/") => return Err(Refusal::Version),
            _ => return Err(Refusal::RequestLine),
        };
        // CONNECT has a body of another kind, and nothing here is to be reached by it.
        if method == b"CONNECT" {
            return Err(Refusal::Method);
        }
        check_target(method, target)
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let (name, value) = split(line)?;
        match Framed::of(name) {
            Some(Framed::Host) => {
                self.hosts += 1;
                if self.hosts > 1 {
                    return Err(Refusal::SeveralHosts);
                }
            }
            Some(Framed::Length) => {
                let length = number(value)?;
                if self.length.replace(length).is_some() {
                    return Err(Refusal::SeveralLengths);
                }
            }
            Some(Framed::Coding) => {
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::Coding);
                }
                self.is_chunked = true;
            }
            Some(Framed::Expectation) if !value.eq_ignore_ascii_case(b"100-continue") => {
                return Err(Refusal::Expectation);
            }
            Some(Framed::Expectation) | None => {}
            Some(Framed::Connection) => self.wants_upgrade |= lists_upgrade(value),
            Some(Framed::Upgrade) => self.has_upgrade = true,
            // What a gateway interface would read as one of the above (RFC 3875, 4.1.18).
            Some(Framed::Lookalike) => return Err(Refusal::HeaderName),
        }
        Ok(())
    }
}

/// The headers that tell where a message ends and where it goes.
#[derive(Clone, Copy)]
enum Framed {
    Host,
    Length,
    Coding,
    Expectation,
    Connection,
    Upgrade,
    Lookalike,
}

impl Framed {
    /// By length first: most headers are none of these.
    fn of(name: &[u8]) -> Option<Self> {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is(b"host") => Some(Self::Host),
            6 if is(b"expect") => Some(Self::Expectation),
            7 if is(b"upgrade") => Some(Self::Upgrade),
            10 if is(b"connection") => Some(Self::Connection),
            14 if is(b"content-length") => Some(Self::Length),
            14 if is(b"content_length") => Some(Self::Lookalike),
            17 if is(b"transfer-encoding") => Some(Self::Coding),
            17 if is(b"transfer_encoding") => Some(Self::Lookalike),
            _ => None,
        }
    }
}

/// A trailer must not say what only a head may (RFC 9110, 6.5.1).
pub(super) fn check_trailer(line: &[u8]) -> Result<(), Refusal> {
    let (name, _) = split(line)?;
    match Framed::of(name) {
        None => Ok(()),
        Some(_) => Err(Refusal::Trailer),
    }
}

/// Absolute, it must name the host that `Host` names; `request.rs` compares them.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    // A fragment is never sent (RFC 9110, 7.1), and would be dropped on the way.
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(Refusal::Target);
    }
    let is_absolute = ["http://", "https://"]
        .iter()
        .any(|scheme| target.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme.as_bytes())));
    let is_asterisk = method == b"OPTIONS" && target == b"*";
    if target.starts_with(b"/") || is_absolute || is_asterisk { Ok(()) } else { Err(Refusal::Target) }
}

/// Name and value of a header line, without the white space around the value.
fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::FoldedLine);
    }
    let colon = line.iter().position(|byte| !is_token(*byte)).ok_or(Refusal::HeaderName)?;
    if colon == 0 || line[colon] != b':' {
        return Err(Refusal::HeaderName);
    }
    Ok((&line[..colon], line[colon + 1..].trim_ascii()))
}

/// `1*DIGIT`, and no list of them (RFC 9110, 8.6).
fn number(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Length);
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn lists_upgrade(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    table
};

/// Finds lines that end in CRLF and hold no other control character than tabs, each byte looked at once.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Where the next line begins.
    pub(super) at: usize,
    seen: usize,
}

impl Lines {
    /// The next line without its end, if it is here whole. `bytes` are those that were given before, and more.
    pub(super) fn next<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Refusal> {
        let found = bytes[self.seen..].iter().position(|byte| is_control(*byte)).map(|at| self.seen + at);
        let Some(at) = found else {
            self.seen = bytes.len();
            return if self.seen > MAX_HEAD { Err(Refusal::HeadTooLarge) } else { Ok(None) };
        };
        match bytes[at..] {
            [b'\r', b'\n', ..] => {}
            [b'\r'] => {
                self.seen = at;
                return if at >= MAX_HEAD { Err(Refusal::HeadTooLarge) } else { Ok(None) };
            }
            [b'\r', ..] => return Err(Refusal::BareCarriageReturn),
            [b'\n', ..] => return Err(Refusal::BareLineFeed),
            _ => return Err(Refusal::ControlCharacter),
        }
        let line = &bytes[self.at..at];
        self.at = at + 2;
        self.seen = self.at;
        if self.at > MAX_HEAD { Err(Refusal::HeadTooLarge) } else { Ok(Some(line)) }
    }
}

fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}
