//! Where messages begin and end on a visitor's connection, and who decides it.

use doorward_lab::visitor::{
    self, Ending, ending, get, heard, http1, http1_over, http2, nothing, request, request2, say, send, send_over,
    send2, tls,
};
use doorward_lab::web::{Answer, ok, web};
use doorward_lab::{Lab, service};
use http::{StatusCode, header};
use http_body_util::BodyExt;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const HOST: &str = "page-pi.gw.test";

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_answered_behind_earlier_answers_and_ends_the_connection() {
    let lab = Lab::start().await;
    let page = web(|_| ok("good")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let good = format!("GET /1 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let bad = format!("POST /2 HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    let answer = say(lab.http(), format!("{good}{bad}{good}").as_bytes()).await;
    let statuses: Vec<_> = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "400"], "{answer}");
    assert!(answer.contains("its length is given in two ways"), "{answer}");
    assert_eq!(page.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_what_it_says_breaks_with_its_connection() {
    let lab = Lab::start().await;
    let page = web(|_| ok("taken")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for body in
        ["5\r\nhelloX\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "5;a\rb\r\nhello\r\n0\r\n\r\n", "0\r\nHost: x\r\n\r\n"]
    {
        let head = format!("POST /a HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut socket = TcpStream::connect(lab.http()).await.unwrap();
        socket.write_all(format!("{head}{body}{smuggled}").as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        let _ = socket.read_to_end(&mut heard).await;
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(!heard.contains("HTTP/1.1 2"), "{body:?}: {heard}");
    }
    assert_eq!(page.requests().len(), 0);
    assert_eq!(get(lab.http(), HOST, "/").await.text(), "taken");
}

/// What a visitor says behind a request to switch protocols is the other protocol's, or a request, as the target's
/// answer says; before that the target hears nothing of it (RUSTSEC-2026-0033 is a proxy that passed it on).
#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_a_request_to_switch_wait_for_the_answer() {
    let lab = Lab::start().await;
    let (answers, waiting) = (mpsc::unbounded_channel::<Vec<u8>>(), std::sync::Mutex::new(None));
    *waiting.lock().unwrap() = Some(answers.1);
    let page = web(move |asked| match waiting.lock().unwrap().take_if(|_| asked.header("upgrade").is_some()) {
        Some(pieces) => Answer::Pieces(Vec::new(), pieces),
        None => ok("a request"),
    })
    .await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let mut socket = TcpStream::connect(lab.http()).await.unwrap();
    let asking = format!("GET /switch HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    let behind = format!("GET /behind HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    socket.write_all(format!("{asking}{behind}").as_bytes()).await.unwrap();
    doorward_lab::until("the request to switch is with the target", async || page.requests().len() == 1).await;
    // The other visitor's exchange takes longer than the gateway would need to pass on what it must not.
    assert_eq!(get(lab.http(), HOST, "/other").await.text(), "a request");
    assert_eq!(page.requests().len(), 2, "nothing from behind has come");
    answers.0.send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()).unwrap();
    let answer = heard(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("a request"), "{answer}");
    assert_eq!(page.last().path(), "/behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_another_http_by_an_upgrade() {
    let lab = Lab::start().await;
    let page = web(|_| ok("still 1.1")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    for to in ["h2c", "H2C, websocket", "HTTP/2.0"] {
        let asking = request(HOST, "/").header("connection", "upgrade").header("upgrade", to);
        assert_eq!(send(lab.http(), asking.body(nothing()).unwrap()).await.text(), "still 1.1", "{to}");
        assert_eq!((page.last().header("upgrade"), page.last().header("connection")), (None, None), "{to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_between_requests_longer_than_a_head_may_take() {
    let lab = Lab::start().await;
    let page = web(|_| ok("page")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let mut kept = http1(lab.http()).await;
    assert_eq!(send_over(&mut kept, request(HOST, "/").body(nothing()).unwrap()).await.text(), "page");
    let mut slow = TcpStream::connect(lab.http()).await.unwrap();
    slow.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    doorward_lab::until("the second visitor was answered", async || page.requests().len() == 2).await;
    slow.write_all(b"GET / HT").await.unwrap();
    let begun = Instant::now();
    assert_ne!(ending(&mut slow, Duration::from_secs(15)).await, Ending::StillOpen, "half a head");
    println!("half a head was ended after {:?}", begun.elapsed());
    assert_eq!(send_over(&mut kept, request(HOST, "/").body(nothing()).unwrap()).await.text(), "page", "the idle one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trickling_upload_is_cut_and_one_that_the_target_pauses_is_not() {
    let lab = Lab::start().await;
    let pausing = tokio::net::TcpListener::bind((doorward_lab::LOOPBACK, 0)).await.unwrap();
    let page = web(|_| ok("page")).await;
    let services =
        vec![service("pausing", &format!("http://{}", pausing.local_addr().unwrap())), service("page", &page.url())];
    let _device = lab.device("pi", services).await;
    let (resume, resumed) = tokio::sync::oneshot::channel::<()>();
    let target = tokio::spawn(async move {
        let (mut socket, _) = pausing.accept().await.unwrap();
        let mut head = [0; 64];
        socket.read_exact(&mut head).await.unwrap();
        resumed.await.unwrap();
        let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
        while read < 16_000_000 {
            read += socket.read(&mut buffer).await.unwrap();
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
        read
    });
    let upload = request("pausing-pi.gw.test", "/").method("POST").body(visitor::full(vec![7; 16_000_000])).unwrap();
    let uploading = tokio::spawn(send(lab.http(), upload));

    for secure in [false, true] {
        let (_open, body) = visitor::pieces();
        let begun = Instant::now();
        let trickle = async {
            if secure {
                let sender = http2(lab.https(), HOST).await;
                let post = request2(HOST, "/").method("POST").body(body).unwrap();
                sender.clone().send_request(post).await.map(drop)
            } else {
                let post = request(HOST, "/").method("POST").body(body).unwrap();
                http1(lab.http()).await.send_request(post).await.map(drop)
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(15), trickle).await.expect("it is cut");
        assert!(ended.is_err(), "{ended:?}");
        println!("an upload that never comes is cut after {:?}", begun.elapsed());
    }
    assert!(!uploading.is_finished(), "the target has paused the other for longer");
    resume.send(()).unwrap();
    assert_eq!(uploading.await.unwrap().text(), "done");
    assert!(target.await.unwrap() >= 16_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_answer_cannot_shift_the_next_one() {
    let lab = Lab::start().await;
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let page = web(move |asked| match asked.path() {
        "/both" => Answer::Whole(
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n{poison}"
            )
            .into(),
        ),
        "/two" => {
            Answer::Whole(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab{poison}").into())
        }
        "/more" => Answer::Whole(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na{poison}").into()),
        "/none" => Answer::Whole(format!("HTTP/1.1 204 No Content\r\ncontent-length: 1\r\n\r\na{poison}").into()),
        "/early" => {
            Answer::Whole(format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n{poison}").into())
        }
        "/coded" => {
            let (_ended, pieces) = mpsc::unbounded_channel();
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n";
            Answer::Pieces(format!("{head}{poison}").into(), pieces)
        }
        "/chunk" => Answer::Whole(
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;\nX\r\na\r\n0\r\n\r\n{poison}").into(),
        ),
        _ => ok("right"),
    })
    .await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    for path in ["/both", "/two", "/more", "/none", "/early", "/coded", "/chunk"] {
        let mut visitor = http1(lab.http()).await;
        for (method, asked) in [("GET", path), ("HEAD", path), ("GET", "/next")] {
            // The connection may end at any point; it may not go on with anything but the right answer.
            if visitor.ready().await.is_err() {
                break;
            }
            let asking = request(HOST, asked).method(method).body(nothing()).unwrap();
            let Ok(answer) = visitor.send_request(asking).await else { break };
            let Ok(body) = answer.into_body().collect().await else { break };
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            let is_right = if asked == "/next" { body == "right" } else { body != "right" && body != "poison" };
            assert!(is_right, "{method} {asked} after {path}: {body:?}");
        }
    }
    assert_eq!(get(lab.http(), HOST, "/next").await.text(), "right");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_the_certificate_does_not_cover_is_misdirected() {
    let lab = Lab::start().await;
    let page = web(|_| ok("page")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    // The lab's certificate is for gw.test and *.gw.test.
    let table = [
        (HOST, HOST, StatusCode::OK),
        ("other.gw.test", HOST, StatusCode::OK),
        ("gw.test", "PAGE-pi.gw.test.", StatusCode::OK),
        ("example.org", HOST, StatusCode::OK),
        (HOST, "example.org", StatusCode::MISDIRECTED_REQUEST),
        (HOST, "a.b.gw.test", StatusCode::MISDIRECTED_REQUEST),
        (HOST, "xgw.test", StatusCode::MISDIRECTED_REQUEST),
        ("example.org", "example.org", StatusCode::NOT_FOUND),
        ("example.org", "www.example.org", StatusCode::MISDIRECTED_REQUEST),
        ("127.0.0.1", HOST, StatusCode::OK),
        ("127.0.0.1", "example.org", StatusCode::MISDIRECTED_REQUEST),
    ];
    for (name, host, expected) in table {
        let socket = tls(TcpStream::connect(lab.https()).await.unwrap(), name, &["http/1.1"]).await.unwrap();
        let asking = request(host, "/").body(nothing()).unwrap();
        let answer = send_over(&mut http1_over(socket).await, asking).await;
        assert_eq!(answer.status, expected, "a certificate for {name}, a request for {host}");
    }
    let two = http2(lab.https(), "other.gw.test").await;
    assert_eq!(send2(&two, request2(HOST, "/").body(nothing()).unwrap()).await.status, StatusCode::OK);
    let misled = send2(&two, request2("example.org", "/").body(nothing()).unwrap()).await;
    assert_eq!(misled.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_cookies_never_reach_a_target_and_no_target_sets_one() {
    let lab = Lab::start().await;
    let setting = b"HTTP/1.1 200 OK\r\nset-cookie: __Host-doorward=evil; Secure; Path=/\r\nset-cookie: a=1\r\ncontent-length: 0\r\n\r\n";
    let page = web(|_| Answer::Whole(setting.to_vec())).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let asking = request(HOST, "/").header(header::COOKIE, "b=2; __Host-doorward=secret; c|d=3");
    let answer = send(lab.http(), asking.body(nothing()).unwrap()).await;
    assert_eq!(page.last().header("cookie"), Some("b=2; c|d=3"));
    assert_eq!(answer.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1"]);
    let twice = request(HOST, "/").header(header::COOKIE, "__Host-doorward=secret; __Host-doorward=evil");
    assert_eq!(send(lab.http(), twice.body(nothing()).unwrap()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(page.requests().len(), 1);
}
