//! What strangers ask the name server for proofs.

use doorward_gateway::fuzzing::DnsResponder;

const HEADER: usize = 12;
/// What passes every path in one packet (dnsflagday.net/2020), and what a resolver without EDNS takes (RFC 1035, 4.2.1).
const MOST: usize = 1232;
/// Header bits of the third byte: an answer; and of the fourth: recursion available.
const IS_ANSWER: u8 = 0x80;
const RECURSES: u8 = 0x80;
const OPCODE: u8 = 0x78;

/// `bytes`: answers are never answered, and what is said is an answer to the question, no larger than a packet.
pub fn dns_query(data: &[u8]) {
    let responder = DnsResponder::default();
    let (udp, tcp) = (responder.answer_udp(data), responder.answer_tcp(data));
    assert_eq!(udp.is_some(), tcp.is_some());
    assert!(udp.as_ref().is_none_or(|answer| answer.len() <= MOST));
    for answer in [udp, tcp].into_iter().flatten() {
        assert!(data.len() >= HEADER && data[2] & IS_ANSWER == 0, "something else than a query is answered");
        assert!(answer.len() >= HEADER);
        assert_eq!(answer[..2], data[..2], "the id");
        assert_eq!(answer[2] & OPCODE, data[2] & OPCODE);
        assert!(answer[2] & IS_ANSWER != 0 && answer[3] & RECURSES == 0);
        assert_eq!(responder.answer_udp(&answer), None, "an answer is answered");
    }
}
