//! Headers by which somebody claims to be somewhere else.

use crate::{House, PASSWORD, PORTAL, field, form, give_password, token};
use doorward_core::access::PolicyDocument;
use doorward_lab::browser::Place;
use doorward_lab::visitor::{self, request, send};
use doorward_lab::{LOOPBACK, service};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

/// As whoever stands in front of some other program would say it.
const CLAIMS: [(&str, &str); 14] = [
    ("x-forwarded-for", "192.0.2.7"),
    ("x-forwarded-for", "127.0.0.1, 192.0.2.7"),
    ("forwarded", "for=192.0.2.7;host=portal.gw.test;proto=https"),
    ("x-real-ip", "192.0.2.7"),
    ("x-client-ip", "192.0.2.7"),
    ("client-ip", "192.0.2.7"),
    ("true-client-ip", "192.0.2.7"),
    ("cf-connecting-ip", "192.0.2.7"),
    ("fly-client-ip", "192.0.2.7"),
    ("x-cluster-client-ip", "192.0.2.7"),
    ("x-original-forwarded-for", "192.0.2.7"),
    ("x-envoy-external-address", "192.0.2.7"),
    ("x_forwarded_for", "192.0.2.7"),
    ("via", "1.1 192.0.2.7"),
];

fn headers(name: &str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())])
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_claims_to_come_from_elsewhere_comes_from_where_they_are() {
    let house = House::build().await;
    give_password(&house.lab, &house.anna).await;
    let mut near = service("near", &house.page.url());
    near.offer.access = PolicyDocument { from: Some(vec!["192.0.2.0/24".to_owned()]), ..PolicyDocument::public() };
    let _other = house.lab.device("other", vec![near]).await;
    for (name, value) in CLAIMS {
        let asked = request("near-other.gw.test", "/a").header(name, value);
        let answer = send(house.lab.http(), asked.body(visitor::nothing()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}: {value}");
    }
    assert!(house.page.requests().is_empty());

    // Nor does the portal take their word for it, or for who they are.
    let mut browser = house.browser();
    browser.headers = headers("x-forwarded-for", "192.0.2.7");
    let place = Place::new(PORTAL, "/sign-in");
    let page = browser.go(&place).await;
    let fields = [("form-token", &*field(&page, "form-token")), ("name", "anna"), ("password", PASSWORD)];
    assert_eq!(browser.press(&place, &form(&fields)).await.status, StatusCode::OK);
    let snapshot = house.lab.control().snapshot();
    let login = snapshot.logins_of(house.anna.id).next().unwrap();
    assert_eq!(login.source, Some(LOOPBACK));
    for name in ["x-forwarded-user", "remote-user", "x-remote-user", "x-webauth-user", "x-authenticated-user"] {
        let asked = request(PORTAL, "/api/v1/sessions").header(name, "owner");
        let answer = send(house.lab.http(), asked.body(visitor::nothing()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
    }
    // A path or method that only a header names is not what is done.
    let ben = token(&house.lab, &house.ben).await;
    for (name, value) in [
        ("x-original-url", "/api/v1/people"),
        ("x-rewrite-url", "/api/v1/people"),
        ("x-http-method-override", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-forwarded-host", "vault-pi.gw.test"),
        ("x-forwarded-prefix", "/api/v1/people"),
    ] {
        let asked = request(PORTAL, "/api/v1/services").header(name, value);
        let asked = asked.header("authorization", format!("Bearer dw_{ben}"));
        let answer = send(house.lab.http(), asked.body(visitor::nothing()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert!(answer.text().contains("\"robot\"") && !answer.text().contains("vault"), "{name}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_with_a_new_claim_each_time_is_slowed_down_all_the_same() {
    let house = House::build().await;
    give_password(&house.lab, &house.anna).await;
    let mut told_to_wait = 0;
    let place = Place::new(PORTAL, "/sign-in");
    let mut browser = house.browser();
    let page = browser.go(&place).await;
    for attempt in 0..25 {
        browser.headers = headers("x-forwarded-for", &format!("192.0.2.{attempt}"));
        let name = format!("nobody-{attempt}");
        let fields = [("form-token", &*field(&page, "form-token")), ("name", &name), ("password", "not the one")];
        let status = browser.press(&place, &form(&fields)).await.status;
        told_to_wait += u32::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(told_to_wait >= 1);
}
