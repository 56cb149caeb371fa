//! The receiving end of a ZeroMQ connection: ZMTP 3.0 (ZeroMQ RFC 23) with the mechanism NULL, as far as NetGear's sockets need
//! it. Whoever sends says first what it is; the end here becomes what fits.
//!
//! ```text
//! greeting  ff │ 8 octets │ 7f │ 3 │ 0 │ "NULL", 20 octets │ 0 │ 31 octets        64 in all, both sides at once
//! frame     flags u8 (1 more, 2 long, 4 command) │ length u8, or u64 if long, big endian │ body
//! READY     5 │ "READY" │ (length u8 │ name │ length u32 │ value)*                 a command, both sides at once
//! ```

use bytes::Bytes;
use thiserror::Error;

const GREETING: usize = 64;
const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;
/// A READY with an identity and whatever a newer library adds.
const COMMAND_LIMIT: usize = 4096;
const MOST_PARTS: usize = 8;
/// A request may have a number before its empty part (ZMQ_REQ_CORRELATE), which comes back with the answer.
const ENVELOPE_PART: usize = 255;
/// More is reserved only for what has come.
const RESERVED: usize = 64 * 1024;

/// What the other side is, and so what this one is to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// It hears no answer, and sends what was subscribed to.
    Publish,
    /// It hears an answer to each message.
    Pair,
    /// It waits for an answer to each message.
    Request,
}

