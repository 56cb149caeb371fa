use super::support::*;
use crate::{DeviceEdit, EditError};

#[tokio::test]
async fn a_renamed_device_gets_its_new_names_and_keeps_the_old() {
    let site = Site::open().await;
    let device = site.join(1, "pi").await;
    site.offer(&device, http("cam")).await;
    let edit = DeviceEdit { name: Some(label("porch")), ..Default::default() };
    let renamed = site.control.edit_device(device.id, edit, Some(device.version), noon()).await.unwrap();
    assert_eq!(renamed.name, label("porch"));
    let snapshot = site.control.snapshot();
    for name in ["cam-pi.example.org", "cam-porch.example.org"] {
        let (service, _) = snapshot.web(&host(name), "/").unwrap();
        assert_eq!(service.path(), "porch/cam");
    }
    assert!(snapshot.device_by_name(&label("pi")).is_none());
    let other = site.join(2, "pi").await;
    let hers = site.offer(&other, http("cam")).await;
    assert_eq!(reached_by(&hers), ["https://cam-pi-2.example.org/"], "a name is for ever");
}

#[tokio::test]
async fn a_name_in_use_is_refused_with_one_that_is_free() {
    let site = Site::open().await;
    site.join(1, "one").await;
    let two = site.join(2, "two").await;
    let edit = DeviceEdit { name: Some(label("one")), ..Default::default() };
    match site.control.edit_device(two.id, edit, None, noon()).await {
        Err(EditError::Taken(why)) => assert!(why.contains("\"one-2\" is free"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_edit_of_something_that_changed_meanwhile_is_refused() {
    let site = Site::open().await;
    let device = site.join(1, "one").await;
    let edit = |title: &str| DeviceEdit { title: Some(title.into()), ..Default::default() };
    let changed = site.control.edit_device(device.id, edit("A"), Some(device.version), noon()).await.unwrap();
    match site.control.edit_device(device.id, edit("B"), Some(device.version), noon()).await {
        Err(EditError::Stale { current }) => assert_eq!(current, changed.version),
        other => panic!("{other:?}"),
    }
    let answer = site.control.revoke_device(device.id, Some(device.version), noon()).await;
    assert!(matches!(answer, Err(EditError::Stale { .. })), "{answer:?}");
}
