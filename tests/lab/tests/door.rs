//! The portal's host, and the way from a service to it and back.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_control::{NewLogin, NewPerson};
use doorward_core::access::{HowDocument, PolicyDocument, WhoDocument};
use doorward_core::names::{HostName, Label};
use doorward_core::person::{Person, Role};
use doorward_core::service::EntranceWish;
use doorward_lab::browser::{Browser, Place, leads_to};
use doorward_lab::visitor::{self, Answer as Got, Ending, get, http2, request, request2, send};
use doorward_lab::web::{Answer, ENDLESS, WebTarget, ok, web};
use doorward_lab::{LIMIT, Lab, LabDevice, Shape, service, until, websocket};
use http::StatusCode;
use http_body_util::BodyExt;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const PORTAL: &str = "portal.gw.test";
const PAGE: &str = "page-pi.gw.test";
const VAULT: &str = "vault-pi.gw.test";
const SOON: Duration = Duration::from_secs(1);
const LOGIN: &str = "__Host-doorward";
const STATE: &str = "__Host-doorward-state";

fn for_people(people: &[&str]) -> PolicyDocument {
    PolicyDocument {
        who: WhoDocument::People,
        people: people.iter().map(ToString::to_string).collect(),
        ..PolicyDocument::default()
    }
}

/// `page` is anna's and ben's, `vault` ben's alone, `robot` is opened on request.
struct House {
    lab: Lab,
    page: WebTarget,
    anna: Arc<Person>,
    device: LabDevice,
}

impl House {
    async fn build() -> Self {
        let lab = Lab::of(Shape { has_portal: true, ..Shape::default() }).await;
        let page = web(|request| match request.path() {
            "/endless" => Answer::Endless(ENDLESS.to_vec()),
            "/toss" => Answer::Whole(
                b"HTTP/1.1 200 OK\r\nset-cookie: __Host-doorward-state=evil; Path=/; Secure\r\n\
                  set-cookie: tossed=1; Domain=gw.test\r\ncontent-length: 0\r\n\r\n"
                    .to_vec(),
            ),
            path => ok(path),
        })
        .await;
        let anna = add(&lab, "anna").await;
        add(&lab, "ben").await;
        let on_request = PolicyDocument {
            how: Some(HowDocument::OnRequest),
            max_duration: Some("1h".to_owned()),
            ..for_people(&["anna"])
        };
        let with = |name: &str, policy: PolicyDocument| {
            let mut service = service(name, &page.url());
            service.offer.access = policy;
            service
        };
        let mut own = with("page", for_people(&["anna", "ben"]));
        own.offer.entrances.push(EntranceWish::Host(HostName::parse("own.gw.test").unwrap()));
        let services = vec![
            own,
            with("vault", for_people(&["ben"])),
            with("robot", on_request),
            with("nobody", PolicyDocument::default()),
            with("open", PolicyDocument::public()),
        ];
        let device = lab.device("pi", services).await;
        Self { lab, page, anna, device }
    }

    fn browser(&self) -> Browser {
        Browser::new(self.lab.http())
    }

    /// A browser that is signed in at the portal.
    async fn signed_in(&self) -> (Browser, NewLogin) {
        let mut browser = self.browser();
        let login = self.sign_in(&mut browser).await;
        (browser, login)
    }

    async fn sign_in(&self, browser: &mut Browser) -> NewLogin {
        let login =
            self.lab.control().begin_login(self.anna.id, "Firefox, Linux", None, Timestamp::now()).await.unwrap();
        browser.set_cookie(PORTAL, LOGIN, login.token.expose());
        login
    }

    /// The browser's own cookie for a service, as it is named there.
    fn pass_name(&self, name: &str) -> String {
        format!("__Host-doorward-{}", self.lab.record("pi", name).service.id)
    }
}

