//! Cameras: one stream from the device for all who look, and for each the newest frame that their own line takes.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_control::accounts::OWNER;
use doorward_core::access::{Facts, LimitsDocument, PolicyDocument};
use doorward_frames::feed::{Message as Said, State};
use doorward_lab::camera::{Camera, camera};
use doorward_lab::looking::{Feed, Heard, Image, feed, image, image_over};
use doorward_lab::sessions::on_request;
use doorward_lab::visitor::{self, get, request, send};
use doorward_lab::{LOOPBACK, Lab, LabDevice, Shape, people, until};
use futures_util::future::join_all;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, Instant};
use tokio::io::AsyncRead;
use tokio::time::{sleep, timeout};

const CAM: &str = "cam-pi.gw.test";
const PORTAL: &str = "portal.gw.test";
const ORIGIN: &str = "http://portal.gw.test";

struct House {
    lab: Lab,
    cam: Camera,
    device: LabDevice,
}

impl House {
    async fn build(every: u64, bytes: usize, policy: PolicyDocument) -> Self {
        let lab = Lab::of(Shape { has_portal: true, ..Shape::default() }).await;
        let cam = camera(Duration::from_millis(every), bytes).await;
        let mut service = cam.service("cam");
        service.offer.access = policy;
        let device = lab.device("pi", vec![service]).await;
        Self { lab, cam, device }
    }

    /// The cookie of somebody who is signed in at the portal.
    async fn cookie(&self) -> String {
        let login = self.lab.control().begin_login(OWNER, "Firefox", None, Timestamp::now()).await.unwrap();
        format!("__Host-doorward={}", login.token.expose())
    }

    async fn feed(&self) -> Feed {
        feed(self.lab.http(), PORTAL, &self.cookie().await, Some(ORIGIN)).await.unwrap()
    }
}

/// Bytes that go up for each frame that the camera has, in a while in which everybody who looks reads on.
async fn bytes_with(house: &House, viewers: usize) -> f64 {
    let mut all = join_all((0..viewers).map(|_| image(house.lab.http(), CAM, "/", false))).await;
    for one in &mut all {
        one.next().await.unwrap();
    }
    let reading = all.into_iter().map(async |mut one| while one.next().await.is_some() {});
    let (before, from) = (house.cam.bytes(), house.cam.newest());
    let _ = timeout(Duration::from_secs(3), join_all(reading)).await;
    (house.cam.bytes() - before) as f64 / f64::from(house.cam.newest() - from)
}

