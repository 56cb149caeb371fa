//! Signing in and one's own account, as a browser meets them.

use super::site::{add, ask, sign_in};
use super::support::*;
use doorward_control::{TotpStanding, WelcomeAnswer};
use doorward_core::Secret;
use doorward_core::person::Person;
use doorward_core::person::factors::Factor;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use totp_rs::Builder;

pub(super) const PASSWORD: &str = "drei müde Ziegen";

/// A browser with its cookies, on the portal's own pages.
pub(super) struct Browser<'p> {
    portal: &'p Portal,
    cookies: HashMap<String, String>,
    /// The last page.
    pub(super) page: Answer,
}

impl<'p> Browser<'p> {
    pub(super) async fn open(portal: &'p Portal, path: &str) -> Self {
        let page = ask(portal, "GET", path, &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], "").await;
        let mut browser = Self { portal, cookies: HashMap::new(), page };
        browser.keep_cookies();
        browser
    }

    /// One that is signed in already: nothing is hashed for it.
    pub(super) async fn of(portal: &'p Portal, person: &Person) -> Self {
        let login = sign_in(portal, person).await;
        let mut browser = Self::open(portal, "/sign-in").await;
        browser.cookies.insert("__Host-doorward".to_owned(), login.token.expose().clone());
        assert_eq!(browser.get("/account").await, 200);
        browser
    }

    pub(super) async fn get(&mut self, path: &str) -> u16 {
        self.go("GET", path, "").await
    }

    /// The page's form, with these fields filled in.
    pub(super) async fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> u16 {
        let token = self.field("form-token");
        let mut all = vec![("form-token", token.as_str())];
        all.extend_from_slice(fields);
        let form = serde_urlencoded::to_string(all).unwrap();
        self.go("POST", path, &form).await
    }

    async fn go(&mut self, method: &str, path: &str, form: &str) -> u16 {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let headers = [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "navigate"),
            ("cookie", cookies.as_str()),
            ("accept-language", "en"),
        ];
        self.page = ask(self.portal, method, path, &headers, form).await;
        self.keep_cookies();
        self.page.status.as_u16()
    }

    fn keep_cookies(&mut self) {
        for value in self.page.response.headers().get_all("set-cookie") {
            let text = value.to_str().unwrap();
            assert!(text.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{text}");
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            assert!(name.starts_with("__Host-"), "{name}");
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// What a hidden field of the page holds.
    pub(super) fn field(&self, name: &str) -> String {
        let (_, rest) = self
            .page
            .text
            .split_once(&format!("name=\"{name}\" value=\""))
            .unwrap_or_else(|| panic!("{}", self.page.text));
        rest.split('"').next().unwrap().to_owned()
    }

    pub(super) fn is_signed_in(&self) -> bool {
        self.cookies.contains_key("__Host-doorward")
    }

    /// What stands as an error on the page.
    pub(super) fn error(&self) -> &str {
        let (_, rest) = self.page.text.split_once("role=\"alert\">").unwrap_or_else(|| panic!("{}", self.page.text));
        rest.split('<').next().unwrap()
    }
}

pub(super) async fn with_password(portal: &Portal, name: &str) -> std::sync::Arc<Person> {
    let person = add(portal, name).await;
    let control = &portal.state.control;
    let made = control.make_own_welcome(person.id, SignedDuration::from_hours(1), noon()).await.unwrap();
    let source = "192.0.2.7".parse().unwrap();
    let answer = WelcomeAnswer { name: None, title: None, password: Secret::new(PASSWORD.to_owned()), source };
    let _ = control.accept_welcome(&made.secret, answer, noon()).await.unwrap();
    person
}

async fn signed_in<'p>(portal: &'p Portal, name: &str) -> Browser<'p> {
    let mut browser = Browser::open(portal, "/sign-in").await;
    assert_eq!(browser.send("/sign-in", &[("name", name), ("password", PASSWORD)]).await, 200);
    assert!(browser.is_signed_in());
    browser
}

fn code(letters: &str, at: Timestamp) -> String {
    let bytes = data_encoding::BASE32_NOPAD.decode(letters.replace('-', "").as_bytes()).unwrap();
    Builder::new().with_secret(bytes).build().unwrap().generate(at.as_second().unsigned_abs()).to_string()
}

