//! Share links: what is granted, and whom a link lets in.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::access::{Denied, Facts, PolicyDocument, Proof, Visitor, decide};
use doorward_core::login::Login;
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use doorward_core::service::{Entrance, Service, ServiceKind, Standing};
use doorward_core::session::Session;
use doorward_core::share::{Share, ShareRefusal, ShareUse, ShareWish, grant};
use doorward_core::{AccountId, DeviceId, LoginId, ServiceId, SessionId, ShareId};
use jiff::{SignedDuration, Timestamp};
use std::num::NonZeroU32;
use std::sync::Arc;

const NOBODY_BUT_LINKS: &str = r#"{"who":"nobody","share-links":"7d"}"#;

struct Known {
    maker: Option<Person>,
    share: Option<Share>,
}

impl Facts for Known {
    fn person(&self, id: AccountId) -> Option<&Person> {
        self.maker.as_ref().filter(|person| person.id == id)
    }

    fn session(&self, _: SessionId) -> Option<&Session> {
        None
    }

    fn login(&self, _: LoginId) -> Option<&Login> {
        None
    }

    fn share(&self, id: ShareId) -> Option<&Share> {
        self.share.as_ref().filter(|share| share.id == id)
    }
}

fn at(text: &str) -> Timestamp {
    format!("2026-11-23T{text}Z").parse().unwrap()
}

fn maker() -> Person {
    Person {
        id: AccountId(3),
        name: Label::parse("anna").unwrap(),
        title: String::new(),
        role: Role::Member,
        created_at: at("00:00:00"),
        ends_at: None,
        disabled_at: None,
        groups: Vec::new(),
        version: 1,
    }
}

fn service(policy: &str) -> Service {
    let document: PolicyDocument = serde_json::from_str(policy).unwrap();
    Service {
        id: ServiceId(1),
        device: DeviceId(2),
        account: AccountId(3),
        device_name: Label::parse("pi").unwrap(),
        name: Label::parse("cam").unwrap(),
        title: "Camera".into(),
        kind: ServiceKind::Http,
        standing: Standing::Offered,
        policy: Arc::new(document.to_policy().unwrap()),
        web: Arc::default(),
        prepare: None,
    }
}

fn wish(hours: i64) -> ShareWish {
    let length = SignedDuration::from_hours(hours);
    ShareWish { title: String::new(), length, uses: NonZeroU32::new(2), is_read_only: true, has_pin: false }
}

/// Made at noon for four hours.
fn share() -> Share {
    grant(&service(NOBODY_BUT_LINKS), wish(4), &maker(), ShareId(7), at("12:00:00")).unwrap()
}

fn answer(service: &Service, known: &Known, now: &str) -> Result<(Option<Timestamp>, bool), Denied> {
    let mut visitor = Visitor::new("192.0.2.7".parse().unwrap(), Entrance::Web);
    visitor.proofs.push(Proof::Share(ShareUse { share: ShareId(7), number: 1 }));
    decide(service, &visitor, known, at(now)).map(|permit| (permit.until(), permit.is_read_only()))
}

#[test]
fn a_share_lets_in_until_its_end_and_for_looking_alone_if_it_says_so() {
    let known = Known { maker: Some(maker()), share: Some(share()) };
    let cam = service(NOBODY_BUT_LINKS);
    assert_eq!(answer(&cam, &known, "15:59:59"), Ok((Some(at("16:00:00")), true)));
    assert_eq!(answer(&cam, &known, "16:00:00"), Err(Denied::ShareOver));
    assert_eq!(answer(&cam, &known, "11:58:00"), Err(Denied::ShareOver), "a clock that was put back");
    let both = Known { share: Some(Share { is_read_only: false, ..share() }), ..known };
    assert_eq!(answer(&cam, &both, "15:00:00"), Ok((Some(at("16:00:00")), false)));
    let visitor = Visitor::new("192.0.2.7".parse().unwrap(), Entrance::Web);
    assert_eq!(decide(&cam, &visitor, &both, at("13:00:00")).unwrap_err(), Denied::Nobody, "without the link");
}

#[test]
fn what_one_person_has_at_a_time_is_only_looked_at_by_a_link() {
    let robot = service(
        r#"{"who":"people","groups":["class"],"how":"on-request","max-duration":"1h","exclusive":true,"share-links":"7d"}"#,
    );
    let both = Share { is_read_only: false, ..share() };
    let known = Known { maker: Some(maker()), share: Some(both) };
    let (_, is_read_only) = answer(&robot, &known, "12:30:00").unwrap();
    assert!(is_read_only, "also by one that was made before");
    let wish = ShareWish { is_read_only: false, ..wish(1) };
    let granted = grant(&robot, wish, &maker(), ShareId(7), at("12:00:00")).unwrap();
    assert!(granted.is_read_only, "and it says so");
}