#[tokio::test(flavor = "multi_thread")]
async fn as_much_goes_up_for_twenty_viewers_as_for_one() {
    let house = House::build(50, 20_000, PolicyDocument::public()).await;
    let one = bytes_with(&house, 1).await;
    until("nobody looks", async || house.cam.open() == 0).await;
    let twenty = bytes_with(&house, 20).await;
    println!("{one:.0} bytes of each frame for one viewer, {twenty:.0} for twenty");
    assert!(one > 15_000.0, "{one}");
    assert!((twenty - one).abs() / one < 0.05, "{one} bytes for one viewer, {twenty} for twenty");
    assert_eq!(house.cam.opened(), 2, "one stream for each crowd");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_up_when_nobody_looks() {
    let house = House::build(20, 10_000, PolicyDocument::public()).await;
    assert_eq!((house.cam.opened(), house.cam.bytes()), (0, 0));
    let mut one = image(house.lab.http(), CAM, "/", false).await;
    one.next().await.unwrap();
    let left = Instant::now();
    drop(one);
    until("the stream is closed", async || house.cam.open() == 0).await;
    println!("closed {:?} after the last viewer left", left.elapsed());
    let before = house.cam.bytes();
    until("the camera goes on", {
        let from = house.cam.newest();
        let cam = &house.cam;
        async move || cam.newest() > from + 20
    })
    .await;
    assert_eq!(house.cam.bytes(), before);
    assert_eq!(house.lab.gateway.gateway.open_streams(), 0, "nobody is in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_viewer_gets_the_newest_frame_and_delays_nobody() {
    let house = House::build(40, 60_000, PolicyDocument::public()).await;
    let slow = image(house.lab.http(), CAM, "/", true).await;
    slow_beside_quick(&house, slow).await;
    let socket = doorward_lab::looking::small(house.lab.https()).await;
    let slow = image_over(visitor::tls(socket, CAM, &["http/1.1"]).await.unwrap(), CAM, "/", "").await;
    slow_beside_quick(&house, slow).await;
}

async fn slow_beside_quick<S: AsyncRead + Unpin>(house: &House, mut slow: Image<S>) {
    let mut quick = image(house.lab.http(), CAM, "/", false).await;
    slow.next().await.unwrap();
    let first = quick.next().await.unwrap();
    let mut numbers = Vec::new();
    // The slow one takes nothing while fifty frames pass.
    while house.cam.newest() < first + 50 {
        numbers.push(quick.next().await.unwrap());
    }
    let (seen, passed) = (numbers.len(), numbers.last().unwrap() - first);
    assert!(seen as f64 > 0.7 * f64::from(passed), "the quick one saw {seen} of {passed}");
    let resumed = house.cam.newest();
    let mut old = 0;
    while slow.next().await.unwrap() < resumed {
        old += 1;
        assert!(old <= 4, "frame after frame from long ago");
    }
    println!("{old} frames from before, of {passed} that passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_draws_slowly_gets_the_newest_each_time() {
    let house = House::build(20, 60_000, PolicyDocument::public()).await;
    let mut feed = house.feed().await;
    feed.name(1, "pi/cam").await;
    feed.watch(1, None).await;
    feed.frame(1).await;
    let mut lags = Vec::new();
    for _ in 0..10 {
        match feed.next().await {
            Heard::Frame(frame) => {
                lags.push(house.cam.newest() - frame.number);
                // As long as it takes to draw.
                sleep(Duration::from_millis(200)).await;
                feed.shown(1, frame.number).await;
            }
            Heard::Said(_) | Heard::Text(_) => {}
            Heard::End(how) => panic!("{how:?}"),
        }
    }
    println!("behind by {lags:?} frames");
    // Two may be under way while one is drawn, ten frames apart each.
    assert!(lags.iter().all(|lag| *lag <= 30), "{lags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_come_from_the_copy_that_all_look_at() {
    let house = House::build(50, 20_000, PolicyDocument::public()).await;
    let look = async || {
        let answer = get(house.lab.http(), CAM, "/?action=snapshot").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!((answer.headers["content-type"].as_bytes(), answer.body.len()), (&b"image/jpeg"[..], 20_000));
        assert_eq!(answer.headers["cache-control"], "no-store, no-transform");
        answer.body
    };
    let all = join_all((0..10).map(|_| look())).await;
    assert_eq!(all.len(), 10);
    assert_eq!(house.cam.opened(), 1, "whoever asks meanwhile waits for the same one");
    assert!(house.cam.frames() <= 3, "{} frames went up for one picture", house.cam.frames());
    look().await;
    assert_eq!(house.cam.opened(), 1, "what is new enough is not fetched again");
    let mut one = image(house.lab.http(), CAM, "/stream", false).await;
    one.next().await.unwrap();
    // What it saw first may be the frame from before.
    until("its stream stands", async || house.cam.open() == 1).await;
    let opened = house.cam.opened();
    look().await;
    assert_eq!(house.cam.opened(), opened, "a picture beside a stream is the stream's");
    for (path, status) in [("/favicon.ico", StatusCode::NOT_FOUND), ("/snapshot", StatusCode::OK)] {
        assert_eq!(get(house.lab.http(), CAM, path).await.status, status, "{path}");
    }
    let post = request(CAM, "/").method("POST").body(visitor::nothing()).unwrap();
    assert_eq!(send(house.lab.http(), post).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_does_not_answer_is_told_as_such() {
    let house = House::build(50, 20_000, PolicyDocument::public()).await;
    house.cam.fall_silent(true);
    let answer = get(house.lab.http(), CAM, "/snapshot").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", answer.text());
    let mut feed = house.feed().await;
    feed.name(1, "pi/cam").await;
    feed.watch(1, None).await;
    loop {
        match feed.next().await {
            Heard::Said(Said::State { camera: 1, state: State::Failed, text }) => {
                assert_eq!(text, "no camera answers");
                break;
            }
            Heard::Said(_) | Heard::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_watches_many_cameras_and_is_sent_what_it_draws() {
    let house = House::build(20, 20_000, people(&["owner"])).await;
    let mut feed = house.feed().await;
    feed.name(7, "pi/cam").await;
    feed.name(8, "pi/nothing").await;
    feed.watch(8, None).await;
    match feed.next().await {
        Heard::Said(Said::State { camera: 8, state: State::Ended, text }) => assert_eq!(text, ""),
        other => panic!("{other:?}"),
    }
    feed.watch(7, None).await;
    let first = feed.frame(7).await;
    let mut last = first.number;
    for _ in 0..20 {
        let frame = feed.frame(7).await;
        assert!(frame.number > last);
        assert_eq!(frame.picture.jpeg.len(), 20_000);
        last = frame.number;
    }
    // What is not drawn is not followed by more than the line may hold.
    let mut unseen = 0;
    while timeout(Duration::from_millis(500), feed.next()).await.is_ok() {
        unseen += 1;
        assert!(unseen < 30, "it is sent on and on");
    }
    feed.shown(7, last).await;
    let place = doorward_control::CameraPlace { service: house.lab.record("pi", "cam").service.id, mount: None };
    until("people can see how it does", async || {
        let seen = house.lab.control().presence().camera(&place);
        seen.is_some_and(|seen| seen.viewers == 1 && seen.is_live && seen.size == Some((32, 24)))
    })
    .await;
    drop(feed);
    until("nobody looks", async || house.cam.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_caps_does_not_go_up() {
    let house = House::build(20, 10_000, PolicyDocument::public()).await;
    let mut one = image(house.lab.http(), CAM, "/", false).await;
    for _ in 0..20 {
        one.next().await.unwrap();
    }
    let limits = LimitsDocument { max_fps: Some(5), ..LimitsDocument::default() };
    let capped = PolicyDocument { limits: Some(limits), ..PolicyDocument::public() };
    house.lab.set_access("pi", "cam", capped).await;
    // The camera has fifty a second; from a second later on at the latest, one in ten comes.
    let from = house.cam.newest() + 75;
    while one.next().await.unwrap() < from {}
    let mut last = one.next().await.unwrap();
    for _ in 0..5 {
        let next = one.next().await.unwrap();
        assert!((8..=14).contains(&(next - last)), "{last}, then {next}");
        last = next;
    }
    assert_eq!(house.cam.opened(), 1, "nobody was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_may_not_see_is_not_there() {
    let house = House::build(50, 20_000, people(&["anna"])).await;
    let cookie = house.cookie().await;
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let mut asked = request(PORTAL, path);
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        let answer = send(house.lab.http(), asked.body(visitor::nothing()).unwrap()).await;
        (answer.status, answer.text().replace(path, "PATH"))
    };
    // The owner is not anna: for them, too, it is what is not there.
    for with in [&[][..], &[("cookie", cookie.as_str())]] {
        let nothing = ask("/frames/pi/nothing/stream", with).await;
        assert_ne!(nothing.0, StatusCode::OK);
        for path in ["/frames/pi/cam/stream", "/frames/pi/cam/snapshot", "/frames/feed", "/frames/x"] {
            assert_eq!(ask(path, with).await, nothing, "{path}");
        }
    }
    for origin in [None, Some("http://evil.test"), Some("https://portal.gw.test"), Some("null")] {
        assert!(feed(house.lab.http(), PORTAL, &cookie, origin).await.is_err(), "{origin:?}");
    }
    let mut own = feed(house.lab.http(), PORTAL, &cookie, Some(ORIGIN)).await.unwrap();
    own.name(1, "pi/cam").await;
    own.watch(1, None).await;
    assert!(matches!(own.next().await, Heard::Said(Said::State { state: State::Ended, .. })));
    assert_eq!(house.cam.opened(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portal_shows_what_its_login_lets_see_to_its_own_pages() {
    let house = House::build(50, 20_000, people(&["owner"])).await;
    let cookie = house.cookie().await;
    let ask = async |site: &str| {
        let asked = request(PORTAL, "/frames/pi/cam/snapshot").header("cookie", &cookie).header("sec-fetch-site", site);
        send(house.lab.http(), asked.body(visitor::nothing()).unwrap()).await.status
    };
    assert_eq!(ask("same-origin").await, StatusCode::OK);
    for site in ["cross-site", "same-site", "none"] {
        assert_ne!(ask(site).await, StatusCode::OK, "{site}");
    }
    let login = house
        .lab
        .control()
        .signed_in(&doorward_core::Secret::new(cookie["__Host-doorward=".len()..].to_owned()), Timestamp::now());
    let mut watching = feed(house.lab.http(), PORTAL, &cookie, Some(ORIGIN)).await.unwrap();
    watching.name(1, "pi/cam").await;
    watching.watch(1, None).await;
    watching.frame(1).await;
    let since = Instant::now();
    house.lab.control().end_login(None, login.unwrap().1.id, Timestamp::now()).await.unwrap();
    loop {
        match watching.next().await {
            Heard::Said(Said::State { state: State::Ended, .. }) | Heard::End(_) => break,
            Heard::Frame(frame) => watching.shown(1, frame.number).await,
            Heard::Said(_) | Heard::Text(_) => {}
        }
    }
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    assert_eq!(ask("same-origin").await, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stays_sees_no_gap_when_the_one_leaves_whose_permit_is_used() {
    let house = House::build(50, 20_000, PolicyDocument::public()).await;
    let mut first = image(house.lab.http(), CAM, "/", false).await;
    first.next().await.unwrap();
    let mut second = image(house.lab.http(), CAM, "/", false).await;
    second.next().await.unwrap();
    second.next().await.unwrap();
    drop(first);
    let mut last = second.next().await.unwrap();
    until("there is another stream", async || house.cam.opened() == 2).await;
    for _ in 0..40 {
        let next = second.next().await.unwrap();
        assert!(next > last && next <= last + 6, "{last}, then {next}");
        last = next;
    }
    until("the one before is gone", async || house.cam.open() == 1).await;
    assert_eq!(house.cam.opened(), 2);
    drop(house.device);
    sleep(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tile_that_is_merely_in_sight_keeps_no_session_open() {
    for (rate, is_use) in [(Some(1.0), false), (None, true)] {
        let policy = PolicyDocument { max_idle: Some("5m".to_owned()), ..on_request(&["owner"]) };
        let house = House::build(100, 10_000, policy).await;
        let session = house.lab.open_session("owner", ("pi", "cam"), SignedDuration::from_mins(30), LOOPBACK).await;
        let mut feed = house.feed().await;
        feed.name(1, "pi/cam").await;
        feed.watch(1, rate).await;
        // The gateway tells every five seconds which sessions are in use.
        let told = Instant::now() + Duration::from_secs(11);
        while Instant::now() < told {
            feed.frame(1).await;
        }
        let unused = session.opened_at + SignedDuration::from_secs(5 * 60 + 3);
        house.lab.control().end_lapsed_sessions(unused).await.unwrap();
        let is_open = Facts::session(&*house.lab.control().snapshot(), session.id).is_some();
        assert_eq!(is_open, is_use, "{rate:?} pictures a second");
    }
}
