//! The page on which people make tokens for their programs.

use super::site::{add, browse, form_token, sign_in};
use super::support::*;
use doorward_core::Secret;
use doorward_core::authority::Scope;

const PRINTER: &str = r#"{"name": "printer", "title": "Printer <1>", "kind": "http",
    "access": {"who": "people", "people": ["anna", "ben"], "how": "on-request", "max-duration": "1h"}}"#;
const VAULT: &str = r#"{"name": "vault", "kind": "http", "access": {"who": "people", "people": ["ben"]}}"#;
const SHELL: &str = r#"{"name": "shell", "kind": "tcp", "access": {"who": "people", "people": ["anna"]}}"#;

#[tokio::test]
async fn a_token_is_made_for_a_service_shown_once_and_revoked_by_its_person_alone() {
    let portal = Portal::open().await;
    let (anna, ben) = (add(&portal, "anna").await, add(&portal, "ben").await);
    let device = portal.join(1, "pi").await;
    portal.offer(&device, &[PRINTER, VAULT, SHELL]).await;
    let (annas, bens) = (sign_in(&portal, &anna).await, sign_in(&portal, &ben).await);
    let page = browse(&portal, Some(&annas), "GET", "/tokens", "").await;
    assert!(page.text.contains("Printer &#60;1&#62; (pi/printer)"), "{}", page.text);
    assert!(!page.text.contains("pi/vault") && !page.text.contains("pi/shell"), "{}", page.text);
    let form = form_token(&page);
    let press = async |path: &str, more: &str| {
        browse(&portal, Some(&annas), "POST", path, &format!("form-token={form}&{more}")).await
    };
    for (more, status) in [
        ("title=slicer&service=pi/vault&days=30", 422),
        ("title=slicer&service=pi/shell&days=30", 422),
        ("title=slicer&service=pi/nothing&days=30", 422),
        ("title=%20&service=pi/printer&days=30", 422),
        ("title=slicer&service=pi/printer&days=31", 400),
    ] {
        assert_eq!(press("/tokens", more).await.status.as_u16(), status, "{more}");
    }
    let forged =
        browse(&portal, Some(&annas), "POST", "/tokens", "form-token=x&title=a&service=pi/printer&days=7").await;
    assert_eq!(forged.status.as_u16(), 403);
    assert!(portal.state.control.tokens(None, noon()).is_empty(), "nothing was made of all that");

    let made = press("/tokens", "title=slicer&service=pi/printer&days=30").await;
    let (_, rest) = made.text.split_once("<code>dw_").unwrap_or_else(|| panic!("{}", made.text));
    let token = Secret::new(rest.split('<').next().unwrap().to_owned());
    assert!(made.text.contains("https://printer-pi.example.org/"), "{}", made.text);
    let kept = portal.state.control.tokens(Some(anna.id), noon()).remove(0);
    assert_eq!((kept.limits.scope, kept.login.until.duration_since(noon()).as_hours()), (Scope::Visit, 30 * 24));
    let service = kept.limits.services.unwrap()[0];
    assert_eq!(portal.state.control.visit_by_token(&token, service, noon()), Some(kept.login.id));
    let page = browse(&portal, Some(&annas), "GET", "/tokens", "").await;
    assert!(page.text.contains("slicer") && !page.text.contains(token.expose().as_str()), "{}", page.text);

    let revoke = format!("/tokens/{}/revoke", kept.login.id);
    let theirs = form_token(&browse(&portal, Some(&bens), "GET", "/tokens", "").await);
    browse(&portal, Some(&bens), "POST", &revoke, &format!("form-token={theirs}")).await;
    assert_eq!(portal.state.control.visit_by_token(&token, service, noon()), Some(kept.login.id), "not by others");
    assert_eq!(press(&revoke, "").await.status.as_u16(), 303);
    assert_eq!(portal.state.control.visit_by_token(&token, service, noon()), None);
    let own = format!("/tokens/{}/revoke", annas.id);
    assert_eq!(press(&own, "").await.status.as_u16(), 303);
    assert!(portal.state.control.signed_in(&annas.token, noon()).is_some(), "a browser is no token");
}

#[tokio::test]
async fn a_token_for_visiting_asks_the_api_nothing_and_names_its_services() {
    let scene = super::samples::Scene::open(doorward_core::person::Role::Member).await;
    let portal = &scene.portal;
    for services in ["", r#", "services": []"#] {
        let body = format!(r#"{{"title": "all", "scope": "visit", "person": "who"{services}}}"#);
        let refused = portal.ask("POST", "/api/v1/tokens", &body).await.problem(400);
        assert!(refused.contains("name them"), "{refused}");
    }
    let body = r#"{"title": "slicer", "scope": "visit", "person": "who", "services": ["their-pi/web"]}"#;
    let made = portal.ask("POST", "/api/v1/tokens", body).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text);
    let listed = portal.ask("GET", "/api/v1/tokens", "").await.json();
    assert_eq!((&listed[0]["scope"], &listed[0]["services"]), (&"visit".into(), &serde_json::json!(["their-pi/web"])));
}
