//! Being made to go on as somebody else, or with what somebody else knows.

use crate::{House, LOGIN, PAGE, PASSWORD, PORTAL, field, form, give_password};
use doorward_core::access::Facts;
use doorward_lab::browser::Place;
use doorward_lab::visitor::{full, request, send};
use http::StatusCode;
use jiff::Timestamp;

const FORM: &str = "__Host-doorward-form";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_browser_held_before_signing_in_is_worth_nothing_after() {
    let house = House::build().await;
    give_password(&house.lab, &house.anna).await;
    let bens = house.lab.control().begin_login(house.ben.id, "x", None, Timestamp::now()).await.unwrap();
    let place = Place::new(PORTAL, "/sign-in");
    // What an attacker made up, what they were given by our own page, and a login that is their own and counts.
    let mut attacker = house.browser();
    attacker.go(&place).await;
    let (made_up, given) = ("a".repeat(43), attacker.cookie(PORTAL, FORM).unwrap());
    for (name, planted) in [(LOGIN, &made_up), (FORM, &given), (LOGIN, bens.token.expose())] {
        let mut browser = house.browser();
        browser.set_cookie(PORTAL, name, planted);
        let page = browser.go(&Place::new(PORTAL, if planted == bens.token.expose() { "/" } else { "/sign-in" })).await;
        let fields = [("form-token", &*field(&page, "form-token")), ("name", "anna"), ("password", PASSWORD)];
        assert_eq!(browser.press(&place, &form(&fields)).await.status, StatusCode::OK);
        let login = browser.cookie(PORTAL, LOGIN).unwrap();
        assert_ne!(&login, planted);
        let (person, _) = house.lab.control().signed_in(&doorward_core::Secret::new(login), Timestamp::now()).unwrap();
        assert_eq!(person.id, house.anna.id);
        attacker.set_cookie(PORTAL, LOGIN, planted);
        let seen = attacker.go(&Place::new(PORTAL, "/account")).await;
        assert_eq!(seen.status, StatusCode::SEE_OTHER, "the attacker is nobody: {}", seen.text());
    }
    assert_eq!(house.lab.control().signed_in(&bens.token, Timestamp::now()).map(|(person, _)| person.id), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_sites_page_signs_anybody_in_or_out_or_does_anything_in_their_name() {
    let house = House::build().await;
    give_password(&house.lab, &house.ben).await;
    let session = house.open_robot(&house.anna).await;
    let mut anna = house.signed_in(&house.anna).await;
    let home = anna.go(&Place::new(PORTAL, "/")).await;
    let own = field(&home, "form-token");
    let mut ben = house.browser();
    let bens = field(&ben.go(&Place::new(PORTAL, "/sign-in")).await, "form-token");
    let (cookies, robot) = (anna.cookies(PORTAL), house.lab.record("pi", "robot").service.id);
    let deeds = [
        ("/sign-in".to_owned(), vec![("name", "ben"), ("password", PASSWORD)]),
        ("/sign-out".to_owned(), vec![]),
        (format!("/sessions/{}/end", session.id), vec![]),
        (format!("/services/{robot}/open"), vec![("minutes", "60")]),
        ("/logins/others/end".to_owned(), vec![]),
        ("/account/password".to_owned(), vec![("old", PASSWORD), ("password", "x"), ("again", "x")]),
        ("/welcome/accept".to_owned(), vec![("code", "x"), ("password", "x"), ("again", "x")]),
    ];
    // By a sibling device's page, by a stranger's, with no word of where from, or with a form that was made for somebody else.
    let manners: [(&[(&str, &str)], &str); 7] = [
        (&[("sec-fetch-site", "same-site"), ("origin", "https://page-pi.gw.test")], &own),
        (&[("sec-fetch-site", "cross-site"), ("origin", "https://evil.test")], &own),
        (&[("origin", "null")], &own),
        (&[("sec-fetch-site", "none")], &own),
        (&[], &own),
        (&[("sec-fetch-site", "same-origin")], &bens),
        (&[("sec-fetch-site", "same-origin")], ""),
    ];
    let mut refused = 0;
    for (path, fields) in &deeds {
        for (headers, form_token) in &manners {
            let mut fields = fields.clone();
            fields.push(("form-token", form_token));
            let mut asked = request(PORTAL, path).method("POST").header("cookie", &cookies);
            for (name, value) in *headers {
                asked = asked.header(*name, *value);
            }
            let asked = asked.header("content-type", "application/x-www-form-urlencoded");
            let answer = send(house.lab.http(), asked.body(full(form(&fields))).unwrap()).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {headers:?}");
            assert!(!answer.headers.contains_key("set-cookie"), "{path} {headers:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, 49);
    assert_eq!(house.lab.control().snapshot().session(session.id), Some(&session));
    assert_eq!(anna.go(&Place::new(PORTAL, "/account")).await.status, StatusCode::OK);
    // A link may lead here from anywhere, and does nothing.
    for path in ["/sign-out", "/sessions/1/end", "/logins/others/end"] {
        let answer = anna.go(&Place::new(PORTAL, path)).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    assert_eq!(anna.follow(&Place::new(PAGE, "/a")).await.1.text(), "/a");
}
