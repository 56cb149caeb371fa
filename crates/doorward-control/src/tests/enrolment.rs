use super::support::*;
use crate::accounts::OWNER;
use crate::{EditError, EnrolError, InviteRequest, KeyStanding};
use doorward_core::Secret;
use doorward_core::service::Standing;
use jiff::{SignedDuration, ToSpan};

#[tokio::test]
async fn an_invite_lets_one_machine_in_and_no_second() {
    let site = Site::open().await;
    let secret = site.invite(InviteRequest::default()).await;
    let device = site.control.enrol(enrolment(&secret, 1, "zumi01"), noon()).await.unwrap();
    assert_eq!(device.name, label("zumi01"));
    let second = site.control.enrol(enrolment(&secret, 2, "zumi02"), noon()).await;
    assert!(matches!(second, Err(EnrolError::UsedUp)), "{second:?}");
    assert!(matches!(site.control.snapshot().device_by_key(&[2; 32]), KeyStanding::Unknown));
}

#[tokio::test]
async fn two_machines_racing_for_one_invite_get_one_place() {
    let site = Site::open().await;
    let secret = site.invite(InviteRequest::default()).await;
    let (one, two) = tokio::join!(
        site.control.enrol(enrolment(&secret, 1, "a"), noon()),
        site.control.enrol(enrolment(&secret, 2, "b"), noon()),
    );
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
}

#[tokio::test]
async fn a_machine_that_lost_the_answer_gets_the_same_device_again() {
    let site = Site::open().await;
    let secret = site.invite(InviteRequest::default()).await;
    let first = site.control.enrol(enrolment(&secret, 1, "zumi01"), noon()).await.unwrap();
    let much_later = noon().checked_add(SignedDuration::from_hours(24 * 20)).unwrap();
    let again = site.control.enrol(enrolment(&secret, 1, "zumi01"), much_later).await.unwrap();
    assert_eq!(again.id, first.id);
    assert_eq!(site.control.snapshot().devices().count(), 1);
    let one_more = site.invite(InviteRequest::default()).await;
    assert_eq!(site.control.enrol(enrolment(&one_more, 1, "zumi01"), noon()).await.unwrap().id, first.id);
    assert_eq!(site.control.invites().await.unwrap()[0].uses_left, 1, "a known machine uses no invite up");
}

#[tokio::test]
async fn an_unknown_an_expired_and_a_revoked_invite_are_told_apart() {
    let site = Site::open().await;
    let stranger = site.control.enrol(enrolment(&Secret::new([5; 16]), 1, "x"), noon()).await;
    assert!(matches!(stranger, Err(EnrolError::UnknownInvite)));
    let secret = site.invite(InviteRequest { expires_in: SignedDuration::from_mins(5), ..Default::default() }).await;
    let after = noon().checked_add(5.minutes()).unwrap();
    assert!(matches!(site.control.enrol(enrolment(&secret, 1, "x"), after).await, Err(EnrolError::Expired(_))));
    let id = site.control.invites().await.unwrap()[0].id;
    site.control.revoke_invite(id, None, noon()).await.unwrap();
    assert!(matches!(site.control.enrol(enrolment(&secret, 1, "x"), noon()).await, Err(EnrolError::InviteRevoked)));
}

#[tokio::test]
async fn only_the_hash_of_an_invite_rests() {
    let site = Site::open().await;
    let secret = site.invite(InviteRequest::default()).await;
    let wanted = data_encoding::HEXLOWER.encode(secret.expose());
    let path = site.directory.path().join("copy.db");
    site.control.backup_into(&path).await.unwrap();
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.windows(11).any(|w| w == b"secret_hash"), "the copy was looked into");
    assert!(!bytes.windows(wanted.len()).any(|w| w == wanted.as_bytes()));
    assert!(!bytes.windows(16).any(|w| w == secret.expose()));
}

#[tokio::test]
async fn machines_of_one_name_are_numbered_and_strange_names_become_labels() {
    let site = Site::open().await;
    let table = [
        (1, "raspberrypi", "raspberrypi"),
        (2, "raspberrypi", "raspberrypi-2"),
        (3, "RaspberryPi", "raspberrypi-3"),
        (4, "Küche", "kueche"),
        (5, "!!!", "device"),
        (6, "", "device-2"),
        (7, "www", "my-www"),
    ];
    for (key, suggested, name) in table {
        assert_eq!(site.join(key, suggested).await.name, label(name), "{suggested}");
    }
    assert_eq!(site.control.snapshot().device_by_name(&label("kueche")).unwrap().title, "Küche");
}

