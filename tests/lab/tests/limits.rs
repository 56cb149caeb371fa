//! What policies limit: visits at once, bytes a second, bytes a day, and looking alone.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_control::Protocol;
use doorward_core::access::{LimitsDocument, PolicyDocument};
use doorward_lab::ssh::{gateway, run};
use doorward_lab::visitor::{self, Ending, ending, knock};
use doorward_lab::{LIMIT, Lab, LabDevice, service, target, until, web, websocket};
use http::header::{ALLOW, RETRY_AFTER};
use http::{Method, StatusCode};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(1);

fn limited(limits: LimitsDocument) -> PolicyDocument {
    PolicyDocument { limits: Some(limits), ..PolicyDocument::public() }
}

fn none() -> LimitsDocument {
    LimitsDocument::default()
}

/// A device with an echo, a flood and a web service, all public and without limits.
struct Place {
    lab: Lab,
    device: LabDevice,
    site: web::WebTarget,
    _targets: Vec<target::Target>,
}

impl Place {
    async fn open() -> Self {
        let lab = Lab::start().await;
        let (echo, flood) = (target::echo().await, target::flood().await);
        let site = web::web(|_| web::ok("seen")).await;
        let mut pipe = service("echo", &format!("tcp://{}", echo.address));
        pipe.offer.virtual_port = Some(7);
        let services = vec![pipe, service("flood", &format!("tcp://{}", flood.address)), service("site", &site.url())];
        let device = lab.device("pi", services).await;
        Self { lab, device, site, _targets: vec![echo, flood] }
    }

    async fn limit(&self, service: &str, limits: LimitsDocument) {
        self.lab.set_access("pi", service, limited(limits)).await;
    }

    fn port(&self, service: &str) -> SocketAddr {
        self.lab.port("pi", service, Protocol::Tcp)
    }

    async fn held(&self, service: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.port(service)).await.unwrap();
        assert!(is_alive(&mut socket).await);
        socket
    }

    async fn ask(&self, method: Method) -> visitor::Answer {
        let request = visitor::request(HOST, "/").method(method).body(visitor::nothing()).unwrap();
        visitor::send(self.lab.http(), request).await
    }
}

const HOST: &str = "site-pi.gw.test";

