//! Cameras, from the agent's reading to the stream that a gateway gets.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use common::camera::{Camera, PICTURE, Said, Viewer, good, part, stream_of};
use common::gateway::{Gateway, SiteKey};
use common::*;
use doorward_core::site::Carrier;
use doorward_frames::faults::Fault;
use doorward_frames::feed::{Message, State};
use doorward_frames::pace::Caps;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// An ffmpeg that serves one client and ends with it.
async fn ffmpeg() -> (Child, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = format!("127.0.0.1:{port}/");
    let input = "testsrc=size=64x48:rate=10";
    let url = format!("http://{place}");
    let arguments = ["-loglevel", "error", "-re", "-f", "lavfi", "-i", input, "-f", "mpjpeg", "-listen", "1", &url];
    let child = Command::new("ffmpeg")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("ffmpeg is installed (cargo xtask test unit)");
    (child, format!("camera+http://{place}"))
}

#[tokio::test]
async fn an_ffmpeg_that_takes_one_client_serves_all_streams_and_is_let_go_a_little_after_the_last() {
    let (mut child, target) = ffmpeg().await;
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (_agent, link) = running(&mut gateway, &scratch, &[service("cam", &target), service("again", &target)]).await;
    let mut viewers = Vec::new();
    for name in ["cam", "cam", "again"] {
        let mut viewer = Viewer::open(&link, name).await;
        let (first, _) = viewer.frame().await;
        viewer.shown(first).await;
        assert!(viewer.frame().await.0 > first);
        viewers.push(viewer);
    }
    assert!(child.try_wait().unwrap().is_none(), "it still has its one client");
    drop(viewers);
    let left = Instant::now();
    soon("ffmpeg to lose its client", child.wait()).await.unwrap();
    let after = left.elapsed();
    assert!((Duration::from_secs(7)..Duration::from_secs(13)).contains(&after), "{after:?}");
}

