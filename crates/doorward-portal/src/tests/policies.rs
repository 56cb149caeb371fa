//! The editor of policies, as browsers meet it, and the same by the API.

use super::managing::{MARKUP, SHOWN, at_browser, label};
use super::signing_in::Browser;
use super::site::add;
use super::support::*;
use doorward_control::{AccessHome, ServiceRecord, SessionRequest};
use doorward_core::access::{Proof, Visitor, decide};
use doorward_core::person::Role;
use doorward_core::service::Entrance;
use jiff::SignedDuration;
use serde_json::json;
use std::sync::Arc;

const WEB: &str = r#"{"name": "web", "kind": "http", "title": "Robot",
    "access": {"who": "people", "people": ["anna", "ben"], "groups": ["class"]}}"#;
const PAGE: &str = "/policies/zumi01/web";

struct Desk {
    portal: Portal,
}

impl Desk {
    /// A device of the owner's with one service, for anna, ben and a class.
    async fn set_up() -> Self {
        let portal = Portal::open().await;
        let device = portal.join(1, "zumi01").await;
        portal.offer(&device, &[WEB]).await;
        add(&portal, "anna").await;
        add(&portal, "ben").await;
        portal.state.control.add_group(label("class"), None, Vec::new(), noon()).await.unwrap();
        Self { portal }
    }

    fn record(&self) -> Arc<ServiceRecord> {
        let snapshot = self.portal.state.control.snapshot();
        let device = snapshot.device_by_name(&label("zumi01")).unwrap();
        snapshot.record_of(device.id, &label("web")).unwrap()
    }

    async fn owner(&self, name: &str) -> Browser<'_> {
        at_browser(&self.portal, name, Role::Owner).await
    }
}

/// What stands hidden in the form for fields, and in these.
fn form<'f>(
    browser: &Browser<'_>,
    hidden: &'f mut Vec<String>,
    fields: &[(&'f str, &'f str)],
) -> Vec<(&'f str, &'f str)> {
    let unescaped = |name: &str| browser.field(name).replace("&#34;", "\"").replace("&#38;", "&");
    *hidden = ["version", "mark", "rest"].map(unescaped).into();
    let names = ["version", "mark", "rest"];
    names.into_iter().zip(hidden.iter().map(String::as_str)).chain(fields.iter().copied()).collect()
}

/// The page's rows, one text each.
fn rows(browser: &Browser<'_>) -> Vec<String> {
    let body = browser.page.text.split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap();
    let row = |row: &str| {
        let mut text = String::new();
        let mut is_tag = false;
        for c in row.chars() {
            match c {
                '<' => is_tag = true,
                '>' => {
                    is_tag = false;
                    text.push(' ');
                }
                c if !is_tag => text.push(c),
                _ => {}
            }
        }
        let begins = text.find('>').map_or(0, |at| at + 1);
        text[begins..].split_whitespace().collect::<Vec<_>>().join(" ")
    };
    body.split("<tr").skip(1).map(|part| row(&format!("<tr{part}"))).collect()
}

#[tokio::test]
async fn what_the_device_says_is_only_shown_with_its_place_until_somebody_decides_here() {
    let desk = Desk::set_up().await;
    let mut owner = desk.owner("olga").await;
    owner.get(PAGE).await;
    assert!(owner.page.text.contains("It is written on the device.") && !owner.page.text.contains("name=\"do\""));
    let place = Some("/etc/doorward/agent.toml:12".to_owned());
    desk.portal.state.control.presence().service_written(desk.record().service.id, place);
    owner.get(PAGE).await;
    let text = &owner.page.text;
    assert!(text.contains("<code>/etc/doorward/agent.toml:12</code>"), "{text}");
    assert!(text.contains("[service.access]\nwho = &#34;people&#34;") && !text.contains("name=\"do\""), "{text}");
    owner.get(&format!("{PAGE}?here=1")).await;
    let mut hidden = Vec::new();
    let fields =
        form(&owner, &mut hidden, &[("do", "save"), ("who", "people"), ("people", "anna ben"), ("groups", "")]);
    assert_eq!(owner.send(PAGE, &fields).await, 200, "{}", owner.page.text);
    let record = desk.record();
    assert_eq!((record.access_home, record.access.people.len(), record.access.groups.len()), (AccessHome::Store, 2, 0));
    let text = &owner.page.text;
    assert!(text.contains("What the device says") && text.contains("/etc/doorward/agent.toml:12"), "{text}");
    let version = owner.field("version");
    assert_eq!(owner.send(&format!("{PAGE}/back"), &[("version", "1")]).await, 412);
    assert_eq!(owner.send(&format!("{PAGE}/back"), &[("version", &version)]).await, 200);
    let record = desk.record();
    assert_eq!((record.access_home, record.access.groups.len()), (AccessHome::Device, 1));
}

