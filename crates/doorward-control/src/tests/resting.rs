use super::support::*;
use crate::{Activation, EditError, InviteRequest, KeyStanding, OpenError, StoreError};
use doorward_core::access::PolicyDocument;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

async fn refusal(directory: &Path) -> OpenError {
    match open(directory).await {
        Ok(_) => panic!("{} was opened", directory.display()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn the_directory_and_its_files_are_their_owners_alone() {
    let site = Site::open().await;
    site.join(1, "zumi01").await;
    assert_eq!(std::fs::metadata(site.data()).unwrap().permissions().mode() & 0o777, 0o700);
    let mut seen = 0;
    for entry in std::fs::read_dir(site.data()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.file_name());
        seen += 1;
    }
    assert!(seen >= 3, "database, its log and the lock");
    let copy = site.directory.path().join("copy.db");
    site.control.backup_into(&copy).await.unwrap();
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_second_gateway_on_the_same_directory_is_kept_out() {
    let site = Site::open().await;
    let error = refusal(&site.data()).await;
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(error.to_string().contains("another `doorward serve`"), "{error}");
    assert!(error.to_string().contains(site.data().to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = refusal(&file.join("data")).await;
    assert!(error.to_string().contains(file.join("data").to_str().unwrap()), "{error}");
    assert!(refusal(&file).await.to_string().contains(file.to_str().unwrap()));
}

#[tokio::test]
async fn a_directory_that_others_can_write_to_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = refusal(directory.path()).await;
    assert!(error.to_string().contains("others can write to it"), "{error}");
    assert_eq!(std::fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o777);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

type Damage = fn(&Path);

#[tokio::test]
async fn a_damaged_foreign_or_missing_store_is_refused_and_left_alone() {
    let damage: [(&str, Damage); 7] = [
        ("garbage", |path| std::fs::write(path, vec![7; 50_000]).unwrap()),
        // SQLite's smallest database: a header of version 3 with page size 4096 and one empty table leaf.
        ("foreign", |path| {
            let mut page = vec![0; 4096];
            page[..16].copy_from_slice(b"SQLite format 3\0");
            page[16..24].copy_from_slice(&[0x10, 0, 1, 1, 0, 64, 32, 32]);
            page[27] = 1;
            page[31] = 1;
            page[47] = 4;
            page[59] = 1;
            page[95] = 1;
            page[100] = 13;
            page[105..107].copy_from_slice(&[0x10, 0]);
            std::fs::write(path, page).unwrap();
        }),
        ("empty", |path| std::fs::write(path, "").unwrap()),
        ("half", |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("holes", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[4096..middle].fill(0xff);
            std::fs::write(path, bytes).unwrap();
        }),
        ("in a page that the start does not read", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let last = bytes.len() - 4096;
            bytes[last..].fill(0xff);
            std::fs::write(path, bytes).unwrap();
        }),
        ("gone", |path| {
            std::fs::write(path.with_file_name("doorward.db-wal"), "x").unwrap();
            std::fs::remove_file(path).unwrap();
        }),
    ];
    for (name, damage) in damage {
        let site = Site::open().await;
        site.control.close().await;
        let data = site.data();
        let directory = site.directory;
        drop(site.control);
        let path = data.join("doorward.db");
        damage(&path);
        let before = std::fs::read(&path).ok();
        let error = refusal(&data).await;
        assert!(matches!(error, OpenError::Unreadable { .. }), "{name}: {error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{name}: {error}");
        assert!(std::fs::read(&path).ok() == before, "{name}: it was changed");
        for (damage, why) in [("foreign", "not a store of Doorward"), ("empty", "it is empty"), ("gone", "is missing")]
        {
            assert!(name != damage || error.to_string().contains(why), "{name}: {error}");
        }
        drop(directory);
    }
}

#[tokio::test]
async fn a_newer_store_is_refused_and_says_so() {
    let site = Site::open().await;
    site.control.close().await;
    change(&site.data(), "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'x', 1, x'00', 0)").await;
    let data = site.data();
    let (_directory, ()) = (site.directory, drop(site.control));
    let error = refusal(&data).await;
    assert!(matches!(error, OpenError::Newer { found: 99, known: 15.., .. }), "{error}");
}

#[tokio::test]
async fn a_stored_policy_or_site_key_that_cannot_be_read_refuses_service() {
    for statement in
        ["UPDATE services SET offered_access = '{\"who\":\"everybody\"}'", "UPDATE site_keys SET pkcs8 = '00'"]
    {
        let site = Site::open().await;
        let device = site.join(1, "zumi01").await;
        site.offer(&device, http("a")).await;
        site.control.close().await;
        change(&site.data(), statement).await;
        let data = site.data();
        let (_directory, ()) = (site.directory, drop(site.control));
        let error = refusal(&data).await;
        assert!(matches!(error, OpenError::Unreadable { .. }), "{error}");
    }
}

pub(super) async fn change(data: &Path, statement: &'static str) {
    use sqlx::{ConnectOptions, Connection};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("doorward.db"));
    let mut connection = options.connect().await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_interrupted_first_start_is_simply_done_again() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("doorward.db.new"), "half of somethi").unwrap();
    let control = open(directory.path()).await.unwrap();
    assert_eq!(control.snapshot().devices().count(), 0);
}

#[tokio::test]
async fn the_site_key_stays_the_same_until_its_successor_takes_over() {
    let site = Site::open().await;
    let first = site.control.site_keys().active.fingerprint;
    let site = site.reopen().await;
    assert_eq!(site.control.site_keys().active.fingerprint, first);
    assert!(site.control.activate_successor(Activation::OnceStored, noon()).await.is_err(), "none is prepared");
    let next = site.control.prepare_successor(noon()).await.unwrap();
    assert_eq!(site.control.prepare_successor(noon()).await.unwrap(), next, "made once");
    let site = site.reopen().await;
    let mut changes = site.control.changes();
    assert_eq!(site.control.activate_successor(Activation::OnceStored, noon()).await.unwrap(), next);
    assert!(matches!(next_news(&mut changes).await, Some(crate::News::Change(c)) if c.site_keys));
    let site = site.reopen().await;
    assert_eq!(site.control.site_keys().active.fingerprint, next);
    assert!(site.control.site_keys().successor.is_none());
}

#[tokio::test]
async fn a_new_site_key_waits_for_every_device_that_could_not_come_back() {
    let site = Site::open().await;
    let (known, late, gone) = (site.join(1, "known").await, site.join(2, "late").await, site.join(3, "gone").await);
    assert!(site.control.devices_without_successor().is_empty(), "none is prepared");
    let next = site.control.prepare_successor(noon()).await.unwrap();
    site.control.revoke_device(gone.id, None, noon()).await.unwrap();
    site.control.presence().successor_stored(known.id, next);
    site.control.presence().successor_stored(late.id, site.control.site_keys().active.fingerprint);
    match site.control.activate_successor(Activation::OnceStored, noon()).await {
        Err(EditError::TooEarly(why)) => assert!(why.contains("by late:"), "{why}"),
        other => panic!("{other:?}"),
    }
    site.control.presence().successor_stored(late.id, next);
    assert_eq!(site.control.activate_successor(Activation::OnceStored, noon()).await.unwrap(), next);

    let another = site.control.prepare_successor(noon()).await.unwrap();
    assert_eq!(site.control.devices_without_successor().len(), 2, "what they stored was another one");
    assert_eq!(site.control.activate_successor(Activation::Anyway, noon()).await.unwrap(), another);
}

/// What is on the disk while writes are under way is what a power cut leaves.
#[tokio::test]
async fn whatever_moment_the_power_fails_the_store_opens_with_all_that_was_answered() {
    let site = Site::open().await;
    let writer = tokio::spawn({
        let control = site.control.clone();
        async move {
            for key in 0..30_u8 {
                let (_, secret) =
                    control.create_invite(crate::accounts::OWNER, InviteRequest::default(), noon()).await.unwrap();
                control.enrol(enrolment(&secret, key, "pi"), noon()).await.unwrap();
            }
        }
    });
    let mut opened = 0;
    while !writer.is_finished() || opened == 0 {
        let answered = site.control.snapshot().devices().count();
        let copy = tempfile::tempdir().unwrap();
        for file in ["doorward.db", "doorward.db-wal"] {
            std::fs::copy(site.data().join(file), copy.path().join(file)).unwrap();
        }
        let control = open(copy.path()).await.unwrap();
        let snapshot = control.snapshot();
        let count = snapshot.devices().count();
        assert!(count >= answered, "{count} of {answered} devices are left");
        for key in 0..u8::try_from(count).unwrap() {
            assert!(matches!(snapshot.device_by_key(&[key; 32]), KeyStanding::Active(_)), "device without its key");
        }
        let used = control.invites().await.unwrap().iter().filter(|i| i.uses_left == 0).count();
        assert_eq!(used, count, "an invite is used up if and only if its device is there");
        opened += 1;
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert!(opened >= 3, "only {opened} moments were seen");
    // SQLite moves the log into the file at 1000 pages; two copies taken around that would fit no moment.
    let log = std::fs::metadata(site.data().join("doorward.db-wal")).unwrap().len();
    assert!(log < 900 * 4096, "the log has {} pages: write less here", log / 4096);
}

#[tokio::test]
async fn with_a_full_disk_changes_fail_cleanly_and_decisions_go_on() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    site.offer(&device, http("a")).await;
    site.control.0.store.limit_pages(1).await;
    let before = site.control.snapshot();
    let mut failed = 0;
    for n in 0..200 {
        let request = InviteRequest { name: Some(label(&format!("x{n}"))), ..Default::default() };
        match site.control.create_invite(crate::accounts::OWNER, request, noon()).await {
            Ok(_) => {}
            Err(crate::EditError::Store(error)) => {
                assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
                let place = site.data().display().to_string();
                assert!(error.to_string().contains("disk") && error.to_string().contains(&place), "{error}");
                failed += 1;
                if failed == 3 {
                    break;
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(failed, 3, "the store grew beyond its limit");
    assert_eq!(site.control.snapshot().generation(), before.generation());
    assert!(site.control.snapshot().web(&host("a-zumi01.example.org"), "/").is_some());
    site.control.0.store.limit_pages(1_000_000).await;
    site.control.set_access(device.id, &label("a"), Some(PolicyDocument::default()), None, noon()).await.unwrap();
}

#[tokio::test]
async fn a_backup_taken_while_running_opens_elsewhere() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    site.offer(&device, tcp("ssh", 0)).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("doorward.db");
    site.control.backup_into(&path).await.unwrap();
    assert!(site.control.backup_into(&path).await.is_err(), "an existing file is not overwritten");
    let restored = open(elsewhere.path()).await.unwrap();
    assert_eq!(restored.site_keys().active.fingerprint, site.control.site_keys().active.fingerprint);
    assert_eq!(restored.snapshot().tcp(20000).unwrap().path(), "zumi01/ssh");
}

#[tokio::test]
async fn after_closing_changes_are_refused_and_the_snapshot_stays() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    site.control.close().await;
    let answer = site.control.revoke_device(device.id, None, noon()).await;
    assert!(matches!(answer, Err(crate::EditError::Store(StoreError::Closed))), "{answer:?}");
    assert!(site.control.snapshot().device(device.id).is_some());
}
