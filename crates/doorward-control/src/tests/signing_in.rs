use super::people::{add, new};
use super::support::*;
use crate::accounts::OWNER;
use crate::{CredentialError, NameAndPassword, PersonEdit, Proven, RecoveryCodes, Step, TotpStanding, passwords};
use doorward_core::person::factors::{Factor, Factors};
use doorward_core::person::{Person, Role};
use doorward_core::{AccountId, Secret};
use jiff::{SignedDuration, Timestamp, ToSpan};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use totp_rs::Builder;

pub(super) const PASSWORD: &str = "drei müde Ziegen";

pub(super) fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

pub(super) fn here() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

pub(super) fn given(name: &str, password: &str) -> NameAndPassword {
    NameAndPassword { name: name.to_owned(), password: secret(password), source: here() }
}

/// Somebody with a password.
pub(super) async fn somebody(site: &Site, name: &str) -> Arc<Person> {
    let person = add(site, name).await;
    set_password(site, person.id, PASSWORD).await;
    person
}

async fn set_password(site: &Site, account: AccountId, password: &str) {
    let made = site.control.make_own_welcome(account, SignedDuration::from_hours(1), noon()).await.unwrap();
    let answer = crate::WelcomeAnswer { name: None, title: None, password: secret(password), source: here() };
    let _ = site.control.accept_welcome(&made.secret, answer, noon()).await.unwrap();
}

async fn signs_in(site: &Site, name: &str, password: &str) -> Option<AccountId> {
    match site.control.sign_in(given(name, password), noon()).await {
        Ok(Step::Done(signed_in)) => Some(signed_in.account),
        Ok(Step::CodeWanted(_)) => panic!("a code is wanted"),
        Err(CredentialError::Wrong) => None,
        Err(other) => panic!("{other}"),
    }
}

async fn half_way(site: &Site, name: &str) -> Secret<String> {
    match site.control.sign_in(given(name, PASSWORD), noon()).await.unwrap() {
        Step::CodeWanted(ticket) => ticket,
        Step::Done(_) => panic!("no code is wanted"),
    }
}

/// The app of this text, as phones have it.
fn app(text: &str) -> totp_rs::Totp {
    let bytes = data_encoding::BASE32_NOPAD.decode(text.replace('-', "").as_bytes()).unwrap();
    Builder::new().with_secret(bytes).build().unwrap()
}

fn code(app: &totp_rs::Totp, at: Timestamp) -> String {
    app.generate(at.as_second().unsigned_abs()).to_string()
}

async fn set_up(site: &Site, account: AccountId) -> (totp_rs::Totp, RecoveryCodes) {
    let offer = site.control.offer_totp(account, noon()).unwrap();
    let app = app(offer.text.expose());
    let first = code(&app, noon());
    let codes = site.control.set_up_totp(account, &offer.ticket, &first, here(), noon()).await.unwrap();
    (app, codes)
}

fn in_seconds(seconds: i64) -> Timestamp {
    noon().checked_add(seconds.seconds()).unwrap()
}

