//! With 1Password's software authenticator at the other end.

use super::signing_in::{here, secret, somebody};
use super::support::*;
use crate::{CredentialError, NameAndPassword, PasskeyQuestion, PersonEdit, RecoveryCodes, Step};
use doorward_core::AccountId;
use doorward_core::person::factors::Factor;
use passkey::authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::aws_lc_rs::AwsLcRsBackend;
use passkey::types::Passkey;
use passkey::types::ctap2::{Aaguid, Ctap2Error};
use serde_json::Value;
use webauthn_rs::prelude::Url;

/// Somebody who presses their finger on it whenever they are asked.
struct Finger;

#[async_trait::async_trait]
impl UserValidationMethod for Finger {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(&self, _: UiHint<'a, Passkey>, _: bool, _: bool) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence: true, verification: true })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

/// A phone that has nothing on it yet.
macro_rules! phone {
    () => {
        Client::new(Authenticator::new(Aaguid::new_empty(), None::<Passkey>, Finger, AwsLcRsBackend))
    };
}

/// What the phone answers to a question of the portal's, as browsers write it.
macro_rules! answer {
    ($phone:ident.$does:ident($question:expr)) => {{
        let asked = serde_json::from_value($question.options.clone()).unwrap();
        let origin = Url::parse(ORIGIN).unwrap();
        let answer = $phone.$does(&origin, asked, DefaultClientData).await.unwrap();
        as_browsers_write(serde_json::to_value(answer).unwrap()).to_string()
    }};
}

/// Bytes as base64url, which that library writes as numbers.
fn as_browsers_write(answer: Value) -> Value {
    match answer {
        Value::Array(all) if !all.is_empty() && all.iter().all(Value::is_u64) => {
            let bytes: Vec<_> = all.iter().map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap()).collect();
            data_encoding::BASE64URL_NOPAD.encode(&bytes).into()
        }
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, as_browsers_write(value))).collect(),
        other => other,
    }
}

const ORIGIN: &str = "https://portal.example.org";

/// Somebody with a passkey on this phone.
macro_rules! with_passkey {
    ($site:ident, $name:literal, $phone:ident) => {{
        let person = somebody(&$site, $name).await;
        let question = $site.control.ask_for_new_passkey(person.id, noon()).await.unwrap();
        let answer = answer!($phone.register(question));
        let added = $site.control.add_passkey(person.id, &question.ticket, &answer, "phone", here(), noon()).await;
        (person, added.unwrap())
    }};
}

/// The answer with one byte of the signature changed.
fn forged(answer: &str) -> String {
    let mut answer: Value = serde_json::from_str(answer).unwrap();
    let signature = answer["response"]["signature"].as_str().unwrap();
    let last = if signature.as_bytes()[20] == b'A' { "B" } else { "A" };
    answer["response"]["signature"] = format!("{}{last}{}", &signature[..20], &signature[21..]).into();
    answer.to_string()
}

#[tokio::test]
async fn a_passkey_signs_in_without_a_name_and_each_question_is_answered_once() {
    let site = Site::open().await;
    let mut phone = phone!();
    let (anna, codes) = with_passkey!(site, "anna", phone);
    assert_eq!(codes.map(|RecoveryCodes(codes)| codes.len()), Some(10));
    let site = site.reopen().await;
    let sign_in = async |question: &PasskeyQuestion, answer: &str| {
        site.control.sign_in_by_passkey(&question.ticket, answer, here(), noon()).await
    };
    let question = site.control.ask_for_passkey().unwrap();
    assert!(!question.options.to_string().contains("anna"), "who there is, is not told");
    let answer = answer!(phone.authenticate(question));
    let proven = sign_in(&question, &answer).await.unwrap();
    assert_eq!((proven.account, proven.factors.to_string().as_str()), (anna.id, "passkey"));
    assert!(matches!(sign_in(&question, &answer).await, Err(CredentialError::Stale)), "again");
    let other = site.control.ask_for_passkey().unwrap();
    assert!(matches!(sign_in(&other, &answer).await, Err(CredentialError::Wrong)), "an answer to another question");
    let other = site.control.ask_for_passkey().unwrap();
    let answer = forged(&answer!(phone.authenticate(other)));
    assert!(matches!(sign_in(&other, &answer).await, Err(CredentialError::Wrong)), "forged");
    let other = site.control.ask_for_passkey().unwrap();
    assert!(matches!(sign_in(&other, "{}").await, Err(CredentialError::Wrong)));
    assert_eq!(site.control.passkeys_of(anna.id).await.unwrap()[0].used_at, Some(noon()));
}

