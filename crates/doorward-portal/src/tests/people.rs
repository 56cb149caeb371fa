use super::support::*;

const ROBOT: &str = r#"{"name": "robot", "kind": "tcp", "virtual-port": 22, "access":
    {"who": "people", "groups": ["robotics"], "how": "on-request", "max-duration": "1h", "max-idle": "10m"}}"#;

async fn add(portal: &Portal, name: &str) {
    let added = portal.ask("POST", "/api/v1/people", &format!(r#"{{"name": "{name}"}}"#)).await;
    assert_eq!(added.status.as_u16(), 201, "{}", added.text);
}

#[tokio::test]
async fn people_are_listed_edited_by_version_and_removed() {
    let portal = Portal::open().await;
    let guest = r#"{"name": "anna", "title": "Anna B.", "role": "guest", "ends-at": "2027-02-01T00:00:00Z"}"#;
    let added = portal.ask("POST", "/api/v1/people", guest).await;
    assert_eq!((added.status.as_u16(), added.header("etag")), (201, "\"1\""));
    assert!(portal.ask("POST", "/api/v1/people", guest).await.problem(409).contains("already"));
    let listed = portal.ask("GET", "/api/v1/people", "").await.json();
    assert_eq!((&listed[0]["name"], &listed[1]["name"]), (&"anna".into(), &"owner".into()));
    assert_eq!((&listed[0]["role"], &listed[0]["standing"]), (&"guest".into(), &"good".into()));

    let edit = r#"{"ends-at": null, "role": "member"}"#;
    let edited = portal.ask_seeing("PATCH", "/api/v1/people/anna", edit, Some(1)).await;
    assert_eq!((&edited.json()["ends-at"], edited.header("etag")), (&serde_json::Value::Null, "\"2\""));
    let stale = portal.ask_seeing("PATCH", "/api/v1/people/anna", r#"{"disabled": true}"#, Some(1)).await;
    assert!(stale.problem(412).contains("version is 2"));
    let disabled = portal.ask("PATCH", "/api/v1/people/anna", r#"{"disabled": true}"#).await.json();
    assert_eq!((&disabled["standing"], &disabled["title"]), (&"disabled".into(), &"Anna B.".into()));
    portal.ask("PATCH", "/api/v1/people/owner", r#"{"role": "member"}"#).await.problem(400);
    portal.ask("PATCH", "/api/v1/people/owner", r#"{"rolle": "member"}"#).await.problem(400);
    portal.ask_seeing("DELETE", "/api/v1/people/anna", "", Some(1)).await.problem(412);
    assert_eq!(portal.ask("DELETE", "/api/v1/people/anna", "").await.status.as_u16(), 204);
    portal.ask("DELETE", "/api/v1/people/anna", "").await.problem(404);
}

#[tokio::test]
async fn groups_are_made_changed_by_version_and_removed() {
    let portal = Portal::open().await;
    add(&portal, "anna").await;
    add(&portal, "ben").await;
    portal.ask("POST", "/api/v1/groups", r#"{"name": "robotics", "people": ["carl"]}"#).await.problem(404);
    let made = portal.ask("POST", "/api/v1/groups", r#"{"name": "robotics", "people": ["ben"]}"#).await;
    assert_eq!((made.status.as_u16(), &made.json()["people"][0]), (201, &"ben".into()));
    let edit = r#"{"add": ["anna"], "remove": ["ben"]}"#;
    let edited = portal.ask_seeing("PATCH", "/api/v1/groups/robotics", edit, Some(1)).await.json();
    assert_eq!(edited["people"], serde_json::json!(["anna"]));
    portal.ask_seeing("PATCH", "/api/v1/groups/robotics", edit, Some(1)).await.problem(412);
    let listed = portal.ask("GET", "/api/v1/groups", "").await.json();
    assert_eq!((&listed[0]["name"], &listed[0]["people"]), (&"robotics".into(), &serde_json::json!(["anna"])));
    assert_eq!(portal.ask_seeing("DELETE", "/api/v1/groups/robotics", "", Some(2)).await.status.as_u16(), 204);
    assert_eq!(portal.ask("GET", "/api/v1/groups", "").await.json(), serde_json::json!([]));
}

#[tokio::test]
async fn sessions_are_opened_extended_and_ended_and_who_may_use_it_is_foretold() {
    let portal = Portal::open().await;
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[ROBOT]).await;
    add(&portal, "anna").await;
    add(&portal, "ben").await;
    portal.ask("POST", "/api/v1/groups", r#"{"name": "robotics", "people": ["anna"]}"#).await;
    let who = async || {
        let people = portal.ask("GET", "/api/v1/services/zumi01/robot/people", "").await.json();
        let row = |n: usize| format!("{}: {} {}", people[n]["person"], people[n]["until"], people[n]["why"]);
        [row(0), row(1)]
    };
    assert_eq!(
        who().await,
        [
            r#""anna": null "a session must be opened for it""#,
            r#""ben": null "it is for certain people, and this is none of them""#
        ]
    );
    let open = r#"{"person": "anna", "service": "zumi01/robot", "for": "30m", "request": "a1"}"#;
    let opened = portal.ask("POST", "/api/v1/sessions", open).await;
    assert_eq!((opened.status.as_u16(), &opened.json()["until"]), (201, &"2026-11-23T12:30:00Z".into()));
    assert_eq!(portal.ask("POST", "/api/v1/sessions", open).await.json()["id"], opened.json()["id"]);
    assert_eq!(who().await[0], r#""anna": "2026-11-23T12:30:00Z" null"#);
    let others = open.replace("anna", "ben");
    assert!(portal.ask("POST", "/api/v1/sessions", &others).await.problem(409).contains("none of them"));
    portal.ask("POST", "/api/v1/sessions", &open.replace("30m", "soon")).await.problem(400);
    portal.ask("POST", "/api/v1/sessions", &open.replace("/robot", "/cam")).await.problem(404);
    portal.ask("POST", "/api/v1/sessions", &open.replace("anna", "carl")).await.problem(404);

    let place = format!("/api/v1/sessions/{}", opened.json()["id"]);
    let extended = portal.ask_seeing("POST", &format!("{place}/extend"), r#"{"for": "2h"}"#, Some(1)).await;
    assert_eq!((&extended.json()["until"], extended.header("etag")), (&"2026-11-23T13:00:00Z".into(), "\"2\""));
    portal.ask_seeing("POST", &format!("{place}/extend"), r#"{"for": "2h"}"#, Some(1)).await.problem(412);
    portal.ask_seeing("DELETE", &place, "", Some(1)).await.problem(412);
    assert_eq!(portal.ask("GET", "/api/v1/people", "").await.json()[0]["open-sessions"], 1);
    assert_eq!(portal.ask_seeing("DELETE", &place, "", Some(2)).await.status.as_u16(), 204);
    assert_eq!(portal.ask("DELETE", &place, "").await.status.as_u16(), 204, "asking again is fine");
    portal.ask("DELETE", "/api/v1/sessions/99", "").await.problem(404);
    assert_eq!(portal.ask("GET", "/api/v1/sessions", "").await.json(), serde_json::json!([]));
    let all = portal.ask("GET", "/api/v1/sessions?all=true", "").await.json();
    assert_eq!(
        (&all[0]["person"], &all[0]["service"], &all[0]["ending"]),
        (&"anna".into(), &"zumi01/robot".into(), &"hand".into())
    );
}
