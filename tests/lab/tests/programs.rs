//! Programs, not only browsers: tokens at the web door, paths at which the application asks, services carried to a port.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use data_encoding::BASE64;
use doorward::admin::portal::Portal;
use doorward::open::{self, Opened, Reached, Wish};
use doorward_control::{AuditChoice, NewLogin, NewPerson, SessionRequest, TokenRequest};
use doorward_core::Secret;
use doorward_core::access::{HowDocument, PolicyDocument};
use doorward_core::authority::{Scope, TokenLimits};
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use doorward_core::session::Session;
use doorward_lab::target::{self, Target};
use doorward_lab::visitor::{self, Answer as Got, Ending, ending, request, request2, send};
use doorward_lab::web::{Answer, ENDLESS, WebTarget, ok, web};
use doorward_lab::{
    LIMIT, Lab, LabDevice, Shape, carries_much, is_echoed, people, says_back, service, until, websocket,
};
use http::StatusCode;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const PAGE: &str = "page-pi.localhost";
const VAULT: &str = "vault-pi.localhost";
const ROBOT: &str = "robot-pi.localhost";
const PRINTER: &str = "printer-pi.localhost";
const OPEN: &str = "open-pi.localhost";
const SOON: Duration = Duration::from_secs(1);

fn on_request() -> PolicyDocument {
    let how = Some(HowDocument::OnRequest);
    PolicyDocument { how, max_duration: Some("1h".to_owned()), ..people(&["anna"]) }
}

/// `page` and `printer` are anna's, `vault` ben's; `robot`, `shell` and `voice` are opened on request.
struct House {
    lab: Lab,
    page: WebTarget,
    anna: Arc<Person>,
    _device: LabDevice,
    _echoes: (Target, Target),
}

impl House {
    async fn build() -> Self {
        // Under this name the portal has the bare address, which is what a login's file can name without TLS.
        let lab = Lab::of(Shape { has_portal: true, domain: "localhost", ..Shape::default() }).await;
        let page = web(|request| match request.path() {
            path if path.ends_with("/endless") => Answer::Endless(ENDLESS.to_vec()),
            path => ok(path),
        })
        .await;
        let anna = add(&lab, "anna").await;
        add(&lab, "ben").await;
        let (shell, voice) = (target::echo().await, target::udp_echo().await);
        let with = |name: &str, url: &str, policy: PolicyDocument| {
            let mut service = service(name, url);
            service.offer.access = policy;
            service
        };
        let open_paths = vec!["/api/".to_owned()];
        let services = vec![
            with("page", &page.url(), people(&["anna"])),
            with("vault", &page.url(), people(&["ben"])),
            with("robot", &page.url(), on_request()),
            with("printer", &page.url(), PolicyDocument { open_paths, ..people(&["anna"]) }),
            with("open", &page.url(), PolicyDocument::public()),
            with("shell", &format!("tcp://{}", shell.address), on_request()),
            with("voice", &format!("udp://{}", voice.address), on_request()),
        ];
        let device = lab.device("pi", services).await;
        Self { lab, page, anna, _device: device, _echoes: (shell, voice) }
    }

    async fn token(&self, scope: Scope, services: &[&str]) -> NewLogin {
        let ids = services.iter().map(|name| self.lab.record("pi", name).service.id).collect::<Vec<_>>();
        let services = (!ids.is_empty()).then_some(ids);
        let request = TokenRequest {
            account: self.anna.id,
            title: "slicer".to_owned(),
            limits: TokenLimits { scope, services },
            length: SignedDuration::from_hours(1),
            source: None,
        };
        self.lab.control().make_token(request, Timestamp::now()).await.unwrap()
    }

    async fn open_session(&self, service: &str, length: SignedDuration) -> Session {
        let request = SessionRequest {
            account: self.anna.id,
            service: self.lab.record("pi", service).service.id,
            length,
            source: None,
            id: None,
            proofs: Vec::new(),
        };
        self.lab.control().open_session(request, Timestamp::now()).await.unwrap()
    }

