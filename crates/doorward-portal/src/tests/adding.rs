//! Adding a device, a service, and looking at requests, on the pages.

use super::site::{add, ask, browse, form_token, sign_in};
use super::support::*;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use doorward_control::{LinkId, NewPerson, Refusal, Told};
use doorward_core::invite::Invite;
use doorward_core::names::Label;
use doorward_core::person::Role;

/// What stands between two marks; the first time.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before} is missing in {text}"));
    rest.split(after).next().unwrap()
}

#[tokio::test]
async fn the_page_gives_a_line_without_the_invite_and_the_invite_once() {
    let portal = Portal::open().await;
    let anna = add(&portal, "anna").await;
    let login = sign_in(&portal, &anna).await;
    let page = browse(&portal, Some(&login), "GET", "/add-device", "").await;
    let form = format!("form-token={}", form_token(&page));
    let made = browse(&portal, Some(&login), "POST", "/add-device", &form).await;
    assert_eq!(made.status.as_u16(), 200, "{}", made.text);
    let invite = between(&made.text, "<code>DW1", "</code>");
    Invite::parse(&format!("DW1{invite}")).unwrap();
    assert_eq!(made.text.matches(invite).count(), 1, "it stands in no line");
    let ask_at = between(&made.text, "data-ask=\"", "\"").to_owned();
    let again = browse(&portal, Some(&login), "GET", ask_at.trim_end_matches("/arrival"), "").await;
    assert!(again.status.is_success() && !again.text.contains("DW1"), "{}", again.text);
    let arrival = browse(&portal, Some(&login), "GET", &ask_at, "").await;
    assert_eq!(arrival.text, r#"{"device":null,"is-online":false}"#);

    // The line as a person copies it: what it fetches is what it promises.
    let line =
        between(&made.text, "<pre class=\"copy\"><code>", "</code>").replace("&#34;", "\"").replace("&#39;", "'");
    let line = line.replace("&#38;", "&").replace("&#60;", "<").replace("&#62;", ">");
    assert!(line.contains("https://portal.example.org/add.sh") && line.contains("sudo sh"), "{line}");
    let script = ask(&portal, "GET", "/add.sh", &[], "").await;
    assert!(line.contains(&HEXLOWER.encode(digest(&SHA256, script.text.as_bytes()).as_ref())), "{line}");
    let own = format!("{} ", std::env::consts::ARCH);
    let promised = between(&script.text, &own, "'").to_owned();
    let router = crate::site(portal.state.clone());
    let path = format!("/builds/doorward-{}", std::env::consts::ARCH);
    let request =
        http::Request::get(path).header("host", "portal.example.org").body(axum::body::Body::empty()).unwrap();
    let body = tower::ServiceExt::oneshot(router, request).await.unwrap().into_body();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    assert_eq!(HEXLOWER.encode(digest(&SHA256, &bytes).as_ref()), promised.trim());

    let ben = add(&portal, "ben").await;
    let theirs = sign_in(&portal, &ben).await;
    let not_his = browse(&portal, Some(&theirs), "GET", &ask_at, "").await;
    let nobodys = browse(&portal, Some(&theirs), "GET", "/add-device/999/arrival", "").await;
    assert_eq!((not_his.status.as_u16(), nobodys.status.as_u16()), (404, 404));
}

#[tokio::test]
async fn guests_add_nothing_and_see_no_such_page() {
    let portal = Portal::open().await;
    let new = NewPerson { name: Label::parse("gast").unwrap(), title: None, role: Role::Guest, ends_at: None };
    let guest = portal.state.control.add_person(new, noon()).await.unwrap();
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[r#"{"name": "web", "kind": "http"}"#]).await;
    let login = sign_in(&portal, &guest).await;
    for path in ["/add-device", "/devices/zumi01/services", "/services/zumi01/web/requests", "/devices/none/services"] {
        assert_eq!(browse(&portal, Some(&login), "GET", path, "").await.status.as_u16(), 404, "{path}");
    }
    let home = browse(&portal, Some(&login), "GET", "/", "").await;
    assert!(!home.text.contains("/add-device"));
}

#[tokio::test]
async fn a_service_is_wished_for_shown_with_what_stands_in_its_way_and_taken_back() {
    let portal = Portal::open().await;
    let anna = add(&portal, "anna").await;
    let device = portal.join_for(anna.id, 1, "zumi01").await;
    portal.offer(&device, &[r#"{"name": "own", "title": "Own <1>", "kind": "http"}"#]).await;
    let login = sign_in(&portal, &anna).await;
    let at = "/devices/zumi01/services";
    let told = Told { may_offer: vec!["127.0.0.1:*".into()], ..Told::default() };
    let own = portal.state.control.snapshot().service_of(device.id, &Label::parse("own").unwrap()).unwrap().id;
    portal.state.control.presence().service_written(own, Some("/etc/doorward/agent.toml:7".into()));
    portal.state.control.hear_of_additions(device.id, LinkId(1), told.clone());
    let page = browse(&portal, Some(&login), "GET", at, "").await;
    for part in ["Own &#60;1&#62;", "/etc/doorward/agent.toml:7", "<code>127.0.0.1:*</code>", "may-scan = true"] {
        assert!(page.text.contains(part), "{part} is missing in {}", page.text);
    }
    assert!(!page.text.contains("value=\"own\""), "what is the file's is not removed here");
    let form = format!("form-token={}", form_token(&page));
    let wish = |name: &str, target: &str| format!("{form}&name={name}&title=&target={target}&preset=octoprint");
    let added = browse(&portal, Some(&login), "POST", at, &wish("far", "http%3A%2F%2F192.168.1.5%3A5000")).await;
    assert_eq!(added.status.as_u16(), 303, "{}", added.text);
    let waiting = browse(&portal, Some(&login), "GET", at, "").await;
    assert!(waiting.text.contains("waiting for the device") && waiting.text.contains("data-again"));

    let refusal = Refusal { why: "it may not".into(), needs: Some("192.168.1.5:5000".into()) };
    let told = Told { refusals: [(Label::parse("far").unwrap(), refusal)].into(), ..told };
    portal.state.control.hear_of_additions(device.id, LinkId(1), told);
    let refused = browse(&portal, Some(&login), "GET", at, "").await;
    for part in [
        "refused by the device",
        "may-offer = [&#34;127.0.0.1:*&#34;, &#34;192.168.1.5:5000&#34;]",
        "target = &#34;http://192.168.1.5:5000&#34;\npreset = &#34;octoprint&#34;",
    ] {
        assert!(refused.text.contains(part), "{part} is missing in {}", refused.text);
    }
    for (name, target, why) in
        [("own", "tcp%3A%2F%2Fa", "own settings"), ("Not A Name!", "tcp%3A%2F%2Fa", ""), ("x", "a%22b", "target")]
    {
        let odd = browse(&portal, Some(&login), "POST", at, &wish(name, target)).await;
        assert_eq!(odd.status.as_u16(), 422, "{name}");
        assert!(odd.text.contains(why) && odd.text.contains("role=\"alert\""), "{}", odd.text);
    }
    let removed = browse(&portal, Some(&login), "POST", &format!("{at}/remove"), &format!("{form}&name=far")).await;
    assert_eq!(removed.status.as_u16(), 303);
    assert_eq!(portal.state.control.wanted(device.id).services, []);
}

#[tokio::test]
async fn looking_at_requests_begins_and_ends_by_presses_of_their_owner() {
    let portal = Portal::open().await;
    let (anna, ben) = (add(&portal, "anna").await, add(&portal, "ben").await);
    let device = portal.join_for(anna.id, 1, "zumi01").await;
    portal
        .offer(&device, &[r#"{"name": "web", "kind": "http", "access": {"who": "people", "people": ["ben"]}}"#])
        .await;
    let service = portal.state.control.snapshot().service_of(device.id, &Label::parse("web").unwrap()).unwrap().id;
    let (login, theirs) = (sign_in(&portal, &anna).await, sign_in(&portal, &ben).await);
    let at = "/services/zumi01/web/requests";
    let page = browse(&portal, Some(&login), "GET", at, "").await;
    let form = format!("form-token={}&minutes=30&with-bodies=yes", form_token(&page));
    assert_eq!(browse(&portal, Some(&login), "POST", at, &form).await.status.as_u16(), 303);
    let looking = portal.state.control.inspections().of(service, noon()).unwrap();
    assert!(looking.with_bodies && looking.until > noon());
    let page = browse(&portal, Some(&login), "GET", at, "").await;
    assert!(page.text.contains("data-left") && page.text.contains("No request came yet."), "{}", page.text);
    // Whoever may use a service does not see who else does.
    for path in [at.to_owned(), "/api/v1/services/zumi01/web/inspection".to_owned()] {
        assert_eq!(browse(&portal, Some(&theirs), "GET", &path, "").await.status.as_u16(), 404, "{path}");
    }
    browse(&portal, Some(&login), "POST", &format!("{at}/end"), &form).await;
    assert!(portal.state.control.inspections().of(service, noon()).is_none());
}
