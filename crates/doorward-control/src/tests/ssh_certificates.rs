use super::support::*;
use crate::{CertificateWish, EditError, KeyFingerprint, LONGEST, NewHolder, News, OpenError};
use doorward_core::ssh::PublicKey;
use jiff::{SignedDuration, Timestamp};
use ssh_key::certificate::CertType;

fn key(n: u8) -> PublicKey {
    let point = ssh_key::private::Ed25519Keypair::from_seed(&[n; 32]).public.0;
    let blob = [&b"\0\0\0\x0bssh-ed25519\0\0\0\x20"[..], &point].concat();
    PublicKey::from_blob(&blob).unwrap()
}

fn wish(person: &str, n: u8, span: SignedDuration) -> CertificateWish {
    CertificateWish { person: label(person), key: key(n), span, sources: Vec::new() }
}

const HOURS: SignedDuration = SignedDuration::from_hours(8);

async fn certify(site: &Site, wish: CertificateWish, now: Timestamp) -> Result<ssh_key::Certificate, EditError> {
    site.control.certify(wish, now).await.map(|line| line.parse().unwrap())
}

fn serials(site: &Site) -> Vec<u64> {
    let mut serials: Vec<_> = site.control.snapshot().ssh_certificates().map(|known| known.issued.serial).collect();
    serials.sort_unstable();
    serials
}

#[tokio::test]
async fn a_certificate_says_who_what_how_long_and_where_and_is_signed_by_the_one_authority() {
    let site = Site::open().await;
    let sources = vec!["192.0.2.0/24".to_owned(), "2001:db8::1".to_owned()];
    let made = certify(&site, CertificateWish { sources, ..wish("alex", 1, HOURS) }, noon()).await.unwrap();
    made.verify_signature().unwrap();
    let authority = site.control.ssh_authority(noon()).await.unwrap();
    assert_eq!(ssh_key::PublicKey::from(made.signature_key().clone()).to_openssh().unwrap(), authority.to_string());
    assert_eq!(
        (made.cert_type(), made.serial(), made.valid_principals()),
        (CertType::User, 1, &["alex".to_owned()][..])
    );
    let seconds = u64::try_from(noon().as_second()).unwrap();
    assert_eq!((made.valid_after(), made.valid_before()), (seconds - 300, seconds + 8 * 3600));
    let options: Vec<_> = made.critical_options().iter().collect();
    assert_eq!(options, [(&"source-address".to_owned(), &"192.0.2.0/24,2001:db8::1".to_owned())]);
    let site = site.reopen().await;
    assert_eq!(site.control.ssh_authority(noon()).await.unwrap(), authority, "it outlives a restart");
    assert_eq!(certify(&site, wish("alex", 1, HOURS), noon()).await.unwrap().serial(), 2);
    let (snapshot, fingerprint) = (site.control.snapshot(), KeyFingerprint::of(&key(1)));
    assert_eq!(snapshot.ssh_certificates_of(&fingerprint).map(|known| known.issued.serial).collect::<Vec<_>>(), [1, 2]);
    assert!(snapshot.ssh_certificate(&fingerprint, 3).is_none());
}

#[tokio::test]
async fn what_is_too_long_too_short_or_somebody_elses_is_not_certified() {
    let site = Site::open().await;
    for span in [SignedDuration::ZERO, SignedDuration::from_secs(59), LONGEST + SignedDuration::from_secs(1), -HOURS] {
        let refused = certify(&site, wish("alex", 1, span), noon()).await;
        assert!(matches!(refused, Err(EditError::Invalid(_))), "{span}");
    }
    let nowhere = CertificateWish { sources: vec!["here".into()], ..wish("alex", 1, HOURS) };
    assert!(matches!(certify(&site, nowhere, noon()).await, Err(EditError::Invalid(_))));
    let (anna, zumi) = (NewHolder::Person(label("anna")), NewHolder::Device(label("zumi01")));
    site.control.add_ssh_keys(anna, vec![key(2)], noon()).await.unwrap();
    site.control.add_ssh_keys(zumi, vec![key(3)], noon()).await.unwrap();
    for n in [2, 3] {
        assert!(matches!(certify(&site, wish("alex", n, HOURS), noon()).await, Err(EditError::Taken(_))), "{n}");
    }
    certify(&site, wish("anna", 2, HOURS), noon()).await.unwrap();
    certify(&site, wish("alex", 4, LONGEST), noon()).await.unwrap();
    assert!(matches!(certify(&site, wish("ben", 4, HOURS), noon()).await, Err(EditError::Taken(_))));
    assert_eq!(serials(&site), [1, 2]);
}

#[tokio::test]
async fn what_was_taken_back_is_forgotten_at_once_and_its_number_never_given_again() {
    let site = Site::open().await;
    for (person, n) in [("alex", 1), ("alex", 1), ("ben", 2)] {
        certify(&site, wish(person, n, HOURS), noon()).await.unwrap();
    }
    let mut changes = site.control.changes();
    site.control.revoke_ssh_certificate(1, noon()).await.unwrap();
    assert!(matches!(next_news(&mut changes).await, Some(News::Change(change)) if change.ssh_keys));
    assert!(matches!(site.control.revoke_ssh_certificate(1, noon()).await, Err(EditError::Unknown(_))));
    assert_eq!(serials(&site), [2, 3]);
    site.control.add_ssh_keys(NewHolder::Person(label("alex")), vec![key(7)], noon()).await.unwrap();
    let alex = site.control.snapshot().person_by_name(&label("alex")).unwrap().id;
    site.control.remove_person(alex, None, noon()).await.unwrap();
    assert_eq!(serials(&site), [3]);
    assert_eq!(certify(&site, wish("alex", 1, HOURS), noon()).await.unwrap().serial(), 4);
}

#[tokio::test]
async fn what_is_over_is_forgotten_after_a_day_and_nobody_collects_more_than_forty() {
    let site = Site::open().await;
    certify(&site, wish("alex", 1, SignedDuration::from_mins(1)), noon()).await.unwrap();
    let later = |hours| noon() + SignedDuration::from_hours(hours);
    certify(&site, wish("ben", 2, HOURS), later(23)).await.unwrap();
    assert_eq!(serials(&site), [1, 2]);
    for serial in 3..43 {
        assert_eq!(certify(&site, wish("carl", 3, HOURS), later(25)).await.unwrap().serial(), serial);
    }
    assert_eq!(serials(&site).first(), Some(&2));
    assert!(matches!(certify(&site, wish("carl", 3, HOURS), later(25)).await, Err(EditError::Invalid(_))));
}

#[tokio::test]
async fn without_the_key_that_seals_the_authority_the_store_does_not_open() {
    let site = Site::open().await;
    site.control.ssh_authority(noon()).await.unwrap();
    site.control.close().await;
    std::fs::remove_file(site.data().join(crate::SEAL_FILE)).unwrap();
    let Site { control, directory } = site;
    drop(control);
    let opened = open(&directory.path().join("data")).await;
    assert!(matches!(opened, Err(OpenError::Unreadable { .. })));
}
