//! Targets that are spoken to in HTTP/2, as gRPC wants it.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use bytes::Bytes;
use doorward_agent::Settings;
use doorward_core::access::PolicyDocument;
use doorward_lab::calls::calls;
use doorward_lab::visitor::{self, Body, http1, http2, nothing, pieces, request, request2, send_over, send2, tls};
use doorward_lab::web::{ok, web};
use doorward_lab::{LIMIT, Lab, service};
use futures_util::future::join_all;
use h2::Reason;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

const HOST: &str = "rpc-pi.gw.test";
const SOON: Duration = Duration::from_secs(1);

/// A call as gRPC makes it, to be spoken into piece by piece.
async fn call(visitor: &SendRequest<Body>, path: &str) -> (mpsc::Sender<Frame<Bytes>>, Response<Incoming>) {
    let (sender, body) = pieces();
    let asking =
        request2(HOST, path).method("POST").header("content-type", "application/grpc").header("te", "trailers");
    let answer = visitor.clone().send_request(asking.body(body).unwrap());
    (sender, timeout(LIMIT, answer).await.expect("an answer begins").unwrap())
}

async fn is_echoed(sender: &mpsc::Sender<Frame<Bytes>>, answer: &mut Response<Incoming>, said: &'static str) -> bool {
    sender.send(Frame::data(Bytes::from(said))).await.unwrap();
    let heard = timeout(LIMIT, answer.frame()).await.expect("an echo comes");
    heard.unwrap().unwrap().into_data().unwrap() == said
}