#[tokio::test]
async fn a_name_and_its_password_sign_a_browser_in_and_lead_on_to_where_it_was_going() {
    let portal = Portal::open().await;
    let anna = with_password(&portal, "anna").await;
    let mut browser = Browser::open(&portal, "/sign-in?then=%2Flogins%3Fa%3Db").await;
    let then = browser.field("then");
    assert_eq!(then, "/logins?a=b");
    for (name, password) in [("anna", "wrong"), ("nobody", PASSWORD), ("anna", "")] {
        let fields = [("name", name), ("password", password), ("then", then.as_str())];
        assert_eq!(browser.send("/sign-in", &fields).await, 403);
        assert_eq!(browser.error(), "That does not fit. Check it, and try again.");
        assert!(!browser.is_signed_in() && browser.field("then") == then);
        assert!(!browser.page.text.contains("wrong"), "a password is not shown again");
    }
    let stranger = browser.cookies.clone();
    let fields = [("name", "Anna"), ("password", PASSWORD), ("then", then.as_str())];
    assert_eq!(browser.send("/sign-in", &fields).await, 200);
    assert!(browser.is_signed_in() && browser.page.text.contains("url=/logins?a=b"), "{}", browser.page.text);
    assert_ne!(browser.cookies, stranger);
    let logins = portal.state.control.logins_of(anna.id, noon());
    assert_eq!(logins.len(), 1);
    assert!(logins[0].login.factors.has(Factor::Password) && !logins[0].login.factors.has(Factor::Totp));
    for elsewhere in ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"] {
        let mut browser = Browser::open(&portal, "/sign-in").await;
        browser.send("/sign-in", &[("name", "anna"), ("password", PASSWORD), ("then", elsewhere)]).await;
        assert!(browser.is_signed_in() && !browser.page.text.contains("evil"), "{}", browser.page.text);
    }
    assert_eq!(browser.get("/sign-in").await, 303, "there is nothing to sign in to");
}

#[tokio::test]
async fn nobody_is_signed_in_by_another_sites_form() {
    let portal = Portal::open().await;
    with_password(&portal, "mallory").await;
    let browser = Browser::open(&portal, "/sign-in").await;
    let token = browser.field("form-token");
    let cookie = format!("__Host-doorward-form={}", browser.cookies["__Host-doorward-form"]);
    let form = |token: &str| {
        serde_urlencoded::to_string([("form-token", token), ("name", "mallory"), ("password", PASSWORD)]).unwrap()
    };
    let other = Browser::open(&portal, "/sign-in").await.field("form-token");
    let own = ("sec-fetch-site", "same-origin");
    let table: [(&[(&str, &str)], &str); 5] = [
        (&[("sec-fetch-site", "cross-site"), ("cookie", &cookie)], &token),
        (&[("origin", "https://evil.example"), ("cookie", &cookie)], &token),
        (&[own, ("cookie", &cookie)], &other),
        (&[own, ("cookie", &cookie)], ""),
        (&[own], &token),
    ];
    for (headers, token) in table {
        let answer = ask(&portal, "POST", "/sign-in", headers, &form(token)).await;
        assert_eq!(answer.status.as_u16(), 403, "{headers:?}");
        assert!(answer.response.headers().get("set-cookie").is_none(), "{headers:?}");
    }
    let answer = ask(&portal, "POST", "/sign-in", &[own, ("cookie", &cookie)], &form(&token)).await;
    assert_eq!(answer.status.as_u16(), 200);
}

