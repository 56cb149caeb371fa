//! Public ports: open before anybody hears of them, and told where they are not.

use doorward_agent::ServiceStatus;
use doorward_control::{PortState, Protocol, Reachability};
use doorward_core::service::EntranceWish;
use doorward_lab::{LOOPBACK, Lab, LabDevice, service, target, until};
use std::net::SocketAddr;
use tokio::net::TcpStream;

fn services(device: &LabDevice) -> Vec<ServiceStatus> {
    device.status.borrow().gateways.values().flat_map(|gateway| gateway.services.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_open_before_its_device_hears_of_it_and_before_it_is_tried_from_outside() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let offer = |n: usize| (0..=n).map(|n| service(&format!("s{n}"), &format!("tcp://{}", echo.address))).collect();
    let invite = lab.invite(doorward_control::InviteRequest::default()).await;
    let device = LabDevice::join(lab.directory.path(), "pi", &invite, offer(4)).await;
    let is_open = async |n: usize| TcpStream::connect(lab.port("pi", &format!("s{n}"), Protocol::Tcp)).await.is_ok();
    for n in 0..5 {
        assert!(is_open(n).await, "s{n} was said to be reached at a port that is closed");
    }
    for n in 5..20 {
        device.offer(offer(n)).await;
        assert!(is_open(n).await, "s{n} was said to be reached at a port that is closed");
    }
    let tried = || lab.control().presence().reachability();
    until("the ports were tried", async || tried().len() >= 5).await;
    for own in [lab.https(), lab.http()] {
        let seen = tried().contains_key(&(Protocol::Tcp, own.port()));
        assert!(!seen, "{own} is on loopback: nobody outside need try it");
    }
    let closed: Vec<_> = tried().into_iter().filter(|(_, seen)| *seen != Reachability::Reachable).collect();
    assert!(closed.is_empty(), "said to be closed, in an ordinary start: {closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_told_of_a_port_that_is_taken_and_of_its_release() {
    let lab = Lab::start().await;
    let (echo, udp_echo) = (target::echo().await, target::udp_echo().await);
    let (tcp, udp) = (*lab.control().site().tcp_ports.start(), *lab.control().site().udp_ports.start());
    let tcp_holder = std::net::TcpListener::bind((LOOPBACK, tcp)).unwrap();
    let udp_holder = std::net::UdpSocket::bind((LOOPBACK, udp)).unwrap();
    let mut wishing =
        [service("tcp", &format!("tcp://{}", echo.address)), service("udp", &format!("udp://{}", udp_echo.address))];
    wishing[0].offer.entrances = vec![EntranceWish::TcpPort(tcp)];
    wishing[1].offer.entrances = vec![EntranceWish::UdpPort(udp)];
    let invite = lab.invite(doorward_control::InviteRequest::default()).await;
    let device = LabDevice::join(lab.directory.path(), "pi", &invite, wishing.to_vec()).await;
    for (service, port) in services(&device).iter().zip([format!("tcp port {tcp}"), format!("udp port {udp}")]) {
        assert!(service.reached_by.is_empty(), "nobody reaches it there: {service:?}");
        let told = service.problems.iter().any(|p| p.contains(&port) && p.contains("cannot be opened"));
        assert!(told && service.problems.len() == 1, "{service:?}");
    }
    let state = |protocol, port| lab.control().presence().ports().get(&(protocol, port)).cloned();
    assert!(matches!(state(Protocol::Tcp, tcp), Some(PortState::Failed { .. })));
    assert!(matches!(state(Protocol::Udp, udp), Some(PortState::Failed { .. })));

    drop((tcp_holder, udp_holder));
    device
        .until("it is told that both are open", |status| {
            let mut all = status.gateways.values().flat_map(|gateway| &gateway.services);
            all.all(|service| service.problems.is_empty() && service.reached_by.len() == 1)
        })
        .await;
    TcpStream::connect(SocketAddr::new(LOOPBACK, tcp)).await.expect("it is open");
}
