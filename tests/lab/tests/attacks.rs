//! One person against another, and strangers against all, on the running gateway. What is done to the way between portal and
//! service is in `door.rs`; what a hostile page does in a real browser is in `tests/peers/tests/hostile.rs`.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

mod attacks {
    mod crowds;
    mod redirects;
    mod setup;
    mod signing_in;
    mod strangers;
}

use doorward_control::{NewPerson, TokenRequest, WelcomeAnswer};
use doorward_core::Secret;
use doorward_core::access::{Facts, HowDocument, PolicyDocument};
use doorward_core::authority::{Scope, TokenLimits};
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use doorward_core::session::Session;
use doorward_lab::browser::{Browser, Place};
use doorward_lab::visitor::{self, Answer, full, request, send};
use doorward_lab::web::{WebTarget, ok, web};
use doorward_lab::{Lab, LabDevice, Shape, people, service};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

const PORTAL: &str = "portal.gw.test";
const PAGE: &str = "page-pi.gw.test";
const ROBOT: &str = "robot-pi.gw.test";
const LOGIN: &str = "__Host-doorward";
const PASSWORD: &str = "drei müde Ziegen";

/// `page` and `robot` are anna's and ben's; `robot` is opened on request.
struct House {
    lab: Lab,
    page: WebTarget,
    anna: Arc<Person>,
    ben: Arc<Person>,
    _device: LabDevice,
}

impl House {
    async fn build() -> Self {
        let lab = Lab::of(Shape { has_portal: true, ..Shape::default() }).await;
        let page = web(|request| ok(request.path())).await;
        let (anna, ben) = (add(&lab, "anna", Role::Member).await, add(&lab, "ben", Role::Member).await);
        let mut open = service("page", &page.url());
        open.offer.access = people(&["anna", "ben"]);
        let mut robot = service("robot", &page.url());
        robot.offer.access = PolicyDocument {
            how: Some(HowDocument::OnRequest),
            max_duration: Some("1h".to_owned()),
            ..people(&["anna", "ben"])
        };
        let device = lab.device("pi", vec![open, robot]).await;
        Self { lab, page, anna, ben, _device: device }
    }

    fn browser(&self) -> Browser {
        Browser::new(self.lab.http())
    }

    async fn signed_in(&self, person: &Person) -> Browser {
        let mut browser = self.browser();
        let login = self.lab.control().begin_login(person.id, "Firefox, Linux", None, Timestamp::now()).await.unwrap();
        browser.set_cookie(PORTAL, LOGIN, login.token.expose());
        browser
    }

    async fn open_robot(&self, person: &Person) -> Session {
        let request = doorward_control::SessionRequest {
            account: person.id,
            service: self.lab.record("pi", "robot").service.id,
            length: SignedDuration::from_mins(30),
            source: None,
            id: None,
            proofs: Vec::new(),
        };
        self.lab.control().open_session(request, Timestamp::now()).await.unwrap()
    }

    /// A program of this person's.
    async fn api(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        let asked = request(PORTAL, path).method(method).header("authorization", format!("Bearer dw_{token}"));
        send(self.lab.http(), asked.body(full(body.to_owned())).unwrap()).await
    }
}

async fn add(lab: &Lab, name: &str, role: Role) -> Arc<Person> {
    let new = NewPerson { name: Label::parse(name).unwrap(), title: None, role, ends_at: None };
    lab.control().add_person(new, Timestamp::now()).await.unwrap()
}

/// All that this person may do.
async fn token(lab: &Lab, person: &Person) -> String {
    let request = TokenRequest {
        account: person.id,
        title: "a script".to_owned(),
        limits: TokenLimits { scope: Scope::Manage, services: None },
        length: SignedDuration::from_hours(1),
        source: None,
    };
    lab.control().make_token(request, Timestamp::now()).await.unwrap().token.expose().clone()
}

async fn give_password(lab: &Lab, person: &Person) {
    let (control, now) = (lab.control(), Timestamp::now());
    let made = control.make_own_welcome(person.id, SignedDuration::from_hours(1), now).await.unwrap();
    let source = doorward_lab::LOOPBACK;
    let answer = WelcomeAnswer { name: None, title: None, password: Secret::new(PASSWORD.to_owned()), source };
    let _proven = control.accept_welcome(&made.secret, answer, now).await.unwrap();
}

