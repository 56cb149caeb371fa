//! Traffic that lives long or is rare: bodies held back, other protocols, cancellation, kept connections.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use bytes::Bytes;
use doorward_core::site::Carrier;
use doorward_lab::visitor::{self, Ending, full, http1, http2, nothing, pieces, request, request2, send_over, send2};
use doorward_lab::web::{Answer, ENDLESS, EVENTS, Received, ok, web};
use doorward_lab::{LIMIT, LOOPBACK, Lab, Shape, service, until};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Frame;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const HOST: &str = "page-pi.gw.test";
const SOON: Duration = Duration::from_secs(1);

async fn line(socket: &mut (impl AsyncReadExt + Unpin), wanted: &str) {
    let mut got = vec![0; wanted.len()];
    timeout(LIMIT, socket.read_exact(&mut got)).await.expect("it comes").unwrap();
    assert_eq!(String::from_utf8_lossy(&got), wanted);
}

/// A head from a raw connection; what there was of it, if that ended.
async fn head(socket: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = timeout(LIMIT, socket.read_line(&mut head)).await.expect("a head comes");
        if !matches!(read, Ok(length) if length > 0) {
            break;
        }
    }
    head
}

fn expecting(host: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: {host}\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_held_back_waits_for_the_targets_word() {
    let lab = Lab::start().await;
    let target = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let _device = lab.device("pi", vec![service("page", &format!("http://{}", target.local_addr().unwrap()))]).await;
    let mut visitor = TcpStream::connect(lab.http()).await.unwrap();
    visitor.write_all(expecting(HOST).as_bytes()).await.unwrap();
    let mut asked = BufReader::new(timeout(LIMIT, target.accept()).await.unwrap().unwrap().0);
    assert!(head(&mut asked).await.contains("100-continue"));
    let early = timeout(Duration::from_millis(300), visitor.read_u8()).await;
    assert!(early.is_err(), "the visitor is told to go on before the target said so");
    asked.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    line(&mut visitor, "HTTP/1.1 100 Continue\r\n\r\n").await;
    visitor.write_all(b"body").await.unwrap();
    line(&mut asked, "body").await;
    asked.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nthanks").await.unwrap();
    line(&mut visitor, "HTTP/1.1 200 OK\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_the_target_refuses_unread_is_never_sent() {
    let lab = Lab::start().await;
    for (name, answer) in [("pi", "417 Expectation Failed"), ("other", "401 Unauthorized")] {
        let target = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let page = service("page", &format!("http://{}", target.local_addr().unwrap()));
        let _device = lab.device(name, vec![page]).await;
        let mut visitor = TcpStream::connect(lab.http()).await.unwrap();
        visitor.write_all(expecting(&format!("page-{name}.gw.test")).as_bytes()).await.unwrap();
        let mut asked = BufReader::new(timeout(LIMIT, target.accept()).await.unwrap().unwrap().0);
        head(&mut asked).await;
        let refusal = format!("HTTP/1.1 {answer}\r\ncontent-length: 2\r\n\r\n");
        asked.get_mut().write_all(refusal.as_bytes()).await.unwrap();
        line(&mut visitor, &format!("HTTP/1.1 {answer}\r\n")).await;
        // Longer than the target's word is waited for. Half of the answer is still to come.
        sleep(Duration::from_millis(1500)).await;
        asked.get_mut().write_all(b"no").await.unwrap();
        let rest = timeout(LIMIT, async {
            let mut rest = Vec::new();
            while !rest.ends_with(b"no") && visitor.read_buf(&mut rest).await.unwrap() > 0 {}
            String::from_utf8_lossy(&rest).into_owned()
        });
        let rest = rest.await.expect("the answer comes whole");
        assert!(rest.ends_with("no") && !rest.contains("100 Continue"), "{rest}");
        let mut more = Vec::new();
        let _ = timeout(LIMIT, asked.read_to_end(&mut more)).await.expect("the target's connection is given up");
        assert!(more.is_empty(), "{more:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_passes_both_ways_with_what_was_said_at_once() {
    let lab = Lab::start().await;
    let target = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let _device = lab.device("pi", vec![service("page", &format!("http://{}", target.local_addr().unwrap()))]).await;
    let mut visitor = TcpStream::connect(lab.http()).await.unwrap();
    let asking = format!("GET /x HTTP/1.1\r\nhost: {HOST}\r\nconnection: Upgrade\r\nupgrade: foo/2\r\n\r\nearly");
    visitor.write_all(asking.as_bytes()).await.unwrap();
    let mut asked = BufReader::new(timeout(LIMIT, target.accept()).await.unwrap().unwrap().0);
    let head = head(&mut asked).await.to_ascii_lowercase();
    assert!(head.contains("upgrade: foo/2\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    let switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: foo/2\r\n\r\nhello";
    asked.get_mut().write_all(switching.as_bytes()).await.unwrap();
    line(&mut asked, "early").await;
    let mut visitor = BufReader::new(visitor);
    let answer = self::head(&mut visitor).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101") && answer.contains("upgrade: foo/2"), "{answer}");
    line(&mut visitor, "hello").await;
    for said in ["\0\r\n\r\n\u{ff}", "GET / HTTP/1.1\r\n"] {
        visitor.get_mut().write_all(said.as_bytes()).await.unwrap();
        line(&mut asked, said).await;
        asked.get_mut().write_all(said.as_bytes()).await.unwrap();
        line(&mut visitor, said).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one_over_http_2() {
    let lab = Lab::start().await;
    let (say, events) = mpsc::unbounded_channel();
    let events = Mutex::new(Some(events));
    let page = web(move |_| Answer::Pieces(EVENTS.to_vec(), events.lock().unwrap().take().unwrap())).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let visitor = http2(lab.https(), HOST).await;
    let asking = request2(HOST, "/").body(nothing()).unwrap();
    let mut body = timeout(LIMIT, visitor.clone().send_request(asking)).await.unwrap().unwrap().into_body();
    for n in 0..20 {
        let event = format!("data: {n}\n\n");
        say.send(event.clone().into_bytes()).unwrap();
        let frame = timeout(LIMIT, body.frame()).await.expect("the event arrives").unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }
}

fn by_path(request: &Received) -> Answer {
    match request.path() {
        "/down" => Answer::Endless(ENDLESS.to_vec()),
        "/up" | "/wait" => Answer::Listen,
        _ => ok("page"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_leaves_is_gone_at_the_target_within_a_second() {
    let lab = Lab::start().await;
    let mut page = web(by_path).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let two = http2(lab.https(), HOST).await;
    for (is_http2, path) in [false, true].into_iter().flat_map(|two| ["/wait", "/up", "/down"].map(|path| (two, path)))
    {
        let (sender, body) = pieces();
        let (method, body) = if path == "/up" { (Method::POST, body) } else { (Method::GET, nothing()) };
        let before = page.requests().len();
        let answering = if is_http2 {
            let asking = request2(HOST, path).method(method).body(body).unwrap();
            let answer = two.clone().send_request(asking);
            tokio::spawn(async move { drop(answer.await.unwrap().into_body().frame().await.unwrap().unwrap()) })
        } else {
            let mut one = http1(lab.http()).await;
            let asking = request(HOST, path).method(method).body(body).unwrap();
            tokio::spawn(async move {
                let mut body = one.send_request(asking).await.unwrap().into_body();
                drop(body.frame().await.unwrap().unwrap());
            })
        };
        until("the request is with the target", async || page.requests().len() > before).await;
        let left = if path == "/down" {
            answering.await.unwrap();
            Instant::now()
        } else {
            if path == "/up" {
                sender.send(Frame::data(Bytes::from_static(&[7; 1000]))).await.unwrap();
            }
            answering.abort();
            Instant::now()
        };
        let ending = page.ending().await;
        println!("HTTP/2: {is_http2}, {path}: {ending:?} after {:?}", left.elapsed());
        assert_eq!(ending, Ending::Reset, "{path}");
        assert!(left.elapsed() < SOON, "{path}");
    }
    assert_eq!(send2(&two, request2(HOST, "/").body(nothing()).unwrap()).await.text(), "page");
}

/// A target that answers the first request of a connection and, asked again, hangs up. Says how often it was asked.
async fn hangs_up_on_the_second() -> (String, std::sync::Arc<Mutex<Vec<String>>>) {
    let target = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let url = format!("http://{}", target.local_addr().unwrap());
    let seen = std::sync::Arc::<Mutex<Vec<String>>>::default();
    let noted = seen.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = target.accept().await {
            let (noted, mut socket) = (noted.clone(), BufReader::new(socket));
            tokio::spawn(async move {
                for is_first in [true, false] {
                    let head = head(&mut socket).await;
                    if head.is_empty() {
                        return;
                    }
                    noted.lock().unwrap().push(head.split(' ').next().unwrap().to_owned());
                    if is_first {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        socket.get_mut().write_all(answer).await.unwrap();
                    }
                }
            });
        }
    });
    (url, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kept_connection_lost_is_asked_again_only_if_that_is_harmless() {
    let lab = Lab::start().await;
    let (url, seen) = hangs_up_on_the_second().await;
    let _device = lab.device("pi", vec![service("page", &url)]).await;
    let table = [
        ("GET", StatusCode::OK, 3),
        ("HEAD", StatusCode::OK, 3),
        ("OPTIONS", StatusCode::OK, 3),
        ("POST", StatusCode::BAD_GATEWAY, 2),
        ("PUT", StatusCode::BAD_GATEWAY, 2),
        ("DELETE", StatusCode::BAD_GATEWAY, 2),
    ];
    for (method, status, asked) in table {
        seen.lock().unwrap().clear();
        let mut one = http1(lab.http()).await;
        assert_eq!(send_over(&mut one, request(HOST, "/").body(nothing()).unwrap()).await.status, StatusCode::OK);
        let again = request(HOST, "/").method(method).body(nothing()).unwrap();
        assert_eq!(send_over(&mut one, again).await.status, status, "{method}");
        assert_eq!(seen.lock().unwrap().len(), asked, "{method}: {:?}", seen.lock().unwrap());
    }
    // A body has left, whatever the method says.
    seen.lock().unwrap().clear();
    let mut one = http1(lab.http()).await;
    send_over(&mut one, request(HOST, "/").body(nothing()).unwrap()).await;
    let with_body = request(HOST, "/").body(full("body")).unwrap();
    assert_eq!(send_over(&mut one, with_body).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_before_the_answer_stay_here() {
    let lab = Lab::start().await;
    let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                  HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let page = web(|_| Answer::Whole(hints.to_vec())).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let closing = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    let answer = visitor::say(lab.http(), closing.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    let two = http2(lab.https(), HOST).await;
    assert_eq!(send2(&two, request2(HOST, "/").body(nothing()).unwrap()).await.text(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_and_what_describes_them_pass_to_the_byte() {
    let lab = Lab::start().await;
    // The head of a gzip file, and bytes that are not text.
    let body: Vec<u8> = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].into_iter().chain((0..=255).rev()).collect();
    let described = "content-encoding: gzip\r\netag: W/\"a b\"\r\nvary: accept-encoding\r\naccept-ranges: bytes\r\n\
                     last-modified: Sat, 21 Nov 2026 09:00:00 GMT\r\ncache-control: max-age=5\r\n";
    let answer =
        [format!("HTTP/1.1 200 OK\r\n{described}content-length: {}\r\n\r\n", body.len()).into_bytes(), body.clone()];
    let answer = answer.concat();
    let page = web(move |_| Answer::Whole(answer.clone())).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let asked = [
        ("accept-encoding", "gzip, br;q=0.5"),
        ("range", "bytes=0-,5-6"),
        ("if-range", "\"x\""),
        ("if-none-match", "W/\"a\""),
    ];
    let two = http2(lab.https(), HOST).await;
    for is_http2 in [false, true] {
        let mut asking = if is_http2 { request2(HOST, "/") } else { request(HOST, "/") };
        for (name, value) in asked {
            asking = asking.header(name, value);
        }
        let asking = asking.body(nothing()).unwrap();
        let answer =
            if is_http2 { send2(&two, asking).await } else { send_over(&mut http1(lab.http()).await, asking).await };
        assert_eq!(answer.body, body);
        for line in described.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            assert_eq!(answer.headers[name], value);
        }
        for (name, value) in asked {
            assert_eq!(page.last().header(name), Some(value), "HTTP/2: {is_http2}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_of_others_pass_and_those_of_tunnels_do_not() {
    let lab = Lab::start().await;
    let page = web(|_| ok("page")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let two = http2(lab.https(), HOST).await;
    for method in ["PROPFIND", "MKCOL", "REPORT", "PATCH", "X-odd!"] {
        let body = "<propfind/>";
        let asking = request(HOST, "/dav/").method(method).header("depth", "1").body(full(body)).unwrap();
        assert_eq!(send_over(&mut http1(lab.http()).await, asking).await.text(), "page", "{method}");
        assert!(page.last().head.starts_with(&format!("{method} /dav/ HTTP/1.1\r\n")), "{}", page.last().head);
        assert_eq!((page.last().body, page.last().header("depth")), (body.as_bytes().to_vec(), Some("1")));
        let asking = request2(HOST, "/dav/").method(method).body(full(body)).unwrap();
        assert_eq!(send2(&two, asking).await.text(), "page", "{method}");
    }
    let before = page.requests().len();
    let asking = request2(HOST, "/").method("TRACE").body(nothing()).unwrap();
    assert_eq!(send2(&two, asking).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(page.requests().len(), before);
    // In absolute form, as to a proxy (RFC 9112, 3.2.2).
    let absolute = format!("GET http://{HOST}/a?b HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    assert!(visitor::say(lab.http(), absolute.as_bytes()).await.ends_with("page"));
    assert_eq!(page.last().path(), "/a?b");
    let all = format!("OPTIONS * HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    assert!(visitor::say(lab.http(), all.as_bytes()).await.ends_with("page"));
    assert_eq!(page.last().path(), "*");
}

/// Longer than each limit that the gateway or the agent has for what is idle, apart from those of hours.
const SILENCE: Duration = Duration::from_secs(80);

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_is_left_alone_and_an_idle_connection_is_given_up() {
    let silent = async |carrier: Carrier| {
        let lab = Lab::of(Shape::over(&[carrier])).await;
        let page = web(|asked| match asked.path() {
            "/poll" => {
                let (say, pieces) = mpsc::unbounded_channel();
                tokio::spawn(async move {
                    sleep(SILENCE).await;
                    say.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnews".to_vec()).unwrap();
                });
                Answer::Pieces(Vec::new(), pieces)
            }
            _ => ok("page"),
        })
        .await;
        let mut idle = web(|_| ok("idle")).await;
        let rpc = doorward_lab::calls::calls().await;
        let services = vec![service("page", &page.url()), service("idle", &idle.url()), service("rpc", &rpc.url())];
        let device = lab.device("pi", services).await;
        assert_eq!(device.carrier(), Some(carrier));
        let begun = Instant::now();
        let two = http2(lab.https(), HOST).await;
        let (said, body) = pieces();
        let asking = request2("rpc-pi.gw.test", "/echo").method("POST").body(body).unwrap();
        let mut call = timeout(LIMIT, two.clone().send_request(asking)).await.unwrap().unwrap();
        assert_eq!(send2(&two, request2("idle-pi.gw.test", "/").body(nothing()).unwrap()).await.text(), "idle");
        let over_two = async {
            let asking = request2(HOST, "/poll").body(nothing()).unwrap();
            let answer = two.clone().send_request(asking).await.unwrap();
            assert_eq!(visitor::read(answer).await.text(), "news", "over HTTP/2");
        };
        let over_one = async {
            let asking = request(HOST, "/poll").body(nothing()).unwrap();
            let answer = http1(lab.http()).await.send_request(asking).await.unwrap();
            assert_eq!(visitor::read(answer).await.text(), "news", "over HTTP/1.1");
        };
        timeout(2 * SILENCE, async { tokio::join!(over_two, over_one) }).await.expect("both hear the news");
        assert!(begun.elapsed() >= SILENCE);
        assert_eq!(idle.ending().await, Ending::Finished, "nobody asked it for anything meanwhile");
        said.send(Frame::data(Bytes::from("still there?"))).await.unwrap();
        let echo = timeout(LIMIT, call.frame()).await.expect("the call was silent as long").unwrap().unwrap();
        assert_eq!(echo.into_data().unwrap(), "still there?");
    };
    tokio::join!(silent(Carrier::Quic), silent(Carrier::Tls));
}
