use super::signing_in::{given, secret};
use super::support::*;
use crate::accounts::OWNER;
use crate::{
    Accepted, CredentialError, EditError, ImportError, InvitationRequest, LineError, MadeWelcome, PersonEdit, Step,
    Usual, WelcomeAnswer, WelcomeError, WelcomeKind, read_list,
};
use doorward_core::Secret;
use doorward_core::access::{Facts, PolicyDocument};
use doorward_core::person::factors::Factor;
use doorward_core::person::{PersonStanding, Role};
use jiff::{SignedDuration, Timestamp, ToSpan};
use std::net::IpAddr;

const PASSWORD: &str = "drei müde Ziegen";

fn here() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

fn answer(name: &str) -> WelcomeAnswer {
    WelcomeAnswer { name: Some(label(name)), title: None, password: secret(PASSWORD), source: here() }
}

async fn accept(site: &Site, welcome: &Secret<String>, name: &str) -> Result<Accepted, WelcomeError> {
    site.control.accept_welcome(welcome, answer(name), noon()).await
}

async fn first(site: &Site) -> Option<MadeWelcome> {
    site.control.make_first_welcome(noon()).await.unwrap()
}

async fn signs_in(site: &Site, name: &str, at: Timestamp) -> bool {
    match site.control.sign_in(given(name, PASSWORD), at).await {
        Ok(Step::Done(_)) => true,
        Ok(Step::CodeWanted(_)) => panic!("a code is wanted"),
        Err(CredentialError::Wrong) => false,
        Err(other) => panic!("{other}"),
    }
}

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

fn later(n: i64) -> Timestamp {
    noon().checked_add(n.hours()).unwrap()
}

#[tokio::test]
async fn the_first_owner_is_made_once_and_never_again() {
    let site = Site::open().await;
    assert!(!site.control.is_set_up().await.unwrap());
    let lost = first(&site).await.unwrap();
    let site = site.reopen().await;
    let made = first(&site).await.unwrap();
    assert!(matches!(accept(&site, &lost.secret, "anna").await, Err(WelcomeError::Unknown)), "a newer one was made");
    let (welcome, person) = site.control.look_at_welcome(&made.secret, here(), noon()).await.unwrap();
    assert_eq!((welcome.kind, welcome.role, person.map(|p| p.id)), (WelcomeKind::First, Role::Owner, Some(OWNER)));
    let weak = WelcomeAnswer { password: secret("anna anna"), ..answer("anna") };
    let weak = site.control.accept_welcome(&made.secret, weak, noon()).await;
    assert!(matches!(weak, Err(WelcomeError::Credential(CredentialError::Weak(_)))));
    let accepted = accept(&site, &made.secret, "anna").await.unwrap();
    assert_eq!((accepted.person.id, accepted.person.name.as_str(), accepted.person.role), (OWNER, "anna", Role::Owner));
    assert!(accepted.proven.factors.has(Factor::Welcome));
    assert!(accept(&site, &made.secret, "eve").await.is_err());
    assert!(first(&site).await.is_none());
    assert!(signs_in(&site, "anna", noon()).await && !signs_in(&site, "owner", noon()).await);
    assert!(site.control.snapshot().person_by_name(&label("owner")).is_none());
    let other = site.control.add_person(super::people::new("owner", Role::Member), noon()).await.unwrap();
    let site = site.reopen().await;
    assert!(site.control.is_set_up().await.unwrap() && first(&site).await.is_none(), "nor after a restart");
    assert_eq!(site.control.snapshot().person(OWNER).unwrap().name.as_str(), "anna");
    assert_eq!(site.control.snapshot().person(other.id).unwrap().role, Role::Member);
}

#[tokio::test]
async fn of_many_who_become_the_first_owner_at_once_one_does() {
    let site = Site::open().await;
    let made = first(&site).await.unwrap();
    let mut trying = tokio::task::JoinSet::new();
    for n in 0..12 {
        let (control, secret) = (site.control.clone(), made.secret.clone());
        trying
            .spawn(async move { control.accept_welcome(&secret, answer(&format!("owner-{n}")), noon()).await.is_ok() });
    }
    assert_eq!(trying.join_all().await.into_iter().filter(|is| *is).count(), 1);
    assert_eq!(site.control.snapshot().people().count(), 1);
}

