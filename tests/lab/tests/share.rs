//! Share links: what opens them, what uses them up, and what ends with them.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_control::{MadeShare, ShareStanding, Viewer, accounts};
use doorward_core::ShareId;
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_core::share::{Share, ShareWish};
use doorward_lab::browser::{Browser, Place, leads_to};
use doorward_lab::camera::camera;
use doorward_lab::looking::image_over;
use doorward_lab::visitor::{self, Answer as Got, Ending, http2, request, request2, send};
use doorward_lab::web::{Answer, ENDLESS, WebTarget, ok, web};
use doorward_lab::{LIMIT, Lab, LabDevice, Shape, service, until, websocket};
use http::StatusCode;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const PORTAL: &str = "portal.gw.test";
const CAM: &str = "cam-pi.gw.test";
const LIVE: &str = "live-pi.gw.test";
const SIBLING: &str = "sibling-pi.gw.test";
const SOON: Duration = Duration::from_secs(1);

/// As they introduce themselves when they look at what somebody sent to somebody.
const UNFURLERS: [&str; 8] = [
    "WhatsApp/2.23.20.0",
    "TelegramBot (like TwitterBot)",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Twitterbot/1.0",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
    "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
];

/// `cam` is for nobody but whoever has a link, `live` says WebSocket messages back, `sibling` is another service like them.
struct House {
    lab: Lab,
    cam: WebTarget,
    /// While it says back.
    _live: websocket::EchoTarget,
    _device: LabDevice,
}

impl House {
    async fn build() -> Self {
        let lab = Lab::of(Shape { has_portal: true, ..Shape::default() }).await;
        let cam = web(|request| match request.path() {
            "/endless" => Answer::Endless(ENDLESS.to_vec()),
            path => ok(path),
        })
        .await;
        let live = websocket::echo().await;
        let shared = |name: &str, target: &str| {
            let mut service = service(name, target);
            let (who, share_links) = (WhoDocument::Nobody, Some("7d".to_owned()));
            service.offer.access = PolicyDocument { who, share_links, ..PolicyDocument::default() };
            service
        };
        let services = vec![shared("cam", &cam.url()), shared("live", &live.url()), shared("sibling", &cam.url())];
        let device = lab.device("pi", services).await;
        Self { lab, cam, _live: live, _device: device }
    }

    async fn share(&self, name: &str, wish: ShareWish) -> MadeShare {
        let service = self.lab.record("pi", name).service.id;
        self.lab.control().make_share(service, accounts::OWNER, wish, Timestamp::now()).await.unwrap()
    }

    fn share_now(&self, made: &MadeShare) -> Share {
        self.lab.control().share(made.share.id).unwrap()
    }

    async fn viewers(&self, id: ShareId) -> Vec<Viewer> {
        let shares = self.lab.control().shares(Timestamp::now()).await.unwrap();
        shares.into_iter().find(|share| share.share.id == id).unwrap().viewers
    }

    fn browser(&self) -> Browser {
        Browser::new(self.lab.http())
    }
}

fn wish() -> ShareWish {
    let length = SignedDuration::from_hours(4);
    ShareWish { title: String::new(), length, uses: None, is_read_only: false, has_pin: false }
}

fn page_of(made: &MadeShare) -> Place {
    let (_, secret) = made.url.expose().rsplit_once('/').unwrap();
    Place::new(PORTAL, &format!("/share/{secret}"))
}

/// The value of an attribute that follows `before`.
fn after<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    rest.split('"').next()
}

/// Opens the link's page and presses the button, as a person does.
async fn press(browser: &mut Browser, place: &Place, pin: &str) -> Got {
    let page = browser.go(place).await;
    let text = page.text();
    let Some(token) = after(&text, "name=\"form-token\" value=\"") else { return page };
    browser.press(place, &format!("form-token={token}&pin={pin}")).await
}

/// From the press to where it leads.
async fn come_in(browser: &mut Browser, made: &MadeShare) -> (Place, Got) {
    let pressed = press(browser, &page_of(made), "").await;
    let text = pressed.text();
    let onward = after(&text, "content=\"0;url=").unwrap_or_else(|| panic!("{text}"));
    browser.follow(&Place::new(PORTAL, onward)).await
}

