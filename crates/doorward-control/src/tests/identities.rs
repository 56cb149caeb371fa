use super::people::{add, new};
use super::signing_in::{here, secret, somebody};
use super::support::*;
use crate::accounts::OWNER;
use crate::{IdentityError, InvitationRequest, PersonEdit, Proven, Step, WelcomeAnswer};
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_core::person::factors::Factor;
use doorward_core::person::provided::{Newcomers, Provided, ProviderRules};
use doorward_core::person::{Person, Role};
use doorward_core::service::Offer;
use jiff::SignedDuration;
use std::sync::Arc;

fn provided(subject: &str, name: &str) -> Provided {
    Provided {
        issuer: "https://id.test".to_owned(),
        subject: subject.to_owned(),
        name: Some(name.to_owned()),
        title: Some(format!("{name} of the school")),
        groups: [].into(),
        methods: [].into(),
    }
}

fn rules(newcomers: Newcomers) -> ProviderRules {
    ProviderRules {
        newcomers,
        groups: [("staff".to_owned(), label("teachers"))].into(),
        roles: [("admins".to_owned(), Role::Owner), ("staff".to_owned(), Role::Member)].into(),
        counts_as: [("otp".to_owned(), Factor::Totp)].into(),
        login_for: SignedDuration::from_hours(8),
    }
}

async fn signs_in(site: &Site, provided: Provided, newcomers: Newcomers) -> Result<Step, IdentityError> {
    site.control.sign_in_as_provided(provided, rules(newcomers), here(), noon()).await
}

async fn comes(site: &Site, provided: Provided) -> Arc<Person> {
    match signs_in(site, provided, Newcomers::Guests).await.unwrap() {
        Step::Done(proven) => site.control.snapshot().shared_person(proven.account).unwrap(),
        Step::CodeWanted(_) => panic!("a code is wanted"),
    }
}

fn words(all: &[&str]) -> std::collections::BTreeSet<String> {
    all.iter().map(ToString::to_string).collect()
}

fn for_people(people: &[&str]) -> PolicyDocument {
    let people = people.iter().map(ToString::to_string).collect();
    PolicyDocument { who: WhoDocument::People, people, ..PolicyDocument::default() }
}