#[test]
fn whatever_a_share_rests_on_ends_it() {
    let known = |maker, share| Known { maker, share };
    let cam = service(NOBODY_BUT_LINKS);
    let table = [
        ("all is well", cam.clone(), known(Some(maker()), Some(share())), Ok(at("16:00:00"))),
        ("it was revoked", cam.clone(), known(Some(maker()), None), Err(Denied::ShareOver)),
        ("its maker is gone", cam.clone(), known(None, Some(share())), Err(Denied::ShareOver)),
        (
            "its maker was disabled",
            cam.clone(),
            known(Some(Person { disabled_at: Some(at("12:30:00")), ..maker() }), Some(share())),
            Err(Denied::ShareOver),
        ),
        (
            "its maker ends",
            cam.clone(),
            known(Some(Person { ends_at: Some(at("15:00:00")), ..maker() }), Some(share())),
            Ok(at("15:00:00")),
        ),
        (
            "the service is somebody else's now",
            Service { account: AccountId(4), ..cam.clone() },
            known(Some(maker()), Some(share())),
            Err(Denied::ShareOver),
        ),
        (
            "it is for another service",
            Service { id: ServiceId(9), ..cam.clone() },
            known(Some(maker()), Some(share())),
            Err(Denied::ShareOver),
        ),
        (
            "the policy allows less now",
            service(r#"{"who":"nobody","share-links":"90m"}"#),
            known(Some(maker()), Some(share())),
            Ok(at("13:30:00")),
        ),
        (
            "the policy allows none any more",
            service(r#"{"who":"people","people":["anna"]}"#),
            known(Some(maker()), Some(share())),
            Err(Denied::ShareOver),
        ),
        (
            "sessions end sooner",
            service(r#"{"who":"people","people":["anna"],"how":"on-request","max-duration":"2h","share-links":"7d"}"#),
            known(Some(maker()), Some(share())),
            Ok(at("14:00:00")),
        ),
        (
            "it closes at two",
            service(r#"{"who":"nobody","share-links":"7d","when":{"zone":"UTC","open":["mon 08:00-14:00"]}}"#),
            known(Some(maker()), Some(share())),
            Ok(at("14:00:00")),
        ),
        (
            "it is for another network",
            service(r#"{"who":"nobody","share-links":"7d","from":["198.51.100.0/24"]}"#),
            known(Some(maker()), Some(share())),
            Err(Denied::SourceNetwork),
        ),
        (
            "the device does not offer it now",
            Service { standing: Standing::Withdrawn, ..cam },
            known(Some(maker()), Some(share())),
            Err(Denied::NotOffered),
        ),
    ];
    for (why, service, known, expected) in table {
        assert_eq!(answer(&service, &known, "13:00:00").map(|(until, _)| until), expected.map(Some), "{why}");
    }
}

#[test]
fn who_comes_in_by_themselves_is_not_held_to_looking() {
    let cam = service(r#"{"who":"people","people":["anna"],"share-links":"7d"}"#);
    let known = Known { maker: Some(maker()), share: Some(share()) };
    let mut visitor = Visitor::new("192.0.2.7".parse().unwrap(), Entrance::Web);
    visitor.proofs = vec![Proof::Share(ShareUse { share: ShareId(7), number: 1 }), Proof::Person(AccountId(3))];
    let permit = decide(&cam, &visitor, &known, at("13:00:00")).unwrap();
    assert_eq!((permit.until(), permit.is_read_only()), (None, false));
    visitor.proofs.pop();
    assert!(decide(&cam, &visitor, &known, at("13:00:00")).unwrap().is_read_only());
}

#[test]
fn a_share_is_granted_within_its_policy_to_those_who_own_the_service() {
    let cam = service(NOBODY_BUT_LINKS);
    let granted = |service: &Service, wish, maker: &Person| grant(service, wish, maker, ShareId(7), at("12:00:00"));
    assert_eq!(granted(&cam, wish(4), &maker()).unwrap().until, at("16:00:00"));
    let long = granted(&cam, wish(24 * 365), &maker()).unwrap();
    assert_eq!(long.until, "2026-11-30T12:00:00Z".parse().unwrap(), "never longer than the policy says");
    let ends = Person { ends_at: Some(at("13:00:00")), ..maker() };
    assert_eq!(granted(&cam, wish(4), &ends).unwrap().until, at("13:00:00"));
    let stranger = Person { id: AccountId(8), ..maker() };
    assert_eq!(granted(&cam, wish(4), &stranger), Err(ShareRefusal::NotTheirs));
    assert!(granted(&cam, wish(4), &Person { role: Role::Owner, ..stranger }).is_ok(), "an owner of the gateway");
    let disabled = Person { disabled_at: Some(at("11:00:00")), ..maker() };
    assert_eq!(granted(&cam, wish(4), &disabled), Err(ShareRefusal::NotTheirs));
    assert_eq!(granted(&cam, wish(0), &maker()), Err(ShareRefusal::NoTime));
    for kind in [ServiceKind::Tcp, ServiceKind::Udp] {
        assert_eq!(granted(&Service { kind, ..cam.clone() }, wish(4), &maker()), Err(ShareRefusal::NotWeb));
    }
    let revoked = Service { standing: Standing::DeviceRevoked, ..cam };
    assert_eq!(granted(&revoked, wish(4), &maker()), Err(ShareRefusal::DeviceRevoked));
    assert_eq!(granted(&service(r#"{"who":"public"}"#), wish(4), &maker()), Err(ShareRefusal::Public));
    assert_eq!(granted(&service("{}"), wish(4), &maker()), Err(ShareRefusal::NotAllowed), "unless a policy says so");
}

#[test]
fn what_a_policy_says_of_links_is_read_or_refused() {
    for bad in [
        r#"{"who":"public","share-links":"7d"}"#,
        r#"{"who":"senders","share-links":"7d"}"#,
        r#"{"who":"nobody","share-links":"for ever"}"#,
        r#"{"who":"nobody","share-links":"59s"}"#,
        r#"{"who":"nobody","share-links":"367d"}"#,
        r#"{"who":"nobody","share-links":true}"#,
    ] {
        let read = serde_json::from_str::<PolicyDocument>(bad);
        assert!(read.is_err() || read.unwrap().to_policy().is_err(), "{bad} was taken");
    }
}
