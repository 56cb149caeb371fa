//! Large bodies pass without being held, whatever carries them. Alone in its process, since it measures the process.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use bytes::Bytes;
use doorward_core::site::Carrier;
use doorward_lab::visitor::{self, Body, http1_over, pieces, request, request2, tls};
use doorward_lab::web::{Answer, ENDLESS, web};
use doorward_lab::{LIMIT, Lab, Shape, service};
use http::{Method, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

const HOST: &str = "page-pi.gw.test";
const MIB: usize = 1024 * 1024;
/// A build for tests passes some 30 MiB in a second, where nothing else runs.
const TRANSFER_LIMIT: Duration = Duration::from_secs(300);
/// More than this beside what a transfer has taken at its beginning is a body that is held.
const GROWTH: usize = 16 * MIB;

/// One test at a time: they look at the memory of all.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Resident memory in bytes (proc(5), smaps_rollup would be finer; statm counts pages of 4 KiB here).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// A step of a test that must leave the memory as it was.
struct Step {
    what: String,
    before: usize,
    started: Instant,
}

impl Step {
    fn begin(what: impl Into<String>) -> Self {
        Self { what: what.into(), before: resident(), started: Instant::now() }
    }

    fn end(self) {
        let (Self { what, before, started }, after) = (self, resident());
        println!("{what}: {} → {} KiB in {:.1?}", before / 1024, after / 1024, started.elapsed());
        assert!(after.saturating_sub(before) < GROWTH, "{what}: {before} → {after}");
    }
}

/// A visitor; over HTTP/2 with one connection for all requests, over HTTP/1.1 with one for each.
enum Visitor {
    One(SocketAddr),
    Two(http2::SendRequest<Body>),
}

impl Visitor {
    async fn speaking(version: Version, gateway: SocketAddr) -> Self {
        match version {
            Version::HTTP_2 => Self::Two(visitor::http2(gateway, HOST).await),
            _ => Self::One(gateway),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Body) -> Response<Incoming> {
        match self {
            Self::One(gateway) => {
                let socket = tls(TcpStream::connect(gateway).await.unwrap(), HOST, &["http/1.1"]).await.unwrap();
                let asking: Request<_> = request(HOST, path).method(method).body(body).unwrap();
                http1_over(socket).await.send_request(asking).await.unwrap()
            }
            Self::Two(sender) => {
                let asking = request2(HOST, path).method(method).body(body).unwrap();
                sender.clone().send_request(asking).await.unwrap()
            }
        }
    }
}

async fn stays_flat(carrier: Carrier, version: Version, size: usize) {
    let _alone = ALONE.lock().await;
    let lab = Lab::of(Shape::over(&[carrier])).await;
    let page = web(|request| match request.path() {
        "/up" => Answer::Listen,
        _ => Answer::Endless(ENDLESS.to_vec()),
    })
    .await;
    let device = lab.device("pi", vec![service("page", &page.url())]).await;
    assert_eq!(device.carrier(), Some(carrier));
    let visitor = Visitor::speaking(version, lab.https()).await;

    let download = visitor.ask(Method::GET, "/down", visitor::nothing());
    let mut download = timeout(LIMIT, download).await.unwrap().into_body();
    let mut down = 0;
    let mut read = async |until: usize| {
        while down < until {
            let frame = timeout(LIMIT, download.frame()).await.expect("bytes come").unwrap().unwrap();
            down += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    read(16 * MIB).await;
    let step = Step::begin(format!("{carrier:?}, {version:?}, a download of {} MiB", size / MIB));
    timeout(TRANSFER_LIMIT, read(size)).await.expect("the download ends in time");
    step.end();

    let step = Step::begin("three seconds without reading");
    tokio::time::sleep(Duration::from_secs(3)).await;
    step.end();

    let step = Step::begin(format!("an upload of {} MiB", size / MIB));
    let (sender, body) = pieces();
    let sending = async {
        let chunk = Bytes::from(vec![7; 256 * 1024]);
        for _ in 0..size / chunk.len() {
            sender.send(Frame::data(chunk.clone())).await.unwrap();
        }
    };
    tokio::select! {
        sent = timeout(TRANSFER_LIMIT, sending) => sent.expect("the upload ends in time"),
        answered = visitor.ask(Method::POST, "/up", body) => panic!("an answer came before the end: {answered:?}"),
    }
    step.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_leave_the_memory_flat_over_quic_and_http_2() {
    stays_flat(Carrier::Quic, Version::HTTP_2, 256 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_each_way_leaves_the_memory_flat_over_tls_lanes_and_http_1_1() {
    stays_flat(Carrier::Tls, Version::HTTP_11, 1024 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_leave_the_memory_flat_over_websocket_lanes_and_http_2() {
    stays_flat(Carrier::WebSocket, Version::HTTP_2, 256 * MIB).await;
}
