//! Resets, cuts and the ends of links.

use crate::common::{AT_ONCE, Link, at_once, whole};
use crate::over_every_carrier;
use doorward_core::site::Carrier;
use doorward_tunnel::messages::{Goodbye, Leaving, Message};
use doorward_tunnel::splice::{End, Traffic, splice};
use doorward_tunnel::{LinkEnd, Reset, Stream};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

over_every_carrier!(
    a_reset_is_not_an_end,
    a_stream_dropped_unfinished_is_not_an_end,
    what_was_said_before_a_reset_does_not_become_an_end,
    a_cut_is_noticed_at_once_by_whoever_reads,
    a_cut_is_noticed_at_once_by_whoever_writes,
    spliced_connections_pass_bytes_ends_and_counts,
    a_target_that_resets_resets_its_visitor,
    the_gateway_says_goodbye_and_everything_ends,
    the_agent_says_goodbye_and_everything_ends,
    a_driver_that_is_dropped_ends_everything,
);

async fn breaks(reader: &mut Stream) {
    let mut heard = Vec::new();
    let reading = at_once("the reset arrives", reader.read_to_end(&mut heard)).await;
    assert!(reading.is_err(), "a break looked like an end after {} bytes", heard.len());
}

async fn a_reset_is_not_an_end(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    for reason in [Reset::Cut, Reset::TargetReset, Reset::VisitorGone, Reset::Idle, Reset::Protocol] {
        let (mut near, mut far) = link.stream().await;
        far.reset(reason);
        breaks(&mut near).await;
        assert!(far.write_all(b"x").await.is_err(), "{reason:?}: a reset stream takes bytes");
        let (mut near, mut far) = link.stream().await;
        near.reset(reason);
        breaks(&mut far).await;
    }
}

async fn a_stream_dropped_unfinished_is_not_an_end(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (mut near, far) = link.stream().await;
    drop(far);
    breaks(&mut near).await;
    let (near, mut far) = link.stream().await;
    drop(near);
    breaks(&mut far).await;
}

async fn what_was_said_before_a_reset_does_not_become_an_end(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (mut near, mut far) = link.stream().await;
    far.write_all(&vec![1; 50_000]).await.unwrap();
    far.flush().await.unwrap();
    let mut some = [0; 1000];
    near.read_exact(&mut some).await.unwrap();
    far.reset(Reset::TargetReset);
    breaks(&mut near).await;
}

/// A visitor that waits, cut at the gateway.
async fn a_cut_is_noticed_at_once_by_whoever_reads(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (near, mut far) = link.stream().await;
    let (visitor, gateway_side) = tokio::io::duplex(4096);
    let (cut, is_cut) = oneshot::channel::<()>();
    let splicing = tokio::spawn(async move {
        let traffic = Traffic::default();
        splice(gateway_side, near, &traffic.up, &traffic.down, async { drop(is_cut.await) }).await
    });
    let (mut hears, mut says) = tokio::io::split(visitor);
    says.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    far.read_exact(&mut heard).await.unwrap();
    cut.send(()).unwrap();
    breaks(&mut far).await;
    assert!(matches!(at_once("the splice ends", splicing).await.unwrap(), End::Cut));
    let mut left = Vec::new();
    at_once("the visitor notices", hears.read_to_end(&mut left)).await.unwrap();
}

