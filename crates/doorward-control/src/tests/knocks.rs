use super::people::add;
use super::support::*;
use crate::{
    EditError, HeldKey, KnockError, KnockKeyRequest, Knocked, KnockedAt, NewKnockKey, PersonEdit, SiteSettings,
};
use doorward_core::access::{HowDocument, Need, PolicyDocument, WhoDocument};
use doorward_core::knock::{Knock, KnockRefusal, Nonce, Tag, Whence};
use doorward_core::person::Person;
use doorward_core::service::{EntranceWish, Offer, ServiceKind};
use doorward_core::{KnockKeyId, ServiceId};
use jiff::{SignedDuration, Timestamp};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8));

fn seconds(after: i64) -> Timestamp {
    noon() + SignedDuration::from_secs(after)
}

fn on_request(needs: Vec<Need>) -> PolicyDocument {
    PolicyDocument {
        who: WhoDocument::People,
        people: vec!["anna".to_owned()],
        how: Some(HowDocument::OnRequest),
        needs,
        ..PolicyDocument::default()
    }
}

/// Anna's phone, and two services: `nas`, and `safe`, which asks for a second factor.
struct Home {
    site: Site,
    anna: Arc<Person>,
    nas: ServiceId,
    safe: ServiceId,
    made: NewKnockKey,
}

impl Home {
    async fn build(may_be_seen: bool) -> Self {
        let site = Site::open().await;
        let anna = add(&site, "anna").await;
        let device = site.join(1, "home").await;
        let offered = |name: &str, needs| Offer {
            access: on_request(needs),
            entrances: vec![EntranceWish::SessionPort],
            ..offer(name, ServiceKind::Tcp)
        };
        let offers = vec![offered("nas", Vec::new()), offered("safe", vec![Need::Totp])];
        let services: Vec<_> = site.register(&device, offers).await.into_iter().map(|r| r.service.unwrap()).collect();
        let request =
            KnockKeyRequest { account: anna.id, name: label("phone"), services: services.clone(), may_be_seen };
        let made = site.control.make_knock_key(request, noon()).await.unwrap();
        Self { site, anna, nas: services[0], safe: services[1], made }
    }

    fn held(&self) -> Arc<HeldKey> {
        self.site.control.snapshot().knock_key(&self.made.line.id).unwrap().clone()
    }

    async fn knock(&self, knock: Knock, nonce: u8, from: IpAddr, now: i64) -> Result<Knocked, KnockError> {
        let at = KnockedAt { nonce: Nonce([nonce; 16]), from, now: seconds(now) };
        self.site.control.knocked(self.held(), knock, at).await
    }

    fn sources(&self, service: ServiceId) -> Vec<String> {
        let snapshot = self.site.control.snapshot();
        let Some(session) = snapshot.session_for(self.anna.id, service) else { return Vec::new() };
        snapshot.approach(session.id).sources.iter().map(ToString::to_string).collect()
    }

    async fn reopen(self) -> Self {
        Self { site: self.site.reopen().await, ..self }
    }
}

fn sent(at: i64, whence: Whence) -> Knock {
    Knock { sent_at: seconds(at), whence, length: None, named: Vec::new() }
}

fn from_here(at: i64) -> Knock {
    sent(at, Whence::At(HERE))
}