async fn add(lab: &Lab, name: &str) -> Arc<Person> {
    let new = NewPerson { name: Label::parse(name).unwrap(), title: None, role: Role::Member, ends_at: None };
    lab.control().add_person(new, Timestamp::now()).await.unwrap()
}

fn ours(head: &str) -> bool {
    head.to_ascii_lowercase().contains("doorward")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_sent_to_the_portal_and_comes_back_signed_in() {
    let house = House::build().await;
    let mut browser = house.browser();
    let start = Place::new(PAGE, "/a?b=c&d=//e");
    let answer = browser.go(&start).await;
    let door = leads_to(&start, &answer).expect("it is sent away");
    assert_eq!((door.host.as_str(), door.asked("host").unwrap().as_str()), (PORTAL, PAGE));
    assert_eq!(answer.headers["cache-control"], "no-store");
    let state = browser.cookie(PAGE, STATE).unwrap();
    assert!(!door.path.contains(&state), "what stays in the cookie is told to nobody");
    let sign_in = leads_to(&door, &browser.go(&door).await).unwrap();
    assert_eq!((sign_in.host.as_str(), sign_in.asked("then").unwrap()), (PORTAL, door.path.clone()));
    assert_eq!(browser.go(&sign_in).await.status, StatusCode::OK);

    house.sign_in(&mut browser).await;
    let enter = leads_to(&door, &browser.go(&door).await).unwrap();
    assert_eq!((enter.host.as_str(), enter.path.split('?').next().unwrap()), (PAGE, "/.well-known/doorward/enter"));
    let back = leads_to(&enter, &browser.go(&enter).await).unwrap();
    assert_eq!(back, start);
    let answer = browser.go(&back).await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "/a?b=c&d=//e"));
    assert!(browser.cookie(PAGE, &house.pass_name("page")).is_some());
    assert!(!ours(&house.page.last().head), "the target hears nothing of it: {}", house.page.last().head);
    browser.set_cookie(PAGE, "its-own", "1");
    browser.fetch(&start).await;
    assert_eq!(house.page.last().header("cookie"), Some("its-own=1"));
    let paths: Vec<_> = house.page.requests().iter().map(|request| request.path().to_owned()).collect();
    assert_eq!(paths, ["/a?b=c&d=//e", "/a?b=c&d=//e"], "nothing else ever came to it");

    // Another host of the same service is another door, and needs no second sign-in.
    let (place, answer) = browser.follow(&Place::new("own.gw.test", "/x")).await;
    assert_eq!((place, answer.text().as_str()), (Place::new("own.gw.test", "/x"), "/x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_tell_what_is_behind_a_name() {
    let house = House::build().await;
    let asked = async |lab: &Lab, host: &str, headers: &[(&str, &str)]| -> Got {
        let mut asked = request(host, "/x");
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        send(lab.http(), asked.body(visitor::nothing()).unwrap()).await
    };
    let names = [PAGE, VAULT, "robot-pi.gw.test", "nobody-pi.gw.test", "unknown-pi.gw.test", "x.y.gw.test", "gw.test"];
    let look = async |lab: &Lab| {
        let mut seen = Vec::new();
        for host in names {
            let sent = asked(lab, host, &[("accept", "text/html")]).await;
            let place = leads_to(&Place::new(host, "/x"), &sent).unwrap_or_else(|| panic!("{host}: {sent:?}"));
            let challenge = place.asked("challenge").unwrap();
            let sent_to = place.path.replace(host, "HOST").replace(&challenge, "CHALLENGE");
            let mut kept: Vec<_> = sent.headers.keys().map(ToString::to_string).collect();
            kept.sort();
            seen.push((place.host, sent_to, kept, sent.body));
        }
        assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
        // A program, a script and a WebSocket are not sent anywhere.
        for headers in [
            &[][..],
            &[("accept", "*/*")],
            &[("accept", "text/html"), ("sec-fetch-mode", "cors")],
            &[("upgrade", "websocket"), ("connection", "upgrade"), ("sec-fetch-mode", "websocket")],
        ] {
            let first = asked(lab, names[0], headers).await;
            assert_eq!(first.status, StatusCode::UNAUTHORIZED, "{headers:?}");
            for host in names {
                let other = asked(lab, host, headers).await;
                assert_eq!((other.status, other.body), (first.status, first.body.clone()), "{host} {headers:?}");
            }
        }
    };
    look(&house.lab).await;
    house.device.stop().await;
    let device = house.lab.record("pi", "page").service.device;
    until("the device is away", async || !house.lab.control().presence().is_online(device)).await;
    look(&house.lab).await;
    assert!(house.page.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_worth_nothing_again_elsewhere_or_in_another_browser() {
    let house = House::build().await;
    let (mut browser, _) = house.signed_in().await;
    let start = Place::new(PAGE, "/a");
    let door = leads_to(&start, &browser.go(&start).await).unwrap();
    let enter = leads_to(&door, &browser.go(&door).await).unwrap();

    let refused = async |browser: &mut Browser, place: &Place| {
        let answer = browser.go(place).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{place:?}");
        assert!(answer.text().contains("Not signed in"));
        assert_eq!(browser.cookie(&place.host, &house.pass_name("page")), None);
    };
    // Whoever saw the code but not the cookie: somebody else, or a victim who shall be signed in as an attacker.
    let mut other = house.browser();
    refused(&mut other, &enter).await;
    refused(&mut browser, &enter).await;

    let again = async |browser: &mut Browser| leads_to(&door, &browser.go(&door).await).unwrap();
    let enter = again(&mut browser).await;
    let mut victim = house.browser();
    victim.go(&start).await;
    assert!(victim.cookie(PAGE, STATE).is_some(), "they were on their way themselves");
    refused(&mut victim, &enter).await;

    // At another service, with the same state: a browser would not send it there, an attacker does.
    let enter = again(&mut browser).await;
    browser.set_cookie(VAULT, STATE, &browser.cookie(PAGE, STATE).unwrap());
    refused(&mut browser, &Place { host: VAULT.to_owned(), ..enter }).await;

    let enter = again(&mut browser).await;
    assert_eq!(leads_to(&enter, &browser.go(&enter).await), Some(start.clone()));
    let pass = browser.cookie(PAGE, &house.pass_name("page"));
    let answer = browser.go(&enter).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "a code is good once");
    assert_eq!(browser.cookie(PAGE, &house.pass_name("page")), pass);
    for (method, path) in [("HEAD", enter.path.as_str()), ("POST", &enter.path), ("GET", "/.well-known/doorward/other")]
    {
        let asked = request(PAGE, path).method(method).header("accept", "*/*");
        let answer = send(house.lab.http(), asked.body(visitor::nothing()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
    }
    assert!(house.page.requests().is_empty(), "none of this came to a target");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_services_cookie_opens_nothing_else_and_none_is_tossed() {
    let house = House::build().await;
    let (mut browser, _) = house.signed_in().await;
    let (_, answer) = browser.follow(&Place::new(PAGE, "/a")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let pass = browser.cookie(PAGE, &house.pass_name("page")).unwrap();
    let login = browser.cookie(PORTAL, LOGIN).unwrap();
    let program = async |host: &str, cookies: &str| {
        let asked = request(host, "/a").header("cookie", cookies);
        send(house.lab.http(), asked.body(visitor::nothing()).unwrap()).await.status
    };
    assert_eq!(program(PAGE, &format!("{}={pass}", house.pass_name("page"))).await, StatusCode::OK);
    for name in ["page", "robot", "vault"] {
        let cookies = format!("{}={pass}", house.pass_name(name));
        for host in [VAULT, "robot-pi.gw.test", "own.gw.test"] {
            assert_eq!(program(host, &cookies).await, StatusCode::UNAUTHORIZED, "{name} at {host}");
        }
    }
    assert_eq!(program(PAGE, &format!("{LOGIN}={login}")).await, StatusCode::UNAUTHORIZED, "the portal's own cookie");
    let asked = request(PORTAL, "/").header("cookie", format!("{LOGIN}={pass}"));
    let at_portal = send(house.lab.http(), asked.body(visitor::nothing()).unwrap()).await;
    assert_eq!(at_portal.status, StatusCode::UNAUTHORIZED, "and the other way");
    // A sibling that tosses one in with Domain= makes it come twice.
    let twice = format!("{0}=x; {0}={pass}", house.pass_name("page"));
    assert_eq!(program(PAGE, &twice).await, StatusCode::BAD_REQUEST);
    assert_eq!(program(PORTAL, &format!("{LOGIN}=x; {LOGIN}={login}")).await, StatusCode::BAD_REQUEST);
    let before = browser.cookie(PAGE, STATE).unwrap();
    let tossed = browser.go(&Place::new(PAGE, "/toss")).await;
    assert_eq!(tossed.headers.get_all("set-cookie").iter().filter(|value| ours(value.to_str().unwrap())).count(), 0);
    assert!(tossed.headers.get_all("set-cookie").iter().all(|value| !value.to_str().unwrap().contains("gw.test")));
    assert_eq!(browser.cookie(PAGE, STATE).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_anywhere_but_to_services_that_they_may_use() {
    let house = House::build().await;
    let (mut browser, _) = house.signed_in().await;
    let door = leads_to(&Place::new(PAGE, "/"), &browser.go(&Place::new(PAGE, "/")).await).unwrap();
    let challenge = door.asked("challenge").unwrap();
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let to_door = |host: &str, to: &str| {
        Place::new(PORTAL, &format!("/door?host={}&challenge={challenge}&to={}", encode(host), encode(to)))
    };
    let first = browser.go(&to_door("unknown-pi.gw.test", "/")).await;
    assert_eq!(first.status, StatusCode::NOT_FOUND);
    let evil = [
        "evil.test",
        "page-pi.gw.test.evil.test",
        "page-pi.gw.test@evil.test",
        "evil.test/page-pi.gw.test",
        "",
        "gw.test",
    ];
    for host in evil.into_iter().chain([VAULT, "nobody-pi.gw.test", PORTAL]) {
        let answer = browser.go(&to_door(host, "/")).await;
        assert_eq!((answer.status, &answer.body), (first.status, &first.body), "{host} looks like what there is not");
        assert!(answer.headers.get("location").is_none());
    }
    for to in ["//evil.test", "/\\evil.test", "https://evil.test", "", "/\t/evil.test", "javascript:alert(1)"] {
        assert_eq!(browser.go(&to_door(PAGE, to)).await.status, StatusCode::NOT_FOUND, "{to:?}");
        let enter = leads_to(&door, &browser.go(&to_door(PAGE, "/ok")).await).unwrap();
        let code = enter.asked("code").unwrap();
        let enter = Place::new(PAGE, &format!("/.well-known/doorward/enter?code={code}&to={}", encode(to)));
        assert_eq!(leads_to(&enter, &browser.go(&enter).await), Some(Place::new(PAGE, "/")), "{to:?}");
    }
    // Back from a wrong code, too.
    let lost = browser.go(&Place::new(PAGE, "/.well-known/doorward/enter?code=x&to=//evil.test")).await;
    assert!(lost.text().contains("href=\"/\"") && !lost.text().contains("evil.test"), "{}", lost.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_login_opened_is_cut_within_a_second_of_its_end() {
    let house = House::build().await;
    let echo = websocket::echo().await;
    let mut live = service("live", &echo.url());
    live.offer.access = for_people(&["anna"]);
    let _other = house.lab.device("other", vec![live]).await;
    let host = "live-other.gw.test";
    for by_sign_out in [false, true] {
        let (mut browser, login) = house.signed_in().await;
        browser.follow(&Place::new(PAGE, "/a")).await;
        browser.go(&Place::new(host, "/")).await;
        let door = leads_to(&Place::new(host, "/"), &browser.go(&Place::new(host, "/")).await).unwrap();
        let enter = leads_to(&door, &browser.go(&door).await).unwrap();
        browser.go(&enter).await;

        let mut asked = format!("ws://{host}/live").into_client_request().unwrap();
        asked.headers_mut().insert("cookie", browser.cookies(host).parse().unwrap());
        let socket = TcpStream::connect(house.lab.http()).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(asked, socket).await.unwrap();
        assert!(websocket::is_answered(&mut socket, Message::text("well?")).await);
        let two = http2(house.lab.https(), PAGE).await;
        let asked = request2(PAGE, "/endless").header("cookie", browser.cookies(PAGE));
        let mut stream = two.clone().send_request(asked.body(visitor::nothing()).unwrap()).await.unwrap();
        assert_eq!(stream.status(), StatusCode::OK);
        assert!(timeout(LIMIT, stream.frame()).await.unwrap().unwrap().is_ok());

        let since = Instant::now();
        if by_sign_out {
            let home = browser.go(&Place::new(PORTAL, "/")).await;
            let out = browser.press(&Place::new(PORTAL, "/sign-out"), &format!("form-token={}", token(&home))).await;
            assert_eq!(out.status, StatusCode::SEE_OTHER);
        } else {
            house.lab.control().end_login(Some(house.anna.id), login.id, Timestamp::now()).await.unwrap();
        }
        let ended = timeout(LIMIT, websocket::until_ended(&mut socket)).await.unwrap();
        println!("the WebSocket: {ended:?} after {:?}", since.elapsed());
        assert_eq!(ended, Ending::Reset);
        assert!(since.elapsed() < SOON);
        let broken = async { while matches!(stream.frame().await, Some(Ok(_))) {} };
        timeout(LIMIT, broken).await.unwrap();
        println!("the HTTP/2 stream: after {:?}", since.elapsed());
        assert!(since.elapsed() < SOON);
        let asked = request2("open-pi.gw.test", "/on").body(visitor::nothing()).unwrap();
        assert_eq!(visitor::send2(&two, asked).await.text(), "/on", "its connection goes on");

        let next = browser.go(&Place::new(PAGE, "/a")).await;
        assert_eq!(leads_to(&Place::new(PAGE, "/a"), &next).unwrap().host, PORTAL);
        assert_eq!(browser.fetch(&Place::new(PAGE, "/a")).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(browser.follow(&Place::new(PAGE, "/a")).await.0.path.split('?').next(), Some("/sign-in"));
    }
    assert_eq!(get(house.lab.http(), "open-pi.gw.test", "/x").await.status, StatusCode::OK);
}

/// What the hidden field of a page's forms holds.
fn token(page: &Got) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("name=\"form-token\" value=\"").expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_opened_by_one_press_and_its_end_is_explained() {
    let house = House::build().await;
    let (mut browser, _) = house.signed_in().await;
    let start = Place::new("robot-pi.gw.test", "/endless");
    let (asking, page) = browser.follow(&start).await;
    assert_eq!((asking.host.as_str(), page.status), (PORTAL, StatusCode::OK));
    assert!(page.text().contains("value=\"5\"") && page.text().contains("value=\"60\""), "{}", page.text());
    assert!(!page.text().contains("value=\"120\""), "longer than its policy allows");
    assert_eq!(house.lab.control().snapshot().sessions().count(), 0, "looking opens nothing");
    let way = form_urlencoded::byte_serialize(asking.path.as_bytes()).collect::<String>();
    let press = Place::new(PORTAL, "/door");
    let forged = browser.press(&press, &format!("form-token=x&way={way}&minutes=5")).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    let opened = browser.press(&press, &format!("form-token={}&way={way}&minutes=5", token(&page))).await;
    assert!(opened.text().contains("http-equiv=\"refresh\""), "{}", opened.text());
    let session = house.lab.control().snapshot().sessions().next().unwrap().clone();
    assert_eq!((session.account, session.until.duration_since(session.opened_at).as_mins()), (house.anna.id, 5));
    let enter = leads_to(&asking, &browser.go(&asking).await).unwrap();
    assert_eq!(leads_to(&enter, &browser.go(&enter).await).unwrap(), start);

    let two = http2(house.lab.https(), &start.host).await;
    let asked = request2(&start.host, "/endless").header("cookie", browser.cookies(&start.host));
    let mut stream = two.clone().send_request(asked.body(visitor::nothing()).unwrap()).await.unwrap();
    assert!(timeout(LIMIT, stream.frame()).await.unwrap().unwrap().is_ok());
    let since = Instant::now();
    house.lab.control().end_session(session.id, None, Timestamp::now()).await.unwrap();
    timeout(LIMIT, async { while matches!(stream.frame().await, Some(Ok(_))) {} }).await.unwrap();
    println!("the stream of an ended session: after {:?}", since.elapsed());
    assert!(since.elapsed() < SOON);

    let script = browser.fetch(&start).await;
    assert_eq!(script.status, StatusCode::FORBIDDEN);
    assert!(script.text().contains("no session is open for you"), "{}", script.text());
    let (asking, page) = browser.follow(&start).await;
    assert_eq!(asking.host, PORTAL);
    assert!(page.text().contains("somebody ended it"), "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portal_hears_where_its_visitors_come_from_and_keeps_its_name() {
    let house = House::build().await;
    let answer = get(house.lab.http(), PORTAL, "/healthz").await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "ok\n"));
    for spelling in ["PORTAL.gw.test", "portal.gw.test.", "portal.gw.test:8443"] {
        assert_eq!(get(house.lab.http(), spelling, "/healthz").await.status, StatusCode::OK, "{spelling}");
    }
    let two = http2(house.lab.https(), PORTAL).await;
    let answer = visitor::send2(&two, request2(PORTAL, "/healthz").body(visitor::nothing()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    // From one network alone: a code is given to those who would be let in from where they are.
    let far = PolicyDocument { from: Some(vec!["192.0.2.0/24".to_owned()]), ..for_people(&["anna"]) };
    house.lab.set_access("pi", "page", far).await;
    let (mut browser, _) = house.signed_in().await;
    let (place, answer) = browser.follow(&Place::new(PAGE, "/a")).await;
    assert_eq!((place.host.as_str(), answer.status), (PORTAL, StatusCode::NOT_FOUND));
    let near = PolicyDocument { from: Some(vec!["127.0.0.0/8".to_owned()]), ..for_people(&["anna"]) };
    house.lab.set_access("pi", "page", near).await;
    assert_eq!(browser.follow(&Place::new(PAGE, "/a")).await.1.text(), "/a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_sibling_host_does_nothing_with_the_visitors_cookie() {
    let house = House::build().await;
    let (mut browser, _) = house.signed_in().await;
    browser.follow(&Place::new(PAGE, "/a")).await;
    let before = house.page.requests().len();
    let cookies = browser.cookies(PAGE);
    for (name, value) in [("origin", "https://vault-pi.gw.test"), ("sec-fetch-site", "same-site")] {
        let post = request(PAGE, "/act").method("POST").header("cookie", &cookies).header(name, value);
        let answer = send(house.lab.http(), post.body(visitor::nothing()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}");
    }
    assert_eq!(house.page.requests().len(), before);
    let post = request(PAGE, "/act").method("POST").header("cookie", &cookies).header("sec-fetch-site", "same-origin");
    assert_eq!(send(house.lab.http(), post.body(visitor::nothing()).unwrap()).await.status, StatusCode::OK);
}
