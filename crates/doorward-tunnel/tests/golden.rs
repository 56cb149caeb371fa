//! The bytes of the wire, pinned. A change here is a change that every older peer sees: messages may grow fields and
//! kinds, but what is in `golden/wire-1.txt` stays readable, and stays what we write.
//!
//! `UPDATE_GOLDEN=1 cargo test -p doorward-tunnel --test golden` writes the file anew; look at the diff.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use bytes::Bytes;
use data_encoding::HEXLOWER;
use doorward_tunnel::messages::{
    AdditionRefusal, Additions, AdditionsReport, CheckPorts, ErrandDone, Finding, Findings, Goodbye, Hello, Hop, Join,
    LaneHello, LanesWanted, Leaving, LogWanted, Message, Open, OpenFailed, Phase, PinholeProbe, PinholeSeen,
    PinholeState, PinholeWish, PinholesSeen, PinholesWished, PortChecked, PortsChecked, Preparation, Preparations,
    Refusal, Refused, RestartWanted, ServiceReport, ServiceSpending, Services, ServicesReport, Site, SiteStored,
    Spending, Unsupported, Welcome, Wish, Wishes,
};
use doorward_tunnel::wire::{CONTROL_LIMIT, Frame, WireError, read_frame};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

/// Those between are given out, but not used yet.
fn kinds() -> impl Iterator<Item = u8> {
    (1..=21).chain(23..=31)
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

fn site() -> Site {
    Site {
        addresses: vec!["gw.example.org:443".into(), "tls://192.0.2.1:8443".into()],
        keys: vec![vec![0x11; 32], vec![0x22; 32]],
        revision: 7,
    }
}

/// One value of every kind, no field left at its default.
fn populated() -> Vec<(&'static str, Message)> {
    vec![
        (
            "Hello",
            Message::Hello(Hello {
                capability: 1,
                instance: vec![0x33; 16],
                epoch: 5,
                device_key: vec![0x44; 32],
                proof: vec![0x55; 64],
                join: Some(Join { secret: vec![0x66; 16], suggested_name: "kueche".into() }),
                software: "doorward 0.1.0".into(),
                metered: true,
            }),
        ),
        (
            "Welcome",
            Message::Welcome(Welcome {
                capability: 1,
                link: vec![0x77; 16],
                lane_secret: vec![0x88; 32],
                device_name: "kueche".into(),
                site: Some(site()),
                seen_as: "203.0.113.5:40000".into(),
            }),
        ),
        (
            "Refused",
            Message::Refused(Refused {
                reason: Refusal::TwoMachines.into(),
                message: "two machines use this key".into(),
                retry_after_seconds: 300,
            }),
        ),
        ("Ping", Message::Ping),
        ("Pong", Message::Pong),
        (
            "Services",
            Message::Services(Services {
                revision: 3,
                offers: strings(&[r#"{"name":"tree"}"#, "{}"]),
                ..Services::default()
            }),
        ),
        (
            "ServicesReport",
            Message::ServicesReport(ServicesReport {
                revision: 3,
                services: vec![ServiceReport {
                    name: "tree".into(),
                    reached_by: strings(&["https://tree-kueche.example.org/"]),
                    problems: strings(&["no such port"]),
                    notes: strings(&["closed until Monday"]),
                }],
            }),
        ),
        (
            "Open",
            Message::Open(Open {
                service: "tree".into(),
                remaining_ms: Some(90_000),
                flow: Some(9),
                source: "2001:db8::1".into(),
                mount: None,
            }),
        ),
        ("Opened", Message::Opened),
        (
            "OpenFailed",
            Message::OpenFailed(OpenFailed { hop: Hop::TargetRefused.into(), detail: "127.0.0.1:80: refused".into() }),
        ),
        ("Site", Message::Site(site())),
        ("SiteStored", Message::SiteStored(SiteStored { revision: 7 })),
        ("LaneHello", Message::LaneHello(LaneHello { link: vec![0x77; 16], proof: vec![0x99; 32] })),
        ("LanesWanted", Message::LanesWanted(LanesWanted { count: 2 })),
        ("CheckPorts", Message::CheckPorts(CheckPorts { hosts: strings(&["192.0.2.1"]), tcp: vec![22, 2222] })),
        (
            "PortsChecked",
            Message::PortsChecked(PortsChecked {
                results: vec![PortChecked { tcp: 22, reachable: true, detail: "SSH-2.0".into() }],
            }),
        ),
        ("Goodbye", Message::Goodbye(Goodbye { reason: Leaving::Revoked.into() })),
        ("Unsupported", Message::Unsupported(Unsupported { kind: 99 })),
        ("Wishes", Message::Wishes(Wishes { services: vec![Wish { service: "tree".into(), remaining_ms: 90_000 }] })),
        (
            "Preparations",
            Message::Preparations(Preparations {
                services: vec![Preparation {
                    service: "tree".into(),
                    phase: Phase::Failed.into(),
                    step: 2,
                    steps: 3,
                    what: "Wake-on-LAN".into(),
                    for_ms: 1500,
                    error: Some("no route to host".into()),
                    retry_ms: Some(30_000),
                }],
            }),
        ),
        (
            "Spending",
            Message::Spending(Spending {
                services: vec![ServiceSpending { name: "tree".into(), bytes: 123_456_789_012 }],
                reserve: 5,
            }),
        ),
        ("LogWanted", Message::LogWanted(LogWanted { number: 4, lines: 200 })),
        ("RestartWanted", Message::RestartWanted(RestartWanted { number: 5 })),
        (
            "ErrandDone",
            Message::ErrandDone(ErrandDone {
                number: 4,
                refused: Some("it runs inside the gateway".into()),
                lines: strings(&["connected"]),
            }),
        ),
        ("Additions", Message::Additions(Additions { services: strings(&["{}", "{\"name\":\"cam\"}"]), scan: 3 })),
        (
            "AdditionsReport",
            Message::AdditionsReport(AdditionsReport {
                may_offer: strings(&["127.0.0.1:*"]),
                may_scan: true,
                refusals: vec![AdditionRefusal {
                    service: "cam".into(),
                    why: "outside".into(),
                    needs: Some("192.0.2.9:80".into()),
                }],
            }),
        ),
        (
            "Findings",
            Message::Findings(Findings {
                scan: 3,
                findings: vec![Finding {
                    kind: "OctoPrint".into(),
                    target: "http://192.0.2.9:5000".into(),
                    preset: Some("octoprint".into()),
                    name: "octoprint".into(),
                }],
                error: Some("no network".into()),
            }),
        ),
        (
            "PinholesWished",
            Message::PinholesWished(PinholesWished {
                pinholes: vec![PinholeWish {
                    id: "s7".into(),
                    service: "nas".into(),
                    sources: strings(&["198.51.100.7", "2001:db8::"]),
                    remaining_ms: 90_000,
                }],
                seen_from: None,
            }),
        ),
        (
            "PinholesSeen",
            Message::PinholesSeen(PinholesSeen {
                pinholes: vec![PinholeSeen {
                    id: "s7".into(),
                    state: PinholeState::Closed.into(),
                    host: Some("2001:db8::7".into()),
                    port: 40_001,
                    why: Some("no public port is free".into()),
                }],
            }),
        ),
        (
            "PinholeProbe",
            Message::PinholeProbe(PinholeProbe { id: "s7".into(), preface: vec![7; 32], key: vec![9; 32] }),
        ),
    ]
}

/// Fields that came later, beside what was pinned before.
fn grown() -> Vec<(&'static str, Message)> {
    let open = Open { service: "tree".into(), mount: Some("/webcam/".into()), ..Open::default() };
    let (offers, written_at) = (vec!["{}".to_owned()], vec!["/etc/agent.toml:7".to_owned()]);
    let services = Services { revision: 3, offers, written_at };
    let wished = PinholesWished { seen_from: Some("198.51.100.77".into()), ..PinholesWished::default() };
    let untried = PinholeSeen { id: "s7".into(), state: PinholeState::Untried.into(), ..PinholeSeen::default() };
    vec![
        ("Open.mount", Message::Open(open)),
        ("Services.written_at", Message::Services(services)),
        ("PinholesWished.seen_from", Message::PinholesWished(wished)),
        ("PinholeState.untried", Message::PinholesSeen(PinholesSeen { pinholes: vec![untried] })),
    ]
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire-1.txt")
}

fn pinned() -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(file()).unwrap();
    let entries = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, hex) = line.split_once(' ').unwrap();
        (name.to_owned(), HEXLOWER.decode(hex.trim().as_bytes()).unwrap())
    });
    entries.collect()
}

async fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    let mut reader = bytes;
    let frame = read_frame(&mut reader, CONTROL_LIMIT).await?.unwrap();
    assert!(reader.is_empty(), "more than one frame");
    Message::decode(&frame)
}

#[tokio::test]
async fn every_message_is_written_and_read_as_pinned() {
    let mut messages = populated();
    let kinds: Vec<_> = messages.iter().map(|(_, message)| message.kind()).collect();
    assert_eq!(kinds, self::kinds().collect::<Vec<_>>(), "every kind once, in order");
    messages.extend(grown());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let mut text = String::from("# One message of every kind of doorward/1 as it travels; see golden.rs.\n");
        for (name, message) in &messages {
            writeln!(text, "{name} {}", HEXLOWER.encode(&message.encode())).unwrap();
        }
        std::fs::write(file(), text).unwrap();
    }
    let pinned = pinned();
    assert_eq!(pinned.len(), messages.len());
    for (name, message) in messages {
        let golden = pinned.get(name).unwrap_or_else(|| panic!("{name} is not pinned"));
        assert_eq!(HEXLOWER.encode(&message.encode()), HEXLOWER.encode(golden), "{name} is written otherwise");
        assert_eq!(decode(golden).await.unwrap(), message, "{name} is read otherwise");
    }
}

