//! Certificates that live for seconds, from a real ACME server: they are renewed by themselves, nobody's visit notices,
//! and an authority that is away is asked at growing intervals.

#![expect(clippy::unwrap_used, reason = "what goes wrong here ends the test")]

use doorward_control::{CertificateState, Reservation};
use doorward_core::certificates::{Attempt, Outcome, Tempo};
use doorward_gateway::{IssuingSettings, Way};
use doorward_lab::authority::{Manners, Names, Pebble, held, issuing, until_held, until_reported};
use doorward_lab::{LIMIT, Lab, Shape, service, until, visitor, web};
use jiff::SignedDuration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long certificates are good for, in seconds.
const LIFE: u32 = 12;

async fn certified(pebble: &mut Pebble, names: &Names, change: impl FnOnce(&mut IssuingSettings)) -> (Lab, Manners) {
    let mut settings = issuing(&[pebble], &[Way::Http], names.dns);
    change(&mut settings);
    let lab = Lab::of(Shape { issuing: Some(settings), ..Shape::default() }).await;
    let bound = lab.gateway.gateway.bound();
    let (http, https) = (bound.redirect[0].port(), bound.https[0].port());
    let manners = Manners { http, https, dns: names.dns, bad_nonces: 0, life: LIFE };
    pebble.start(manners).await;
    until_held(lab.control(), "gw.test").await;
    (lab, manners)
}

async fn renewals(lab: &Lab) -> Vec<Attempt> {
    let attempts = lab.control().certificate_attempts().await.unwrap();
    attempts.into_iter().filter(|attempt| attempt.outcome == Outcome::Issued { is_renewal: true }).collect()
}

/// Visits of this host one after the other, each over a connection of its own, until told to stop.
async fn visit(https: std::net::SocketAddr, host: String, stop: Arc<AtomicBool>) -> usize {
    let mut visits = 0;
    while !stop.load(Ordering::Relaxed) {
        let secured = visitor::tls(TcpStream::connect(https).await.unwrap(), &host, &["http/1.1"]).await.unwrap();
        let request = visitor::request(&host, "/").body(visitor::nothing()).unwrap();
        let answer = visitor::send_over(&mut visitor::http1_over(secured).await, request).await;
        assert_eq!(answer.status, 200, "visit {visits}");
        visits += 1;
    }
    visits
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_by_themselves_and_no_visit_notices() {
    let (names, mut pebble) = (Names::start().await, Pebble::new());
    let (lab, _) = certified(&mut pebble, &names, |_| {}).await;
    let target = web::web(|_| web::ok("here")).await;
    let _device = lab.device("printer1", vec![service("web", &target.url())]).await;
    let host = lab.record("printer1", "web").hosts[0].host.to_string();
    until_held(lab.control(), &host).await;

    // One connection that outlives every certificate that was there when it began, and a stream of new ones.
    let secured = visitor::tls(TcpStream::connect(lab.https()).await.unwrap(), &host, &["http/1.1"]).await.unwrap();
    let mut lasting = visitor::http1_over(secured).await;
    let (first, _) = held(lab.control(), &host).unwrap();
    let stop = Arc::<AtomicBool>::default();
    let visits = tokio::spawn(visit(lab.https(), host.clone(), stop.clone()));

    let started = Instant::now();
    let count = async |name: &str| renewals(&lab).await.iter().filter(|a| a.names.to_string() == name).count();
    let mut shelf = lab.control().certificates();
    while count("gw.test").await < 2 || count(&host).await < 2 {
        let changed = tokio::time::timeout(Duration::from_secs(LIFE.into()) + LIMIT, shelf.changed()).await;
        assert!(changed.is_ok(), "{:?}", renewals(&lab).await);
        let request = visitor::request(&host, "/").body(visitor::nothing()).unwrap();
        assert_eq!(visitor::send_over(&mut lasting, request).await.status, 200);
    }
    stop.store(true, Ordering::Relaxed);
    let visits = visits.await.unwrap();
    assert!(visits > 0 && held(lab.control(), &host).unwrap().0 != first);
    let all = lab.control().certificate_attempts().await.unwrap();
    println!("{visits} visits beside {} renewals in {:?}", renewals(&lab).await.len(), started.elapsed());
    // Before there was an authority some came to nothing.
    let since = all.iter().position(|attempt| matches!(attempt.outcome, Outcome::Issued { .. })).unwrap();
    assert!(all[since..].iter().all(|attempt| matches!(attempt.outcome, Outcome::Issued { .. })), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_away_when_it_is_time_is_asked_at_growing_intervals_until_it_is_back() {
    let (names, mut pebble) = (Names::start().await, Pebble::new());
    let slow = Tempo { first: SignedDuration::from_millis(300), longest: SignedDuration::from_secs(5) };
    let (lab, manners) = certified(&mut pebble, &names, |settings| settings.tempo = slow).await;
    let (first, chain) = held(lab.control(), "gw.test").unwrap();
    pebble.stop().await;
    until_reported(lab.control(), "the renewal fails", |report| {
        report.sets.iter().any(|set| matches!(set.state, CertificateState::Failed { .. }) && set.held_until.is_some())
    })
    .await;
    // Meanwhile what is held is shown.
    assert_eq!(held(lab.control(), "gw.test").unwrap().1, chain);
    let failures = async || {
        let attempts = lab.control().certificate_attempts().await.unwrap();
        let since = attempts.iter().rposition(|attempt| matches!(attempt.outcome, Outcome::Issued { .. })).unwrap();
        attempts[since + 1..].iter().map(|attempt| attempt.at).collect::<Vec<_>>()
    };
    until("it was asked four times", async || failures().await.len() >= 4).await;
    let asked = failures().await;
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_millis()).collect();
    println!("pauses of {pauses:?} ms");
    // Three hundred milliseconds, four times that, four times that again up to five seconds; a quarter more at most.
    assert!(pauses[0] >= 300 && pauses[1] >= 1200 && pauses[2] >= 4800, "{pauses:?}");
    pebble.start(manners).await;
    until("it was renewed", async || held(lab.control(), "gw.test").unwrap().0 != first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_released_is_ordered_no_more_and_forgotten_once_its_certificate_ended() {
    let (names, mut pebble) = (Names::start().await, Pebble::new());
    let (lab, _) = certified(&mut pebble, &names, |_| {}).await;
    let target = web::web(|_| web::ok("here")).await;
    let device = lab.device("printer1", vec![service("web", &target.url())]).await;
    let record = lab.record("printer1", "web");
    let host = record.hosts[0].host.clone();
    until_held(lab.control(), host.as_str()).await;
    let id = record.service.device;
    device.offer(vec![]).await;
    let released = async || {
        let service = record.service.name.clone();
        lab.control().release(Reservation::Service { device: id, service }, jiff::Timestamp::now()).await.is_ok()
    };
    until("it is released", released).await;
    let count = async || {
        let attempts = lab.control().certificate_attempts().await.unwrap();
        attempts.iter().filter(|attempt| attempt.names.to_string() == host.as_str()).count()
    };
    let before = count().await;
    let forgotten = Duration::from_secs(LIFE.into()) + LIMIT;
    let mut shelf = lab.control().certificates();
    let gone = |shelf: &doorward_control::Shelf| !shelf.iter().any(|c| c.held.names.to_string() == host.as_str());
    assert!(tokio::time::timeout(forgotten, shelf.wait_for(gone)).await.is_ok(), "it is still there");
    assert_eq!(count().await, before, "it was ordered again");
    assert!(held(lab.control(), "gw.test").is_some());
}
