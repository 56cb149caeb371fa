//! The committed table of decisions: policies × visitors × times → answer. A change of any answer shows as a diff of
//! `decisions.golden.txt`; accept it knowingly with `UPDATE_GOLDEN=1 cargo test -p doorward-core --test decisions`.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::access::{PasswordHash, Policy, PolicyDocument, Proof, Visitor, Who, decide};
use doorward_core::names::Label;
use doorward_core::service::{Entrance, Service, ServiceKind, Standing};
use doorward_core::{AccountId, DeviceId, ServiceId};
use jiff::Timestamp;
use std::fmt::Write;
use std::sync::Arc;

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";

/// A policy by what it is for, as it is written in a file.
const POLICIES: &[(&str, &str)] = &[
    ("says nothing", "{}"),
    ("nobody", r#"{"who":"nobody"}"#),
    ("public", r#"{"who":"public"}"#),
    ("a password", r#"{"who":"password","passwords":{"anna":"HASH"}}"#),
    ("certain people", r#"{"who":"people","people":["anna","ben"]}"#),
    ("no people at all", r#"{"who":"people"}"#),
    ("senders", r#"{"who":"senders"}"#),
    ("senders from one network", r#"{"who":"senders","from":["192.0.2.0/24"]}"#),
    ("one network", r#"{"who":"public","from":["192.0.2.0/24"]}"#),
    ("two families", r#"{"who":"public","from":["192.0.2.0/24","2001:db8::/32"]}"#),
    ("an empty list of networks", r#"{"who":"public","from":[]}"#),
    ("school hours", r#"{"who":"public","when":{"zone":"Europe/Berlin","open":["mon-fri 08:00-10:00"]}}"#),
    ("no hours at all", r#"{"who":"public","when":{"zone":"Europe/Berlin","open":[]}}"#),
    ("the short night in March", r#"{"who":"public","when":{"zone":"Europe/Berlin","open":["sun 01:00-02:30"]}}"#),
    ("the long night in October", r#"{"who":"public","when":{"zone":"Europe/Berlin","open":["sun 01:00-03:30"]}}"#),
    (
        "all of it",
        r#"{"who":"password","passwords":{"anna":"HASH"},"from":["192.0.2.0/24"],"when":{"zone":"Europe/Berlin","open":["mon-fri 08:00-10:00"]}}"#,
    ),
];

const VISITORS: &[(&str, &str, bool)] = &[
    ("192.0.2.7", "192.0.2.7", false),
    ("192.0.2.7 mapped", "::ffff:192.0.2.7", false),
    ("198.51.100.1", "198.51.100.1", false),
    ("2001:db8::1", "2001:db8::1", false),
    ("192.0.2.7 with the password", "192.0.2.7", true),
    ("198.51.100.1 with the password", "198.51.100.1", true),
];
/// By SSH, with a key that is theirs.
const PEOPLE: &[(&str, Option<&str>)] =
    &[("anna by ssh", Some("anna")), ("carl by ssh", Some("carl")), ("somebody by ssh", None)];

/// By SSH, with a sender key for this service (1) or another.
const SENDERS: &[(&str, &str, i64)] = &[
    ("a sender from 192.0.2.7", "192.0.2.7", 1),
    ("a sender from 198.51.100.1", "198.51.100.1", 1),
    ("another service's sender", "192.0.2.7", 2),
];

const TIMES: &[(&str, &str)] = &[
    ("Mon 07:59:59", "2026-11-23T06:59:59Z"),
    ("Mon 08:00:00", "2026-11-23T07:00:00Z"),
    ("Mon 09:59:59", "2026-11-23T08:59:59Z"),
    ("Mon 10:00:00", "2026-11-23T09:00:00Z"),
    ("Sat 09:00:00", "2026-11-28T08:00:00Z"),
    ("March night, 01:59:59", "2026-03-29T00:59:59Z"),
    ("March night, 03:00:00 (an hour is skipped)", "2026-03-29T01:00:00Z"),
    ("March night, 03:30:00", "2026-03-29T01:30:00Z"),
    ("October night, first 02:45", "2026-10-25T00:45:00Z"),
    ("October night, second 02:45", "2026-10-25T01:45:00Z"),
    ("October night, 03:30", "2026-10-25T02:30:00Z"),
];

fn service(policy: Policy, standing: Standing) -> Service {
    Service {
        id: ServiceId(1),
        device: DeviceId(2),
        account: AccountId(3),
        device_name: Label::parse("pi").unwrap(),
        name: Label::parse("cam").unwrap(),
        title: "Camera".into(),
        kind: ServiceKind::Http,
        standing,
        policy: Arc::new(policy),
        web: Arc::default(),
    }
}

fn policy(json: &str) -> Policy {
    let document: PolicyDocument = serde_json::from_str(&json.replace("HASH", HASH)).unwrap();
    document.to_policy().unwrap()
}

fn visitor(source: &str, knows_the_password: bool) -> Visitor {
    let mut visitor = Visitor::new(source.parse().unwrap(), Entrance::Web);
    if knows_the_password {
        visitor.proofs.push(Proof::Password(PasswordHash { user: "anna".into(), phc: HASH.into() }));
    }
    visitor
}

fn answer(service: &Service, visitor: &Visitor, now: Timestamp) -> String {
    match decide(service, visitor, now) {
        Ok(permit) => match permit.until() {
            Some(until) => format!("yes until {until}"),
            None => "yes".to_owned(),
        },
        Err(denied) => format!("no: {denied}"),
    }
}

fn table() -> String {
    let mut table = String::from("# Decisions. Times are those of Europe/Berlin.\n");
    for (name, json) in POLICIES {
        let service = service(policy(json), Standing::Offered);
        writeln!(table, "\n## {name}\n{json}\n").unwrap();
        for (who, source, knows) in VISITORS {
            for (when, now) in TIMES {
                let answer = answer(&service, &visitor(source, *knows), now.parse().unwrap());
                writeln!(table, "{who:<32} {when:<44} {answer}").unwrap();
            }
        }
        for (who, person) in PEOPLE {
            for (when, now) in TIMES {
                let mut visitor = Visitor::new("192.0.2.7".parse().unwrap(), Entrance::Ssh);
                visitor.proofs.extend(person.map(|name| Proof::Person(Label::parse(name).unwrap())));
                let answer = answer(&service, &visitor, now.parse().unwrap());
                writeln!(table, "{who:<32} {when:<44} {answer}").unwrap();
            }
        }
        for (who, source, key_for) in SENDERS {
            for (when, now) in TIMES {
                let mut visitor = Visitor::new(source.parse().unwrap(), Entrance::Ssh);
                visitor.proofs.push(Proof::Sender(ServiceId(*key_for)));
                let answer = answer(&service, &visitor, now.parse().unwrap());
                writeln!(table, "{who:<32} {when:<44} {answer}").unwrap();
            }
        }
    }
    table
}

#[test]
fn every_decision_is_as_committed() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/decisions.golden.txt");
    let table = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, &table).unwrap();
    }
    let committed = std::fs::read_to_string(file).unwrap();
    assert_eq!(
        table.lines().filter(|line| line.contains(" yes") || line.contains(" no: ")).count(),
        16 * (6 + 3 + 3) * 11
    );
    for (number, (now, before)) in table.lines().zip(committed.lines()).enumerate() {
        assert_eq!(now, before, "line {}", number + 1);
    }
    assert_eq!(table.len(), committed.len());
}

#[test]
fn what_is_not_offered_admits_nobody_whatever_its_policy() {
    let now = "2026-11-23T08:00:00Z".parse().unwrap();
    for standing in [Standing::Withdrawn, Standing::DeviceRevoked] {
        let service = service(policy(r#"{"who":"public"}"#), standing);
        assert!(decide(&service, &visitor("192.0.2.7", true), now).is_err(), "{standing:?}");
    }
}

#[test]
fn a_changed_password_is_another_credential() {
    let now = "2026-11-23T08:00:00Z".parse().unwrap();
    let changed = HASH.replace("aGFzaGhhc2g", "YW5vdGhlcg");
    let who = Who::Password(vec![PasswordHash { user: "anna".into(), phc: changed }]);
    let service = service(Policy { who, ..Policy::default() }, Standing::Offered);
    assert!(decide(&service, &visitor("192.0.2.7", true), now).is_err());
}

#[test]
fn policies_that_cannot_be_read_are_refused() {
    let broken = [
        r#"{"who":"everybody"}"#,
        r#"{"who":"public","form":["192.0.2.0/24"]}"#,
        r#"{"who":"public","from":["nonsense"]}"#,
        r#"{"who":"password"}"#,
        r#"{"who":"password","passwords":{"anna":"hunter2"}}"#,
        r#"{"who":"password","passwords":{"an:na":"HASH"}}"#,
        r#"{"who":"public","passwords":{"anna":"HASH"}}"#,
        r#"{"who":"people","people":["an na"]}"#,
        r#"{"who":"public","people":["anna"]}"#,
        r#"{"who":"senders","people":["anna"]}"#,
        r#"{"who":"senders","passwords":{"anna":"HASH"}}"#,
        r#"{"who":"people","people":["anna"],"passwords":{"anna":"HASH"}}"#,
        r#"{"who":"public","when":{"zone":"Mars/Olympus","open":[]}}"#,
        r#"{"who":"public","when":{"zone":"UTC","open":["someday"]}}"#,
    ];
    for json in broken {
        let read = serde_json::from_str::<PolicyDocument>(&json.replace("HASH", HASH));
        assert!(read.is_err() || read.unwrap().to_policy().is_err(), "{json} was taken");
    }
}
