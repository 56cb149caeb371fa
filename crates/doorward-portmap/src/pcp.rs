//! PCP messages, RFC 6887. Numbers in brackets are its sections.

use crate::wish::Protocol;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const VERSION: u8 = 2;
const ANNOUNCE: u8 = 0;
const MAP: u8 = 1;
const ANSWER: u8 = 0x80;
/// Options (13.2, 13.3). Both must be refused by routers that do not know them, since their number is below 128.
const PREFER_FAILURE: u8 = 2;
const FILTER: u8 = 3;
const HEAD: usize = 24;
const MAP_LENGTH: usize = HEAD + 36;
/// No message is longer (7).
const LONGEST: usize = 1100;
/// An IPv4 address is written as an IPv6 address of 128 bits (5).
const ONE_ADDRESS: u8 = 128;
/// As many sources as one request names.
pub(crate) const MOST_SOURCES: usize = 16;

/// Proves that later requests come from whoever made the mapping (11.2).
pub(crate) type Nonce = [u8; 12];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) local: Ipv4Addr,
    pub(crate) nonce: Nonce,
    pub(crate) protocol: Protocol,
    pub(crate) internal_port: u16,
    /// 0: any.
    pub(crate) external_port: u16,
    pub(crate) is_exact: bool,
    /// Zero: take it back (15.1).
    pub(crate) lifetime: Duration,
    pub(crate) sources: &'a [Ipv4Addr],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) epoch: u32,
    pub(crate) lifetime: Duration,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
}

/// An answer that is none to our question is not an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    Done(T),
    /// The result's code (7.4).
    Refused(u8),
    /// It speaks another version, as NAT-PMP (9).
    OtherVersion,
}

impl Request<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let seconds = u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX);
        let mut bytes = head(MAP, seconds, self.local);
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&[self.protocol.number(), 0, 0, 0]);
        bytes.extend_from_slice(&self.internal_port.to_be_bytes());
        bytes.extend_from_slice(&self.external_port.to_be_bytes());
        bytes.extend_from_slice(&wide(Ipv4Addr::UNSPECIFIED));
        if self.is_exact {
            bytes.extend_from_slice(&[PREFER_FAILURE, 0, 0, 0]);
        }
        for source in self.sources.iter().take(MOST_SOURCES) {
            bytes.extend_from_slice(&[FILTER, 0, 0, 20, 0, ONE_ADDRESS, 0, 0]);
            bytes.extend_from_slice(&wide(*source));
        }
        bytes
    }

    pub(crate) fn read_answer(&self, bytes: &[u8]) -> Option<Answer<Mapped>> {
        let (code, lifetime, epoch) = match read_head(bytes, MAP)? {
            Answer::Done(head) => head,
            Answer::Refused(code) => return Some(Answer::Refused(code)),
            Answer::OtherVersion => return Some(Answer::OtherVersion),
        };
        let body = bytes.get(HEAD..MAP_LENGTH)?;
        let is_ours = body[..12] == self.nonce
            && body[12] == self.protocol.number()
            && body[16..18] == self.internal_port.to_be_bytes();
        if !is_ours {
            return None;
        }
        if code != 0 {
            return Some(Answer::Refused(code));
        }
        let address = Ipv6Addr::from(<[u8; 16]>::try_from(&body[20..36]).ok()?).to_ipv4_mapped()?;
        let port = u16::from_be_bytes([body[18], body[19]]);
        Some(Answer::Done(Mapped { epoch, lifetime: Duration::from_secs(lifetime.into()), address, port }))
    }
}

/// MALFORMED_OPTION (7.4).
const MALFORMED_OPTION: u8 = 6;

impl Request<'_> {
    /// Takes back what is not there, with a filter that cannot be. Whoever reads filters finds that fault (13.3); whoever
    /// says yes does not read them, as miniupnpd 2.3.1, and would let everybody in.
    pub(crate) fn encode_with_impossible_filter(&self) -> Vec<u8> {
        let mut bytes = Request { lifetime: Duration::ZERO, is_exact: false, sources: &[], ..self.clone() }.encode();
        bytes.extend_from_slice(&[FILTER, 0, 0, 20, 0, u8::MAX, 0, 0]);
        bytes.extend_from_slice(&wide(Ipv4Addr::UNSPECIFIED));
        bytes
    }
}

/// Whether the answer to that shows that filters are kept.
pub(crate) fn keeps_filters(answer: Answer<Mapped>) -> bool {
    answer == Answer::Refused(MALFORMED_OPTION)
}

/// Asks for nothing but the epoch (14.1).
pub(crate) fn encode_announce(local: Ipv4Addr) -> Vec<u8> {
    head(ANNOUNCE, 0, local)
}

pub(crate) fn read_announce(bytes: &[u8]) -> Option<Answer<u32>> {
    Some(match read_head(bytes, ANNOUNCE)? {
        Answer::Done((0, _, epoch)) => Answer::Done(epoch),
        Answer::Done((code, ..)) | Answer::Refused(code) => Answer::Refused(code),
        Answer::OtherVersion => Answer::OtherVersion,
    })
}

fn head(opcode: u8, lifetime: u32, local: Ipv4Addr) -> Vec<u8> {
    let mut bytes = vec![VERSION, opcode, 0, 0];
    bytes.extend_from_slice(&lifetime.to_be_bytes());
    bytes.extend_from_slice(&wide(local));
    bytes
}

fn wide(address: Ipv4Addr) -> [u8; 16] {
    address.to_ipv6_mapped().octets()
}

