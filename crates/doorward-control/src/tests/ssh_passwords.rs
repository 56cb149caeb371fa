use super::support::*;
use crate::{EditError, NewPassword, News, PasswordDigest, PasswordNumber};
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_core::service::ServiceKind;
use doorward_core::ssh::Identity;

fn proves(site: &Site, user: &str, password: &NewPassword) -> Option<Identity> {
    let digest = PasswordDigest::of(password.text.expose());
    site.control.snapshot().ssh_password(user, &digest).map(|(_, identity)| identity)
}

#[tokio::test]
async fn a_password_proves_its_device_under_its_name_alone_and_rests_as_a_hash() {
    let site = Site::open().await;
    let token = site.control.make_device_token(label("printer1"), noon()).await.unwrap();
    let sender = site.control.make_sender_key(label("printer1"), 5454, noon()).await.unwrap();
    let site = site.reopen().await;
    let printer = label("printer1");
    assert_eq!(proves(&site, "printer1", &token), Some(Identity::Device(printer.clone())));
    assert_eq!(proves(&site, "printer1", &sender), Some(Identity::Sender { device: printer, port: 5454 }));
    for user in ["printer2", "", "pi"] {
        assert_eq!([proves(&site, user, &token), proves(&site, user, &sender)], [None, None], "{user}");
    }
    let digest = PasswordDigest::of("device-token-nonsense");
    assert!(site.control.snapshot().ssh_password("printer1", &digest).is_none());
    site.control.close().await;
    let files = ["doorward.db", "doorward.db-wal"];
    let bytes = files.map(|file| std::fs::read(site.data().join(file)).unwrap_or_default()).concat();
    let secret = token.text.expose().rsplit('-').next().unwrap().as_bytes();
    assert_eq!(secret.len(), 32);
    assert!(bytes.windows(8).any(|window| window == b"printer1"));
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
}

#[tokio::test]
async fn a_password_that_was_removed_is_nobodys_and_its_connections_are_told() {
    let site = Site::open().await;
    let token = site.control.make_device_token(label("printer1"), noon()).await.unwrap();
    let other = site.control.make_device_token(label("printer1"), noon()).await.unwrap();
    let mut changes = site.control.changes();
    site.control.remove_ssh_password(token.number, noon()).await.unwrap();
    assert!(matches!(next_news(&mut changes).await, Some(News::Change(change)) if change.ssh_keys));
    assert_eq!(proves(&site, "printer1", &token), None);
    assert!(proves(&site, "printer1", &other).is_some());
    let again = site.control.remove_ssh_password(token.number, noon()).await;
    assert!(matches!(again, Err(EditError::Unknown(_))), "{again:?}");
    assert_eq!(token.number.to_string().parse::<PasswordNumber>().unwrap(), token.number);
    assert!("SHA256:x".parse::<PasswordNumber>().is_err());
}

#[tokio::test]
async fn a_new_card_makes_the_old_tokens_worthless_and_revoking_all_of_them() {
    let site = Site::open().await;
    let device = site.join(1, "livingroom").await;
    let token = site.control.make_device_token(label("livingroom"), noon()).await.unwrap();
    let sender = site.control.make_sender_key(label("livingroom"), 5454, noon()).await.unwrap();
    let (_, secret) = site.control.replace_device(device.id, noon()).await.unwrap();
    site.control.enrol(enrolment(&secret, 2, "livingroom"), noon()).await.unwrap();
    assert_eq!(proves(&site, "livingroom", &token), None);
    assert!(proves(&site, "livingroom", &sender).is_some(), "those who send are the same");
    site.control.revoke_device(device.id, None, noon()).await.unwrap();
    assert_eq!(proves(&site, "livingroom", &sender), None);
    assert_eq!(site.control.snapshot().ssh_passwords().count(), 0);
    let revoked = site.control.make_sender_key(label("livingroom"), 5454, noon()).await;
    assert!(matches!(revoked, Err(EditError::Unknown(_))), "{revoked:?}");
}

#[tokio::test]
async fn a_device_is_told_how_senders_come_to_what_is_for_them() {
    let site = Site::open().await;
    let device = site.join(1, "livingroom").await;
    let mut offer = offer("netgear", ServiceKind::Tcp);
    offer.access = PolicyDocument { who: WhoDocument::Senders, ..PolicyDocument::default() };
    let without = site.offer(&device, offer.clone()).await;
    assert!(without.notes.iter().any(|note| note.contains("set virtual-port")), "{without:?}");
    offer.virtual_port = Some(5454);
    let with = site.offer(&device, offer).await;
    assert!(with.notes.iter().any(|note| note.contains("`doorward sender-key livingroom:5454`")), "{with:?}");
}

#[tokio::test]
async fn a_sender_key_is_for_a_device_that_is_there_and_a_real_port() {
    let site = Site::open().await;
    let nowhere = site.control.make_sender_key(label("livingroom"), 5454, noon()).await;
    assert!(matches!(nowhere, Err(EditError::Unknown(_))), "{nowhere:?}");
    site.control.make_device_token(label("livingroom"), noon()).await.unwrap();
    assert!(matches!(site.control.make_sender_key(label("livingroom"), 0, noon()).await, Err(EditError::Invalid(_))));
}
