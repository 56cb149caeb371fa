//! What decisions make of programs: tokens, certificates, and paths at which the application asks.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::access::{Denied, Facts, PasswordHash, PolicyDocument, Proof, Visitor, decide};
use doorward_core::authority::{Action, Scope, TokenLimits};
use doorward_core::login::{Login, LoginKind};
use doorward_core::names::{Label, PathPrefix};
use doorward_core::person::{Person, Role};
use doorward_core::service::{Entrance, Service, ServiceKind, Standing};
use doorward_core::session::Session;
use doorward_core::{AccountId, DeviceId, LoginId, ServiceId, SessionId};
use jiff::Timestamp;
use std::sync::Arc;

const BROWSER: i64 = 1;
const VISIT: i64 = 2;
const READ: i64 = 3;
const SESSIONS: i64 = 4;
const ELSEWHERE: i64 = 5;
const CERTIFICATE: i64 = 6;

/// Anna, all of whose logins these are.
struct World {
    anna: Person,
    logins: Vec<Login>,
    session: Session,
}

impl Facts for World {
    fn person(&self, id: AccountId) -> Option<&Person> {
        (id == self.anna.id).then_some(&self.anna)
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        (id == self.session.id).then_some(&self.session)
    }

    fn login(&self, id: LoginId) -> Option<&Login> {
        self.logins.iter().find(|login| login.id == id)
    }

