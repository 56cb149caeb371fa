//! Opening and extending sessions.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::access::{Denied, Facts, PolicyDocument, Proof, Visitor, decide};
use doorward_core::login::Login;
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use doorward_core::service::{Entrance, Service, ServiceKind, Standing};
use doorward_core::session::{Session, SessionRefusal, grant};
use doorward_core::{AccountId, DeviceId, LoginId, ServiceId, SessionId};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

const MONDAY: &str = "2026-11-23T07:00:00Z";

struct Anna(Person);

impl Facts for Anna {
    fn person(&self, id: AccountId) -> Option<&Person> {
        (id == self.0.id).then_some(&self.0)
    }

    fn session(&self, _: SessionId) -> Option<&Session> {
        None
    }

    fn login(&self, _: LoginId) -> Option<&Login> {
        None
    }
}

fn anna(ends_at: Option<&str>) -> Anna {
    Anna(Person {
        id: AccountId(7),
        name: Label::parse("anna").unwrap(),
        title: "Anna".into(),
        role: Role::Guest,
        created_at: now(),
        ends_at: ends_at.map(|at| at.parse().unwrap()),
        disabled_at: None,
        groups: Vec::new(),
        version: 1,
    })
}

fn now() -> Timestamp {
    MONDAY.parse().unwrap()
}

fn service(policy: &str) -> Service {
    let policy = serde_json::from_str::<PolicyDocument>(policy).unwrap().to_policy().unwrap();
    Service {
        id: ServiceId(1),
        device: DeviceId(2),
        account: AccountId(1),
        device_name: Label::parse("zumi01").unwrap(),
        name: Label::parse("jupyter").unwrap(),
        title: String::new(),
        kind: ServiceKind::Http,
        standing: Standing::Offered,
        policy: Arc::new(policy),
        web: Arc::default(),
        prepare: None,
    }
}

/// Opened so many minutes ago, and to end in so many.
fn asked(ago: i64, minutes: i64) -> Session {
    Session {
        id: SessionId(3),
        service: ServiceId(1),
        account: AccountId(7),
        opened_at: now() - SignedDuration::from_mins(ago),
        until: now() + SignedDuration::from_mins(minutes),
        approved_by: None,
        version: 1,
    }
}

fn minutes_granted(policy: &str, facts: &Anna, asked: &Session) -> Result<i64, SessionRefusal> {
    let granted = grant(&service(policy), asked, &[], Some("192.0.2.7".parse().unwrap()), facts, now())?;
    Ok(granted.until.duration_since(now()).as_mins())
}

#[test]
fn a_session_is_granted_for_as_long_as_everything_allows_and_no_longer() {
    let plain = r#"{"who":"people","people":["anna"],"how":"on-request"}"#;
    let bounded = r#"{"who":"people","people":["anna"],"how":"on-request","max-duration":"1h"}"#;
    let hours =
        r#"{"who":"people","people":["anna"],"how":"on-request","when":{"zone":"UTC","open":["mon 06:00-07:20"]}}"#;
    let ends = anna(Some("2026-11-23T07:10:00Z"));
    let table = [
        (plain, anna(None), asked(0, 30), 30),
        (plain, anna(None), asked(0, 60 * 48), 60 * 24),
        (bounded, anna(None), asked(0, 90), 60),
        (bounded, anna(None), asked(50, 30), 10),
        (hours, anna(None), asked(0, 30), 20),
        (hours, ends, asked(0, 30), 10),
    ];
    for (policy, facts, asked, minutes) in table {
        assert_eq!(minutes_granted(policy, &facts, &asked), Ok(minutes), "{policy} {asked:?}");
    }
}

#[test]
fn a_device_is_told_of_the_farthest_end_that_an_extension_may_have() {
    struct Open(Anna, Session);
    impl Facts for Open {
        fn person(&self, id: AccountId) -> Option<&Person> {
            self.0.person(id)
        }

        fn session(&self, id: SessionId) -> Option<&Session> {
            (id == self.1.id).then_some(&self.1)
        }

        fn login(&self, _: LoginId) -> Option<&Login> {
            None
        }
    }
    let mut visitor = Visitor::new("192.0.2.7".parse().unwrap(), Entrance::Ssh);
    visitor.proofs = vec![Proof::Person(AccountId(7)), Proof::Session(SessionId(3))];
    let bounded = r#"{"who":"people","people":["anna"],"how":"on-request","max-duration":"1h"}"#;
    for (ends_at, farthest) in [(None, 50), (Some("2026-11-23T07:40:00Z"), 40), (Some("2026-11-23T07:05:00Z"), 5)] {
        let facts = Open(anna(ends_at), asked(10, 15));
        let permit = decide(&service(bounded), &visitor, &facts, now()).unwrap();
        let until = permit.until().unwrap().duration_since(now()).as_mins();
        assert_eq!((until, permit.remaining(now()).unwrap().as_secs() / 60), (farthest.min(15) as i64, farthest));
    }
}

#[test]
fn whoever_would_not_be_let_in_opens_nothing() {
    let on_request = |more: &str| format!(r#"{{"who":"people","people":["anna"],"how":"on-request"{more}}}"#);
    let table = [
        (on_request(r#","from":["198.51.100.0/24"]"#), asked(0, 30), Denied::SourceNetwork.into()),
        (on_request(r#","max-duration":"1h""#), asked(60, 30), Denied::SessionOver.into()),
        (on_request(""), asked(-5, 30), Denied::SessionOver.into()),
        (on_request("").replace("anna", "ben"), asked(0, 30), Denied::NotOneOfThem.into()),
        (on_request("").replace("on-request", "signed-in"), asked(0, 30), SessionRefusal::NotNeeded),
        (r#"{"who":"public"}"#.to_owned(), asked(0, 30), SessionRefusal::NotNeeded),
        (r#"{"who":"nobody"}"#.to_owned(), asked(0, 30), Denied::Nobody.into()),
        (on_request(""), asked(0, 0), SessionRefusal::NoTime),
        (on_request(""), asked(0, -5), SessionRefusal::NoTime),
    ];
    for (policy, asked, why) in table {
        assert_eq!(minutes_granted(&policy, &anna(None), &asked), Err(why), "{policy}");
    }
    let ended = anna(Some("2026-11-23T07:00:00Z"));
    assert_eq!(minutes_granted(&on_request(""), &ended, &asked(0, 30)), Err(Denied::AccountEnded.into()));
}