#[tokio::test]
async fn the_first_owner_keeps_a_name_that_policies_say() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let access: PolicyDocument = serde_json::from_str(r#"{"who": "people", "people": ["owner"]}"#).unwrap();
    site.offer(&device, doorward_core::service::Offer { access, ..http("robot") }).await;
    let made = first(&site).await.unwrap();
    let renamed = accept(&site, &made.secret, "anna").await;
    assert!(matches!(&renamed, Err(WelcomeError::Edit(EditError::Invalid(why))) if why.contains("keep that name")));
    let taken = site.control.add_person(super::people::new("ben", Role::Member), noon()).await.unwrap();
    assert!(matches!(
        accept(&site, &made.secret, taken.name.as_str()).await,
        Err(WelcomeError::Edit(EditError::Taken(_)))
    ));
    assert!(!site.control.is_set_up().await.unwrap(), "nothing is half done");
    accept(&site, &made.secret, "owner").await.unwrap();
    assert!(signs_in(&site, "owner", noon()).await);
}

#[tokio::test]
async fn an_owner_who_is_locked_out_gets_in_by_a_link_of_half_an_hour() {
    let site = Site::open().await;
    let setting_up = site.control.make_owner_link(None, noon()).await.unwrap();
    accept(&site, &setting_up.secret, "anna").await.unwrap();
    let offer = site.control.offer_totp(OWNER, noon()).unwrap();
    let bytes = data_encoding::BASE32_NOPAD.decode(offer.text.expose().replace('-', "").as_bytes()).unwrap();
    let app = totp_rs::Builder::new().with_secret(bytes).build().unwrap();
    let code = app.generate(noon().as_second().unsigned_abs()).to_string();
    let _ = site.control.set_up_totp(OWNER, &offer.ticket, &code, here(), noon()).await.unwrap();

    let old = site.control.make_owner_link(None, noon()).await.unwrap();
    let made = site.control.make_owner_link(Some(label("anna")), noon()).await.unwrap();
    assert_eq!(made.expires_at, noon().checked_add(30.minutes()).unwrap());
    assert!(matches!(accept(&site, &old.secret, "anna").await, Err(WelcomeError::Unknown)));
    let late = site.control.accept_welcome(&made.secret, answer("anna"), made.expires_at).await;
    assert!(matches!(late, Err(WelcomeError::Expired)));
    let mut changed = answer("someone-else");
    changed.password = secret("four lazy goats");
    let accepted = site.control.accept_welcome(&made.secret, changed, noon()).await.unwrap();
    assert_eq!(accepted.person.name.as_str(), "anna", "a name is for ever");
    assert!(!signs_in(&site, "anna", noon()).await, "by the old password");
    let Ok(Step::Done(_)) = site.control.sign_in(given("anna", "four lazy goats"), noon()).await else {
        panic!("the app that is gone is asked for no more");
    };
    assert!(accept(&site, &made.secret, "anna").await.is_err(), "once");

    let ben = site.control.add_person(super::people::new("ben", Role::Member), noon()).await.unwrap();
    let not_an_owner = site.control.make_owner_link(Some(ben.name.clone()), noon()).await;
    assert!(matches!(not_an_owner, Err(EditError::Invalid(_))));
    assert!(matches!(site.control.make_owner_link(Some(label("carl")), noon()).await, Err(EditError::Unknown(_))));
}

#[tokio::test]
async fn a_class_signs_up_by_one_link_and_at_the_end_accounts_and_access_go() {
    let site = Site::open().await;
    site.control.add_group(label("robotics"), None, Vec::new(), noon()).await.unwrap();
    let end = later(24 * 90);
    let request = InvitationRequest {
        title: "Robotics 9b".into(),
        uses: 2,
        role: Role::Guest,
        groups: vec![label("robotics")],
        account_ends_at: Some(end),
        ..InvitationRequest::default()
    };
    let made = site.control.invite_people(request, noon()).await.unwrap();
    let (welcome, person) = site.control.look_at_welcome(&made.secret, here(), noon()).await.unwrap();
    assert_eq!((welcome.title.as_str(), welcome.uses_left, person), ("Robotics 9b", 2, None));
    let anna = accept(&site, &made.secret, "anna").await.unwrap().person;
    assert_eq!((anna.role, anna.ends_at, anna.groups.as_slice()), (Role::Guest, Some(end), &[label("robotics")][..]));
    assert!(matches!(accept(&site, &made.secret, "anna").await, Err(WelcomeError::Edit(EditError::Taken(_)))));
    let site = site.reopen().await;
    let invitations = site.control.invitations().await.unwrap();
    assert_eq!((invitations.len(), invitations[0].uses_left, &invitations[0].groups[0]), (1, 1, &label("robotics")));
    let link = secret(&format!("https://portal.example.org/welcome#{}", made.secret.expose().to_uppercase()));
    accept(&site, &link, "ben").await.unwrap();
    assert!(matches!(accept(&site, &made.secret, "carl").await, Err(WelcomeError::Used)));

    let by_hand = crate::NewPerson { ends_at: Some(end), ..super::people::new("dora", Role::Guest) };
    site.control.add_person(by_hand, noon()).await.unwrap();
    assert_eq!(anna.standing(end), PersonStanding::Ended);
    assert!(signs_in(&site, "anna", noon()).await && !signs_in(&site, "anna", end).await);
    site.control.keep_house_once(end.checked_add(hours(24 * 29)).unwrap()).await.unwrap();
    assert_eq!(site.control.snapshot().people().count(), 4, "they can be given more time");
    let more = PersonEdit { ends_at: Some(Some(end.checked_add(hours(24 * 300)).unwrap())), ..PersonEdit::default() };
    let ben = site.control.snapshot().person_by_name(&label("ben")).unwrap().id;
    site.control.edit_person(ben, more, None, noon()).await.unwrap();
    site.control.keep_house_once(end.checked_add(hours(24 * 31)).unwrap()).await.unwrap();
    let mut left: Vec<_> = site.control.snapshot().people().map(|person| person.name.to_string()).collect();
    left.sort();
    assert_eq!(left, ["ben", "dora", "owner"]);
}

