use super::support::*;
use crate::{Certificate, OpenError, PendingOrder, SEAL_FILE};
use doorward_core::Secret;
use doorward_core::certificates::{Attempt, Held, Names, Outcome};
use std::sync::Arc;

const CA: &str = "https://ca/directory";
const KEY: &[u8] = b"a private key that nobody may read";

fn names() -> Names {
    Names::parse("gw.net").unwrap()
}

fn certificate() -> Certificate {
    let held = Held { names: names(), not_before: noon(), not_after: noon() + jiff::SignedDuration::from_hours(2160) };
    Certificate { held, directory: CA.to_owned(), chain: "PEM".to_owned(), key: Secret::new(KEY.to_vec()) }
}

fn order(url: &str) -> Arc<PendingOrder> {
    let (directory, key) = (CA.to_owned(), Secret::new(KEY.to_vec()));
    Arc::new(PendingOrder { names: names(), directory, url: url.to_owned(), key })
}

/// A site with an account, an order under way and a certificate.
async fn certified() -> Site {
    let site = Site::open().await;
    site.control.keep_acme_account(CA, Secret::new(KEY.to_vec()), noon()).await.unwrap();
    site.control.order_completed(certificate(), false, noon()).await.unwrap();
    site.control.begin_order(order("https://ca/1"), noon()).await.unwrap();
    site
}

async fn assert_certified(control: &crate::Control) {
    let shelf = control.certificates().borrow().clone();
    assert_eq!((shelf.len(), shelf[0].key.expose().as_slice()), (1, KEY));
    assert_eq!(control.acme_account(CA).await.unwrap().unwrap().expose(), KEY);
    assert_eq!(control.pending_order(&names(), CA).await.unwrap().unwrap().key.expose(), KEY);
}

#[tokio::test]
async fn what_was_ordered_outlives_a_restart() {
    let site = certified().await.reopen().await;
    assert_certified(&site.control).await;
    assert!(site.control.acme_account("https://other/").await.unwrap().is_none());
    let attempts = site.control.certificate_attempts().await.unwrap();
    assert_eq!(attempts.iter().map(|a| a.outcome).collect::<Vec<_>>(), [Outcome::Issued { is_renewal: false }]);
}

#[tokio::test]
async fn an_order_is_forgotten_once_its_certificate_is_there() {
    let site = certified().await;
    let mut shelf = site.control.certificates();
    site.control.begin_order(order("https://ca/2"), noon()).await.unwrap();
    assert_eq!(site.control.pending_order(&names(), CA).await.unwrap().unwrap().url, "https://ca/2");
    site.control.order_completed(certificate(), true, noon()).await.unwrap();
    assert!(site.control.pending_order(&names(), CA).await.unwrap().is_none());
    assert!(shelf.has_changed().unwrap() && shelf.borrow_and_update().len() == 1);
    let failed = Outcome::Failed { not_until: Some(noon()) };
    let attempt = Attempt { names: names(), authority: CA.to_owned(), at: noon(), outcome: failed };
    site.control.order_failed(attempt, "no route".to_owned()).await.unwrap();
    assert_eq!(site.control.certificate_attempts().await.unwrap().last().unwrap().outcome, failed);
    let deeds = site.control.audit(10).await.unwrap();
    assert_eq!(deeds[0].detail, "no route");
}

#[tokio::test]
async fn nothing_private_lies_in_the_store_as_it_is() {
    let site = certified().await;
    site.control.close().await;
    let mut seen = 0;
    for entry in std::fs::read_dir(site.data()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let hex = crate::store::words::hex(KEY);
        assert!(!bytes.windows(KEY.len()).any(|part| part == KEY));
        assert!(!bytes.windows(hex.len()).any(|part| part == hex.as_bytes()));
        seen += 1;
    }
    assert!(seen >= 2, "the store and the key beside it");
}

#[tokio::test]
async fn without_the_key_beside_it_a_store_with_secrets_is_refused() {
    let site = certified().await;
    site.control.close().await;
    let data = site.data();
    let Site { control, directory: _directory } = site;
    drop(control);
    std::fs::remove_file(data.join(SEAL_FILE)).unwrap();
    let Err(OpenError::Unreadable { why, .. }) = open(&data).await else { panic!("it was opened") };
    assert!(why.contains(SEAL_FILE), "{why}");
    let other = Site::open().await;
    std::fs::copy(other.data().join(SEAL_FILE), data.join(SEAL_FILE)).unwrap();
    let Err(OpenError::Unreadable { why, .. }) = open(&data).await else { panic!("it was opened") };
    assert!(why.contains("does not open"), "{why}");
}

#[tokio::test]
async fn a_backup_carries_the_key_until_it_lies_beside_the_store_again() {
    let site = certified().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let data = elsewhere.path().join("data");
    std::fs::create_dir(&data).unwrap();
    site.control.backup_into(&data.join("doorward.db")).await.unwrap();
    let restored = open(&data).await.unwrap();
    assert_certified(&restored).await;
    restored.close().await;
    let key = std::fs::read(data.join(SEAL_FILE)).unwrap();
    assert_eq!(key, std::fs::read(site.data().join(SEAL_FILE)).unwrap());
    for file in ["doorward.db", "doorward.db-wal"] {
        let bytes = std::fs::read(data.join(file)).unwrap_or_default();
        assert!(!bytes.windows(key.len()).any(|part| part == key), "{file} still carries the key");
    }
}
