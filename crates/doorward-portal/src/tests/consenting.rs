//! Requests, lines and links to answer by, as browsers meet them.

use super::managing::{MARKUP, SHOWN, at_browser, label};
use super::signing_in::Browser;
use super::site::ask;
use super::support::*;
use doorward_control::PersonEdit;
use doorward_core::person::Role;
use doorward_core::{AccountId, ServiceId};

const ROBOT: &str = r#"{"name": "robot", "title": "Robot", "kind": "http", "access": {"who": "people",
    "groups": ["class", "teachers"], "how": "on-request", "exclusive": true, "take-over": ["teachers"]}}"#;
const LASER: &str = r#"{"name": "laser", "title": "Laser", "kind": "http", "access": {"who": "people",
    "groups": ["class", "teachers"], "how": "on-request", "approval": {"by": "teachers"}}}"#;

struct School {
    portal: Portal,
}

impl School {
    async fn set_up() -> Self {
        let portal = Portal::open().await;
        let device = portal.join(1, "zumi01").await;
        portal.offer(&device, &[ROBOT, LASER]).await;
        for group in ["class", "teachers"] {
            portal.state.control.add_group(label(group), None, Vec::new(), noon()).await.unwrap();
        }
        Self { portal }
    }

    async fn browser(&self, name: &str, group: &str) -> Browser<'_> {
        let browser = at_browser(&self.portal, name, Role::Guest).await;
        let edit = doorward_control::GroupEdit { add: vec![label(name)], ..Default::default() };
        self.portal.state.control.edit_group(label(group), edit, None, noon()).await.unwrap();
        browser
    }

    fn person(&self, name: &str) -> AccountId {
        self.portal.state.control.snapshot().person_by_name(&label(name)).unwrap().id
    }

    fn service(&self, name: &str) -> ServiceId {
        let snapshot = self.portal.state.control.snapshot();
        let device = snapshot.device_by_name(&label("zumi01")).unwrap();
        snapshot.service_of(device.id, &label(name)).unwrap().id
    }

    fn has_open(&self, name: &str, service: &str) -> bool {
        let snapshot = self.portal.state.control.snapshot();
        snapshot.session_for(self.person(name), self.service(service)).is_some()
    }
}

async fn press_open(browser: &mut Browser<'_>, school: &School, service: &str) -> u16 {
    browser.get("/").await;
    let path = format!("/services/{}/open", school.service(service));
    browser.send(&path, &[("minutes", "30")]).await
}

#[tokio::test]
async fn a_request_is_answered_by_one_press_of_those_who_may_and_of_nobody_else() {
    let school = School::set_up().await;
    let (mut anna, mut ben) = (school.browser("anna", "class").await, school.browser("ben", "class").await);
    let mut tina = school.browser("tina", "teachers").await;
    let edit = PersonEdit { title: Some(MARKUP.to_owned()), ..PersonEdit::default() };
    school.portal.state.control.edit_person(school.person("anna"), edit, None, noon()).await.unwrap();
    assert_eq!(press_open(&mut anna, &school, "laser").await, 200);
    assert!(anna.page.text.contains("url=/approvals"), "{}", anna.page.text);
    anna.get("/approvals").await;
    let text = &anna.page.text;
    assert!(text.contains("your own") && text.contains("/approvals/1/withdraw") && !text.contains("/approvals/1/yes"));
    ben.get("/approvals").await;
    assert!(!ben.page.text.contains("/approvals/1"), "it is not his: {}", ben.page.text);
    for (browser, answers) in [
        (&mut anna, &[("/approvals/1/yes", 409)][..]),
        (&mut ben, &[("/approvals/1/yes", 404), ("/approvals/1/no", 404), ("/approvals/1/link", 404)]),
    ] {
        for (path, status) in answers {
            browser.get("/account").await;
            assert_eq!(browser.send(path, &[]).await, *status, "{path}: {}", browser.page.text);
        }
    }
    ben.get("/account").await;
    assert_eq!(ben.send("/approvals/1/withdraw", &[]).await, 303, "what is not there is withdrawn already");
    assert_eq!(tina.get("/approvals/1/yes").await, 405);
    assert!(!school.has_open("anna", "laser"));
    tina.get("/approvals").await;
    assert!(tina.page.text.contains(SHOWN) && !tina.page.text.contains("<img"), "{}", tina.page.text);
    assert_eq!(tina.send("/approvals/1/yes", &[]).await, 200);
    assert!(tina.page.text.contains("You agreed. The session is open."), "{}", tina.page.text);
    assert!(school.has_open("anna", "laser"));
    assert_eq!(press_open(&mut ben, &school, "laser").await, 200);
    tina.get("/approvals").await;
    assert_eq!(tina.send("/approvals/2/no", &[]).await, 200);
    assert!(tina.page.text.contains("You said no.") && !school.has_open("ben", "laser"));
    assert_eq!(press_open(&mut ben, &school, "laser").await, 200);
    ben.get("/approvals").await;
    assert_eq!(ben.send("/approvals/3/withdraw", &[]).await, 303);
    ben.get("/approvals").await;
    assert!(ben.page.text.contains("Nothing waits for an answer."));
}

