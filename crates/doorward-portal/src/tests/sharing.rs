//! Share links at the portal: the pages of whoever makes them, and the answers of the API about them.

use super::site::{add, browse, form_token, sign_in};
use super::support::*;
use crate::pages::share::WRONG_PIN;
use crate::words::Language;
use doorward_control::NewLogin;
use doorward_core::person::Person;
use std::sync::Arc;

const SHARED: &str = r#"{"name": "cam", "kind": "http", "access": {"who": "nobody", "share-links": "7d"}}"#;

/// Anna's device with a camera that may be shared, and Ben, whose it is not.
async fn annas(portal: &Portal) -> (Arc<Person>, Arc<Person>) {
    let (anna, ben) = (add(portal, "anna").await, add(portal, "ben").await);
    let device = portal.join_for(anna.id, 1, "pi").await;
    portal.offer(&device, &[SHARED]).await;
    (anna, ben)
}

async fn press(portal: &Portal, login: &NewLogin, path: &str, form: &str) -> Answer {
    let token = form_token(&browse(portal, Some(login), "GET", "/shares", "").await);
    browse(portal, Some(login), "POST", path, &format!("form-token={token}&{form}")).await
}

fn service(portal: &Portal) -> i64 {
    portal.state.control.snapshot().services().next().unwrap().service.id.0
}

#[tokio::test]
async fn whoever_owns_a_service_shares_it_by_a_page_and_nobody_else_does() {
    let portal = Portal::open().await;
    let (anna, ben) = annas(&portal).await;
    let (annas, bens) = (sign_in(&portal, &anna).await, sign_in(&portal, &ben).await);
    let empty = browse(&portal, Some(&annas), "GET", "/shares", "").await;
    assert!(empty.text.contains("Nothing of yours is shared") && empty.text.contains("pi/cam"), "{}", empty.text);
    let wanted = format!("service={}&length=4h&uses=3&title=for+%3Cben%3E&read_only=yes&pin=yes", service(&portal));
    let made = press(&portal, &annas, "/shares", &wanted).await;
    assert_eq!(made.status.as_u16(), 200, "{}", made.text);
    assert!(made.text.contains("https://portal.example.org/share/") && made.text.contains("<svg"), "{}", made.text);
    assert!(made.text.contains("this PIN"), "{}", made.text);
    let list = browse(&portal, Some(&annas), "GET", "/shares", "").await;
    assert!(list.text.contains("for &#60;ben&#62;") && list.text.contains("for looking alone"), "{}", list.text);
    assert!(!list.text.contains("/share/"), "the link is shown once");

    let theirs = browse(&portal, Some(&bens), "GET", "/shares", "").await;
    assert!(!theirs.text.contains("pi/cam"), "{}", theirs.text);
    assert_eq!(press(&portal, &bens, "/shares", &wanted).await.status.as_u16(), 404, "as one that is not there");
    assert_eq!(press(&portal, &bens, "/shares/1/revoke", "").await.status.as_u16(), 303);
    assert!(portal.state.control.share(doorward_core::ShareId(1)).is_some(), "it is not Ben's to take back");
    let without = browse(&portal, Some(&annas), "POST", "/shares/1/revoke", "form-token=x").await;
    assert_eq!(without.status.as_u16(), 403);
    assert_eq!(press(&portal, &annas, "/shares/1/revoke", "").await.status.as_u16(), 303);
    assert!(portal.state.control.share(doorward_core::ShareId(1)).is_none());
    let after = browse(&portal, Some(&annas), "GET", "/shares", "").await;
    assert!(after.text.contains("taken back"), "{}", after.text);
}

#[tokio::test]
async fn the_api_tells_a_link_once_and_then_who_looks() {
    let portal = Portal::open().await;
    annas(&portal).await;
    let body = r#"{"service": "pi/cam", "for": "2h", "uses": 2, "read-only": true, "pin": true, "title": "a friend"}"#;
    let made = portal.ask("POST", "/api/v1/shares", body).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text);
    let made = made.json();
    assert!(made["url"].as_str().unwrap().starts_with("https://portal.example.org/share/"));
    assert_eq!((made["pin"].as_str().unwrap().len(), &made["until"]), (6, &"2026-11-23T14:00:00Z".into()));
    let list = portal.ask("GET", "/api/v1/shares", "").await.json();
    let share = &list[0];
    assert_eq!((&share["service"], &share["standing"], &share["used"]), (&"pi/cam".into(), &"open".into(), &0.into()));
    assert_eq!((&share["uses"], &share["read-only"], &share["pin"]), (&2.into(), &true.into(), &true.into()));
    assert_eq!((&share["title"], &share["viewers"]), (&"a friend".into(), &serde_json::json!([])));
    assert!(!list.to_string().contains("/share/"));
    let stale = portal.ask_seeing("DELETE", "/api/v1/shares/1", "", Some(7)).await;
    assert!(stale.problem(412).contains("changed meanwhile"));
    assert_eq!(portal.ask("DELETE", "/api/v1/shares/1", "").await.status.as_u16(), 204);
    assert_eq!(portal.ask("GET", "/api/v1/shares", "").await.json()[0]["standing"], "revoked");
    assert_eq!(portal.ask("DELETE", "/api/v1/shares/9", "").await.problem(404), "there is no share link 9");
    let raw = r#"{"name": "raw", "kind": "tcp", "entrances": [{"tcp-port": 20001}]}"#;
    let device = portal.join(2, "zumi01").await;
    portal.offer(&device, &[raw, r#"{"name": "open", "kind": "http", "access": {"who": "public"}}"#]).await;
    for (service, why) in [("zumi01/raw", "only web services"), ("zumi01/open", "it is public")] {
        let refused = portal.ask("POST", "/api/v1/shares", &format!(r#"{{"service": "{service}"}}"#)).await;
        assert!(refused.problem(409).contains(why), "{service}");
    }
    for bad in [r#"{"service": "pi"}"#, r#"{"service": "pi/cam", "uses": 0}"#, r#"{"service": "pi/cam", "for": "0s"}"#]
    {
        portal.ask("POST", "/api/v1/shares", bad).await.problem(400);
    }
}

#[test]
fn what_a_link_page_may_say_is_known_in_all_languages() {
    for language in [Language::German, Language::Spanish] {
        assert_ne!(language.say(WRONG_PIN), WRONG_PIN);
    }
}