    async fn ask(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> Got {
        let mut asked = request(host, path);
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        send(self.lab.http(), asked.body(visitor::nothing()).unwrap()).await
    }

    async fn ask_with(&self, token: &NewLogin, host: &str, path: &str) -> Got {
        self.ask(host, path, &[("doorward-token", &whole(token))]).await
    }
}

async fn add(lab: &Lab, name: &str) -> Arc<Person> {
    let new = NewPerson { name: Label::parse(name).unwrap(), title: None, role: Role::Guest, ends_at: None };
    lab.control().add_person(new, Timestamp::now()).await.unwrap()
}

fn whole(token: &NewLogin) -> String {
    format!("dw_{}", token.token.expose())
}

fn basic(token: &NewLogin) -> String {
    format!("Basic {}", BASE64.encode(format!("anybody:{}", whole(token)).as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_comes_in_by_a_token_however_it_sends_it_and_the_target_never_sees_it() {
    let house = House::build().await;
    let token = house.token(Scope::Visit, &["page"]).await;
    let (header, basic, bearer) = (whole(&token), basic(&token), format!("Bearer {}", whole(&token)));
    let never_seen = |what: &str| {
        let head = house.page.last().head.to_ascii_lowercase();
        assert!(!head.contains("dw_") && !head.contains("doorward"), "{what}: {head}");
        assert!(!head.contains(&token.token.expose().to_ascii_lowercase()), "{what}: {head}");
    };
    for (name, value) in [("doorward-token", &header), ("authorization", &basic), ("authorization", &bearer)] {
        let got = house.ask(PAGE, "/a?b=c", &[(name, value), ("accept", "text/html")]).await;
        assert_eq!((got.status, got.text().as_str()), (StatusCode::OK, "/a?b=c"), "{name}");
        assert_eq!(house.page.last().header("authorization"), None);
        never_seen(name);
    }
    let own = [("doorward-token", header.as_str()), ("authorization", "Bearer theirs"), ("x-api-key", "1")];
    assert_eq!(house.ask(PAGE, "/own", &own).await.status, StatusCode::OK);
    assert_eq!(house.page.last().all("authorization"), ["Bearer theirs"]);
    never_seen("beside the application's own");

    let two = visitor::http2(house.lab.https(), PAGE).await;
    let asked = request2(PAGE, "/two").header("authorization", &basic).body(visitor::nothing()).unwrap();
    assert_eq!(visitor::send2(&two, asked).await.text(), "/two");
    never_seen("inside HTTP/2");
    // Where nobody asks for it, it is not passed on either.
    assert_eq!(house.ask_with(&token, OPEN, "/x").await.status, StatusCode::OK);
    never_seen("at a public service");
    assert_eq!(house.ask(OPEN, "/x", &[("authorization", &basic)]).await.status, StatusCode::OK);
    never_seen("at a public service, by Basic");
    let twice = house.ask(PAGE, "/a", &[("doorward-token", &header), ("authorization", &basic)]).await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_a_token_that_counts_is_told_what_to_send_and_never_sent_to_sign_in() {
    let house = House::build().await;
    let elsewhere = house.token(Scope::Visit, &["page"]).await;
    let reader = house.token(Scope::Read, &[]).await;
    let wrong = format!("dw_{}", "x".repeat(43));
    let unknown = "unknown-pi.localhost";
    let plain = house.ask(PAGE, "/x", &[]).await;
    let seen = |got: &Got| (got.status, got.headers.get_all("www-authenticate").iter().cloned().collect::<Vec<_>>());
    assert_eq!((plain.status, plain.headers.get("location")), (StatusCode::UNAUTHORIZED, None));
    assert_eq!(plain.headers["content-type"], "application/problem+json");
    assert!(plain.headers["www-authenticate"].to_str().unwrap().starts_with("Basic "), "{plain:?}");
    let problem: serde_json::Value = serde_json::from_slice(&plain.body).unwrap();
    assert!(problem["remedy"].as_str().unwrap().contains("Doorward-Token"), "{problem}");
    let (elsewhere, reader) = (whole(&elsewhere), whole(&reader));
    for headers in [
        &[][..],
        &[("accept", "*/*"), ("authorization", "Bearer theirs")],
        &[("doorward-token", wrong.as_str())],
        &[("doorward-token", wrong.as_str()), ("accept", "text/html")],
        &[("doorward-token", reader.as_str())],
    ] {
        for host in [PAGE, VAULT, ROBOT, unknown] {
            let got = house.ask(host, "/x", headers).await;
            assert_eq!((seen(&got), &got.body), (seen(&plain), &plain.body), "{host} {headers:?}");
        }
    }
    for host in [VAULT, ROBOT, unknown] {
        let got = house.ask(host, "/x", &[("doorward-token", &elsewhere)]).await;
        assert_eq!((seen(&got), &got.body), (seen(&plain), &plain.body), "{host}");
    }
    let script = house.ask(PAGE, "/x", &[("sec-fetch-mode", "cors")]).await;
    let challenges = seen(&script).1;
    assert_eq!(script.status, StatusCode::UNAUTHORIZED);
    assert!(challenges.iter().all(|one| !one.as_bytes().starts_with(b"Basic")), "no browser asks for a password");
    assert_eq!(house.ask(PAGE, "/x", &[("accept", "text/html")]).await.status, StatusCode::SEE_OTHER);
    assert!(house.page.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_token_cuts_what_came_in_by_it_and_nothing_else() {
    let house = House::build().await;
    let (token, other) = (house.token(Scope::Visit, &["page"]).await, house.token(Scope::Visit, &["page"]).await);
    let stream = async |token: &NewLogin| {
        let two = visitor::http2(house.lab.https(), PAGE).await;
        let asked = request2(PAGE, "/endless").header("doorward-token", whole(token));
        let mut answer = two.clone().send_request(asked.body(visitor::nothing()).unwrap()).await.unwrap();
        assert!(timeout(LIMIT, answer.frame()).await.unwrap().unwrap().is_ok());
        answer
    };
    let (mut cut, mut kept) = (stream(&token).await, stream(&other).await);
    let since = Instant::now();
    house.lab.control().end_login(None, token.id, Timestamp::now()).await.unwrap();
    timeout(LIMIT, async { while matches!(cut.frame().await, Some(Ok(_))) {} }).await.unwrap();
    println!("cut after {:?}", since.elapsed());
    assert!(since.elapsed() < SOON);
    assert!(timeout(LIMIT, kept.frame()).await.unwrap().unwrap().is_ok(), "another token's goes on");
    assert_eq!(house.ask_with(&token, PAGE, "/x").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(house.ask_with(&other, PAGE, "/x").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_waits_for_a_session_of_its_person_and_is_cut_with_it() {
    let house = House::build().await;
    let token = house.token(Scope::Visit, &["robot"]).await;
    let got = house.ask_with(&token, ROBOT, "/x").await;
    assert_eq!((got.status, got.headers.get("location")), (StatusCode::FORBIDDEN, None));
    let problem: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("pi/robot"), "{problem}");
    assert!(problem["remedy"].as_str().unwrap().contains("/api/v1/sessions"), "{problem}");
    let session = house.open_session("robot", SignedDuration::from_mins(30)).await;
    assert_eq!(house.ask_with(&token, ROBOT, "/x").await.status, StatusCode::OK);
    let mut socket = TcpStream::connect(house.lab.http()).await.unwrap();
    let head = format!("GET /endless HTTP/1.1\r\nHost: {ROBOT}\r\nDoorward-Token: {}\r\n\r\n", whole(&token));
    tokio::io::AsyncWriteExt::write_all(&mut socket, head.as_bytes()).await.unwrap();
    tokio::io::AsyncReadExt::read_u8(&mut socket).await.unwrap();
    let since = Instant::now();
    house.lab.control().end_session(session.id, None, Timestamp::now()).await.unwrap();
    assert_eq!(ending(&mut socket, LIMIT).await, Ending::Reset);
    println!("cut after {:?}", since.elapsed());
    assert!(since.elapsed() < SOON);
    assert_eq!(house.ask_with(&token, ROBOT, "/x").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_slowed_down_and_written_down_and_the_right_one_goes_on() {
    let house = House::build().await;
    let (token, new) = (house.token(Scope::Visit, &["page"]).await, house.token(Scope::Visit, &["page"]).await);
    assert_eq!(house.ask_with(&token, PAGE, "/x").await.status, StatusCode::OK);
    let mut answers = Vec::new();
    for n in 0..25 {
        let host = if n % 2 == 0 { PAGE } else { "unknown-pi.localhost" };
        let guess = format!("dw_{}", format!("{n:02}").repeat(22).get(..43).unwrap());
        answers.push(house.ask(host, "/x", &[("doorward-token", &guess)]).await.status);
    }
    assert_eq!(answers[..20], [StatusCode::UNAUTHORIZED; 20]);
    assert_eq!(answers[20..], [StatusCode::TOO_MANY_REQUESTS; 5]);
    assert_eq!(house.ask_with(&token, PAGE, "/x").await.status, StatusCode::OK);
    assert_eq!(house.ask_with(&new, PAGE, "/x").await.status, StatusCode::TOO_MANY_REQUESTS);
    house.lab.control().flush_audit().await.unwrap();
    let choice = AuditChoice { deed: "visit-refused".to_owned(), ..AuditChoice::default() };
    let lines = house.lab.control().audit_of(&choice, 100).await.unwrap();
    let count: u64 =
        lines.iter().filter(|chained| chained.line.detail.contains("wrong-token")).map(|c| c.line.count).sum();
    assert_eq!(count, 20, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_an_open_path_the_application_asks_and_no_trick_leads_elsewhere() {
    let house = House::build().await;
    let theirs = [("authorization", "Bearer theirs"), ("x-api-key", "key"), ("x-original-url", "/settings")];
    let got = house.ask(PRINTER, "/api/version?x=1", &theirs).await;
    assert_eq!((got.status, got.text().as_str()), (StatusCode::OK, "/api/version?x=1"));
    let last = house.page.last();
    assert_eq!((last.header("authorization"), last.header("x-api-key")), (Some("Bearer theirs"), Some("key")));
    assert_eq!(last.header("x-original-url"), None, "where it goes is what it was let in for");
    let before = house.page.requests().len();
    for trick in [
        "/",
        "/settings",
        "/apis",
        "/api/../settings",
        "/api/%2e%2e/settings",
        "/api/..%2fsettings",
        "/api//../settings",
        "/api/..;/settings",
        "/api/.%252e/settings",
        "//api/x",
        "/x/../api/y",
        "/API/x",
        "/%61pi/x",
        "/api/x%00",
        "/api/..%5csettings",
        "/api/%c0%ae%c0%ae/settings",
        "/?/api/",
    ] {
        assert_eq!(house.ask(PRINTER, trick, &theirs).await.status, StatusCode::UNAUTHORIZED, "{trick}");
        assert_eq!(house.ask(VAULT, "/api/x", &theirs).await.status, StatusCode::UNAUTHORIZED, "no path of another's");
    }
    assert_eq!(house.page.requests().len(), before, "the target saw none of it");

    let two = visitor::http2(house.lab.https(), PRINTER).await;
    let asked = request2(PRINTER, "/api/endless").body(visitor::nothing()).unwrap();
    let mut running = two.clone().send_request(asked).await.unwrap();
    assert!(timeout(LIMIT, running.frame()).await.unwrap().unwrap().is_ok());
    let since = Instant::now();
    house.lab.set_access("pi", "printer", people(&["anna"])).await;
    timeout(LIMIT, async { while matches!(running.frame().await, Some(Ok(_))) {} }).await.unwrap();
    println!("cut after {:?}", since.elapsed());
    assert!(since.elapsed() < SOON);
    assert_eq!(house.ask(PRINTER, "/api/version", &theirs).await.status, StatusCode::UNAUTHORIZED);
}

/// As `doorward open` on anna's machine.
async fn open(house: &House, scope: Scope, service: &str) -> Result<Opened, open::OpenError> {
    let token = house.token(scope, &[]).await;
    let portal = Portal::new(&format!("http://{}", house.lab.http()), Secret::new(whole(&token)), None).unwrap();
    let wish = Wish { service: format!("pi/{service}").parse().unwrap(), length: "30m".to_owned(), port: 0 };
    Box::pin(open::open(&portal, &wish)).await
}

fn local(opened: &Opened) -> SocketAddr {
    match &opened.reached {
        Reached::Port { local, .. } => *local,
        Reached::Web(address) => panic!("{address} is a web service"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_opened_is_carried_both_ways_for_as_long_as_the_session_lasts() {
    let house = House::build().await;
    let mut opened = open(&house, Scope::Sessions, "shell").await.unwrap();
    let at = local(&opened);
    assert!(at.ip().is_loopback());
    carries_much(&mut TcpStream::connect(at).await.unwrap()).await;
    let mut held = TcpStream::connect(at).await.unwrap();
    says_back(&mut held, b"hello").await;
    let session = opened.session.clone().unwrap();
    let since = Instant::now();
    session.end().await.unwrap();
    assert_eq!(ending(&mut held, LIMIT).await, Ending::Reset);
    println!("cut after {:?}", since.elapsed());
    assert!(since.elapsed() < SOON);
    assert_eq!(visitor::knock(at).await, Ending::Reset);
    let trouble = timeout(LIMIT, opened.troubles.recv()).await.unwrap().unwrap().to_string();
    assert!(trouble.contains("pi/shell is used in a session"), "{trouble}");
    session.end().await.unwrap();
    drop(opened);
    until("the port is closed", async || TcpStream::connect(at).await.is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_are_carried_too_and_are_cut_with_the_token() {
    let house = House::build().await;
    let opened = open(&house, Scope::Sessions, "voice").await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(local(&opened)).await.unwrap();
    let mut buffer = vec![0; 65_536];
    for length in [1, 1200, 9000] {
        let packet = vec![length as u8; length];
        until("a packet comes back", async || {
            socket.send(&packet).await.unwrap();
            let back = timeout(Duration::from_millis(300), socket.recv(&mut buffer)).await;
            matches!(back, Ok(Ok(back)) if buffer[..back] == packet)
        })
        .await;
    }
    let open_before = house.lab.gateway.gateway.open_streams();
    assert!(open_before > 0);
    let since = Instant::now();
    house.lab.control().end_logins_of(house.anna.id, None, Timestamp::now()).await.unwrap();
    until("nothing is open any more", async || house.lab.gateway.gateway.open_streams() == 0).await;
    println!("cut after {:?}", since.elapsed());
    assert!(since.elapsed() < SOON);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_carried_to_whoever_may_not() {
    let house = House::build().await;
    let reader = open(&house, Scope::Read, "shell").await.unwrap_err().to_string();
    assert!(reader.contains("this token is not for that"), "{reader}");
    assert!(open(&house, Scope::Sessions, "nothing").await.is_err());
    let web = open(&house, Scope::Sessions, "robot").await.unwrap();
    assert!(matches!(&web.reached, Reached::Web(address) if address.contains(ROBOT)), "{:?}", web.reached);
    let token = house.token(Scope::Sessions, &[]).await;
    let bearer = format!("Bearer {}", whole(&token));
    let asked = async |path: &str, headers: &[(&str, &str)]| {
        let mut request =
            format!("ws://{}/.well-known/doorward/carry/{path}", house.lab.http()).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let socket = TcpStream::connect(house.lab.http()).await.unwrap();
        match tokio_tungstenite::client_async(request, socket).await {
            Ok((mut socket, _)) => {
                panic!("{path} is open: {}", websocket::is_answered(&mut socket, Message::text("x")).await)
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => answer.status(),
            Err(error) => panic!("{error}"),
        }
    };
    let with = [("authorization", bearer.as_str())];
    for (path, headers, status) in [
        ("pi/shell", &[][..], 401),
        ("pi/shell", &with[..], 403),
        ("pi/robot", &with[..], 401),
        ("pi/unknown", &with[..], 401),
        ("pi", &with[..], 401),
        ("pi/shell/x", &with[..], 401),
        ("pi/shell", &[with[0], ("origin", "http://page-pi.localhost")][..], 403),
    ] {
        assert_eq!(asked(path, headers).await.as_u16(), status, "{path} {headers:?}");
    }
    house.open_session("shell", SignedDuration::from_mins(5)).await;
    assert_eq!(
        asked("pi/shell", &[with[0], ("origin", "http://127.0.0.1")]).await.as_u16(),
        403,
        "pages carry nothing"
    );
    let by_session = open(&house, Scope::Sessions, "shell").await.unwrap();
    assert!(is_echoed(&mut TcpStream::connect(local(&by_session)).await.unwrap()).await);
}
