//! Signing in at a real identity provider, through the redirects that browsers follow.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward::serve::settings::OidcFile;
use doorward_control::{NewPerson, WelcomeAnswer};
use doorward_core::Secret;
use doorward_core::access::Facts;
use doorward_core::names::Label;
use doorward_core::person::factors::Factor;
use doorward_core::person::{Person, Role};
use doorward_lab::browser::{Browser, Place, leads_to};
use doorward_lab::provider::{CLIENT, Provider, SECRET};
use doorward_lab::visitor::Answer;
use doorward_lab::web::{WebTarget, ok, web};
use doorward_lab::{LOOPBACK, Lab, LabDevice, Shape, people, service};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

const PORTAL: &str = "portal.gw.test";
const BACK: &str = "https://portal.gw.test/sign-in/back";
const LOGIN: &str = "__Host-doorward";
const THERE: &str = "what anna says there";
const HERE: &str = "drei müde Ziegen";

fn file(provider: &Provider, folder: &std::path::Path, more: &str) -> OidcFile {
    let secret = folder.join("client-secret");
    std::fs::write(&secret, SECRET).unwrap();
    let text = format!(
        "name = \"school\"\ntitle = \"The School\"\nissuer = \"{}\"\nclient-id = \"{CLIENT}\"\nclient-secret-file = {secret:?}\n\
         login-for = \"8h\"\n{more}",
        provider.issuer()
    );
    toml::from_str(&text).unwrap()
}

struct House {
    lab: Lab,
    provider: Provider,
    anna: Arc<Person>,
    folder: tempfile::TempDir,
    _page: WebTarget,
    _device: LabDevice,
}

impl House {
    /// anna has an account on both sides; nobody says that they are the same.
    async fn build(more: &str) -> Self {
        let (provider, folder) = (Provider::start(BACK).await, tempfile::tempdir().unwrap());
        provider.add_user("anna", "Anna B.", THERE).await;
        let providers = vec![file(&provider, folder.path(), more)];
        let lab = Lab::of(Shape { has_portal: true, providers, ..Shape::default() }).await;
        let page = web(|request| ok(request.path())).await;
        let mut annas = service("page", &page.url());
        annas.offer.access = people(&["anna"]);
        let device = lab.device("pi", vec![annas]).await;
        let new = NewPerson { name: Label::parse("anna").unwrap(), title: None, role: Role::Member, ends_at: None };
        let (control, now) = (lab.control(), Timestamp::now());
        let anna = control.add_person(new, now).await.unwrap();
        let made = control.make_own_welcome(anna.id, SignedDuration::from_hours(1), now).await.unwrap();
        let password = Secret::new(HERE.to_owned());
        let answer = WelcomeAnswer { name: None, title: None, password, source: LOOPBACK };
        let _proven = control.accept_welcome(&made.secret, answer, now).await.unwrap();
        Self { lab, provider, anna, folder, _page: page, _device: device }
    }

    fn browser(&self) -> Browser {
        Browser::new(self.lab.http())
    }

    /// From the button to the provider: where it leads.
    async fn leave(&self, browser: &mut Browser, then: &str) -> String {
        let page = browser.go(&Place::new(PORTAL, "/sign-in")).await;
        assert!(page.text().contains("Sign in with The School"), "{}", page.text());
        let given = form(&[("form-token", &field(&page, "form-token")), ("then", then)]);
        way_out(&browser.press(&Place::new(PORTAL, "/sign-in/with/school"), &given).await)
    }

    /// Back at the portal by the provider's redirect.
    async fn back(&self, browser: &mut Browser, url: &str) -> Answer {
        let path = url.strip_prefix("https://portal.gw.test").unwrap_or_else(|| panic!("{url}"));
        browser.go(&Place::new(PORTAL, path)).await
    }

    /// All of it, for somebody who is signed in at the provider.
    async fn sign_in(&self, browser: &mut Browser, then: &str) -> Answer {
        let url = self.leave(browser, then).await;
        let mut there = self.provider.visitor();
        assert!(there.sign_in("anna", THERE).await && there.consent().await);
        let url = there.follow(&url).await;
        self.back(browser, &url).await
    }

    async fn link(&self) -> Browser {
        let mut browser = self.browser();
        let page = browser.go(&Place::new(PORTAL, "/sign-in")).await;
        let fields = [("form-token", &*field(&page, "form-token")), ("name", "anna"), ("password", HERE)];
        browser.press(&Place::new(PORTAL, "/sign-in"), &form(&fields)).await;
        let account = browser.go(&Place::new(PORTAL, "/account")).await;
        let fields = [("form-token", &*field(&account, "form-token")), ("password", HERE)];
        let left = browser.press(&Place::new(PORTAL, "/account/providers/school"), &form(&fields)).await;
        let mut there = self.provider.visitor();
        assert!(there.sign_in("anna", THERE).await && there.consent().await);
        let url = there.follow(&way_out(&left)).await;
        let linked = self.back(&mut browser, &url).await;
        assert_eq!(
            leads_to(&Place::new(PORTAL, "/"), &linked),
            Some(Place::new(PORTAL, "/account")),
            "{}",
            linked.text()
        );
        browser
    }

    fn who(&self, browser: &Browser) -> Option<Arc<Person>> {
        let token = Secret::new(browser.cookie(PORTAL, LOGIN)?);
        self.lab.control().signed_in(&token, Timestamp::now()).map(|(person, _)| person)
    }
}