fn is_over(answer: &Got) -> bool {
    answer.status == StatusCode::NOT_FOUND && answer.text().contains("This link is over")
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_and_scanners_of_links_use_nothing_up_and_presses_are_counted() {
    let house = House::build().await;
    let made = house.share("cam", ShareWish { uses: NonZeroU32::new(2), ..wish() }).await;
    let place = page_of(&made);
    for agent in UNFURLERS {
        for method in ["GET", "HEAD"] {
            let asked = request(PORTAL, &place.path).method(method).header("user-agent", agent);
            let answer = send(house.lab.http(), asked.body(visitor::nothing()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::OK, "{method} as {agent}");
            assert_eq!(answer.headers["referrer-policy"], "same-origin", "the link stands in the path");
            assert_eq!(answer.headers["cache-control"], "no-store");
        }
    }
    let mut seen = BTreeSet::new();
    for has_cookies in [false, true] {
        seen.extend(scan(&house, &place, has_cookies).await);
    }
    assert!(seen.contains("/assets/site.css") && seen.len() > 2, "it followed what there was: {seen:?}");
    let forged = house.browser().press(&place, "form-token=x").await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN, "what another site sends is no press");
    assert_eq!(house.share_now(&made).used, 0);
    assert!(house.cam.requests().is_empty(), "and nothing of it came to the service");

    let mut first = house.browser();
    let (there, answer) = come_in(&mut first, &made).await;
    assert_eq!((there.host.as_str(), answer.text().as_str()), (CAM, "/"));
    assert_eq!(house.share_now(&made).used, 1);
    // The same browser again, from the link and from the service's address.
    come_in(&mut first, &made).await;
    assert_eq!(first.follow(&Place::new(CAM, "/x?y=z")).await.1.text(), "/x?y=z");
    assert_eq!(house.share_now(&made).used, 1);
    let mut second = house.browser();
    assert_eq!(come_in(&mut second, &made).await.1.text(), "/");
    let mut third = house.browser();
    let over = third.go(&place).await;
    assert!(is_over(&over), "used up: {}", over.text());
    let unknown = third.go(&Place::new(PORTAL, "/share/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")).await;
    assert_eq!((unknown.status, unknown.body), (over.status, over.body), "as a link that never was");
    assert_eq!(house.share_now(&made).used, 2);
}

/// Follows whatever a page names, and what that names, by GET. `has_cookies`: as a browser would.
async fn scan(house: &House, start: &Place, has_cookies: bool) -> BTreeSet<String> {
    let mut keeping = house.browser();
    let (mut seen, mut next) = (BTreeSet::new(), vec![start.path.clone()]);
    while let Some(path) = next.pop() {
        if !seen.insert(path.clone()) || seen.len() > 50 {
            continue;
        }
        let mut fresh = house.browser();
        let browser = if has_cookies { &mut keeping } else { &mut fresh };
        let text = browser.go(&Place::new(PORTAL, &path)).await.text();
        for before in ["href=\"", "src=\"", "action=\"", "url="] {
            let named = text.split(before).skip(1).filter_map(|rest| rest.split('"').next());
            next.extend(named.filter(|named| named.starts_with('/')).map(str::to_owned));
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_for_looking_lets_nothing_else_pass_counts_nowhere_else_and_tells_who_looks() {
    let mut house = House::build().await;
    let made = house.share("cam", ShareWish { is_read_only: true, ..wish() }).await;
    let mut browser = house.browser();
    come_in(&mut browser, &made).await;
    assert!(!house.cam.last().head.to_ascii_lowercase().contains("doorward"), "{}", house.cam.last().head);
    let cookies = browser.cookies(CAM);
    let asked = async |lab: &Lab, host: &str, method: &str, header: (&str, &str)| {
        let asked = request(host, "/act").method(method).header("cookie", &cookies).header(header.0, header.1);
        send(lab.http(), asked.body(visitor::nothing()).unwrap()).await.status
    };
    let own = ("sec-fetch-site", "same-origin");
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert_eq!(asked(&house.lab, CAM, method, own).await, StatusCode::OK, "{method}");
    }
    let before = house.cam.requests().len();
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        assert_eq!(asked(&house.lab, CAM, method, own).await, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    let disguised = asked(&house.lab, CAM, "GET", ("x-http-method-override", "DELETE")).await;
    assert_eq!(disguised, StatusCode::METHOD_NOT_ALLOWED);
    // The same cookie at a sibling, under its own name and the sibling's.
    assert_eq!(asked(&house.lab, SIBLING, "GET", own).await, StatusCode::UNAUTHORIZED);
    let [cam, sibling] = ["cam", "sibling"].map(|name| house.lab.record("pi", name).service.id);
    let renamed = cookies.replace(&format!("share-{cam}="), &format!("share-{sibling}="));
    assert_ne!(renamed, cookies);
    let replayed = request(SIBLING, "/act").header("cookie", renamed).body(visitor::nothing()).unwrap();
    assert_eq!(send(house.lab.http(), replayed).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(house.cam.requests().len(), before, "none of this came to a target");

    // A stream is watched by somebody who is listed, with what they got.
    let two = http2(house.lab.https(), CAM).await;
    let asked_for = request2(CAM, "/endless").header("cookie", &cookies);
    let mut stream = two.clone().send_request(asked_for.body(visitor::nothing()).unwrap()).await.unwrap();
    assert!(timeout(LIMIT, stream.frame()).await.unwrap().unwrap().is_ok());
    let viewers = house.viewers(made.share.id).await;
    assert_eq!((viewers.len(), viewers[0].number, viewers[0].is_looking), (1, 1, true), "{viewers:?}");
    assert_eq!(viewers[0].source, doorward_lab::LOOPBACK);
    assert!(viewers[0].since >= made.share.made_at);
    let counted = async || house.viewers(made.share.id).await[0].down > 0;
    until("what passes is counted", counted).await;
    drop((stream, two));

    house.lab = house.lab.restart_gateway().await;
    let online = async || {
        let asked = request(CAM, "/again").header("cookie", &cookies).body(visitor::nothing()).unwrap();
        send(house.lab.http(), asked).await.status == StatusCode::OK
    };
    until("it comes in as before a restart", online).await;
    assert_eq!(house.share_now(&made).used, 1);
    assert_eq!(asked(&house.lab, CAM, "POST", own).await, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_siblings_do_nothing_with_the_cookie_of_a_link() {
    let house = House::build().await;
    let made = house.share("cam", wish()).await;
    let mut browser = house.browser();
    come_in(&mut browser, &made).await;
    let cookies = browser.cookies(CAM);
    let post = async |name: &str, value: &str| {
        let asked = request(CAM, "/act").method("POST").header("cookie", &cookies).header(name, value);
        send(house.lab.http(), asked.body(visitor::nothing()).unwrap()).await.status
    };
    assert_eq!(post("origin", "https://sibling-pi.gw.test").await, StatusCode::FORBIDDEN);
    assert_eq!(post("sec-fetch-site", "same-site").await, StatusCode::FORBIDDEN);
    assert_eq!(post("sec-fetch-site", "same-origin").await, StatusCode::OK, "its own may");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_asked_for_and_guesses_are_few() {
    let house = House::build().await;
    let made = house.share("cam", ShareWish { has_pin: true, ..wish() }).await;
    let (place, pin) = (page_of(&made), made.pin.as_ref().unwrap().expose().clone());
    let wrong = if pin == "123456" { "123457" } else { "123456" };
    let mut browser = house.browser();
    let page = browser.go(&place).await.text();
    assert!(page.contains("name=\"pin\"") && !page.contains("cam"), "nothing is told before: {page}");
    let refused = press(&mut browser, &place, wrong).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text().contains("This is not the PIN"), "{}", refused.text());
    assert_eq!(press(&mut browser, &place, &pin).await.status, StatusCode::OK);
    assert!(!browser.go(&place).await.text().contains("name=\"pin\""), "it is asked for once");
    let mut others = house.browser();
    let mut answers = Vec::new();
    for _ in 0..11 {
        answers.push(press(&mut others, &place, wrong).await.status.as_u16());
    }
    assert_eq!(answers.iter().filter(|status| **status == 403).count(), 9, "ten in all: {answers:?}");
    assert!(answers.ends_with(&[429, 429]), "{answers:?}");
    let share = house.share_now(&made);
    assert_eq!(share.used, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_is_cut_within_a_second_when_a_link_is_revoked_or_ends() {
    let house = House::build().await;
    for by_hand in [true, false] {
        let length = if by_hand { SignedDuration::from_hours(1) } else { SignedDuration::from_secs(12) };
        let made = house.share("live", ShareWish { length, ..wish() }).await;
        let watched = house.share("cam", ShareWish { length, is_read_only: true, ..wish() }).await;
        let mut browser = house.browser();
        // The answer of the service that speaks WebSocket alone is of no interest.
        come_in(&mut browser, &made).await;
        come_in(&mut browser, &watched).await;
        let mut asked = format!("ws://{LIVE}/live").into_client_request().unwrap();
        asked.headers_mut().insert("cookie", browser.cookies(LIVE).parse().unwrap());
        let socket = TcpStream::connect(house.lab.http()).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(asked, socket).await.unwrap();
        assert!(websocket::is_answered(&mut socket, Message::text("well?")).await);
        let two = http2(house.lab.https(), CAM).await;
        let asked = request2(CAM, "/endless").header("cookie", browser.cookies(CAM));
        let mut stream = two.clone().send_request(asked.body(visitor::nothing()).unwrap()).await.unwrap();
        assert!(timeout(LIMIT, stream.frame()).await.unwrap().unwrap().is_ok());

        let late = if by_hand {
            let since = Instant::now();
            for share in [&made, &watched] {
                house.lab.control().revoke_share(share.share.id, None, Timestamp::now()).await.unwrap();
            }
            Box::new(move |_: &MadeShare| since.elapsed()) as Box<dyn Fn(&MadeShare) -> Duration>
        } else {
            Box::new(|share: &MadeShare| {
                let late = Timestamp::now().duration_since(share.share.until);
                // In the store it ends at a whole millisecond.
                assert!(late > SignedDuration::from_millis(-10), "it was cut before its time: {late}");
                Duration::try_from(late).unwrap_or_default()
            })
        };
        let ended = timeout(LIMIT, websocket::until_ended(&mut socket)).await.unwrap();
        println!("the WebSocket: {ended:?} after {:?}", late(&made));
        assert_eq!(ended, Ending::Reset);
        assert!(late(&made) < SOON);
        timeout(LIMIT, async { while matches!(stream.frame().await, Some(Ok(_))) {} }).await.unwrap();
        println!("the HTTP/2 stream: after {:?}", late(&watched));
        assert!(late(&watched) < SOON);

        assert!(is_over(&browser.go(&page_of(&watched)).await), "the link leads nowhere, for whoever came by it, too");
        assert!(is_over(&press(&mut house.browser(), &page_of(&watched), "").await));
        let told = browser.go(&Place::new(CAM, "/")).await;
        assert_eq!(told.status, StatusCode::FORBIDDEN);
        assert!(told.text().contains("The link by which you came here is over"), "{}", told.text());
        let next = browser.go(&Place::new(CAM, "/")).await;
        assert_eq!(leads_to(&Place::new(CAM, "/"), &next).unwrap().host, PORTAL, "a stranger from then on");
        let shares = house.lab.control().shares(Timestamp::now()).await.unwrap();
        let standing = shares.iter().find(|share| share.share.id == watched.share.id).unwrap().standing;
        assert_eq!(matches!(standing, ShareStanding::Revoked(_)), by_hand, "{standing:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_is_looked_at_by_a_link_for_looking_until_that_is_taken_back() {
    let lab = Lab::of(Shape { has_portal: true, ..Shape::default() }).await;
    let film = camera(Duration::from_millis(50), 10_000).await;
    let mut door = film.service("door");
    let (who, share_links) = (WhoDocument::Nobody, Some("7d".to_owned()));
    door.offer.access = PolicyDocument { who, share_links, ..PolicyDocument::default() };
    let _device = lab.device("pi", vec![door]).await;
    let service = lab.record("pi", "door").service.id;
    let wished = ShareWish { is_read_only: true, ..wish() };
    let made = lab.control().make_share(service, accounts::OWNER, wished, Timestamp::now()).await.unwrap();
    let mut browser = Browser::new(lab.http());
    let text = press(&mut browser, &page_of(&made), "").await.text();
    let onward = after(&text, "content=\"0;url=").unwrap_or_else(|| panic!("{text}"));
    let mut place = Place::new(PORTAL, onward);
    // The last step leads to the stream itself, which has no end.
    for _ in 0..6 {
        let answer = browser.go(&place).await;
        place = leads_to(&place, &answer).unwrap_or_else(|| panic!("{answer:?}"));
        if place.path == "/" {
            break;
        }
    }
    assert_eq!(place, Place::new("door-pi.gw.test", "/"));
    let cookies = format!("cookie: {}\r\n", browser.cookies(&place.host));
    let socket = TcpStream::connect(lab.http()).await.unwrap();
    let mut looking = image_over(socket, &place.host, "/", &cookies).await;
    looking.next().await.unwrap();
    let snapshot = request(&place.host, "/snapshot").header("cookie", browser.cookies(&place.host));
    let snapshot = send(lab.http(), snapshot.body(visitor::nothing()).unwrap()).await;
    assert_eq!((snapshot.status, snapshot.body.len()), (StatusCode::OK, 10_000));
    let since = Instant::now();
    lab.control().revoke_share(made.share.id, None, Timestamp::now()).await.unwrap();
    while looking.next().await.is_some() {}
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    until("the camera is let go", async || film.open() == 0).await;
}
