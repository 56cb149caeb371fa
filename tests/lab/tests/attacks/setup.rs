//! Becoming the first owner once more.

use crate::{House, PASSWORD, PORTAL, field, form};
use doorward_control::WelcomeAnswer;
use doorward_core::Secret;
use doorward_core::names::Label;
use doorward_lab::browser::{Browser, Place};
use doorward_lab::visitor::{self, http2, request2, say, send2};
use doorward_lab::{LOOPBACK, Lab};
use jiff::Timestamp;

/// As servers and those in front of them have read paths differently. `NAME`: what is asked for.
const TRICKS: [&str; 34] = [
    "/NAME",
    "/NAME/",
    "//NAME",
    "///NAME//",
    "/./NAME",
    "/../NAME",
    "/x/../NAME",
    "/x/..%2fNAME",
    "/%2e/NAME",
    "/%2e%2e/NAME",
    "/.%2e/NAME",
    "/x/%2e%2e/NAME",
    "/%2fNAME",
    "/%252fNAME",
    "/NAME%2f",
    "/NAME%00",
    "/NAME%20",
    "/NAME%09",
    "/NAME;x",
    "/NAME;/accept",
    "/;/NAME",
    "/NAME?",
    "/NAME?done=false",
    "/NAME#",
    "/NAME.html",
    "/NAME.json",
    "/NAME~",
    "/index.html/NAME",
    "/api/../NAME",
    "/api/v1/../../NAME",
    "/assets/../NAME",
    "/healthz/../NAME",
    "/sign-in/..;/NAME",
    "http://portal.gw.test//NAME",
];

fn spellings(name: &str) -> Vec<String> {
    let coded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let names = [name.to_owned(), coded];
    let all = TRICKS.iter().flat_map(|trick| names.iter().map(|name| trick.replace("NAME", name)));
    let all = all.chain([format!("/{}", name.to_uppercase()), format!("/{}", name.replace('e', "%65"))]);
    // Neither a blank nor a fragment is part of a request's target.
    all.filter(|path| !path.contains([' ', '#'])).collect()
}

async fn stays_closed(lab: &Lab, browser: &mut Browser, secret: &str) {
    let page = browser.go(&Place::new(PORTAL, "/sign-in")).await;
    assert!(!page.text().contains("Nobody can sign in here yet"));
    let fields = [
        ("form-token", &*field(&page, "form-token")),
        ("code", secret),
        ("name", "eve"),
        ("password", PASSWORD),
        ("again", PASSWORD),
    ];
    let (body, cookies) = (form(&fields), browser.cookies(PORTAL));
    let two = http2(lab.https(), PORTAL).await;
    let mut tried = 0;
    for name in ["welcome", "welcome/accept", "setup", "api/v1/owner-link"] {
        for path in spellings(name) {
            let asked = format!(
                "POST {path} HTTP/1.1\r\nhost: {PORTAL}\r\ncookie: {cookies}\r\nsec-fetch-site: same-origin\r\n\
                 content-type: application/x-www-form-urlencoded\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let heard = say(lab.http(), asked.as_bytes()).await;
            assert!(heard.starts_with("HTTP/1.1 4"), "{path}: {heard}");
            assert!(
                !heard.contains("You are the first owner") && !heard.contains("__Host-doorward="),
                "{path}: {heard}"
            );
            if path.starts_with("/") && !path.contains("%00") {
                let mut asked = request2(PORTAL, &path).method("POST").header("cookie", &cookies);
                asked = asked.header("sec-fetch-site", "same-origin");
                let asked = asked.header("content-type", "application/x-www-form-urlencoded");
                let answer = send2(&two, asked.body(visitor::full(body.clone())).unwrap()).await;
                assert!(answer.status.is_client_error(), "{path}: {answer:?}");
                assert!(!answer.headers.contains_key("set-cookie"), "{path}");
            }
            tried += 1;
        }
    }
    println!("{tried} paths were tried");
    assert!(tried > 200);
    let snapshot = lab.control().snapshot();
    assert!(snapshot.person_by_name(&Label::parse("eve").unwrap()).is_none());
    assert!(lab.control().make_first_welcome(Timestamp::now()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn once_there_is_an_owner_no_path_leads_to_another_first_one() {
    let house = House::build().await;
    let (control, now) = (house.lab.control(), Timestamp::now());
    // Two links were made before anybody came; the first owner used one.
    let older = control.make_first_welcome(now).await.unwrap().unwrap();
    let newer = control.make_first_welcome(now).await.unwrap().unwrap();
    let answer = WelcomeAnswer {
        name: Some(Label::parse("olga").unwrap()),
        title: None,
        password: Secret::new(PASSWORD.to_owned()),
        source: LOOPBACK,
    };
    let _proven = control.accept_welcome(&newer.secret, answer, now).await.unwrap();
    let mut browser = house.browser();
    stays_closed(&house.lab, &mut browser, older.secret.expose()).await;
    let fields = |page: &visitor::Answer, secret: &str| {
        form(&[
            ("form-token", &field(page, "form-token")),
            ("code", secret),
            ("name", "eve"),
            ("password", PASSWORD),
            ("again", PASSWORD),
        ])
    };
    for secret in [older.secret.expose(), newer.secret.expose()] {
        for path in ["/welcome", "/welcome/accept"] {
            let page = browser.go(&Place::new(PORTAL, "/welcome")).await;
            let answer = browser.press(&Place::new(PORTAL, path), &fields(&page, secret)).await;
            assert!(answer.status.is_client_error(), "{path}: {}", answer.status);
        }
    }
}