/// What comes of what was heard.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It has to be sent.
    Send(Vec<u8>),
    /// The parts of one message, without the envelope of a request.
    Message(Vec<Bytes>),
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum ZmtpError {
    #[error("it does not speak ZeroMQ")]
    NotZeroMq,
    #[error("it speaks ZeroMQ of before version 4 (ZMTP {0}): a newer one is needed at the sender")]
    TooOld(u8),
    #[error("it wants the mechanism {0}: leave secure_mode off at the sender, Doorward's link encrypts")]
    Mechanism(String),
    #[error("it is a ZeroMQ socket of the type {0}, and NetGear's are PUB, PAIR or REQ")]
    Socket(String),
    #[error("it says {0}")]
    Refused(String),
    #[error("a message of {bytes} bytes or more, and {limit} are allowed: leave jpeg_compression on at the sender")]
    TooLarge { bytes: u64, limit: usize },
    #[error("its ZeroMQ cannot be read: {0}")]
    Malformed(&'static str),
}

/// Holds one message at most.
#[derive(Debug)]
pub struct Receiver {
    limit: usize,
    place: Place,
    /// The greeting, or the head of a frame.
    head: Vec<u8>,
    body: Vec<u8>,
    sender: Option<Sender>,
    parts: Vec<Bytes>,
    /// Of the last request: what its answer begins with.
    envelope: Vec<Bytes>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Greeting,
    Head,
    Body { flags: u8, length: usize },
}

impl Receiver {
    /// `limit`: bytes of a whole message.
    pub fn new(limit: usize) -> Self {
        let (head, body, parts, envelope) = (Vec::new(), Vec::new(), Vec::new(), vec![Bytes::new()]);
        Self { limit, place: Place::Greeting, head, body, sender: None, parts, envelope }
    }

    /// To be sent before anything was heard.
    pub fn greeting() -> [u8; GREETING] {
        let mut greeting = [0; GREETING];
        (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
        greeting[12..16].copy_from_slice(b"NULL");
        greeting
    }

    /// Known once it has said so.
    pub fn sender(&self) -> Option<Sender> {
        self.sender
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.head.capacity() + self.body.capacity() + self.parts.iter().map(Bytes::len).sum::<usize>()
    }

    /// What is sent after each message. `None`: the sender hears nothing.
    pub fn answer(&self, body: &[u8]) -> Option<Vec<u8>> {
        match self.sender? {
            Sender::Publish => None,
            Sender::Pair => Some(frame(0, body)),
            Sender::Request => {
                let envelope = self.envelope.iter().flat_map(|part| frame(MORE, part));
                Some(envelope.chain(frame(0, body)).collect())
            }
        }
    }

    /// The next step. Takes bytes off `input` up to its end, or all of them. After an error the connection is of no use.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Step>, ZmtpError> {
        loop {
            match self.place {
                Place::Greeting => {
                    fill(&mut self.head, input, GREETING);
                    check_greeting(&self.head)?;
                    if self.head.len() < GREETING {
                        return Ok(None);
                    }
                    self.head.clear();
                    self.place = Place::Head;
                }
                Place::Head => {
                    let Some((flags, length)) = self.frame_begins(input)? else { return Ok(None) };
                    self.place = Place::Body { flags, length };
                }
                Place::Body { flags, length } => {
                    fill(&mut self.body, input, length);
                    if self.body.len() < length {
                        return Ok(None);
                    }
                    self.place = Place::Head;
                    let body = std::mem::take(&mut self.body);
                    let step = if flags & COMMAND == 0 { self.part(body, flags)? } else { self.command(&body)? };
                    if step.is_some() {
                        return Ok(step);
                    }
                }
            }
        }
    }

    fn frame_begins(&mut self, input: &mut &[u8]) -> Result<Option<(u8, usize)>, ZmtpError> {
        fill(&mut self.head, input, 1);
        let Some(&flags) = self.head.first() else { return Ok(None) };
        if flags > MORE + LONG + COMMAND || flags & (COMMAND + MORE) == COMMAND + MORE {
            return Err(ZmtpError::Malformed("a frame has flags that there are not"));
        }
        let whole = if flags & LONG == 0 { 2 } else { 9 };
        fill(&mut self.head, input, whole);
        if self.head.len() < whole {
            return Ok(None);
        }
        let length = self.head.drain(..).skip(1).fold(0, |length: u64, byte| length << 8 | u64::from(byte));
        let is_command = flags & COMMAND != 0;
        let held: usize = self.parts.iter().map(Bytes::len).sum();
        let (limit, before) = if is_command { (COMMAND_LIMIT, 0) } else { (self.limit, held) };
        match usize::try_from(length) {
            Ok(length) if length <= limit.saturating_sub(before) => Ok(Some((flags, length))),
            Ok(_) | Err(_) if is_command => Err(ZmtpError::Malformed("a command is too long")),
            Ok(_) | Err(_) => Err(ZmtpError::TooLarge { bytes: length.saturating_add(before as u64), limit }),
        }
    }

    fn part(&mut self, body: Vec<u8>, flags: u8) -> Result<Option<Step>, ZmtpError> {
        let sender = self.sender.ok_or(ZmtpError::Malformed("a message comes before READY"))?;
        if self.parts.len() == MOST_PARTS {
            return Err(ZmtpError::Malformed("a message has too many parts"));
        }
        self.parts.push(body.into());
        if flags & MORE != 0 {
            return Ok(None);
        }
        let mut parts = std::mem::take(&mut self.parts);
        if sender == Sender::Request {
            let end = parts.iter().position(Bytes::is_empty);
            let end = end.ok_or(ZmtpError::Malformed("a request has no empty part before it"))?;
            let message = parts.split_off(end + 1);
            if parts.iter().any(|part| part.len() > ENVELOPE_PART) {
                return Err(ZmtpError::Malformed("a request has too long a number"));
            }
            self.envelope = std::mem::replace(&mut parts, message);
        }
        Ok(Some(Step::Message(parts)))
    }

    fn command(&mut self, body: &[u8]) -> Result<Option<Step>, ZmtpError> {
        let (name, data) = short(body).ok_or(ZmtpError::Malformed("a command has no name"))?;
        match (name, self.sender) {
            (b"READY", None) => self.ready(data).map(Some),
            (b"READY", Some(_)) => Err(ZmtpError::Malformed("it says READY twice")),
            (b"ERROR", _) => Err(ZmtpError::Refused(shortened(short(data).map_or(data, |(reason, _)| reason)))),
            // ZMTP 3.1: a time to live, and what comes back as it is.
            (b"PING", Some(_)) => {
                let context = data.get(2..).unwrap_or_default();
                Ok(Some(Step::Send(frame(COMMAND, &[b"\x04PONG", context].concat()))))
            }
            _ => Ok(None),
        }
    }

    /// What this end is follows from the other.
    fn ready(&mut self, mut data: &[u8]) -> Result<Step, ZmtpError> {
        let malformed = || ZmtpError::Malformed("its READY has no end");
        let mut kind = None;
        while !data.is_empty() {
            let (name, rest) = short(data).ok_or_else(malformed)?;
            let (length, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
            let length = u32::from_be_bytes(*length) as usize;
            let (value, rest) = rest.split_at_checked(length).ok_or_else(malformed)?;
            data = rest;
            if name.eq_ignore_ascii_case(b"Socket-Type") {
                kind = Some(value);
            }
        }
        let kind = kind.ok_or(ZmtpError::Malformed("its READY names no type of socket"))?;
        let (sender, own) = match kind {
            b"PUB" | b"XPUB" => (Sender::Publish, &b"SUB"[..]),
            b"PAIR" => (Sender::Pair, &b"PAIR"[..]),
            b"REQ" => (Sender::Request, &b"REP"[..]),
            other => return Err(ZmtpError::Socket(shortened(other))),
        };
        self.sender = Some(sender);
        let length = u32::try_from(own.len()).unwrap_or_default().to_be_bytes();
        let ready = frame(COMMAND, &[b"\x05READY\x0bSocket-Type", &length[..], own].concat());
        // A subscription to everything is a message in ZMTP 3.0.
        let subscription = if sender == Sender::Publish { frame(0, &[1]) } else { Vec::new() };
        Ok(Step::Send([ready, subscription].concat()))
    }
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    match u8::try_from(body.len()) {
        Ok(length) => [&[flags, length], body].concat(),
        Err(_) => [&[flags | LONG][..], &(body.len() as u64).to_be_bytes(), body].concat(),
    }
}

/// As far as it has come.
fn check_greeting(head: &[u8]) -> Result<(), ZmtpError> {
    let has = |at: usize, wanted: u8| head.get(at).is_none_or(|byte| *byte == wanted);
    if !has(0, 0xff) || !has(9, 0x7f) {
        return Err(ZmtpError::NotZeroMq);
    }
    if let Some(version) = head.get(10).filter(|version| **version < 3) {
        return Err(ZmtpError::TooOld(*version));
    }
    let mechanism = head.get(12..32).filter(|name| !name.starts_with(b"NULL\0"));
    mechanism
        .map_or(Ok(()), |name| Err(ZmtpError::Mechanism(shortened(name.split(|b| *b == 0).next().unwrap_or(name)))))
}

/// A text with its length before it, and what follows.
fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// It is shown to people.
fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|character| !character.is_control()).take(40).collect()
}

