use super::support::*;
use crate::{
    EditError, EnrolError, HostKey, InviteRequest, KeyFingerprint, NewHolder, News, SshEnrolment, SshStanding,
};
use doorward_core::Secret;
use doorward_core::ssh::PublicKey;

fn key(n: u8) -> PublicKey {
    let blob = [&b"\0\0\0\x0bssh-ed25519\0\0\0\x20"[..], &[n; 32]].concat();
    PublicKey::from_blob(&blob).unwrap()
}

fn enrolment(secret: &Secret<[u8; 16]>, n: u8) -> SshEnrolment {
    let source = "192.0.2.7".parse().unwrap();
    SshEnrolment { secret: secret.clone(), key: key(n), suggested_name: "Robot 1".into(), source }
}

fn concerns_ssh(news: Option<News>) -> bool {
    matches!(news, Some(News::Change(change)) if change.ssh_keys)
}

fn standing(site: &Site, n: u8) -> String {
    match site.control.snapshot().ssh_standing(&KeyFingerprint::of(&key(n))) {
        SshStanding::Device(device) => format!("device {}", device.name),
        SshStanding::Person(name) => format!("person {}", name.name),
        SshStanding::Refused => "refused".to_owned(),
        SshStanding::Unknown => "unknown".to_owned(),
    }
}

#[tokio::test]
async fn an_invite_makes_one_key_a_device_and_asking_again_costs_nothing() {
    let site = Site::open().await;
    let secret = site.invite(InviteRequest::default()).await;
    let device = site.control.enrol_ssh(enrolment(&secret, 1), noon()).await.unwrap();
    assert_eq!(device.name, label("robot-1"));
    assert_eq!(site.control.enrol_ssh(enrolment(&secret, 1), noon()).await.unwrap().id, device.id);
    assert!(matches!(site.control.enrol_ssh(enrolment(&secret, 2), noon()).await, Err(EnrolError::UsedUp)));
    let stranger = site.control.enrol_ssh(enrolment(&Secret::new([5; 16]), 2), noon()).await;
    assert!(matches!(stranger, Err(EnrolError::UnknownInvite)));
    let site = site.reopen().await;
    assert_eq!([standing(&site, 1), standing(&site, 2)], ["device robot-1", "unknown"]);
}

#[tokio::test]
async fn the_keys_of_a_device_that_was_revoked_or_replaced_stay_refused() {
    let site = Site::open().await;
    let secret = site.invite(InviteRequest::default()).await;
    let device = site.control.enrol_ssh(enrolment(&secret, 1), noon()).await.unwrap();
    let (_, secret) = site.control.replace_device(device.id, noon()).await.unwrap();
    assert_eq!(site.control.enrol_ssh(enrolment(&secret, 2), noon()).await.unwrap().id, device.id);
    assert_eq!([standing(&site, 1), standing(&site, 2)], ["refused", "device robot-1"]);
    let mut changes = site.control.changes();
    site.control.revoke_device(device.id, None, noon()).await.unwrap();
    assert_eq!(standing(&site, 2), "refused");
    assert!(concerns_ssh(next_news(&mut changes).await));
    let one_more = site.invite(InviteRequest::default()).await;
    assert!(matches!(site.control.enrol_ssh(enrolment(&one_more, 2), noon()).await, Err(EnrolError::KeyRevoked)));
    assert!(matches!(site.control.enrol_ssh(enrolment(&one_more, 1), noon()).await, Err(EnrolError::KeyReplaced)));
}

#[tokio::test]
async fn keys_are_added_for_people_and_devices_and_each_has_one_holder() {
    let site = Site::open().await;
    let (anna, zumi) = (NewHolder::Person(label("anna")), NewHolder::Device(label("zumi01")));
    assert_eq!(site.control.add_ssh_keys(anna.clone(), vec![key(1), key(2)], noon()).await.unwrap(), 2);
    assert_eq!(site.control.add_ssh_keys(anna, vec![key(1)], noon()).await.unwrap(), 0);
    let both = site.control.add_ssh_keys(zumi.clone(), vec![key(3), key(2)], noon()).await;
    assert!(matches!(both, Err(EditError::Taken(_))), "{both:?}");
    assert!(site.control.snapshot().device_by_name(&label("zumi01")).is_none(), "nothing of it was done");
    site.control.add_ssh_keys(zumi, vec![key(3)], noon()).await.unwrap();
    assert_eq!([standing(&site, 1), standing(&site, 3)], ["person anna", "device zumi01"]);
    let mut changes = site.control.changes();
    site.control.remove_ssh_key(KeyFingerprint::of(&key(1)), noon()).await.unwrap();
    assert!(concerns_ssh(next_news(&mut changes).await));
    assert_eq!([standing(&site, 1), standing(&site, 2)], ["unknown", "person anna"]);
    let again = site.control.remove_ssh_key(KeyFingerprint::of(&key(1)), noon()).await;
    assert!(matches!(again, Err(EditError::Unknown(_))));
}

#[tokio::test]
async fn the_host_keys_are_made_once_and_rest_sealed() {
    let site = Site::open().await;
    let make = || {
        let private_key = Secret::new("the private half".to_owned());
        vec![HostKey { kind: "ssh-ed25519".into(), public_key: "ssh-ed25519 AAAA".into(), private_key }]
    };
    site.control.ssh_host_keys(make, noon()).await.unwrap();
    let site = site.reopen().await;
    let again = site.control.ssh_host_keys(|| panic!("there are some"), noon()).await.unwrap();
    assert_eq!(again[0].private_key.expose(), "the private half");
    assert_eq!(site.control.ssh_host_public_keys().await.unwrap(), ["ssh-ed25519 AAAA"]);
    site.control.close().await;
    let files =
        ["doorward.db", "doorward.db-wal"].map(|file| std::fs::read(site.data().join(file)).unwrap_or_default());
    let bytes = files.concat();
    assert!(bytes.windows(15).any(|window| window == b"ssh-ed25519 AAA"), "the public half is there");
    assert!(!bytes.windows(16).any(|window| window == b"the private half"));
}

#[test]
fn fingerprints_are_written_as_ssh_keygen_writes_them() {
    let fingerprint = KeyFingerprint([7; 32]);
    assert_eq!(fingerprint.to_string(), "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
    assert_eq!(fingerprint.to_string().parse::<KeyFingerprint>().unwrap(), fingerprint);
    assert!("SHA256:x".parse::<KeyFingerprint>().is_err());
}
