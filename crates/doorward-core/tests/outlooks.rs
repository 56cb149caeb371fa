//! What people are told before they save a policy, beside what `decide` then answers to whoever comes so.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::access::{
    Denied, Facts, Outlook, PasswordHash, PolicyDocument, Proof, Spent, Supposed, Visitor, Window, decide, foresee,
};
use doorward_core::login::{Login, LoginKind};
use doorward_core::names::Label;
use doorward_core::person::factors::{Factor, Factors};
use doorward_core::person::{Person, Role};
use doorward_core::service::{Entrance, Service, ServiceKind, Standing};
use doorward_core::session::Session;
use doorward_core::{AccountId, DeviceId, LoginId, ServiceId, SessionId};
use jiff::Timestamp;
use std::sync::Arc;

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";
const ANNA: AccountId = AccountId(10);
const BEN: AccountId = AccountId(11);
/// Disabled.
const CARL: AccountId = AccountId(12);
/// Her account ends Mon 09:30.
const DORA: AccountId = AccountId(13);

struct Known {
    people: Vec<Person>,
    session: Option<Session>,
    login: Option<Login>,
    /// Everything, until Mon 10:00 in Berlin.
    spent: Spent,
}

impl Facts for Known {
    fn person(&self, id: AccountId) -> Option<&Person> {
        self.people.iter().find(|person| person.id == id)
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        self.session.as_ref().filter(|session| session.id == id)
    }

    fn login(&self, id: LoginId) -> Option<&Login> {
        self.login.as_ref().filter(|login| login.id == id)
    }

    fn holder(&self, _: ServiceId, _: Timestamp) -> Option<SessionId> {
        Some(self.session.as_ref().map_or(SessionId(6), |session| session.id))
    }

    fn spent(&self, _: ServiceId) -> Option<&Spent> {
        Some(&self.spent)
    }
}

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn known() -> Known {
    let person = |id, name: &str, groups: &[&str]| Person {
        id,
        name: label(name),
        title: String::new(),
        role: Role::Member,
        created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        ends_at: None,
        disabled_at: None,
        groups: groups.iter().map(|group| label(group)).collect(),
        version: 1,
    };
    let people = vec![
        person(ANNA, "anna", &["class"]),
        person(BEN, "ben", &[]),
        Person { disabled_at: Some("2026-11-01T00:00:00Z".parse().unwrap()), ..person(CARL, "carl", &["class"]) },
        Person { ends_at: Some("2026-11-23T08:30:00Z".parse().unwrap()), ..person(DORA, "dora", &["class"]) },
    ];
    let window = Window { since: EIGHT.parse().unwrap(), until: TEN.parse().unwrap(), bytes: u64::MAX };
    Known { people, session: None, login: None, spent: Spent { day: window, month: window, reserve: 5 } }
}

fn service(json: &str) -> Service {
    let document: PolicyDocument = serde_json::from_str(&json.replace("HASH", HASH)).unwrap();
    Service {
        id: ServiceId(1),
        device: DeviceId(2),
        account: AccountId(3),
        device_name: label("pi"),
        name: label("robot"),
        title: "Robot".into(),
        kind: ServiceKind::Http,
        standing: Standing::Offered,
        policy: Arc::new(document.to_policy().unwrap()),
        web: Arc::default(),
        prepare: None,
    }
}

fn in_words(outlook: &Outlook) -> String {
    let until = |until: &Option<Timestamp>| until.map(|until| format!(" until {until}")).unwrap_or_default();
    match outlook {
        Outlook::Yes(end) => format!("yes{}", until(end)),
        Outlook::WithPassword(end) => format!("with a password{}", until(end)),
        Outlook::InSession(end) => format!("in a session{}", until(end)),
        Outlook::No(why) => format!("no: {}", why.word()),
    }
}

const PUBLIC: &str = r#"{"who":"public","from":["192.0.2.0/24"]}"#;
const PASSWORD: &str =
    r#"{"who":"password","passwords":{"anna":"HASH"},"when":{"zone":"Europe/Berlin","open":["mon-fri 08:00-10:00"]}}"#;
const CLASS: &str =
    r#"{"who":"people","groups":["class"],"when":{"zone":"Europe/Berlin","open":["mon-fri 08:00-10:00"]}}"#;
