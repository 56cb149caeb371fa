//! How a dead link is noticed, and how a quiet one is not taken for dead.

use crate::common::gateway::Gateway;
use crate::common::relay::Relay;
use crate::common::{self, Link, at_once, bounded, echoes, introduction, meet, request};
use crate::over_every_carrier;
use doorward_core::hop::HopFailure;
use doorward_core::site::Carrier;
use doorward_tunnel::{Introduction, LinkEnd, OPEN_LIMIT};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

over_every_carrier!(a_living_link_passes_a_probe, a_link_in_doubt_that_lives_goes_on);

async fn a_living_link_passes_a_probe(carrier: Carrier) {
    let link = Link::stand(carrier).await;
    assert!(link.near.probe(Duration::from_secs(1)).await);
}

async fn a_link_in_doubt_that_lives_goes_on(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let _echo = link.echo();
    for _ in 0..3 {
        link.far.doubt();
        assert!(timeout(Duration::from_millis(700), &mut link.far_end).await.is_err(), "it ended without need");
    }
    echoes(&link.near, b"still here").await.unwrap();
}

fn metered() -> Introduction {
    Introduction { metered: true, ..introduction() }
}

/// How long one end takes to find out that nobody runs the other.
async fn found_out(who: &Introduction, gateway_runs: bool) -> (Duration, LinkEnd) {
    let mut gateway = Gateway::start().await;
    let dialer = gateway.dialer(Carrier::Memory);
    let (near, far) = meet(&mut gateway, &dialer, who).await;
    let start = Instant::now();
    let end = if gateway_runs { near.driver.await } else { far.driver.await };
    (start.elapsed(), end)
}

fn seconds(from: u64, to: u64) -> std::ops::RangeInclusive<Duration> {
    Duration::from_secs(from)..=Duration::from_secs(to)
}