#[tokio::test]
async fn an_invite_with_a_name_gives_that_name_to_all_it_lets_in() {
    let site = Site::open().await;
    let request = InviteRequest { uses: 2, name: Some(label("zumi")), ..Default::default() };
    let secret = site.invite(request).await;
    for (key, name) in [(1, "zumi"), (2, "zumi-2")] {
        let device = site.control.enrol(enrolment(&secret, key, "raspberrypi"), noon()).await.unwrap();
        assert_eq!(device.name, label(name));
    }
    assert!(matches!(site.control.enrol(enrolment(&secret, 3, "x"), noon()).await, Err(EnrolError::UsedUp)));
}

#[tokio::test]
async fn a_replaced_card_inherits_names_and_ports_and_the_old_one_is_refused_in_the_same_step() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let offers = || vec![http("jupyter"), tcp("ssh", 0)];
    let before = site.register(&device, offers()).await;
    let (_, secret) = site.control.replace_device(device.id, noon()).await.unwrap();
    let same = site.control.enrol(enrolment(&secret, 2, "raspberrypi"), noon()).await.unwrap();
    assert_eq!((same.id, &same.name), (device.id, &device.name));
    let snapshot = site.control.snapshot();
    assert!(matches!(snapshot.device_by_key(&[1; 32]), KeyStanding::Replaced));
    assert!(matches!(snapshot.device_by_key(&[2; 32]), KeyStanding::Active(d) if d.id == device.id));
    assert_eq!(site.register(&device, offers()).await, before);
    let one_more = site.invite(InviteRequest::default()).await;
    let old_card = site.control.enrol(enrolment(&one_more, 1, "zumi01"), noon()).await;
    assert!(matches!(old_card, Err(EnrolError::KeyReplaced)));
}

#[tokio::test]
async fn a_key_cannot_take_over_a_second_device() {
    let site = Site::open().await;
    let (one, two) = (site.join(1, "one").await, site.join(2, "two").await);
    let (_, secret) = site.control.replace_device(one.id, noon()).await.unwrap();
    let answer = site.control.enrol(enrolment(&secret, 2, "two"), noon()).await;
    assert!(matches!(answer, Err(EnrolError::KeyInUse(name)) if name == two.name));
    assert!(matches!(site.control.snapshot().device_by_key(&[1; 32]), KeyStanding::Active(_)));
}

#[tokio::test]
async fn a_revoked_device_stays_out_until_its_owner_invites_a_machine_in_its_place() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    site.offer(&device, http("jupyter")).await;
    let (_, pending) = site.control.replace_device(device.id, noon()).await.unwrap();
    site.control.revoke_device(device.id, None, noon()).await.unwrap();
    let snapshot = site.control.snapshot();
    assert!(matches!(snapshot.device_by_key(&[1; 32]), KeyStanding::Revoked));
    let (service, _) = snapshot.web(&host("jupyter-zumi01.example.org"), "/").unwrap();
    assert_eq!(service.standing, Standing::DeviceRevoked);
    assert!(site.control.register(device.id, vec![http("jupyter")], noon()).await.is_err());

    let fresh = site.invite(InviteRequest::default()).await;
    assert!(matches!(site.control.enrol(enrolment(&fresh, 1, "x"), noon()).await, Err(EnrolError::KeyRevoked)));
    let pending = site.control.enrol(enrolment(&pending, 2, "x"), noon()).await;
    assert!(matches!(pending, Err(EnrolError::InviteRevoked)), "an invite from before could be the thief's");

    let (_, secret) = site.control.replace_device(device.id, noon()).await.unwrap();
    let back = site.control.enrol(enrolment(&secret, 2, "x"), noon()).await.unwrap();
    assert_eq!((back.id, back.revoked_at), (device.id, None));
    let (service, _) = site.control.snapshot().web(&host("jupyter-zumi01.example.org"), "/").unwrap();
    assert_eq!(service.standing, Standing::Offered);
}

#[tokio::test]
async fn an_invite_that_makes_no_sense_is_not_made() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let table = [
        InviteRequest { uses: 0, ..Default::default() },
        InviteRequest { expires_in: SignedDuration::ZERO, ..Default::default() },
        InviteRequest { expires_in: SignedDuration::from_hours(24 * 400), ..Default::default() },
        InviteRequest { uses: 2, replaces: Some(device.id), ..Default::default() },
        InviteRequest { replaces: Some(doorward_core::DeviceId(99)), ..Default::default() },
    ];
    for request in table {
        let answer = site.control.create_invite(OWNER, request.clone(), noon()).await;
        assert!(matches!(answer, Err(EditError::Invalid(_) | EditError::Unknown(_))), "{request:?}");
    }
}

#[tokio::test]
async fn whoever_guesses_secrets_does_not_keep_the_writer_busy() {
    let site = Site::open().await;
    let _seat = site.control.0.store.sit_down().await.unwrap();
    let stranger = site.control.enrol(enrolment(&Secret::new([5; 16]), 1, "x"), noon()).await;
    assert!(matches!(stranger, Err(EnrolError::UnknownInvite)), "{stranger:?}");
}
