//! Devices that were let in and misuse their control stream.

use crate::common::gateway::Gateway;
use crate::common::stranger::{Io, Stranger, connect_quic};
use crate::common::{at_once, bounded, request};
use bytes::Bytes;
use doorward_core::hop::HopFailure;
use doorward_core::names::PathPrefix;
use doorward_tunnel::messages::{Hello, LaneHello, Message, Unsupported};
use doorward_tunnel::wire::{CONTROL_LIMIT, WireError, frame, header};
use doorward_tunnel::{LinkEnd, OpenRequest, Standing};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

async fn joined() -> (Stranger, Standing, Gateway) {
    let mut gateway = Gateway::start().await;
    let mut control = Stranger::connect(gateway.port).await;
    let (standing, _) = control.join(&mut gateway).await;
    (control, standing, gateway)
}

async fn ends_the_link(mut control: Stranger<impl Io>, standing: Standing, what: &str, said: &[u8]) -> LinkEnd {
    let driver = AbortOnDropHandle::new(tokio::spawn(standing.driver));
    control.say(said).await;
    let end = at_once(what, driver).await.unwrap();
    assert!(!standing.link.say(Message::Ping).await, "{what}: the link still speaks");
    end
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_control_stream_ends_the_link() {
    bounded(async {
        let table = [
            ("garbage", vec![0xff; 100]),
            ("16 MiB announced", header(6, (1 << 24) - 1).to_vec()),
            ("one byte over the limit", header(6, CONTROL_LIMIT + 1).to_vec()),
            ("no protobuf", frame(6, &[0xff; 100]).to_vec()),
            ("not UTF-8", frame(6, &[0x12, 2, 0xff, 0xfe]).to_vec()),
            ("countless empty parts", frame(6, &[0x12, 0].repeat(200_000)).to_vec()),
        ];
        for (what, said) in table {
            let (control, standing, _gateway) = joined().await;
            let end = ends_the_link(control, standing, what, &said).await;
            let is_theirs = matches!(end, LinkEnd::Wire(WireError::TooLong { .. } | WireError::Malformed { .. }));
            assert!(is_theirs, "{what}: {end:?}");

            let mut gateway = Gateway::start().await;
            let connection = connect_quic(gateway.port).await;
            let mut control = Stranger::over(&connection).await;
            let (standing, _) = control.join(&mut gateway).await;
            let end = ends_the_link(control, standing, what, &said).await;
            assert!(matches!(end, LinkEnd::Wire(_)), "{what} over QUIC: {end:?}");
            at_once("the connection ends", connection.closed()).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_the_wrong_place_or_time_do_no_harm() {
    bounded(async {
        let (mut control, mut standing, _gateway) = joined().await;
        let _driver = AbortOnDropHandle::new(tokio::spawn(standing.driver));
        for message in [
            Message::Hello(Hello::default()),
            Message::Welcome(Default::default()),
            Message::LaneHello(LaneHello::default()),
            Message::Opened,
            Message::LanesWanted(Default::default()),
        ] {
            control.say(&message.encode()).await;
            assert_eq!(standing.events.recv().await, Some(message));
        }
        control.say(&Message::Pong.encode()).await;
        control.say(&Message::Unsupported(Unsupported { kind: 1 }).encode()).await;
        control.say(&frame(99, b"from the future")).await;
        assert_eq!(control.hear().await, Some(Message::Unsupported(Unsupported { kind: 99 })));
        control.say(&Message::Ping.encode()).await;
        assert_eq!(control.hear().await, Some(Message::Pong));
    })
    .await;
}

/// Pings and unknown messages faster than anybody reads the answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_is_answered_as_far_as_somebody_listens() {
    bounded(async {
        let (control, standing, _gateway) = joined().await;
        let mut driver = AbortOnDropHandle::new(tokio::spawn(standing.driver));
        let (mut hears, mut says) = tokio::io::split(control.io);
        let flood = [&Message::Ping.encode()[..], &frame(99, b"")].concat().repeat(1000);
        for _ in 0..50 {
            timeout(Duration::from_secs(5), says.write_all(&flood)).await.expect("the gateway keeps reading").unwrap();
        }
        says.flush().await.unwrap();
        // Nobody has listened so far; the link stands, and whatever it kept is a part of what was asked.
        assert!(timeout(Duration::from_millis(100), &mut driver).await.is_err(), "the link ended");
        timeout(Duration::from_secs(5), hears.read_u8()).await.expect("an answer").unwrap();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n) = timeout(Duration::from_millis(300), hears.read(&mut buffer)).await {
            assert_ne!(n.unwrap(), 0, "the link ended");
        }
        says.write_all(&Message::Ping.encode()).await.unwrap();
        says.flush().await.unwrap();
        at_once("an answer after the flood", hears.read_u8()).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_that_belong_to_no_flow_are_ignored() {
    bounded(async {
        let mut gateway = Gateway::start().await;
        let connection = connect_quic(gateway.port).await;
        let mut control = Stranger::over(&connection).await;
        let (standing, _) = control.join(&mut gateway).await;
        let mut driver = AbortOnDropHandle::new(tokio::spawn(standing.driver));
        for n in 0..5000_u32 {
            let datagram = match n % 6 {
                0 => vec![],
                1 => vec![0; 9],
                2 => vec![1, 2, 3],
                3 => vec![0xc0, 0, 0],
                4 => [&[0x80, 0, 0x40][..], &n.to_be_bytes()].concat(),
                _ => [&[0xff; 8][..], &[0; 1000]].concat(),
            };
            connection.send_datagram_wait(Bytes::from(datagram)).await.unwrap();
        }
        control.say(&Message::Ping.encode()).await;
        assert_eq!(at_once("an answer after the datagrams", control.hear()).await, Some(Message::Pong));
        assert!(timeout(Duration::from_millis(100), &mut driver).await.is_err(), "the link ended");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_welcomed_device_still_opens_no_streams_of_its_own() {
    bounded(async {
        let mut gateway = Gateway::start().await;
        let connection = connect_quic(gateway.port).await;
        let mut control = Stranger::over(&connection).await;
        let (standing, _) = control.join(&mut gateway).await;
        let _driver = AbortOnDropHandle::new(tokio::spawn(standing.driver));
        assert!(timeout(Duration::from_millis(300), connection.open_bi()).await.is_err());
    })
    .await;
}

/// It would take the visitor to the service itself: it skips what it does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_too_old_for_mounts_is_never_asked_for_one() {
    bounded(async {
        let mut gateway = Gateway::start().await;
        let connection = connect_quic(gateway.port).await;
        let mut control = Stranger::over(&connection).await;
        let (standing, _) = control.join(&mut gateway).await;
        let _driver = AbortOnDropHandle::new(tokio::spawn(standing.driver));
        let mount = Some(PathPrefix::parse("/webcam/").unwrap());
        let asking = OpenRequest { mount, ..request("octoprint") };
        let refused = at_once("the refusal", standing.link.open(&asking)).await.err().unwrap();
        assert_eq!(refused.hop, HopFailure::AgentRefused);
        let asked = timeout(Duration::from_millis(200), connection.accept_bi()).await;
        assert!(asked.is_err(), "the agent was asked");
    })
    .await;
}