const ROBOT: &str =
    r#"{"who":"people","people":["ben","somebody-0"],"groups":["class"],"how":"on-request","max-duration":"45m"}"#;
const ROBOT_AT_SCHOOL: &str = r#"{"who":"people","groups":["class"],"how":"on-request","max-duration":"4h",
    "from":["192.0.2.0/24"],"when":{"zone":"Europe/Berlin","open":["mon-fri 08:00-10:00"]}}"#;

const GUARDED: &str = r#"{"who":"people","groups":["class"],"how":"on-request","max-duration":"1h","needs":["totp","passkey"],
    "approval":{"by":"teachers"},"exclusive":true}"#;
const METERED: &str = r#"{"who":"public","limits":{"per-day":"1 GB","zone":"Europe/Berlin","read-only":true}}"#;

/// Mon 08:00, 10:00 and 09:15 in Berlin.
const EIGHT: &str = "2026-11-23T07:00:00Z";
const TEN: &str = "2026-11-23T09:00:00Z";
const LATER: &str = "2026-11-23T08:15:00Z";
const NIGHT: &str = "2026-11-23T22:00:00Z";

fn table() -> Vec<(&'static str, Supposed, Option<&'static str>, &'static str, &'static str)> {
    let class = || Supposed::MemberOf(label("class"));
    let person = Supposed::Person;
    vec![
        ("{}", Supposed::Stranger, None, EIGHT, "no: nobody"),
        (PUBLIC, Supposed::Stranger, None, EIGHT, "yes"),
        (PUBLIC, Supposed::Stranger, Some("192.0.2.7"), NIGHT, "yes"),
        (PUBLIC, Supposed::Stranger, Some("::ffff:192.0.2.7"), NIGHT, "yes"),
        (PUBLIC, person(ANNA), Some("198.51.100.1"), EIGHT, "no: source-network"),
        (PASSWORD, Supposed::Stranger, None, EIGHT, "with a password until 2026-11-23T09:00:00Z"),
        (PASSWORD, Supposed::Stranger, None, NIGHT, "no: closed"),
        (CLASS, Supposed::Stranger, None, EIGHT, "no: not-one-of-them"),
        (CLASS, Supposed::Somebody, None, EIGHT, "no: not-one-of-them"),
        (CLASS, class(), None, EIGHT, "yes until 2026-11-23T09:00:00Z"),
        (CLASS, class(), None, NIGHT, "no: closed"),
        (CLASS, Supposed::MemberOf(label("other")), None, EIGHT, "no: not-one-of-them"),
        (CLASS, person(ANNA), None, EIGHT, "yes until 2026-11-23T09:00:00Z"),
        (CLASS, person(BEN), None, EIGHT, "no: not-one-of-them"),
        (CLASS, person(CARL), None, EIGHT, "no: account-disabled"),
        (CLASS, person(DORA), None, EIGHT, "yes until 2026-11-23T08:30:00Z"),
        (CLASS, person(DORA), None, NIGHT, "no: closed"),
        (CLASS, person(AccountId(99)), None, EIGHT, "no: not-one-of-them"),
        (ROBOT, Supposed::Stranger, None, EIGHT, "no: not-one-of-them"),
        // Whatever names a policy has, whoever is meant by nobody's name is not named.
        (ROBOT, Supposed::Somebody, None, EIGHT, "no: not-one-of-them"),
        (ROBOT, class(), None, EIGHT, "in a session until 2026-11-23T07:45:00Z"),
        (ROBOT, person(BEN), None, NIGHT, "in a session until 2026-11-23T22:45:00Z"),
        (ROBOT, person(CARL), None, EIGHT, "no: account-disabled"),
        (ROBOT, person(DORA), None, LATER, "in a session until 2026-11-23T08:30:00Z"),
        (ROBOT, person(DORA), None, NIGHT, "no: account-ended"),
        (ROBOT_AT_SCHOOL, person(ANNA), Some("192.0.2.7"), LATER, "in a session until 2026-11-23T09:00:00Z"),
        (ROBOT_AT_SCHOOL, person(ANNA), Some("2001:db8::1"), LATER, "no: source-network"),
        (ROBOT_AT_SCHOOL, person(ANNA), None, NIGHT, "no: closed"),
        (GUARDED, class(), None, EIGHT, "in a session until 2026-11-23T08:00:00Z"),
        (GUARDED, Supposed::Somebody, None, EIGHT, "no: not-one-of-them"),
        (METERED, Supposed::Stranger, None, LATER, "no: budget-spent"),
        (METERED, Supposed::Stranger, None, TEN, "yes"),
    ]
}

