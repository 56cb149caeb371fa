//! What a peer can make the other end keep in memory. Measured on the whole process, so the tests take turns.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "common/mod.rs"]
mod common;

use common::gateway::Gateway;
use common::stranger::Stranger;
use common::{Link, bounded, introduction, meet};
use doorward_core::site::Carrier;
use doorward_tunnel::messages::{MAX_PARTS, Message, Services};
use doorward_tunnel::{LinkEnd, PacketQueue};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

static TURN: Mutex<()> = Mutex::const_new(());

/// Resident memory of this process (proc(5), statm).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn grew_at_most(megabytes: usize, since: usize, what: &str) {
    let grew = resident().saturating_sub(since) / (1024 * 1024);
    println!("{what}: {grew} MiB");
    assert!(grew <= megabytes, "{what}: grew by {grew} MiB");
}

/// As much as the other end takes before it stops reading.
async fn press(writer: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8], most: usize) -> usize {
    let mut went = 0;
    while went < most {
        match timeout(Duration::from_millis(300), writer.write(bytes)).await {
            Ok(Ok(n)) => went += n,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    went
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_a_peer_that_does_not_listen_are_dropped() {
    let _turn = TURN.lock().await;
    bounded(async {
        let mut gateway = Gateway::start().await;
        let mut control = Stranger::connect(gateway.port).await;
        let (standing, _) = control.join(&mut gateway).await;
        let _driver = AbortOnDropHandle::new(tokio::spawn(standing.driver));
        let (_deaf, mut says) = tokio::io::split(control.io);
        let before = resident();
        // Few enough that a busy machine reads them before it gives up a peer that hears nothing.
        let flood = Message::Ping.encode().repeat(200_000);
        timeout(Duration::from_secs(14), says.write_all(&flood)).await.expect("the gateway keeps reading").unwrap();
        grew_at_most(8, before, "200 000 pings");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_nobody_takes_stop_the_reading() {
    let _turn = TURN.lock().await;
    bounded(async {
        let mut gateway = Gateway::start().await;
        let mut control = Stranger::connect(gateway.port).await;
        let (standing, _) = control.join(&mut gateway).await;
        let _driver = AbortOnDropHandle::new(tokio::spawn(standing.driver));
        let before = resident();
        let offers = vec!["x".repeat(100_000); 5];
        let message = Message::Services(Services { revision: 1, offers, ..Services::default() }).encode();
        let went = press(&mut control.io, &message, 200 * 1024 * 1024).await;
        assert!(went < 16 * 1024 * 1024, "{went} bytes were taken although nobody wants them");
        grew_at_most(16, before, "messages of 500 kB");
    })
    .await;
}

/// A part of two bytes takes many more in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_many_empty_parts_cost_little_more_than_their_bytes() {
    let _turn = TURN.lock().await;
    bounded(async {
        let mut gateway = Gateway::start().await;
        let (mut links, before) = (Vec::new(), resident());
        for _ in 0..10 {
            let mut control = Stranger::connect(gateway.port).await;
            let (standing, _) = control.join(&mut gateway).await;
            let (events, driver) = (standing.events, AbortOnDropHandle::new(tokio::spawn(standing.driver)));
            let offers = vec![String::new(); MAX_PARTS];
            let message = Message::Services(Services { revision: 1, offers, ..Services::default() }).encode();
            press(&mut control.io, &message, 8 * 1024 * 1024).await;
            links.push((control, standing.link, events, driver));
        }
        grew_at_most(60, before, "ten devices that say as much as they may");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_given_up_and_little_is_kept_for_it() {
    let _turn = TURN.lock().await;
    let mut gateway = Gateway::start().await;
    let dialer = gateway.dialer(Carrier::Memory);
    let (near, far) = meet(&mut gateway, &dialer, &introduction()).await;
    // Nobody runs the gateway's end; the agent's has a lot to say.
    let driver = tokio::spawn(far.driver);
    let before = resident();
    let offers = vec!["x".repeat(100_000); 4];
    let mut said = 0;
    while far
        .link
        .say(Message::Services(Services { revision: said, offers: offers.clone(), ..Services::default() }))
        .await
    {
        said += 1;
        assert!(said < 1000, "messages pile up");
    }
    assert!(said <= 70, "{said} messages were queued");
    grew_at_most(70, before, "unsent messages");
    assert!(matches!(driver.await.unwrap(), LinkEnd::Silent));
    drop(near);
}

/// A stream whose reader stalls takes its window and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_readers_bound_what_is_kept_for_them() {
    let _turn = TURN.lock().await;
    bounded(async {
        for carrier in [Carrier::Quic, Carrier::Tls, Carrier::WebSocket, Carrier::Memory] {
            let mut link = Link::stand(carrier).await;
            let before = resident();
            let mut stalled = Vec::new();
            let chunk = vec![1; 64 * 1024];
            for _ in 0..8 {
                let (mut near, far) = link.stream().await;
                let went = press(&mut near, &chunk, 100 * 1024 * 1024).await;
                assert!(went < 32 * 1024 * 1024, "{carrier:?}: {went} bytes into a stalled stream");
                stalled.push((near, far));
            }
            grew_at_most(80, before, &format!("8 stalled streams over {carrier:?}"));
        }
    })
    .await;
}

#[test]
fn a_packet_queue_that_nobody_empties_keeps_half_a_megabyte() {
    let _turn = TURN.blocking_lock();
    let queue = PacketQueue::default();
    let before = resident();
    for size in [1400, 65_507] {
        for _ in 0..20_000 {
            queue.push(vec![1; size].into());
        }
        grew_at_most(4, before, &format!("20 000 packets of {size} bytes"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_come_and_go_leave_nothing_behind() {
    let _turn = TURN.lock().await;
    bounded(async {
        let mut gateway = Gateway::start().await;
        let dialer = gateway.dialer(Carrier::Memory);
        let mut before = 0;
        for round in 0..3000 {
            if round == 500 {
                before = resident();
            }
            let (near, far) = meet(&mut gateway, &dialer, &introduction()).await;
            match round % 3 {
                // Neither end ever ran, one ran, both ran.
                0 => {}
                1 => drop(timeout(Duration::ZERO, near.driver).await),
                _ => {
                    let (near, far) = (tokio::spawn(near.driver), tokio::spawn(far.driver));
                    near.abort();
                    let _ = far.await;
                }
            }
        }
        grew_at_most(3, before, "2500 links");
    })
    .await;
}
