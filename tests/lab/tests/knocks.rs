//! Knocking: one packet opens the sessions of the person whose key made it, and nothing is ever answered. What must not open
//! anything is sent first, then a knock that does: packets of one sender are heard in their order.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward::knock::{Sending, send};
use doorward_agent::Service;
use doorward_control::{AuditChoice, KnockKeyRequest, PersonEdit};
use doorward_core::knock::{Knock, KnockKey, KnockLine, LENGTH, Nonce, Tag, Whence};
use doorward_core::names::Label;
use doorward_core::service::EntranceWish;
use doorward_core::session::Session;
use doorward_lab::sessions::on_request;
use doorward_lab::visitor::{connect_from, get, request, send as ask};
use doorward_lab::web::{ok, web};
use doorward_lab::{LOOPBACK, Lab, LabDevice, Shape, is_echoed, service, target, until};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
const BOTH: [&str; 2] = ["pi/shell", "pi/game"];

/// Anna has a phone, and two services that a session opens.
struct House {
    lab: Lab,
    line: KnockLine,
    _device: LabDevice,
    _echo: target::Target,
}

impl House {
    async fn build(may_be_seen: bool) -> Self {
        let lab = Lab::of(Shape { knock: Some(0), ..Shape::default() }).await;
        let echo = target::echo().await;
        let anna = lab.person("anna").await;
        let at_port = |name: &str| -> Service {
            let mut service = service(name, &format!("tcp://{}", echo.address));
            (service.offer.entrances, service.offer.access) = (vec![EntranceWish::SessionPort], on_request(&["anna"]));
            service
        };
        let device = lab.device("pi", vec![at_port("shell"), at_port("game")]).await;
        let services = ["shell", "game"].map(|name| lab.record("pi", name).service.id).to_vec();
        let name = Label::parse("phone").unwrap();
        let request = KnockKeyRequest { account: anna.id, name, services, may_be_seen };
        let made = lab.control().make_knock_key(request, Timestamp::now()).await.unwrap();
        let line = KnockLine { port: door(&lab).port(), ..made.line };
        Self { lab, line, _device: device, _echo: echo }
    }

    fn packet(&self, nonce: u8, knock: &Knock) -> [u8; LENGTH] {
        KnockKey::new(&self.line.secret).seal(self.line.id, Nonce([nonce; 16]), knock)
    }

    /// Sends what must open nothing, then what opens the game, from the same place.
    async fn in_vain(&self, packets: &[Vec<u8>], nonce: u8) {
        let socket = from(HERE, door(&self.lab)).await;
        for packet in packets {
            socket.send(packet).await.unwrap();
        }
        socket.send(&self.packet(nonce, &meaning(&BOTH[1..], Whence::At(HERE)))).await.unwrap();
        until("the game is open", async || self.session("game").is_some()).await;
        assert!(self.session("shell").is_none(), "the shell was opened");
    }

    fn session(&self, name: &str) -> Option<Session> {
        let snapshot = self.lab.control().snapshot();
        let anna = snapshot.person_by_name(&Label::parse("anna").unwrap()).unwrap().id;
        snapshot.session_for(anna, self.lab.record("pi", name).service.id).map(|session| Session::clone(session))
    }

    async fn end_all(&self) {
        for name in ["shell", "game"] {
            if let Some(session) = self.session(name) {
                self.lab.control().end_session(session.id, None, Timestamp::now()).await.unwrap();
            }
        }
    }

    async fn refused(&self) -> Vec<String> {
        self.lab.control().flush_audit().await.unwrap();
        let choice = AuditChoice { deed: "knock-refused".to_owned(), ..AuditChoice::default() };
        let lines = self.lab.control().audit_of(&choice, 100).await.unwrap();
        lines.into_iter().map(|chained| chained.line.detail).collect()
    }

    async fn lets_in(&self, port: SocketAddr, from: IpAddr) -> bool {
        match connect_from(from, port).await {
            Ok(mut socket) => is_echoed(&mut socket).await,
            Err(_) => false,
        }
    }
}

fn door(lab: &Lab) -> SocketAddr {
    lab.gateway.gateway.bound().knock[0]
}

async fn from(ip: IpAddr, door: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).await.unwrap();
    socket.connect(door).await.unwrap();
    socket
}