#[test]
fn what_is_foreseen_is_as_committed() {
    for (policy, supposed, source, at, expected) in table() {
        let source = source.map(|source| source.parse().unwrap());
        let outlook = foresee(&service(policy), &supposed, source, &known(), at.parse().unwrap());
        assert_eq!(in_words(&outlook), expected, "{policy} {supposed:?} {source:?} {at}");
    }
}

/// Somebody who comes just so: signed in as that person, with the password, or with a session just opened.
fn come(policy: &Service, supposed: &Supposed, source: &str, at: Timestamp) -> Result<Option<Timestamp>, Denied> {
    let (mut facts, mut visitor) = (known(), Visitor::new(source.parse().unwrap(), Entrance::Web));
    let who = match supposed {
        Supposed::Stranger => None,
        Supposed::Person(id) => Some(*id),
        Supposed::Somebody | Supposed::MemberOf(_) => {
            let groups = if let Supposed::MemberOf(group) = supposed { vec![group.clone()] } else { Vec::new() };
            let newcomer = Person { id: AccountId(77), name: label("newcomer"), groups, ..facts.people[0].clone() };
            facts.people.push(newcomer);
            Some(AccountId(77))
        }
    };
    visitor.proofs.push(Proof::Password(PasswordHash { user: "anna".into(), phc: HASH.into() }));
    if let Some(account) = who {
        visitor.proofs.extend([Proof::Person(account), Proof::Session(SessionId(5)), Proof::Login(LoginId(4))]);
        let factors = Factors::NONE.with(Factor::Password).with(Factor::Totp).with(Factor::Passkey);
        let (kind, title, source) = (LoginKind::Browser, String::new(), None);
        let login = Login { id: LoginId(4), account, kind, factors, title, source, since: at, until: Timestamp::MAX };
        facts.login = Some(login);
        let until = Timestamp::MAX;
        facts.session = Some(Session {
            id: SessionId(5),
            service: ServiceId(1),
            account,
            opened_at: at,
            until,
            approved_by: Some(label("teachers")),
            version: 1,
        });
    }
    decide(policy, &visitor, &facts, at).map(|permit| permit.until())
}

#[test]
fn whoever_comes_as_was_supposed_is_answered_as_was_foreseen() {
    let policies = [PUBLIC, PASSWORD, CLASS, ROBOT, ROBOT_AT_SCHOOL, GUARDED, METERED, "{}"];
    let mut asked = 0;
    let everybody = [
        Supposed::Stranger,
        Supposed::Somebody,
        Supposed::MemberOf(label("class")),
        Supposed::MemberOf(label("other")),
        Supposed::Person(ANNA),
        Supposed::Person(BEN),
        Supposed::Person(CARL),
        Supposed::Person(DORA),
        Supposed::Person(AccountId(99)),
    ];
    for policy in policies.map(service) {
        for supposed in &everybody {
            for source in ["192.0.2.7", "198.51.100.1", "2001:db8::1"] {
                for at in [EIGHT, LATER, TEN, NIGHT, "2026-11-28T08:00:00Z"] {
                    let at = at.parse().unwrap();
                    let foreseen = foresee(&policy, supposed, Some(source.parse().unwrap()), &known(), at);
                    let foreseen = match foreseen {
                        Outlook::Yes(until) | Outlook::WithPassword(until) | Outlook::InSession(until) => Ok(until),
                        Outlook::No(why) => Err(why),
                    };
                    assert_eq!(foreseen, come(&policy, supposed, source, at), "{policy:?} {supposed:?} {source} {at}");
                    asked += 1;
                }
            }
        }
    }
    assert_eq!(asked, 8 * 9 * 3 * 5);
}
