//! One visit, and many at once.

use crate::common::{self, AT_ONCE, Link, at_once, bounded, echoes, request, whole};
use crate::over_every_carrier;
use aws_lc_rs::digest::{Context, SHA256};
use doorward_core::hop::HopFailure;
use doorward_core::names::PathPrefix;
use doorward_core::site::Carrier;
use doorward_tunnel::{OpenRequest, Stream};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

over_every_carrier!(
    a_visit_names_its_service_and_its_visitor,
    bytes_come_back,
    a_visitor_that_said_everything_still_hears,
    a_target_that_said_everything_still_hears,
    a_refusal_tells_the_hop_and_the_link_goes_on,
    a_refusal_with_a_long_story_is_still_a_refusal,
    a_visit_that_the_agent_drops_fails_at_once,
    a_hundred_streams_run_at_once,
    ten_mebibytes_each_way_arrive_intact,
    stalled_streams_do_not_stop_the_others,
    a_read_of_nothing_breaks_nothing,
);

async fn a_visit_names_its_service_and_its_visitor(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let request = OpenRequest {
        service: common::label("tree"),
        remaining: Some(Duration::from_secs(90)),
        source: "2001:db8::1".parse().unwrap(),
        mount: Some(PathPrefix::parse("/webcam/").unwrap()),
    };
    let accepting = async {
        let visit = link.visits.recv().await.unwrap();
        assert_eq!(visit.service.as_str(), "tree");
        assert_eq!(visit.remaining, Some(Duration::from_secs(90)));
        assert_eq!(visit.source.to_string(), "2001:db8::1");
        assert_eq!(visit.mount.as_ref().map(PathPrefix::as_str), Some("/webcam/"));
        assert!(!visit.is_flow());
        visit.accept().await.unwrap()
    };
    let (near, _far) = tokio::join!(link.near.open(&request), accepting);
    assert!(near.is_ok());
}

async fn bytes_come_back(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let _echo = link.echo();
    for size in [0, 1, 100, 4096, 65_536, 100_001] {
        echoes(&link.near, &vec![7; size]).await.unwrap();
    }
}

/// The visitor's end comes first; what the target then says must arrive whole, and then its end.
async fn a_visitor_that_said_everything_still_hears(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (near, far) = link.stream().await;
    half_closes(near, far).await;
}

async fn a_target_that_said_everything_still_hears(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (near, far) = link.stream().await;
    half_closes(far, near).await;
}

async fn half_closes(mut first: Stream, mut last: Stream) {
    first.write_all(b"that is all").await.unwrap();
    first.shutdown().await.unwrap();
    assert_eq!(whole(&mut last).await, b"that is all");
    let answering = async {
        last.write_all(&vec![9; 200_000]).await.unwrap();
        last.shutdown().await.unwrap();
    };
    let (heard, ()) = tokio::join!(whole(&mut first), answering);
    assert!(heard == vec![9; 200_000]);
    // After its own end a side can say nothing more.
    assert!(first.write_all(b"x").await.is_err());
}

async fn a_refusal_tells_the_hop_and_the_link_goes_on(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let told = [
        HopFailure::AgentRefused,
        HopFailure::TargetRefused,
        HopFailure::TargetTimedOut,
        HopFailure::TargetUnreachable,
        HopFailure::Busy,
    ];
    let request = request("tree");
    for failure in told {
        let refusing = async { link.visits.recv().await.unwrap().fail(failure, "nobody home").await };
        let (opened, ()) = tokio::join!(link.near.open(&request), refusing);
        let error = opened.err().unwrap();
        assert_eq!((error.hop, error.detail.as_str()), (failure, "nobody home"));
    }
    let _echo = link.echo();
    echoes(&link.near, b"hello").await.unwrap();
}

async fn a_refusal_with_a_long_story_is_still_a_refusal(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let request = request("tree");
    let story = "ü".repeat(10_000);
    let refusing = async { link.visits.recv().await.unwrap().fail(HopFailure::TargetRefused, &story).await };
    let (opened, ()) = tokio::join!(link.near.open(&request), refusing);
    let error = opened.err().unwrap();
    assert_eq!(error.hop, HopFailure::TargetRefused);
    assert!(story.starts_with(&error.detail) && !error.detail.is_empty() && error.detail.len() <= 1000);
}

