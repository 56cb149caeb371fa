//! Every place that takes a way to go on from a URL or form.

use crate::{House, PAGE, PASSWORD, PORTAL, field, form, give_password};
use doorward_lab::browser::{Place, leads_to};
use http::StatusCode;

/// As browsers have read them over the years.
const TRICKS: [&str; 32] = [
    "//evil.test",
    "///evil.test",
    "////evil.test",
    "/\\evil.test",
    "\\\\evil.test",
    "\\/evil.test",
    "/\t/evil.test",
    "/\n/evil.test",
    "/\r\n//evil.test",
    "\t//evil.test",
    " //evil.test",
    "/ /evil.test",
    "https://evil.test",
    "https:evil.test",
    "https:/evil.test",
    "https:///evil.test",
    "http://evil.test",
    "HTTPS://evil.test",
    "//evil.test@portal.gw.test",
    "https://portal.gw.test@evil.test",
    "https://portal.gw.test.evil.test",
    "//portal.gw.test:443@evil.test",
    "javascript:alert('evil.test')",
    "javascript://portal.gw.test/%0aevil.test",
    "data:text/html,evil.test",
    "evil.test",
    ".evil.test",
    "@evil.test",
    ":80/evil.test",
    "?to=//evil.test#\\",
    "/\u{2044}evil.test",
    "/\u{ff0f}evil.test",
];

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Where the answer sends its browser, by whatever means.
fn ways(answer: &doorward_lab::visitor::Answer) -> String {
    let header = |name: &str| answer.headers.get(name).map(|value| format!("{value:?} ")).unwrap_or_default();
    let text = answer.text();
    let links = text.split(['"', '\'']).filter(|part| part.contains("evil") && !part.starts_with("/door?"));
    header("location") + &header("refresh") + &header("link") + &links.collect::<String>()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_elsewhere_by_any_way_that_a_url_or_form_names() {
    let house = House::build().await;
    give_password(&house.lab, &house.anna).await;
    let mut signed_in = house.signed_in(&house.anna).await;
    let start = Place::new(PAGE, "/");
    let door = leads_to(&start, &signed_in.go(&start).await).unwrap();
    let challenge = door.asked("challenge").unwrap();
    let mut stranger = house.browser();
    let sign_in = Place::new(PORTAL, "/sign-in");
    for trick in TRICKS {
        let then = encoded(trick);
        // Who is signed in is sent on at once; who is not, after the form.
        let sent_on = signed_in.go(&Place::new(PORTAL, &format!("/sign-in?then={then}"))).await;
        assert_eq!(leads_to(&sign_in, &sent_on), Some(Place::new(PORTAL, "/")), "{trick:?}");
        let page = stranger.go(&Place::new(PORTAL, &format!("/sign-in?then={then}"))).await;
        assert_eq!((page.status, field(&page, "then").as_str()), (StatusCode::OK, "/"), "{trick:?}");
        let at_door = Place::new(PORTAL, &format!("/door?host={PAGE}&challenge={challenge}&to={then}"));
        assert_eq!(signed_in.go(&at_door).await.status, StatusCode::NOT_FOUND, "{trick:?}");
        let path = format!("/.well-known/doorward/enter?code=x&to={then}");
        let lost = signed_in.go(&Place::new(PAGE, &path)).await;
        for answer in [&sent_on, &page, &lost] {
            assert!(!ways(answer).contains("evil"), "{trick:?}: {}", ways(answer));
        }
        for way in [trick, &format!("/door?host=evil.test&challenge={challenge}&to=/"), &format!("/door?to={then}")] {
            let home = signed_in.go(&Place::new(PORTAL, "/")).await;
            let fields = [("form-token", &*field(&home, "form-token")), ("way", way), ("minutes", "5")];
            let pressed = signed_in.press(&Place::new(PORTAL, "/door"), &form(&fields)).await;
            assert!(!ways(&pressed).contains("evil"), "{way:?}: {}", ways(&pressed));
        }
    }
    for trick in ["//evil.test", "/\\evil.test", "https://evil.test", "/\t/evil.test"] {
        let mut browser = house.browser();
        let page = browser.go(&sign_in).await;
        let fields =
            [("form-token", &*field(&page, "form-token")), ("name", "anna"), ("password", PASSWORD), ("then", trick)];
        let answer = browser.press(&sign_in, &form(&fields)).await;
        assert!(answer.status == StatusCode::OK && answer.text().contains("url=/\""), "{}", answer.text());
        assert!(!ways(&answer).contains("evil"), "{trick:?}: {}", ways(&answer));
    }
    // On its way to signing in, a page's own address stays an address here.
    for path in ["/logins?a=//evil.test", "/account?x=https://evil.test", "/logins//evil.test"] {
        let answer = house.browser().go(&Place::new(PORTAL, path)).await;
        let to = leads_to(&Place::new(PORTAL, path), &answer).map(|place| place.host);
        assert!(to.is_none_or(|host| host == PORTAL), "{path}");
    }
}