#[tokio::test]
async fn looking_ahead_says_who_would_come_in_and_changes_nothing() {
    let desk = Desk::set_up().await;
    let mut owner = desk.owner("olga").await;
    owner.get(&format!("{PAGE}?here=1")).await;
    let before = desk.portal.state.control.snapshot().generation();
    let mut hidden = Vec::new();
    let draft = [
        ("do", "look"),
        ("who", "people"),
        ("people", "anna carl"),
        ("groups", "class"),
        ("how", "on-request"),
        ("max-duration", "2h"),
        ("where", "networks"),
        ("from", "192.0.2.0/24"),
        ("hours", "certain"),
        ("zone", "Europe/Berlin"),
        ("open", "mon-fri 08:00-16:30\n"),
    ];
    let fields = form(&owner, &mut hidden, &draft);
    assert_eq!(owner.send(PAGE, &fields).await, 200, "{}", owner.page.text);
    let noon = "2026-11-23T12:00:00Z";
    let expected = [
        format!("A stranger anywhere {noon} no: the policy names other people no: the policy names other people"),
        format!(
            "Anybody else with an account anywhere {noon} no: the policy names other people no: the policy names other people"
        ),
        format!("Somebody in the group class anywhere {noon} yes yes, in a session until 2026-11-23T14:00:00Z"),
        format!("anna anywhere {noon} yes yes, in a session until 2026-11-23T14:00:00Z"),
        format!(
            "carl (nobody has this name) anywhere {noon} no: the policy names other people no: the policy names other people"
        ),
        format!("ben anywhere {noon} yes no: the policy names other people"),
    ];
    assert_eq!(rows(&owner), expected);
    assert_eq!(owner.page.text.matches("class=\"differs\"").count(), 3);
    assert!(
        owner.page.text.contains("value=\"on-request\" checked") && owner.page.text.contains("max-duration = &#34;2h")
    );

    let asked =
        [&draft[..], &[("ask-people", "anna"), ("ask-from", "198.51.100.1 192.0.2.7"), ("ask-at", "2026-11-23T16:00")]];
    let mut hidden = Vec::new();
    let fields = form(&owner, &mut hidden, &asked.concat());
    assert_eq!(owner.send(PAGE, &fields).await, 200, "{}", owner.page.text);
    // 16:00 by the clock of Berlin.
    let at = "2026-11-23T15:00:00Z";
    assert_eq!(
        rows(&owner).split_off(4),
        [
            format!("anna 198.51.100.1 {at} yes no: not from this address"),
            format!("anna 192.0.2.7 {at} yes yes, in a session until 2026-11-23T15:30:00Z"),
        ]
    );
    for (field, value) in [("ask-from", "home"), ("ask-at", "soon"), ("ask-people", "an!na")] {
        let mut hidden = Vec::new();
        let fields = form(&owner, &mut hidden, &[&draft[..], &[(field, value)]].concat());
        assert_eq!(owner.send(PAGE, &fields).await, 400, "{field}");
        owner.get(&format!("{PAGE}?here=1")).await;
    }
    assert_eq!(desk.portal.state.control.snapshot().generation(), before);
}

#[tokio::test]
async fn a_text_is_saved_as_it_would_stand_in_a_file_and_its_faults_are_told_with_their_place() {
    let desk = Desk::set_up().await;
    let mut owner = desk.owner("olga").await;
    owner.get(&format!("{PAGE}?here=1")).await;
    let faults = [
        ("[service.access]\nwho = \"everybody\"", "Line 2, column 7", "unknown variant"),
        ("[service.access]\nwho = \"public\"\nfrom = [\"192.0.2.0/33\"]", "Line 3, column 1", "<code>from</code>"),
        ("who = \"people\"\npeople = [\"<img>\"]", "Line 2, column 1", "&#60;img&#62;"),
    ];
    for (text, place, says) in faults {
        let (version, mark) = (owner.field("version"), owner.field("mark"));
        let fields = [("version", version.as_str()), ("mark", &mark), ("as", "text"), ("do", "save"), ("text", text)];
        assert_eq!(owner.send(PAGE, &fields).await, 422, "{text}");
        let page = &owner.page.text;
        assert!(page.contains(place) && page.contains(says) && !page.contains("<img>"), "{text}: {page}");
        assert!(page.contains("</textarea>") && !page.contains("name=\"who\""), "the text is mended first");
        assert_eq!(desk.record().access_home, AccessHome::Device);
    }
    let (version, mark) = (owner.field("version"), owner.field("mark"));
    let text = "# for the open day\n[service.access]\nwho = \"public\"\nfrom = [\"192.0.2.0/24\"]\n";
    let fields = [("version", version.as_str()), ("mark", &mark), ("as", "text"), ("do", "save"), ("text", text)];
    assert_eq!(owner.send(PAGE, &fields).await, 200, "{}", owner.page.text);
    assert_eq!(
        serde_json::to_value(&desk.record().access).unwrap(),
        json!({"who": "public", "from": ["192.0.2.0/24"]})
    );
    let mut hidden = Vec::new();
    let wrong = [("do", "save"), ("who", "public"), ("where", "networks"), ("from", MARKUP)];
    let fields = form(&owner, &mut hidden, &wrong);
    assert_eq!(owner.send(PAGE, &fields).await, 422);
    let page = &owner.page.text;
    assert!(page.contains("<code>from</code>") && page.contains("aria-invalid=\"true\">&#60;img"), "{page}");
    assert!(page.contains(SHOWN) && !page.contains("<img"), "{page}");
}