/// An agent that stops drops the visits it still has.
async fn a_visit_that_the_agent_drops_fails_at_once(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let dropping = async {
        let mut dropped = 0;
        while let Some(visit) = link.visits.recv().await {
            drop(visit);
            dropped += 1;
            assert!(dropped < 50, "the gateway opens again and again");
        }
    };
    let request = request("tree");
    tokio::select! {
        opened = timeout(Duration::from_secs(5), link.near.open(&request)) => {
            assert_eq!(opened.expect("an answer, soon").err().unwrap().hop, HopFailure::DeviceOffline);
        }
        () = dropping => panic!("the link ended"),
    }
}

async fn a_hundred_streams_run_at_once(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let _echo = link.echo();
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(100));
    let mut visitors = JoinSet::new();
    for n in 0..100_u8 {
        let (near, barrier) = (link.near.clone(), barrier.clone());
        visitors.spawn(async move {
            let mut stream = near.open(&request("tree")).await.unwrap();
            // All stand open before any speaks.
            barrier.wait().await;
            stream.write_all(&[n; 3000]).await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(whole(&mut stream).await, [n; 3000]);
        });
    }
    while let Some(done) = visitors.join_next().await {
        done.unwrap();
    }
}

const LARGE: usize = 10 * 1024 * 1024;

/// Bytes that do not repeat with any buffer's size.
fn pattern(seed: u32) -> impl Iterator<Item = u8> {
    (0..u32::try_from(LARGE).unwrap()).map(move |n| ((n ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8)
}

async fn ten_mebibytes_each_way_arrive_intact(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (near, far) = link.stream().await;
    let exchange = |stream: Stream, says: u32| async move {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let saying = async {
            let said: Vec<u8> = pattern(says).collect();
            writer.write_all(&said).await.unwrap();
            writer.shutdown().await.unwrap();
            digest(&said)
        };
        let hearing = async {
            let heard = whole(&mut reader).await;
            (heard.len(), digest(&heard))
        };
        tokio::join!(saying, hearing)
    };
    let (up, down) = tokio::join!(exchange(near, 1), exchange(far, 2));
    assert_ne!(up.0, down.0);
    assert_eq!(up.1, (LARGE, down.0));
    assert_eq!(down.1, (LARGE, up.0));
}

fn digest(bytes: &[u8]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    context.finish().as_ref().to_vec()
}

/// Writes until nothing goes any more; how much went.
async fn fill(stream: &mut Stream) -> usize {
    let chunk = vec![1; 64 * 1024];
    let mut went = 0;
    while let Ok(written) = timeout(Duration::from_millis(300), stream.write(&chunk)).await {
        went += written.unwrap();
        assert!(went < 64 * 1024 * 1024, "a reader that reads nothing is no back-pressure");
    }
    went
}

async fn stalled_streams_do_not_stop_the_others(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (mut visitor_stalls, mut nobody_reads) = link.stream().await;
    let (mut nobody_reads_either, mut target_stalls) = link.stream().await;
    fill(&mut visitor_stalls).await;
    fill(&mut target_stalls).await;
    let _echo = link.echo();
    for _ in 0..3 {
        at_once("an echo beside stalled streams", echoes(&link.near, b"hello")).await.unwrap();
    }
    // What was stalled goes on where it stopped.
    let mut some = [0; 1000];
    nobody_reads.read_exact(&mut some).await.unwrap();
    nobody_reads_either.read_exact(&mut some).await.unwrap();
    assert_eq!(some, [1; 1000]);
}

async fn a_read_of_nothing_breaks_nothing(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (mut near, mut far) = link.stream().await;
    near.write_all(b"hello").await.unwrap();
    near.flush().await.unwrap();
    let mut first = [0; 1];
    far.read_exact(&mut first).await.unwrap();
    assert_eq!(far.read(&mut []).await.unwrap(), 0);
    let mut rest = [0; 4];
    far.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"ello");
}

#[tokio::test]
async fn a_link_that_is_gone_opens_nothing() {
    bounded(async {
        for carrier in [Carrier::Quic, Carrier::Tls, Carrier::WebSocket, Carrier::Memory] {
            let link = Link::stand(carrier).await;
            drop(link.near_end);
            let opened = timeout(AT_ONCE, link.near.open(&request("tree"))).await;
            let error = opened.unwrap_or_else(|_| panic!("{carrier:?}: no answer at once")).err().unwrap();
            assert_eq!(error.hop, HopFailure::DeviceOffline, "{carrier:?}");
        }
    })
    .await;
}

#[test]
fn resets_are_connection_resets_to_whoever_reads() {
    let error = std::io::Error::from(doorward_tunnel::Reset::Cut);
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
