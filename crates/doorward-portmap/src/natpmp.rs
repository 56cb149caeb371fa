//! NAT-PMP messages, RFC 6886. Numbers in brackets are its sections.

use crate::wish::Protocol;
use std::net::Ipv4Addr;
use std::time::Duration;

const VERSION: u8 = 0;
const ADDRESS: u8 = 0;
const ANSWER: u8 = 0x80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) protocol: Protocol,
    pub(crate) internal_port: u16,
    /// 0: any.
    pub(crate) external_port: u16,
    /// Zero: take it back (3.4).
    pub(crate) lifetime: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) epoch: u32,
    pub(crate) port: u16,
    pub(crate) lifetime: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    Done(T),
    /// The result's code (3.5).
    Refused(u16),
}

impl Request {
    pub(crate) fn encode(self) -> Vec<u8> {
        let seconds = u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX);
        let mut bytes = vec![VERSION, self.opcode(), 0, 0];
        bytes.extend_from_slice(&self.internal_port.to_be_bytes());
        bytes.extend_from_slice(&self.external_port.to_be_bytes());
        bytes.extend_from_slice(&seconds.to_be_bytes());
        bytes
    }

    pub(crate) fn read_answer(self, bytes: &[u8]) -> Option<Answer<Mapped>> {
        let (epoch, rest) = match read_head::<16>(bytes, self.opcode())? {
            Answer::Done(head) => head,
            Answer::Refused(code) => return Some(Answer::Refused(code)),
        };
        let [a, b, c, d, lifetime @ ..] = rest else { return None };
        if u16::from_be_bytes([*a, *b]) != self.internal_port {
            return None;
        }
        let lifetime = u32::from_be_bytes(lifetime.try_into().ok()?);
        let lifetime = Duration::from_secs(lifetime.into());
        Some(Answer::Done(Mapped { epoch, port: u16::from_be_bytes([*c, *d]), lifetime }))
    }

    fn opcode(self) -> u8 {
        match self.protocol {
            Protocol::Udp => 1,
            Protocol::Tcp => 2,
        }
    }
}

pub(crate) fn encode_address() -> Vec<u8> {
    vec![VERSION, ADDRESS]
}

/// The epoch, and the router's external address.
pub(crate) fn read_address(bytes: &[u8]) -> Option<Answer<(u32, Ipv4Addr)>> {
    Some(match read_head::<12>(bytes, ADDRESS)? {
        Answer::Done((epoch, rest)) => Answer::Done((epoch, Ipv4Addr::from(<[u8; 4]>::try_from(rest).ok()?))),
        Answer::Refused(code) => Answer::Refused(code),
    })
}

/// Epoch, and what follows it, of an answer of this length.
fn read_head<const LENGTH: usize>(bytes: &[u8], opcode: u8) -> Option<Answer<(u32, &[u8])>> {
    let (head, rest) = bytes.split_at_checked(8)?;
    if head[0] != VERSION || head[1] != ANSWER | opcode {
        return None;
    }
    match u16::from_be_bytes([head[2], head[3]]) {
        0 if bytes.len() != LENGTH => None,
        0 => Some(Answer::Done((u32::from_be_bytes([head[4], head[5], head[6], head[7]]), rest))),
        // Refusals are of any length up to this one: a router that knows no better cuts them short.
        _ if bytes.len() > LENGTH => None,
        code => Some(Answer::Refused(code)),
    }
}

pub(crate) fn meaning(code: u16) -> &'static str {
    match code {
        1 => "another version",
        2 => "not authorised, or switched off",
        3 => "its line is down",
        4 => "no resources",
        5 => "unknown operation",
        _ => "no reason that is known",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Request = Request {
        protocol: Protocol::Tcp,
        internal_port: 8000,
        external_port: 40022,
        lifetime: Duration::from_secs(3600),
    };

    const GIVEN: [u8; 16] = [0, 0x82, 0, 0, 0, 0, 0, 77, 0x1f, 0x40, 0x9c, 0x57, 0, 0, 0x0e, 0x10];

    /// Written out by hand from the figures of RFC 6886 (3.3).
    #[test]
    fn requests_and_answers_are_as_the_figures_show() {
        assert_eq!(ASKED.encode(), [0, 2, 0, 0, 0x1f, 0x40, 0x9c, 0x56, 0, 0, 0x0e, 0x10]);
        assert_eq!(Request { protocol: Protocol::Udp, ..ASKED }.encode()[1], 1);
        let mapped = Mapped { epoch: 77, port: 0x9c57, lifetime: Duration::from_secs(3600) };
        assert_eq!(ASKED.read_answer(&GIVEN), Some(Answer::Done(mapped)));
        assert_eq!(ASKED.read_answer(&[0, 0x82, 0, 4, 0, 0, 0, 77]), Some(Answer::Refused(4)));
        let address = [0, 0x80, 0, 0, 0, 0, 0, 5, 198, 51, 100, 7];
        assert_eq!(read_address(&address), Some(Answer::Done((5, Ipv4Addr::new(198, 51, 100, 7)))));
    }

    #[test]
    fn everything_else_is_no_answer() {
        let changed = |at: usize, to: u8| {
            let mut bytes = GIVEN.to_vec();
            bytes[at] = to;
            bytes
        };
        for (what, bytes) in [
            ("another version", changed(0, 2)),
            ("a request", changed(1, 2)),
            ("an answer for the other protocol", changed(1, 0x81)),
            ("another internal port", changed(9, 0x41)),
            ("more than an answer", [&GIVEN[..], &[0]].concat()),
            ("garbage", vec![0xff; 16]),
        ] {
            assert_eq!(ASKED.read_answer(&bytes), None, "{what}");
        }
        for length in 0..GIVEN.len() {
            assert_eq!(ASKED.read_answer(&GIVEN[..length]), None, "{length} bytes of it");
        }
        assert_eq!(read_address(&[0, 0x80, 0, 0, 0, 0, 0, 5, 198, 51, 100]), None);
    }
}
