//! Pages on which owners manage people, groups and the audit, as their browsers meet them.

use super::signing_in::{Browser, PASSWORD};
use super::site::{add, browse};
use super::support::*;
use doorward_control::{Anchor, ChainedLine, GroupEdit, PersonEdit, Verifier};
use doorward_core::names::Label;
use doorward_core::person::Role;

pub(super) const MARKUP: &str = "<img src=x onerror=alert(1)>\"'&";
/// As a page shows it.
pub(super) const SHOWN: &str = "&#60;img src=x onerror=alert(1)&#62;&#34;&#39;&#38;";

pub(super) fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

/// Somebody of this role at a browser.
pub(super) async fn at_browser<'p>(portal: &'p Portal, name: &str, role: Role) -> Browser<'p> {
    let person = add(portal, name).await;
    let edit = PersonEdit { role: Some(role), ..PersonEdit::default() };
    let person = portal.state.control.edit_person(person.id, edit, None, noon()).await.unwrap();
    Browser::of(portal, &person).await
}

#[tokio::test]
async fn pages_are_there_for_those_whose_role_manages_what_they_show() {
    let portal = Portal::open().await;
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[r#"{"name": "web", "kind": "http"}"#]).await;
    portal.state.control.add_group(label("class"), None, Vec::new(), noon()).await.unwrap();
    let mut owner = at_browser(&portal, "olga", Role::Owner).await;
    let mut member = at_browser(&portal, "mia", Role::Member).await;
    let mut guest = at_browser(&portal, "gus", Role::Guest).await;
    let pages = [
        ("/policies", 200),
        ("/policies/zumi01/web", 404),
        ("/people", 404),
        ("/people/new", 404),
        ("/people/mia", 404),
        ("/import", 404),
        ("/groups", 404),
        ("/groups/class", 404),
        ("/audit", 404),
        ("/audit/export", 404),
    ];
    for (page, for_members) in pages {
        assert_eq!(owner.get(page).await, 200, "{page}: {}", owner.page.text);
        assert_eq!((member.get(page).await, guest.get(page).await), (for_members, 404), "{page}");
        let stranger = browse(&portal, None, "GET", page, "").await;
        assert_eq!(stranger.status.as_u16(), 303, "{page}");
    }
    let posts = [
        "/people/new",
        "/invitations/new",
        "/invitations/1/revoke",
        "/people/gus",
        "/people/gus/remove",
        "/people/gus/link",
        "/people/gus/logins/end",
        "/people/gus/logins/1/end",
        "/import",
        "/groups",
        "/groups/class",
        "/groups/class/remove",
        "/policies/zumi01/web",
        "/policies/zumi01/web/back",
    ];
    let before = portal.state.control.snapshot().generation();
    for path in posts {
        member.get("/account").await;
        let fields = [("role", "owner"), ("name", "eve"), ("version", "1"), ("certain", "yes"), ("who", "public")];
        assert_eq!(member.send(path, &fields).await, 404, "{path}: {}", member.page.text);
    }
    assert_eq!(portal.state.control.snapshot().generation(), before, "nothing was done");
    for (browser, led_to) in [(&mut owner, 4), (&mut member, 2), (&mut guest, 1)] {
        browser.get("/").await;
        let places = ["href=\"/policies\"", "href=\"/people\"", "href=\"/audit\"", "class=\"places\""];
        assert_eq!(places.iter().filter(|place| browser.page.text.contains(**place)).count(), led_to);
    }
}

#[tokio::test]
async fn an_invitation_is_made_with_its_picture_used_and_taken_back() {
    let portal = Portal::open().await;
    let mut owner = at_browser(&portal, "olga", Role::Owner).await;
    portal.state.control.add_group(label("class"), None, Vec::new(), noon()).await.unwrap();
    owner.get("/people/new").await;
    let wish = [
        ("title", "Robotics <9b>"),
        ("uses", "30"),
        ("days", "14"),
        ("role", "guest"),
        ("groups", "class"),
        ("ends", "2027-02-01"),
    ];
    assert_eq!(owner.send("/invitations/new", &wish).await, 200, "{}", owner.page.text);
    assert!(owner.page.text.contains("<svg") && owner.page.text.contains("Robotics &#60;9b&#62;"));
    let (_, rest) = owner.page.text.split_once("https://portal.example.org/welcome#").unwrap();
    let code = rest.split('<').next().unwrap().to_owned();
    let mut newcomer = Browser::open(&portal, "/welcome").await;
    assert_eq!(newcomer.send("/welcome", &[("code", &code)]).await, 200);
    let answer = [("code", code.as_str()), ("name", "anna"), ("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(newcomer.send("/welcome/accept", &answer).await, 200, "{}", newcomer.page.text);
    let anna = portal.state.control.snapshot().person_by_name(&label("anna")).unwrap().clone();
    assert_eq!((anna.role, anna.is_in(&label("class"))), (Role::Guest, true));
    assert_eq!(anna.ends_at, Some("2027-02-01T00:00:00Z".parse().unwrap()));

    owner.get("/people?find=class").await;
    let text = &owner.page.text;
    assert!(text.contains("href=\"/people/anna\"") && !text.contains("href=\"/people/olga\""), "{text}");
    assert!(text.contains("1 / 30") && text.contains("2027-02-01") && !text.contains(&code), "{text}");
    assert_eq!(owner.send("/invitations/99/revoke", &[]).await, 404);
    let made = portal.state.control.invitations().await.unwrap()[0].id;
    owner.get("/people").await;
    assert_eq!(owner.send(&format!("/invitations/{made}/revoke"), &[]).await, 303);
    let mut late = Browser::open(&portal, "/welcome").await;
    assert_eq!(late.send("/welcome", &[("code", &code)]).await, 410);
    for (field, value, says) in [
        ("uses", "0", "for 1 to 10000 people"),
        ("days", "9000", "a year at most"),
        ("groups", "nosuch", "there is no group"),
        ("ends", "2020-01-01", "ended already"),
    ] {
        owner.get("/people/new").await;
        let wrong: Vec<_> = wish.iter().map(|(key, old)| (*key, if *key == field { value } else { *old })).collect();
        assert_eq!(owner.send("/invitations/new", &wrong).await, 422, "{field}: {}", owner.page.text);
        assert!(owner.error().contains(says), "{field}: {}", owner.error());
    }
}

#[tokio::test]
async fn a_person_is_changed_signed_out_let_in_again_and_removed() {
    let portal = Portal::open().await;
    let mut owner = at_browser(&portal, "olga", Role::Owner).await;
    let mut anna = at_browser(&portal, "anna", Role::Member).await;
    owner.get("/people/anna").await;
    let seen = owner.field("version");
    let fields = |version, title, role, ends, disabled: bool| {
        let mut fields = vec![("version", version), ("title", title), ("role", role), ("ends", ends)];
        fields.extend(disabled.then_some(("disabled", "yes")));
        fields
    };
    assert_eq!(owner.send("/people/anna", &fields(&seen, "Anna B.", "guest", "2027-02-01", false)).await, 200);
    let standing = || portal.state.control.snapshot().person_by_name(&label("anna")).unwrap().clone();
    assert_eq!((standing().title.as_str(), standing().role), ("Anna B.", Role::Guest));
    let end = standing().ends_at;
    assert_eq!(end, Some("2027-02-01T00:00:00Z".parse().unwrap()));

    // What somebody else did meanwhile is shown, and what was typed stays.
    assert_eq!(owner.send("/people/anna", &fields(&seen, "Annie", "owner", "", false)).await, 412);
    let text = &owner.page.text;
    assert!(text.contains("<dd>Anna B.</dd>") && text.contains("value=\"Annie\""), "{text}");
    assert!(text.contains("<dd>2027-02-01</dd>") && standing().title == "Anna B.");
    let newest = owner.field("version");

    assert_eq!(anna.get("/account").await, 200);
    assert_eq!(owner.send("/people/anna/logins/end", &[]).await, 303);
    assert_eq!(anna.get("/account").await, 303, "her browser is signed out");
    let anna = &mut Browser::of(&portal, &standing()).await;
    owner.get("/people/anna").await;
    let login = portal.state.control.logins_of(standing().id, noon())[0].login.id;
    assert_eq!(owner.send(&format!("/people/olga/logins/{login}/end"), &[]).await, 303);
    assert_eq!(anna.get("/account").await, 200, "it is none of olga's");
    owner.get("/people/anna").await;
    assert_eq!(owner.send(&format!("/people/anna/logins/{login}/end"), &[]).await, 303);
    assert_eq!(anna.get("/account").await, 303);

    let anna = &mut Browser::of(&portal, &standing()).await;
    owner.get("/people/anna").await;
    assert_eq!(owner.send("/people/anna", &fields(&newest, "Anna B.", "guest", "2027-02-01", true)).await, 200);
    assert_eq!((anna.get("/account").await, standing().ends_at), (303, end), "disabled, and the end stays");
    assert!(owner.page.text.contains("disabled</span>"));

    assert_eq!(owner.send("/people/anna/link", &[]).await, 200);
    assert!(owner.page.text.contains("/welcome#") && owner.page.text.contains("<svg"));
    owner.get("/people/anna").await;
    let version = owner.field("version");
    assert_eq!(owner.send("/people/anna/remove", &[("version", &version)]).await, 422);
    assert_eq!(owner.error(), "Tick the box first.");
    assert_eq!(owner.send("/people/anna/remove", &[("version", "1"), ("certain", "yes")]).await, 412);
    assert_eq!(owner.send("/people/anna/remove", &[("version", &version), ("certain", "yes")]).await, 303);
    assert_eq!(owner.get("/people/anna").await, 404);
}

#[tokio::test]
async fn the_last_owner_stays_and_is_told_so() {
    let portal = Portal::open().await;
    let mut owner = at_browser(&portal, "olga", Role::Owner).await;
    let first = portal.state.control.snapshot().person_by_name(&label("owner")).unwrap().id;
    let edit = PersonEdit { is_disabled: Some(true), ..PersonEdit::default() };
    portal.state.control.edit_person(first, edit, None, noon()).await.unwrap();
    let told = "nobody would be left who owns this gateway: make somebody else an owner first";
    for (role, ends, disabled) in [("member", "", None), ("owner", "2027-02-01", None), ("owner", "", Some("yes"))] {
        owner.get("/people/olga").await;
        let version = owner.field("version");
        let mut fields = vec![("version", version.as_str()), ("title", "olga"), ("role", role), ("ends", ends)];
        fields.extend(disabled.map(|yes| ("disabled", yes)));
        assert_eq!(owner.send("/people/olga", &fields).await, 422);
        assert_eq!(owner.error(), told);
    }
    let version = owner.field("version");
    assert_eq!(owner.send("/people/olga/remove", &[("version", &version), ("certain", "yes")]).await, 422);
    assert_eq!(owner.error(), told);
    assert_eq!(owner.get("/people/olga").await, 200, "she is there still, and signed in");
}

#[tokio::test]
async fn a_list_is_added_as_a_whole_and_its_faults_are_named_by_line() {
    let portal = Portal::open().await;
    let mut owner = at_browser(&portal, "olga", Role::Owner).await;
    portal.state.control.add_group(label("class"), None, Vec::new(), noon()).await.unwrap();
    owner.get("/import").await;
    let usual = [("role", "guest"), ("groups", "class"), ("ends", "2027-02-01")];
    let list = |csv| [&[("csv", csv)], &usual[..]].concat();
    assert_eq!(owner.send("/import", &list("title\nAnna\nAnna\n<>\n")).await, 422);
    let text = &owner.page.text;
    assert!(text.contains("<li>Line 3: ") && text.contains("<li>Line 4: "), "{text}");
    assert!(text.contains("&#60;&#62;</textarea>") && !text.contains("<>\n"), "what was typed stays: {text}");
    assert_eq!(portal.state.control.snapshot().people().count(), 2);
    assert_eq!(owner.send("/import", &list("title\nAnna Böhm\nBen <b>\n")).await, 200);
    let text = &owner.page.text;
    assert_eq!(text.matches("https://portal.example.org/welcome#").count(), 2);
    assert!(text.contains("anna-boehm") && text.contains("Ben &#60;b&#62;"));
    let ben = portal.state.control.snapshot().person_by_name(&label("ben-b")).unwrap().clone();
    assert_eq!((ben.role, ben.is_in(&label("class"))), (Role::Guest, true));
    owner.get("/import").await;
    let long = format!("title\n{}", (0..4500).map(|n| format!("Pupil number {n} of our school\n")).collect::<String>());
    assert!(long.len() > 100_000);
    assert_eq!(owner.send("/import", &[("csv", long.as_str()), ("role", "member"), ("groups", "no")]).await, 422);
    assert!(
        owner.page.text.contains("Line 2: ") && !owner.page.text.contains("Line 200: "),
        "the first faults suffice"
    );
}

#[tokio::test]
async fn groups_are_made_filled_emptied_and_removed() {
    let portal = Portal::open().await;
    let mut owner = at_browser(&portal, "olga", Role::Owner).await;
    add(&portal, "anna").await;
    add(&portal, "ben").await;
    owner.get("/groups").await;
    assert_eq!(owner.send("/groups", &[("name", "class"), ("title", "9b"), ("people", "anna, ben")]).await, 303);
    assert_eq!(owner.get("/groups").await, 200);
    assert!(owner.page.text.contains("2 in it"), "{}", owner.page.text);
    assert_eq!(owner.send("/groups", &[("name", "class"), ("people", "")]).await, 422);
    assert_eq!(owner.error(), "there is a group \"class\" already".replace('"', "&#34;"));
    owner.get("/groups/class").await;
    let version = owner.field("version");
    let fields =
        [("version", version.as_str()), ("title", "9b"), ("remove", "anna"), ("remove", "ben"), ("add", "olga")];
    assert_eq!(owner.send("/groups/class", &fields).await, 303);
    let members = || {
        let snapshot = portal.state.control.snapshot();
        let mut names: Vec<_> =
            snapshot.people().filter(|p| p.is_in(&label("class"))).map(|p| p.name.to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(members(), ["olga"]);
    owner.get("/groups/class").await;
    let stale = [("version", version.as_str()), ("title", "9b"), ("add", "anna")];
    assert_eq!(owner.send("/groups/class", &stale).await, 412);
    assert!(owner.page.text.contains("name=\"add\" value=\"anna\""), "what was typed stays");
    let version = owner.field("version");
    let unknown = [("version", version.as_str()), ("title", "9b"), ("add", "nosuch")];
    assert_eq!(owner.send("/groups/class", &unknown).await, 422);
    assert_eq!(owner.error(), "there is no person &#34;nosuch&#34;");
    assert_eq!(owner.send("/groups/class/remove", &[("version", &version), ("certain", "yes")]).await, 303);
    assert_eq!((owner.get("/groups/class").await, members().len()), (404, 0));
}

#[tokio::test]
async fn the_audit_is_looked_through_held_against_its_chain_and_taken_along() {
    let portal = Portal::open().await;
    let mut owner = at_browser(&portal, "olga", Role::Owner).await;
    let group = |n: usize| portal.state.control.add_group(label(&format!("group-{n}")), None, Vec::new(), noon());
    for n in 0..120 {
        group(n).await.unwrap();
    }
    assert_eq!(owner.get("/audit?deed=group-changed").await, 200);
    let rows = |text: &str| text.matches("<th scope=\"row\">").count();
    assert_eq!(rows(&owner.page.text), 100);
    let (_, rest) = owner.page.text.split_once("<a href=\"/audit?").unwrap();
    let older = format!("/audit?{}", rest.split('"').next().unwrap().replace("&#38;", "&"));
    assert!(older.contains("deed=group-changed&before="), "{older}");
    assert_eq!(owner.get(&older).await, 200);
    assert_eq!(rows(&owner.page.text), 20);
    for (search, expected) in [
        ("deed=login-begun", 1),
        ("person=olga&deed=person", 2),
        ("person=nobody-here", 0),
        ("since=2026-11-23T12:00&until=2026-11-23T12:01&deed=login", 1),
        ("since=2026-11-23T12:01", 0),
        ("device=group-7", 1),
    ] {
        assert_eq!(owner.get(&format!("/audit?{search}")).await, 200);
        assert_eq!(rows(&owner.page.text), expected, "{search}: {}", owner.page.text);
    }
    for wrong in ["since=soon", "person=%25", "before=x", "form=1"] {
        assert_eq!(owner.get(&format!("/audit?{wrong}")).await, 400, "{wrong}");
    }
    owner.get("/audit?verify=1").await;
    let verified = portal.state.control.verify_audit().await.unwrap();
    let head = verified.head.hash.to_string();
    assert!(owner.page.text.contains("All lines are as they were written:") && owner.page.text.contains(&head));

    owner.get("/audit/export").await;
    assert!(owner.page.header("content-disposition").starts_with("attachment"));
    let mut lines = owner.page.text.lines();
    let mark = |line: &str, word: &str| -> Anchor {
        serde_json::from_value(serde_json::from_str::<serde_json::Value>(line).unwrap()[word].clone()).unwrap()
    };
    let mut verifier = Verifier::from(mark(lines.next().unwrap(), "audit-after"));
    let mut last = "";
    for line in lines {
        if line.contains("audit-ends") {
            last = line;
            continue;
        }
        verifier.hold(&serde_json::from_str::<ChainedLine>(line).unwrap()).unwrap();
    }
    assert!(verifier.lines() > 120);
    assert_eq!(verifier.head(), mark(last, "audit-ends"));
    assert!(!owner.page.text.contains(PASSWORD));
}

#[tokio::test]
async fn markup_in_names_and_titles_is_shown_as_text_on_every_page() {
    let portal = Portal::open().await;
    let mut owner = at_browser(&portal, "olga", Role::Owner).await;
    let (control, marked) = (&portal.state.control, || Some(MARKUP.to_owned()));
    let anna = add(&portal, "anna").await;
    let edit = PersonEdit { title: marked(), ..PersonEdit::default() };
    control.edit_person(anna.id, edit, None, noon()).await.unwrap();
    control.add_group(label("class"), marked(), vec![label("anna")], noon()).await.unwrap();
    control
        .edit_group(label("class"), GroupEdit { title: marked(), ..GroupEdit::default() }, None, noon())
        .await
        .unwrap();
    control.begin_login(anna.id, MARKUP, None, noon()).await.unwrap();
    let device = portal.join(1, "zumi01").await;
    let offer = serde_json::json!({ "name": "web", "kind": "http", "title": MARKUP,
        "access": { "who": "people", "groups": ["class"] } });
    portal.offer(&device, &[&offer.to_string()]).await;
    owner.get("/people/new").await;
    let wish = [("title", MARKUP), ("uses", "2"), ("days", "1"), ("role", "guest"), ("groups", ""), ("ends", "")];
    assert_eq!(owner.send("/invitations/new", &wish).await, 200);
    assert!(owner.page.text.contains(SHOWN) && !owner.page.text.contains("<img"));
    let service = control.snapshot().record_of(device.id, &label("web")).unwrap().service.id;
    control.presence().service_written(service, marked());
    for page in [
        "/people",
        "/people/anna",
        "/groups",
        "/groups/class",
        "/policies",
        "/policies/zumi01/web",
        "/policies/zumi01/web?here=1",
        "/audit?deed=login",
    ] {
        assert_eq!(owner.get(page).await, 200, "{page}");
        let text = &owner.page.text;
        assert!(text.contains(SHOWN), "{page}: {text}");
        assert!(!text.contains("<img") && !text.contains("onerror=alert(1)>"), "{page}: {text}");
        assert!(!text.contains("style=") && !text.contains("<script>"), "{page}: nothing inline");
    }
    let query = serde_urlencoded::to_string([("find", MARKUP)]).unwrap();
    for page in ["/people", "/policies"] {
        owner.get(&format!("{page}?{query}")).await;
        assert!(owner.page.text.contains(SHOWN) && !owner.page.text.contains("<img"), "{page}");
    }
    let query = serde_urlencoded::to_string([("person", MARKUP)]).unwrap();
    owner.get(&format!("/audit?{query}")).await;
    assert!(owner.page.text.contains(SHOWN) && !owner.page.text.contains("<img"));
}