async fn is_alive(socket: &mut TcpStream) -> bool {
    let echoing = async {
        socket.write_all(b"well?").await?;
        socket.read_exact(&mut [0; 5]).await
    };
    matches!(timeout(LIMIT, echoing).await, Ok(Ok(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_visits_than_are_allowed_come_in_at_once_and_fewer_cut_the_last() {
    let place = Place::open().await;
    place.limit("echo", LimitsDocument { connections: Some(2), ..none() }).await;
    let mut first = place.held("echo").await;
    let mut second = place.held("echo").await;
    assert_eq!(knock(place.port("echo")).await, Ending::Reset, "the third is turned away");
    let since = Instant::now();
    place.limit("echo", LimitsDocument { connections: Some(1), ..none() }).await;
    assert_ne!(ending(&mut second, LIMIT).await, Ending::StillOpen);
    println!("one visit too many: cut after {:?}", since.elapsed());
    assert!(since.elapsed() < SOON && is_alive(&mut first).await, "the first stays");
    drop(first);
    until("there is room again", async || {
        let Ok(mut socket) = TcpStream::connect(place.port("echo")).await else { return false };
        is_alive(&mut socket).await
    })
    .await;
    place.limit("echo", LimitsDocument { connections_each: Some(1), ..none() }).await;
    let _first = place.held("echo").await;
    assert_eq!(knock(place.port("echo")).await, Ending::Reset, "from the same address");
}

/// How many bytes come in so many seconds.
async fn bytes_in(socket: &mut TcpStream, seconds: f64) -> f64 {
    let (mut buffer, mut bytes) = (vec![0; 65_536], 0);
    let end = tokio::time::Instant::now() + Duration::from_secs_f64(seconds);
    while let Ok(read) = tokio::time::timeout_at(end, socket.read(&mut buffer)).await {
        bytes += read.unwrap();
    }
    bytes as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_within_a_twentieth_is_shared_fairly_and_changes_what_runs() {
    let place = Place::open().await;
    place.limit("flood", LimitsDocument { rate: Some("400 kB".into()), ..none() }).await;
    let mut one = TcpStream::connect(place.port("flood")).await.unwrap();
    let alone = bytes_in(&mut one, 6.0).await / 6.0;
    println!("a rate of 400 kB/s, alone: {:.1} kB/s", alone / 1000.0);
    assert!((alone / 400_000.0 - 1.0).abs() < 0.05, "{alone}");

    let mut two = TcpStream::connect(place.port("flood")).await.unwrap();
    let (first, second) = tokio::join!(bytes_in(&mut one, 6.0), bytes_in(&mut two, 6.0));
    println!("two of them: {:.1} and {:.1} kB/s", first / 6000.0, second / 6000.0);
    assert!(((first + second) / 2_400_000.0 - 1.0).abs() < 0.05, "together {}", first + second);
    assert!((first / second - 1.0).abs() < 0.1, "{first} and {second}");
    drop(two);

    place.limit("flood", LimitsDocument { rate: Some("100 kB".into()), ..none() }).await;
    bytes_in(&mut one, 1.0).await;
    let slower = bytes_in(&mut one, 4.0).await / 4.0;
    println!("100 kB/s from now on: {:.1} kB/s", slower / 1000.0);
    assert!((slower / 100_000.0 - 1.0).abs() < 0.05, "{slower}");

    place.limit("flood", LimitsDocument { rate_each: Some("50 kB".into()), ..none() }).await;
    assert_ne!(ending(&mut one, LIMIT).await, Ending::StillOpen, "it was begun with more than each may have now");
    let (mut one, mut two) = (
        TcpStream::connect(place.port("flood")).await.unwrap(),
        TcpStream::connect(place.port("flood")).await.unwrap(),
    );
    let (first, second) = tokio::join!(bytes_in(&mut one, 4.0), bytes_in(&mut two, 4.0));
    println!("50 kB/s each: {:.1} and {:.1} kB/s", first / 4000.0, second / 4000.0);
    assert!([first, second].iter().all(|bytes| (bytes / 200_000.0 - 1.0).abs() < 0.05), "{first} and {second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_up_is_as_slow_as_what_comes_down_and_a_new_rate_cuts_what_had_none() {
    let place = Place::open().await;
    let mut free = place.held("echo").await;
    let since = Instant::now();
    place.limit("echo", LimitsDocument { rate: Some("200 kB".into()), ..none() }).await;
    assert_ne!(ending(&mut free, LIMIT).await, Ending::StillOpen);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let mut socket = place.held("echo").await;
    let (mut reader, mut writer) = socket.split();
    let since = Instant::now();
    let said = vec![7; 1_000_000];
    let mut heard = vec![0; said.len()];
    let (sent, read) = tokio::join!(writer.write_all(&said), reader.read_exact(&mut heard));
    sent.unwrap();
    read.unwrap();
    println!("1 MB up and down at 200 kB/s: {:?}", since.elapsed());
    assert!((since.elapsed().as_secs_f64() / 5.0 - 1.0).abs() < 0.05, "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_to_look_at_is_looked_at_by_the_web_alone() {
    let place = Place::open().await;
    let chat = websocket::echo().await;
    let (mut site, mut talk) = (service("site", &place.site.url()), service("talk", &chat.url()));
    site.offer.virtual_port = Some(80);
    (site.offer.access, talk.offer.access) =
        (limited(LimitsDocument { read_only: true, ..none() }), limited(LimitsDocument { read_only: true, ..none() }));
    place.device.offer(vec![site, talk]).await;
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        assert_eq!(place.ask(method.clone()).await.status, StatusCode::OK, "{method}");
    }
    let before = place.site.requests().len();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = place.ask(method.clone()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers[ALLOW], "GET, HEAD, OPTIONS");
        assert!(answer.text().contains("may be looked at"), "{}", answer.text());
    }
    let disguised = visitor::request(HOST, "/").header("X-HTTP-Method-Override", "DELETE");
    let answer = visitor::send(place.lab.http(), disguised.body(visitor::nothing()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    let upgrade =
        visitor::request("talk-pi.gw.test", "/").header("connection", "upgrade").header("upgrade", "websocket");
    let upgrade = upgrade.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let answer = visitor::send(place.lab.http(), upgrade.body(visitor::nothing()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "a WebSocket is more than looking");
    assert_eq!(place.site.requests().len(), before, "nothing reached the target");

    let anna = place.lab.ssh_person("anna").await;
    let mut command = place.lab.openssh(&anna.path());
    command.args(["-W", "pi:80", &gateway()]);
    let by_ssh = run(command).await;
    assert!(!by_ssh.is_success && by_ssh.said.contains("nothing of that name"), "{by_ssh:?}");
}

fn a_day(amount: &str) -> LimitsDocument {
    LimitsDocument { per_day: Some(amount.into()), zone: Some("UTC".into()), ..none() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_up_is_cut_says_when_it_goes_on_and_stays_so_over_restarts() {
    let place = Place::open().await;
    for service in ["flood", "site"] {
        place.limit(service, a_day("3 MB")).await;
    }
    let mut notices = place.lab.control().alerts();
    let mut held = TcpStream::connect(place.port("flood")).await.unwrap();
    let how = timeout(LIMIT, async {
        let mut bytes = 0_u64;
        loop {
            match held.read(&mut vec![0; 65_536]).await {
                Ok(0) | Err(_) => return bytes,
                Ok(read) => bytes += read as u64,
            }
        }
    });
    let bytes = how.await.expect("it is cut");
    println!("a budget of 3 MB, and no rate: {:.1} MB came through", bytes as f64 / 1e6);
    assert!(bytes > 2_000_000);
    assert_eq!(knock(place.port("flood")).await, Ending::Reset);
    let notice = timeout(LIMIT, notices.recv()).await.expect("somebody is told").unwrap();
    println!("{:?}", notice.notice);
    assert_eq!(place.ask(Method::GET).await.status, StatusCode::OK, "another service has its own");

    let big = "x".repeat(1_000_000);
    let request = || visitor::request(HOST, "/").method(Method::POST).body(visitor::full(big.clone())).unwrap();
    until("the web service's is used up, too", async || {
        // One that was under way is cut.
        let answer = visitor::http1(place.lab.http()).await.send_request(request()).await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE)
    })
    .await;
    let answer = place.ask(Method::GET).await;
    let seconds: i64 = answer.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&seconds), "{seconds}");
    assert!(answer.text().contains("It goes on at 20") && answer.text().contains("00:00 UTC"), "{}", answer.text());

    let spent = |place: &Place| place.lab.control().spent(place.lab.record("pi", "site").service.id).unwrap().day.bytes;
    let before = spent(&place);
    let Place { lab, device, site, _targets } = place;
    let state = device.stop().await;
    let lab = lab.restart_gateway().await;
    let mut again = service("site", &site.url());
    again.offer.access = PolicyDocument::public();
    let place = Place { lab, device: LabDevice::start(state, vec![again]), site, _targets };
    place.device.until_registered().await;
    assert_eq!(place.ask(Method::GET).await.status, StatusCode::SERVICE_UNAVAILABLE, "after a restart of both");
    assert!(spent(&place) >= before, "{} after {before}", spent(&place));
    place.limit("site", a_day("1 GB")).await;
    assert_eq!(place.ask(Method::GET).await.status, StatusCode::OK, "a larger one lets in at once");
}
