use super::support::*;
use crate::{Change, News};
use doorward_core::DeviceId;
use doorward_core::access::PolicyDocument;
use std::sync::Arc;

async fn next(changes: &mut crate::Changes) -> Arc<Change> {
    match next_news(changes).await {
        Some(News::Change(change)) => change,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_change_names_exactly_what_changed_and_leaves_the_rest_as_it_was() {
    let site = Site::open().await;
    let (one, two) = (site.join(1, "one").await, site.join(2, "two").await);
    let mine = site.register(&one, vec![http("a"), http("b")]).await;
    site.register(&two, vec![http("c")]).await;
    let before = site.control.snapshot();
    let mut changes = site.control.changes();

    site.control.set_access(one.id, &label("a"), Some(PolicyDocument::default()), None, noon()).await.unwrap();
    let change = next(&mut changes).await;
    assert_eq!((&change.services, change.devices.len()), (&vec![mine[0].service.unwrap()], 0));
    let after = site.control.snapshot();
    assert_eq!(after.generation(), change.generation);
    for record in before.services() {
        let same = Arc::ptr_eq(record, &after.service_record(record.service.id).unwrap());
        assert_eq!(same, Some(record.service.id) != mine[0].service);
    }

    site.control.revoke_device(one.id, None, noon()).await.unwrap();
    let change = next(&mut changes).await;
    assert_eq!(change.services, mine.iter().map(|r| r.service.unwrap()).collect::<Vec<_>>());
    assert_eq!(change.devices, [one.id]);
}

#[tokio::test]
async fn whoever_falls_behind_is_told_to_look_at_everything() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    site.offer(&device, http("a")).await;
    let mut changes = site.control.changes();
    for n in 0..300 {
        let access = if n % 2 == 0 { PolicyDocument::default() } else { PolicyDocument::public() };
        site.control.set_access(device.id, &label("a"), Some(access), None, noon()).await.unwrap();
    }
    assert_eq!(next_news(&mut changes).await, Some(News::Lagged));
    assert!(matches!(next_news(&mut changes).await, Some(News::Change(_))), "and hears what follows");
}

#[tokio::test]
async fn one_change_among_ten_thousand_services_leaves_nearly_all_of_the_snapshot_where_it_was() {
    let site = Site::open().await;
    site.control.close().await;
    for statement in [
        "INSERT INTO devices (id, account, name, title, joined_at, version) \
         WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 199) \
         SELECT i, 1, 'd' || i, '', 0, 1 FROM n",
        "INSERT INTO services (id, device, account, name, title, kind, is_main, standing, offered_access, version) \
         WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
         SELECT i, 100 + i / 100, 1, 's' || (i % 100), '', 'http', 0, 'offered', '{\"who\":\"public\"}', 1 FROM n",
        "INSERT INTO hosts (host, prefix, strip, origin, is_wanted, service) \
         SELECT 's' || id || '.example.org', '', 0, 'given', 1, id FROM services",
    ] {
        super::resting::change(&site.data(), statement).await;
    }
    let site = site.reopen().await;
    let before = site.control.snapshot();
    assert_eq!(before.services().count(), 10_000);
    let read = crate::store::load::services_read();
    site.control.set_access(DeviceId(107), &label("s7"), Some(PolicyDocument::default()), None, noon()).await.unwrap();
    assert_eq!(crate::store::load::services_read() - read, 1, "services read for one change");
    let after = site.control.snapshot();
    let moved = before.services().filter(|r| !Arc::ptr_eq(r, &after.service_record(r.service.id).unwrap()));
    assert_eq!(moved.count(), 1);
    let held = Arc::strong_count(before.services().next().unwrap());
    assert!(held <= 2, "the snapshots share their branches, not copies of them: {held}");
}

#[tokio::test]
async fn a_change_runs_to_its_end_though_its_caller_hangs_up() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await.id;
    let mut changes = site.control.changes();
    let caller = tokio::spawn({
        let control = site.control.clone();
        async move { control.revoke_device(device, None, noon()).await }
    });
    tokio::task::yield_now().await;
    caller.abort();
    let change = next(&mut changes).await;
    assert_eq!(change.devices, [device]);
}
