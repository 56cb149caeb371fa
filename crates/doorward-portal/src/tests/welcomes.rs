//! Links for people, from the owner's API to the browser of whoever opens one.

use super::signing_in::{Browser, PASSWORD};
use super::site::ask;
use super::support::*;
use serde_json::Value;

async fn made(portal: &Portal, path: &str, body: &str) -> Value {
    let answer = portal.ask("POST", path, body).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.text);
    answer.json()
}

fn secret(link: &Value) -> String {
    let url = link["url"].as_str().unwrap();
    let (page, secret) = url.split_once('#').unwrap();
    assert_eq!((page, secret.len()), ("https://portal.example.org/welcome", 32));
    secret.to_owned()
}

async fn shown<'p>(portal: &'p Portal, link: &Value) -> Browser<'p> {
    let mut browser = Browser::open(portal, "/welcome").await;
    assert_eq!(browser.send("/welcome", &[("code", &secret(link))]).await, 200, "{}", browser.page.text);
    browser
}

fn answer<'a>(code: &'a str, name: &'a str) -> [(&'a str, &'a str); 5] {
    [("code", code), ("name", name), ("title", ""), ("password", PASSWORD), ("again", PASSWORD)]
}

#[tokio::test]
async fn the_first_owner_chooses_name_and_password_once_and_no_path_leads_back() {
    let portal = Portal::open().await;
    let sign_in = Browser::open(&portal, "/sign-in").await;
    assert!(sign_in.page.text.contains("Nobody can sign in here yet"));
    let link = made(&portal, "/api/v1/owner-link", "{}").await;
    let code = secret(&link);
    let mut browser = shown(&portal, &link).await;
    assert!(browser.page.text.contains("You are the first owner"));
    for (name, password, again, told) in [
        ("anna b", PASSWORD, PASSWORD, "not a usable name"),
        ("anna", PASSWORD, "another one", "The two passwords differ"),
        ("anna", "password12", "password12", "among the first that anybody tries"),
    ] {
        let fields = [("code", code.as_str()), ("name", name), ("password", password), ("again", again)];
        assert_eq!(browser.send("/welcome/accept", &fields).await, 422);
        assert!(browser.error().contains(told), "{}", browser.error());
        assert_eq!(browser.field("name"), name, "what was typed stays");
    }
    assert_eq!(browser.send("/welcome/accept", &answer(&code, "anna")).await, 200);
    assert!(browser.is_signed_in());
    assert_eq!(browser.get("/account").await, 200);
    assert!(browser.page.text.contains("<dd>anna</dd>") && browser.page.text.contains("<dd>owner</dd>"));

    let mut tried = 0;
    for path in [
        "/welcome",
        "/welcome/",
        "//welcome",
        "/welcome%2f",
        "/welcome;x",
        "/WELCOME",
        "/./welcome",
        "/welcome/accept",
        "/welcome/accept/",
        "//welcome/accept",
        "/welcome%2faccept",
        "/welcome/accept;x",
        "/Welcome/Accept",
        "/a/../welcome/accept",
        "/welcome/./accept",
        "/setup",
        "/api/v1/owner-link",
        "/api/v1/invitations",
    ] {
        let mut again = Browser::open(&portal, "/welcome").await;
        let status = again.send(path, &answer(&code, "eve")).await;
        assert!(matches!(status, 400 | 401 | 403 | 404 | 405 | 410), "{path}: {status}");
        assert!(!again.is_signed_in(), "{path}");
        tried += 1;
    }
    assert_eq!(tried, 18);
    assert_eq!(portal.state.control.snapshot().people().count(), 1);
    let after = Browser::open(&portal, "/sign-in").await;
    assert!(!after.page.text.contains("Nobody can sign in here yet"));
}

#[tokio::test]
async fn previews_and_scanners_use_no_link_up() {
    let portal = Portal::open().await;
    let link = made(&portal, "/api/v1/invitations", r#"{"title": "Robotics <9b>"}"#).await;
    let code = secret(&link);
    for method in ["GET", "HEAD"] {
        for path in
            ["/welcome", "/welcome/accept", &format!("/welcome?code={code}"), &format!("/welcome/accept?code={code}")]
        {
            for headers in [&[][..], &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]] {
                let answer = ask(&portal, method, path, headers, "").await;
                assert!(matches!(answer.status.as_u16(), 200 | 405), "{method} {path}: {}", answer.status);
            }
        }
    }
    // One that runs scripts sends the first form, too.
    for _ in 0..3 {
        let browser = shown(&portal, &link).await;
        assert!(browser.page.text.contains("Robotics &#60;9b&#62;"), "{}", browser.page.text);
    }
    let listed = portal.ask("GET", "/api/v1/invitations", "").await.json();
    assert_eq!((&listed[0]["uses-left"], &listed[0]["is-usable"]), (&1.into(), &true.into()));
    assert!(!listed.to_string().contains(&code), "listed without what opens it");

    let mut browser = shown(&portal, &link).await;
    assert_eq!(browser.send("/welcome/accept", &answer(&code, "anna")).await, 200);
    assert!(browser.is_signed_in());
    let mut late = Browser::open(&portal, "/welcome").await;
    assert_eq!(late.send("/welcome", &[("code", &code)]).await, 410);
    assert_eq!(late.error(), "This link was used already.");
}