#[tokio::test]
async fn a_name_and_its_password_sign_in_and_nothing_else_does() {
    let site = Site::open().await;
    let anna = somebody(&site, "anna").await;
    add(&site, "ben").await;
    assert_eq!(signs_in(&site, "anna", PASSWORD).await, Some(anna.id));
    assert_eq!(
        signs_in(&site, " Anna ", "drei mu\u{308}de Ziegen").await,
        Some(anna.id),
        "as another keyboard writes it"
    );
    for (name, password) in [
        ("anna", "drei müde ziegen"),
        ("anna", ""),
        ("ben", PASSWORD),
        ("ben", ""),
        ("carl", PASSWORD),
        ("", ""),
        ("é", "x"),
    ] {
        assert_eq!(signs_in(&site, name, password).await, None, "{name}");
    }
    let disable = |is| PersonEdit { is_disabled: Some(is), ..PersonEdit::default() };
    site.control.edit_person(anna.id, disable(true), None, noon()).await.unwrap();
    assert_eq!(signs_in(&site, "anna", PASSWORD).await, None);
    site.control.edit_person(anna.id, disable(false), None, noon()).await.unwrap();
    let site = site.reopen().await;
    assert_eq!(signs_in(&site, "anna", PASSWORD).await, Some(anna.id), "after a restart");
    site.control.remove_person(anna.id, None, noon()).await.unwrap();
    assert_eq!(signs_in(&site, "anna", PASSWORD).await, None);
    site.control.flush_audit().await.unwrap();
    let refused: Vec<_> =
        site.control.audit(100).await.unwrap().into_iter().filter(|entry| entry.deed == "sign-in-refused").collect();
    assert_eq!(refused.iter().map(|entry| entry.count).sum::<u64>(), 1, "since the restart");
    assert_eq!((refused[0].detail.as_str(), refused[0].source.as_str()), ("wrong-password", "192.0.2.0/24"));
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_the_old_one_and_weak_ones_are_refused() {
    let site = Site::open().await;
    let anna = somebody(&site, "anna").await;
    let change = async |old: &str, new: &str| {
        site.control.change_password(anna.id, &secret(old), &secret(new), here(), noon()).await
    };
    assert!(matches!(change("wrong password", "four lazy goats").await, Err(CredentialError::Wrong)));
    for weak in ["password1234", "anna anna 12", "short", "Example.org12"] {
        assert!(matches!(change(PASSWORD, weak).await, Err(CredentialError::Weak(_))), "{weak}");
    }
    change(PASSWORD, "four lazy goats").await.unwrap();
    assert_eq!(signs_in(&site, "anna", PASSWORD).await, None);
    assert_eq!(signs_in(&site, "anna", "four lazy goats").await, Some(anna.id));
    let entries = site.control.audit(10).await.unwrap();
    assert!(entries.iter().any(|entry| entry.deed == "password-changed" && entry.subject == "anna"));
}

#[tokio::test]
async fn a_hash_made_when_less_was_enough_is_renewed_by_signing_in() {
    let site = Site::open().await;
    let anna = somebody(&site, "anna").await;
    let cheap = argon2::Argon2::new(
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        argon2::Params::new(8192, 1, 1, None).unwrap(),
    );
    let normal = doorward_core::person::password::normalise(&secret(PASSWORD));
    let phc = argon2::PasswordHasher::hash_password(&cheap, normal.expose().as_bytes()).unwrap().to_string();
    let (id, put) = (anna.id, crate::sign_in::passwords::put);
    let cheaper = site.control.write(move |work| Box::pin(async move { put(work, id, &phc, noon()).await }));
    cheaper.await.unwrap();
    let stored = async || -> String {
        let query = sqlx::query_scalar("SELECT phc FROM person_passwords WHERE account = $1").bind(anna.id.0);
        query.fetch_one(site.control.0.store.readers()).await.unwrap()
    };
    assert_eq!(signs_in(&site, "anna", "something else").await, None);
    assert!(passwords::is_outdated(&stored().await), "a wrong one renews nothing");
    assert_eq!(signs_in(&site, "anna", PASSWORD).await, Some(anna.id));
    assert!(!passwords::is_outdated(&stored().await));
    assert_eq!(signs_in(&site, "anna", PASSWORD).await, Some(anna.id));
}

#[tokio::test]
async fn with_an_app_set_up_a_password_alone_is_not_enough_and_each_code_counts_once() {
    let site = Site::open().await;
    let anna = somebody(&site, "anna").await;
    let (app, _) = set_up(&site, anna.id).await;
    let ticket = half_way(&site, "anna").await;
    let site = site.reopen().await;
    let try_code = async |code: &str, at: Timestamp| site.control.give_code(&ticket, code, here(), at).await;
    let used = code(&app, noon());
    assert!(matches!(try_code(&used, noon()).await, Err(CredentialError::Wrong)), "the one it was set up with");
    assert!(matches!(try_code("000000x", noon()).await, Err(CredentialError::Wrong)));
    let next = code(&app, in_seconds(30));
    let both = Factors::from(Factor::Password).with(Factor::Totp);
    let signed_in = try_code(&format!("{} {}", &next[..3], &next[3..]), in_seconds(30)).await.unwrap();
    assert_eq!(signed_in, Proven::by(anna.id, both));
    assert!(matches!(try_code(&next, in_seconds(30)).await, Err(CredentialError::Wrong)), "again");
    assert!(matches!(try_code(&used, in_seconds(30)).await, Err(CredentialError::Wrong)), "an older one");
    let early = code(&app, in_seconds(90));
    assert!(try_code(&early, in_seconds(60)).await.is_ok(), "a phone whose clock is ahead");
    let late = in_seconds(6 * 60);
    assert!(
        matches!(try_code(&code(&app, late), late).await, Err(CredentialError::Stale)),
        "the page was open too long"
    );
    let foreign = secret(&ticket.expose().replace('0', "1"));
    assert!(matches!(site.control.give_code(&foreign, &next, here(), noon()).await, Err(CredentialError::Stale)));
}

#[tokio::test]
async fn of_many_who_use_one_code_at_once_one_comes_in() {
    let site = Site::open().await;
    let anna = somebody(&site, "anna").await;
    let (app, RecoveryCodes(codes)) = set_up(&site, anna.id).await;
    let ticket = half_way(&site, "anna").await;
    for code in [code(&app, in_seconds(30)), codes[0].expose().clone()] {
        let mut trying = tokio::task::JoinSet::new();
        for n in 0..8_u8 {
            let (control, ticket, code) = (site.control.clone(), ticket.clone(), code.clone());
            let source = IpAddr::from([198, 51, 100, n]);
            trying.spawn(async move { control.give_code(&ticket, &code, source, in_seconds(30)).await.is_ok() });
        }
        assert_eq!(trying.join_all().await.into_iter().filter(|is| *is).count(), 1);
    }
}

#[tokio::test]
async fn a_recovery_code_stands_in_for_the_app_once() {
    let site = Site::open().await;
    let anna = somebody(&site, "anna").await;
    let (_, RecoveryCodes(codes)) = set_up(&site, anna.id).await;
    assert_eq!(codes.len(), 10);
    let site = site.reopen().await;
    let ticket = half_way(&site, "anna").await;
    let try_code = async |code: &str| site.control.give_code(&ticket, code, here(), noon()).await;
    let typed = codes[3].expose().to_uppercase().replace('-', " ");
    assert!(try_code(&typed).await.unwrap().factors.has(Factor::Recovery));
    assert!(matches!(try_code(codes[3].expose()).await, Err(CredentialError::Wrong)));
    let left = TotpStanding::SetUp { since: noon(), recovery_codes_left: 9 };
    assert_eq!(site.control.totp_of(anna.id).await.unwrap(), left);
    let RecoveryCodes(renewed) = site.control.renew_recovery_codes(anna.id, here(), noon()).await.unwrap();
    assert!(matches!(try_code(codes[4].expose()).await, Err(CredentialError::Wrong)), "of the old ones");
    assert!(try_code(renewed[0].expose()).await.is_ok());
    site.control.drop_totp(anna.id, here(), noon()).await.unwrap();
    assert_eq!(signs_in(&site, "anna", PASSWORD).await, Some(anna.id));
    assert!(matches!(try_code(renewed[1].expose()).await, Err(CredentialError::Wrong)));
}

#[tokio::test]
async fn an_app_is_set_up_only_by_its_first_code_and_for_whom_it_was_offered() {
    let site = Site::open().await;
    let (anna, ben) = (somebody(&site, "anna").await, somebody(&site, "ben").await);
    let offer = site.control.offer_totp(anna.id, noon()).unwrap();
    assert!(offer.url.expose().starts_with("otpauth://totp/example.org:anna?secret="), "{}", offer.url.expose());
    let right = code(&app(offer.text.expose()), noon());
    let wrong = if right == "123456" { "654321" } else { "123456" };
    let set_up =
        async |account, code: &str, at| site.control.set_up_totp(account, &offer.ticket, code, here(), at).await;
    assert!(matches!(set_up(anna.id, wrong, noon()).await, Err(CredentialError::Wrong)));
    assert!(matches!(set_up(ben.id, &right, noon()).await, Err(CredentialError::Stale)));
    let late = noon().checked_add(1.hour()).unwrap();
    assert!(matches!(set_up(anna.id, &code(&app(offer.text.expose()), late), late).await, Err(CredentialError::Stale)));
    assert_eq!(signs_in(&site, "anna", PASSWORD).await, Some(anna.id), "nothing is asked for until then");
    set_up(anna.id, &right, noon()).await.unwrap();
    half_way(&site, "anna").await;
}

#[tokio::test]
async fn a_password_that_was_changed_meanwhile_ends_what_the_old_one_began() {
    let site = Site::open().await;
    let anna = somebody(&site, "anna").await;
    let (app, _) = set_up(&site, anna.id).await;
    let ticket = half_way(&site, "anna").await;
    let later = in_seconds(30);
    site.control.change_password(anna.id, &secret(PASSWORD), &secret("four lazy goats"), here(), later).await.unwrap();
    let answer = site.control.give_code(&ticket, &code(&app, later), here(), later).await;
    assert!(matches!(answer, Err(CredentialError::Stale)), "{answer:?}");
}

#[tokio::test]
async fn a_stolen_store_without_its_key_gives_no_secret_of_an_app_away() {
    let site = Site::open().await;
    let anna = somebody(&site, "anna").await;
    let (app, RecoveryCodes(codes)) = set_up(&site, anna.id).await;
    let secret: Vec<u8> = app.secret().as_ref().to_vec();
    site.control.close().await;
    let mut seen = 0;
    for file in std::fs::read_dir(site.data()).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("doorward.db")) {
            let bytes = std::fs::read(&path).unwrap();
            let written = [data_encoding::HEXLOWER.encode(&secret), data_encoding::BASE32_NOPAD.encode(&secret)];
            for clear in [
                secret.as_slice(),
                written[0].as_bytes(),
                written[1].as_bytes(),
                PASSWORD.as_bytes(),
                codes[0].expose().as_bytes(),
            ] {
                assert!(!bytes.windows(clear.len()).any(|window| window == clear), "{}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 0);
    std::fs::remove_file(site.data().join(crate::SEAL_FILE)).unwrap();
    let Site { control, directory } = site;
    drop(control);
    let error = open(&directory.path().join("data")).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("doorward.key"), "{error}");
}

#[tokio::test]
async fn guessing_is_slowed_down_and_shown_to_the_owner() {
    let site = Site::open().await;
    somebody(&site, "anna").await;
    let (mut wrong, mut too_many) = (0, 0);
    for n in 0..25 {
        match site.control.sign_in(given("anna", &format!("guess number {n}")), noon()).await {
            Err(CredentialError::Wrong) => wrong += 1,
            Err(CredentialError::TooMany { wait }) => {
                assert!(wait > Duration::ZERO);
                too_many += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!((20..25).contains(&wrong) && too_many > 0, "{wrong} {too_many}");
    let elsewhere = NameAndPassword { source: "198.51.100.1".parse().unwrap(), ..given("anna", PASSWORD) };
    assert!(matches!(site.control.sign_in(elsewhere, noon()).await, Ok(Step::Done(_))));
    site.control.flush_audit().await.unwrap();
    let entries = site.control.audit(10).await.unwrap();
    let count = |reason: &str| entries.iter().find(|entry| entry.detail == reason).map(|entry| entry.count);
    assert_eq!((count("wrong-password"), count("too-many")), (Some(wrong), Some(too_many)));
}

/// Shown, not judged: this machine is noisy. What is judged is that a hash is computed each time.
#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_take_the_same_time() {
    let site = Site::open().await;
    let anna = site.control.add_person(new("anna", Role::Member), noon()).await.unwrap();
    set_password(&site, anna.id, PASSWORD).await;
    add(&site, "ben").await;
    let mut medians = Vec::new();
    for name in ["anna", "ben", "nobody"] {
        let mut times = Vec::new();
        for n in 0..15_u8 {
            let source = IpAddr::from([198, 51, 100, n]);
            let started = Instant::now();
            let answer = site.control.sign_in(NameAndPassword { source, ..given(name, "not the one") }, noon()).await;
            times.push(started.elapsed());
            assert!(matches!(answer, Err(CredentialError::Wrong)));
        }
        times.sort();
        medians.push(times[times.len() / 2]);
    }
    let mut hashing = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        passwords::hash(&secret("not the one"));
        hashing.push(started.elapsed());
    }
    let hash = hashing.iter().min().unwrap();
    println!(
        "wrong password {:?}, no password {:?}, no such name {:?}; a hash {hash:?}",
        medians[0], medians[1], medians[2]
    );
    assert!(medians.iter().all(|median| *median * 2 > *hash), "{medians:?} {hash:?}");
    assert_eq!(signs_in(&site, "owner", PASSWORD).await, None);
    assert_ne!(anna.id, OWNER);
}
