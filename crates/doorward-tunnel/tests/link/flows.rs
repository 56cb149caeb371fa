//! UDP flows.

use crate::common::{Link, at_once, bounded, request};
use crate::over_every_carrier;
use bytes::Bytes;
use doorward_core::site::Carrier;
use doorward_tunnel::{Flow, FlowEnd, PacketQueue};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

over_every_carrier!(
    packets_of_every_size_pass_both_ways,
    packets_of_two_flows_are_not_mixed_up,
    a_flow_that_is_cut_ends_at_the_other_end_at_once,
    a_flow_that_idles_ends,
    a_flow_whose_side_closes_ends_at_the_other_end,
    a_flood_of_packets_does_not_grow_and_does_not_end_the_flow,
);

const LONG: Duration = Duration::from_secs(60);

async fn flow(link: &mut Link) -> (Flow, Flow) {
    let request = request("dns");
    let accepting = async {
        let visit = link.visits.recv().await.unwrap();
        assert!(visit.is_flow());
        visit.accept_flow().await.unwrap()
    };
    let (near, far) = tokio::join!(link.near.open_flow(&request), accepting);
    (near.unwrap(), far)
}

/// One end of a flow, running.
struct Side {
    says: Arc<PacketQueue>,
    hears: mpsc::UnboundedReceiver<Bytes>,
    cut: oneshot::Sender<()>,
    end: oneshot::Receiver<FlowEnd>,
}

fn run(flow: Flow, idle: Duration) -> Side {
    let says = Arc::new(PacketQueue::default());
    let (heard, hears) = mpsc::unbounded_channel();
    let (cut, is_cut) = oneshot::channel::<()>();
    let (ended, end) = oneshot::channel();
    let outgoing = says.clone();
    tokio::spawn(async move {
        let deliver = |packet: &[u8]| drop(heard.send(Bytes::copy_from_slice(packet)));
        let cut = async {
            if is_cut.await.is_err() {
                std::future::pending().await
            }
        };
        drop(ended.send(flow.run(&outgoing, deliver, idle, cut).await));
    });
    Side { says, hears, cut, end }
}

async fn sides(link: &mut Link, idle: Duration) -> (Side, Side) {
    let (near, far) = flow(link).await;
    (run(near, idle), run(far, idle))
}

/// Says it until it is heard: UDP may lose packets.
async fn passes(from: &Side, to: &mut Side, packet: Bytes) {
    for _ in 0..20 {
        from.says.push(packet.clone());
        if let Ok(heard) = timeout(Duration::from_millis(500), to.hears.recv()).await {
            // Earlier copies may still arrive.
            assert_eq!(heard.expect("the flow runs").len(), packet.len());
            return;
        }
    }
    panic!("a packet of {} bytes does not pass", packet.len());
}

async fn packets_of_every_size_pass_both_ways(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    for size in [0, 1, 1000, 1472, 9000, 65_507] {
        let (mut near, mut far) = sides(&mut link, LONG).await;
        let packet = Bytes::from((0..size).map(|n| (n % 251) as u8).collect::<Vec<_>>());
        near.says.push(packet.clone());
        let heard = at_once("a packet out", far.hears.recv()).await.unwrap();
        assert!(heard == packet, "{size} bytes became {}", heard.len());
        far.says.push(packet.clone());
        let heard = at_once("a packet back", near.hears.recv()).await.unwrap();
        assert!(heard == packet, "{size} bytes became {}", heard.len());
    }
}

async fn packets_of_two_flows_are_not_mixed_up(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (one, mut one_far) = sides(&mut link, LONG).await;
    let (two, mut two_far) = sides(&mut link, LONG).await;
    for (n, size) in [10_u8, 20, 30].into_iter().zip([10, 1200, 30_000]) {
        one.says.push(vec![n; size].into());
        two.says.push(vec![n + 1; size].into());
        assert_eq!(at_once("a packet", one_far.hears.recv()).await.unwrap(), vec![n; size]);
        assert_eq!(at_once("a packet", two_far.hears.recv()).await.unwrap(), vec![n + 1; size]);
    }
}

async fn a_flow_that_is_cut_ends_at_the_other_end_at_once(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (near, mut far) = sides(&mut link, LONG).await;
    passes(&near, &mut far, Bytes::from_static(b"hello")).await;
    near.cut.send(()).unwrap();
    assert!(matches!(at_once("the cut here", near.end).await.unwrap(), FlowEnd::Cut));
    let end = at_once("the cut there", far.end).await.unwrap();
    assert!(matches!(end, FlowEnd::Broken(_)), "{end:?}");
}

async fn a_flow_that_idles_ends(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (near, far) = flow(&mut link).await;
    let (near, mut far) = (run(near, Duration::from_millis(400)), run(far, LONG));
    passes(&near, &mut far, Bytes::from_static(b"hello")).await;
    assert!(matches!(timeout(Duration::from_secs(3), near.end).await.unwrap().unwrap(), FlowEnd::Idle));
    let end = at_once("the end there", far.end).await.unwrap();
    assert!(matches!(end, FlowEnd::Broken(_) | FlowEnd::Finished), "{end:?}");
}

async fn a_flow_whose_side_closes_ends_at_the_other_end(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (near, far) = sides(&mut link, LONG).await;
    far.says.close();
    assert!(matches!(at_once("the end here", far.end).await.unwrap(), FlowEnd::Finished));
    at_once("the end there", near.end).await.unwrap();
}

async fn a_flood_of_packets_does_not_grow_and_does_not_end_the_flow(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let (near, mut far) = sides(&mut link, LONG).await;
    for size in [100, 1400, 60_000] {
        for n in 0..2000_u32 {
            let mut packet = vec![0; size];
            packet[..4].copy_from_slice(&n.to_be_bytes());
            near.says.push(packet.into());
        }
        // The newest wins: the last one gets through although most are dropped.
        let last = async {
            while let Some(packet) = far.hears.recv().await {
                if packet.len() == size && packet[..4] == 1999_u32.to_be_bytes() {
                    return;
                }
            }
            panic!("the flow ended");
        };
        timeout(Duration::from_secs(5), last).await.unwrap_or_else(|_| panic!("the last of {size} bytes was lost"));
    }
}

#[tokio::test]
async fn flows_that_ended_leave_room_for_thousands_more() {
    bounded(async {
        let mut link = Link::stand(Carrier::Quic).await;
        for n in 0..1000_u32 {
            let (near, mut far) = sides(&mut link, LONG).await;
            near.says.push(n.to_be_bytes().to_vec().into());
            assert_eq!(at_once("a packet", far.hears.recv()).await.unwrap(), n.to_be_bytes()[..]);
            near.says.close();
            at_once("the end", far.end).await.unwrap();
        }
    })
    .await;
}
