//! Visitors who take their time: in a crowd each is gone ten seconds after its turn came; alone, one may pause.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use doorward_lab::flood::{END_HEADERS, END_STREAM, HEADERS, frame, literal, next_frame};
use doorward_lab::visitor::{Ending, connect_from, ending, get};
use doorward_lab::web::{Answer, ENDLESS, ok, web};
use doorward_lab::{LOOPBACK, Lab, service};
use futures_util::future::join_all;
use socket2::SockRef;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const HOST: &str = "page-pi.gw.test";
const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// More than a crowd, together.
const OF_EACH: usize = 18;
const PROMISED: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(18);

/// What a visitor says first, and what it does then.
struct Habit {
    what: &'static str,
    first: Vec<u8>,
    then: Then,
}

enum Then {
    /// Says this again and again.
    Say(&'static [u8]),
    /// Takes nothing of the answer.
    Pause,
    /// The same inside HTTP/2, by its windows.
    PauseFrames,
}

/// From the crowd's address. How much fits into its buffer must be settled before the other side hears of it.
async fn connect_with_room(bytes: u32, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(CROWD, 0)).unwrap();
    socket.set_recv_buffer_size(bytes).unwrap();
    socket.connect(address).await.unwrap()
}

/// Comes with the crowd; how long it was borne, from its first packet on, or from the beginning of the
/// answer that it does not take.
async fn visit(address: SocketAddr, habit: &Habit) -> Option<Duration> {
    let mut begun = Instant::now();
    let mut socket = connect_with_room(4096, address).await;
    socket.write_all(&habit.first).await.unwrap();
    match habit.then {
        Then::Say(_) => {}
        Then::Pause => begun = socket.read_u8().await.map(|_| Instant::now()).unwrap(),
        Then::PauseFrames => {
            while next_frame(&mut socket).await.unwrap().0 != HEADERS {}
            begun = Instant::now();
        }
    }
    while begun.elapsed() < WATCHED {
        let is_gone = match habit.then {
            Then::Say(again) => {
                ending(&mut socket, Duration::from_millis(500)).await != Ending::StillOpen
                    || socket.write_all(again).await.is_err()
            }
            Then::Pause | Then::PauseFrames => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                SockRef::from(&socket).take_error().unwrap().is_some()
            }
        };
        if is_gone {
            return Some(begun.elapsed());
        }
    }
    None
}

/// Asks inside HTTP/2 for what never ends, and opens no window for it.
fn asking_with_no_window() -> Vec<u8> {
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/endless")];
    let block: Vec<u8> = fields.iter().flat_map(|(n, v)| literal(n.as_bytes(), v.as_bytes())).collect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [preface, settings, frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)].concat()
}

async fn ask(mut socket: TcpStream) -> TcpStream {
    let asking = format!("GET /endless HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    socket.write_all(asking.as_bytes()).await.unwrap();
    socket
}

/// Reads so many bytes, at so many a tick.
async fn take(socket: &mut TcpStream, bytes: usize, piece: usize, tick: Duration) {
    let mut buffer = vec![0; piece];
    for _ in 0..bytes / piece {
        tokio::time::timeout(doorward_lab::LIMIT, socket.read_exact(&mut buffer)).await.unwrap().unwrap();
        tokio::time::sleep(tick).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slow_of_a_crowd_are_gone_in_ten_seconds_and_others_may_pause() {
    let lab = Lab::start().await;
    let page = web(|asked| match asked.path() {
        "/endless" => Answer::Endless(ENDLESS.to_vec()),
        _ => ok("page"),
    })
    .await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let (https, http) = (lab.https(), lab.http());
    let half_head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n").into_bytes();
    let half_body = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 8192\r\n\r\n").into_bytes();
    let unread = format!("GET /endless HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes();
    let habits = [
        (https, Habit { what: "half a hello", first: vec![0x16, 3, 1, 2, 0, 1], then: Then::Say(b"\x01") }),
        (http, Habit { what: "half a head", first: half_head, then: Then::Say(b"X: y\r\n") }),
        (http, Habit { what: "half a body", first: half_body, then: Then::Say(b"x=1&") }),
        (http, Habit { what: "an answer that is not read", first: unread, then: Then::Pause }),
        (http, Habit { what: "no window", first: asking_with_no_window(), then: Then::PauseFrames }),
    ];
    let mut patient = ask(connect_with_room(32 * 1024, http).await).await;
    let mut pausing = ask(connect_from(LOOPBACK, http).await.unwrap()).await;
    let crowd = join_all(habits.iter().map(async |(address, habit)| {
        let borne = join_all((0..OF_EACH).map(|_| visit(*address, habit))).await;
        let most = borne.iter().map(|borne| borne.unwrap_or(WATCHED)).max().unwrap();
        println!("{}: the last of {OF_EACH} was gone {most:?} after it came", habit.what);
        (habit.what, borne.iter().all(|borne| borne.is_some_and(|borne| borne < PROMISED)))
    }));
    // As a phone on a hillside.
    let slowly = take(&mut patient, 700_000, 5_000, Duration::from_millis(100));
    let (gone, (), answer) = tokio::join!(crowd, slowly, get(http, HOST, "/"));
    assert_eq!(answer.text(), "page");
    let late: Vec<_> = gone.iter().filter(|(_, in_time)| !in_time).collect();
    assert!(late.is_empty(), "{late:?}");
    // From elsewhere, and paused all the while; far more than the kernel can have held.
    take(&mut pausing, 30_000_000, 100_000, Duration::ZERO).await;
}