#[tokio::test]
async fn whoever_was_overtaken_sees_both_sides_and_loses_nothing() {
    let desk = Desk::set_up().await;
    let (mut olga, mut otto) = (desk.owner("olga").await, desk.owner("otto").await);
    olga.get(&format!("{PAGE}?here=1")).await;
    otto.get(&format!("{PAGE}?here=1")).await;
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let hers = form(&olga, &mut one, &[("do", "save"), ("who", "people"), ("people", "anna, ben"), ("groups", "")]);
    let his = form(
        &otto,
        &mut other,
        &[("do", "save"), ("who", "people"), ("people", "anna, ben, carl"), ("groups", "class")],
    );
    assert_eq!(olga.send(PAGE, &hers).await, 200);
    assert_eq!(otto.send(PAGE, &his).await, 412, "{}", otto.page.text);
    let text = &otto.page.text;
    assert!(text.contains("Somebody changed it meanwhile") && text.contains("Changed by olga"), "{text}");
    let sides: Vec<_> =
        text.split("<pre tabindex=\"0\">").skip(1).map(|rest| rest.split("</pre>").next().unwrap()).collect();
    assert!(sides[0].contains("<ins>people = [&#34;anna&#34;, &#34;ben&#34;]</ins>"), "{}", sides[0]);
    assert!(sides[1].contains("&#34;carl&#34;]</ins>") && sides[1].contains("<ins>groups = "), "{}", sides[1]);
    assert!(
        sides.iter().take(2).all(|side| side.contains("\nwho = &#34;people&#34;\n")),
        "what both have is not marked"
    );
    assert!(text.contains("name=\"people\" value=\"anna, ben, carl\""), "what he typed stands in the form");
    assert_eq!(desk.record().access.people, ["anna", "ben"], "hers stands");

    let mut third = Vec::new();
    let again =
        form(&otto, &mut third, &[("do", "save"), ("who", "people"), ("people", "anna, ben, carl"), ("groups", "")]);
    assert_eq!(otto.send(PAGE, &again).await, 200, "{}", otto.page.text);
    assert_eq!(desk.record().access.people, ["anna", "ben", "carl"]);
    assert_eq!(olga.send(PAGE, &hers).await, 412, "an old page is old for her, too");

    // The same change by both is none, and what is no part of the policy overtakes nobody.
    assert_eq!(olga.send(PAGE, &again).await, 200);
    assert!(olga.page.text.contains("It was so already"), "{}", olga.page.text);
    otto.get(PAGE).await;
    let mut fourth = Vec::new();
    let last =
        form(&otto, &mut fourth, &[("do", "save"), ("who", "people"), ("people", "anna, ben"), ("groups", "class")]);
    let device = desk.portal.state.control.snapshot().device_by_name(&label("zumi01")).unwrap();
    desk.portal.offer(&device, &[&WEB.replace("Robot", "Another title")]).await;
    assert_eq!(otto.send(PAGE, &last).await, 200, "{}", otto.page.text);
}

