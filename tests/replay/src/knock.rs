//! Knocks. What docs/knock.md says is done here a second time, by hand.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce as Counter, UnboundKey};
use aws_lc_rs::hmac;
use doorward_core::Secret;
use doorward_core::knock::{KeyId, Knock, KnockKey, LENGTH, Nonce, Sealed, USUAL_WINDOW, Whence};
use jiff::{SignedDuration, Timestamp};
use std::net::{IpAddr, Ipv4Addr};

const SECRET: [u8; 32] = [5; 32];
const HEAD: usize = 33;
const BODY: usize = 92;
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Even: a packet as strangers send it. Odd: a body, which is sealed by the right key, since no fuzzer guesses one.
pub fn knock_packet(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let key = KnockKey::new(&Secret::new(SECRET));
    if kind % 2 == 0 {
        let opened = Sealed::read(rest).and_then(|sealed| sealed.open(&key));
        assert_eq!(opened, None, "a packet that nobody sealed");
        return;
    }
    let mut body = [0; BODY];
    let length = rest.len().min(BODY);
    body[..length].copy_from_slice(&rest[..length]);
    let packet = sealed(&body);
    let read = Sealed::read(&packet).expect("it has the length and version of a knock");
    let Some(knock) = read.open(&key) else {
        let sent_at = i64::from_be_bytes(*body.first_chunk().expect("a body is longer"));
        assert!(Timestamp::from_millisecond(sent_at).is_err(), "what its key made is read, but for impossible times");
        return;
    };
    let again = key.seal(KeyId([1; 16]), Nonce([2; 16]), &knock);
    let again = Sealed::read(&again).and_then(|sealed| sealed.open(&key));
    assert_eq!(again.as_ref(), Some(&knock), "what is read is written and read again");
    judge(&knock);
}

fn judge(knock: &Knock) {
    for may_be_seen in [false, true] {
        let now = knock.sent_at;
        if knock.judge(PEER, may_be_seen, USUAL_WINDOW, now).is_ok() {
            match knock.whence {
                Whence::At(ip) => assert_eq!(ip, PEER),
                Whence::AsSeen => assert!(may_be_seen),
            }
        }
        let late = now.checked_add(USUAL_WINDOW + SignedDuration::from_millis(1));
        let early = now.checked_sub(USUAL_WINDOW + SignedDuration::from_millis(1));
        for other in late.into_iter().chain(early) {
            assert!(knock.judge(PEER, may_be_seen, USUAL_WINDOW, other).is_err(), "outside the window");
        }
    }
}

fn sealed(body: &[u8; BODY]) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[0] = 1;
    packet[1..17].fill(1);
    packet[17..HEAD].fill(2);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    let of_packet = hmac::sign(&key, &[b"doorward knock 1", &packet[..HEAD]].concat());
    let cipher = UnboundKey::new(&CHACHA20_POLY1305, of_packet.as_ref()).expect("32 bytes");
    let (head, rest) = packet.split_at_mut(HEAD);
    let mut sealed = *body;
    let counter = Counter::assume_unique_for_key([0; 12]);
    let mark = LessSafeKey::new(cipher).seal_in_place_separate_tag(counter, Aad::from(&*head), &mut sealed);
    rest[..BODY].copy_from_slice(&sealed);
    rest[BODY..].copy_from_slice(mark.expect("a body is short").as_ref());
    packet
}
