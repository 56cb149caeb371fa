use super::support::*;
use doorward_core::service::{EntranceWish, Offer, ServiceKind};

#[tokio::test]
async fn a_camera_has_web_addresses_and_is_one_after_a_restart_too() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let wished = vec![EntranceWish::TcpPort(0), EntranceWish::Host(host("cam.lab.test"))];
    let camera = Offer { entrances: wished, ..offer("cam", ServiceKind::Camera) };
    let registration = site.register(&device, vec![camera]).await.remove(0);
    assert_eq!(reached_by(&registration), ["https://cam-zumi01.example.org/", "https://cam.lab.test/"]);
    assert_eq!(registration.problems.len(), 1, "{registration:?}");
    assert!(registration.problems[0].contains("does not fit kind = \"camera\""), "{registration:?}");
    let site = site.reopen().await;
    let (service, _) = site.control.snapshot().web(&host("cam.lab.test"), "/").unwrap();
    assert_eq!(service.kind, ServiceKind::Camera);
}