#[tokio::test]
async fn invitations_are_made_listed_and_taken_back_and_bring_people_into_groups() {
    let portal = Portal::open().await;
    portal.ask("POST", "/api/v1/invitations", r#"{"groups": ["robotics"]}"#).await.problem(404);
    portal.ask("POST", "/api/v1/invitations", r#"{"uses": 0}"#).await.problem(400);
    portal.ask("POST", "/api/v1/invitations", r#"{"role": "owner", "uses": 3}"#).await.problem(400);
    made(&portal, "/api/v1/groups", r#"{"name": "robotics"}"#).await;
    let wish = r#"{"uses": 30, "groups": ["robotics"], "role": "guest", "ends-at": "2027-02-01T00:00:00Z", "expires-in": "336h"}"#;
    let link = made(&portal, "/api/v1/invitations", wish).await;
    let code = secret(&link);
    let mut browser = shown(&portal, &link).await;
    assert_eq!(browser.send("/welcome/accept", &answer(&code, "anna")).await, 200);
    let people = portal.ask("GET", "/api/v1/people", "").await.json();
    assert_eq!(
        (&people[0]["name"], &people[0]["role"], &people[0]["groups"][0]),
        (&"anna".into(), &"guest".into(), &"robotics".into())
    );
    assert_eq!(people[0]["ends-at"], "2027-02-01T00:00:00Z");
    let mut taken = shown(&portal, &link).await;
    assert_eq!(taken.send("/welcome/accept", &answer(&code, "anna")).await, 422);
    assert_eq!(taken.error(), "Somebody has this name already. Choose another.");

    let place = format!("/api/v1/invitations/{}", link["id"]);
    portal.ask_seeing("DELETE", &place, "", Some(1)).await.problem(412);
    assert_eq!(portal.ask_seeing("DELETE", &place, "", Some(2)).await.status.as_u16(), 204);
    assert!(portal.ask("DELETE", "/api/v1/invitations/99", "").await.problem(404).contains("no invitation 99"));
    assert_eq!(taken.send("/welcome/accept", &answer(&code, "ben")).await, 410);
    assert_eq!(taken.error(), "This link was taken back.");
}

#[tokio::test]
async fn a_list_is_imported_as_a_whole_and_each_gets_a_link() {
    let portal = Portal::open().await;
    let import = async |csv: &str| {
        let body = serde_json::json!({ "csv": csv, "role": "guest", "ends-at": "2027-02-01T00:00:00Z" });
        portal.ask("POST", "/api/v1/people/import", &body.to_string()).await
    };
    let why = import("name,groups\nanna,\nanna,\nben,chess\n").await.problem(400);
    assert_eq!(why, "nobody was added: 1 line of the list cannot be taken\nline 3: \"anna\" is in the list already");
    let why = import("name,groups\nanna,\nben,chess\n").await.problem(400);
    assert!(why.ends_with("line 3: there is no group \"chess\""), "{why}");
    assert_eq!(portal.ask("GET", "/api/v1/people", "").await.json().as_array().unwrap().len(), 1);
    let made = import("title\nAnna Böhm\nBen\n").await;
    assert_eq!(made.status.as_u16(), 201);
    let made = made.json();
    assert_eq!(
        (&made[0]["name"], &made[1]["name"], &made[1]["line"]),
        (&"anna-boehm".into(), &"ben".into(), &3.into())
    );
    let mut browser = shown(&portal, &made[0]).await;
    assert!(browser.page.text.contains("value=\"anna-boehm\"") && browser.page.text.contains("Choose a new password"));
    let code = secret(&made[0]);
    assert_eq!(
        browser.send("/welcome/accept", &[("code", &code), ("password", PASSWORD), ("again", PASSWORD)]).await,
        200
    );
    assert_eq!(browser.get("/account").await, 200);
    assert!(browser.page.text.contains("anna-boehm"));
}

#[tokio::test]
async fn a_link_for_a_new_password_ends_what_the_old_one_began() {
    let portal = Portal::open().await;
    super::signing_in::with_password(&portal, "anna").await;
    let mut before = Browser::open(&portal, "/sign-in").await;
    before.send("/sign-in", &[("name", "anna"), ("password", PASSWORD)]).await;
    assert_eq!(before.get("/account").await, 200);
    portal.ask("POST", "/api/v1/people/carl/link", "{}").await.problem(404);
    let link = made(&portal, "/api/v1/people/anna/link", r#"{"expires-in": "12h"}"#).await;
    assert_eq!(link["expires-at"], "2026-11-24T00:00:00Z");
    let mut browser = shown(&portal, &link).await;
    let code = secret(&link);
    let fields = [("code", code.as_str()), ("password", "four lazy goats"), ("again", "four lazy goats")];
    assert_eq!(browser.send("/welcome/accept", &fields).await, 200);
    assert_eq!((browser.get("/account").await, before.get("/account").await), (200, 303));
}
