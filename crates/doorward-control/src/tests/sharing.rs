use super::people::add;
use super::support::*;
use crate::accounts::OWNER;
use crate::{EditError, MadeShare, News, PersonEdit, ShareError, SharePress, ShareStanding, UseError};
use doorward_core::access::{Denied, Facts, PolicyDocument, Proof, Visitor, WhoDocument, decide};
use doorward_core::names::Label;
use doorward_core::service::{Entrance, Offer};
use doorward_core::share::{ShareRefusal, ShareUse, ShareWish};
use doorward_core::{Secret, ServiceId, ShareId};
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;
use std::num::NonZeroU32;
use tokio::task::JoinSet;

fn shared(longest: &str) -> PolicyDocument {
    PolicyDocument { who: WhoDocument::Nobody, share_links: Some(longest.to_owned()), ..PolicyDocument::default() }
}

async fn cam(site: &Site) -> ServiceId {
    let device = site.join(1, "pi").await;
    let offer = Offer { access: shared("7d"), ..http("cam") };
    site.offer(&device, offer).await.service.unwrap()
}

fn wish(uses: u32) -> ShareWish {
    let length = SignedDuration::from_hours(4);
    ShareWish { title: "for ben".into(), length, uses: NonZeroU32::new(uses), is_read_only: false, has_pin: false }
}

async fn make(site: &Site, service: ServiceId, wish: ShareWish) -> MadeShare {
    site.control.make_share(service, OWNER, wish, noon()).await.unwrap()
}

fn secret(made: &MadeShare) -> Secret<String> {
    let (page, secret) = made.url.expose().rsplit_once('/').unwrap();
    assert_eq!((page, secret.len()), ("https://portal.example.org/share", 32));
    Secret::new(secret.to_owned())
}

fn press(browser: &str, pin: Option<&str>) -> SharePress {
    let secret = |text: &str| Secret::new(text.to_owned());
    SharePress { pin: pin.map(secret), browser: secret(browser), source: source(7) }
}