fn meaning(services: &[&str], whence: Whence) -> Knock {
    let named = services.iter().map(|path| Tag::of(path)).collect();
    Knock { sent_at: Timestamp::now(), whence, length: None, named }
}

fn shell(whence: Whence) -> Knock {
    meaning(&BOTH[..1], whence)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_knock_opens_a_session_and_its_port_for_that_source_alone() {
    let house = House::build(false).await;
    let knock = meaning(&[], Whence::At(HERE));
    from(HERE, door(&house.lab)).await.send(&house.packet(1, &knock)).await.unwrap();
    until("both are open", async || house.session("shell").is_some() && house.session("game").is_some()).await;
    let session = house.session("shell").unwrap();
    house.lab.until_listening().await;
    let port = house.lab.session_port(&session);
    assert!(house.lets_in(port, HERE).await);
    assert!(!house.lets_in(port, ELSEWHERE).await);
    // Anna goes elsewhere, and says so in the same way.
    let again = meaning(&[], Whence::At(ELSEWHERE));
    from(ELSEWHERE, door(&house.lab)).await.send(&house.packet(2, &again)).await.unwrap();
    until("she comes in from there, too", async || house.lets_in(port, ELSEWHERE).await).await;
    assert_eq!(house.session("shell").unwrap().id, session.id, "it is the same session");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_once_opens_nothing_again_and_neither_after_a_restart() {
    let mut house = House::build(true).await;
    let packet = house.packet(1, &shell(Whence::AsSeen)).to_vec();
    from(HERE, door(&house.lab)).await.send(&packet).await.unwrap();
    until("the shell is open", async || house.session("shell").is_some()).await;
    house.end_all().await;
    house.in_vain(&[packet.clone(), packet.clone()], 2).await;
    house.end_all().await;
    house.lab = house.lab.restart_gateway().await;
    house.in_vain(&[packet], 3).await;
    assert!(house.refused().await.iter().any(|line| line.contains("replayed")), "{:?}", house.refused().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_times_other_sources_other_keys_and_noise_open_nothing() {
    let house = House::build(false).await;
    let at = |minutes: i64| {
        let sent_at = Timestamp::now() + SignedDuration::from_mins(minutes);
        Knock { sent_at, ..shell(Whence::At(HERE)) }
    };
    let whole = house.packet(10, &shell(Whence::At(HERE))).to_vec();
    let mut changed = whole.clone();
    changed[60] ^= 1;
    let stranger = KnockKey::new(&doorward_core::Secret::new([1; 32]));
    let forged = stranger.seal(house.line.id, Nonce([11; 16]), &shell(Whence::At(HERE)));
    let packets = [
        house.packet(1, &at(-6)).to_vec(),
        house.packet(2, &at(6)).to_vec(),
        house.packet(3, &shell(Whence::At(ELSEWHERE))).to_vec(),
        house.packet(4, &shell(Whence::AsSeen)).to_vec(),
        forged.to_vec(),
        changed,
        whole[..LENGTH - 1].to_vec(),
        [&whole[..], &[0]].concat(),
        vec![1; LENGTH],
        Vec::new(),
        vec![0; 9000],
    ];
    house.in_vain(&packets, 20).await;
    let refused = house.refused().await;
    for word in ["other-time", "other-source", "no-source"] {
        assert!(refused.iter().any(|line| line.contains(word)), "{word}: {refused:?}");
    }
    // A clock that is four minutes late is late enough to be let in.
    from(HERE, door(&house.lab)).await.send(&house.packet(21, &at(-4))).await.unwrap();
    until("the shell is open", async || house.session("shell").is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_disabled_and_a_key_that_was_removed_open_nothing() {
    let house = House::build(false).await;
    let (control, now) = (house.lab.control(), Timestamp::now());
    let anna = house.lab.person("anna").await.id;
    let disabled = |is_disabled| PersonEdit { is_disabled: Some(is_disabled), ..PersonEdit::default() };
    control.edit_person(anna, disabled(true), None, now).await.unwrap();
    let socket = from(HERE, door(&house.lab)).await;
    socket.send(&house.packet(1, &shell(Whence::At(HERE)))).await.unwrap();
    until("it was refused", async || house.refused().await.iter().any(|line| line.contains("nobody-there"))).await;
    control.edit_person(anna, disabled(false), None, now).await.unwrap();
    let id = control.knock_keys(None).await.unwrap()[0].id;
    let services = vec![house.lab.record("pi", "game").service.id];
    let name = Label::parse("tablet").unwrap();
    let request = KnockKeyRequest { account: anna, name, services, may_be_seen: false };
    let other = control.make_knock_key(request, now).await.unwrap().line;
    control.remove_knock_key(None, id, now).await.unwrap();
    socket.send(&house.packet(2, &shell(Whence::At(HERE)))).await.unwrap();
    let last = KnockKey::new(&other.secret).seal(other.id, Nonce([3; 16]), &meaning(&[], Whence::At(HERE)));
    socket.send(&last).await.unwrap();
    until("the game is open", async || house.session("game").is_some()).await;
    assert!(house.session("shell").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_knocks_and_nobody_hears_an_answer() {
    let house = House::build(false).await;
    let socket = from(HERE, door(&house.lab)).await;
    for packet in [house.packet(1, &shell(Whence::At(ELSEWHERE))).to_vec(), vec![1; LENGTH], vec![7; 20]] {
        socket.send(&packet).await.unwrap();
    }
    let line = KnockLine { host: doorward_core::site::Host::Ip(LOOPBACK), ..house.line.clone() };
    let sending = Sending { line, source: None, only: vec!["pi/shell".to_owned()], length: None };
    let sent = send(&sending).await.unwrap();
    assert!(sent.described("home").contains("as 127.0.0.1"), "{}", sent.described("home"));
    until("the shell is open", async || house.session("shell").is_some()).await;
    assert!(house.session("game").is_none(), "it named the shell alone");
    socket.send(&house.packet(2, &meaning(&BOTH[1..], Whence::At(HERE)))).await.unwrap();
    until("the game is open", async || house.session("game").is_some()).await;
    let mut heard = [0; 1];
    assert!(timeout(Duration::from_millis(200), socket.recv(&mut heard)).await.is_err(), "something was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_portal_is_there_for_whoever_knocked_and_for_others_like_a_name_that_is_nobodys() {
    let shape = Shape { has_portal: true, hides_portal: true, knock: Some(0), ..Shape::default() };
    let lab = Lab::of(shape).await;
    let page = web(|request| ok(request.path())).await;
    let anna = lab.person("anna").await;
    let mut offered = service("page", &page.url());
    offered.offer.access = doorward_lab::people(&["anna"]);
    let _device = lab.device("pi", vec![offered]).await;
    let request_for = |host: &str, path: &str| {
        let browser = request(host, path).header("accept", "text/html").header("sec-fetch-mode", "navigate");
        browser.body(doorward_lab::visitor::nothing()).unwrap()
    };
    let paths = ["/", "/sign-in", "/api/v1/openapi.json", "/.well-known/doorward/start", "/door?host=page-pi.gw.test"];
    for path in paths {
        let nobodys = ask(lab.http(), request_for("no-such.gw.test", path)).await;
        for host in ["portal.gw.test", "page-pi.gw.test"] {
            let answer = ask(lab.http(), request_for(host, path)).await;
            let of = |answer: &doorward_lab::visitor::Answer| (answer.status, answer.headers.clone(), answer.text());
            let without_date = |mut of: (StatusCode, http::HeaderMap, String)| {
                of.1.remove("date");
                of
            };
            assert_eq!(without_date(of(&answer)), without_date(of(&nobodys)), "{host}{path}");
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{host}{path}");
        }
    }
    assert_eq!(get(lab.http(), "page-pi.gw.test", "/").await.status, StatusCode::NOT_FOUND, "for programs, too");

    let name = Label::parse("door").unwrap();
    let request = KnockKeyRequest { account: anna.id, name, services: Vec::new(), may_be_seen: false };
    let made = lab.control().make_knock_key(request, Timestamp::now()).await.unwrap().line;
    let host = doorward_core::site::Host::Ip(LOOPBACK);
    let line = KnockLine { host, port: door(&lab).port(), ..made };
    send(&Sending { line, source: None, only: Vec::new(), length: None }).await.unwrap();
    until("the portal is there", async || {
        ask(lab.http(), request_for("portal.gw.test", "/sign-in")).await.status == StatusCode::OK
    })
    .await;
    let sent_there = ask(lab.http(), request_for("page-pi.gw.test", "/")).await;
    assert_eq!(sent_there.status, StatusCode::SEE_OTHER, "and services lead to it");
}
