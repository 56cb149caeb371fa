//! Programs at the public door.

use super::samples::{Scene, token};
use super::support::*;
use axum::body::Body;
use doorward_control::NewLogin;
use doorward_core::authority::Scope;
use doorward_core::person::Role;
use http::Request;

pub(super) async fn ask(portal: &Portal, token: &NewLogin, method: &str, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer dw_{}", token.token.expose());
    ask_with(portal, &[("authorization", &bearer)], method, path, body).await
}

async fn ask_with(portal: &Portal, headers: &[(&str, &str)], method: &str, path: &str, body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "portal.example.org");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(crate::site(portal.state.clone()), request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_token_is_told_once_and_counts_until_it_is_revoked() {
    let scene = Scene::open(Role::Member).await;
    let portal = &scene.portal;
    let body = r#"{"title": "backup", "scope": "manage", "person": "who", "services": ["their-pi/web"], "for": "2h"}"#;
    let made = portal.ask("POST", "/api/v1/tokens", body).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text);
    assert_eq!(made.json()["until"], "2026-11-23T14:00:00Z");
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("dw_") && token.len() == 46, "{token}");
    let listed = portal.ask("GET", "/api/v1/tokens", "").await;
    assert!(!listed.text.contains(&token[3..]), "it is told once");
    let entry = listed.json()[0].clone();
    assert_eq!(
        (&entry["person"], &entry["title"], &entry["scope"]),
        (&"who".into(), &"backup".into(), &"manage".into())
    );
    assert_eq!(entry["services"], serde_json::json!(["their-pi/web"]));

    let bearer = format!("bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let services = ask_with(portal, &headers, "GET", "/api/v1/services", "").await.json();
    assert_eq!((services.as_array().unwrap().len(), &services[0]["device"]), (1, &"their-pi".into()));
    ask_with(portal, &headers, "GET", "/api/v1/services/own-pi/web", "").await.problem(404);
    let opened = ask_with(portal, &headers, "POST", "/api/v1/sessions", r#"{"service": "their-pi/web"}"#).await;
    assert_eq!((opened.status.as_u16(), &opened.json()["person"]), (201, &"who".into()), "{}", opened.text);
    ask_with(portal, &headers, "GET", "/api/v1/devices", "").await.problem(403);
    ask_with(portal, &headers, "POST", "/api/v1/tokens", r#"{"title": "more", "scope": "read"}"#).await.problem(403);

    let path = format!("/api/v1/tokens/{}", made.json()["id"]);
    assert_eq!(portal.ask("DELETE", &path, "").await.status.as_u16(), 204);
    assert_eq!(ask_with(portal, &headers, "GET", "/api/v1/services", "").await.problem(401), "nobody is signed in");
    portal.ask("DELETE", &path, "").await.problem(404);
}

#[tokio::test]
async fn a_token_opens_nothing_as_a_cookie_and_a_browsers_nothing_as_a_token() {
    let scene = Scene::open(Role::Member).await;
    let program = token(&scene.portal, &scene.who, Scope::Manage, None).await;
    let browser = scene.portal.state.control.begin_login(scene.who.id, "Firefox", None, noon()).await.unwrap();
    assert_eq!(ask(&scene.portal, &program, "GET", "/api/v1/services", "").await.status.as_u16(), 200);
    ask(&scene.portal, &browser, "GET", "/api/v1/services", "").await.problem(401);
    for (login, status) in [(&browser, 200), (&program, 401)] {
        let cookie = format!("__Host-doorward={}", login.token.expose());
        let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
        let answer = ask_with(&scene.portal, &headers, "GET", "/api/v1/services", "").await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    }
}

#[tokio::test]
async fn what_is_no_token_is_nobodys_even_beside_a_good_cookie() {
    let scene = Scene::open(Role::Member).await;
    let good = token(&scene.portal, &scene.who, Scope::Read, None).await;
    let browser = scene.portal.state.control.begin_login(scene.who.id, "Firefox", None, noon()).await.unwrap();
    let cookie = format!("__Host-doorward={}", browser.token.expose());
    let bearer = format!("Bearer dw_{}", good.token.expose());
    let bare = format!("Bearer {}", good.token.expose());
    for wrong in ["Bearer dw_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "Basic YTpi", "Bearer", "", &bare] {
        let headers = [("authorization", wrong), ("cookie", &cookie), ("sec-fetch-site", "same-origin")];
        ask_with(&scene.portal, &headers, "GET", "/api/v1/services", "").await.problem(401);
    }
    let twice = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    ask_with(&scene.portal, &twice, "GET", "/api/v1/services", "").await.problem(401);
}

#[tokio::test]
async fn a_token_in_an_address_is_refused() {
    let scene = Scene::open(Role::Member).await;
    let good = token(&scene.portal, &scene.who, Scope::Read, None).await;
    let text = format!("dw_{}", good.token.expose());
    for path in [format!("/api/v1/services?access_token={text}"), format!("/api/v1/services/{text}/web")] {
        let refused = ask(&scene.portal, &good, "GET", &path, "").await;
        assert!(refused.problem(400).contains("does not belong into an address"), "{path}");
    }
    assert_eq!(ask(&scene.portal, &good, "GET", "/api/v1/services?limit=1", "").await.status.as_u16(), 200);
}

#[tokio::test]
async fn one_token_does_not_get_anothers_answer_by_its_idempotency_key() {
    let scene = Scene::open(Role::Member).await;
    let [wide, narrow] = [Scope::Manage, Scope::Read];
    let (wide, narrow) =
        (token(&scene.portal, &scene.who, wide, None).await, token(&scene.portal, &scene.who, narrow, None).await);
    for (login, status) in [(&wide, 201), (&narrow, 422), (&wide, 201)] {
        let bearer = format!("Bearer dw_{}", login.token.expose());
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
        let answer = ask_with(&scene.portal, &headers, "POST", "/api/v1/invites", "{}").await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    }
}
