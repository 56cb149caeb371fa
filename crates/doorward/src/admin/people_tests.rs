use super::access::{PeopleWish, Rules, WhoWish, Wish as AccessWish};
use super::groups::Change as GroupChange;
use super::people::{Change, New};
use super::sessions::Opening;
use super::*;
use crate::testbed::Testbed;
use doorward_core::person::Role;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

fn now() -> Timestamp {
    Timestamp::now()
}

fn person(name: &str) -> New {
    New { name: name.to_owned(), title: None, role: None, ends_at: None }
}

/// The line that begins with this, with single blanks.
fn line(text: &str, start: &str) -> String {
    let found = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{text}"));
    found.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn people_and_groups_are_added_changed_and_removed() {
    let bed = Testbed::start().await;
    let owner = &bed.owner;
    let ends_at = Some(now() + SignedDuration::from_hours(24 * 90));
    let guest = New { title: Some("Anna B.".into()), role: Some(Role::Guest), ends_at, ..person("anna") };
    assert!(people::add(owner, guest).await.unwrap().starts_with("anna is a guest until "));
    people::add(owner, person("ben")).await.unwrap();
    let error = people::add(owner, person("ben")).await.unwrap_err().to_string();
    assert!(error.contains("already"), "{error}");
    assert!(
        groups::list(owner, Form::Table).await.unwrap().contains("doorward groups create"),
        "what to do when empty"
    );
    let made = groups::create(owner, "robotics", &["anna".to_owned()]).await.unwrap();
    assert_eq!(made, "In robotics: anna.\n");
    let both = groups::change(owner, "robotics", GroupChange::Add(vec!["ben".into()])).await.unwrap();
    assert_eq!(both, "In robotics: anna, ben.\n");
    let error =
        groups::change(owner, "robotics", GroupChange::Take(vec!["carl".into()])).await.unwrap_err().to_string();
    assert!(error.contains("no person \"carl\"") && error.contains("doorward people"), "{error}");
    assert_eq!(line(&groups::list(owner, Form::Table).await.unwrap(), "robotics"), "robotics anna, ben");

    let listed = people::list(owner, Form::Table, now()).await.unwrap();
    assert_eq!(line(&listed, "anna"), "anna Anna B. guest in 90 days robotics");
    assert_eq!(line(&listed, "ben"), "ben member robotics");
    people::edit(owner, "anna", Change { ends_at: Some(None), ..Change::default() }).await.unwrap();
    assert!(people::edit(owner, "ben", Change::disabled(true)).await.unwrap().contains("ben is a member, disabled."));
    let listed = people::list(owner, Form::Table, now()).await.unwrap();
    assert_eq!(line(&listed, "anna"), "anna Anna B. guest robotics");
    assert_eq!(line(&listed, "ben"), "ben member disabled robotics");
    people::remove(owner, "ben").await.unwrap();
    let error = people::remove(owner, "ben").await.unwrap_err().to_string();
    assert!(error.contains("no person \"ben\""), "{error}");
    let error = people::remove(owner, "owner").await.unwrap_err().to_string();
    assert!(error.contains("nobody would be left"), "{error}");
    groups::remove(owner, "robotics").await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&people::list(owner, Form::Json, now()).await.unwrap()).unwrap();
    assert_eq!((&json[0]["name"], &json[0]["groups"]), (&json!("anna"), &json!([])));
}

#[tokio::test]
async fn sessions_are_opened_listed_extended_and_ended_for_whom_the_policy_names() {
    let bed = Testbed::start().await;
    let owner = &bed.owner;
    let device = bed.enrol(1, "zumi01").await;
    bed.offer(&device, &[json!({"name": "ssh", "kind": "tcp", "virtual-port": 22})]).await;
    people::add(owner, person("anna")).await.unwrap();
    people::add(owner, person("ben")).await.unwrap();
    groups::create(owner, "robotics", &["anna".to_owned()]).await.unwrap();
    let service: ServicePath = "zumi01/ssh".parse().unwrap();
    let wish = PeopleWish {
        groups: vec!["robotics".into()],
        is_on_request: true,
        max_duration: Some("2h".into()),
        max_idle: Some("15m".into()),
        ..PeopleWish::default()
    };
    let wish =
        AccessWish { who: WhoWish::People(wish), from: vec![], open: vec![], zone: None, rules: Rules::default() };
    let shown = access::set(owner, &service, &wish.into_document().unwrap()).await.unwrap();
    let said = "these people: all of robotics, each in a session of 2h at most, over after 15m without use";
    assert!(shown.contains(said), "{shown}");
    let who = access::who_now(owner, &service, Form::Table, now()).await.unwrap();
    assert_eq!(line(&who, "anna"), "anna no a session must be opened for it");

    assert!(sessions::list(owner, false, Form::Table, now()).await.unwrap().contains("No session is open"));
    let opening = |person: &str| Opening {
        person: person.into(),
        service: service.clone(),
        length: "30m".into(),
        takes_over: false,
        from: Vec::new(),
    };
    let opened = sessions::open(owner, opening("anna"), now()).await.unwrap();
    assert!(opened.contains("zumi01/ssh is open for anna, until") && opened.contains("as session 1"), "{opened}");
    let error = sessions::open(owner, opening("ben"), now()).await.unwrap_err().to_string();
    assert!(error.contains("none of them") && error.contains("doorward access"), "{error}");
    let who = access::who_now(owner, &service, Form::Table, now()).await.unwrap();
    assert_eq!(line(&who, "anna"), "anna yes, for 30 min");
    let extended = sessions::extend(owner, 1, "1h", now()).await.unwrap();
    assert!(extended.contains("another 1 h"), "{extended}");
    let listed = sessions::list(owner, false, Form::Table, now()).await.unwrap();
    assert_eq!(line(&listed, "1"), "1 anna zumi01/ssh just now in 1 h");
    sessions::end(owner, 1).await.unwrap();
    let listed = sessions::list(owner, true, Form::Table, now()).await.unwrap();
    assert_eq!(line(&listed, "1"), "1 anna zumi01/ssh just now just now (hand)");
    let error = sessions::extend(owner, 1, "1h", now()).await.unwrap_err().to_string();
    assert!(error.contains("no session 1 that is open") && error.contains("doorward sessions"), "{error}");
}