#[tokio::test]
async fn whoever_comes_again_soon_finds_the_same_reading() {
    let camera = Camera::start(good).await;
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (_agent, link) = running(&mut gateway, &scratch, &[service("cam", &camera.target("/"))]).await;
    let mut viewer = Viewer::open(&link, "cam").await;
    viewer.shown_number().await;
    let before = viewer.shown_number().await;
    drop(viewer);
    let mut again = Viewer::open(&link, "cam").await;
    assert!(again.number().await >= before, "a new reading would begin at 1");
    assert_eq!(camera.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stream_that_does_not_acknowledge_gets_the_newest_frame_when_it_does() {
    for carrier in [Carrier::Quic, Carrier::Tls] {
        let camera = Camera::start(good).await;
        let (mut gateway, scratch) = (Gateway::start(&SiteKey::new(), 0, &[carrier]).await, Scratch::new());
        let (_agent, link) = running(&mut gateway, &scratch, &[service("cam", &camera.target("/"))]).await;
        let mut slow = Viewer::open(&link, "cam").await;
        let mut quick = Viewer::open(&link, "cam").await;
        let first = slow.number().await;
        let mut newest = 0;
        while newest < first + 50 {
            newest = quick.shown_number().await;
        }
        slow.shown(first).await;
        assert!(slow.number().await >= newest, "those in between are past");
    }
}

#[tokio::test]
async fn frames_come_as_the_caps_allow_and_none_before_they_are_said() {
    let camera = Camera::start(good).await;
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (_agent, link) = running(&mut gateway, &scratch, &[service("cam", &camera.target("/"))]).await;
    let mut other = Viewer::open(&link, "cam").await;
    let mut viewer = Viewer::of(link.open("cam").await.unwrap());
    let mut seen = 0;
    while seen < 50 {
        seen = other.shown_number().await;
    }
    let caps = Caps { frames_per_second: Some(2.0), kilobits_per_second: None };
    viewer.say(Message::Watch { camera: 0, caps }).await;
    assert!(viewer.shown_number().await >= seen);
    let began = Instant::now();
    viewer.shown_number().await;
    viewer.shown_number().await;
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_a_camera_does_wrong_is_mended_and_told() {
    let camera = Camera::start(|_, _| {
        let every = Duration::from_millis(20);
        let without_dashes = part("frame").split_off(2);
        vec![stream_of("multipart/x-mixed-replace;boundary=frame"), Said::Forever(without_dashes, every)]
    });
    let nameless = Camera::start(|_, _| {
        vec![stream_of("multipart/x-mixed-replace"), Said::Forever(part("frame"), Duration::from_millis(20))]
    });
    let (camera, nameless) = tokio::join!(camera, nameless);
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let services = [service("cam", &camera.target("/")), service("nameless", &nameless.target("/"))];
    let (_agent, link) = running(&mut gateway, &scratch, &services).await;
    let (mut one, mut two) = (Viewer::open(&link, "cam").await, Viewer::open(&link, "nameless").await);
    one.shown_number().await;
    two.shown_number().await;
    tokio::join!(
        one.until_faults(|faults| faults.of(Fault::DashesMissing) > 1),
        two.until_faults(|faults| faults.of(Fault::NoBoundary) == 1)
    );
}

#[tokio::test]
async fn a_camera_that_falls_silent_is_told_and_asked_anew() {
    let camera = Camera::start(|before, request| match before {
        0 => vec![
            stream_of("multipart/x-mixed-replace;boundary=frame"),
            Said::Bytes([part("frame"), part("frame")].concat()),
            Said::Silence,
        ],
        _ => good(before, request),
    })
    .await;
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (_agent, link) = running(&mut gateway, &scratch, &[service("cam", &camera.target("/"))]).await;
    let mut viewer = Viewer::open(&link, "cam").await;
    let before = viewer.shown_number().await;
    let text = viewer.until_state(State::Stalled).await;
    assert!(text.contains("nothing came from it"), "{text}");
    viewer.until_state(State::Live).await;
    assert!(viewer.shown_number().await > before);
}

#[tokio::test]
async fn a_camera_that_is_not_there_is_told_without_its_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("camera+http://{}/video?pwd=hunter2", listener.local_addr().unwrap());
    drop(listener);
    let page = Camera::start(|_, _| vec![stream_of("text/html"), Said::Bytes(b"<h1>Sign in".to_vec())]).await;
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let services = [service("gone", &target), service("page", &page.target("/"))];
    let (_agent, link) = running(&mut gateway, &scratch, &services).await;
    let text = Viewer::open(&link, "gone").await.until_state(State::Failed).await;
    assert!(text.contains("refused") && !text.contains("127.0.0.1") && !text.contains("hunter2"), "{text}");
    let text = Viewer::open(&link, "page").await.until_state(State::Failed).await;
    assert!(text.contains("no picture"), "{text}");
}

#[tokio::test]
async fn pictures_behind_a_digest_are_asked_for_again_and_again() {
    const CHALLENGE: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\", \
                             qop=\"auth\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let camera = Camera::start(|before, request: String| {
        if before == 0 {
            return vec![Said::Bytes(CHALLENGE.as_bytes().to_vec())];
        }
        let request = request.to_ascii_lowercase();
        assert!(request.starts_with("get /snapshot.jpg?x=1 http/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: digest username=\"admin\", realm=\"cam\", nonce=\"n1\""), "{request}");
        // Each picture is another one by what follows its end, which is not passed on.
        let body = [PICTURE, before.to_string().as_bytes()].concat();
        let head = format!("HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", body.len());
        vec![Said::Bytes([head.into_bytes(), body].concat())]
    })
    .await;
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let file = scratch.folder().join("password");
    std::fs::write(&file, "admin:open sesame\n").unwrap();
    let mut guarded = service("cam", &camera.target("/snapshot.jpg?x=1"));
    guarded.target = guarded.target.with_password_file(&file).unwrap();
    let (_agent, link) = running(&mut gateway, &scratch, &[guarded]).await;
    let mut viewer = Viewer::open(&link, "cam").await;
    viewer.shown_number().await;
    until("the camera to be asked again", || (camera.connections.load(Ordering::SeqCst) >= 4).then_some(())).await;
}

#[tokio::test]
async fn a_camera_that_is_not_offered_any_more_is_cut_and_let_go() {
    let camera = Camera::start(good).await;
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (agent, link) = running(&mut gateway, &scratch, &[service("cam", &camera.target("/"))]).await;
    let mut viewer = Viewer::open(&link, "cam").await;
    viewer.shown_number().await;
    agent.reload(settings(&[]));
    while viewer.hear().await.is_some() {}
}