/// What a hidden field of a page holds.
fn field(page: &Answer, name: &str) -> String {
    let text = page.text();
    let (_, rest) = text.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{text}"));
    rest.split('"').next().unwrap().to_owned()
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_persons_session_is_neither_read_nor_extended_nor_ended_by_its_number() {
    let house = House::build().await;
    // One whose number stands in no path by chance.
    for _ in 0..40 {
        let session = house.open_robot(&house.anna).await;
        house.lab.control().end_session(session.id, None, Timestamp::now()).await.unwrap();
    }
    let session = house.open_robot(&house.anna).await;
    let (id, none) = (session.id.0.to_string(), "999999");
    let ben = token(&house.lab, &house.ben).await;
    let mut tried = 0;
    for (method, path) in [
        ("DELETE", "/api/v1/sessions/ID"),
        ("POST", "/api/v1/sessions/ID/extend"),
        ("GET", "/api/v1/sessions/ID"),
        ("PATCH", "/api/v1/sessions/ID"),
        ("POST", "/session/remove/ID"),
        ("DELETE", "/session/remove/ID"),
        ("DELETE", "/api/v1/sessions/%2BID"),
        ("DELETE", "/api/v1/sessions/ID/"),
        ("DELETE", "/api/v1//sessions/ID"),
        ("DELETE", "/api/v1/sessions/0ID"),
    ] {
        let told = async |number: &str| {
            let answer = house.api(&ben, method, &path.replace("ID", number), "{}").await;
            (answer.status, answer.text().replace(number, "ID"))
        };
        let (theirs, nobodys) = (told(&id).await, told(none).await);
        assert_eq!(theirs, nobodys, "{method} {path}: it looks like one that there is not");
        assert!(theirs.0.is_client_error(), "{method} {path}: {theirs:?}");
        tried += 1;
    }
    assert_eq!(tried, 10);
    for list in ["/api/v1/sessions", "/api/v1/sessions?all=true", "/api/v1/sessions?limit=1&after=999999"] {
        assert_eq!(house.api(&ben, "GET", list, "").await.text(), "[]", "{list}");
    }
    // In a browser, by a form that names another's number.
    let mut browser = house.signed_in(&house.ben).await;
    let home = browser.go(&Place::new(PORTAL, "/")).await;
    assert!(!home.text().contains(&format!("/sessions/{id}/")), "{}", home.text());
    let pressed = form(&[("form-token", &field(&home, "form-token"))]);
    browser.press(&Place::new(PORTAL, &format!("/sessions/{id}/end")), &pressed).await;
    let held = house.lab.control().snapshot().session(session.id).cloned();
    assert_eq!(held, Some(session), "as it was");
    // What one opened lets the other in no more than before.
    let (place, _) = browser.follow(&Place::new(ROBOT, "/a")).await;
    assert_eq!(place.host, PORTAL, "they are asked to open one of their own");
    let own = token(&house.lab, &house.anna).await;
    assert_eq!(house.api(&own, "DELETE", &format!("/api/v1/sessions/{id}"), "").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_worth_nothing_under_another_name_or_beside_another() {
    let house = House::build().await;
    let mut browser = house.signed_in(&house.anna).await;
    let (_, answer) = browser.follow(&Place::new(PAGE, "/a")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let number = house.lab.record("pi", "page").service.id;
    let name = format!("__Host-doorward-{number}");
    let pass = browser.cookie(PAGE, &name).unwrap();
    let asked = async |host: &str, lines: &[String]| {
        let mut asked = request(host, "/a");
        for line in lines {
            asked = asked.header("cookie", line);
        }
        send(house.lab.http(), asked.body(visitor::nothing()).unwrap()).await.status
    };
    assert_eq!(asked(PAGE, &[format!("{name}={pass}")]).await, StatusCode::OK);
    let before = house.page.requests().len();
    // A sibling tosses with Domain=, by a longer path or another spelling; what came twice is refused, in whatever order.
    let tossed = [
        vec![format!("{name}={pass}; {name}={pass}")],
        vec![format!("{name}={pass}"), format!("{name}=x")],
        vec![format!("{name}=x; a=b; {name}={pass}")],
    ];
    for lines in &tossed {
        assert_eq!(asked(PAGE, lines).await, StatusCode::BAD_REQUEST, "{lines:?}");
    }
    for other in [name.to_lowercase(), name.to_uppercase(), format!("={name}"), name.replace("__Host-", "__Secure-")] {
        assert_eq!(asked(PAGE, &[format!("{other}={pass}")]).await, StatusCode::UNAUTHORIZED, "{other}");
    }
    let (login, rest) = pass.split_once('.').expect("a pass names its login");
    let other = house.lab.control().begin_login(house.ben.id, "x", None, Timestamp::now()).await.unwrap();
    let changed = [
        format!("{}.{rest}", other.id.0),
        format!("{login}.{}", "A".repeat(rest.len())),
        format!("{login}."),
        format!("{pass}A"),
        String::new(),
        "a".repeat(6000),
    ];
    for value in changed {
        assert_eq!(asked(PAGE, &[format!("{name}={value}")]).await, StatusCode::UNAUTHORIZED, "{value}");
    }
    assert_eq!(house.page.requests().len(), before, "none of them came to the target");
}
