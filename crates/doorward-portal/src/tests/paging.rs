use super::support::*;
use serde_json::Value;

/// Where the Link header leads, relative to the list.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.response.headers().get("link")?.to_str().unwrap();
    Some(link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned())
}

/// All pieces of a list, by following the Link headers.
async fn pieces(portal: &Portal, path: &str, first: &str) -> Vec<Vec<Value>> {
    let (mut pieces, mut query) = (Vec::new(), Some(first.to_owned()));
    while let Some(at) = query {
        let answer = portal.ask("GET", &format!("{path}{at}"), "").await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
        pieces.push(answer.json().as_array().unwrap().clone());
        query = next(&answer);
        assert!(pieces.len() < 100, "it never ends");
    }
    pieces
}

#[tokio::test]
async fn lists_come_whole_or_in_pieces_that_add_up() {
    let portal = Portal::open().await;
    for (n, name) in ["a", "a-b", "b", "c", "d"].into_iter().enumerate() {
        let device = portal.join(u8::try_from(n).unwrap(), name).await;
        let offers = [r#"{"name": "x", "kind": "tcp"}"#, r#"{"name": "y", "kind": "tcp"}"#];
        portal.offer(&device, &offers).await;
        portal.ask("POST", "/api/v1/people", &format!(r#"{{"name": "p{n}"}}"#)).await;
        portal.ask("POST", "/api/v1/groups", &format!(r#"{{"name": "g{n}"}}"#)).await;
        portal.ask("POST", "/api/v1/invites", "{}").await;
    }
    for (path, size) in
        [("devices", 5), ("services", 10), ("people", 6), ("groups", 5), ("invites", 10), ("audit", 100)]
    {
        let path = format!("/api/v1/{path}");
        let whole = portal.ask("GET", &path, "").await;
        let all = whole.json().as_array().unwrap().clone();
        assert!(all.len() == size || path.ends_with("audit") && all.len() > 20, "{path}: {}", all.len());
        assert_eq!(next(&whole), None, "{path}");
        let pieces = pieces(&portal, &path, "?limit=2").await;
        assert!(pieces.iter().all(|piece| piece.len() <= 2) && pieces.len() >= size.min(20).div_ceil(2), "{path}");
        assert_eq!(pieces.concat(), all, "{path}");
    }
}

#[tokio::test]
async fn sessions_come_in_pieces_with_those_that_are_over() {
    let portal = Portal::open().await;
    let device = portal.join(1, "pi").await;
    let access = r#""access": {"who": "people", "people": ["owner"], "how": "on-request"}"#;
    for name in ["a", "b", "c"] {
        let device = portal.state.control.snapshot().device(device.id).unwrap();
        let offers = ["a", "b", "c"].map(|n| format!(r#"{{"name": "{n}", "kind": "tcp", {access}}}"#));
        portal.offer(&device, &offers.each_ref().map(String::as_str)).await;
        let opened = portal.ask("POST", "/api/v1/sessions", &format!(r#"{{"service": "pi/{name}"}}"#)).await;
        assert_eq!(opened.status.as_u16(), 201, "{}", opened.text);
    }
    assert_eq!(portal.ask("DELETE", "/api/v1/sessions/2", "").await.status.as_u16(), 204);
    let ids = |pieces: Vec<Vec<Value>>| -> Vec<i64> {
        pieces.concat().iter().map(|session| session["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(pieces(&portal, "/api/v1/sessions", "?limit=1").await), [3, 1]);
    assert_eq!(ids(pieces(&portal, "/api/v1/sessions", "?limit=1&all=true").await), [3, 2, 1]);
}

#[tokio::test]
async fn what_cannot_be_a_piece_is_refused() {
    let portal = Portal::open().await;
    for query in ["limit=0", "limit=10001", "limit=-1", "limit=x", "lines=3"] {
        portal.ask("GET", &format!("/api/v1/devices?{query}"), "").await.problem(400);
    }
    portal.ask("GET", "/api/v1/invites?after=x", "").await.problem(400);
    portal.ask("GET", "/api/v1/services?after=x", "").await.problem(400);
    portal.ask("GET", "/api/v1/audit?after=x", "").await.problem(400);
}

#[tokio::test]
async fn a_piece_of_the_audit_leads_on_to_what_was_asked_for() {
    let portal = Portal::open().await;
    for (n, name) in ["garage", "kitchen"].into_iter().enumerate() {
        let device = portal.join(u8::try_from(n).unwrap() + 1, name).await;
        portal.offer(&device, &[r#"{"name": "x", "kind": "tcp"}"#, r#"{"name": "y", "kind": "tcp"}"#]).await;
    }
    let chosen = "since=2026-11-23T11:00:00Z&until=2026-11-23T12:00:01Z&device=kitchen";
    let whole = portal.ask("GET", &format!("/api/v1/audit?{chosen}"), "").await.json();
    let whole = whole.as_array().unwrap();
    assert!(whole.len() >= 3 && whole.iter().all(|line| line["subject"].as_str().unwrap().starts_with("kitchen")));
    assert!(whole.iter().all(|line| line["hash"].as_str().unwrap().len() == 64), "each with its place in the chain");
    let pieces = pieces(&portal, "/api/v1/audit", &format!("?limit=1&{chosen}")).await;
    assert_eq!(pieces.concat(), *whole);
}