fn error_of(ended: Option<Result<Frame<Bytes>, hyper::Error>>) -> Option<Reason> {
    let error = ended.expect("it did not finish").expect_err("it broke");
    let source = std::error::Error::source(&error).expect("a source");
    source.downcast_ref::<h2::Error>().and_then(h2::Error::reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_flows_both_ways_at_once_and_ends_with_trailers() {
    let lab = Lab::start().await;
    let rpc = calls().await;
    let _device = lab.device("pi", vec![service("rpc", &rpc.url())]).await;
    let visitor = http2(lab.https(), HOST).await;
    let (sender, mut answer) = call(&visitor, "/echo").await;
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    for said in ["one", "two", "three"] {
        assert!(is_echoed(&sender, &mut answer, said).await, "{said}");
    }
    let sum = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("3"))]);
    sender.send(Frame::trailers(sum)).await.unwrap();
    let last = timeout(LIMIT, answer.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap()["grpc-status"], "0");
    let (head, trailers) = rpc.requests().pop().unwrap();
    assert_eq!(trailers["x-sum"], "3");
    assert_eq!(head.uri.to_string(), format!("http://{HOST}/echo"));
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(head.headers["x-forwarded-for"], "127.0.0.1");
    assert!(!head.headers.contains_key("host"), "{:?}", head.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_without_a_body_and_a_broken_answer_arrive_as_they_are() {
    let lab = Lab::start().await;
    let rpc = calls().await;
    let _device = lab.device("pi", vec![service("rpc", &rpc.url())]).await;
    let visitor = http2(lab.https(), HOST).await;
    let (_sender, answer) = call(&visitor, "/missing").await;
    assert_eq!(answer.headers()["grpc-status"], "5");
    assert!(timeout(LIMIT, answer.into_body().collect()).await.unwrap().unwrap().to_bytes().is_empty());
    let (sender, mut answer) = call(&visitor, "/broken").await;
    let half = timeout(LIMIT, answer.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(half.into_data().unwrap(), "half");
    sender.send(Frame::data(Bytes::from("go on"))).await.unwrap();
    let ended = timeout(LIMIT, answer.frame()).await.unwrap();
    assert_eq!(error_of(ended), Some(Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_one_visitor_share_a_connection_and_visitors_never_do() {
    let lab = Lab::start().await;
    let rpc = calls().await;
    let _device = lab.device("pi", vec![service("rpc", &rpc.url())]).await;
    let visitor = http2(lab.https(), HOST).await;
    let ask = async |n: usize| {
        let post = request2(HOST, "/").method("POST").body(visitor::full(vec![7; n * 1000])).unwrap();
        assert_eq!(send2(&visitor, post).await.text(), (n * 1000).to_string());
    };
    join_all((0..100).map(ask)).await;
    ask(1).await;
    assert_eq!(rpc.accepted(), 1, "a hundred calls at once, and one behind them");
    let other = http2(lab.https(), HOST).await;
    send2(&other, request2(HOST, "/").body(nothing()).unwrap()).await;
    assert_eq!(rpc.accepted(), 2, "another visitor");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_up_a_call_resets_it_at_the_target_and_no_other() {
    let lab = Lab::start().await;
    let mut rpc = calls().await;
    let _device = lab.device("pi", vec![service("rpc", &rpc.url())]).await;
    // hyper's visitors cannot reset what they have not sent yet.
    let socket = tls(TcpStream::connect(lab.https()).await.unwrap(), HOST, &["h2"]).await.unwrap();
    let (mut quitter, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let asking = request2(HOST, "/echo").method("POST").body(()).unwrap();
    let (answer, mut neighbour) = quitter.send_request(asking, false).unwrap();
    let mut neighbours = timeout(LIMIT, answer).await.unwrap().unwrap().into_body();
    for path in ["/silent", "/deaf", "/endless"] {
        let before = rpc.requests().len();
        let asking = request2(HOST, path).method("POST").body(()).unwrap();
        let (answer, mut upload) = quitter.send_request(asking, false).unwrap();
        // More than fits into all windows on the way.
        upload.send_data(vec![7; 16 * 1024 * 1024].into(), false).unwrap();
        let answer = match path {
            "/silent" => None,
            _ => Some(timeout(LIMIT, answer).await.unwrap().unwrap()),
        };
        doorward_lab::until("the call is with the target", async || rpc.requests().len() > before).await;
        let left = Instant::now();
        upload.send_reset(Reason::CANCEL);
        assert_eq!(rpc.reset().await, (path.to_owned(), Some(Reason::CANCEL)));
        println!("{path}: reset at the target after {:?}", left.elapsed());
        assert!(left.elapsed() < SOON, "{path}");
        drop(answer);
        neighbour.send_data(Bytes::from(path), false).unwrap();
        let mut echo = Vec::new();
        while echo.len() < path.len() {
            let part = timeout(LIMIT, neighbours.data()).await.expect("the neighbour goes on").unwrap().unwrap();
            neighbours.flow_control().release_capacity(part.len()).unwrap();
            echo.extend_from_slice(&part);
        }
        assert_eq!(echo, path.as_bytes());
    }
    assert_eq!(rpc.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_resets_calls_that_stand_still_in_either_direction() {
    let lab = Lab::start().await;
    let (mut rpc, page) = (calls().await, web(|_| ok("page")).await);
    let _device = lab.device("pi", vec![service("rpc", &rpc.url()), service("page", &page.url())]).await;
    let visitor = http2(lab.https(), HOST).await;
    for path in ["/deaf", "/endless"] {
        let (sender, mut answer) = call(&visitor, path).await;
        let uploading =
            tokio::spawn(async move { while sender.send(Frame::data(vec![7; 64 * 1024].into())).await.is_ok() {} });
        let cut = Instant::now();
        lab.set_access("pi", "rpc", PolicyDocument::default()).await;
        assert_eq!(rpc.reset().await, (path.to_owned(), Some(Reason::CANCEL)));
        while let Some(Ok(_)) = timeout(LIMIT, answer.frame()).await.unwrap() {}
        uploading.await.unwrap();
        println!("{path}: cut on both sides after {:?}", cut.elapsed());
        assert!(cut.elapsed() < SOON, "{path}");
        let there = send2(&visitor, request2("page-pi.gw.test", "/").body(nothing()).unwrap()).await;
        assert_eq!(there.text(), "page", "the visitor's connection goes on");
        lab.set_access("pi", "rpc", PolicyDocument::public()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_does_not_read_holds_up_no_other_call() {
    let lab = Lab::start().await;
    let rpc = calls().await;
    let _device = lab.device("pi", vec![service("rpc", &rpc.url())]).await;
    let visitor = http2(lab.https(), HOST).await;
    let mut stalled = Vec::new();
    for _ in 0..2 {
        stalled.push(call(&visitor, "/endless").await);
    }
    let (sender, mut answer) = call(&visitor, "/echo").await;
    for said in ["one", "two", "three"] {
        assert!(is_echoed(&sender, &mut answer, said).await, "{said}");
    }
    assert_eq!(rpc.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_passes_both_ways_byte_by_byte() {
    const SIZE: usize = 24 * 1024 * 1024;
    let lab = Lab::start().await;
    let rpc = calls().await;
    let _device = lab.device("pi", vec![service("rpc", &rpc.url())]).await;
    let visitor = http2(lab.https(), HOST).await;
    let (sender, mut answer) = call(&visitor, "/echo").await;
    let pattern = |at: usize| u8::try_from(at % 251).unwrap();
    let sending = async move {
        for start in (0..SIZE).step_by(SIZE / 96) {
            let piece: Bytes = (start..start + SIZE / 96).map(pattern).collect();
            sender.send(Frame::data(piece)).await.unwrap();
        }
    };
    let mut at = 0;
    let reading = async {
        while let Some(frame) =
            timeout(LIMIT, answer.frame()).await.unwrap_or_else(|_| panic!("nothing comes behind {at}"))
        {
            for byte in frame.unwrap().into_data().unwrap_or_default() {
                assert_eq!(byte, pattern(at), "at {at}");
                at += 1;
            }
        }
    };
    tokio::join!(sending, reading);
    assert_eq!(at, SIZE);
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_who_speak_http_1_1_are_translated() {
    let lab = Lab::start().await;
    let rpc = calls().await;
    let _device = lab.device("pi", vec![service("rpc", &rpc.url())]).await;
    let mut one = http1(lab.http()).await;
    for size in [0, 100_000] {
        let post = request(HOST, "/a?b=c").method("POST").header("expect", "100-continue").header("te", "trailers");
        let answer = send_over(&mut one, post.body(visitor::full(vec![7; size])).unwrap()).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, size.to_string()));
    }
    let (head, _) = rpc.requests().pop().unwrap();
    assert_eq!(head.uri.to_string(), format!("http://{HOST}/a?b=c"));
    assert!(!head.headers.contains_key("expect") && !head.headers.contains_key("connection"));
    let other = request(HOST, "/").header("connection", "upgrade").header("upgrade", "foo").body(nothing()).unwrap();
    assert_eq!(send_over(&mut one, other).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(rpc.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_says_goodbye_is_connected_again() {
    let lab = Lab::start().await;
    let rpc = calls().await;
    let _device = lab.device("pi", vec![service("rpc", &rpc.url())]).await;
    let visitor = http2(lab.https(), HOST).await;
    let (sender, mut answer) = call(&visitor, "/echo").await;
    for n in 1..4 {
        let last = send2(&visitor, request2(HOST, "/goodbye").body(nothing()).unwrap()).await;
        assert_eq!(last.text(), "0");
        let next = send2(&visitor, request2(HOST, "/").body(nothing()).unwrap()).await;
        assert_eq!(next.text(), "0");
        assert_eq!(rpc.accepted(), n + 1);
    }
    assert!(is_echoed(&sender, &mut answer, "what had begun goes on").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_speak_grpc_are_told_in_its_own_words_what_is_wrong() {
    let lab = Lab::start().await;
    let device = lab.device("pi", vec![service("rpc", &format!("h2c://{}", doorward_lab::target::nobody()))]).await;
    let visitor = http2(lab.https(), HOST).await;
    let ask = async |host: &str| {
        let asking = request2(host, "/").method("POST").header("content-type", "application/grpc+proto");
        let answer = send2(&visitor, asking.body(visitor::full("x")).unwrap()).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
        let text = |name| answer.headers[name].to_str().unwrap().to_owned();
        (text("grpc-status"), text("grpc-message"))
    };
    let (status, message) = ask(HOST).await;
    assert_eq!(status, "14");
    assert!(message.contains("nothing listens"), "{message}");
    assert_eq!(ask("nobody-pi.gw.test").await.0, "12");
    device.stop().await;
    let (status, message) = ask(HOST).await;
    assert!(status == "14" && message.contains("offline"), "{message}");
}

/// TLS in front of a target, with these protocols to agree on. Returns its port.
async fn secured(target: std::net::SocketAddr, protocols: &[&[u8]]) -> u16 {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind((doorward_lab::LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(socket).await else { return };
                let mut far = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_inside_tls_is_spoken_only_where_the_target_agrees_to_it() {
    let lab = Lab::start().await;
    let rpc = calls().await;
    let table: [(&str, &[&[u8]], StatusCode); 3] = [
        ("both", &[b"http/1.1", b"h2"], StatusCode::OK),
        ("neither", &[], StatusCode::BAD_GATEWAY),
        ("other", &[b"http/1.1"], StatusCode::BAD_GATEWAY),
    ];
    let mut services = Vec::new();
    for (name, protocols, _) in table {
        let port = secured(rpc.address, protocols).await;
        let text = format!("[[service]]\nname = \"{name}\"\ntarget = \"h2://127.0.0.1:{port}\"\nverify = \"off\"\n");
        let mut service = Settings::parse(&text, Path::new("agent.toml")).unwrap().services.remove(0);
        service.offer.access = PolicyDocument::public();
        services.push(service);
    }
    let _device = lab.device("pi", services).await;
    for (name, _, status) in table {
        let host = format!("{name}-pi.gw.test");
        let visitor = http2(lab.https(), &host).await;
        let answer = send2(&visitor, request2(&host, "/").body(nothing()).unwrap()).await;
        assert_eq!(answer.status, status, "{name}");
    }
    let (head, _) = rpc.requests().pop().unwrap();
    assert_eq!(head.uri.to_string(), "https://both-pi.gw.test/");
    assert_eq!(rpc.requests().len(), 1);
}
