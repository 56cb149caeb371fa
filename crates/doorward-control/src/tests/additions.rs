//! What is wished for at the portal.

use super::support::*;
use crate::{EditError, LinkId, Refusal, Told};
use doorward_core::addition::{Addition, MAX_ADDITIONS};
use doorward_core::audit::Deed;
use doorward_core::service::{ServiceKind, Standing};

fn wish(name: &str) -> Addition {
    Addition { name: label(name), title: None, target: "http://127.0.0.1:5000".into(), preset: None }
}

#[tokio::test]
async fn a_wish_rests_is_told_and_goes_again() {
    let site = Site::open().await;
    let device = site.join(1, "pi").await;
    let mut bell = site.control.watch_wanted(device.id);
    bell.mark_unchanged();
    site.control.add_service(device.id, wish("cam"), noon()).await.unwrap();
    assert!(bell.has_changed().unwrap());
    bell.mark_unchanged();
    let again = site.control.add_service(device.id, wish("cam"), noon()).await;
    assert!(matches!(again, Err(EditError::Taken(_))), "{again:?}");

    let site = site.reopen().await;
    assert_eq!(site.control.wanted(device.id).services, [wish("cam")]);
    site.control.remove_addition(device.id, label("cam"), noon()).await.unwrap();
    assert_eq!(site.control.wanted(device.id).services, []);
    let gone = site.control.remove_addition(device.id, label("cam"), noon()).await;
    assert!(matches!(gone, Err(EditError::Unknown(_))), "{gone:?}");
    let lines = site.control.audit(10).await.unwrap();
    let deeds: Vec<_> = lines.iter().map(|line| line.deed.clone()).collect();
    for deed in [Deed::AdditionMade, Deed::AdditionRemoved] {
        assert!(deeds.iter().any(|seen| seen == deed.word()), "{deeds:?}");
    }
}

#[tokio::test]
async fn a_wish_that_is_taken_back_ends_its_service_at_once_but_never_the_devices_own() {
    let site = Site::open().await;
    let device = site.join(1, "pi").await;
    for name in ["cam", "own"] {
        site.control.add_service(device.id, wish(name), noon()).await.unwrap();
    }
    site.register(&device, vec![http("cam"), offer("own", ServiceKind::Http)]).await;
    let refusal = Refusal { why: "it is its own".into(), needs: None };
    let told = Told { refusals: [(label("own"), refusal)].into(), ..Told::default() };
    site.control.hear_of_additions(device.id, LinkId(1), told);
    for name in ["cam", "own"] {
        site.control.remove_addition(device.id, label(name), noon()).await.unwrap();
    }
    let standing = |name: &str| site.control.snapshot().record_of(device.id, &label(name)).unwrap().service.standing;
    assert_eq!((standing("cam"), standing("own")), (Standing::Withdrawn, Standing::Offered));
}

#[tokio::test]
async fn what_a_device_has_in_its_own_settings_is_not_wished_for_and_wishes_are_few() {
    let site = Site::open().await;
    let device = site.join(1, "pi").await;
    site.offer(&device, http("own")).await;
    let taken = site.control.add_service(device.id, wish("own"), noon()).await;
    assert!(matches!(taken, Err(EditError::Taken(_))), "{taken:?}");
    let odd = Addition { target: "http://a\"b".into(), ..wish("odd") };
    assert!(matches!(site.control.add_service(device.id, odd, noon()).await, Err(EditError::Invalid(_))));
    for n in 0..MAX_ADDITIONS {
        site.control.add_service(device.id, wish(&format!("w{n}")), noon()).await.unwrap();
    }
    let more = site.control.add_service(device.id, wish("more"), noon()).await;
    assert!(matches!(more, Err(EditError::Invalid(_))), "{more:?}");
}

#[tokio::test]
async fn an_invite_knows_whom_it_brought() {
    let site = Site::open().await;
    let request = crate::InviteRequest { uses: 2, ..crate::InviteRequest::default() };
    let (id, secret) = site.control.create_invite(crate::accounts::OWNER, request, noon()).await.unwrap();
    assert_eq!(site.control.devices_by_invite(id).await.unwrap(), []);
    let mut joined = Vec::new();
    for key in [1, 2] {
        joined.push(site.control.enrol(enrolment(&secret, key, "pi"), noon()).await.unwrap().id);
    }
    let other = site.join(3, "other").await;
    let brought = site.control.devices_by_invite(id).await.unwrap();
    assert_eq!(brought, [joined[1], joined[0]]);
    assert!(!brought.contains(&other.id));
}
