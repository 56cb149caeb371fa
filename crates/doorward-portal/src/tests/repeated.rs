use super::support::*;
use axum::body::Body;
use http::Request;

fn request(path: &str, key: &str, body: &str) -> Request<Body> {
    let request = Request::builder().method("POST").uri(format!("/api/v1{path}")).header("idempotency-key", key);
    request.body(Body::from(body.to_owned())).unwrap()
}

async fn ask(portal: &Portal, path: &str, key: &str, body: &str) -> Answer {
    send(crate::owner(portal.state.clone()), request(path, key, body)).await
}

#[tokio::test]
async fn a_repeated_request_is_done_once_and_answered_alike() {
    let portal = Portal::open().await;
    let first = ask(&portal, "/invites", "k1", r#"{"uses": 2}"#).await;
    let again = ask(&portal, "/invites", "k1", r#"{"uses": 2}"#).await;
    assert_eq!((first.status.as_u16(), &first.text), (201, &again.text));
    assert_eq!((again.status, again.header("content-type")), (first.status, "application/json"));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(portal.ask("GET", "/api/v1/invites", "").await.json().as_array().unwrap().len(), 1);
    assert_ne!(ask(&portal, "/invites", "k2", r#"{"uses": 2}"#).await.text, first.text);
    let added = ask(&portal, "/people", "k3", r#"{"name": "anna"}"#).await;
    assert_eq!(ask(&portal, "/people", "k3", r#"{"name": "anna"}"#).await.header("etag"), added.header("etag"));
}

#[tokio::test]
async fn a_key_that_was_used_for_something_else_is_refused() {
    let portal = Portal::open().await;
    ask(&portal, "/people", "k", r#"{"name": "anna"}"#).await;
    ask(&portal, "/people", "k", r#"{"name": "ben"}"#).await.problem(422);
    ask(&portal, "/groups", "k", r#"{"name": "anna"}"#).await.problem(422);
    for key in ["", " ", "a b", &"k".repeat(101)] {
        ask(&portal, "/people", key, "{}").await.problem(400);
    }
}

#[tokio::test]
async fn what_was_refused_may_be_tried_again_with_its_key() {
    let portal = Portal::open().await;
    ask(&portal, "/groups", "k", r#"{"name": "g", "people": ["anna"]}"#).await.problem(404);
    portal.ask("POST", "/api/v1/people", r#"{"name": "anna"}"#).await;
    let tried = ask(&portal, "/groups", "k", r#"{"name": "g", "people": ["anna"]}"#).await;
    assert_eq!(tried.status.as_u16(), 201, "{}", tried.text);
}

#[tokio::test]
async fn two_requests_at_once_with_one_key_are_done_once() {
    let portal = Portal::open().await;
    let body = r#"{"name": "anna"}"#;
    let (a, b) = tokio::join!(ask(&portal, "/people", "k", body), ask(&portal, "/people", "k", body));
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert!(statuses == [201, 201] && a.text == b.text || statuses == [201, 409], "{statuses:?}");
    assert_eq!(portal.ask("GET", "/api/v1/people", "").await.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn only_a_list_of_people_may_be_long_and_a_key_changes_nothing_of_that() {
    let portal = Portal::open().await;
    let long = |key: &str| format!(r#"{{"{key}": "{}"}}"#, "a".repeat(80 * 1024));
    for (path, body, status) in [("/people", long("name"), 413), ("/people/import", long("csv"), 400)] {
        portal.ask("POST", &format!("/api/v1{path}"), &body).await.problem(status);
        ask(&portal, path, "k", &body).await.problem(status);
    }
    let longest = format!(r#"{{"csv": "{}"}}"#, "a".repeat(1024 * 1024));
    portal.ask("POST", "/api/v1/people/import", &longest).await.problem(413);
    ask(&portal, "/people/import", "k", &longest).await.problem(413);
}