#[test]
fn the_next_kind_is_free_and_decodes_to_other() {
    // Fails when a kind is added without a pinned value of it.
    for kind in (0..=255).filter(|kind| !kinds().any(|known| known == *kind)) {
        let frame = Frame { kind, payload: Bytes::from_static(&[0xff; 9]) };
        let message = Message::decode(&frame).unwrap();
        assert_eq!(message, Message::Other(kind));
        assert_eq!(message.kind(), kind);
    }
}

/// Fields 100 to 103 of every wire type (varint, 64 bits, bytes, 32 bits), as a newer peer may add them.
fn newer_fields() -> Vec<u8> {
    let key = |field: u32, wire_type: u32| {
        let key = field << 3 | wire_type;
        [(key & 0x7f) as u8 | 0x80, (key >> 7) as u8]
    };
    let mut bytes = Vec::new();
    bytes.extend(key(100, 0));
    bytes.extend([0xac, 0x02]);
    bytes.extend(key(101, 1));
    bytes.extend([1; 8]);
    bytes.extend(key(102, 2));
    bytes.extend([3, b'n', b'e', b'w']);
    bytes.extend(key(103, 5));
    bytes.extend([2; 4]);
    bytes
}

#[test]
fn fields_of_a_newer_peer_are_skipped() {
    let mut with_body = 0;
    for (name, message) in populated() {
        let mut payload = message.encode()[4..].to_vec();
        with_body += usize::from(!payload.is_empty());
        payload.extend(newer_fields());
        let frame = Frame { kind: message.kind(), payload: payload.into() };
        assert_eq!(Message::decode(&frame).unwrap(), message, "{name}");
    }
    assert_eq!(with_body, 27);
}

#[test]
fn enum_values_of_a_newer_peer_are_unspecified_and_not_an_error() {
    let newer = |kind| Message::decode(&Frame { kind, payload: Bytes::from_static(&[0x08, 0x7f]) }).unwrap();
    let Message::Refused(refused) = newer(3) else { panic!("kind 3 is Refused") };
    assert_eq!(refused.reason(), Refusal::Unspecified);
    let Message::OpenFailed(failed) = newer(10) else { panic!("kind 10 is OpenFailed") };
    assert_eq!(failed.hop(), Hop::Unspecified);
    let Message::Goodbye(goodbye) = newer(17) else { panic!("kind 17 is Goodbye") };
    assert_eq!(goodbye.reason(), Leaving::Unspecified);
}

/// Protocol Buffers leave out what is at its default, so that this is also what a peer sends that knows no fields.
#[test]
fn an_older_peer_that_knows_none_of_the_fields_is_understood() {
    for kind in kinds() {
        let message = Message::decode(&Frame { kind, payload: Bytes::new() }).unwrap();
        assert_eq!(message.kind(), kind);
        assert_eq!(message.encode().len(), 4, "defaults are not written: {message:?}");
    }
    // A `Hello` of the first fields only, as written before joining and metering existed.
    let mut hello = vec![0x08, 1, 0x12, 16];
    hello.extend([3; 16]);
    hello.extend([0x18, 5]);
    let Message::Hello(hello) = Message::decode(&Frame { kind: 1, payload: hello.into() }).unwrap() else {
        panic!("kind 1 is Hello")
    };
    assert_eq!((hello.capability, hello.instance, hello.epoch), (1, vec![3; 16], 5));
    assert_eq!((hello.join, hello.metered, hello.software.as_str()), (None, false, ""));
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    for (name, message) in populated() {
        let shown = format!("{message:?}");
        for secret in ["102, 102", "136, 136", "0x66", "6666", "0x88", "8888", "9, 9", "0909"] {
            assert!(!shown.contains(secret), "{name} shows a secret: {shown}");
        }
    }
}