#[tokio::test]
async fn a_link_answers_one_request_once_and_looking_at_it_answers_nothing() {
    let school = School::set_up().await;
    let mut anna = school.browser("anna", "class").await;
    let mut tina = school.browser("tina", "teachers").await;
    press_open(&mut anna, &school, "laser").await;
    anna.get("/approvals").await;
    assert_eq!(anna.send("/approvals/1/link", &[]).await, 409, "nobody answers their own");
    tina.get("/approvals").await;
    assert_eq!(tina.send("/approvals/1/link", &[]).await, 200);
    assert!(tina.page.text.contains("<svg"));
    let (_, rest) = tina.page.text.split_once("https://portal.example.org/answer#").unwrap();
    let code = rest.split('<').next().unwrap().to_owned();
    for method in ["GET", "HEAD"] {
        for path in [
            "/answer",
            "/answer/give",
            &format!("/answer?code={code}"),
            &format!("/answer/give?code={code}&answer=yes"),
        ] {
            let headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
            let answer = ask(&school.portal, method, path, &headers, "").await;
            assert!(matches!(answer.status.as_u16(), 200 | 405), "{method} {path}: {}", answer.status);
        }
    }
    // Nobody is signed in there.
    let mut phone = Browser::open(&school.portal, "/answer").await;
    for _ in 0..2 {
        assert_eq!(phone.send("/answer", &[("code", &code)]).await, 200);
        assert!(phone.page.text.contains("You answer as tina") && phone.page.text.contains("zumi01/laser"));
    }
    assert!(!school.has_open("anna", "laser"));
    assert_eq!(phone.send("/answer/give", &[("code", &code), ("answer", "perhaps")]).await, 400);
    let mut phone = Browser::open(&school.portal, "/answer").await;
    for wrong in ["", "x", "nosuchnosuchnosuchnosuch"] {
        assert_eq!(phone.send("/answer/give", &[("code", wrong), ("answer", "yes")]).await, 410, "{wrong}");
    }
    assert_eq!(phone.send("/answer/give", &[("code", &code), ("answer", "yes")]).await, 200);
    assert!(phone.page.text.contains("You agreed.") && school.has_open("anna", "laser"));
    let line = school.portal.state.control.audit(5).await.unwrap();
    assert!(line.iter().any(|line| line.deed == "approval-given"), "{line:?}");
    let mut again = Browser::open(&school.portal, "/answer").await;
    assert_eq!(again.send("/answer/give", &[("code", &code), ("answer", "yes")]).await, 410);
    assert_eq!(again.send("/answer", &[("code", &code)]).await, 410);
    assert!(again.error().starts_with("There is nothing to answer"));
}

#[tokio::test]
async fn whoever_has_to_wait_is_shown_the_line_and_a_teacher_takes_it_over() {
    let school = School::set_up().await;
    let (mut anna, mut ben) = (school.browser("anna", "class").await, school.browser("ben", "class").await);
    let mut tina = school.browser("tina", "teachers").await;
    let mut stranger = at_browser(&school.portal, "eve", Role::Guest).await;
    let page = "/line/zumi01/robot";
    ben.get("/").await;
    assert!(ben.page.text.contains(&format!("href=\"{page}\"")), "{}", ben.page.text);
    ben.get(page).await;
    assert!(ben.page.text.contains("Nobody has it now."));
    assert_eq!(press_open(&mut anna, &school, "robot").await, 200);
    assert!(anna.page.text.contains("url=/\"") && school.has_open("anna", "robot"), "{}", anna.page.text);
    assert_eq!(press_open(&mut ben, &school, "robot").await, 200);
    assert!(ben.page.text.contains(&format!("url={page}")), "{}", ben.page.text);
    ben.get(page).await;
    let text = &ben.page.text;
    assert!(
        text.contains("Your place in the line: <b>1</b> / 1") && text.contains("datetime=\"2026-11-23T12:30:00Z\"")
    );
    assert!(!text.contains("Taken by") && !text.contains("take-over"), "who has it is not told to all: {text}");
    assert_eq!(ben.send(&format!("{page}/take-over"), &[("minutes", "30")]).await, 409, "{}", ben.page.text);
    assert!(school.has_open("anna", "robot"));
    assert_eq!(stranger.get(page).await, 404);
    anna.get(page).await;
    assert!(anna.page.text.contains("You have it until"));
    tina.get(page).await;
    assert!(tina.page.text.contains("Taken by anna") && tina.page.text.contains("<li>ben</li>"), "{}", tina.page.text);
    assert_eq!(tina.send(&format!("{page}/take-over"), &[("minutes", "30")]).await, 200, "{}", tina.page.text);
    assert!(school.has_open("tina", "robot") && !school.has_open("anna", "robot"));
    ben.get(page).await;
    assert_eq!(ben.send(&format!("{page}/leave"), &[]).await, 303);
    ben.get(page).await;
    assert!(!ben.page.text.contains("Your place in the line"));
    assert_eq!(ben.get("/line/zumi01/laser").await, 404, "it has no line");
}