/// UNSUPP_VERSION (7.4); NAT-PMP writes the same number into two bytes.
const OTHER_VERSION: u8 = 1;

/// Code, lifetime and epoch.
fn read_head(bytes: &[u8], opcode: u8) -> Option<Answer<(u8, u32, u32)>> {
    let is_answer = bytes.get(1)? & ANSWER != 0;
    if !is_answer || bytes.len() > LONGEST {
        return None;
    }
    if bytes[0] != VERSION {
        return (*bytes.get(3)? == OTHER_VERSION).then_some(Answer::OtherVersion);
    }
    let is_whole = bytes.len() >= HEAD && bytes.len().is_multiple_of(4);
    if !is_whole || bytes[1] != ANSWER | opcode {
        return None;
    }
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    match bytes[3] {
        OTHER_VERSION => Some(Answer::OtherVersion),
        // An error may come without what it is about, from a router that did not understand it.
        code if code != 0 && bytes.len() < MAP_LENGTH => Some(Answer::Refused(code)),
        code => Some(Answer::Done((code, word(4), word(8)))),
    }
}

pub(crate) fn meaning(code: u8) -> &'static str {
    match code {
        2 => "not authorised",
        3 | 6 => "malformed",
        4 => "unknown operation",
        5 => "unknown option",
        7 => "its line is down",
        8 => "no resources",
        9 => "unknown protocol",
        10 => "too many mappings",
        11 => "cannot give this port",
        12 => "another NAT is in between",
        13 => "too many sources",
        _ => "no reason that is known",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sources: &[Ipv4Addr]) -> Request<'_> {
        Request {
            local: Ipv4Addr::new(192, 168, 77, 10),
            nonce: *b"twelve bytes",
            protocol: Protocol::Tcp,
            internal_port: 8000,
            external_port: 40022,
            is_exact: true,
            lifetime: Duration::from_secs(3600),
            sources,
        }
    }

    fn answer(code: u8) -> Vec<u8> {
        let mut bytes = request(&[]).encode();
        bytes.truncate(MAP_LENGTH);
        bytes[1] |= ANSWER;
        bytes[3] = code;
        bytes[8..12].copy_from_slice(&77_u32.to_be_bytes());
        bytes[44..60].copy_from_slice(&wide(Ipv4Addr::new(198, 51, 100, 7)));
        bytes
    }

    /// Written out by hand from the figures of RFC 6887 (7.1, 11.1, 13.2, 13.3).
    #[test]
    fn a_request_is_written_as_the_figures_show() {
        let bytes = request(&[Ipv4Addr::new(198, 51, 100, 10)]).encode();
        let expected = [
            "02010000 00000e10 00000000 00000000 0000ffff c0a84d0a",
            "7477656c 76652062 79746573 06000000 1f409c56",
            "00000000 00000000 0000ffff 00000000",
            "02000000",
            "03000014 00800000 00000000 00000000 0000ffff c633640a",
        ];
        let expected = expected.concat().replace(' ', "");
        let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, expected);
        let impossible = request(&[]).encode_with_impossible_filter();
        assert_eq!(impossible[4..8], [0; 4], "nothing is asked for");
        assert_eq!(impossible[MAP_LENGTH..][..8], [FILTER, 0, 0, 20, 0, 255, 0, 0]);
        assert_eq!(encode_announce(Ipv4Addr::new(192, 168, 77, 10)).len(), HEAD);
    }

    #[test]
    fn an_answer_to_the_question_is_read() {
        let mapped = Mapped {
            epoch: 77,
            lifetime: Duration::from_secs(3600),
            address: Ipv4Addr::new(198, 51, 100, 7),
            port: 40022,
        };
        assert_eq!(request(&[]).read_answer(&answer(0)), Some(Answer::Done(mapped)));
        assert_eq!(request(&[]).read_answer(&answer(11)), Some(Answer::Refused(11)));
        assert_eq!(request(&[]).read_answer(&answer(1)), Some(Answer::OtherVersion));
        let by_natpmp = [0, 0x81, 0, 1, 0, 0, 0, 9];
        assert_eq!(request(&[]).read_answer(&by_natpmp), Some(Answer::OtherVersion));
        let short_refusal = &answer(3)[..HEAD];
        assert_eq!(request(&[]).read_answer(short_refusal), Some(Answer::Refused(3)));
    }

    #[test]
    fn everything_else_is_no_answer() {
        let changed = |at: usize, to: u8| {
            let mut bytes = answer(0);
            bytes[at] = to;
            bytes
        };
        let mut giant = answer(0);
        giant.resize(LONGEST + 4, 0);
        let mut odd = answer(0);
        odd.push(0);
        for (what, bytes) in [
            ("another version without saying so", changed(0, 3)),
            ("a request", changed(1, MAP)),
            ("an answer to another operation", changed(1, ANSWER)),
            ("another nonce", changed(24, b'T')),
            ("another protocol", changed(36, 17)),
            ("another internal port", changed(41, 0x41)),
            ("an external address of IPv6", changed(54, 0)),
            ("more than a message", giant),
            ("an odd length", odd),
            ("nothing", Vec::new()),
            ("garbage", vec![0xff; 60]),
        ] {
            assert_eq!(request(&[]).read_answer(&bytes), None, "{what}");
        }
        for length in 0..MAP_LENGTH {
            assert_eq!(request(&[]).read_answer(&answer(0)[..length]), None, "{length} bytes of it");
        }
    }
}