fn field(page: &Answer, name: &str) -> String {
    let text = page.text();
    let (_, rest) = text.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{text}"));
    rest.split('"').next().unwrap().to_owned()
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Where a page goes on to by itself.
fn way_out(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("content=\"0;url=").unwrap_or_else(|| panic!("{} {text}", page.status));
    rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_linked_their_account_signs_in_at_the_provider_until_that_ends() {
    let house = House::build("newcomers = \"refused\"\n").await;
    let mut stranger = house.browser();
    let refused = house.sign_in(&mut stranger, "/").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert!(refused.text().contains("Nobody here is linked"), "{}", refused.text());
    assert!(house.who(&stranger).is_none(), "the same name makes nobody somebody");

    let browser = house.link().await;
    let mut other = house.browser();
    let entered = house.sign_in(&mut other, "/logins?a=b").await;
    assert!(entered.text().contains("url=/logins?a=b\""), "{}", entered.text());
    assert_eq!(house.who(&other).unwrap().id, house.anna.id);
    let snapshot = house.lab.control().snapshot();
    let login = snapshot.logins_of(house.anna.id).last().unwrap().clone();
    assert!(login.factors.has(Factor::Provider) && !login.factors.has(Factor::Password), "{}", login.factors);
    assert_eq!(login.until.duration_since(login.since).as_hours(), 8);
    assert_eq!(other.follow(&Place::new("page-pi.gw.test", "/x")).await.1.text(), "/x");

    // Signing out is local: what was begun elsewhere goes on.
    let home = other.go(&Place::new(PORTAL, "/")).await;
    let out = form(&[("form-token", &field(&home, "form-token"))]);
    other.press(&Place::new(PORTAL, "/sign-out"), &out).await;
    assert!(house.who(&other).is_none() && house.who(&browser).is_some());

    house.provider.end_user("anna").await;
    let url = house.leave(&mut other, "/").await;
    let mut there = house.provider.visitor();
    assert!(!there.sign_in("anna", THERE).await, "nobody there any more");
    assert_eq!(there.follow(&url).await, "the login page");
    assert!(house.who(&other).is_none());
    assert!(snapshot.person(house.anna.id).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_in_the_browser_that_asked_and_once() {
    let house = House::build("").await;
    house.link().await;
    let mut asker = house.browser();
    let url = house.leave(&mut asker, "/").await;
    let mut there = house.provider.visitor();
    assert!(there.sign_in("anna", THERE).await && there.consent().await);
    let answer = there.follow(&url).await;
    // Login CSRF: an attacker has a victim open the way back with the attacker's own code.
    let mut victim = house.browser();
    assert_eq!(house.back(&mut victim, &answer).await.status, StatusCode::FORBIDDEN);
    house.leave(&mut victim, "/").await;
    assert_eq!(house.back(&mut victim, &answer).await.status, StatusCode::FORBIDDEN, "on a way of their own");
    assert!(house.who(&victim).is_none());
    // Another state, none, another issuer's answer, and an error: none of them is taken for it.
    for (from, to) in [("state=", "state=x"), ("state=", "other="), ("code=", "iss=https%3A%2F%2Fevil.test&code=")] {
        let mut browser = house.browser();
        let url = house.leave(&mut browser, "/").await;
        let changed = there.follow(&url).await.replacen(from, to, 1);
        assert_eq!(house.back(&mut browser, &changed).await.status, StatusCode::FORBIDDEN, "{to}");
        let again = changed.replacen(to, from, 1);
        assert_eq!(house.back(&mut browser, &again).await.status, StatusCode::FORBIDDEN, "its journey is over");
        assert!(house.who(&browser).is_none(), "{to}");
    }
    assert_eq!(house.back(&mut asker, &answer).await.status, StatusCode::OK);
    assert!(house.who(&asker).is_some());
    assert_eq!(house.back(&mut asker, &answer).await.status, StatusCode::FORBIDDEN, "good once");
    // Nobody is sent elsewhere afterwards.
    for then in ["//evil.test", "https://evil.test/", "/\\evil.test"] {
        let mut browser = house.browser();
        let entered = house.sign_in(&mut browser, then).await;
        assert!(entered.text().contains("url=/\"") && !entered.text().contains("evil"), "{}", entered.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomers_get_an_account_of_their_own_and_nobodys_name_over_a_restart() {
    let house = House::build("newcomers = \"guests\"\n").await;
    let mut browser = house.browser();
    assert_eq!(house.sign_in(&mut browser, "/").await.status, StatusCode::OK);
    let came = house.who(&browser).unwrap();
    assert_ne!(came.id, house.anna.id);
    assert_eq!((came.name.as_str(), came.title.as_str(), came.role), ("anna-2", "Anna B.", Role::Guest));
    assert_eq!(browser.follow(&Place::new("page-pi.gw.test", "/x")).await.1.status, StatusCode::NOT_FOUND);
    let House { lab, provider, anna, folder, _page, _device } = house;
    let house = House { lab: lab.restart_gateway().await, provider, anna, folder, _page, _device };
    let mut again = house.browser();
    assert_eq!(house.sign_in(&mut again, "/").await.status, StatusCode::OK);
    assert_eq!(house.who(&again).unwrap().id, came.id, "the same as before");
    assert!(house.folder.path().exists());
}