#[tokio::test]
async fn what_a_narrower_policy_would_cut_is_told_before_and_cut_after() {
    let desk = Desk::set_up().await;
    let (control, record) = (&desk.portal.state.control, desk.record());
    let people = ["anna", "ben"].map(|name| control.snapshot().person_by_name(&label(name)).unwrap().id);
    let visit = |account| {
        let mut visitor = Visitor::new("192.0.2.7".parse().unwrap(), Entrance::Web);
        visitor.proofs.push(Proof::Person(account));
        decide(&desk.record().service, &visitor, &*control.snapshot(), noon())
    };
    let permits = people.map(|account| visit(account).unwrap());
    let _open = [&permits[0], &permits[1], &permits[1]].map(|permit| control.attend(permit, noon()));
    let mut owner = desk.owner("olga").await;
    owner.get(&format!("{PAGE}?here=1")).await;
    assert!(owner.page.text.contains("Open visits now: 3. Of these it would cut: 0."), "{}", owner.page.text);
    let narrow = [("who", "people"), ("people", "anna"), ("groups", "class")];
    let mut hidden = Vec::new();
    let fields = form(&owner, &mut hidden, &[&[("do", "save")], &narrow[..]].concat());
    assert_eq!(owner.send(PAGE, &fields).await, 200);
    assert!(
        owner.page.text.contains("It was not saved yet. Open visits that it would cut: <b>2</b> / 3"),
        "{}",
        owner.page.text
    );
    assert_eq!(desk.record().version, record.version);
    assert!(visit(people[1]).is_ok());
    let mut hidden = Vec::new();
    let fields = form(&owner, &mut hidden, &[&[("do", "cut")], &narrow[..]].concat());
    assert_eq!(owner.send(PAGE, &fields).await, 200);
    assert!(owner.page.text.contains("Saved. Open visits that it cut: 2"), "{}", owner.page.text);
    assert!(visit(people[1]).is_err() && visit(people[0]).is_ok(), "what is decided again ends them");
}

#[tokio::test]
async fn passwords_are_kept_added_and_dropped_and_never_shown() {
    let desk = Desk::set_up().await;
    let mut owner = desk.owner("olga").await;
    owner.get(&format!("{PAGE}?here=1")).await;
    let mut hidden = Vec::new();
    let first = [("do", "save"), ("who", "password"), ("new-user", "zoe <1>"), ("new-password", "drei müde Ziegen")];
    let fields = form(&owner, &mut hidden, &first);
    assert_eq!(owner.send(PAGE, &fields).await, 200, "{}", owner.page.text);
    let phc = desk.record().access.passwords["zoe <1>"].clone();
    assert!(phc.starts_with("$argon2id$") && !owner.page.text.contains("argon2id"), "{}", owner.page.text);
    let mut hidden = Vec::new();
    let second =
        [("user", "zoe <1>:kept"), ("do", "save"), ("who", "password"), ("new-user", "ben"), ("new-password", "x")];
    let fields = form(&owner, &mut hidden, &second);
    assert_eq!(owner.send(PAGE, &fields).await, 200);
    let both = desk.record().access.passwords.clone();
    assert_eq!((both.len(), &both["zoe <1>"]), (2, &phc), "it is the same still");
    let text = "[service.access]\nwho = \"password\"\n[service.access.passwords]\nben = \"kept\"\neve = \"kept\"\n";
    let (version, mark) = (owner.field("version"), owner.field("mark"));
    let fields = |text| [("version", version.as_str()), ("mark", &mark), ("as", "text"), ("do", "cut"), ("text", text)];
    assert_eq!(owner.send(PAGE, &fields(text)).await, 422);
    assert!(owner.page.text.contains("Line 5, column 1") && owner.page.text.contains("passwords.eve"));
    assert_eq!(owner.send(PAGE, &fields(&text.replace("eve = \"kept\"\n", ""))).await, 200);
    let left = desk.record().access.passwords.clone();
    assert_eq!((left.len(), &left["ben"]), (1, &both["ben"]));
    for (user, password) in [("ben", ""), ("", "x")] {
        let mut hidden = Vec::new();
        let half = [("do", "save"), ("who", "password"), ("new-user", user), ("new-password", password)];
        let fields = form(&owner, &mut hidden, &half);
        assert_eq!(owner.send(PAGE, &fields).await, 400);
        owner.get(PAGE).await;
    }
    let put = json!({ "who": "password", "passwords": { "ben": "kept" } }).to_string();
    let answer = desk.portal.ask("PUT", "/api/v1/services/zumi01/web/access", &put).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    assert_eq!(desk.record().access.passwords["ben"], both["ben"]);
    let put = put.replace("ben", "eve");
    desk.portal.ask("PUT", "/api/v1/services/zumi01/web/access", &put).await.problem(400);
}