#[tokio::test]
async fn nobody_is_taken_for_somebody_by_a_name_or_address() {
    let site = Site::open().await;
    let anna = add(&site, "anna").await;
    let device = site.join(1, "zumi01").await;
    site.offer(&device, Offer { access: for_people(&["carla", "dora-2"]), ..http("jupyter") }).await;
    let refused = signs_in(&site, provided("1", "anna"), Newcomers::Refused).await;
    assert!(matches!(refused, Err(IdentityError::Unknown)), "{refused:?}");
    // Whoever comes in gets a name that nobody has, that is nobody's whom a policy means, and that can be one.
    for (subject, wished, name) in [
        ("1", "anna", "anna-2"),
        ("2", "Anna", "anna-3"),
        ("3", "carla", "carla-2"),
        ("4", "Dora", "dora"),
        ("5", "dora", "dora-3"),
        ("6", "Jörg Müller", "joerg-mueller"),
        ("7", "!!!", "of-the-school"),
        ("8", "owner", "owner-2"),
    ] {
        let person = comes(&site, provided(subject, wished)).await;
        assert_eq!((person.name.as_str(), person.role), (name, Role::Guest), "{wished}");
        assert_eq!(comes(&site, provided(subject, "somebody-else")).await.id, person.id, "the same subject again");
    }
    // The same subject at another provider is somebody else.
    let other = Provided { issuer: "https://id.test/".to_owned(), ..provided("1", "anna") };
    assert_eq!(comes(&site, other).await.name.as_str(), "anna-4");
    assert!(site.control.identities_of(anna.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_account_is_linked_by_its_own_person_with_one_of_nobody_elses() {
    let site = Site::open().await;
    let (anna, ben) = (somebody(&site, "anna").await, somebody(&site, "ben").await);
    for _ in 0..2 {
        site.control.link_identity(anna.id, provided("1", "x"), here(), noon()).await.unwrap();
    }
    let identities = site.control.identities_of(anna.id).await.unwrap();
    assert_eq!((identities.len(), identities[0].is_origin), (1, false));
    let taken = site.control.link_identity(ben.id, provided("1", "x"), here(), noon()).await;
    assert!(matches!(taken, Err(IdentityError::Taken)), "{taken:?}");
    match signs_in(&site, provided("1", "x"), Newcomers::Members).await.unwrap() {
        Step::Done(proven) => {
            assert_eq!((proven.account, proven.factors), (anna.id, Factor::Provider.into()));
            assert_eq!(proven.login_for, SignedDuration::from_hours(8));
        }
        Step::CodeWanted(_) => panic!("a code is wanted"),
    }
    // Another's cannot be unlinked, one's own can, for as long as there is another way in.
    site.control.unlink_identity(ben.id, identities[0].id, here(), noon()).await.unwrap();
    assert_eq!(site.control.identities_of(anna.id).await.unwrap(), identities);
    site.control.unlink_identity(anna.id, identities[0].id, here(), noon()).await.unwrap();
    assert!(site.control.identities_of(anna.id).await.unwrap().is_empty());
    let came = comes(&site, provided("2", "carl")).await;
    let own = site.control.identities_of(came.id).await.unwrap();
    let kept = site.control.unlink_identity(came.id, own[0].id, here(), noon()).await;
    assert!(matches!(kept, Err(IdentityError::LastWay)), "{kept:?}");
    // A link for a new password begins anew: whoever else came by a provider does no more.
    let made = site.control.make_own_welcome(came.id, SignedDuration::from_hours(1), noon()).await.unwrap();
    let password = secret("four lazy goats");
    let answer = WelcomeAnswer { name: None, title: None, password, source: here() };
    let _proven = site.control.accept_welcome(&made.secret, answer, noon()).await.unwrap();
    assert!(site.control.identities_of(came.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn groups_and_roles_follow_the_provider_for_those_who_came_by_it_alone() {
    let site = Site::open().await;
    let local = somebody(&site, "laura").await;
    site.control.add_group(label("teachers"), None, vec![label("laura")], noon()).await.unwrap();
    site.control.link_identity(local.id, provided("0", "x"), here(), noon()).await.unwrap();
    let as_told = |subject: &str, groups: &[&str]| Provided { groups: words(groups), ..provided(subject, "carl") };
    let came = comes(&site, as_told("1", &["staff", "teachers"])).await;
    assert_eq!((came.role, came.groups.as_slice()), (Role::Member, &[label("teachers")][..]));
    let came = comes(&site, as_told("1", &["admins"])).await;
    assert_eq!((came.role, came.groups.len()), (Role::Owner, 0));
    let came = comes(&site, as_told("1", &[])).await;
    assert_eq!(came.role, Role::Owner, "of what the provider does not speak nothing follows");
    for groups in [&["admins"][..], &[]] {
        let local = comes(&site, as_told("0", groups)).await;
        assert_eq!((local.role, local.groups.as_slice()), (Role::Member, &[label("teachers")][..]));
    }
    // The last owner stays one, whatever a provider says.
    let less = PersonEdit { role: Some(Role::Member), ..PersonEdit::default() };
    site.control.edit_person(OWNER, less, None, noon()).await.unwrap();
    assert_eq!(comes(&site, as_told("1", &["staff"])).await.role, Role::Owner);
    // An account that is disabled here is out, whatever the provider says.
    let disabled = PersonEdit { is_disabled: Some(true), ..PersonEdit::default() };
    site.control.edit_person(local.id, disabled, None, noon()).await.unwrap();
    let over = signs_in(&site, provided("0", "x"), Newcomers::Members).await;
    assert!(matches!(over, Err(IdentityError::Over)), "{over:?}");
}

#[tokio::test]
async fn a_second_factor_here_is_asked_for_unless_the_provider_saw_one_that_counts() {
    let site = Site::open().await;
    let anna = somebody(&site, "anna").await;
    site.control.link_identity(anna.id, provided("1", "x"), here(), noon()).await.unwrap();
    let offer = site.control.offer_totp(anna.id, noon()).unwrap();
    let bytes = data_encoding::BASE32_NOPAD.decode(offer.text.expose().replace('-', "").as_bytes()).unwrap();
    let app = totp_rs::Builder::new().with_secret(bytes).build().unwrap();
    let code = app.generate(noon().as_second().unsigned_abs()).to_string();
    let codes = site.control.set_up_totp(anna.id, &offer.ticket, &code, here(), noon()).await.unwrap();
    let with = |methods: &[&str]| Provided { methods: words(methods), ..provided("1", "x") };
    match signs_in(&site, with(&["otp"]), Newcomers::Refused).await.unwrap() {
        Step::Done(proven) => assert_eq!(proven.factors.to_string(), "totp provider"),
        Step::CodeWanted(_) => panic!("a code is wanted"),
    }
    for methods in [&[][..], &["mfa", "hwk", "OTP"]] {
        let Step::CodeWanted(ticket) = signs_in(&site, with(methods), Newcomers::Refused).await.unwrap() else {
            panic!("no code is wanted after {methods:?}")
        };
        assert!(site.control.give_code(&ticket, "000000", here(), noon()).await.is_err());
        if methods.is_empty() {
            let recovery = codes.0[0].expose().clone();
            let proven = site.control.give_code(&ticket, &recovery, here(), noon()).await.unwrap();
            let expected = Proven { login_for: SignedDuration::from_hours(8), ..proven };
            assert_eq!((proven, proven.factors.to_string().as_str()), (expected, "recovery-code provider"));
            let identity = site.control.identities_of(anna.id).await.unwrap()[0].id;
            site.control.unlink_identity(anna.id, identity, here(), noon()).await.unwrap();
            let second = codes.0[1].expose().clone();
            assert!(
                site.control.give_code(&ticket, &second, here(), noon()).await.is_err(),
                "it was unlinked meanwhile"
            );
            site.control.link_identity(anna.id, provided("1", "x"), here(), noon()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_name_that_a_policy_says_is_not_chosen_by_an_invitation() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    site.offer(&device, Offer { access: for_people(&["teacher"]), ..http("jupyter") }).await;
    let request = InvitationRequest { uses: 30, role: Role::Guest, ..InvitationRequest::default() };
    let made = site.control.invite_people(request, noon()).await.unwrap();
    let answer = |name: &str| WelcomeAnswer {
        name: Some(label(name)),
        title: None,
        password: secret("drei müde Ziegen"),
        source: here(),
    };
    let refused = site.control.accept_welcome(&made.secret, answer("teacher"), noon()).await.unwrap_err();
    assert!(refused.to_string().contains("a policy names already"), "{refused}");
    let _proven = site.control.accept_welcome(&made.secret, answer("pupil"), noon()).await.unwrap();
    // Whoever runs the gateway may: they know whom the policy means.
    site.control.add_person(new("teacher", Role::Member), noon()).await.unwrap();
}