    fn lets_in(&self, token: LoginId, service: ServiceId) -> bool {
        let limits = |scope, services: &[i64]| {
            let services = Some(services.iter().map(|id| ServiceId(*id)).collect());
            TokenLimits { scope, services }
        };
        match token.0 {
            VISIT => limits(Scope::Visit, &[1]).let_in(service),
            READ => limits(Scope::Read, &[1]).let_in(service),
            SESSIONS => TokenLimits { scope: Scope::Sessions, services: None }.let_in(service),
            ELSEWHERE => limits(Scope::Visit, &[2, 3]).let_in(service),
            _ => false,
        }
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn world() -> World {
    let label = |name| Label::parse(name).unwrap();
    let anna = Person {
        id: AccountId(7),
        name: label("anna"),
        title: String::new(),
        role: Role::Guest,
        created_at: at("2026-01-01T00:00:00Z"),
        ends_at: None,
        disabled_at: None,
        groups: Vec::new(),
        version: 1,
    };
    let login = |id, kind| Login {
        id: LoginId(id),
        account: anna.id,
        kind,
        factors: Default::default(),
        title: String::new(),
        source: None,
        since: at("2026-11-23T06:00:00Z"),
        until: at("2026-11-23T18:00:00Z"),
    };
    let tokens = [VISIT, READ, SESSIONS, ELSEWHERE].map(|id| login(id, LoginKind::Token));
    let others = [login(BROWSER, LoginKind::Browser), login(CERTIFICATE, LoginKind::Certificate)];
    let session = Session {
        id: SessionId(1),
        service: ServiceId(1),
        account: anna.id,
        opened_at: at("2026-11-23T08:00:00Z"),
        until: at("2026-11-23T10:00:00Z"),
        approved_by: None,
        version: 1,
    };
    World { logins: tokens.into_iter().chain(others).collect(), anna, session }
}

fn service(policy: &str) -> Service {
    let document: PolicyDocument = serde_json::from_str(policy).unwrap();
    Service {
        id: ServiceId(1),
        device: DeviceId(2),
        account: AccountId(3),
        device_name: Label::parse("pi").unwrap(),
        name: Label::parse("cam").unwrap(),
        title: String::new(),
        kind: ServiceKind::Http,
        standing: Standing::Offered,
        policy: Arc::new(document.to_policy().unwrap()),
        web: Arc::default(),
        prepare: None,
    }
}

fn answer(policy: &str, proofs: &[Proof], now: &str) -> Result<Option<Timestamp>, Denied> {
    let mut visitor = Visitor::new("192.0.2.7".parse().unwrap(), Entrance::Web);
    visitor.proofs = proofs.to_vec();
    decide(&service(policy), &visitor, &world(), at(now)).map(|permit| permit.until())
}

const NOON: &str = "2026-11-23T09:00:00Z";
const PEOPLE: &str = r#"{"who":"people","people":["anna"]}"#;

#[test]
fn a_token_lets_in_where_it_is_for_coming_in_and_nowhere_else() {
    let end = Some(at("2026-11-23T18:00:00Z"));
    for (token, expected) in [
        (VISIT, Ok(end)),
        (SESSIONS, Ok(end)),
        (BROWSER, Ok(end)),
        (READ, Err(Denied::NotOneOfThem)),
        (ELSEWHERE, Err(Denied::NotOneOfThem)),
        (CERTIFICATE, Err(Denied::NotOneOfThem)),
        (99, Err(Denied::LoginOver)),
    ] {
        assert_eq!(answer(PEOPLE, &[Proof::Login(LoginId(token))], NOON), expected, "{token}");
    }
    let ben = r#"{"who":"people","people":["ben"]}"#;
    assert_eq!(answer(ben, &[Proof::Login(LoginId(VISIT))], NOON), Err(Denied::NotOneOfThem));
    let late = "2026-11-23T18:00:00Z";
    assert_eq!(answer(PEOPLE, &[Proof::Login(LoginId(VISIT))], late), Err(Denied::LoginOver));
}

#[test]
fn a_token_opens_no_session_and_comes_in_by_one_that_is_open() {
    let on_request = r#"{"who":"people","people":["anna"],"how":"on-request"}"#;
    let visit = Proof::Login(LoginId(VISIT));
    assert_eq!(answer(on_request, std::slice::from_ref(&visit), NOON), Err(Denied::SessionNeeded));
    let with_session = [visit, Proof::Session(SessionId(1))];
    assert_eq!(answer(on_request, &with_session, NOON), Ok(Some(at("2026-11-23T10:00:00Z"))));
    assert_eq!(answer(on_request, &with_session, "2026-11-23T10:00:00Z"), Err(Denied::SessionOver));
}

#[test]
fn certificates_count_where_the_policy_takes_them() {
    let taken = r#"{"who":"people","people":["anna"],"certificates":true}"#;
    let proof = [Proof::Login(LoginId(CERTIFICATE))];
    assert_eq!(answer(taken, &proof, NOON), Ok(Some(at("2026-11-23T18:00:00Z"))));
    assert_eq!(answer(PEOPLE, &proof, NOON), Err(Denied::NotOneOfThem));
}

#[test]
fn at_an_open_path_nobody_is_asked_and_everything_else_holds() {
    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";
    let by_path = [Proof::OpenPath(PathPrefix::parse("/api/").unwrap())];
    let table = [
        (r#"{"who":"people","people":["anna"],"open-paths":["/api/"]}"#, Ok(None)),
        (r#"{"who":"people","how":"on-request","open-paths":["/x/","/api/"]}"#, Ok(None)),
        (r#"{"who":"password","passwords":{"a":"HASH"},"open-paths":["/api/"]}"#, Ok(None)),
        (r#"{"who":"people","people":["anna"],"open-paths":["/other/"]}"#, Err(Denied::NotOneOfThem)),
        (r#"{"who":"password","passwords":{"a":"HASH"}}"#, Err(Denied::PasswordNeeded)),
        (r#"{"who":"nobody"}"#, Err(Denied::Nobody)),
        (r#"{"who":"people","open-paths":["/api/"],"from":["198.51.100.0/24"]}"#, Err(Denied::SourceNetwork)),
        (
            r#"{"who":"people","open-paths":["/api/"],"when":{"zone":"UTC","open":["mon 08:00-10:00"]}}"#,
            Ok(Some(at("2026-11-23T10:00:00Z"))),
        ),
        (
            r#"{"who":"people","open-paths":["/api/"],"when":{"zone":"UTC","open":["sun 08:00-10:00"]}}"#,
            Err(Denied::Closed { opens: Some(at("2026-11-29T08:00:00Z")) }),
        ),
    ];
    for (policy, expected) in table {
        assert_eq!(answer(&policy.replace("HASH", HASH), &by_path, NOON), expected, "{policy}");
    }
    let hash = PasswordHash { user: "a".into(), phc: HASH.into() };
    assert_eq!(answer(PEOPLE, &[Proof::Password(hash)], NOON), Err(Denied::NotOneOfThem));
}

#[test]
fn keys_of_programs_are_refused_where_they_would_mean_nothing() {
    for policy in [
        r#"{"who":"public","open-paths":["/api/"]}"#,
        r#"{"open-paths":["/api/"]}"#,
        r#"{"who":"senders","open-paths":["/api/"]}"#,
        r#"{"who":"people","open-paths":["/"]}"#,
        r#"{"who":"people","open-paths":["preset"],"certificates":1}"#,
        r#"{"who":"public","certificates":true}"#,
        r#"{"certificates":true}"#,
    ] {
        let read = serde_json::from_str::<PolicyDocument>(policy).map(|document| document.to_policy());
        assert!(!matches!(read, Ok(Ok(_))), "{policy}");
    }
}

#[test]
fn a_token_for_visiting_does_nothing_at_the_api() {
    for services in [None, Some(vec![ServiceId(1)])] {
        let limits = TokenLimits { scope: Scope::Visit, services };
        for action in Action::ALL {
            assert!(!limits.allow(*action), "{action:?}");
        }
    }
}