/// A download that fills every buffer, cut at the gateway.
async fn a_cut_is_noticed_at_once_by_whoever_writes(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (near, mut far) = link.stream().await;
    let (_visitor_that_stalls, gateway_side) = tokio::io::duplex(4096);
    let (cut, is_cut) = oneshot::channel::<()>();
    let splicing = tokio::spawn(async move {
        let traffic = Traffic::default();
        splice(gateway_side, near, &traffic.up, &traffic.down, async { drop(is_cut.await) }).await
    });
    let chunk = vec![1; 64 * 1024];
    while timeout(Duration::from_millis(300), far.write_all(&chunk)).await.is_ok() {}
    cut.send(()).unwrap();
    let writing = async { while far.write_all(&chunk).await.is_ok() {} };
    at_once("whoever writes notices the cut", writing).await;
    assert!(matches!(at_once("the splice ends", splicing).await.unwrap(), End::Cut));
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(connecting, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// visitor ─ splice ─ link ─ splice ─ target
async fn spliced_connections_pass_bytes_ends_and_counts(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (near, far) = link.stream().await;
    let ((mut visitor, gateway_side), (agent_side, mut target)) = (tcp_pair().await, tcp_pair().await);
    let (at_gateway, at_agent) = (Traffic::default(), Traffic::default());
    let never = std::future::pending::<()>;
    let talking = async {
        visitor.write_all(&vec![1; 300_000]).await.unwrap();
        visitor.shutdown().await.unwrap();
        whole(&mut visitor).await
    };
    let answering = async {
        let heard = whole(&mut target).await;
        target.write_all(&vec![2; 500_000]).await.unwrap();
        target.shutdown().await.unwrap();
        heard
    };
    let (one, other, said, heard) = tokio::join!(
        splice(gateway_side, near, &at_gateway.up, &at_gateway.down, never()),
        splice(agent_side, far, &at_agent.down, &at_agent.up, never()),
        talking,
        answering,
    );
    assert!(matches!((&one, &other), (End::Finished, End::Finished)), "{one:?}, {other:?}");
    assert!(heard == vec![1; 300_000] && said == vec![2; 500_000]);
    for traffic in [at_gateway, at_agent] {
        assert_eq!(traffic.up.load(Ordering::Relaxed), 300_000);
        assert_eq!(traffic.down.load(Ordering::Relaxed), 500_000);
    }
}

async fn a_target_that_resets_resets_its_visitor(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (mut near, far) = link.stream().await;
    let (agent_side, target) = tcp_pair().await;
    let splicing = tokio::spawn(async move {
        let traffic = Traffic::default();
        splice(agent_side, far, &traffic.down, &traffic.up, std::future::pending()).await
    });
    doorward_tunnel::Duplex::abort(&mut { target });
    breaks(&mut near).await;
    assert!(matches!(at_once("the splice ends", splicing).await.unwrap(), End::Broken(_)));
}

async fn the_gateway_says_goodbye_and_everything_ends(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (mut near, mut far) = link.stream().await;
    let (closing, heard) = tokio::join!(link.near.close(Leaving::Revoked), timeout(AT_ONCE, link.far_events.recv()));
    let () = closing;
    let goodbye = Message::Goodbye(Goodbye { reason: Leaving::Revoked.into() });
    assert_eq!(heard.expect("a goodbye at once"), Some(goodbye));
    assert!(matches!(at_once("the gateway's end ends", link.near_end).await.unwrap(), LinkEnd::ClosedHere));
    let far_end = at_once("the agent's end ends", link.far_end).await.unwrap();
    assert!(matches!(far_end, LinkEnd::Goodbye(Leaving::Revoked)), "{far_end:?}");
    breaks(&mut far).await;
    breaks(&mut near).await;
    assert!(!link.near.say(Message::Ping).await);
}

async fn the_agent_says_goodbye_and_everything_ends(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (mut near, mut far) = link.stream().await;
    let (closing, heard) = tokio::join!(link.far.close(Leaving::Stopping), timeout(AT_ONCE, link.near_events.recv()));
    let () = closing;
    let goodbye = Message::Goodbye(Goodbye { reason: Leaving::Stopping.into() });
    assert_eq!(heard.expect("a goodbye at once"), Some(goodbye));
    assert!(matches!(at_once("the agent's end ends", link.far_end).await.unwrap(), LinkEnd::ClosedHere));
    let near_end = at_once("the gateway's end ends", link.near_end).await.unwrap();
    assert!(matches!(near_end, LinkEnd::Goodbye(Leaving::Stopping)), "{near_end:?}");
    breaks(&mut near).await;
    breaks(&mut far).await;
}

/// Whoever polls the driver owns the link.
async fn a_driver_that_is_dropped_ends_everything(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (mut near, mut far) = link.stream().await;
    drop(link.near_end);
    at_once("the agent's end ends", link.far_end).await.unwrap();
    breaks(&mut far).await;
    breaks(&mut near).await;

    let mut link = Link::stand(carrier).await;
    let (mut near, mut far) = link.stream().await;
    drop(link.far_end);
    at_once("the gateway's end ends", link.near_end).await.unwrap();
    breaks(&mut near).await;
    breaks(&mut far).await;
}
