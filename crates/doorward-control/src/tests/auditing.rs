use super::support::*;
use crate::InviteRequest;
use crate::audit::MAX_REFUSALS;
use doorward_core::Secret;
use doorward_core::audit::Deed;
use jiff::ToSpan;
use std::net::{IpAddr, Ipv4Addr};

#[tokio::test]
async fn refusals_of_one_prefix_service_reason_and_minute_are_one_line() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let service = site.offer(&device, http("a")).await.service;
    let refuse = |ip: &str, reason, now| {
        site.control.refused(Deed::VisitRefused, Some(ip.parse().unwrap()), service, reason, now);
    };
    for ip in ["192.0.2.1", "192.0.2.200", "::ffff:192.0.2.3"] {
        refuse(ip, "nobody", noon());
    }
    refuse("192.0.3.1", "nobody", noon());
    refuse("2001:db8::1", "nobody", noon());
    refuse("2001:db8::ffff:1", "nobody", noon());
    refuse("192.0.2.1", "closed", noon());
    refuse("192.0.2.1", "nobody", noon().checked_add(1.minute()).unwrap());
    site.control.flush_audit().await.unwrap();
    let entries = site.control.audit(100).await.unwrap();
    let mut lines: Vec<_> = entries
        .iter()
        .filter(|e| e.deed == "visit-refused")
        .map(|e| (e.source.as_str(), e.detail.as_str(), e.count, e.subject.as_str()))
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            ("192.0.2.0/24", "closed", 1, "zumi01/a"),
            ("192.0.2.0/24", "nobody", 1, "zumi01/a"),
            ("192.0.2.0/24", "nobody", 3, "zumi01/a"),
            ("192.0.3.0/24", "nobody", 1, "zumi01/a"),
            ("2001:db8::/64", "nobody", 2, "zumi01/a"),
        ]
    );
}

#[tokio::test]
async fn a_flood_from_everywhere_stays_bounded_and_is_counted_whole() {
    let site = Site::open().await;
    let before = site.control.audit(10_000).await.unwrap().len();
    for n in 0..50_000_u32 {
        let source = IpAddr::V4(Ipv4Addr::from(n << 8));
        site.control.refused(Deed::VisitRefused, Some(source), None, "nobody", noon());
    }
    site.control.flush_audit().await.unwrap();
    let entries = site.control.audit(10_000).await.unwrap();
    assert!(entries.len() - before <= MAX_REFUSALS + 1, "{}", entries.len());
    let all: u64 = entries.iter().filter(|e| e.deed == "visit-refused").map(|e| e.count).sum();
    assert_eq!(all, 50_000);
    assert!(entries.iter().any(|e| e.detail == "many-sources" && e.count > 40_000));
}

#[tokio::test]
async fn refusals_that_could_not_be_stored_are_stored_later() {
    let site = Site::open().await;
    site.control.0.store.limit_pages(1).await;
    for n in 0..500_u32 {
        let source = IpAddr::V4(Ipv4Addr::from(n << 8));
        site.control.refused(Deed::VisitRefused, Some(source), None, "nobody", noon());
    }
    site.control.flush_audit().await.unwrap_err();
    site.control.0.store.limit_pages(1_000_000).await;
    site.control.flush_audit().await.unwrap();
    let entries = site.control.audit(10_000).await.unwrap();
    assert_eq!(entries.iter().map(|e| e.count).sum::<u64>(), 500);
}

#[tokio::test]
async fn what_was_done_and_what_was_refused_are_both_written_down() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    site.offer(&device, http("a")).await;
    site.control.enrol(enrolment(&Secret::new([5; 16]), 2, "x"), noon()).await.unwrap_err();
    site.control.revoke_device(device.id, None, noon()).await.unwrap();
    site.control.keep_house_once(noon()).await.unwrap();
    let deeds: Vec<_> = site.control.audit(100).await.unwrap().into_iter().rev().map(|e| (e.deed, e.detail)).collect();
    let words: Vec<_> = deeds.iter().map(|(deed, _)| deed.as_str()).collect();
    assert_eq!(words, ["invite-created", "device-joined", "service-registered", "device-revoked", "invite-refused"]);
    assert_eq!(deeds[4].1, "unknown-invite");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_flushes_finds_what_another_flush_was_just_storing() {
    let site = Site::open().await;
    let control = site.control.clone();
    let housekeeping = tokio::spawn(async move {
        loop {
            control.flush_audit().await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    for n in 1..=100_u64 {
        site.control.refused(Deed::DeviceRefused, None, None, "key-unknown", noon());
        site.control.flush_audit().await.unwrap();
        let entries = site.control.audit(1000).await.unwrap();
        let seen: u64 = entries.iter().filter(|e| e.deed == "device-refused").map(|e| e.count).sum();
        assert_eq!(seen, n);
    }
    housekeeping.abort();
}

#[tokio::test]
async fn an_invite_says_for_how_many_machines() {
    let site = Site::open().await;
    for uses in [1, 2] {
        site.invite(InviteRequest { uses, ..InviteRequest::default() }).await;
    }
    let entries = site.control.audit(100).await.unwrap();
    let mut details: Vec<_> =
        entries.iter().filter_map(|e| e.detail.strip_suffix(" until 2026-11-30T12:00:00Z")).collect();
    details.sort_unstable();
    assert_eq!(details, ["for 1 machine", "for 2 machines"]);
}