/// Fills up to `length`.
fn fill(buffer: &mut Vec<u8>, input: &mut &[u8], length: usize) {
    let (taken, rest) = input.split_at(input.len().min(length.saturating_sub(buffer.len())));
    let needed = buffer.len() + taken.len();
    if needed > buffer.capacity() {
        let room = (buffer.capacity() * 2).max(RESERVED).max(needed).min(length);
        buffer.reserve_exact(room - buffer.len());
    }
    buffer.extend_from_slice(taken);
    *input = rest;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(kind: &str) -> Vec<u8> {
        let length = (kind.len() as u32).to_be_bytes();
        frame(COMMAND, &[b"\x05READY\x0bSocket-Type", &length[..], kind.as_bytes(), b"\x08Identity\0\0\0\0"].concat())
    }

    fn greeted(rest: &[&[u8]]) -> Vec<u8> {
        [&Receiver::greeting()[..], &rest.concat()].concat()
    }

    /// In pieces of every size, which make no difference.
    fn heard(bytes: &[u8]) -> Result<Vec<Step>, ZmtpError> {
        let mut outcomes = [1, 2, 7, bytes.len()].map(|size| {
            let (mut receiver, mut steps) = (Receiver::new(1000), Vec::new());
            for mut piece in bytes.chunks(size) {
                while let Some(step) = receiver.next(&mut piece)? {
                    steps.push(step);
                }
            }
            Ok(steps)
        });
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
        std::mem::replace(&mut outcomes[0], Ok(Vec::new()))
    }

    #[test]
    fn each_of_netgears_sockets_gets_its_counterpart() {
        let table = [
            ("PUB", "SUB", Sender::Publish, &b"\x00\x01\x01"[..], None),
            ("PAIR", "PAIR", Sender::Pair, b"", Some(&b"\x00\x02ok"[..])),
            ("REQ", "REP", Sender::Request, b"", Some(b"\x01\x00\x00\x02ok")),
        ];
        for (kind, own, sender, after, answer) in table {
            let mut receiver = Receiver::new(1000);
            let bytes = greeted(&[&ready(kind)]);
            let expected = [
                &[COMMAND, 22 + own.len() as u8][..],
                b"\x05READY\x0bSocket-Type\0\0\0",
                &[own.len() as u8],
                own.as_bytes(),
                after,
            ];
            assert_eq!(receiver.next(&mut &bytes[..]), Ok(Some(Step::Send(expected.concat()))), "{kind}");
            assert_eq!((receiver.sender(), receiver.answer(b"ok").as_deref()), (Some(sender), answer), "{kind}");
        }
    }

    #[test]
    fn messages_come_whole_whatever_the_pieces() {
        let long = vec![b'x'; 300];
        let message = [frame(MORE, b"{}"), frame(0, &long)].concat();
        let steps = heard(&greeted(&[&ready("PUB"), &message, &frame(0, b""), &frame(COMMAND, b"\x04PING\0\x0aabc")]));
        let steps = steps.unwrap();
        assert_eq!(steps[1], Step::Message(vec![Bytes::from_static(b"{}"), long.into()]));
        assert_eq!(steps[2], Step::Message(vec![Bytes::new()]));
        assert_eq!(steps[3], Step::Send(frame(COMMAND, b"\x04PONGabc")));
        let request = [frame(MORE, b""), frame(MORE, b"{}"), frame(0, b"f")].concat();
        let steps = heard(&greeted(&[&ready("REQ"), &request])).unwrap();
        assert_eq!(steps[1], Step::Message(vec![Bytes::from_static(b"{}"), Bytes::from_static(b"f")]));
    }

    #[test]
    fn a_numbered_request_gets_its_number_back() {
        let request = [frame(MORE, b"\x01\x02\x03\x04"), frame(MORE, b""), frame(MORE, b"{}"), frame(0, b"")].concat();
        let bytes = greeted(&[&ready("REQ"), &request]);
        let (mut receiver, mut bytes) = (Receiver::new(1000), &bytes[..]);
        receiver.next(&mut bytes).unwrap();
        let message = Step::Message(vec![Bytes::from_static(b"{}"), Bytes::new()]);
        assert_eq!(receiver.next(&mut bytes), Ok(Some(message)));
        let answer = [frame(MORE, b"\x01\x02\x03\x04"), frame(MORE, b""), frame(0, b"ok")].concat();
        assert_eq!(receiver.answer(b"ok"), Some(answer));
        let endless = [frame(MORE, &[1; 256]), frame(0, b"")].concat();
        assert!(heard(&greeted(&[&ready("REQ"), &endless])).is_err());
    }

    #[test]
    fn what_cannot_be_received_says_why() {
        let mut curve = Receiver::greeting();
        curve[12..17].copy_from_slice(b"CURVE");
        let mut old = Receiver::greeting();
        old[10] = 1;
        let whole = |bytes: &[&[u8]]| heard(&bytes.concat()).unwrap_err().to_string();
        let after = |bytes: &[u8]| whole(&[&greeted(&[&ready("PUB")]), bytes]);
        let table = [
            (whole(&[b"GET / HTTP/1.1\r\n"]), "does not speak ZeroMQ"),
            (whole(&[&old]), "ZMTP 1"),
            (whole(&[&curve]), "CURVE: leave secure_mode off"),
            (whole(&[&greeted(&[&ready("DEALER")])]), "type DEALER"),
            (whole(&[&greeted(&[&frame(COMMAND, b"\x05ERROR\x03bad")])]), "says bad"),
            (whole(&[&greeted(&[&frame(0, b"x")])]), "before READY"),
            (after(&ready("PUB")), "READY twice"),
            (after(&frame(MORE, b"x").repeat(9)), "too many parts"),
            (after(&[8, 0]), "flags"),
            (after(&[COMMAND | MORE, 0]), "flags"),
            (after(&frame(COMMAND, b"")), "no name"),
            (after(&[LONG, 0, 0, 0, 0, 0, 0, 3, 233]), "1001 bytes"),
            (after(&[&frame(MORE, &[0; 600])[..], &frame(0, &[0; 600])].concat()), "1200 bytes"),
            (after(&[LONG, 255, 255, 255, 255, 255, 255, 255, 255]), "jpeg_compression"),
            (whole(&[&greeted(&[&frame(MORE, b"")])]), "before READY"),
        ];
        for (error, expected) in table {
            assert!(error.contains(expected) && error.len() < 200, "{expected}: {error}");
        }
        let request = [frame(0, b"x")].concat();
        assert!(heard(&greeted(&[&ready("REQ"), &request])).is_err());
    }

    #[test]
    fn no_more_is_held_than_has_come() {
        let mut receiver = Receiver::new(8 << 20);
        let head = [LONG, 0, 0, 0, 0, 0, 0x70, 0, 0];
        let bytes = greeted(&[&ready("PUB"), &head]);
        let mut bytes = &bytes[..];
        while receiver.next(&mut bytes).unwrap().is_some() {}
        assert!(receiver.held() < 2 * RESERVED, "{}", receiver.held());
    }
}