#[tokio::test]
async fn of_two_hundred_who_sign_up_at_once_by_a_link_for_thirty_thirty_do() {
    let site = Site::open().await;
    let request = InvitationRequest { uses: 30, ..InvitationRequest::default() };
    let made = site.control.invite_people(request, noon()).await.unwrap();
    let mut trying = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (control, secret) = (site.control.clone(), made.secret.clone());
        trying.spawn(async move {
            loop {
                match control.accept_welcome(&secret, answer(&format!("pupil-{n}")), noon()).await {
                    // On a machine that is busy with other things.
                    Err(WelcomeError::Credential(CredentialError::Busy)) => {}
                    answer => return answer,
                }
            }
        });
    }
    let (mut came, mut used, mut other) = (0, 0, Vec::new());
    for answer in trying.join_all().await {
        match answer {
            Ok(_) => came += 1,
            Err(WelcomeError::Used) => used += 1,
            Err(error) => other.push(error.to_string()),
        }
    }
    assert_eq!((came, used, other), (30, 170, Vec::new()));
    assert_eq!(site.control.snapshot().people().count(), 31);
    assert_eq!(site.control.invitations().await.unwrap()[0].uses_left, 0);
    let site = site.reopen().await;
    assert_eq!(site.control.snapshot().people().count(), 31);
}

#[tokio::test]
async fn an_invitation_is_looked_at_without_use_and_leads_nowhere_once_it_is_over() {
    let site = Site::open().await;
    let made = site.control.invite_people(InvitationRequest::default(), noon()).await.unwrap();
    for _ in 0..50 {
        site.control.look_at_welcome(&made.secret, here(), noon()).await.unwrap();
    }
    assert_eq!(site.control.invitations().await.unwrap()[0].uses_left, 1);
    let look = async |secret: &Secret<String>, at| site.control.look_at_welcome(secret, here(), at).await.map(drop);
    assert!(matches!(look(&made.secret, later(24 * 7)).await, Err(WelcomeError::Expired)));
    assert!(matches!(look(&secret("nonsense"), noon()).await, Err(WelcomeError::Unknown)));
    assert!(matches!(
        site.control.revoke_invitation(made.id, Some(9), noon()).await,
        Err(EditError::Stale { current: 1 })
    ));
    site.control.revoke_invitation(made.id, Some(1), noon()).await.unwrap();
    assert!(matches!(accept(&site, &made.secret, "anna").await, Err(WelcomeError::Revoked)));
    let own = site.control.make_own_welcome(OWNER, hours(1), noon()).await.unwrap();
    let not_an_invitation = site.control.revoke_invitation(own.id, None, noon()).await;
    assert!(matches!(not_an_invitation, Err(EditError::Unknown(_))));
    site.control.flush_audit().await.unwrap();
    let entries = site.control.audit(50).await.unwrap();
    let refused: Vec<_> = entries.iter().filter(|e| e.deed == "welcome-refused").map(|e| e.detail.as_str()).collect();
    assert_eq!(refused.len(), 3, "{refused:?}");
    let text = format!("{entries:?}");
    assert!(!text.contains(made.secret.expose()) && !text.contains(own.secret.expose()), "nothing secret in it");
}

