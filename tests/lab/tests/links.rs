//! Links come, change and come back; what runs over them is disturbed as little as can be.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_agent::LinkState;
use doorward_control::{Activation, InviteRequest, Protocol};
use doorward_core::names::Label;
use doorward_core::site::Carrier;
use doorward_lab::visitor::get;
use doorward_lab::web::{ok, web};
use doorward_lab::{LIMIT, Lab, LabDevice, Shape, service, target, until};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn is_echoed(socket: &mut TcpStream) -> bool {
    let echoing = async {
        socket.write_all(b"well?").await?;
        let mut heard = [0; 5];
        socket.read_exact(&mut heard).await?;
        Ok::<_, std::io::Error>(heard == *b"well?")
    };
    matches!(timeout(LIMIT, echoing).await, Ok(Ok(true)))
}

async fn is_served(port: SocketAddr) -> bool {
    let Ok(mut socket) = TcpStream::connect(port).await else { return false };
    is_echoed(&mut socket).await
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_other_services_leaves_open_connections_alone() {
    let lab = Lab::start().await;
    let (echo, page) = (target::echo().await, web(|_| ok("page")).await);
    let (echoing, paging) = (service("echo", &format!("tcp://{}", echo.address)), service("page", &page.url()));
    let device = lab.device("pi", vec![echoing.clone(), paging.clone()]).await;
    let mut visitor = TcpStream::connect(lab.port("pi", "echo", Protocol::Tcp)).await.unwrap();
    assert!(is_echoed(&mut visitor).await);
    let mut retitled = paging.clone();
    retitled.offer.title = Some("Another title".into());
    let more = service("more", &page.url());
    for offer in [vec![echoing.clone(), retitled, more], vec![echoing.clone()], vec![paging.clone(), echoing.clone()]] {
        device.offer(offer).await;
        assert!(is_echoed(&mut visitor).await, "the connection lives on");
    }
    let mut titled = echoing.clone();
    titled.offer.title = Some("Echo".into());
    device.offer(vec![titled]).await;
    assert!(is_echoed(&mut visitor).await, "a new title of its own service does not matter to it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_that_starts_again_is_served_again() {
    for carrier in [Carrier::Quic, Carrier::Tls, Carrier::WebSocket] {
        let lab = Lab::of(Shape::over(&[carrier])).await;
        let echo = target::echo().await;
        let services = vec![service("echo", &format!("tcp://{}", echo.address))];
        let device = lab.device("pi", services.clone()).await;
        let port = lab.port("pi", "echo", Protocol::Tcp);
        assert!(is_served(port).await);
        let state = device.kill().await;
        let started = Instant::now();
        let _device = LabDevice::start(state, services);
        until("the service is served again", async || is_served(port).await).await;
        println!("{carrier:?}: served again {:?} after the agent's start", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_again_serves_again_by_itself() {
    for carrier in [Carrier::Quic, Carrier::Tls, Carrier::WebSocket] {
        let lab = Lab::of(Shape::over(&[carrier])).await;
        let echo = target::echo().await;
        let device = lab.device("pi", vec![service("echo", &format!("tcp://{}", echo.address))]).await;
        let port = lab.port("pi", "echo", Protocol::Tcp);
        let lab = lab.restart_gateway().await;
        let started = Instant::now();
        until("the service is served again", async || is_served(port).await).await;
        println!("{carrier:?}: served again {:?} after the gateway's start", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(lab.port("pi", "echo", Protocol::Tcp), port);
        // The gateway serves a moment before the agent has noted that.
        until("the agent tells its carrier", async || device.carrier() == Some(carrier)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloned_card_wins_once_and_nothing_flaps_after_that() {
    let lab = Lab::start().await;
    let (one, two) = (web(|_| ok("one")).await, web(|_| ok("two")).await);
    let first = lab.device("pi", vec![service("page", &one.url())]).await;
    let copy = lab.directory.path().join("copy");
    copy_folder(&first.state, &copy);
    let second = LabDevice::start(copy.clone(), vec![service("page", &two.url())]);
    second.until_registered().await;
    until("the copy answers", async || get(lab.http(), "page-pi.gw.test", "/").await.text() == "two").await;

    let third = LabDevice::start(copy, vec![service("page", &one.url())]);
    third
        .until("a further machine is refused", |status| {
            status
                .gateways
                .values()
                .any(|g| matches!(&g.state, LinkState::Refused { message } if message.contains("two machines")))
        })
        .await;
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(5) {
        assert_eq!(get(lab.http(), "page-pi.gw.test", "/").await.text(), "two", "the holder stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lab.control().flush_audit().await.unwrap();
    let audit = lab.control().audit(100).await.unwrap();
    let parked: Vec<_> = audit.iter().filter(|entry| entry.deed == "clone-parked").collect();
    assert!(parked.len() >= 2, "both the swap and the refusal are written down: {parked:?}");
    assert_eq!(parked.iter().filter(|entry| entry.detail.contains("let in")).count(), 1, "{parked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_agent_is_refused_and_does_not_hammer() {
    let lab = Lab::start().await;
    let device = lab.device("pi", vec![]).await;
    let id = lab.control().snapshot().device_by_name(&Label::parse("pi").unwrap()).unwrap().id;
    lab.control().revoke_device(id, None, jiff::Timestamp::now()).await.unwrap();
    device
        .until("the agent is told", |status| {
            status
                .gateways
                .values()
                .any(|g| matches!(&g.state, LinkState::Refused { message } if message.contains("revoked")))
        })
        .await;
    // What it would do within these seconds if it hammered.
    tokio::time::sleep(Duration::from_secs(3)).await;
    lab.control().flush_audit().await.unwrap();
    let audit = lab.control().audit(100).await.unwrap();
    let refusals: u64 = audit.iter().filter(|e| e.deed == "device-refused").map(|e| e.count).sum();
    assert_eq!(refusals, 1, "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_site_key_is_followed_without_a_visit() {
    let lab = Lab::start().await;
    let page = web(|_| ok("page")).await;
    let device = lab.device("pi", vec![service("page", &page.url())]).await;
    let before = lab.control().site_keys().active.fingerprint;
    let next = lab.control().prepare_successor(jiff::Timestamp::now()).await.unwrap();
    until("the agent has stored the next key", async || lab.control().devices_without_successor().is_empty()).await;
    lab.control().activate_successor(Activation::OnceStored, jiff::Timestamp::now()).await.unwrap();
    assert_eq!(get(lab.http(), "page-pi.gw.test", "/").await.text(), "page", "the link that stands is not touched");
    let services = vec![service("page", &page.url())];
    let state = device.kill().await;
    let device = LabDevice::start(state, services);
    device.until_registered().await;
    let invite = lab.invite(InviteRequest::default()).await;
    assert_eq!((invite.site, next != before), (next, true));
    let lab = lab.restart_gateway().await;
    until("the device is back", async || get(lab.http(), "page-pi.gw.test", "/").await.text() == "page").await;
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
