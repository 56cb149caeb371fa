//! What a signed-in person sees and presses.

use super::site::{add, browse, form_token, sign_in};
use super::support::*;
use doorward_core::access::Facts;
use jiff::SignedDuration;

const ROBOT: &str = r#"{"name": "robot", "title": "Robot <1>", "kind": "http",
    "access": {"who": "people", "people": ["anna", "ben"], "how": "on-request", "max-duration": "1h"}}"#;
const FREE: &str = r#"{"name": "free", "kind": "http", "access": {"who": "people", "people": ["anna"]}}"#;
const OTHER: &str = r#"{"name": "other", "kind": "http", "access": {"who": "people", "people": ["ben"]}}"#;
const CLOSED: &str = r#"{"name": "closed", "kind": "http",
    "access": {"who": "people", "people": ["anna"], "when": {"zone": "UTC", "open": ["mon 08:00-09:00"]}}}"#;

#[tokio::test]
async fn the_dashboard_shows_what_its_reader_may_use_and_nothing_else() {
    let portal = Portal::open().await;
    let anna = add(&portal, "anna").await;
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[ROBOT, FREE, OTHER, CLOSED]).await;
    let login = sign_in(&portal, &anna).await;
    let home = browse(&portal, Some(&login), "GET", "/", "").await;
    for part in [
        "Robot &#60;1&#62;",
        "value=\"5\"",
        "value=\"30\"",
        "value=\"60\"",
        "href=\"https://free-zumi01.example.org/\"",
        "Outside its hours.",
        "zumi01/closed",
    ] {
        assert!(home.text.contains(part), "{part} is missing in {}", home.text);
    }
    assert!(!home.text.contains("zumi01/other"));
    assert!(!home.text.contains("https://robot-zumi01"), "it must be opened first");
    assert!(!home.text.contains("style=") && !home.text.contains("onclick"), "nothing inline");
}

#[tokio::test]
async fn a_session_is_opened_extended_and_ended_by_presses_of_its_person_alone() {
    let portal = Portal::open().await;
    let (anna, ben) = (add(&portal, "anna").await, add(&portal, "ben").await);
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[ROBOT, OTHER]).await;
    let (annas, bens) = (sign_in(&portal, &anna).await, sign_in(&portal, &ben).await);
    let snapshot = || portal.state.control.snapshot();
    let id = |name: &str| {
        let mut all = snapshot().services().map(|record| record.service.clone()).collect::<Vec<_>>();
        all.retain(|service| service.name.as_str() == name);
        all[0].id
    };
    let token = form_token(&browse(&portal, Some(&annas), "GET", "/", "").await);
    let press = async |path: String, more: &str| {
        browse(&portal, Some(&annas), "POST", &path, &format!("form-token={token}&{more}")).await
    };
    let minutes = || {
        let session = snapshot().session_for(anna.id, id("robot")).cloned();
        session.map(|session| session.until.duration_since(noon()).as_mins())
    };
    let open = format!("/services/{}/open", id("robot"));
    assert_eq!(press(open.clone(), "minutes=5").await.status.as_u16(), 200);
    assert_eq!(minutes(), Some(5));
    press(open.clone(), "minutes=30").await;
    assert_eq!(minutes(), Some(30), "it was made longer");
    press(open.clone(), "minutes=120").await;
    assert_eq!(minutes(), Some(60), "as long as its policy allows");
    let home = browse(&portal, Some(&annas), "GET", "/", "").await;
    assert!(home.text.contains("data-left") && home.text.contains("https://robot-zumi01.example.org/"));
    let session = snapshot().session_for(anna.id, id("robot")).unwrap().id;
    let theirs = form_token(&browse(&portal, Some(&bens), "GET", "/", "").await);
    let end = format!("/sessions/{session}/end");
    browse(&portal, Some(&bens), "POST", &end, &format!("form-token={theirs}")).await;
    assert_eq!(minutes(), Some(60), "somebody else's press ends nothing");
    assert_eq!(press(end, "").await.status.as_u16(), 303);
    assert_eq!(minutes(), None);
    let until = noon() + SignedDuration::from_mins(20);
    press(open.clone(), &format!("until={until}&minutes=")).await;
    assert_eq!(minutes(), Some(20));
    for (path, more) in
        [(open.clone(), "minutes=x"), (open.clone(), "until=soon"), (open.clone(), ""), (open, "minutes=-1")]
    {
        assert_eq!(press(path, more).await.status.as_u16(), 400, "{more}");
    }
    let unknown = press("/services/999/open".into(), "minutes=5").await;
    let not_hers = press(format!("/services/{}/open", id("other")), "minutes=5").await;
    assert_eq!((unknown.status.as_u16(), unknown.text), (404, not_hers.text));
}

#[tokio::test]
async fn ones_own_logins_are_listed_and_ended_and_nobody_elses() {
    let portal = Portal::open().await;
    let (anna, ben) = (add(&portal, "anna").await, add(&portal, "ben").await);
    let (own, other, bens) =
        (sign_in(&portal, &anna).await, sign_in(&portal, &anna).await, sign_in(&portal, &ben).await);
    let third = sign_in(&portal, &anna).await;
    let page = browse(&portal, Some(&own), "GET", "/logins", "").await;
    for login in [&own, &other, &third] {
        assert!(page.text.contains(&format!("/logins/{}/end", login.id)));
    }
    assert!(!page.text.contains(&format!("/logins/{}/end", bens.id)));
    assert_eq!(page.text.matches("this browser").count(), 1);
    let form = format!("form-token={}", form_token(&page));
    let end = async |id| browse(&portal, Some(&own), "POST", &format!("/logins/{id}/end"), &form).await.status.as_u16();
    assert_eq!((end(bens.id).await, end(other.id).await, end(other.id).await), (303, 303, 303));
    let snapshot = portal.state.control.snapshot();
    assert!(snapshot.login(bens.id).is_some() && snapshot.login(other.id).is_none());
    browse(&portal, Some(&own), "POST", "/logins/others/end", &form).await;
    let snapshot = portal.state.control.snapshot();
    assert!(
        snapshot.login(own.id).is_some() && snapshot.login(third.id).is_none() && snapshot.login(bens.id).is_some()
    );
}
