use super::welcomes::Wish;
use super::*;
use crate::testbed::Testbed;
use doorward_control::{NameAndPassword, Step, WelcomeAnswer};
use doorward_core::Secret;
use doorward_core::names::Label;
use doorward_core::person::Role;
use jiff::{SignedDuration, Timestamp};

const PASSWORD: &str = "drei müde Ziegen";

/// The line that begins with this, with single blanks.
fn line(text: &str, start: &str) -> String {
    let found = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{text}"));
    found.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What whoever opens the link does.
async fn accept(bed: &Testbed, url: &str, name: Option<&str>) -> Result<String, String> {
    let source = "192.0.2.7".parse().unwrap();
    let name = name.map(|name| Label::parse(name).unwrap());
    let answer = WelcomeAnswer { name, title: None, password: Secret::new(PASSWORD.to_owned()), source };
    let accepted = bed.gateway.control.accept_welcome(&Secret::new(url.to_owned()), answer, Timestamp::now()).await;
    accepted.map(|accepted| accepted.person.name.to_string()).map_err(|error| error.to_string())
}

async fn signs_in(bed: &Testbed, name: &str) -> bool {
    let given = NameAndPassword {
        name: name.to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
        source: "192.0.2.7".parse().unwrap(),
    };
    matches!(bed.gateway.control.sign_in(given, Timestamp::now()).await, Ok(Step::Done(_)))
}

/// The commands of docs/people.md, in its order.
#[tokio::test]
async fn the_commands_of_the_page_about_people_do_what_it_says() {
    let bed = Testbed::start().await;
    let owner = &bed.owner;
    let first = welcomes::owner_link(owner, None).await.unwrap();
    assert!(first.url.expose().contains("/welcome#"), "{}", first.url.expose());
    assert_eq!(accept(&bed, first.url.expose(), Some("olga")).await.unwrap(), "olga");
    assert!(signs_in(&bed, "olga").await);
    let again = welcomes::owner_link(owner, Some("olga")).await.unwrap();
    let left = again.expires_at.duration_since(Timestamp::now());
    assert!(left > SignedDuration::from_mins(29) && left <= SignedDuration::from_mins(30), "{left}");
    assert_eq!(accept(&bed, again.url.expose(), None).await.unwrap(), "olga");

    let new = people::New { name: "anna".into(), title: Some("Anna B.".into()), role: None, ends_at: None };
    people::add(owner, new).await.unwrap();
    let link = welcomes::own_link(owner, "anna", None).await.unwrap();
    assert_eq!(accept(&bed, link.url.expose(), None).await.unwrap(), "anna");
    let error = welcomes::owner_link(owner, Some("anna")).await.unwrap_err().to_string();
    assert!(error.contains("does not own this gateway"), "{error}");

    assert!(welcomes::list(owner, Form::Table, Timestamp::now()).await.unwrap().contains("Nobody is invited"));
    groups::create(owner, "robotics", &[]).await.unwrap();
    let now = Timestamp::now();
    let wish = Wish {
        title: Some("Robotics 9b".into()),
        uses: Some(30),
        expires_in: Some(SignedDuration::from_hours(24 * 14)),
        role: Some(Role::Guest),
        groups: vec!["robotics".into()],
        ends_at: Some(now + SignedDuration::from_hours(24 * 120)),
    };
    let class = welcomes::invite(owner, wish).await.unwrap();
    assert_eq!(accept(&bed, class.url.expose(), Some("ben")).await.unwrap(), "ben");
    let listed = welcomes::list(owner, Form::Table, now).await.unwrap();
    assert_eq!(line(&listed, "4 "), "4 usable 29 of 30 in 14 days guest in 120 days robotics Robotics 9b", "{listed}");
    let people = people::list(owner, Form::Table, now).await.unwrap();
    assert!(line(&people, "ben").starts_with("ben guest in 120 days"), "{people}");
    let json: serde_json::Value = serde_json::from_str(&welcomes::list(owner, Form::Json, now).await.unwrap()).unwrap();
    let id = json[0]["id"].as_i64().unwrap();
    assert!(welcomes::revoke(owner, id).await.unwrap().contains("Nobody comes by invitation"));
    assert!(accept(&bed, class.url.expose(), Some("carl")).await.unwrap_err().contains("taken back"));
    let error = welcomes::revoke(owner, 99).await.unwrap_err().to_string();
    assert!(error.contains("no invitation 99") && error.contains("doorward people invitations"), "{error}");

    groups::create(owner, "lab", &[]).await.unwrap();
    let list = |text: &str| text.to_owned();
    let wish = Wish { role: Some(Role::Guest), ..Wish::default() };
    let error =
        welcomes::import(owner, list("title,groups\nEva,chess\nben,\n"), wish.clone()).await.unwrap_err().to_string();
    assert!(error.contains("line 2: there is no group \"chess\"\nline 3: there is a person \"ben\""), "{error}");
    let letters = welcomes::import(owner, list("title,groups\n\"Böhm, Eva\",robotics lab\n"), wish).await.unwrap();
    let rows: Vec<_> = letters.expose().lines().collect();
    assert_eq!(rows[0], "name,title,link");
    assert!(rows[1].starts_with("boehm-eva,\"Böhm, Eva\",https://portal.example.localhost"), "{}", rows[1]);
    assert_eq!(accept(&bed, rows[1], None).await.unwrap(), "boehm-eva");
}

#[tokio::test]
async fn until_there_is_a_first_owner_a_terminal_is_shown_the_link_and_a_journal_is_not() {
    let bed = Testbed::start().await;
    let journal = crate::serve::first_owner(&bed.gateway, false).await.unwrap();
    assert!(journal.contains("doorward people owner-link") && !journal.contains('#'), "{journal}");
    let shown = crate::serve::first_owner(&bed.gateway, true).await.unwrap();
    let url = shown.lines().find(|line| line.contains("/welcome#")).unwrap();
    accept(&bed, url, Some("olga")).await.unwrap();
    assert_eq!(crate::serve::first_owner(&bed.gateway, true).await.unwrap(), "");
    let audit = format!("{:?}", bed.gateway.control.audit(100).await.unwrap());
    assert!(audit.contains("welcome-used") && !audit.contains(url.rsplit('#').next().unwrap()), "{audit}");
}