#[tokio::test(start_paused = true)]
async fn the_agent_notices_a_silent_gateway_within_fifteen_seconds() {
    let (took, end) = found_out(&introduction(), false).await;
    assert!(seconds(10, 15).contains(&took), "{took:?}");
    assert!(matches!(end, LinkEnd::Silent), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn the_gateway_notices_a_silent_agent_soon_after_fifteen_seconds() {
    let (took, end) = found_out(&introduction(), true).await;
    assert!(seconds(15, 17).contains(&took), "{took:?}");
    assert!(matches!(end, LinkEnd::Silent), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn metered_links_are_given_two_minutes_and_a_half() {
    let (took, end) = found_out(&metered(), false).await;
    assert!(seconds(60, 80).contains(&took) && matches!(end, LinkEnd::Silent), "agent: {took:?}, {end:?}");
    let (took, end) = found_out(&metered(), true).await;
    assert!(seconds(150, 165).contains(&took) && matches!(end, LinkEnd::Silent), "gateway: {took:?}, {end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_link_stands_for_a_day() {
    for who in [introduction(), metered()] {
        let mut gateway = Gateway::start().await;
        let dialer = gateway.dialer(Carrier::Memory);
        let (near, far) = meet(&mut gateway, &dialer, &who).await;
        let day = Duration::from_secs(24 * 3600);
        let ends = async {
            tokio::select! { end = near.driver => end, end = far.driver => end }
        };
        assert!(timeout(day, ends).await.is_err(), "it ended, metered: {}", who.metered);
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_nobody_runs_fails_a_probe_in_time() {
    let mut gateway = Gateway::start().await;
    let dialer = gateway.dialer(Carrier::Memory);
    let (near, _far) = meet(&mut gateway, &dialer, &introduction()).await;
    let _near = tokio::spawn(near.driver);
    let start = Instant::now();
    assert!(!near.link.probe(Duration::from_secs(1)).await);
    assert!(start.elapsed() <= Duration::from_millis(1100), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_in_doubt_that_nobody_runs_is_found_out_in_a_second() {
    let mut gateway = Gateway::start().await;
    let dialer = gateway.dialer(Carrier::Memory);
    let (_near, far) = meet(&mut gateway, &dialer, &introduction()).await;
    let start = Instant::now();
    far.link.doubt();
    assert!(matches!(far.driver.await, LinkEnd::Silent));
    assert!(start.elapsed() <= Duration::from_millis(1100), "{:?}", start.elapsed());
}

async fn agent_stays_silent(mut link: Link) -> Duration {
    let request = request("tree");
    let start = Instant::now();
    let opening = link.near.open(&request);
    let holding = async {
        let _held = link.visits.recv().await.unwrap();
        std::future::pending::<()>().await
    };
    tokio::select! {
        opened = opening => assert_eq!(opened.err().unwrap().hop, HopFailure::AgentSilent),
        () = holding => {}
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_open_that_the_agent_never_answers_is_given_up() {
    let took = agent_stays_silent(Link::stand(Carrier::Memory).await).await;
    assert!(took >= OPEN_LIMIT && took < OPEN_LIMIT + Duration::from_secs(1), "{took:?}");
}

/// The same where the clock cannot be paused: each takes ten seconds, all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_that_the_agent_never_answers_is_given_up_over_the_network() {
    bounded(async {
        let over = |carrier| async move { agent_stays_silent(Link::stand(carrier).await).await };
        let took = tokio::join!(over(Carrier::Quic), over(Carrier::Tls), over(Carrier::WebSocket));
        for took in [took.0, took.1, took.2] {
            assert!(took >= OPEN_LIMIT && took < OPEN_LIMIT + Duration::from_secs(2), "{took:?}");
        }
    })
    .await;
}

/// A QUIC link through a relay, its sentinel lane standing.
async fn through_relay() -> (Link, Relay) {
    let gateway = Gateway::start().await;
    let relay = Relay::before(gateway.port).await;
    let dialer = common::dialer(&format!("quic://{}", relay.port), gateway.fingerprint);
    let mut link = Link::stand_by(gateway, &dialer).await;
    at_once("the sentinel lane stands", link.gateway.lanes(1)).await;
    (link, relay)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quic_link_survives_the_loss_of_its_sentinel() {
    bounded(async {
        let (mut link, relay) = through_relay().await;
        let _echo = link.echo();
        relay.end_tcp();
        let ended = async {
            tokio::select! { _ = &mut link.far_end => {}, _ = &mut link.near_end => {} }
        };
        assert!(timeout(Duration::from_millis(2500), ended).await.is_err(), "the link ended");
        assert!(link.near.probe(Duration::from_secs(1)).await);
        echoes(&link.near, b"hello").await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_dies_is_noticed_in_a_second_by_its_sentinel() {
    bounded(async {
        let (mut link, relay) = through_relay().await;
        let (_near, mut far) = link.stream().await;
        relay.drop_udp();
        let start = Instant::now();
        relay.end_tcp();
        let end = timeout(Duration::from_secs(3), link.far_end).await.expect("noticed, soon").unwrap();
        assert!(matches!(end, LinkEnd::Silent), "{end:?}");
        assert!(start.elapsed() < Duration::from_millis(1800), "{:?}", start.elapsed());
        assert!(at_once("the target learns of it", far.read_u8()).await.is_err());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_is_noticed_in_a_second_by_its_sentinel_and_holds_up_no_successor() {
    bounded(async {
        let (mut link, relay) = through_relay().await;
        let (mut near, _far) = link.stream().await;
        relay.drop_udp();
        let start = Instant::now();
        relay.end_tcp();
        // The first may begin before the end of the sentinel is heard; the second need not wait.
        assert!(!link.near.probe(Duration::from_millis(300)).await);
        assert!(!link.near.probe(Duration::from_secs(10)).await);
        assert!(start.elapsed() < Duration::from_millis(700), "{:?}", start.elapsed());
        let end = timeout(Duration::from_secs(3), link.near_end).await.expect("noticed, soon").unwrap();
        assert!(matches!(end, LinkEnd::Silent), "{end:?}");
        assert!(start.elapsed() < Duration::from_millis(1800), "{:?}", start.elapsed());
        assert!(at_once("the visitor learns of it", near.read_u8()).await.is_err());
    })
    .await;
}
