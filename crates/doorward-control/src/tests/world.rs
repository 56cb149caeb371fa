use super::support::*;
use crate::{Arrival, LinkId, LinkReport, LinkState};
use doorward_core::DeviceId;
use doorward_core::hop::HopFailure;
use doorward_core::site::Carrier;
use jiff::ToSpan;

fn arrival(device: DeviceId, link: u64) -> Arrival {
    Arrival {
        device,
        link: LinkId(link),
        carrier: Carrier::Quic,
        source: "192.0.2.7".parse().unwrap(),
        agent_version: "0.1.0".into(),
    }
}

#[tokio::test]
async fn an_old_links_end_never_takes_its_successor_offline() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await.id;
    let presence = site.control.presence();
    presence.arrived(arrival(device, 1), noon());
    presence.arrived(arrival(device, 2), noon());
    presence.report(device, LinkId(1), LinkReport { streams: 9, ..LinkReport::default() });
    assert!(!presence.left(device, LinkId(1), noon()));
    assert!(presence.is_online(device));
    match presence.device(device).link {
        LinkState::Online { id, report, .. } => assert_eq!((id, report.streams), (LinkId(2), 0)),
        offline @ LinkState::Offline { .. } => panic!("{offline:?}"),
    }
    assert!(presence.left(device, LinkId(2), noon()));
    assert!(!presence.is_online(device));
}

#[tokio::test]
async fn when_a_device_was_last_seen_outlives_the_process() {
    let site = Site::open().await;
    let (gone, here) = (site.join(1, "gone").await.id, site.join(2, "here").await.id);
    let never = site.join(3, "never").await.id;
    let (left, housekeeping) = (noon().checked_add(1.minute()).unwrap(), noon().checked_add(2.minutes()).unwrap());
    let presence = site.control.presence();
    presence.arrived(arrival(gone, 1), noon());
    presence.arrived(arrival(here, 2), noon());
    presence.left(gone, LinkId(1), left);
    let generation = site.control.snapshot().generation();
    site.control.keep_house_once(housekeeping).await.unwrap();
    assert_eq!(site.control.snapshot().generation(), generation, "nothing is decided by it");
    let site = site.reopen().await;
    for (device, since) in [(gone, Some(left)), (here, Some(housekeeping)), (never, None)] {
        assert_eq!(site.control.presence().device(device).link, LinkState::Offline { since });
    }
}

#[tokio::test]
async fn pages_are_rung_for_and_a_failure_keeps_its_beginning() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let service = site.offer(&device, http("a")).await.service.unwrap();
    let presence = site.control.presence();
    let mut bell = presence.watch();
    presence.service_failed(service, HopFailure::TargetRefused, noon());
    assert!(bell.has_changed().unwrap());
    bell.mark_unchanged();
    presence.service_failed(service, HopFailure::TargetTimedOut, noon().checked_add(1.hour()).unwrap());
    let failure = presence.service_failure(service).unwrap();
    assert_eq!((failure.failure, failure.since), (HopFailure::TargetTimedOut, noon()));
    presence.service_worked(service);
    assert_eq!(presence.service_failure(service), None);
}
