use super::people::add;
use super::support::*;
use crate::logins::MOST_OF_A_PERSON;
use crate::{EditError, LoginRequest, NewLogin, News, PersonEdit};
use doorward_core::Secret;
use doorward_core::access::Facts;
use doorward_core::login::{LoginKind, USUAL_LOGIN};
use doorward_core::person::Person;
use jiff::{SignedDuration, Timestamp};

async fn sign_in(site: &Site, person: &Person, now: Timestamp) -> NewLogin {
    let source = Some("192.0.2.7".parse().unwrap());
    site.control.begin_login(person.id, "Firefox, Linux", source, now).await.unwrap()
}

fn days(after_noon: i64) -> Timestamp {
    noon() + SignedDuration::from_hours(24 * after_noon)
}

async fn next_logins(changes: &mut crate::Changes) -> Vec<doorward_core::LoginId> {
    match next_news(changes).await {
        Some(News::Change(change)) => change.logins.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_login_is_found_by_its_token_alone_until_it_ends() {
    let site = Site::open().await;
    let (anna, ben) = (add(&site, "anna").await, add(&site, "ben").await);
    let mut changes = site.control.changes();
    let login = sign_in(&site, &anna, noon()).await;
    assert_eq!(next_logins(&mut changes).await, [login.id]);
    assert_eq!(login.until, noon() + USUAL_LOGIN);
    let (person, found) = site.control.signed_in(&login.token, days(89)).unwrap();
    assert_eq!((person.id, found.id, found.title.as_str()), (anna.id, login.id, "Firefox, Linux"));
    assert!(site.control.signed_in(&login.token, days(90)).is_none());
    assert!(site.control.signed_in(&login.token, days(-1)).is_none(), "a clock that was put back");
    let mut altered = login.token.expose().clone();
    altered.replace_range(..1, if altered.starts_with('A') { "B" } else { "A" });
    for wrong in [altered, String::new(), login.id.to_string()] {
        assert!(site.control.login_by_token(&Secret::new(wrong)).is_none());
    }
    let ended = site.control.end_login(Some(ben.id), login.id, days(1)).await;
    assert!(matches!(ended, Err(EditError::Unknown(_))), "somebody else's");
    site.control.end_login(Some(anna.id), login.id, days(1)).await.unwrap();
    assert_eq!(next_logins(&mut changes).await, [login.id]);
    assert!(site.control.signed_in(&login.token, days(1)).is_none());
    assert!(site.control.snapshot().login(login.id).is_none());
    let deeds: Vec<_> = site.control.audit(10).await.unwrap().into_iter().map(|entry| entry.deed).collect();
    assert_eq!(deeds[..2], ["login-ended", "login-begun"]);
}

#[tokio::test]
async fn logins_survive_a_restart_and_their_tokens_do_not_rest() {
    let site = Site::open().await;
    let anna = add(&site, "anna").await;
    let (kept, ended) = (sign_in(&site, &anna, noon()).await, sign_in(&site, &anna, noon()).await);
    site.control.end_login(None, ended.id, noon()).await.unwrap();
    site.control.signed_in(&kept.token, days(3)).unwrap();
    site.control.keep_house_once(days(3)).await.unwrap();
    let site = site.reopen().await;
    assert_eq!(site.control.signed_in(&kept.token, days(4)).unwrap().1.id, kept.id);
    assert!(site.control.login_by_token(&ended.token).is_none());
    let stored = site.control.logins_of(anna.id, days(4));
    assert_eq!(
        stored.iter().map(|summary| (summary.login.id, summary.seen_at)).collect::<Vec<_>>(),
        [(kept.id, days(4))]
    );
    let next = sign_in(&site, &anna, days(4)).await;
    assert!(next.id > ended.id, "an id is never given twice");
    let bytes = std::fs::read(site.data().join("doorward.db-wal")).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("Firefox, Linux") && !holds(next.token.expose()));
}

#[tokio::test]
async fn when_a_login_was_seen_last_outlives_the_process() {
    let site = Site::open().await;
    let anna = add(&site, "anna").await;
    let login = sign_in(&site, &anna, noon()).await;
    site.control.login_seen(login.id, days(2));
    site.control.keep_house_once(days(2)).await.unwrap();
    let site = site.reopen().await;
    assert_eq!(site.control.logins_of(anna.id, days(3))[0].seen_at, days(2));
}

#[tokio::test]
async fn whoever_is_disabled_or_removed_is_signed_in_nowhere() {
    let site = Site::open().await;
    let (anna, ben) = (add(&site, "anna").await, add(&site, "ben").await);
    let (first, second) = (sign_in(&site, &anna, noon()).await, sign_in(&site, &anna, noon()).await);
    let bens = sign_in(&site, &ben, noon()).await;
    let mut changes = site.control.changes();
    let disable = PersonEdit { is_disabled: Some(true), ..PersonEdit::default() };
    site.control.edit_person(anna.id, disable, None, noon()).await.unwrap();
    assert_eq!(next_logins(&mut changes).await, [first.id, second.id]);
    let enable = PersonEdit { is_disabled: Some(false), ..PersonEdit::default() };
    site.control.edit_person(anna.id, enable, None, noon()).await.unwrap();
    for login in [&first, &second] {
        assert!(site.control.signed_in(&login.token, noon()).is_none(), "it does not come back");
    }
    assert!(site.control.signed_in(&bens.token, noon()).is_some());
    let mut changes = site.control.changes();
    site.control.remove_person(ben.id, None, noon()).await.unwrap();
    assert_eq!(next_logins(&mut changes).await, [bens.id]);
    assert!(site.control.login_by_token(&bens.token).is_none());
}

#[tokio::test]
async fn a_change_of_a_person_names_their_logins_and_an_end_counts_at_once() {
    let site = Site::open().await;
    let anna = add(&site, "anna").await;
    let login = sign_in(&site, &anna, noon()).await;
    let mut changes = site.control.changes();
    let ends = PersonEdit { ends_at: Some(Some(days(1))), ..PersonEdit::default() };
    site.control.edit_person(anna.id, ends, None, noon()).await.unwrap();
    assert_eq!(next_logins(&mut changes).await, [login.id]);
    assert!(site.control.signed_in(&login.token, noon()).is_some());
    assert!(site.control.signed_in(&login.token, days(1)).is_none());
    let begun = site.control.begin_login(anna.id, "", None, days(1)).await;
    assert!(matches!(begun, Err(EditError::Unknown(_))), "{begun:?}");
}

#[tokio::test]
async fn the_oldest_login_gives_way_and_only_to_its_kind() {
    let site = Site::open().await;
    let anna = add(&site, "anna").await;
    let token = LoginRequest {
        account: anna.id,
        kind: LoginKind::Token,
        factors: Default::default(),
        title: "backup".into(),
        source: None,
        length: USUAL_LOGIN,
    };
    let token = site.control.begin_login_as(token, noon()).await.unwrap();
    let first = sign_in(&site, &anna, noon()).await;
    let second = sign_in(&site, &anna, noon()).await;
    for _ in 2..MOST_OF_A_PERSON {
        sign_in(&site, &anna, noon()).await;
    }
    assert!(site.control.login_by_token(&first.token).is_some());
    let last = sign_in(&site, &anna, noon()).await;
    assert!(site.control.login_by_token(&first.token).is_none());
    for kept in [&second, &last, &token] {
        assert!(site.control.login_by_token(&kept.token).is_some());
    }
    site.control.end_logins_of(anna.id, Some(last.id), noon()).await.unwrap();
    let left: Vec<_> = site.control.logins_of(anna.id, noon()).into_iter().map(|summary| summary.login.id).collect();
    assert_eq!(left, [last.id]);
}

#[tokio::test]
async fn logins_whose_time_is_over_are_tidied_away() {
    let site = Site::open().await;
    let anna = add(&site, "anna").await;
    let login = sign_in(&site, &anna, noon()).await;
    site.control.keep_house_once(days(89)).await.unwrap();
    assert!(site.control.login_by_token(&login.token).is_some());
    site.control.keep_house_once(days(90)).await.unwrap();
    assert!(site.control.login_by_token(&login.token).is_none());
}