#[tokio::test]
async fn invitations_that_mean_nothing_are_refused() {
    let site = Site::open().await;
    let usual = InvitationRequest::default;
    let table = [
        ("no use", InvitationRequest { uses: 0, ..usual() }),
        ("too many", InvitationRequest { uses: 10_001, ..usual() }),
        ("many owners", InvitationRequest { uses: 2, role: Role::Owner, ..usual() }),
        ("an owner who ends", InvitationRequest { role: Role::Owner, account_ends_at: Some(later(1)), ..usual() }),
        ("over before", InvitationRequest { account_ends_at: Some(noon()), ..usual() }),
        ("no time", InvitationRequest { expires_in: hours(0), ..usual() }),
        ("too long", InvitationRequest { expires_in: hours(24 * 400), ..usual() }),
    ];
    for (why, request) in table {
        assert!(matches!(site.control.invite_people(request, noon()).await, Err(EditError::Invalid(_))), "{why}");
    }
    let nowhere = InvitationRequest { groups: vec![label("robotics")], ..usual() };
    assert!(matches!(site.control.invite_people(nowhere, noon()).await, Err(EditError::Unknown(_))));
}

fn members() -> Usual {
    Usual { role: Role::Member, groups: Vec::new(), ends_at: None }
}

#[test]
fn a_list_is_read_as_spreadsheets_save_it_and_every_wrong_line_is_named() {
    let usual = Usual { role: Role::Guest, groups: vec![label("robotics")], ends_at: Some(later(1)) };
    let text = "\u{feff}Title;Name;Groups;Until\r\n\"Böhm; Anna\";;lab robotics;2027-02-01\r\n\r\nBen;ben-2;;\r\n";
    let list = read_list(text, &usual).unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!((list[0].name.as_str(), list[0].title.as_deref()), ("boehm-anna", Some("Böhm; Anna")));
    assert_eq!((list[0].groups.clone(), list[0].line), (vec![label("robotics"), label("lab")], 2));
    assert_eq!(list[0].ends_at.unwrap().to_string(), "2027-02-01T00:00:00Z");
    assert_eq!(
        (list[1].name.as_str(), list[1].ends_at, list[1].role, list[1].line),
        ("ben-2", Some(later(1)), Role::Guest, 4)
    );

    let wrong = "name,title,role,until\nanna,Anna,member,\nanna,Other,,\nb b,,,\n,,,soon\nben,,chief,\ncarl,,,soon\ndora,,,,,\n,???,,\n";
    let errors = read_list(wrong, &members()).unwrap_err();
    let told: Vec<_> = errors.iter().map(|LineError { line, why }| format!("{line}: {why}")).collect();
    let expected = [
        "3: \"anna\" is in the list already",
        "4: \"b b\" is not a usable name",
        "5: it has neither name nor title",
        "6: \"chief\" is no role",
        "7: \"soon\" is no day",
        "8: it has 6 fields, and there are 4 columns",
        "9: no name can be made of \"???\"",
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told} / {expected}");
    }
    for (text, why) in [
        ("", "a name or a title is needed"),
        ("name\n", "names nobody"),
        ("name,colour\nanna,red\n", "\"colour\" is none of them"),
        ("name,name\nanna,ben\n", "twice"),
    ] {
        let errors = read_list(text, &members()).unwrap_err();
        assert!(errors.len() == 1 && errors[0].why.contains(why), "{errors:?}");
    }
}

#[tokio::test]
async fn a_list_adds_all_with_links_of_their_own_or_nobody() {
    let site = Site::open().await;
    super::people::add(&site, "ben").await;
    site.control.add_group(label("robotics"), None, Vec::new(), noon()).await.unwrap();
    let import = async |text: &str| {
        site.control.import_people(read_list(text, &members()).unwrap(), hours(24 * 7), noon()).await
    };
    let refused = import("name,groups,until\nanna,robotics,\nben,,\ncarl,chess,\ndora,,2020-01-01\n").await;
    let Err(ImportError::Lines(errors)) = refused else { panic!("{refused:?}") };
    let told: Vec<_> = errors.iter().map(|error| (error.line, error.why.as_str())).collect();
    assert_eq!(
        told,
        [
            (3, "there is a person \"ben\" already"),
            (4, "there is no group \"chess\""),
            (5, "the account would have ended already")
        ]
    );
    assert_eq!(site.control.snapshot().people().count(), 2, "nothing is half done");

    let made = import("name,title,groups\nanna,Anna B.,robotics\ncarl,,\n").await.unwrap();
    let site = site.reopen().await;
    assert_eq!((made.len(), site.control.snapshot().people().count()), (2, 4));
    assert!(!signs_in(&site, "anna", noon()).await, "no password yet");
    let accepted = accept(&site, &made[0].1.secret, "ignored").await.unwrap();
    assert_eq!((accepted.person.name.as_str(), accepted.person.title.as_str()), ("anna", "Anna B."));
    assert!(accepted.person.is_in(&label("robotics")));
    assert!(signs_in(&site, "anna", noon()).await);
    assert!(accept(&site, &made[0].1.secret, "anna").await.is_err());
}