#[tokio::test]
async fn somebody_edits_the_policies_of_their_own_devices_and_hears_of_no_others() {
    let desk = Desk::set_up().await;
    let mut mia = at_browser(&desk.portal, "mia", Role::Member).await;
    let account = desk.portal.state.control.snapshot().person_by_name(&label("mia")).unwrap().id;
    let device = desk.portal.join_for(account, 2, "mias-pi").await;
    desk.portal.offer(&device, &[r#"{"name": "cam", "kind": "http"}"#]).await;
    mia.get("/policies").await;
    assert!(mia.page.text.contains("mias-pi/cam") && !mia.page.text.contains("zumi01"), "{}", mia.page.text);
    assert_eq!(mia.get(PAGE).await, 404);
    let unknown = mia.page.text.clone();
    assert_eq!(mia.get("/policies/nosuch/web").await, 404);
    assert_eq!(mia.page.text.replace("nosuch", "zumi01"), unknown);
    assert_eq!(mia.get("/policies/mias-pi/cam?here=1").await, 200);
    let mut hidden = Vec::new();
    let fields = form(&mia, &mut hidden, &[("do", "save"), ("who", "public")]);
    assert_eq!(mia.send("/policies/mias-pi/cam", &fields).await, 200);
    let lines = desk.portal.state.control.audit(1).await.unwrap();
    assert_eq!((lines[0].deed.as_str(), lines[0].person.as_str()), ("access-changed", "mia"));
}

#[tokio::test]
async fn programs_look_ahead_by_the_api() {
    let desk = Desk::set_up().await;
    let (control, service) = (&desk.portal.state.control, desk.record().service.id);
    let access = json!({"who": "people", "people": ["anna"], "how": "on-request"});
    let put = desk.portal.ask("PUT", "/api/v1/services/zumi01/web/access", &access.to_string()).await;
    assert_eq!(put.status.as_u16(), 200);
    let anna = control.snapshot().person_by_name(&label("anna")).unwrap().id;
    let length = SignedDuration::from_mins(30);
    let request = SessionRequest { account: anna, service, length, source: None, id: None, proofs: Vec::new() };
    control.open_session(request, noon()).await.unwrap();
    let body = json!({
        "access": {"who": "people", "groups": ["class"], "when": {"zone": "UTC", "open": ["mon 08:00-18:00"]}},
        "people": ["anna", "nosuch"], "groups": ["class"],
        "from": ["2001:db8::1"], "at": ["2026-11-23T17:00:00Z", "2026-11-24T17:00:00Z"],
    });
    let path = "/api/v1/services/zumi01/web/access/preview";
    let before = control.snapshot().generation();
    let answer = desk.portal.ask("POST", path, &body.to_string()).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    let answer = answer.json();
    assert_eq!((&answer["open-sessions"], &answer["cut-sessions"]), (&1.into(), &1.into()));
    let answers = answer["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 5 * 2);
    let of = |whom: &str, nth: usize| answers.iter().filter(|a| a["whom"] == whom).nth(nth).unwrap();
    assert_eq!(of("group", 0)["then"], json!({"answer": "yes", "until": "2026-11-23T18:00:00Z", "why": null}));
    assert_eq!(of("group", 1)["then"]["answer"], "no");
    assert_eq!(of("person", 0)["now"], json!({"answer": "session", "until": "2026-11-24T17:00:00Z", "why": null}));
    assert_eq!((&of("person", 0)["name"], &of("person", 0)["then"]["answer"]), (&"anna".into(), &"no".into()));
    assert_eq!((&of("nobody", 0)["name"], &of("nobody", 0)["from"]), (&"nosuch".into(), &"2001:db8::1".into()));
    assert_eq!(control.snapshot().generation(), before);
    for (wrong, says) in [
        (json!({"access": {"who": "people", "how": "somehow"}}), "unknown variant"),
        (json!({"access": {"who": "public", "groups": ["a"]}}), "access.groups"),
        (json!({"access": {"who": "public"}, "people": ["an na"]}), "not a usable name"),
        (json!({"access": {"who": "public"}, "from": vec!["192.0.2.7"; 200]}), "more than 300"),
    ] {
        let told = desk.portal.ask("POST", path, &wrong.to_string()).await.problem(400);
        assert!(told.contains(says), "{told}");
    }
}

/// Sentences that no template holds as such.
#[test]
fn whatever_is_said_ahead_is_said_in_every_language() {
    use crate::words::Language;
    let mut said: Vec<&str> = crate::pages::policy::SENTENCES.to_vec();
    said.extend_from_slice(crate::pages::person::SENTENCES);
    said.extend_from_slice(crate::pages::approvals::SENTENCES);
    assert!(said.len() > 30, "{}", said.len());
    for sentence in said {
        let is_said = |language: Language| language.say(sentence) != sentence;
        assert!(is_said(Language::German) && (is_said(Language::Spanish) || sentence == "no"), "{sentence}");
    }
}