#[tokio::test]
async fn an_app_is_set_up_on_ones_own_page_and_asked_for_from_then_on() {
    let portal = Portal::open().await;
    let anna = with_password(&portal, "anna").await;
    let mut browser = signed_in(&portal, "anna").await;
    assert_eq!(browser.get("/account").await, 200);
    assert_eq!(browser.send("/account/totp", &[("password", "wrong")]).await, 403);
    assert_eq!(browser.send("/account/totp", &[("password", PASSWORD)]).await, 200);
    assert!(browser.page.text.contains("<svg") && !browser.page.text.contains("<?xml"));
    let letters = browser.page.text.split("<code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert_eq!(letters.len(), 39, "{letters}");
    let ticket = browser.field("ticket");
    assert_eq!(browser.send("/account/totp/code", &[("ticket", &ticket), ("code", "1")]).await, 403);
    assert!(browser.page.text.contains(&letters), "the same once more");
    let right = code(&letters, noon());
    assert_eq!(browser.send("/account/totp/code", &[("ticket", &ticket), ("code", &right)]).await, 200);
    let codes: Vec<_> = browser.page.text.split("<li><code>").skip(1).map(|rest| rest[..19].to_owned()).collect();
    assert_eq!(codes.len(), 10, "{}", browser.page.text);

    let mut other = Browser::open(&portal, "/sign-in").await;
    assert_eq!(other.send("/sign-in", &[("name", "anna"), ("password", PASSWORD), ("then", "/account")]).await, 200);
    assert!(!other.is_signed_in());
    let ticket = other.field("ticket");
    assert_eq!(other.send("/sign-in/code", &[("ticket", &ticket), ("code", &right)]).await, 403, "used already");
    assert_eq!(other.send("/sign-in/code", &[("ticket", "00"), ("code", &codes[0])]).await, 403);
    assert!(other.error().contains("Begin again"));
    let fields = [("ticket", ticket.as_str()), ("code", codes[0].as_str()), ("then", "/account")];
    assert_eq!(other.send("/sign-in/code", &fields).await, 200);
    assert!(other.is_signed_in());
    let login = &portal.state.control.logins_of(anna.id, noon())[0].login;
    assert_eq!(login.factors.to_string(), "password recovery-code");

    assert_eq!(other.get("/account").await, 200);
    assert!(
        other.page.text.contains("Recovery codes left: 9") || other.page.text.contains("left:"),
        "{}",
        other.page.text
    );
    assert_eq!(other.send("/account/recovery-codes", &[("password", PASSWORD)]).await, 200);
    assert!(!other.page.text.contains(&codes[1]));
    other.get("/account").await;
    assert_eq!(other.send("/account/totp/drop", &[("password", "wrong")]).await, 403);
    assert_eq!(other.send("/account/totp/drop", &[("password", PASSWORD)]).await, 200);
    assert_eq!(portal.state.control.totp_of(anna.id).await.unwrap(), TotpStanding::None);
}

#[tokio::test]
async fn a_changed_password_signs_the_other_browsers_out() {
    let portal = Portal::open().await;
    with_password(&portal, "anna").await;
    let (mut here, mut there) = (signed_in(&portal, "anna").await, signed_in(&portal, "anna").await);
    here.get("/account").await;
    let new = "four lazy goats";
    let change = |old, again| [("old", old), ("password", new), ("again", again)];
    assert_eq!(here.send("/account/password", &change("wrong", new)).await, 403);
    assert_eq!(here.send("/account/password", &change(PASSWORD, "four lazy goat")).await, 422);
    assert_eq!(here.error(), "The two passwords differ.");
    let weak = [("old", PASSWORD), ("password", "password123"), ("again", "password123")];
    assert_eq!(here.send("/account/password", &weak).await, 422);
    assert_eq!(here.send("/account/password", &change(PASSWORD, new)).await, 200);
    assert!(here.page.text.contains("Your other browsers are signed out"));
    assert_eq!((here.get("/account").await, there.get("/account").await), (200, 303));
}

#[tokio::test]
async fn every_page_about_signing_in_is_strict_and_says_all_in_german_and_spanish() {
    let portal = Portal::open().await;
    for path in ["/sign-in", "/welcome"] {
        let page = Browser::open(&portal, path).await.page;
        assert_eq!(page.status.as_u16(), 200);
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        for forbidden in ["style=\"", "onclick", "onsubmit", "http://", "https://", "javascript:"] {
            assert!(!page.text.contains(forbidden), "{path}: {forbidden}");
        }
        for script in page.text.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/assets/") && script.contains("></script>"), "{script}");
        }
        let german = ask(&portal, "GET", path, &[("accept-language", "de")], "").await;
        assert!(
            german.text.contains("<html lang=\"de\">")
                && german.text.contains("Link") | german.text.contains("Anmelden")
        );
    }
    let table = crate::pages::telling::SENTENCES
        .iter()
        .chain(&crate::pages::account::DONE)
        .chain(&["owner", "member", "guest"]);
    let mut seen = 0;
    for sentence in table {
        for language in [crate::words::Language::German, crate::words::Language::Spanish] {
            assert_ne!(language.say(sentence), *sentence, "{sentence}");
        }
        seen += 1;
    }
    assert_eq!(seen, 19);
}

#[tokio::test]
async fn guessing_on_the_page_is_told_to_wait() {
    let portal = Portal::open().await;
    with_password(&portal, "anna").await;
    let mut browser = Browser::open(&portal, "/sign-in").await;
    let mut told = 0;
    for _ in 0..25 {
        let status = browser.send("/sign-in", &[("name", "anna"), ("password", "not the one")]).await;
        told += u16::from(status == 429);
        assert!(matches!(status, 403 | 429), "{status}");
    }
    assert!(told >= 1);
    assert!(browser.error().contains("Try again in"), "{}", browser.error());
}
