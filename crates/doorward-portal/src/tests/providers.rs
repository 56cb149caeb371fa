//! Identity providers on the pages, where there is none, or none that answers. What a real one says is in the lab.

use super::signing_in::{Browser, PASSWORD, with_password};
use super::site::ask;
use super::support::*;
use crate::pages::providers::SENTENCES;
use crate::words::Language;
use doorward_core::names::Label;
use doorward_core::person::provided::{Newcomers, ProviderRules};
use doorward_oidc::{Issuer, ProviderSettings, Trust};
use jiff::SignedDuration;

fn nobody_there() -> ProviderSettings {
    ProviderSettings {
        name: Label::parse("school").unwrap(),
        title: "The <School>".to_owned(),
        issuer: Issuer::parse("http://127.0.0.1:1").unwrap(),
        client_id: "doorward".to_owned(),
        client_secret: None,
        scopes: Vec::new(),
        groups_claim: "groups".to_owned(),
        trust: Trust::System,
        rules: ProviderRules {
            newcomers: Newcomers::Refused,
            groups: [].into(),
            roles: [].into(),
            counts_as: [].into(),
            login_for: SignedDuration::from_hours(24),
        },
    }
}

#[tokio::test]
async fn nothing_is_shown_of_providers_where_there_is_none() {
    let portal = Portal::open().await;
    with_password(&portal, "anna").await;
    let mut browser = Browser::open(&portal, "/sign-in").await;
    assert!(!browser.page.text.contains("/sign-in/with"), "{}", browser.page.text);
    assert_eq!(browser.send("/sign-in/with/school", &[("then", "/")]).await, 403);
    assert_eq!(browser.get("/sign-in/back?code=x&state=y").await, 403);
    assert_eq!(browser.error(), "That took too long, or was begun in another browser. Begin again.");
    browser.send("/sign-in", &[("name", "anna"), ("password", PASSWORD)]).await;
    browser.get("/account").await;
    assert!(!browser.page.text.contains("Sign in elsewhere"), "{}", browser.page.text);
    portal.state.providers.serve(vec![nobody_there()]);
    browser.get("/account").await;
    assert!(browser.page.text.contains("Link with The &#60;School&#62;"), "{}", browser.page.text);
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_told_plainly_and_signs_nobody_in_or_out() {
    let portal = Portal::open().await;
    with_password(&portal, "anna").await;
    portal.state.providers.serve(vec![nobody_there()]);
    let mut browser = Browser::open(&portal, "/sign-in?then=%2Flogins").await;
    assert!(browser.page.text.contains("action=\"/sign-in/with/school\""));
    assert_eq!(browser.send("/sign-in/with/school", &[("then", "/logins")]).await, 502);
    assert!(browser.error().starts_with("The provider does not answer"), "{}", browser.error());
    assert_eq!(browser.field("then"), "/logins", "where they were going is kept");
    browser.send("/sign-in", &[("name", "anna"), ("password", PASSWORD)]).await;
    browser.get("/account").await;
    assert_eq!(browser.send("/account/providers/school", &[("password", "wrong")]).await, 403);
    assert_eq!(browser.send("/account/providers/school", &[("password", PASSWORD)]).await, 502);
    assert!(browser.is_signed_in());
}

#[tokio::test]
async fn whoever_is_signed_in_gets_what_is_known_of_them_and_of_nobody_else() {
    let portal = Portal::open().await;
    with_password(&portal, "anna").await;
    with_password(&portal, "ben").await;
    let mut browser = Browser::open(&portal, "/sign-in").await;
    browser.send("/sign-in", &[("name", "anna"), ("password", PASSWORD)]).await;
    assert_eq!(browser.get("/account").await, 200);
    assert!(browser.page.text.contains("href=\"/api/v1/people/anna/data\""));
    assert_eq!(browser.get("/api/v1/people/anna/data").await, 200);
    assert_eq!(browser.page.json()["account"]["name"], "anna");
    for other in ["ben", "owner", "nobody"] {
        assert_eq!(browser.get(&format!("/api/v1/people/{other}/data")).await, 404, "{other}");
    }
    let stranger = ask(&portal, "GET", "/api/v1/people/anna/data", &[], "").await;
    assert_eq!(stranger.status.as_u16(), 401);
}

#[test]
fn every_sentence_about_providers_is_known_in_german_and_spanish() {
    for sentence in SENTENCES {
        for language in [Language::German, Language::Spanish] {
            assert_ne!(language.say(sentence), sentence, "{sentence}");
        }
    }
}
