//! A session's own public port, for foreign software that proves nothing: bound to the session and to the addresses from
//! which its person was seen to come.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_agent::Service;
use doorward_control::{AuditChoice, NoPort, Protocol};
use doorward_core::access::PolicyDocument;
use doorward_core::audit::Line;
use doorward_core::service::EntranceWish;
use doorward_core::session::Session;
use doorward_lab::sessions::on_request;
use doorward_lab::visitor::{Ending, connect_from, ending};
use doorward_lab::{LIMIT, LOOPBACK, Lab, LabDevice, Shape, is_echoed, people, service, target, until};
use jiff::{SignedDuration, Timestamp};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(1);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
const HALF_AN_HOUR: SignedDuration = SignedDuration::from_mins(30);

fn with_ports(name: &str, url: &str, access: PolicyDocument) -> Service {
    let mut service = service(name, url);
    (service.offer.entrances, service.offer.access) = (vec![EntranceWish::SessionPort], access);
    service
}

/// Two people, a shell and a game that each opens for a while.
struct House {
    lab: Lab,
    services: Vec<Service>,
    _device: LabDevice,
    _targets: (target::Target, target::Target),
}

impl House {
    async fn build(session_ports: Option<String>) -> Self {
        let lab = Lab::of(Shape { session_ports, ..Shape::default() }).await;
        let (echo, game) = (target::echo().await, target::udp_echo().await);
        for name in ["anna", "ben"] {
            lab.person(name).await;
        }
        let policy = on_request(&["anna", "ben"]);
        let mut shell = with_ports("shell", &format!("tcp://{}", echo.address), policy.clone());
        shell.offer.virtual_port = Some(22);
        let game_service = with_ports("game", &format!("udp://{}", game.address), policy);
        let services = vec![shell, game_service];
        let device = lab.device("pi", services.clone()).await;
        Self { lab, services, _device: device, _targets: (echo, game) }
    }

    async fn usual() -> Self {
        Self::build(Shape::default().session_ports).await
    }

    async fn open(&self, person: &str, service: &str) -> Session {
        self.lab.open_session(person, ("pi", service), HALF_AN_HOUR, LOOPBACK).await
    }

    /// Whether this session's person comes in at its port from there.
    async fn lets_in(&self, port: SocketAddr, from: IpAddr) -> bool {
        match connect_from(from, port).await {
            Ok(mut socket) => is_echoed(&mut socket).await,
            Err(_) => false,
        }
    }

    async fn refused(&self) -> Vec<Line> {
        self.lab.control().flush_audit().await.unwrap();
        let choice = AuditChoice { deed: "visit-refused".to_owned(), ..AuditChoice::default() };
        let lines = self.lab.control().audit_of(&choice, 1000).await.unwrap();
        lines.into_iter().map(|chained| chained.line).collect()
    }
}