#[tokio::test]
async fn a_key_of_another_site_or_phone_is_nobodys() {
    let site = Site::open().await;
    let (mut annas, mut stranger) = (phone!(), phone!());
    with_passkey!(site, "anna", annas);
    let elsewhere = Site::open().await;
    with_passkey!(elsewhere, "mallory", stranger);
    let question = site.control.ask_for_passkey().unwrap();
    let answer = answer!(stranger.authenticate(question));
    let refused = site.control.sign_in_by_passkey(&question.ticket, &answer, here(), noon()).await;
    assert!(matches!(refused, Err(CredentialError::Wrong)));
    let question = site.control.ask_for_passkey().unwrap();
    let asked = serde_json::from_value(question.options.clone()).unwrap();
    let phishing = Url::parse("https://portal.example.com").unwrap();
    assert!(annas.authenticate(&phishing, asked, DefaultClientData).await.is_err(), "the browser knows its host");
}

#[tokio::test]
async fn a_password_with_a_passkey_beside_it_is_not_enough_and_the_passkey_completes_it() {
    let site = Site::open().await;
    let (mut annas, mut bens) = (phone!(), phone!());
    let (anna, codes) = with_passkey!(site, "anna", annas);
    with_passkey!(site, "ben", bens);
    let given = super::signing_in::given("anna", super::signing_in::PASSWORD);
    let Ok(Step::CodeWanted(half_way)) = site.control.sign_in(NameAndPassword { ..given }, noon()).await else {
        panic!("a password alone");
    };
    let second = site.control.second_factors_at(&half_way, noon()).await.unwrap();
    assert_eq!((second.has_app, second.has_passkey), (false, true));
    let question = site.control.ask_for_second_passkey(&half_way, noon()).await.unwrap();
    let answer = answer!(annas.authenticate(question));
    let proven = site.control.give_passkey(&half_way, &question.ticket, &answer, here(), noon()).await.unwrap();
    assert_eq!((proven.account, proven.factors.to_string().as_str()), (anna.id, "password passkey"));

    let anybody = site.control.ask_for_passkey().unwrap();
    let bens = answer!(bens.authenticate(anybody));
    let other = site.control.give_passkey(&half_way, &anybody.ticket, &bens, here(), noon()).await;
    assert!(matches!(other, Err(CredentialError::Wrong)), "somebody else's");
    let RecoveryCodes(codes) = codes.unwrap();
    let recovered = site.control.give_code(&half_way, codes[0].expose(), here(), noon()).await.unwrap();
    assert!(recovered.factors.has(Factor::Recovery));
    assert!(matches!(site.control.ask_for_second_passkey(&secret("00"), noon()).await, Err(CredentialError::Stale)));
}

#[tokio::test]
async fn a_passkey_that_was_removed_or_whose_person_is_disabled_signs_nobody_in() {
    let site = Site::open().await;
    let mut phone = phone!();
    let (anna, _) = with_passkey!(site, "anna", phone);
    let ben = somebody(&site, "ben").await;
    let is_in = async |answer: String, question: PasskeyQuestion| {
        site.control.sign_in_by_passkey(&question.ticket, &answer, here(), noon()).await.is_ok()
    };
    let disable = |is| PersonEdit { is_disabled: Some(is), ..PersonEdit::default() };
    site.control.edit_person(anna.id, disable(true), None, noon()).await.unwrap();
    let question = site.control.ask_for_passkey().unwrap();
    assert!(!is_in(answer!(phone.authenticate(question)), question).await);
    site.control.edit_person(anna.id, disable(false), None, noon()).await.unwrap();
    let id = site.control.passkeys_of(anna.id).await.unwrap()[0].id;
    site.control.remove_passkey(ben.id, id, here(), noon()).await.unwrap();
    let question = site.control.ask_for_passkey().unwrap();
    assert!(is_in(answer!(phone.authenticate(question)), question).await, "ben removes nothing of anna's");
    site.control.remove_passkey(anna.id, id, here(), noon()).await.unwrap();
    let question = site.control.ask_for_passkey().unwrap();
    assert!(!is_in(answer!(phone.authenticate(question)), question).await);
    assert!(!site.control.second_factors_of(anna.id).await.unwrap().is_any());
}

#[tokio::test]
async fn a_new_key_is_added_by_whom_it_was_asked_of() {
    let site = Site::open().await;
    let mut phone = phone!();
    let (anna, ben) = (somebody(&site, "anna").await, somebody(&site, "ben").await);
    let question = site.control.ask_for_new_passkey(anna.id, noon()).await.unwrap();
    assert_eq!(question.options["publicKey"]["rp"]["id"], "portal.example.org");
    let answer = answer!(phone.register(question));
    let add = async |account: AccountId| {
        site.control.add_passkey(account, &question.ticket, &answer, "", here(), noon()).await.map(drop)
    };
    assert!(matches!(add(ben.id).await, Err(CredentialError::Stale)));
    assert!(matches!(add(anna.id).await, Err(CredentialError::Stale)), "once, whoever answered");
    assert!(!site.control.second_factors_of(ben.id).await.unwrap().is_any());
}
