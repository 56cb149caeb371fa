//! A flood of UDP flows. A test program of its own: it counts the memory and the files of its process.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use doorward::serve::settings::LimitsFile;
use doorward_control::Protocol;
use doorward_lab::{LOOPBACK, Lab, Shape, service, until};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_flows_from_many_sources_pushes_out_the_idle_and_leaves_the_active_alone() {
    let limits = LimitsFile { udp_flows_per_port: Some(100), udp_flows_per_source: Some(60), ..LimitsFile::default() };
    let lab = Lab::of(Shape { limits, ..Shape::default() }).await;
    let (address, _mirror) = mirror().await;
    let _device = lab.device("pi", vec![service("mirror", &format!("udp://{address}"))]).await;
    let port = lab.port("pi", "mirror", Protocol::Udp);
    let connect = async || {
        let visitor = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        visitor.connect(port).await.unwrap();
        visitor
    };
    let (idle, active) = (connect().await, connect().await);
    let first = (seen_as(&idle).await, seen_as(&active).await);
    // Whoever comes back in another second is no flood.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(seen_as(&active).await, first.1);

    let before = cost();
    for source in 2..=101 {
        for _ in 0..20 {
            let stranger = UdpSocket::bind((IpAddr::from([127, 0, 0, source]), 0)).await.unwrap();
            stranger.send_to(&[7; 1400], port).await.unwrap();
        }
        assert_eq!(seen_as(&active).await, first.1, "the active flow goes on, {source} sources on");
        assert!(lab.gateway.gateway.open_streams() <= 250, "{} flows are open", lab.gateway.gateway.open_streams());
    }
    until("the table is as full as it may be", async || lab.gateway.gateway.open_streams() == 100).await;
    let during = cost();
    println!("2000 flows from 100 sources: from {before:?} to {during:?} (MiB, files)");
    assert!(during.0 < before.0 + 60, "{before:?} {during:?}");
    assert!(during.1 < before.1 + 250, "{before:?} {during:?}");
    assert_ne!(seen_as(&idle).await, first.0, "the idle one had given way, and comes in anew");
    assert_eq!(seen_as(&active).await, first.1);
}

/// Tells each visitor the address that its packets come from: another flow, another port.
async fn mirror() -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let answering = async move {
        let mut buffer = [0; 2048];
        loop {
            let Ok((_, peer)) = socket.recv_from(&mut buffer).await else { continue };
            let _ = socket.send_to(peer.to_string().as_bytes(), peer).await;
        }
    };
    (address, tokio::spawn(answering))
}

async fn seen_as(visitor: &UdpSocket) -> String {
    let mut buffer = [0; 100];
    for _ in 0..20 {
        visitor.send(b"who am I?").await.unwrap();
        if let Ok(heard) = timeout(Duration::from_secs(1), visitor.recv(&mut buffer)).await {
            return String::from_utf8_lossy(&buffer[..heard.unwrap()]).into_owned();
        }
    }
    panic!("no answer comes")
}

/// Resident memory and open files of this process, gateway, agent and visitors together.
fn cost() -> (usize, usize) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    (pages * 4096 / (1024 * 1024), std::fs::read_dir("/proc/self/fd").unwrap().count())
}
