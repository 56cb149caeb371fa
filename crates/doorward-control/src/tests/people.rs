use super::support::*;
use crate::accounts::OWNER;
use crate::{EditError, GroupEdit, InviteRequest, KeyFingerprint, NewHolder, NewPerson, News, PersonEdit, SshStanding};
use doorward_core::access::Facts;
use doorward_core::person::{Person, Role};
use doorward_core::ssh::PublicKey;
use jiff::{Timestamp, ToSpan};
use std::sync::Arc;

pub(super) fn new(name: &str, role: Role) -> NewPerson {
    NewPerson { name: label(name), title: None, role, ends_at: None }
}

pub(super) fn key(n: u8) -> PublicKey {
    PublicKey::from_blob(&[&b"\0\0\0\x0bssh-ed25519\0\0\0\x20"[..], &[n; 32]].concat()).unwrap()
}

pub(super) async fn add(site: &Site, name: &str) -> Arc<Person> {
    site.control.add_person(new(name, Role::Member), noon()).await.unwrap()
}

#[tokio::test]
async fn people_of_a_store_from_before_are_who_their_keys_said() {
    let site = Site::open().await;
    site.control.close().await;
    super::before::turn_back(&site.data(), 8).await;
    for (n, statement) in [
        (1, "INSERT INTO ssh_keys VALUES ($1, $2, NULL, 'ben', 'active', 5)"),
        (2, "INSERT INTO ssh_keys VALUES ($1, $2, NULL, 'anna', 'active', 7)"),
        (3, "INSERT INTO ssh_keys VALUES ($1, $2, NULL, 'anna', 'active', 6)"),
        (4, "INSERT INTO ssh_keys VALUES ($1, $2, NULL, 'owner', 'active', 6)"),
    ] {
        use sqlx::{ConnectOptions, Connection};
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(site.data().join("doorward.db"));
        let mut connection = options.connect().await.unwrap();
        let hex = data_encoding::HEXLOWER.encode(&KeyFingerprint::of(&key(n)).0);
        sqlx::query(statement).bind(hex).bind(key(n).to_string()).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
    let site = site.reopen().await;
    let snapshot = site.control.snapshot();
    let whose = |n| match snapshot.ssh_standing(&KeyFingerprint::of(&key(n))) {
        SshStanding::Person(person) => (person.name.to_string(), person.id.0, person.role),
        other => panic!("{other:?}"),
    };
    assert_eq!(whose(1), ("ben".to_owned(), 3, Role::Member));
    assert_eq!([whose(2), whose(3)], [("anna".to_owned(), 2, Role::Member), ("anna".to_owned(), 2, Role::Member)]);
    assert_eq!(whose(4), ("owner".to_owned(), 1, Role::Owner));
    assert_eq!(snapshot.person_by_name(&label("anna")).unwrap().created_at.as_millisecond(), 6);
    assert_eq!(add(&site, "carl").await.id.0, 4, "no number is given twice");
}

#[tokio::test]
async fn people_are_added_edited_and_removed_and_outlive_a_restart() {
    let site = Site::open().await;
    let end: Timestamp = noon().checked_add(240.hours()).unwrap();
    let guest = NewPerson { title: Some("Anna B.".into()), ends_at: Some(end), ..new("anna", Role::Guest) };
    let anna = site.control.add_person(guest, noon()).await.unwrap();
    assert!(matches!(site.control.add_person(new("anna", Role::Member), noon()).await, Err(EditError::Taken(_))));
    let over = NewPerson { ends_at: Some(noon()), ..new("late", Role::Guest) };
    assert!(matches!(site.control.add_person(over, noon()).await, Err(EditError::Invalid(_))));
    let site = site.reopen().await;
    assert_eq!(site.control.snapshot().person_by_name(&label("anna")), Some(&anna));

    let mut changes = site.control.changes();
    let edit = PersonEdit { role: Some(Role::Member), ends_at: Some(None), ..PersonEdit::default() };
    let edited = site.control.edit_person(anna.id, edit.clone(), Some(anna.version), noon()).await.unwrap();
    assert_eq!((edited.role, edited.ends_at, edited.title.as_str()), (Role::Member, None, "Anna B."));
    assert!(matches!(next_news(&mut changes).await, Some(News::Change(change)) if change.people == [anna.id]));
    let other = PersonEdit { title: Some("x".into()), ..PersonEdit::default() };
    let stale = site.control.edit_person(anna.id, other, Some(anna.version), noon()).await;
    assert!(matches!(stale, Err(EditError::Stale { current: 2 })), "{stale:?}");
    let stale = site.control.remove_person(anna.id, Some(1), noon()).await;
    assert!(matches!(stale, Err(EditError::Stale { .. })));
    site.control.remove_person(anna.id, Some(2), noon()).await.unwrap();
    assert!(site.control.snapshot().person(anna.id).is_none());
    let site = site.reopen().await;
    assert!(site.control.snapshot().person_by_name(&label("anna")).is_none());
    assert_ne!(add(&site, "anna").await.id, anna.id, "another person of that name");
}

#[tokio::test]
async fn the_last_owner_stays_whatever_is_tried() {
    let site = Site::open().await;
    let gone = [
        PersonEdit { role: Some(Role::Member), ..PersonEdit::default() },
        PersonEdit { is_disabled: Some(true), ..PersonEdit::default() },
        PersonEdit { ends_at: Some(Some(noon().checked_add(1.hour()).unwrap())), ..PersonEdit::default() },
    ];
    let try_all = async |id| {
        for edit in &gone {
            let answer = site.control.edit_person(id, edit.clone(), None, noon()).await;
            assert!(matches!(answer, Err(EditError::Invalid(_))), "{edit:?}: {answer:?}");
        }
        assert!(site.control.remove_person(id, None, noon()).await.is_err());
    };
    try_all(OWNER).await;
    let anna = site.control.add_person(new("anna", Role::Owner), noon()).await.unwrap();
    let demoted = site.control.edit_person(OWNER, gone[0].clone(), None, noon()).await.unwrap();
    assert_eq!(demoted.role, Role::Member);
    try_all(anna.id).await;
    let site = site.reopen().await;
    assert_eq!(site.control.snapshot().person(OWNER).unwrap().role, Role::Member, "a restart gives nothing back");
    site.invite(InviteRequest::default()).await;
    let owning = site.control.remove_person(OWNER, None, noon()).await;
    assert!(matches!(&owning, Err(EditError::Invalid(why)) if why.contains("owns devices")), "{owning:?}");
}

/// Each would be fine alone.
#[tokio::test]
async fn of_many_owners_who_leave_at_once_one_stays() {
    let site = Site::open().await;
    let mut owners = Vec::new();
    for n in 0..20 {
        owners.push(site.control.add_person(new(&format!("owner-{n}"), Role::Owner), noon()).await.unwrap().id);
    }
    owners.push(OWNER);
    let leave = PersonEdit { role: Some(Role::Member), ..PersonEdit::default() };
    let mut leaving = tokio::task::JoinSet::new();
    for id in owners {
        let (control, leave) = (site.control.clone(), leave.clone());
        leaving.spawn(async move { control.edit_person(id, leave, None, noon()).await });
    }
    let answers = leaving.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    let left = site.control.snapshot().people().filter(|person| person.role == Role::Owner).count();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn a_removed_persons_keys_are_nobodys_and_a_disabled_persons_are_refused() {
    let site = Site::open().await;
    site.control.add_ssh_keys(NewHolder::Person(label("anna")), vec![key(1)], noon()).await.unwrap();
    let anna = site.control.snapshot().person_by_name(&label("anna")).unwrap().clone();
    let standing = || site.control.snapshot().ssh_standing(&KeyFingerprint::of(&key(1)));
    assert!(matches!(standing(), SshStanding::Person(person) if person.id == anna.id));
    let disable = |is| PersonEdit { is_disabled: Some(is), ..PersonEdit::default() };
    site.control.edit_person(anna.id, disable(true), None, noon()).await.unwrap();
    assert!(matches!(standing(), SshStanding::Refused));
    site.control.edit_person(anna.id, disable(false), None, noon()).await.unwrap();
    assert!(matches!(standing(), SshStanding::Person(_)));
    site.control.remove_person(anna.id, None, noon()).await.unwrap();
    assert!(matches!(standing(), SshStanding::Unknown));
    let other = NewHolder::Device(label("zumi01"));
    assert_eq!(site.control.add_ssh_keys(other, vec![key(1)], noon()).await.unwrap(), 1);
}

#[tokio::test]
async fn groups_are_lists_of_people_and_every_change_names_whom_it_concerns() {
    let site = Site::open().await;
    let (anna, ben) = (add(&site, "anna").await, add(&site, "ben").await);
    let robotics = label("robotics");
    let made = site.control.add_group(robotics.clone(), None, vec![label("anna")], noon()).await.unwrap();
    let taken = site.control.add_group(robotics.clone(), None, Vec::new(), noon()).await;
    assert!(matches!(taken, Err(EditError::Taken(_))));
    let site = site.reopen().await;
    let is_in = |id| site.control.snapshot().person(id).unwrap().is_in(&robotics);
    assert_eq!([is_in(anna.id), is_in(ben.id)], [true, false]);
    let mut changes = site.control.changes();
    let edit = GroupEdit { title: None, add: vec![label("ben")], remove: vec![label("anna")] };
    site.control.edit_group(robotics.clone(), edit.clone(), Some(made.version), noon()).await.unwrap();
    assert_eq!([is_in(anna.id), is_in(ben.id)], [false, true]);
    match next_news(&mut changes).await {
        Some(News::Change(change)) => assert_eq!(change.people, [anna.id, ben.id]),
        other => panic!("{other:?}"),
    }
    let stale = site.control.edit_group(robotics.clone(), edit, Some(made.version), noon()).await;
    assert!(matches!(stale, Err(EditError::Stale { .. })));
    let nobody = GroupEdit { add: vec![label("carl")], ..GroupEdit::default() };
    assert!(matches!(
        site.control.edit_group(robotics.clone(), nobody, None, noon()).await,
        Err(EditError::Unknown(_))
    ));
    site.control.remove_group(robotics.clone(), None, noon()).await.unwrap();
    match next_news(&mut changes).await {
        Some(News::Change(change)) => assert_eq!(change.people, [ben.id]),
        other => panic!("{other:?}"),
    }
    assert!(!is_in(ben.id));
    assert!(site.control.snapshot().group_by_name(&robotics).is_none());
}
