//! The routes of the system that Doorward grew out of.

use super::samples::{Scene, token};
use super::support::*;
use super::tokens::ask;
use doorward_core::authority::Scope;
use doorward_core::person::Role;
use serde_json::json;

const MESSAGE: &str = r#"{"action": "add", "ip_src": "192.0.2.7", "port_dst": 8080, "ip_dst_lan": "192.168.1.50",
    "port_dst_lan": 80, "rule_timeout": 10, "api_key": "x"}"#;

#[tokio::test]
async fn the_seeds_routes_obey_the_same_policies() {
    let scene = Scene::open(Role::Member).await;
    let portal = &scene.portal;
    let login = token(portal, &scene.who, Scope::Sessions, None).await;
    let listed = ask(portal, &login, "GET", "/service/", "").await.json();
    let id = |path: &str| {
        let all = portal.state.control.snapshot();
        let found = all.services().find(|record| record.service.path() == path).unwrap().service.id;
        found.0
    };
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|line| line["name"].clone()).collect();
    assert_eq!(names, ["own-pi/web", "own-pi/lab", "their-pi/web", "their-pi/lab"]);
    let shown = ask(portal, &login, "GET", &format!("/service/{}", id("their-pi/web")), "").await;
    assert_eq!(shown.json(), listed[2]);
    ask(portal, &login, "GET", &format!("/service/{}", id("far-pi/web")), "").await.problem(404);

    let opened = ask(portal, &login, "POST", &format!("/conn/req/{}", id("their-pi/web")), MESSAGE).await;
    assert_eq!(opened.status.as_u16(), 200, "{}", opened.text);
    let session = opened.json()["session"].as_i64().unwrap();
    // It was open until half past already, and is never shortened.
    assert_eq!(opened.json()["end_timestamp"], "2026-11-23T12:30:00Z");
    ask(portal, &login, "POST", &format!("/conn/req/{}", id("far-pi/web")), MESSAGE).await.problem(404);
    for body in [r#"{"action": "flush"}"#, r#"{"rule_timeout": 0}"#, r#"{"rule_timeout": 999}"#, r#"{"more": 1}"#] {
        ask(portal, &login, "POST", &format!("/conn/req/{}", id("their-pi/web")), body).await.problem(400);
    }
    let removed = ask(portal, &login, "POST", &format!("/session/remove/{session}"), "").await;
    assert_eq!(removed.json(), json!({"session": session, "terminated": true}));
    assert_eq!(portal.ask("GET", "/api/v1/sessions", "").await.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_seeds_routes_end_nobody_elses_session_and_need_a_token() {
    let scene = Scene::open(Role::Guest).await;
    let login = token(&scene.portal, &scene.who, Scope::Sessions, None).await;
    let reader = token(&scene.portal, &scene.who, Scope::Read, None).await;
    let all = scene.portal.ask("GET", "/api/v1/sessions", "").await.json();
    let others = all.as_array().unwrap().iter().filter(|session| session["person"] != "who");
    let mut seen = 0;
    for session in others {
        let path = format!("/session/remove/{}", session["id"]);
        ask(&scene.portal, &login, "POST", &path, "").await.problem(404);
        ask(&scene.portal, &reader, "POST", &path, "").await.problem(403);
        seen += 1;
    }
    assert_eq!(seen, 2);
    let request = http::Request::builder().method("POST").uri("/conn/req/1").header("host", "portal.example.org");
    let request = request.body(axum::body::Body::from(MESSAGE)).unwrap();
    send(crate::site(scene.portal.state.clone()), request).await.problem(401);
}
