//! The public door.

use super::support::*;
use axum::body::Body;
use doorward_control::{NewLogin, NewPerson};
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use http::Request;
use std::sync::Arc;

pub(super) async fn add(portal: &Portal, name: &str) -> Arc<Person> {
    let new = NewPerson { name: Label::parse(name).unwrap(), title: None, role: Role::Member, ends_at: None };
    portal.state.control.add_person(new, noon()).await.unwrap()
}

pub(super) async fn sign_in(portal: &Portal, person: &Person) -> NewLogin {
    portal.state.control.begin_login(person.id, "Firefox, Linux", None, noon()).await.unwrap()
}

/// As a browser that is signed in by `login` does, on a page of the portal's own.
pub(super) async fn browse(portal: &Portal, login: Option<&NewLogin>, method: &str, path: &str, form: &str) -> Answer {
    let cookie = login.map(|login| format!("__Host-doorward={}", login.token.expose()));
    let cookie = cookie.unwrap_or_else(|| "other=1".to_owned());
    let pairs = [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate"), ("cookie", &cookie)];
    ask(portal, method, path, &pairs, form).await
}

pub(super) async fn ask(portal: &Portal, method: &str, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "portal.example.org");
    request = request.header("accept", "text/html");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(crate::site(portal.state.clone()), request.body(Body::from(form.to_owned())).unwrap()).await
}

/// What the hidden field of a page's forms holds.
pub(super) fn form_token(page: &Answer) -> String {
    let (_, rest) = page.text.split_once("name=\"form-token\" value=\"").expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_sent_to_sign_in_and_programs_are_told() {
    let portal = Portal::open().await;
    let page = browse(&portal, None, "GET", "/", "").await;
    assert_eq!((page.status.as_u16(), page.header("location")), (303, "/sign-in"));
    let page = browse(&portal, None, "GET", "/?a=b&c=//d", "").await;
    assert_eq!((page.status.as_u16(), page.header("location")), (303, "/sign-in?then=%2F%3Fa%3Db%26c%3D%2F%2Fd"));
    let program = ask(&portal, "GET", "/", &[("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")], "").await;
    assert_eq!(program.status.as_u16(), 401);
    let page = browse(&portal, None, "GET", "/sign-in", "").await;
    assert_eq!(page.status.as_u16(), 200);
    let cookie = page.header("set-cookie");
    assert!(cookie.starts_with("__Host-doorward-form="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    // Under "no-referrer" browsers name no origin when they send a form, and it would be refused.
    assert_eq!(page.header("referrer-policy"), "same-origin");
}

#[tokio::test]
async fn signing_out_ends_the_login_and_needs_the_browsers_own_form() {
    let portal = Portal::open().await;
    let (anna, ben) = (add(&portal, "anna").await, add(&portal, "ben").await);
    let (annas, bens) = (sign_in(&portal, &anna).await, sign_in(&portal, &ben).await);
    let home = browse(&portal, Some(&annas), "GET", "/", "").await;
    assert_eq!(home.status.as_u16(), 200);
    let token = form_token(&home);
    let foreign = form_token(&browse(&portal, Some(&bens), "GET", "/", "").await);
    for form in [String::new(), "form-token=".into(), format!("form-token={foreign}"), format!("form-token={token}x")] {
        let refused = browse(&portal, Some(&annas), "POST", "/sign-out", &form).await;
        assert_eq!(refused.status.as_u16(), 403, "{form}");
        assert!(refused.text.contains("<h1>That did not work</h1>"), "{}", refused.text);
    }
    let form = format!("form-token={token}");
    let cookie = format!("__Host-doorward={}", annas.token.expose());
    for elsewhere in
        [("sec-fetch-site", "same-site"), ("sec-fetch-site", "cross-site"), ("origin", "https://cam.example.org")]
    {
        let refused = ask(&portal, "POST", "/sign-out", &[elsewhere, ("cookie", &cookie)], &form).await;
        assert_eq!(refused.status.as_u16(), 403, "{elsewhere:?}");
    }
    assert!(portal.state.control.login_by_token(&annas.token).is_some());
    let out = browse(&portal, Some(&annas), "POST", "/sign-out", &form).await;
    assert_eq!((out.status.as_u16(), out.header("location")), (303, "/sign-in"));
    assert!(
        out.header("set-cookie").starts_with("__Host-doorward=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
    );
    assert!(portal.state.control.login_by_token(&annas.token).is_none());
    assert_eq!(browse(&portal, Some(&annas), "GET", "/", "").await.status.as_u16(), 303);
    assert_eq!(browse(&portal, Some(&bens), "GET", "/", "").await.status.as_u16(), 200);
}

#[tokio::test]
async fn two_cookies_of_one_name_are_nobodys() {
    let portal = Portal::open().await;
    let anna = add(&portal, "anna").await;
    let login = sign_in(&portal, &anna).await;
    let twice = format!("__Host-doorward=x; __Host-doorward={}", login.token.expose());
    assert_eq!(ask(&portal, "GET", "/", &[("cookie", &twice)], "").await.status.as_u16(), 303);
}

#[tokio::test]
async fn a_browser_that_speaks_http_2_is_at_home_here_and_another_site_is_not() {
    let portal = Portal::open().await;
    let anna = add(&portal, "anna").await;
    let login = sign_in(&portal, &anna).await;
    let form = format!("form-token={}", form_token(&browse(&portal, Some(&login), "GET", "/", "").await));
    for (origin, status) in [("https://evil.test", 403), ("null", 403), ("https://portal.example.org", 303)] {
        // An authority in the place of a Host.
        let request = Request::builder().method("POST").uri("https://portal.example.org/sign-out");
        let request = request.header("cookie", format!("__Host-doorward={}", login.token.expose()));
        let request = request.header("sec-fetch-site", "same-origin").header("origin", origin);
        let answer = send(crate::site(portal.state.clone()), request.body(Body::from(form.clone())).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{origin}: {}", answer.text);
    }
}
