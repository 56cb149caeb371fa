use super::support::*;
use serde_json::{Value, json};

const ROBOT: &str = r#"{"name": "robot", "kind": "tcp", "virtual-port": 22, "access": {"who": "people",
    "groups": ["class", "teachers"], "how": "on-request", "exclusive": true, "take-over": ["teachers"]}}"#;
const LASER: &str = r#"{"name": "laser", "kind": "tcp", "virtual-port": 23, "access": {"who": "people",
    "groups": ["class", "teachers"], "how": "on-request", "approval": {"by": "teachers"}}}"#;

async fn school() -> Portal {
    let portal = Portal::open().await;
    let device = portal.join(1, "zumi01").await;
    for name in ["anna", "ben", "tina"] {
        let added = portal.ask("POST", "/api/v1/people", &json!({ "name": name }).to_string()).await;
        assert_eq!(added.status.as_u16(), 201, "{}", added.text);
    }
    for (group, people) in [("class", json!(["anna", "ben"])), ("teachers", json!(["tina"]))] {
        let made = portal.ask("POST", "/api/v1/groups", &json!({ "name": group, "people": people }).to_string()).await;
        assert_eq!(made.status.as_u16(), 201, "{}", made.text);
    }
    portal.offer(&device, &[ROBOT, LASER]).await;
    portal
}

async fn open(portal: &Portal, service: &str, who: &str, more: Value) -> Answer {
    let mut wish = json!({ "person": who, "service": format!("zumi01/{service}"), "for": "30m" });
    wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    portal.ask("POST", "/api/v1/sessions", &wish.to_string()).await
}

#[tokio::test]
async fn a_line_is_joined_shown_left_and_passed_by_those_who_take_over() {
    let portal = school().await;
    assert_eq!(open(&portal, "robot", "anna", json!({})).await.status.as_u16(), 201);
    let waits = open(&portal, "robot", "ben", json!({})).await;
    assert_eq!(waits.status.as_u16(), 202, "{}", waits.text);
    assert_eq!(waits.json()["in-line"]["place"], 1);
    let line = portal.ask("GET", "/api/v1/services/zumi01/robot/line", "").await.json();
    assert_eq!((&line["holder"]["person"], &line["waiting"][0]["person"]), (&json!("anna"), &json!("ben")));
    assert!(open(&portal, "robot", "ben", json!({ "take-over": true })).await.problem(409).contains("not yours"));
    assert_eq!(open(&portal, "robot", "tina", json!({ "take-over": true })).await.status.as_u16(), 201);
    let all = portal.ask("GET", "/api/v1/sessions?all=true", "").await.json();
    let endings: Vec<_> = all.as_array().unwrap().iter().map(|session| session["ending"].clone()).collect();
    assert_eq!(endings, [Value::Null, json!("taken-over")]);
    let left = portal.ask("DELETE", "/api/v1/services/zumi01/robot/line/ben", "").await;
    assert_eq!(left.status.as_u16(), 204);
    let line = portal.ask("GET", "/api/v1/services/zumi01/robot/line", "").await.json();
    assert_eq!(line["waiting"], json!([]));
}

#[tokio::test]
async fn a_request_is_answered_by_post_alone_and_by_those_who_may() {
    let portal = school().await;
    let asked = open(&portal, "laser", "anna", json!({})).await;
    assert_eq!(asked.status.as_u16(), 202, "{}", asked.text);
    assert_eq!((&asked.json()["asked"]["by"], &asked.json()["asked"]["for"]), (&json!("teachers"), &json!("30m")));
    let link = portal.ask("POST", "/api/v1/approvals/1/link", r#"{"as": "tina"}"#).await;
    let token = link.json()["token"].as_str().unwrap().to_owned();
    for path in ["1/approve", "1/refuse", "1/link", "by-link"] {
        portal.ask("GET", &format!("/api/v1/approvals/{path}"), "").await.problem(405);
    }
    let listed = portal.ask("GET", "/api/v1/approvals", "").await.json();
    assert_eq!((&listed[0]["id"], &listed[0]["person"]), (&json!(1), &json!("anna")), "looking changed nothing");
    assert_eq!(portal.ask("GET", "/api/v1/sessions", "").await.json(), json!([]));
    for name in ["ben", "anna"] {
        portal.ask("POST", "/api/v1/approvals/1/approve", &json!({ "as": name }).to_string()).await.problem(409);
    }
    let yes = json!({ "token": token, "approve": true }).to_string();
    let answered = portal.ask("POST", "/api/v1/approvals/by-link", &yes).await.json();
    assert_eq!((&answered["approved"], &answered["opening"]["open"]["session"]), (&json!(true), &json!(1)));
    portal.ask("POST", "/api/v1/approvals/by-link", &yes).await.problem(404);
    assert_eq!(open(&portal, "laser", "ben", json!({})).await.status.as_u16(), 202);
    let no = portal.ask("POST", "/api/v1/approvals/2/refuse", r#"{"as": "tina"}"#).await.json();
    assert_eq!(no, json!({ "approved": false }));
    assert_eq!(portal.ask("GET", "/api/v1/approvals", "").await.json(), json!([]));
}

#[tokio::test]
async fn a_policy_s_rules_are_set_and_shown_in_one_syntax() {
    let portal = school().await;
    let place = "/api/v1/services/zumi01/robot/access";
    let rules = json!({ "who": "people", "groups": ["class"], "how": "on-request", "exclusive": true, "claim": "1m",
        "limits": { "connections": 4, "rate": "2 MB", "per-day": "1 GB", "zone": "Europe/Berlin" } });
    let set = portal.ask("PUT", place, &rules.to_string()).await.json();
    for key in ["exclusive", "claim", "limits"] {
        assert_eq!(set["access"][key], rules[key], "{key}");
    }
    let wrong = |limits: Value| json!({ "who": "public", "limits": limits }).to_string();
    for (limits, why) in [
        (json!({ "connexions": 4 }), "connexions"),
        (json!({ "read-only": true }), "access.limits.read-only: a tcp service"),
        (json!({ "per-day": "1 GB" }), "access.limits.zone"),
    ] {
        let refused = portal.ask("PUT", place, &wrong(limits)).await;
        assert!(refused.problem(400).contains(why), "{}", refused.text);
    }
}
