//! As whose deed things are written down.

use super::samples::{Scene, token};
use super::site::{browse, form_token};
use super::support::*;
use axum::body::Body;
use doorward_control::{Control, NewLogin};
use doorward_core::access::Visitor;
use doorward_core::authority::Scope;
use doorward_core::person::Role;
use doorward_core::service::Entrance;
use http::{Request, request};

/// Who the newest line with this deed names, by what, and from where.
async fn newest(control: &Control, deed: &str) -> [String; 3] {
    let lines = control.audit(100).await.unwrap();
    let line = lines.into_iter().find(|line| line.deed == deed).unwrap_or_else(|| panic!("no {deed}"));
    [line.person, line.grounds, line.source]
}

fn by(login: &NewLogin, path: &str) -> request::Builder {
    let bearer = format!("Bearer dw_{}", login.token.expose());
    let visitor = Visitor::new("192.0.2.9".parse().unwrap(), Entrance::Web);
    Request::builder().method("POST").uri(path).header("authorization", bearer).extension(visitor)
}

#[tokio::test]
async fn what_is_done_is_the_deed_of_whoever_asked_by_socket_token_or_login() {
    let scene = Scene::open(Role::Member).await;
    let (portal, control) = (&scene.portal, &scene.portal.state.control);
    portal.ask("POST", "/api/v1/invites", "{}").await;
    assert_eq!(newest(control, "invite-created").await, ["owner", "the gateway's socket", ""]);

    let program = token(portal, &scene.who, Scope::Manage, None).await;
    let grounds = format!("token {} (a script)", program.id);
    let site = || crate::site(portal.state.clone());
    let made = send(site(), by(&program, "/api/v1/invites").body(Body::from("{}")).unwrap()).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text);
    assert_eq!(newest(control, "invite-created").await, ["who", grounds.as_str(), "192.0.2.9"]);
    let snapshot = control.snapshot();
    let service = snapshot.services().find(|record| record.service.path() == "their-pi/web").unwrap().service.id;
    let request = by(&program, &format!("/conn/req/{service}"));
    let opened = send(site(), request.body(Body::from(r#"{"rule_timeout": 60}"#)).unwrap()).await;
    assert_eq!(opened.status.as_u16(), 200, "{}", opened.text);
    assert_eq!(
        newest(control, "session-extended").await,
        ["who", grounds.as_str(), "192.0.2.9"],
        "by a route of the seed, too"
    );

    let browser = control.begin_login(scene.who.id, "Firefox", None, noon()).await.unwrap();
    let home = browse(portal, Some(&browser), "GET", "/", "").await;
    let form = format!("form-token={}", form_token(&home));
    let pressed = browse(portal, Some(&browser), "POST", "/sign-out", &form).await;
    assert!(pressed.status.is_redirection(), "{}", pressed.text);
    assert_eq!(
        newest(control, "login-ended").await,
        ["who", format!("login {}", browser.id).as_str(), ""],
        "by a page, too"
    );
}
