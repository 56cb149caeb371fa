//! The committed table of decisions: policies × visitors × times → answer. A change of any answer shows as a diff of
//! `decisions.golden.txt`; accept it knowingly with `UPDATE_GOLDEN=1 cargo test -p doorward-core --test decisions`.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::access::{Facts, PasswordHash, Policy, PolicyDocument, Proof, Spent, Visitor, Who, Window, decide};
use doorward_core::login::{Login, LoginKind};
use doorward_core::names::Label;
use doorward_core::person::factors::Factor;
use doorward_core::person::{Person, Role};
use doorward_core::service::{Entrance, Service, ServiceKind, Standing};
use doorward_core::session::Session;
use doorward_core::{AccountId, DeviceId, LoginId, ServiceId, SessionId};
use jiff::Timestamp;
use std::fmt::Write;
use std::net::IpAddr;
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
    ("a group", r#"{"who":"people","groups":["robotics"]}"#),
    ("on request", r#"{"who":"people","people":["anna","ben","dora"],"groups":["robotics"],"how":"on-request"}"#),
    (
        "on request, an hour at most",
        r#"{"who":"people","people":["anna","ben","dora"],"how":"on-request","max-duration":"1h","max-idle":"10m"}"#,
    ),
    (
        "on request, at school hours",
        r#"{"who":"people","people":["anna"],"how":"on-request","when":{"zone":"Europe/Berlin","open":["mon-fri 08:00-10:00"]}}"#,
    ),
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
    ("a second factor", r#"{"who":"people","people":["anna"],"groups":["robotics"],"needs":["totp"]}"#),
    ("two of them", r#"{"who":"people","groups":["robotics"],"needs":["totp","passkey"]}"#),
    (
        "on request, approved by teachers",
        r#"{"who":"people","people":["anna","dora"],"how":"on-request","approval":{"by":"teachers"}}"#,
    ),
    (
        "on request, approved by others",
        r#"{"who":"people","people":["anna"],"how":"on-request","approval":{"by":"heads"}}"#,
    ),
    ("one at a time", r#"{"who":"people","people":["anna","dora"],"how":"on-request","exclusive":true}"#),
    ("a gigabyte a day", r#"{"who":"public","limits":{"per-day":"1 GB","zone":"Europe/Berlin"}}"#),
    ("five gigabytes a month", r#"{"who":"public","limits":{"per-month":"5 GB","zone":"Europe/Berlin"}}"#),
    ("six gigabytes a month", r#"{"who":"public","limits":{"per-month":"6 GB","zone":"Europe/Berlin"}}"#),
    (
        "a password, and nothing left",
        r#"{"who":"password","passwords":{"anna":"HASH"},"limits":{"per-month":"1 GB","zone":"Europe/Berlin"}}"#,
    ),
    ("to look at", r#"{"who":"public","limits":{"read-only":true}}"#),
    ("a few at a time", r#"{"who":"public","limits":{"connections":2,"connections-each":1,"rate":"1 MB"}}"#),
];

const VISITORS: &[(&str, &str, bool)] = &[
    ("192.0.2.7", "192.0.2.7", false),
    ("192.0.2.7 mapped", "::ffff:192.0.2.7", false),
    ("198.51.100.1", "198.51.100.1", false),
    ("2001:db8::1", "2001:db8::1", false),
    ("192.0.2.7 with the password", "192.0.2.7", true),
    ("198.51.100.1 with the password", "198.51.100.1", true),
];
/// By SSH, with a key that is theirs and perhaps a session.
const PEOPLE: &[(&str, Option<i64>, Option<i64>)] =
    &[("anna by ssh", Some(ANNA), None), ("carl by ssh", Some(CARL), None), ("somebody by ssh", None, None)];
/// Where a policy is about people.
const KNOWN: &[(&str, Option<i64>, Option<i64>)] = &[
    ("gina, of the group", Some(GINA), None),
    ("ben, who was disabled", Some(BEN), None),
    ("dora, who ends Mon 09:30", Some(DORA), None),
    ("somebody who was removed", Some(99), Some(1)),
    ("anna, a session until Mon 09:59:59", Some(ANNA), Some(1)),
    ("anna, a session until Mon 11:00", Some(ANNA), Some(2)),
    ("anna, a session elsewhere", Some(ANNA), Some(3)),
    ("anna, a session that was ended", Some(ANNA), Some(98)),
    ("gina, with anna's session", Some(GINA), Some(1)),
    ("anna, approved by a teacher", Some(ANNA), Some(6)),
    ("dora, a session until Mon 11:00", Some(DORA), Some(4)),
    ("ben, a session until Mon 11:00", Some(BEN), Some(5)),
    ("nobody, with anna's session", None, Some(1)),
];
/// By a login, and perhaps a session, where a policy is about people.
const LOGINS: &[(&str, i64, Option<i64>)] = &[
    ("anna, signed in", 1, None),
    ("anna, signed in until Mon 09:59:59", 2, None),
    ("carl, signed in", 3, None),
    ("ben, who was disabled, signed in", 4, None),
    ("gina, signed in at Mon 09:00", 5, None),
    ("gina, signed in with a code", 7, None),
    ("gina, signed in with a passkey", 8, None),
    ("somebody removed, signed in", 6, None),
    ("a login that was ended", 99, None),
    ("anna, signed in, a session", 1, Some(2)),
    ("anna, signed in until Mon 09:59:59, a session", 2, Some(2)),
    ("gina, signed in, anna's session", 5, Some(2)),
    ("a login that was ended, a session", 99, Some(2)),
];
/// At the port of a session, which is bound to 192.0.2.7.
const PORTS: &[(&str, &str, i64)] = &[
    ("anna's port until Mon 09:59:59", "192.0.2.7", 1),
    ("anna's port until Mon 11:00", "192.0.2.7", 2),
    ("anna's port, from elsewhere", "198.51.100.1", 2),
    ("the port of another service", "192.0.2.7", 3),
    ("a port of an ended session", "192.0.2.7", 98),
    ("ben's port, who was disabled", "192.0.2.7", 5),
];
const ANNA: i64 = 10;
const BEN: i64 = 11;
const CARL: i64 = 12;
const DORA: i64 = 13;
const GINA: i64 = 14;

struct Known {
    people: Vec<Person>,
    sessions: Vec<Session>,
    /// On Monday and in November.
    spent: Spent,
    logins: Vec<Login>,
}

impl Facts for Known {
    fn person(&self, id: AccountId) -> Option<&Person> {
        self.people.iter().find(|person| person.id == id)
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    /// Anna's second one, wherever one person comes at a time.
    fn holder(&self, service: ServiceId, _: Timestamp) -> Option<SessionId> {
        (service == ServiceId(1)).then_some(SessionId(2))
    }

    fn spent(&self, service: ServiceId) -> Option<&Spent> {
        (service == ServiceId(1)).then_some(&self.spent)
    }

    fn login(&self, id: LoginId) -> Option<&Login> {
        self.logins.iter().find(|login| login.id == id)
    }

    fn is_source_of(&self, _: SessionId, source: IpAddr) -> bool {
        source == IpAddr::from([192, 0, 2, 7])
    }
}

fn known() -> Known {
    let at = |time: &str| -> Timestamp { format!("2026-11-23T{time}Z").parse().unwrap() };
    let person = |id, name: &str| Person {
        id: AccountId(id),
        name: Label::parse(name).unwrap(),
        title: String::new(),
        role: Role::Member,
        created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        ends_at: None,
        disabled_at: None,
        groups: Vec::new(),
        version: 1,
    };
    let session = |id, account, service, until| Session {
        id: SessionId(id),
        service: ServiceId(service),
        account: AccountId(account),
        opened_at: at("06:30:00"),
        until: at(until),
        approved_by: None,
        version: 1,
    };
    let people = vec![
        person(ANNA, "anna"),
        Person { disabled_at: Some(at("06:00:00")), ..person(BEN, "ben") },
        person(CARL, "carl"),
        Person { ends_at: Some(at("08:30:00")), ..person(DORA, "dora") },
        Person { groups: vec![Label::parse("robotics").unwrap()], ..person(GINA, "gina") },
    ];
    let sessions = vec![
        session(1, ANNA, 1, "08:59:59"),
        session(2, ANNA, 1, "10:00:00"),
        session(3, ANNA, 7, "10:00:00"),
        session(4, DORA, 1, "10:00:00"),
        session(5, BEN, 1, "10:00:00"),
        Session { approved_by: Some(Label::parse("teachers").unwrap()), ..session(6, ANNA, 1, "10:00:00") },
    ];
    let window = |since: &str, until: &str, bytes| Window {
        since: since.parse().unwrap(),
        until: until.parse().unwrap(),
        bytes,
    };
    let spent = Spent {
        day: window("2026-11-22T23:00:00Z", "2026-11-23T23:00:00Z", 960_000_000),
        month: window("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z", 5_000_000_000),
        reserve: 5,
    };
    let login = |id, account, since, until: &str| Login {
        id: LoginId(id),
        account: AccountId(account),
        factors: Default::default(),
        kind: LoginKind::Browser,
        title: String::new(),
        source: None,
        since: at(since),
        until: until.parse().unwrap(),
    };
    let logins = vec![
        login(1, ANNA, "06:00:00", "2027-01-01T00:00:00Z"),
        login(2, ANNA, "06:00:00", "2026-11-23T08:59:59Z"),
        login(3, CARL, "06:00:00", "2027-01-01T00:00:00Z"),
        login(4, BEN, "06:00:00", "2027-01-01T00:00:00Z"),
        login(5, GINA, "08:00:00", "2027-01-01T00:00:00Z"),
        login(6, 98, "06:00:00", "2027-01-01T00:00:00Z"),
        Login { factors: Factor::Totp.into(), ..login(7, GINA, "06:00:00", "2027-01-01T00:00:00Z") },
        Login { factors: Factor::Passkey.into(), ..login(8, GINA, "06:00:00", "2027-01-01T00:00:00Z") },
    ];
    Known { people, sessions, spent, logins }
}

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
        prepare: None,
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
    match decide(service, visitor, &known(), now) {
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
        let known = if json.contains(r#""who":"people""#) { KNOWN } else { &[] };
        for (who, person, session) in PEOPLE.iter().chain(known) {
            for (when, now) in TIMES {
                let mut visitor = Visitor::new("192.0.2.7".parse().unwrap(), Entrance::Ssh);
                visitor.proofs.extend(person.map(|id| Proof::Person(AccountId(id))));
                visitor.proofs.extend(session.map(|id| Proof::Session(SessionId(id))));
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
        let ports = if json.contains(r#""who":"people""#) { PORTS } else { &[] };
        for (who, source, session) in ports {
            for (when, now) in TIMES {
                let mut visitor = Visitor::new(source.parse().unwrap(), Entrance::TcpPort(20_000));
                visitor.proofs.push(Proof::Port(SessionId(*session)));
                let answer = answer(&service, &visitor, now.parse().unwrap());
                writeln!(table, "{who:<32} {when:<44} {answer}").unwrap();
            }
        }
        let logins = if json.contains(r#""who":"people""#) { LOGINS } else { &[] };
        for (who, login, session) in logins {
            for (when, now) in TIMES {
                let mut visitor = Visitor::new("192.0.2.7".parse().unwrap(), Entrance::Web);
                visitor.proofs.push(Proof::Login(LoginId(*login)));
                visitor.proofs.extend(session.map(|id| Proof::Session(SessionId(id))));
                let answer = answer(&service, &visitor, now.parse().unwrap());
                writeln!(table, "{who:<46} {when:<44} {answer}").unwrap();
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
        (31 * (6 + 3 + 3) + 11 * (13 + 13 + 6)) * 11
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
        assert!(decide(&service, &visitor("192.0.2.7", true), &known(), now).is_err(), "{standing:?}");
    }
}

#[test]
fn a_changed_password_is_another_credential() {
    let now = "2026-11-23T08:00:00Z".parse().unwrap();
    let changed = HASH.replace("aGFzaGhhc2g", "YW5vdGhlcg");
    let who = Who::Password(vec![PasswordHash { user: "anna".into(), phc: changed }]);
    let service = service(Policy { who, ..Policy::default() }, Standing::Offered);
    assert!(decide(&service, &visitor("192.0.2.7", true), &known(), now).is_err());
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
        r#"{"who":"public","groups":["robotics"]}"#,
        r#"{"who":"people","groups":["ro botics"]}"#,
        r#"{"who":"people","people":["anna"],"how":"somehow"}"#,
        r#"{"who":"public","how":"on-request"}"#,
        r#"{"who":"password","passwords":{"anna":"HASH"},"how":"signed-in"}"#,
        r#"{"who":"people","people":["anna"],"max-duration":"1h"}"#,
        r#"{"who":"people","people":["anna"],"how":"signed-in","max-idle":"1h"}"#,
        r#"{"who":"people","people":["anna"],"how":"on-request","max-duration":"an hour"}"#,
        r#"{"who":"people","people":["anna"],"how":"on-request","max-duration":"59s"}"#,
        r#"{"who":"people","people":["anna"],"how":"on-request","max-idle":"367d"}"#,
        r#"{"who":"people","people":["anna"],"passwords":{"anna":"HASH"}}"#,
        r#"{"who":"public","when":{"zone":"Mars/Olympus","open":[]}}"#,
        r#"{"who":"public","needs":["totp"]}"#,
        r#"{"who":"people","people":["anna"],"needs":["luck"]}"#,
        r#"{"who":"people","people":["anna"],"approval":{"by":"teachers"}}"#,
        r#"{"who":"people","people":["anna"],"how":"on-request","approval":{}}"#,
        r#"{"who":"people","people":["anna"],"how":"on-request","approval":{"by":"tea chers"}}"#,
        r#"{"who":"people","people":["anna"],"how":"on-request","approval":{"by":"teachers","after":"1h"}}"#,
        r#"{"who":"people","people":["anna"],"exclusive":true}"#,
        r#"{"who":"people","people":["anna"],"how":"on-request","take-over":["teachers"]}"#,
        r#"{"who":"people","people":["anna"],"how":"on-request","claim":"2m"}"#,
        r#"{"who":"people","people":["anna"],"how":"on-request","exclusive":true,"claim":"1s"}"#,
        r#"{"who":"public","limits":{"connections":0}}"#,
        r#"{"who":"public","limits":{"connexions":1}}"#,
        r#"{"who":"public","limits":{"rate":"fast"}}"#,
        r#"{"who":"public","limits":{"rate":"999 B"}}"#,
        r#"{"who":"public","limits":{"per-day":"1 GB"}}"#,
        r#"{"who":"public","limits":{"zone":"UTC"}}"#,
        r#"{"who":"public","limits":{"per-month":"1 GB","zone":"Mars/Olympus"}}"#,
        r#"{"who":"public","when":{"zone":"UTC","open":["someday"]}}"#,
    ];
    for json in broken {
        let read = serde_json::from_str::<PolicyDocument>(&json.replace("HASH", HASH));
        assert!(read.is_err() || read.unwrap().to_policy().is_err(), "{json} was taken");
    }
}

#[test]
fn what_is_wrong_with_a_policy_is_said_by_key() {
    let table = [
        (r#"{"who":"public","groups":["a"]}"#, "access.groups: it means nothing unless who = \"people\""),
        (r#"{"who":"people","groups":["a b"]}"#, "access.groups: \"a b\" is not a usable name"),
        (r#"{"who":"nobody","how":"on-request"}"#, "access.how: it means nothing unless who"),
        (r#"{"who":"people","max-idle":"5m"}"#, "access.max-idle: it means nothing unless how = \"on-request\""),
        (r#"{"who":"people","how":"on-request","max-duration":"1s"}"#, "access.max-duration: \"1s\" is not between"),
        (r#"{"who":"people","how":"on-request","max-idle":"soon"}"#, "access.max-idle: \"soon\" is not a duration"),
        (
            r#"{"who":"people","how":"on-request","claim":"1m"}"#,
            "access.claim: it means nothing unless exclusive = true",
        ),
        (r#"{"who":"people","exclusive":true}"#, "access.exclusive: it means nothing unless how = \"on-request\""),
        (r#"{"who":"public","limits":{"per-day":"1 GB"}}"#, "access.limits.zone: say whose days and months are meant"),
        (r#"{"who":"public","limits":{"rate":"2"}}"#, "access.limits.rate: \"2\" is not an amount of bytes"),
    ];
    for (json, says) in table {
        let error = serde_json::from_str::<PolicyDocument>(json).unwrap().to_policy().unwrap_err().to_string();
        assert!(error.starts_with(says), "{json}: {error}");
    }
}
