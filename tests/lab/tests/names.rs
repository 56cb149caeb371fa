//! Names and ports are for ever.

use doorward_control::{DeviceEdit, InviteRequest, Protocol};
use doorward_core::invite::Invite;
use doorward_core::names::{HostName, Label};
use doorward_core::service::EntranceWish;
use doorward_lab::visitor::get;
use doorward_lab::web::{ok, web};
use doorward_lab::{Lab, LabDevice, service, target, until};
use jiff::Timestamp;

/// Every name and port of every service, by the service's path.
fn places(lab: &Lab) -> Vec<(String, Vec<String>)> {
    let snapshot = lab.control().snapshot();
    let mut places: Vec<_> = snapshot
        .services()
        .map(|record| {
            let hosts = record.hosts.iter().map(|h| format!("{}{:?}", h.host, h.prefix));
            let ports = record.ports.iter().map(|p| format!("{} {}", p.protocol.word(), p.port));
            (record.service.path(), hosts.chain(ports).collect())
        })
        .collect();
    places.sort();
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_ports_outlive_restarts_and_a_replaced_card() {
    let lab = Lab::start().await;
    let (page, echo) = (web(|_| ok("page")).await, target::echo().await);
    let mut main = service("page", &page.url());
    main.offer.main = true;
    let services = vec![
        service("tcp", &format!("tcp://{}", echo.address)),
        main,
        service("udp", &format!("udp://{}", echo.address)),
    ];
    let device = lab.device("pi", services.clone()).await;
    let given = places(&lab);
    assert_eq!(given.len(), 3);
    let lab = lab.restart_gateway().await;
    assert_eq!(places(&lab), given, "after the gateway's restart");

    let mut turned = services.clone();
    turned.reverse();
    let device = LabDevice::start(device.stop().await, turned.clone());
    device.until_registered().await;
    assert_eq!(places(&lab), given, "after the agent's restart, in another order");

    let id = lab.control().snapshot().device_by_name(&Label::parse("pi").unwrap()).unwrap().id;
    let (_, secret) = lab.control().replace_device(id, Timestamp::now()).await.unwrap();
    let invite =
        Invite { addresses: lab.gateway.addresses.clone(), site: lab.control().site_keys().active.fingerprint, secret };
    let _new = LabDevice::join(lab.directory.path(), "another", &invite, turned).await;
    assert_eq!(places(&lab), given, "on another card");
    assert_eq!(get(lab.http(), "pi.gw.test", "/").await.text(), "page");
    device
        .until("the old card is refused", |status| {
            status.gateways.values().any(|g| matches!(g.state, doorward_agent::LinkState::Refused { .. }))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_refused_with_one_that_is_free() {
    let lab = Lab::start().await;
    let page = web(|_| ok("first")).await;
    let mut wishing = service("page", &page.url());
    wishing.offer.entrances.push(EntranceWish::Host(HostName::parse("own.gw.test").unwrap()));
    let _first = lab.device("one", vec![wishing.clone()]).await;
    let second = lab.device("two", vec![wishing]).await;
    let status = second.status.borrow().clone();
    let problems: Vec<_> = status.gateways.values().flat_map(|g| g.services.iter().flat_map(|s| &s.problems)).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("own-2.gw.test is free"), "{problems:?}");
    assert_eq!(get(lab.http(), "page-two.gw.test", "/").await.text(), "first", "the rest of the offer stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_from_one_image_become_numbered_devices() {
    let lab = Lab::start().await;
    let invite = lab.invite(InviteRequest { uses: 3, ..InviteRequest::default() }).await;
    let mut devices = Vec::new();
    for n in 0..3 {
        let root = lab.directory.path().join(format!("card-{n}"));
        devices.push(LabDevice::join(&root, "pi", &invite, vec![]).await);
    }
    let names =
        lab.control().snapshot().devices().map(|d| d.name.to_string()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names, ["pi", "pi-2", "pi-3"].map(String::from).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_device_is_found_by_both_names() {
    let lab = Lab::start().await;
    let page = web(|_| ok("page")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let id = lab.record("pi", "page").service.device;
    let edit = DeviceEdit { name: Some(Label::parse("printer").unwrap()), ..DeviceEdit::default() };
    lab.control().edit_device(id, edit, None, Timestamp::now()).await.unwrap();
    for host in ["page-pi.gw.test", "page-printer.gw.test"] {
        assert_eq!(get(lab.http(), host, "/").await.text(), "page", "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_service_gets_its_port_back() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let url = format!("tcp://{}", echo.address);
    let device = lab.device("pi", vec![service("first", &url)]).await;
    let port = lab.port("pi", "first", Protocol::Tcp);
    device.offer(vec![service("second", &url)]).await;
    assert_ne!(lab.port("pi", "second", Protocol::Tcp), port, "it stays reserved");
    until("nobody listens there", async || tokio::net::TcpStream::connect(port).await.is_err()).await;
    device.offer(vec![service("second", &url), service("first", &url)]).await;
    lab.until_listening().await;
    assert_eq!(lab.port("pi", "first", Protocol::Tcp), port);
    tokio::net::TcpStream::connect(port).await.expect("it is listened on again");
}
