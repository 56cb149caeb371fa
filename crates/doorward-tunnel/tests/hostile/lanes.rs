//! Connections that claim to be lanes of a link.

use crate::common::gateway::Gateway;
use crate::common::stranger::{Stranger, connect_quic, lane};
use crate::common::{AT_ONCE, at_once, bounded, request};
use doorward_core::hop::HopFailure;
use doorward_tunnel::messages::{LaneHello, Message, Welcome};
use doorward_tunnel::wire::{DATA_LIMIT, frame, header};
use doorward_tunnel::{ArrivalError, GatewayLink, LinkEnd, OPEN_LIMIT};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

struct Joined {
    gateway: Gateway,
    control: Stranger,
    link: Arc<GatewayLink>,
    welcome: Welcome,
    end: AbortOnDropHandle<LinkEnd>,
}

/// A device that was let in, its agent written by somebody else.
async fn joined() -> Joined {
    let mut gateway = Gateway::start().await;
    let mut control = Stranger::connect(gateway.port).await;
    let (standing, welcome) = control.join(&mut gateway).await;
    let end = AbortOnDropHandle::new(tokio::spawn(standing.driver));
    Joined { gateway, control, link: standing.link, welcome, end }
}

impl Joined {
    async fn is_stray(&mut self, what: &str, forge: impl FnOnce(&Stranger) -> LaneHello) {
        let mut lane = Stranger::connect(self.gateway.port).await;
        let hello = Message::LaneHello(forge(&lane)).encode();
        lane.say(&hello).await;
        let arrival = at_once(what, self.gateway.arrival()).await;
        assert!(matches!(arrival, Err(ArrivalError::StrayLane)), "{what}: {:?}", arrival.err());
        assert_eq!(at_once(what, lane.hear()).await, None, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_without_its_links_proof_is_turned_away() {
    bounded(async {
        let (mut joined, other) = (joined().await, joined().await);
        let welcome = joined.welcome.clone();
        let honest = |s: &Stranger| s.lane_hello(&welcome);
        let port = joined.gateway.port;
        let first = Stranger::connect(port).await;
        let overheard = honest(&first);
        let foreign = Welcome { lane_secret: other.welcome.lane_secret.clone(), ..welcome.clone() };

        joined.is_stray("no proof", |s| LaneHello { proof: vec![], ..honest(s) }).await;
        joined.is_stray("zeros", |s| LaneHello { proof: vec![0; 32], ..honest(s) }).await;
        joined.is_stray("half", |s| LaneHello { proof: honest(s).proof[..16].to_vec(), ..honest(s) }).await;
        joined.is_stray("more", |s| LaneHello { proof: [honest(s).proof, vec![0]].concat(), ..honest(s) }).await;
        joined.is_stray("another connection's", |_| overheard).await;
        joined.is_stray("another link's secret", |s| s.lane_hello(&foreign)).await;
        joined.is_stray("another link", |s| s.lane_hello(&other.welcome)).await;
        joined.is_stray("no link", |s| LaneHello { link: vec![], ..honest(s) }).await;
        joined.is_stray("a long link", |s| LaneHello { link: vec![1; 17], ..honest(s) }).await;

        let _lane = lane(port, &welcome).await;
        at_once("an honest lane", joined.gateway.lanes(1)).await;
        // What was a lane's right ends with its link.
        drop(joined.control.io);
        at_once("the link ends", &mut joined.end).await.unwrap();
        joined.control = Stranger::connect(port).await;
        joined.is_stray("a link that has ended", |s| s.lane_hello(&welcome)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_inside_quic_is_turned_away_even_with_its_links_proof() {
    bounded(async {
        let mut joined = joined().await;
        let connection = connect_quic(joined.gateway.port).await;
        let mut lane = Stranger::over(&connection).await;
        lane.say(&Message::LaneHello(lane.lane_hello(&joined.welcome)).encode()).await;
        let arrival = at_once("the lane", joined.gateway.arrival()).await;
        assert!(matches!(arrival, Err(ArrivalError::LaneInQuic)), "{:?}", arrival.err());
        assert_eq!(at_once("its end", lane.hear()).await, None);
        assert!(!joined.end.is_finished(), "the link is not disturbed");
    })
    .await;
}

/// What lanes say before or instead of the answer to an open, and whether they leave then.
fn wrong_answers() -> Vec<(&'static str, Vec<u8>, bool)> {
    vec![
        ("data", frame(0x40, b"data").to_vec(), false),
        ("an end", frame(0x41, b"").to_vec(), false),
        ("a reset", frame(0x42, &[0, 0, 0, 1]).to_vec(), false),
        ("garbage", vec![0xff; 5000], false),
        ("16 MiB announced", header(9, (1 << 24) - 1).to_vec(), false),
        ("no protobuf", frame(10, &[0xff; 20]).to_vec(), false),
        ("a long refusal", frame(10, &[0; 5000]).to_vec(), false),
        ("a ping", Message::Ping.encode().to_vec(), false),
        ("half a header", vec![9, 0], true),
        ("nothing", vec![], true),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_answers_wrongly_fails_or_is_passed_over() {
    bounded(async {
        for (what, said, leaves) in wrong_answers() {
            let mut joined = joined().await;
            let mut good = lane(joined.gateway.port, &joined.welcome).await;
            joined.gateway.lanes(1).await;
            let mut bad = lane(joined.gateway.port, &joined.welcome).await;
            joined.gateway.lanes(2).await;
            // The newest lane is used first.
            bad.say(&said).await;
            if leaves {
                drop(bad.io.shutdown().await);
            }
            let request = request("tree");
            let answering = async {
                let heard = good.hear().await;
                assert!(matches!(heard, Some(Message::Open(_))), "{what}: {heard:?}");
                good.say(&Message::Opened.encode()).await;
                good.say(&frame(0x40, b"hello")).await;
                good.say(&frame(0x41, b"")).await;
            };
            let (opened, ()) = tokio::join!(at_once(what, joined.link.open(&request)), answering);
            let mut heard = Vec::new();
            opened.unwrap().read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"hello", "{what}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_every_lane_is_wrong_keeps_no_visit_waiting() {
    bounded(async {
        let mut joined = joined().await;
        let (port, welcome) = (joined.gateway.port, joined.welcome.clone());
        let lanes = async {
            let mut held = Vec::new();
            while let Some(message) = joined.control.hear().await {
                let Message::LanesWanted(wanted) = message else { continue };
                for _ in 0..wanted.count.min(100) {
                    let mut lane = lane(port, &welcome).await;
                    lane.say(&frame(0x40, b"data before the open")).await;
                    held.push(lane);
                }
                assert!(held.len() < 200, "the gateway asks for lane after lane");
            }
        };
        let request = request("tree");
        tokio::select! {
            opened = timeout(OPEN_LIMIT + AT_ONCE, joined.link.open(&request)) => {
                let hop = opened.expect("an answer in time").err().unwrap().hop;
                assert!(matches!(hop, HopFailure::DeviceOffline | HopFailure::AgentSilent), "{hop:?}");
            }
            () = lanes => panic!("the link ended"),
        }
    })
    .await;
}

/// What an accepted stream may bring, and what the visitor's side makes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_turns_to_garbage_breaks_and_its_lane_is_not_used_again() {
    bounded(async {
        let table: [(&str, Vec<u8>, ErrorKind); 7] = [
            ("garbage", vec![0xff; 100], ErrorKind::InvalidData),
            ("too much data", header(0x40, DATA_LIMIT + 1).to_vec(), ErrorKind::InvalidData),
            ("16 MiB", header(0x40, (1 << 24) - 1).to_vec(), ErrorKind::InvalidData),
            ("an end with a body", frame(0x41, b"x").to_vec(), ErrorKind::InvalidData),
            ("an open", Message::Opened.encode().to_vec(), ErrorKind::InvalidData),
            ("a reset", frame(0x42, &[0, 0, 0, 2]).to_vec(), ErrorKind::ConnectionReset),
            ("a reset without a reason", frame(0x42, b"").to_vec(), ErrorKind::ConnectionReset),
        ];
        for (what, said, kind) in table {
            let mut joined = joined().await;
            let mut lane = lane(joined.gateway.port, &joined.welcome).await;
            joined.gateway.lanes(1).await;
            let request = request("tree");
            let answering = async {
                assert!(matches!(lane.hear().await, Some(Message::Open(_))));
                lane.say(&Message::Opened.encode()).await;
                lane.say(&frame(0x40, b"so far")).await;
                lane.say(&said).await;
            };
            let (opened, ()) = tokio::join!(joined.link.open(&request), answering);
            let mut stream = opened.unwrap();
            let mut heard = Vec::new();
            let error = at_once(what, stream.read_to_end(&mut heard)).await.unwrap_err();
            assert_eq!((error.kind(), &heard[..]), (kind, &b"so far"[..]), "{what}");
            let _ = stream.shutdown().await;
            drop(stream);
            let next = timeout(Duration::from_millis(300), joined.link.open(&request));
            let hearing = async {
                while let Some(message) = lane.hear().await {
                    assert!(!matches!(message, Message::Open(_)), "{what}: the lane was used again");
                }
            };
            let (next, ()) = tokio::join!(next, hearing);
            assert!(next.is_err(), "{what}: there is no lane, and yet a visit was answered");
        }
    })
    .await;
}

/// A lane on which more follows the end: the next visit must not read it as its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_an_end_is_not_taken_for_the_next_visits_bytes() {
    bounded(async {
        let mut joined = joined().await;
        let mut lane = lane(joined.gateway.port, &joined.welcome).await;
        joined.gateway.lanes(1).await;
        let request = request("tree");
        let answering = async {
            assert!(matches!(lane.hear().await, Some(Message::Open(_))));
            lane.say(&Message::Opened.encode()).await;
            lane.say(&frame(0x41, b"")).await;
            lane.say(&frame(0x40, b"left over")).await;
        };
        let (opened, ()) = tokio::join!(joined.link.open(&request), answering);
        let mut stream = opened.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
        drop(stream);
        // The lane is home, data instead of an answer on it; there is no other.
        let opened = timeout(Duration::from_millis(500), joined.link.open(&request)).await;
        assert!(!matches!(opened, Ok(Ok(_))), "left-over bytes opened a stream");
    })
    .await;
}