fn source(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

async fn use_it(site: &Site, made: &MadeShare, browser: &str, now: Timestamp) -> Result<ShareUse, UseError> {
    site.control.use_share(&secret(made), press(browser, None), now).await.map(|(_, used)| used)
}

fn minutes(after_noon: i64) -> Timestamp {
    noon() + SignedDuration::from_mins(after_noon)
}

async fn next_shares(changes: &mut crate::Changes) -> Vec<ShareId> {
    match next_news(changes).await {
        Some(News::Change(change)) => change.shares.clone(),
        other => panic!("{other:?}"),
    }
}

fn answer(site: &Site, service: ServiceId, used: ShareUse, now: Timestamp) -> Result<Option<Timestamp>, Denied> {
    let mut visitor = Visitor::new(source(7), Entrance::Web);
    visitor.proofs.push(Proof::Share(used));
    let snapshot = site.control.snapshot();
    decide(&snapshot.service(service).unwrap(), &visitor, &*snapshot, now).map(|permit| permit.until())
}

async fn audited(site: &Site) -> Vec<(String, String, String, u64)> {
    site.control.flush_audit().await.unwrap();
    let lines = site.control.audit(1000).await.unwrap();
    let about_shares = lines.into_iter().rev().filter(|line| line.deed.starts_with("share-"));
    about_shares.map(|line| (line.deed, line.subject, line.detail, line.count)).collect()
}

#[tokio::test]
async fn of_many_who_press_at_once_no_more_come_in_than_may_and_each_browser_once() {
    let site = Site::open().await;
    let service = cam(&site).await;
    let made = make(&site, service, wish(3)).await;
    let mut pressing = JoinSet::new();
    for n in 0..60 {
        let (control, secret) = (site.control.clone(), secret(&made));
        // Each of twenty browsers presses three times.
        let press = press(&format!("browser {}", n % 20), None);
        pressing.spawn(async move { control.use_share(&secret, press, noon()).await.map(|(_, used)| used.number) });
    }
    let mut came = Vec::new();
    let mut refused = 0;
    for pressed in pressing.join_all().await {
        match pressed {
            Ok(number) => came.push(number),
            Err(UseError::Over) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    came.sort_unstable();
    assert_eq!((came, refused), (vec![1, 1, 1, 2, 2, 2, 3, 3, 3], 51));
    let share = site.control.share(made.share.id).unwrap();
    assert_eq!((share.used, share.has_uses_left()), (3, false));
    let standing = site.control.shares(noon()).await.unwrap()[0].standing;
    assert_eq!(standing, ShareStanding::UsedUp(minutes(240)));
    let lines = audited(&site).await;
    let of = |deed: &str| lines.iter().filter(|line| line.0 == deed).map(|line| line.3).sum::<u64>();
    assert_eq!((of("share-made"), of("share-used"), of("share-refused")), (1, 3, 51));
    assert!(lines.contains(&("share-used".into(), "pi/cam".into(), "share 1, use 3 of 3".into(), 1)), "{lines:?}");
    let text = format!("{lines:?}");
    assert!(!text.contains(secret(&made).expose()), "the link is told to nobody");
}

#[tokio::test]
async fn looking_at_a_link_changes_nothing() {
    let site = Site::open().await;
    let service = cam(&site).await;
    let made = make(&site, service, wish(1)).await;
    let before = (site.control.snapshot().generation(), audited(&site).await);
    for _ in 0..50 {
        let found = site.control.look_at_share(&secret(&made), source(9), noon()).await.unwrap().unwrap();
        assert!(found.has_room && found.until == minutes(240));
    }
    assert_eq!((site.control.snapshot().generation(), audited(&site).await), before);
    assert_eq!(use_it(&site, &made, "b", noon()).await.unwrap().number, 1);
}

#[tokio::test]
async fn a_share_ends_by_hand_by_time_with_its_maker_and_with_its_policy() {
    let site = Site::open().await;
    let service = cam(&site).await;
    let mut changes = site.control.changes();
    let made = make(&site, service, wish(9)).await;
    assert_eq!(next_shares(&mut changes).await, [made.share.id]);
    let used = use_it(&site, &made, "b", noon()).await.unwrap();
    assert_eq!(next_shares(&mut changes).await, [made.share.id]);
    assert_eq!(answer(&site, service, used, minutes(239)), Ok(Some(minutes(240))));
    assert_eq!(answer(&site, service, used, minutes(240)), Err(Denied::ShareOver));
    assert!(matches!(use_it(&site, &made, "c", minutes(240)).await, Err(UseError::Over)), "its time is over");

    let stale = site.control.revoke_share(made.share.id, Some(7), minutes(1)).await;
    assert!(matches!(stale, Err(EditError::Stale { current: 1 })), "{stale:?}");
    site.control.revoke_share(made.share.id, Some(1), minutes(1)).await.unwrap();
    assert_eq!(next_shares(&mut changes).await, [made.share.id]);
    assert_eq!(answer(&site, service, used, minutes(1)), Err(Denied::ShareOver));
    assert!(matches!(use_it(&site, &made, "b", minutes(1)).await, Err(UseError::Over)), "nor whoever came before");
    site.control.revoke_share(made.share.id, None, minutes(2)).await.unwrap();
    assert_eq!(site.control.shares(minutes(2)).await.unwrap()[0].standing, ShareStanding::Revoked(minutes(1)));
    let none = site.control.revoke_share(ShareId(99), None, noon()).await;
    assert!(matches!(none, Err(EditError::Unknown(_))));

    let another = make(&site, service, wish(9)).await;
    let used = use_it(&site, &another, "b", noon()).await.unwrap();
    let snapshot = site.control.snapshot();
    let device = snapshot.service(service).unwrap().device;
    let cam = Label::parse("cam").unwrap();
    site.control.set_access(device, &cam, Some(shared("2h")), None, noon()).await.unwrap();
    assert_eq!(answer(&site, service, used, noon()), Ok(Some(minutes(120))), "a narrower policy ends it sooner");
    let none = PolicyDocument { share_links: None, ..shared("2h") };
    site.control.set_access(device, &cam, Some(none), None, noon()).await.unwrap();
    assert_eq!(answer(&site, service, used, noon()), Err(Denied::Nobody));
    let lines = audited(&site).await;
    let mut refused: Vec<_> =
        lines.iter().filter(|line| line.0 == "share-refused").map(|line| line.2.as_str()).collect();
    refused.sort_unstable();
    assert_eq!(refused, ["over", "revoked"], "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.0 == "share-revoked").count(), 1);
}

#[tokio::test]
async fn a_share_goes_with_whoever_made_it() {
    let site = Site::open().await;
    let service = cam(&site).await;
    let anna = add(&site, "anna").await;
    let refused = site.control.make_share(service, anna.id, wish(1), noon()).await;
    assert!(matches!(refused, Err(ShareError::Refused(ShareRefusal::NotTheirs))), "{refused:?}");
    let owner = PersonEdit { role: Some(doorward_core::person::Role::Owner), ..PersonEdit::default() };
    site.control.edit_person(anna.id, owner, None, noon()).await.unwrap();
    let made = site.control.make_share(service, anna.id, wish(1), noon()).await.unwrap();
    let used = use_it(&site, &made, "b", noon()).await.unwrap();
    assert!(answer(&site, service, used, noon()).is_ok());
    let mut changes = site.control.changes();
    let disabled = PersonEdit { is_disabled: Some(true), ..PersonEdit::default() };
    site.control.edit_person(anna.id, disabled, None, noon()).await.unwrap();
    assert_eq!(next_shares(&mut changes).await, [made.share.id], "what rests on it is decided again");
    assert_eq!(answer(&site, service, used, noon()), Err(Denied::ShareOver));
}

#[tokio::test]
async fn pins_are_made_and_guesses_at_them_are_few() {
    let site = Site::open().await;
    let service = cam(&site).await;
    let made = make(&site, service, ShareWish { has_pin: true, ..wish(5) }).await;
    let pin = made.pin.as_ref().unwrap().expose().clone();
    assert!(pin.len() == 6 && pin.bytes().all(|digit| digit.is_ascii_digit()), "{pin}");
    let wrong = if pin == "000000" { "000001" } else { "000000" };
    let give = async |pin: Option<&str>, last: u8| {
        let press = SharePress { source: source(last), ..press(&format!("browser {last}"), pin) };
        site.control.use_share(&secret(&made), press, noon()).await.map(|(_, used)| used.number)
    };
    assert!(matches!(give(None, 1).await, Err(UseError::WrongPin)));
    assert_eq!(give(Some(&format!(" {pin} ")), 1).await.unwrap(), 1);
    // From everywhere together, whoever they are.
    let (mut wrongs, mut waits) = (1, 0);
    for last in 2..30 {
        match give(Some(wrong), last).await {
            Err(UseError::WrongPin) => wrongs += 1,
            Err(UseError::TooMany { wait }) => {
                assert!(wait.as_secs() > 60, "{wait:?}");
                waits += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((wrongs, waits), (10, 19));
    assert!(matches!(give(Some(&pin), 40).await, Err(UseError::TooMany { .. })), "not even the right one");
    assert_eq!(site.control.share(made.share.id).unwrap().used, 1);
    let file = std::fs::read(site.data().join("doorward.db")).unwrap();
    let log = std::fs::read(site.data().join("doorward.db-wal")).unwrap();
    let holds =
        |text: &str| [&file, &log].iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()));
    assert!(holds("$argon2id$") && !holds(secret(&made).expose()), "only hashes rest");
    let lines = audited(&site).await;
    let of = |why: &str| lines.iter().filter(|line| line.2 == why).map(|line| line.3).sum::<u64>();
    assert_eq!((of("wrong-pin"), of("too-many-pins")), (10, 20), "{lines:?}");
    assert!(!format!("{lines:?}").contains(&pin));
}

#[tokio::test]
async fn tickets_and_passes_count_for_what_they_were_given_for_and_over_a_restart() {
    let site = Site::open().await;
    let service = cam(&site).await;
    let made = make(&site, service, wish(2)).await;
    let used = use_it(&site, &made, "b", noon()).await.unwrap();
    let own = host("cam-pi.example.org");
    let ticket = site.control.share_ticket(used);
    let (pass, until) = site.control.share_pass(used, service, &own).unwrap();
    assert_eq!(until, minutes(240));
    let site = site.reopen().await;
    let control = &site.control;
    assert_eq!(answer(&site, service, used, noon()), Ok(Some(minutes(240))));
    assert_eq!(use_it(&site, &made, "b", noon()).await.unwrap(), used, "the same browser takes no further use");
    assert_eq!(control.use_by_ticket(used.share, &ticket), Some(used));
    assert_eq!(control.use_by_pass(&pass, service, &own), Some(used));
    assert_eq!(control.use_by_ticket(ShareId(2), &ticket), None);
    assert_eq!(control.use_by_ticket(used.share, &pass), None, "neither is the other");
    assert_eq!(control.use_by_pass(&ticket, service, &own), None);
    assert_eq!(control.use_by_pass(&pass, ServiceId(99), &own), None);
    assert_eq!(control.use_by_pass(&pass, service, &host("vault-pi.example.org")), None);
    assert_eq!(control.login_by_pass(&pass, service, &own), None);
    let (_, mac) = pass.expose().rsplit_once('.').unwrap();
    for forged in
        [format!("1.2.{mac}"), format!("2.1.{mac}"), "1.1.".into(), "1.1".into(), mac.to_owned(), String::new()]
    {
        assert_eq!(control.use_by_pass(&Secret::new(forged.clone()), service, &own), None, "{forged}");
    }
}

#[tokio::test]
async fn what_cannot_be_shared_is_refused_with_the_reason() {
    let site = Site::open().await;
    let service = cam(&site).await;
    let device = site.control.snapshot().service(service).unwrap().device;
    let too_many = site.control.make_share(service, OWNER, wish(10_001), noon()).await.unwrap_err().to_string();
    assert!(too_many.contains("1 to 10000 browsers"), "{too_many}");
    let unknown = site.control.make_share(ServiceId(99), OWNER, wish(1), noon()).await;
    assert!(matches!(unknown, Err(ShareError::Edit(EditError::Unknown(_)))), "{unknown:?}");
    let cam = Label::parse("cam").unwrap();
    site.control.set_access(device, &cam, Some(PolicyDocument::default()), None, noon()).await.unwrap();
    let refused = site.control.make_share(service, OWNER, wish(1), noon()).await;
    assert!(matches!(refused, Err(ShareError::Refused(ShareRefusal::NotAllowed))), "{refused:?}");
    assert!(site.control.shares(noon()).await.unwrap().is_empty());
    site.control.set_access(device, &cam, Some(shared("7d")), None, noon()).await.unwrap();
    let without = crate::SiteSettings { portal: None, ..site_settings() };
    site.control.resettle(without, noon()).await.unwrap();
    let refused = site.control.make_share(service, OWNER, wish(1), noon()).await.unwrap_err().to_string();
    assert!(refused.contains("the portal, which has no public address"), "{refused}");
}

#[tokio::test]
async fn what_is_long_over_is_forgotten() {
    let site = Site::open().await;
    let service = cam(&site).await;
    let made = make(&site, service, wish(2)).await;
    use_it(&site, &made, "b", noon()).await.unwrap();
    site.control.keep_house_once(noon() + SignedDuration::from_hours(24 * 29)).await.unwrap();
    assert_eq!(site.control.shares(noon()).await.unwrap().len(), 1);
    site.control.keep_house_once(noon() + SignedDuration::from_hours(24 * 31)).await.unwrap();
    assert!(site.control.shares(noon()).await.unwrap().is_empty());
    assert!(site.control.snapshot().share(made.share.id).is_none());
    let next = make(&site, service, wish(2)).await;
    assert_eq!(next.share.id, ShareId(2), "numbers are never given twice");
}