async fn flow(to: SocketAddr, from: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

async fn is_answered(socket: &UdpSocket, limit: Duration) -> bool {
    let mut heard = [0; 16];
    socket.send(b"well?").await.is_ok() && matches!(timeout(limit, socket.recv(&mut heard)).await, Ok(Ok(5)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_a_port_of_its_own_and_whoever_comes_from_elsewhere_gets_what_strangers_get() {
    let house = House::usual().await;
    assert_eq!(house.lab.control().snapshot().session_ports().count(), 0, "nothing listens before");
    let session = house.open("anna", "shell").await;
    let port = house.lab.session_port(&session);
    let reach = house.lab.control().session_reach(&session, Timestamp::now()).unwrap();
    let place = reach.place.unwrap();
    assert_eq!((place.port, place.line), (port.port(), format!("ssh -p {} USER@127.0.0.1", port.port())));
    let mut socket = TcpStream::connect(port).await.unwrap();
    assert!(is_echoed(&mut socket).await);
    // The reset may come before the connection is told to stand.
    match connect_from(ELSEWHERE, port).await {
        Ok(mut stranger) => assert_eq!(ending(&mut stranger, LIMIT).await, Ending::Reset, "not a byte"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    let refused = house.refused().await;
    assert!(refused.iter().any(|line| line.detail.contains("other-source")), "{refused:?}");

    let game = house.open("anna", "game").await;
    let at = house.lab.session_port(&game);
    assert_eq!(
        house.lab.control().session_reach(&game, Timestamp::now()).unwrap().place.unwrap().line,
        format!("127.0.0.1:{}", at.port())
    );
    assert!(is_answered(&flow(at, LOOPBACK).await, LIMIT).await);
    assert!(!is_answered(&flow(at, ELSEWHERE).await, SOON).await, "silence");

    let further = house.lab.control().note_session_source(session.id, ELSEWHERE, Timestamp::now());
    further.await.unwrap();
    assert!(house.lets_in(port, ELSEWHERE).await, "she said that she comes from there, too");
    assert!(is_echoed(&mut socket).await, "and what was open stands");
    assert!(house.lets_in(port, LOOPBACK).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_behind_one_address_have_a_port_each_and_neither_lives_on_by_the_others() {
    let house = House::usual().await;
    let (annas, bens) = (house.open("anna", "shell").await, house.open("ben", "shell").await);
    let (at_annas, at_bens) = (house.lab.session_port(&annas), house.lab.session_port(&bens));
    assert_ne!(at_annas, at_bens);
    let mut socket = TcpStream::connect(at_annas).await.unwrap();
    let mut other = TcpStream::connect(at_bens).await.unwrap();
    assert!(is_echoed(&mut socket).await && is_echoed(&mut other).await);
    let started = Instant::now();
    house.lab.control().end_session(annas.id, None, Timestamp::now()).await.unwrap();
    assert_eq!(ending(&mut socket, LIMIT).await, Ending::Reset);
    assert!(started.elapsed() < SOON, "it took {:?}", started.elapsed());
    assert!(is_echoed(&mut other).await, "ben's goes on");
    until("nothing listens at anna's", async || TcpStream::connect(at_annas).await.is_err()).await;
    let again = house.open("anna", "shell").await;
    assert_ne!(house.lab.session_port(&again), at_annas, "it rests, while others are free");
    assert!(house.lets_in(house.lab.session_port(&again), LOOPBACK).await && is_echoed(&mut other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_and_udp_are_cut_within_a_second_of_the_end_of_their_session_and_of_a_policy_without_sessions() {
    for what in ["its time", "by hand", "its person", "its policy", "its entrance"] {
        let house = House::usual().await;
        let length = SignedDuration::from_secs(if what == "its time" { 4 } else { 600 });
        let shell = house.lab.open_session("anna", ("pi", "shell"), length, LOOPBACK).await;
        let game = house.lab.open_session("anna", ("pi", "game"), length, LOOPBACK).await;
        let (at_shell, at_game) = (house.lab.session_port(&shell), house.lab.session_port(&game));
        let mut socket = TcpStream::connect(at_shell).await.unwrap();
        let packets = flow(at_game, LOOPBACK).await;
        assert!(is_echoed(&mut socket).await && is_answered(&packets, LIMIT).await, "{what}");
        let (control, now) = (house.lab.control(), Timestamp::now());
        let mut started = Instant::now();
        match what {
            "its time" => {
                let left = Duration::try_from(game.until.duration_since(now)).unwrap();
                started += left;
                tokio::time::sleep(left).await;
            }
            "by hand" => {
                control.end_session(shell.id, None, now).await.unwrap();
                control.end_session(game.id, None, now).await.unwrap();
            }
            "its person" => control.remove_person(shell.account, None, now).await.unwrap(),
            "its policy" => {
                house.lab.set_access("pi", "shell", people(&["anna", "ben"])).await;
                house.lab.set_access("pi", "game", people(&["anna", "ben"])).await;
            }
            _ => {
                let mut without = house.services.clone();
                without.iter_mut().for_each(|service| service.offer.entrances.clear());
                house._device.offer(without).await;
            }
        }
        assert_eq!(ending(&mut socket, LIMIT).await, Ending::Reset, "{what}");
        assert!(started.elapsed() < SOON, "{what}: it took {:?}", started.elapsed());
        assert!(!is_answered(&packets, Duration::from_millis(300)).await, "{what}");
        assert!(started.elapsed() < 2 * SOON, "{what}: it took {:?}", started.elapsed());
        assert!(!house.lets_in(at_shell, LOOPBACK).await, "{what}: nothing new comes in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_port_and_its_sources() {
    let house = House::usual().await;
    let session = house.open("anna", "shell").await;
    let port = house.lab.session_port(&session);
    assert!(house.lets_in(port, LOOPBACK).await);
    let House { lab, services, _device, _targets } = house;
    let house = House { lab: lab.restart_gateway().await, services, _device, _targets };
    assert_eq!(house.lab.session_port(&session), port);
    until("the device is back", async || house.lets_in(port, LOOPBACK).await).await;
    assert!(!house.lets_in(port, ELSEWHERE).await);
    house.lab.control().end_session(session.id, None, Timestamp::now()).await.unwrap();
    until("nothing listens", async || TcpStream::connect(port).await.is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_port_that_is_free_a_session_opens_all_the_same_and_says_so() {
    let house = House::build(None).await;
    let session = house.open("anna", "shell").await;
    let reach = house.lab.control().session_reach(&session, Timestamp::now()).unwrap();
    assert_eq!((reach.protocol, reach.place), (Protocol::Tcp, Err(NoPort::NoPool)));

    let only = target::nobody().port();
    let house = House::build(Some(only.to_string())).await;
    let (annas, bens) = (house.open("anna", "shell").await, house.open("ben", "shell").await);
    let reach = |session: &Session| house.lab.control().session_reach(session, Timestamp::now()).unwrap().place;
    assert_eq!((reach(&annas).unwrap().port, reach(&bens)), (only, Err(NoPort::AllTaken)));
    house.lab.control().end_session(annas.id, None, Timestamp::now()).await.unwrap();
    let bens = house.open("ben", "shell").await;
    assert_eq!(reach(&bens).unwrap().port, only, "asked again, it gets what became free");
    assert!(house.lets_in(house.lab.session_port(&bens), LOOPBACK).await);
    let game = house.open("anna", "game").await;
    assert_eq!(house.lab.session_port(&game).port(), only, "of UDP it is another one");
}

async fn first_comer_is_awaited(house: &House, session: &Session) {
    house.lab.control().await_first_comer(session.id, Timestamp::now()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_to_come_is_let_in_where_that_was_asked_for_and_nobody_after_them() {
    let house = House::usual().await;
    for service in ["shell", "game"] {
        let policy = PolicyDocument { first_comer: true, ..on_request(&["anna", "ben"]) };
        house.lab.set_access("pi", service, policy).await;
    }
    let (third, shell) = (IpAddr::from([127, 0, 0, 10]), house.open("anna", "shell").await);
    let port = house.lab.session_port(&shell);
    assert!(!house.lets_in(port, ELSEWHERE).await, "nobody was asked for");
    first_comer_is_awaited(&house, &shell).await;
    assert!(house.lets_in(port, LOOPBACK).await, "she comes from where she is known: that is no first comer");
    let mut first = connect_from(ELSEWHERE, port).await.unwrap();
    assert!(is_echoed(&mut first).await, "not even the first connection is refused");
    assert!(!house.lets_in(port, third).await, "one alone");
    assert!(house.lets_in(port, ELSEWHERE).await && is_echoed(&mut first).await);
    let choice = AuditChoice { deed: "session-source-noted".to_owned(), ..AuditChoice::default() };
    house.lab.control().flush_audit().await.unwrap();
    let lines = house.lab.control().audit_of(&choice, 10).await.unwrap();
    assert!(lines.iter().any(|line| line.line.detail.ends_with("from 127.0.0.9, the first to come")), "{lines:?}");

    let game = house.open("anna", "game").await;
    let at = house.lab.session_port(&game);
    first_comer_is_awaited(&house, &game).await;
    assert!(is_answered(&flow(at, ELSEWHERE).await, LIMIT).await, "UDP is the same, and its first packet is not lost");
    assert!(!is_answered(&flow(at, third).await, SOON).await);

    let started = Instant::now();
    house.lab.control().end_session(shell.id, None, Timestamp::now()).await.unwrap();
    assert_eq!(ending(&mut first, LIMIT).await, Ending::Reset);
    assert!(started.elapsed() < SOON, "it took {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_awaited_must_still_come_from_where_the_policy_says() {
    let house = House::usual().await;
    let from = Some(vec!["127.0.0.1".to_owned()]);
    house.lab.set_access("pi", "shell", PolicyDocument { first_comer: true, from, ..on_request(&["anna"]) }).await;
    let session = house.open("anna", "shell").await;
    first_comer_is_awaited(&house, &session).await;
    assert!(!house.lets_in(house.lab.session_port(&session), ELSEWHERE).await);
    assert_eq!(house.lab.control().snapshot().approach(session.id).sources.len(), 1, "and is not noted");
}
