//! The one place that decides where a visitor's HTTP/1 message begins and ends. hyper reads leniently what RFC 9112
//! lets a server read in one way: both a length and chunks, bare line feeds, folded lines. Here none of that passes: a
//! message is let on, unchanged, when it can be read in one way only, and the target never sees what could be read in
//! another.
//!
//! Pure: bytes and facts in, decisions out. `guarded.rs` puts it between the visitor's stream and hyper.

mod chunks;
mod frames;
mod head;
mod refusal;

pub(crate) use refusal::Refusal;

use chunks::{ChunkPart, Chunks};
use frames::Frames;
use head::{Body, Head};

/// What may stand in front of a connection that speaks HTTP/2 with prior knowledge (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Of a head, and of the trailers after chunks.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
pub(crate) const MAX_HEADERS: usize = 128;

/// Follows the bytes that a visitor sends over one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// Heads that were let on.
    requests: u64,
    is_first: bool,
}

#[derive(Debug)]
enum State {
    Head(Head),
    /// So many bytes of a body are to come.
    Counted {
        left: u64,
        then: Then,
    },
    Chunked {
        chunks: Chunks,
        then: Then,
    },
    /// A request asked to switch protocols. What follows belongs to the one or the other, as the answer says.
    Asked,
    Http2(Frames),
    /// HTTP no longer: every byte passes.
    Opaque,
    Refused {
        why: Refusal,
        in_body: bool,
    },
}

/// What a message is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Next,
    Asked,
}

/// Where the connection is, as far as the visitor's next bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Between messages.
    Quiet,
    /// A head or trailers have begun.
    Head,
    Body,
    Asked,
    Http2,
    Opaque,
    /// In the middle of a body, its head is with the target already.
    Refused {
        in_body: bool,
    },
}

impl Default for Framing {
    fn default() -> Self {
        Self { state: State::Head(Head::default()), requests: 0, is_first: true }
    }
}

impl Framing {
    /// `bytes`: all that came and was not let on yet, oldest first. How many of them may be let on now; the rest is to
    /// be given again, with more behind it.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut passed = 0;
        loop {
            let rest = &bytes[passed..];
            if rest.is_empty() {
                return Ok(passed);
            }
            match self.step(rest) {
                Ok(0) => return Ok(passed),
                Ok(more) => passed += more,
                Err(refusal) => {
                    let in_body = matches!(
                        self.state,
                        State::Chunked { .. } | State::Http2(_) | State::Refused { in_body: true, .. }
                    );
                    self.state = State::Refused { why: refusal, in_body };
                    return if passed > 0 { Ok(passed) } else { Err(refusal) };
                }
            }
        }
    }

    /// The answer to the request that asked to switch.
    pub(crate) fn answered(&mut self, switched: bool) {
        if matches!(self.state, State::Asked) {
            self.state = if switched { State::Opaque } else { State::Head(Head::default()) };
        }
    }

    /// Heads let on so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// HTTP/2 frames since the last call that carry nothing and cost an answer.
    pub(crate) fn take_idle_frames(&mut self) -> u32 {
        match &mut self.state {
            State::Http2(frames) => frames.take_idle(),
            State::Head(_)
            | State::Counted { .. }
            | State::Chunked { .. }
            | State::Asked
            | State::Opaque
            | State::Refused { .. } => 0,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match &self.state {
            State::Head(head) if head.has_begun() => Phase::Head,
            State::Head(_) => Phase::Quiet,
            State::Chunked { chunks, .. } if chunks.are_in_trailers() => Phase::Head,
            State::Counted { .. } | State::Chunked { .. } => Phase::Body,
            State::Asked => Phase::Asked,
            State::Http2(_) => Phase::Http2,
            State::Opaque => Phase::Opaque,
            State::Refused { in_body, .. } => Phase::Refused { in_body: *in_body },
        }
    }

    /// Zero: what is here is not whole yet. `bytes` is not empty.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match &mut self.state {
            State::Head(head) => {
                if self.is_first && !head.has_begun() {
                    let known = bytes.len().min(PREFACE.len());
                    if bytes[..known] == PREFACE[..known] {
                        if known < PREFACE.len() {
                            return Ok(0);
                        }
                        self.state = State::Http2(Frames::default());
                        return Ok(known);
                    }
                }
                let Some(length) = head.scan(bytes)? else { return Ok(0) };
                let (body, then) = head.finish()?;
                self.state = follow(body, then);
                self.requests += 1;
                self.is_first = false;
                Ok(length)
            }
            State::Counted { left, then } => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= length as u64;
                if *left == 0 {
                    self.state = State::after(*then);
                }
                Ok(length)
            }
            State::Chunked { chunks, then } => match chunks.scan(bytes)? {
                ChunkPart::More(length) => Ok(length),
                ChunkPart::Last(length) => {
                    self.state = State::after(*then);
                    Ok(length)
                }
            },
            State::Asked => Ok(0),
            State::Http2(frames) => {
                frames.scan(bytes)?;
                Ok(bytes.len())
            }
            State::Opaque => Ok(bytes.len()),
            State::Refused { why, .. } => Err(*why),
        }
    }
}

fn follow(body: Body, then: Then) -> State {
    match body {
        Body::Counted(0) => State::after(then),
        Body::Counted(left) => State::Counted { left, then },
        Body::Chunked => State::Chunked { chunks: Chunks::default(), then },
    }
}

impl State {
    fn after(then: Then) -> Self {
        match then {
            Then::Next => Self::Head(Head::default()),
            Then::Asked => Self::Asked,
        }
    }
}

#[cfg(test)]
mod tests;
