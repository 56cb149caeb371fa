//! Who may come in, and how soon those who may no longer are out.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use data_encoding::BASE64;
use doorward_control::passwords;
use doorward_core::Secret;
use doorward_core::access::{PolicyDocument, ScheduleDocument, WhoDocument};
use doorward_lab::held::{Cut, Held, Kind};
use doorward_lab::visitor::{self, Ending, connect_from, get, http1_over, request, send, send_over};
use doorward_lab::web::{Answer, ENDLESS, ok, web};
use doorward_lab::{Lab, service};
use http::StatusCode;
use http_body_util::BodyExt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const HOST: &str = "page-pi.gw.test";
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const SOON: Duration = Duration::from_secs(1);

fn password(user: &str, password: &str) -> PolicyDocument {
    let hash = passwords::hash(&Secret::new(password.to_owned()));
    let passwords = [(user.to_owned(), hash)].into();
    PolicyDocument { who: WhoDocument::Password, passwords, ..PolicyDocument::default() }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

/// A schedule that opens now and closes at the next full minute, UTC.
fn until_next_minute() -> (PolicyDocument, Duration) {
    let now = jiff::Timestamp::now();
    let left = 60 - now.as_second().rem_euclid(60);
    let at = |seconds: i64| {
        let time = jiff::Timestamp::from_second(now.as_second() + seconds).unwrap();
        time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%H:%M").to_string()
    };
    let open = vec![format!("mon-sun {}-{}", at(-120), at(60))];
    let when = Some(ScheduleDocument { zone: "UTC".into(), open });
    let left =
        Duration::from_secs(left.unsigned_abs()) - Duration::from_nanos(now.subsec_nanosecond().unsigned_abs().into());
    (PolicyDocument { when, ..PolicyDocument::public() }, left)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_and_a_wrong_one_is_asked_again_in_utf_8() {
    let lab = Lab::start().await;
    let page = web(|_| ok("hello")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    lab.set_access("pi", "page", password("jürgen", "größe ✓")).await;

    let ask = async |authorization: Option<String>| {
        let mut request = request(HOST, "/");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        send(lab.http(), request.body(visitor::nothing()).unwrap()).await
    };
    let asked = ask(None).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert_eq!(asked.headers["www-authenticate"], "Basic realm=\"Doorward\", charset=\"UTF-8\"");
    for wrong in [basic("jürgen", "groesse"), basic("nobody", "größe ✓"), "Bearer x".into(), "Basic ???".into()] {
        assert_eq!(ask(Some(wrong.clone())).await.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    assert_eq!(page.accepted(), 0, "nobody reached the target without the password");
    let right = ask(Some(basic("jürgen", "größe ✓"))).await;
    assert_eq!((right.status, right.text().as_str()), (StatusCode::OK, "hello"));
    assert_eq!(page.last().header("authorization"), None, "the password is for the gateway alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_service_gets_its_own_credentials() {
    let lab = Lab::start().await;
    let page = web(|_| ok("hello")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let authorized = request(HOST, "/").header("authorization", basic("a", "b"));
    assert_eq!(send(lab.http(), authorized.body(visitor::nothing()).unwrap()).await.status, StatusCode::OK);
    assert_eq!(page.last().header("authorization"), Some(basic("a", "b").as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_wrong_passwords_close_the_door_to_their_source_alone() {
    let lab = Lab::start().await;
    let page = web(|_| ok("hello")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    lab.set_access("pi", "page", password("anna", "right")).await;
    let guess = |guess: &str| request(HOST, "/").header("authorization", basic("anna", guess)).body(visitor::nothing());
    for n in 0..20 {
        let answer = send(lab.http(), guess(&format!("wrong {n}")).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "guess {n}");
    }
    let refused = send(lab.http(), guess("right").unwrap()).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers.contains_key("retry-after"));

    let mut elsewhere = http1_over(connect_from(ELSEWHERE, lab.http()).await.unwrap()).await;
    assert_eq!(send_over(&mut elsewhere, guess("right").unwrap()).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_outside_the_networks_learns_nothing_whatever_it_sends() {
    let lab = Lab::start().await;
    let page = web(|_| ok("hello")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let here = Some(vec!["127.0.0.1/32".to_owned()]);
    lab.set_access("pi", "page", PolicyDocument { from: here, ..password("anna", "right") }).await;

    let with = |credentials: &str| {
        let request = request(HOST, "/").header("authorization", basic("anna", credentials));
        request.body(visitor::nothing()).unwrap()
    };
    assert_eq!(send(lab.http(), with("right")).await.status, StatusCode::OK);
    let mut elsewhere = http1_over(connect_from(ELSEWHERE, lab.http()).await.unwrap()).await;
    assert_eq!(send_over(&mut elsewhere, with("right")).await.status, StatusCode::NOT_FOUND);
    // More than the guesses that would be counted, were they looked at.
    for n in 0..25 {
        let answer = send_over(&mut elsewhere, with(&format!("wrong {n}"))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "guess {n}");
    }
    let twice = request(HOST, "/").header("authorization", "a").header("authorization", "b");
    let answer = send_over(&mut elsewhere, twice.body(visitor::nothing()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_cuts_what_the_old_one_opened() {
    let lab = Lab::start().await;
    let mut page = web(|_| Answer::Endless(ENDLESS.to_vec())).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    lab.set_access("pi", "page", password("anna", "old")).await;

    let request = request(HOST, "/").header("authorization", basic("anna", "old")).body(visitor::nothing()).unwrap();
    let mut live = visitor::http1(lab.http()).await.send_request(request).await.unwrap().into_body();
    live.frame().await.unwrap().unwrap();
    let new = password("anna", "new");
    let changed = Instant::now();
    lab.set_access("pi", "page", new).await;
    let reading = async { while let Some(Ok(_)) = live.frame().await {} };
    tokio::time::timeout(SOON, reading).await.expect("the download is cut within a second");
    assert_eq!(page.ending().await, Ending::Reset, "after {:?}", changed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_visit_is_cut_within_a_second_of_a_narrowed_policy() {
    for kind in Kind::ALL {
        let lab = Lab::with_portal().await;
        let held = Held::open(&lab, kind).await;
        let started = Instant::now();
        lab.set_access("pi", kind.word(), PolicyDocument::default()).await;
        held.must_be_cut(started, Cut::Service).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_visit_is_cut_within_a_second_of_the_revocation_of_its_device() {
    for kind in Kind::ALL {
        let lab = Lab::with_portal().await;
        let held = Held::open(&lab, kind).await;
        let device = lab.record("pi", kind.word()).service.device;
        let started = Instant::now();
        lab.control().revoke_device(device, None, jiff::Timestamp::now()).await.unwrap();
        held.must_be_cut(started, Cut::Device).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_visit_is_cut_within_a_second_of_the_withdrawal_of_its_service() {
    for kind in Kind::ALL {
        let lab = Lab::with_portal().await;
        let held = Held::open(&lab, kind).await;
        let rest = held.services.iter().filter(|s| s.offer.name.as_str() != kind.word()).cloned().collect();
        let started = Instant::now();
        held.device.offer(rest).await;
        held.must_be_cut(started, Cut::Withdrawal).await;
    }
}

/// Every kind at once, since the end of the minute has to be waited for.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_visit_is_cut_within_a_second_of_the_end_of_its_hours() {
    // Opening all of them takes some seconds, and holding them for a minute would test other limits than this one.
    let (_, left) = until_next_minute();
    let spare = left.checked_sub(Duration::from_secs(15)).unwrap_or(left + Duration::from_secs(45));
    tokio::time::sleep(spare).await;
    let lab = Lab::with_portal().await;
    let mut all = Vec::new();
    for kind in Kind::ALL {
        all.push(Held::open_on(&lab, kind, &format!("pi-{}", kind.word())).await);
    }
    let (policy, left) = until_next_minute();
    let ends = Instant::now() + left;
    for held in &all {
        lab.set_access(&held.device_name, held.kind.word(), held.kind.policy(policy.clone())).await;
    }
    for held in &mut all {
        assert!(held.is_alive().await, "{:?} goes on while it is open", held.kind);
    }
    assert!(Instant::now() < ends, "this machine is too slow for this test");
    let cuts: JoinSet<()> = all.into_iter().map(|held| held.must_be_cut(ends, Cut::Service)).collect();
    cuts.join_all().await;
    assert_eq!(get(lab.http(), "download-pi-download.gw.test", "/").await.status, StatusCode::UNAUTHORIZED);
}