#[tokio::test]
async fn at_the_end_of_its_time_the_stream_ends() {
    let camera = Camera::start(good).await;
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (_agent, link) = running(&mut gateway, &scratch, &[service("cam", &camera.target("/"))]).await;
    let stream = link.open_for("cam", Some(Duration::from_millis(800))).await.unwrap();
    let mut viewer = Viewer::over(stream).await;
    viewer.shown_number().await;
    let began = Instant::now();
    while viewer.hear().await.is_some() {}
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

/// `pattern` sends as many pictures by the real libzmq.
async fn send_by_netgear(pattern: &str, port: u16, count: usize) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (port, count) = (port.to_string(), count.to_string());
    let sending = Command::new("/usr/bin/python3")
        .arg(here.join("tests/common/netgear_sender.py"))
        .args([pattern, &port])
        .arg(here.join("../doorward-frames/tests/picture.jpg"))
        .arg(count)
        .kill_on_drop(true)
        .output();
    let output = soon("the sender to end", sending).await.expect("python3 is installed");
    assert!(output.status.success(), "{pattern}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn netgear_is_received_by_each_of_its_patterns_and_answered_whether_anybody_watches_or_not() {
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let ports: Vec<_> = (0..3).map(|_| free_port()).collect();
    let patterns = ["publish", "pair", "request"];
    let of = |(name, port): (&&str, &u16)| service(name, &format!("netgear://127.0.0.1:{port}"));
    let services: Vec<_> = patterns.iter().zip(&ports).map(of).collect();
    let (_agent, link) = running(&mut gateway, &scratch, &services).await;
    // Nobody watches, and a request is answered.
    let answers = send_by_netgear("request", ports[2], 2).await;
    assert_eq!(answers.lines().filter(|line| line.contains("return_type")).count(), 3, "{answers}");
    for (pattern, port) in patterns.iter().zip(&ports) {
        let mut viewer = Viewer::open(&link, pattern).await;
        let seen = async {
            let (first, _) = viewer.frame().await;
            viewer.shown(first).await;
            let (next, _) = viewer.frame().await;
            assert!(next > first, "{pattern}");
            viewer.until_state(State::Stalled).await
        };
        let (answers, ended) = tokio::join!(send_by_netgear(pattern, *port, 8), seen);
        assert!(ended.contains("its sender"), "{pattern}: {ended}");
        let expected = if *pattern == "publish" { 0 } else { 9 };
        assert_eq!(answers.lines().count(), expected, "{pattern}: {answers}");
    }
}

#[tokio::test]
async fn a_netgear_port_that_others_have_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("netgear://{}", taken.local_addr().unwrap());
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (_agent, link) = running(&mut gateway, &scratch, &[service("cam", &target)]).await;
    let text = Viewer::open(&link, "cam").await.until_state(State::Failed).await;
    assert!(text.contains("another program may have it"), "{text}");
}

#[tokio::test]
async fn pictures_come_from_a_pipe_that_ffmpeg_writes_and_from_a_file_that_is_written_anew() {
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (pipe, file) = (scratch.folder().join("pipe"), scratch.folder().join("picture.jpg"));
    assert!(Command::new("mkfifo").arg(&pipe).status().await.unwrap().success());
    let at = |path: &Path| format!("camera:{}", path.display());
    let services = [service("pipe", &at(&pipe)), service("file", &at(&file))];
    let (_agent, link) = running(&mut gateway, &scratch, &services).await;
    let mut viewer = Viewer::open(&link, "pipe").await;
    let input = "testsrc=size=64x48:rate=10";
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-re", "-f", "lavfi", "-i", input, "-f", "mjpeg", "-y"])
        .arg(&pipe)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("ffmpeg is installed (cargo xtask test unit)");
    let (first, _) = viewer.frame().await;
    viewer.shown(first).await;
    assert!(viewer.frame().await.0 > first);
    ffmpeg.kill().await.unwrap();
    let mut viewer = Viewer::open(&link, "file").await;
    let text = viewer.until_state(State::Failed).await;
    assert!(text.contains("it is not there") && !text.contains("picture.jpg"), "{text}");
    std::fs::write(&file, &PICTURE[..PICTURE.len() / 2]).unwrap();
    std::fs::write(&file, PICTURE).unwrap();
    assert_eq!(viewer.shown_number().await, 1, "no half of a picture");
}
