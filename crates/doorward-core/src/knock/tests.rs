use super::*;
use crate::Secret;
use crate::names::HostName;
use crate::site::Host;

const ID: KeyId = KeyId([7; 16]);
const NONCE: Nonce = Nonce([9; 16]);

fn key(first: u8) -> KnockKey {
    KnockKey::new(&Secret::new([first; 32]))
}

fn noon() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn knock() -> Knock {
    Knock {
        sent_at: noon(),
        whence: Whence::At("192.0.2.7".parse().unwrap()),
        length: Some(SignedDuration::from_mins(20)),
        named: vec![Tag::of("home/nas"), Tag::of("home/cam")],
    }
}

fn opened(packet: &[u8], key: &KnockKey) -> Option<Knock> {
    Sealed::read(packet)?.open(key)
}

#[test]
fn what_was_sealed_is_read_back() {
    let all: Vec<Tag> = (0..MOST_NAMED).map(|n| Tag::of(&format!("home/s{n}"))).collect();
    let knocks = [
        knock(),
        Knock { whence: Whence::AsSeen, length: None, named: Vec::new(), ..knock() },
        Knock { whence: Whence::At("2001:db8::7".parse().unwrap()), named: all, ..knock() },
        Knock { sent_at: "1969-12-31T23:59:59.999Z".parse().unwrap(), ..knock() },
    ];
    for knock in knocks {
        let packet = key(1).seal(ID, NONCE, &knock);
        let sealed = Sealed::read(&packet).unwrap();
        assert_eq!((sealed.key(), sealed.nonce()), (ID, NONCE));
        assert_eq!(sealed.open(&key(1)), Some(knock));
    }
}

/// Others implement it from docs/knock.md; these bytes tell them whether they did.
#[test]
fn the_bytes_of_a_knock_are_pinned() {
    let packet = key(1).seal(ID, NONCE, &knock());
    assert_eq!(packet.len(), 141);
    assert_eq!(data_encoding::HEXLOWER.encode(&packet), include_str!("../../tests/knock.golden.txt").trim());
}

#[test]
fn whichever_bit_is_flipped_it_is_refused() {
    let packet = key(1).seal(ID, NONCE, &knock());
    for bit in 0..LENGTH * 8 {
        let mut other = packet;
        other[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(opened(&other, &key(1)), None, "bit {bit}");
    }
    assert!(opened(&packet, &key(1)).is_some());
}

#[test]
fn another_key_another_length_and_noise_open_nothing() {
    let packet = key(1).seal(ID, NONCE, &knock());
    assert_eq!(opened(&packet, &key(2)), None);
    for length in 0..LENGTH {
        assert_eq!(opened(&packet[..length], &key(1)), None, "{length} bytes");
    }
    assert_eq!(opened(&[&packet[..], &[0]].concat(), &key(1)), None);
    let mut noise = 1_u64;
    for _ in 0..2000 {
        let mut packet = [0; LENGTH];
        for byte in &mut packet {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (noise >> 56) as u8;
        }
        packet[0] = VERSION;
        assert_eq!(opened(&packet, &key(1)), None);
    }
}

#[test]
fn it_counts_within_the_window_from_where_it_says() {
    let (here, elsewhere) = ("192.0.2.7", "192.0.2.8");
    let seen = |knock: Knock| Knock { whence: Whence::AsSeen, ..knock };
    let at = |ip: &str, knock: Knock| Knock { whence: Whence::At(ip.parse().unwrap()), ..knock };
    let late = KnockRefusal::OtherTime { sent_at: noon() };
    let table = [
        (knock(), here, false, 0, Ok(())),
        (knock(), "::ffff:192.0.2.7", false, 0, Ok(())),
        (knock(), here, false, 300, Ok(())),
        (knock(), here, false, -300, Ok(())),
        (knock(), here, false, 301, Err(late)),
        (knock(), here, false, -301, Err(late)),
        (knock(), elsewhere, true, 0, Err(KnockRefusal::OtherSource)),
        (seen(knock()), elsewhere, true, 0, Ok(())),
        (seen(knock()), here, false, 0, Err(KnockRefusal::NoSource)),
        (seen(knock()), here, true, 301, Err(late)),
        (at("2001:db8::7", knock()), "2001:db8::8", false, 0, Ok(())),
        (at("2001:db8::7", knock()), "2001:db8:0:1::7", false, 0, Err(KnockRefusal::OtherSource)),
        (at("0.0.0.0", knock()), here, true, 0, Err(KnockRefusal::OtherSource)),
    ];
    for (knock, peer, may_be_seen, later, expected) in table {
        let now = noon() + SignedDuration::from_secs(later);
        let judged = knock.judge(peer.parse().unwrap(), may_be_seen, USUAL_WINDOW, now);
        assert_eq!(judged, expected, "{knock:?} from {peer}, {later} s later");
    }
}

#[test]
fn it_means_what_it_names_and_all_where_it_names_nothing() {
    assert!(knock().means("home/nas") && !knock().means("home/door"));
    assert!(Knock { named: Vec::new(), ..knock() }.means("home/door"));
}

#[test]
fn a_line_reads_back_and_parts_of_it_do_not() {
    let line = KnockLine {
        host: Host::Name(HostName::parse("gw.example.org").unwrap()),
        port: 62_201,
        id: ID,
        secret: Secret::new([3; 32]),
        may_be_seen: true,
    };
    let text = line.to_text();
    let read = KnockLine::read(&format!("  {}\n", text.expose())).unwrap();
    assert_eq!((read.host, read.port, read.id, read.may_be_seen), (line.host, 62_201, ID, true));
    assert!(read.secret == line.secret);
    for cut in [0, 5, 20, text.expose().len() - 4] {
        assert_eq!(KnockLine::read(&text.expose()[..cut]).unwrap_err(), LineError, "{cut} characters");
    }
}
