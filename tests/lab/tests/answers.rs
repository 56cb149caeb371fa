//! What strangers are told, and what those who are admitted.

use doorward_control::DeviceEdit;
use doorward_core::access::{PolicyDocument, ScheduleDocument};
use doorward_lab::visitor::{self, Answer, connect_from, get, http1_over, request, say, send, send_over};
use doorward_lab::web::{ok, web};
use doorward_lab::{Lab, service, target};
use http::{HeaderMap, StatusCode};
use std::net::Ipv4Addr;
use tokio::net::{TcpSocket, TcpStream};

const HOST: &str = "page-pi.gw.test";

/// All that a stranger sees, without the time of day.
fn seen(answer: &Answer) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut headers = answer.headers.clone();
    headers.remove("date");
    (answer.status, headers, answer.body.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_one_answer_for_unknown_forbidden_closed_and_offline() {
    let lab = Lab::start().await;
    let page = web(|_| ok("secret")).await;
    let device = lab.device("pi", vec![service("page", &page.url())]).await;
    for accept in ["text/html", "application/json"] {
        let ask = async |host: &str| {
            let request = request(host, "/some/path").header("accept", accept).header("authorization", "Basic eDp5");
            seen(&send(lab.http(), request.body(visitor::nothing()).unwrap()).await)
        };
        let unknown = ask("nothing.gw.test").await;
        assert_eq!(unknown.0, StatusCode::NOT_FOUND);
        assert_eq!(ask("example.org").await, unknown, "a foreign name");
        let elsewhere = Some(vec!["192.0.2.0/24".to_owned()]);
        // Open for one minute of the week, and not in this one.
        let day = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).tomorrow().unwrap();
        let open = vec![format!("{} 00:00-00:01", day.strftime("%a").to_string().to_lowercase())];
        let later = Some(ScheduleDocument { zone: "UTC".into(), open });
        let policies = [
            ("nobody", PolicyDocument::default()),
            ("another network", PolicyDocument { from: elsewhere, ..PolicyDocument::public() }),
            ("no network", PolicyDocument { from: Some(vec![]), ..PolicyDocument::public() }),
            ("closed", PolicyDocument { when: later, ..PolicyDocument::public() }),
        ];
        for (what, policy) in policies {
            lab.set_access("pi", "page", policy).await;
            assert_eq!(ask(HOST).await, unknown, "{what}");
        }
    }
    lab.set_access("pi", "page", PolicyDocument::default()).await;
    device.stop().await;
    let (offline, unknown) = (get(lab.http(), HOST, "/").await, get(lab.http(), "nothing.gw.test", "/").await);
    assert_eq!(seen(&offline), seen(&unknown), "offline, for a stranger");
    assert_eq!(page.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_are_admitted_learn_which_hop_failed() {
    let lab = Lab::start().await;
    let nobody = service("page", &format!("http://{}", target::nobody()));
    let device = lab.device("pi", vec![nobody]).await;
    let refused = get(lab.http(), HOST, "/").await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    assert!(refused.text().contains("nothing listens"), "{}", refused.text());

    device.stop().await;
    let json = request(HOST, "/").header("accept", "application/json").body(visitor::nothing()).unwrap();
    let offline = send(lab.http(), json).await;
    assert_eq!(offline.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(offline.headers.contains_key("retry-after"));
    assert_eq!(offline.headers["content-type"], "application/json");
    assert!(offline.text().contains("the device is offline"), "{}", offline.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_takes_no_connection_is_a_timeout() {
    // A listener whose queue is full: the kernel answers no further SYN.
    let full = TcpSocket::new_v4().unwrap();
    full.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = full.local_addr().unwrap();
    let _listener = full.listen(1).unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(socket)) =
        tokio::time::timeout(std::time::Duration::from_millis(300), TcpStream::connect(address)).await
    {
        waiting.push(socket);
    }
    assert!(!waiting.is_empty());
    let lab = Lab::start().await;
    let _device = lab.device("pi", vec![service("page", &format!("http://{address}"))]).await;
    let answer = get(lab.http(), HOST, "/").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_the_agent_dropped_is_said_to_be_so() {
    let lab = Lab::start().await;
    let page = web(|_| ok("hello")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    // The gateway believes it is offered; the agent's own list says no.
    let id = lab.record("pi", "page").service.device;
    let offer = service("ghost", &page.url()).offer;
    let both = vec![service("page", &page.url()).offer, offer];
    lab.control().register(id, both, jiff::Timestamp::now()).await.unwrap();
    let answer = get(lab.http(), "ghost-pi.gw.test", "/").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(answer.text().contains("does not offer"), "{}", answer.text());
    assert_eq!(page.accepted(), 0);
    // The title is text, and no more than that.
    let edit = DeviceEdit { title: Some("<script>".into()), ..DeviceEdit::default() };
    lab.control().edit_device(id, edit, None, jiff::Timestamp::now()).await.unwrap();
    assert!(!get(lab.http(), "ghost-pi.gw.test", "/").await.text().contains("<script"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_could_be_read_in_two_ways_never_reach_a_target() {
    let lab = Lab::start().await;
    let page = web(|_| ok("reached")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let h = format!("Host: {HOST}\r\n");
    let long = "x".repeat(70_000);
    let table = [
        ("two hosts", format!("GET / HTTP/1.1\r\n{h}{h}\r\n")),
        ("two different hosts", format!("GET / HTTP/1.1\r\n{h}Host: other.gw.test\r\n\r\n")),
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("a host that is not the target's", format!("GET http://other.gw.test/ HTTP/1.1\r\n{h}\r\n")),
        ("user information in the target", format!("GET http://u@{HOST}/ HTTP/1.1\r\n{h}\r\n")),
        ("user information in the host", format!("GET / HTTP/1.1\r\nHost: u@{HOST}\r\n\r\n")),
        ("two lengths", format!("POST / HTTP/1.1\r\n{h}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
        ("a list of lengths", format!("POST / HTTP/1.1\r\n{h}Content-Length: 1, 1\r\n\r\na")),
        ("a signed length", format!("POST / HTTP/1.1\r\n{h}Content-Length: +1\r\n\r\na")),
        ("another coding", format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        ("an unknown coding", format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("chunked in HTTP/1.0", format!("POST / HTTP/1.0\r\n{h}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("a folded line", format!("GET / HTTP/1.1\r\n{h}X: a\r\n b\r\n\r\n")),
        ("a space before the colon", format!("GET / HTTP/1.1\r\n{h}X : a\r\n\r\n")),
        ("NUL in a value", format!("GET / HTTP/1.1\r\n{h}X: a\0b\r\n\r\n")),
        ("a bare CR", format!("GET / HTTP/1.1\r\n{h}X: a\rY: b\r\n\r\n")),
        (
            "a length and chunks",
            format!("POST / HTTP/1.1\r\n{h}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"),
        ),
        (
            "chunks and a length",
            format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX"),
        ),
        ("bare line feeds", format!("GET / HTTP/1.1\nHost: {HOST}\n\n")),
        ("one bare line feed", format!("GET / HTTP/1.1\r\n{h}X: a\nY: b\r\n\r\n")),
        ("a fragment in the target", format!("GET /#x HTTP/1.1\r\n{h}\r\n")),
        ("a header like another to CGI", format!("POST / HTTP/1.1\r\n{h}Content_Length: 6\r\n\r\n")),
        ("another expectation", format!("POST / HTTP/1.1\r\n{h}Expect: y 100-continue\r\nContent-Length: 1\r\n\r\na")),
        ("another version", format!("GET / HTTP/1.2\r\n{h}\r\n")),
        ("CONNECT", format!("CONNECT {HOST}:80 HTTP/1.1\r\n{h}\r\n")),
        ("TRACE", format!("TRACE / HTTP/1.1\r\n{h}\r\n")),
        ("a huge head", format!("GET / HTTP/1.1\r\n{h}X: {long}\r\n\r\n")),
        ("a huge target", format!("GET /{long} HTTP/1.1\r\n{h}\r\n")),
        ("many headers", format!("GET / HTTP/1.1\r\n{h}{}\r\n", "X: a\r\n".repeat(200))),
    ];
    let mut passed = Vec::new();
    for (what, bytes) in &table {
        let closing = bytes.replacen("HTTP/1.1\r\n", "HTTP/1.1\r\nConnection: close\r\n", 1);
        let answer = say(lab.http(), closing.as_bytes()).await;
        let status = answer.get(9..12).unwrap_or("closed").to_owned();
        if !["closed", "400", "414", "417", "431", "501", "505"].contains(&status.as_str()) || page.accepted() > 0 {
            passed.push((*what, status, page.accepted()));
        }
    }
    assert!(passed.is_empty(), "these passed: {passed:?}");
    let mut one = http1_over(connect_from(doorward_lab::LOOPBACK, lab.http()).await.unwrap()).await;
    let good = request(HOST, "/").body(visitor::nothing()).unwrap();
    assert_eq!(send_over(&mut one, good).await.text(), "reached", "a good one does");
}
