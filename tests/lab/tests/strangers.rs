//! Strangers who connect and then do not do what visitors do.

use doorward::serve::settings::LimitsFile;
use doorward_control::Protocol;
use doorward_lab::visitor::{Ending, connect_from, ending, get, heard, http1_over, nothing, request, send_over, tls};
use doorward_lab::web::{ok, web};
use doorward_lab::{LOOPBACK, Lab, Shape, service, target, until};
use http::StatusCode;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HOST: &str = "page-pi.gw.test";
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// The limit for a handshake or a head, and some time for a busy machine.
const WITHIN: Duration = Duration::from_secs(12);

fn narrow() -> Shape {
    let limits = LimitsFile { handshakes_per_source: Some(20), ..LimitsFile::default() };
    Shape { limits, ..Shape::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_silent_take_no_more_than_their_source_may_and_not_for_long() {
    let lab = Lab::of(narrow()).await;
    let page = web(|_| ok("page")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    for address in [lab.https(), lab.http()] {
        let started = Instant::now();
        let mut silent = Vec::new();
        for _ in 0..60 {
            silent.push(connect_from(ELSEWHERE, address).await.unwrap());
        }
        let endings = silent.iter_mut().map(|socket| async { (ending(socket, WITHIN).await, started.elapsed()) });
        let watching = futures_util::future::join_all(endings);
        let (endings, answer) = tokio::join!(watching, get(lab.http(), HOST, "/"));
        assert_eq!(answer.text(), "page", "others are served meanwhile");
        let at_once = endings.iter().filter(|(_, at)| *at < Duration::from_secs(5)).count();
        assert_eq!(at_once, 40, "sixty came, twenty may wait: {endings:?}");
        assert!(endings.iter().all(|(how, _)| *how != Ending::StillOpen), "{endings:?}");
        let late = endings.iter().map(|(_, at)| *at).max().unwrap();
        println!("{address}: the last of the silent was gone after {late:?}");
        let mut back = http1_over(connect_from(ELSEWHERE, lab.http()).await.unwrap()).await;
        let asking = request(HOST, "/").body(nothing()).unwrap();
        assert_eq!(send_over(&mut back, asking).await.status, StatusCode::OK, "their places are free again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_hello_half_a_head_and_no_request_are_closed_in_time() {
    let lab = Lab::of(narrow()).await;
    let page = web(|_| ok("page")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let begin = async |address, bytes: &[u8]| {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket
    };
    let mut half_hello = begin(lab.https(), &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]).await;
    let mut half_head = begin(lab.http(), b"GET / HTTP/1.1\r\nHost: page-pi").await;
    let mut half_preface = begin(lab.http(), b"PRI * HT").await;
    let mut quiet = tls(TcpStream::connect(lab.https()).await.unwrap(), HOST, &["http/1.1"]).await.unwrap();
    let mut quiet2 = tls(TcpStream::connect(lab.https()).await.unwrap(), HOST, &["h2"]).await.unwrap();
    let mut link = tls(TcpStream::connect(lab.https()).await.unwrap(), HOST, &["doorward/1"]).await.unwrap();
    let ended = tokio::join!(
        ending(&mut half_hello, WITHIN),
        ending(&mut half_head, WITHIN),
        ending(&mut half_preface, WITHIN),
        ending(&mut quiet, WITHIN),
        ending(&mut quiet2, WITHIN),
        ending(&mut link, WITHIN),
    );
    let ended = [ended.0, ended.1, ended.2, ended.3, ended.4, ended.5];
    assert!(ended.iter().all(|how| *how != Ending::StillOpen), "{ended:?}");
    assert_eq!(get(lab.http(), HOST, "/").await.text(), "page");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_tls_gets_no_answer_on_the_https_port() {
    let lab = Lab::of(narrow()).await;
    for garbage in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), vec![0xff; 5000], vec![0; 5000]] {
        let mut socket = TcpStream::connect(lab.https()).await.unwrap();
        let _ = socket.write_all(&garbage).await;
        let heard = heard(&mut socket).await;
        assert!(!heard.contains("HTTP/"), "{heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_cannot_take_every_connection_of_a_raw_port() {
    let limits = LimitsFile { connections_per_source: Some(20), ..LimitsFile::default() };
    let lab = Lab::of(Shape { limits, ..Shape::default() }).await;
    let echo = target::echo().await;
    let _device = lab.device("pi", vec![service("echo", &format!("tcp://{}", echo.address))]).await;
    let port = lab.port("pi", "echo", Protocol::Tcp);
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(connect_from(ELSEWHERE, port).await.unwrap());
    }
    let endings = held.iter_mut().map(|socket| ending(socket, Duration::from_secs(2)));
    let endings = futures_util::future::join_all(endings).await;
    let open = endings.iter().filter(|how| **how == Ending::StillOpen).count();
    assert_eq!(open, 20, "{endings:?}");
    let mut other = connect_from(LOOPBACK, port).await.unwrap();
    other.write_all(b"well?").await.unwrap();
    tokio::io::AsyncReadExt::read_exact(&mut other, &mut [0; 5]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_silent_have_every_place_the_oldest_of_them_gives_way() {
    let limits = LimitsFile { handshakes: Some(30), handshakes_per_source: Some(20), ..LimitsFile::default() };
    let lab = Lab::of(Shape { limits, ..Shape::default() }).await;
    let page = web(|_| ok("page")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    for address in [lab.https(), lab.http()] {
        let mut silent = Vec::new();
        for n in 0..60_u8 {
            silent.push(connect_from(IpAddr::from([127, 0, 1, n / 20]), address).await.unwrap());
        }
        let started = Instant::now();
        assert_eq!(get(lab.http(), HOST, "/").await.text(), "page", "there is a place for those who say something");
        let mut socket = tls(TcpStream::connect(lab.https()).await.unwrap(), HOST, &["http/1.1"]).await.unwrap();
        socket
            .write_all(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        assert!(heard(&mut socket).await.ends_with("page"));
        println!("{address}: served within {:?}", started.elapsed());
        let endings = silent.iter_mut().map(|socket| ending(socket, Duration::from_secs(2)));
        let endings = futures_util::future::join_all(endings).await;
        let gone: Vec<_> = endings.iter().map(|how| *how != Ending::StillOpen).collect();
        assert!(gone[..30].iter().all(|gone| *gone), "the oldest: {gone:?}");
        assert!(gone.iter().filter(|gone| !**gone).count() >= 28, "the newest stay: {gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_port_has_so_many_connections_and_the_other_services_go_on() {
    let limits = LimitsFile { connections_per_port: Some(10), ..LimitsFile::default() };
    let lab = Lab::of(Shape { limits, ..Shape::default() }).await;
    let (page, echo) = (web(|_| ok("page")).await, target::echo().await);
    let services = vec![service("page", &page.url()), service("echo", &format!("tcp://{}", echo.address))];
    let _device = lab.device("pi", services).await;
    let port = lab.port("pi", "echo", Protocol::Tcp);
    let mut held = Vec::new();
    for n in 0..30_u8 {
        held.push(connect_from(IpAddr::from([127, 0, 1, n]), port).await.unwrap());
    }
    let endings = held.iter_mut().map(|socket| ending(socket, Duration::from_secs(2)));
    let endings = futures_util::future::join_all(endings).await;
    let open = endings.iter().filter(|how| **how == Ending::StillOpen).count();
    // The agent's own try of the new port may hold a place for a moment.
    assert!((9..=10).contains(&open), "{open} of {endings:?}");
    assert_eq!(get(lab.http(), HOST, "/").await.text(), "page");
    drop(held);
    until("a place is free again", async || {
        let mut socket = connect_from(ELSEWHERE, port).await.unwrap();
        socket.write_all(b"well?").await.is_ok()
            && tokio::io::AsyncReadExt::read_exact(&mut socket, &mut [0; 5]).await.is_ok()
    })
    .await;
}