fn refusal(result: Result<Knocked, KnockError>) -> KnockRefusal {
    match result.unwrap_err() {
        KnockError::Refused(why) => why,
        KnockError::Store(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_knock_opens_what_its_persons_policies_allow_for_the_address_in_it() {
    let home = Home::build(false).await;
    let knocked = home.knock(from_here(0), 1, HERE, 0).await.unwrap();
    assert_eq!(knocked, Knocked { open: 1, waiting: 0, refused: 1 });
    assert_eq!(home.sources(home.nas), ["192.0.2.7"]);
    assert_eq!(home.sources(home.safe), Vec::<String>::new(), "a knock is no second factor");
    home.site.control.flush_audit().await.unwrap();
    let lines = home.site.control.audit(100).await.unwrap();
    let deeds: Vec<_> = lines.iter().map(|line| (line.deed.as_str(), line.person.as_str())).collect();
    assert!(deeds.contains(&("session-opened", "anna")), "{deeds:?}");
    assert!(deeds.contains(&("knocked", "anna")), "{deeds:?}");
    assert!(deeds.iter().any(|(deed, _)| *deed == "session-refused"), "{deeds:?}");
}

#[tokio::test]
async fn another_knock_adds_an_address_to_what_is_open() {
    let home = Home::build(true).await;
    home.knock(from_here(0), 1, HERE, 0).await.unwrap();
    home.knock(sent(60, Whence::AsSeen), 2, THERE, 60).await.unwrap();
    assert_eq!(home.sources(home.nas), ["192.0.2.7", "192.0.2.8"]);
}

#[tokio::test]
async fn it_opens_only_what_it_names() {
    let home = Home::build(false).await;
    let knock = Knock { named: vec![Tag::of("home/safe")], ..from_here(0) };
    assert_eq!(home.knock(knock, 1, HERE, 0).await.unwrap(), Knocked { open: 0, waiting: 0, refused: 1 });
    assert_eq!(home.sources(home.nas), Vec::<String>::new());
}

#[tokio::test]
async fn what_came_once_does_not_count_again_whoever_restarts_and_whatever_the_clock_does() {
    let home = Home::build(true).await;
    home.knock(from_here(0), 1, HERE, 0).await.unwrap();
    assert_eq!(refusal(home.knock(from_here(0), 1, HERE, 1).await), KnockRefusal::Replayed);
    let home = home.reopen().await;
    assert_eq!(refusal(home.knock(from_here(0), 1, HERE, 2).await), KnockRefusal::Replayed);
    // By this one the first is forgotten; then the clock is set back.
    home.knock(from_here(1000), 2, HERE, 1000).await.unwrap();
    let late = KnockRefusal::OtherTime { sent_at: noon() };
    assert_eq!(refusal(home.knock(from_here(0), 1, HERE, 0).await), late);
}

#[tokio::test]
async fn of_many_that_are_the_same_one_counts() {
    let home = Arc::new(Home::build(false).await);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let home = home.clone();
        all.spawn(async move { home.knock(from_here(0), 1, HERE, 0).await.is_ok() });
    }
    assert_eq!(all.join_all().await.into_iter().filter(|is_taken| *is_taken).count(), 1);
}

#[tokio::test]
async fn other_times_other_sources_and_people_who_are_gone_open_nothing() {
    let home = Home::build(false).await;
    let late = KnockRefusal::OtherTime { sent_at: noon() };
    assert_eq!(refusal(home.knock(from_here(0), 1, HERE, 301).await), late);
    assert_eq!(refusal(home.knock(from_here(0), 1, THERE, 0).await), KnockRefusal::OtherSource);
    assert_eq!(refusal(home.knock(sent(0, Whence::AsSeen), 1, HERE, 0).await), KnockRefusal::NoSource);
    assert_eq!(home.sources(home.nas), Vec::<String>::new());
    let held = home.held();
    let disabled = PersonEdit { is_disabled: Some(true), ..PersonEdit::default() };
    home.site.control.edit_person(home.anna.id, disabled, None, noon()).await.unwrap();
    assert_eq!(refusal(home.knock(from_here(0), 1, HERE, 0).await), KnockRefusal::NobodyThere);
    home.site.control.remove_knock_key(Some(home.anna.id), home.made.id, noon()).await.unwrap();
    assert!(home.site.control.snapshot().knock_key(&home.made.line.id).is_none());
    let at = KnockedAt { nonce: Nonce([1; 16]), from: HERE, now: noon() };
    assert_eq!(refusal(home.site.control.knocked(held, from_here(0), at).await), KnockRefusal::NobodyThere);
}

#[tokio::test]
async fn one_key_counts_so_often_at_most_and_what_is_kept_of_it_is_bounded() {
    let home = Home::build(false).await;
    let knock = |nonce: u8| Knock { named: vec![Tag::of("none/such")], ..from_here(i64::from(nonce)) };
    for nonce in 0..200 {
        home.knock(knock(nonce), nonce, HERE, i64::from(nonce)).await.unwrap();
    }
    assert_eq!(refusal(home.knock(knock(200), 200, HERE, 200).await), KnockRefusal::TooOften);
    home.knock(from_here(1000), 201, HERE, 1000).await.unwrap();
}

#[tokio::test]
async fn keys_are_listed_and_removed_by_those_whose_they_are() {
    let home = Home::build(true).await;
    let ben = add(&home.site, "ben").await;
    home.knock(from_here(5), 1, HERE, 5).await.unwrap();
    let control = &home.site.control;
    assert!(control.knock_keys(Some(ben.id)).await.unwrap().is_empty());
    let keys = control.knock_keys(Some(home.anna.id)).await.unwrap();
    assert_eq!((keys[0].used_at, keys[0].used_from), (Some(seconds(5)), Some(HERE)));
    assert!(matches!(control.remove_knock_key(Some(ben.id), home.made.id, noon()).await, Err(EditError::Unknown(_))));
    assert!(matches!(control.remove_knock_key(None, KnockKeyId(99), noon()).await, Err(EditError::Unknown(_))));
    let again =
        KnockKeyRequest { account: home.anna.id, name: label("phone"), services: Vec::new(), may_be_seen: false };
    assert!(matches!(control.make_knock_key(again, noon()).await, Err(EditError::Taken(_))));
    control.remove_person(home.anna.id, None, noon()).await.unwrap();
    assert!(control.knock_keys(None).await.unwrap().is_empty());
    assert!(control.snapshot().knock_key(&home.made.line.id).is_none());
}

#[tokio::test]
async fn a_hidden_portal_is_there_after_a_knock_and_while_a_session_is_open() {
    let home = Home::build(false).await;
    let shows = |home: &Home, from, at| home.site.control.shows_portal(from, seconds(at));
    assert!(shows(&home, THERE, 0), "it hides only where that was said");
    let mut site = SiteSettings::clone(&home.site.control.site());
    site.knock.hides_portal_but_for = Some(SignedDuration::from_mins(10));
    home.site.control.resettle(site.clone(), noon()).await.unwrap();
    assert!(!shows(&home, HERE, 0));
    home.knock(from_here(0), 1, HERE, 0).await.unwrap();
    assert!(shows(&home, HERE, 0) && !shows(&home, THERE, 0));
    assert!(shows(&home, HERE, 1200), "their session is open for half an hour");
    assert!(!shows(&home, HERE, 2000));
    let named = Knock { named: vec![Tag::of("none/such")], ..from_here(3000) };
    home.knock(named, 2, HERE, 3000).await.unwrap();
    let home = home.reopen().await;
    home.site.control.resettle(site, noon()).await.unwrap();
    assert!(shows(&home, HERE, 3590) && !shows(&home, HERE, 3700), "after a restart, too");
}
