use super::people::add;
use super::support::*;
use crate::{News, PersonEdit, Reservation, SessionError, SessionRequest};
use doorward_core::access::{Denied, Facts, HowDocument, PolicyDocument, Proof, Visitor, WhoDocument, decide};
use doorward_core::person::Person;
use doorward_core::service::{Entrance, Offer, Service};
use doorward_core::session::{Session, SessionEnd, SessionRefusal};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

fn on_request(people: &[&str], max_duration: Option<&str>, max_idle: Option<&str>) -> PolicyDocument {
    PolicyDocument {
        who: WhoDocument::People,
        people: people.iter().map(ToString::to_string).collect(),
        how: Some(HowDocument::OnRequest),
        max_duration: max_duration.map(str::to_owned),
        max_idle: max_idle.map(str::to_owned),
        ..PolicyDocument::default()
    }
}

struct Lesson {
    site: Site,
    anna: Arc<Person>,
    service: Arc<Service>,
}

impl Lesson {
    async fn begin(policy: PolicyDocument) -> Self {
        let site = Site::open().await;
        let anna = add(&site, "anna").await;
        let device = site.join(1, "zumi01").await;
        let offered = site.offer(&device, Offer { access: policy, ..http("jupyter") }).await;
        let service = site.control.snapshot().service(offered.service.unwrap()).unwrap();
        Self { site, anna, service }
    }

    async fn open(&self, minutes: i64, id: Option<&str>, now: Timestamp) -> Result<Session, SessionError> {
        let request = SessionRequest {
            account: self.anna.id,
            service: self.service.id,
            length: SignedDuration::from_mins(minutes),
            source: Some("192.0.2.7".parse().unwrap()),
            id: id.map(str::to_owned),
            proofs: Vec::new(),
        };
        self.site.control.open_session(request, now).await
    }

    fn decide(&self, session: &Session, now: Timestamp) -> Result<Option<Timestamp>, Denied> {
        let mut visitor = Visitor::new("192.0.2.7".parse().unwrap(), Entrance::Ssh);
        visitor.proofs = vec![Proof::Person(self.anna.id), Proof::Session(session.id)];
        let snapshot = self.site.control.snapshot();
        let service = snapshot.service(self.service.id).unwrap();
        decide(&service, &visitor, &*snapshot, now).map(|permit| permit.until())
    }

    async fn ending(&self, session: &Session, now: Timestamp) -> Option<(SessionEnd, Timestamp)> {
        let all = self.site.control.sessions(true, 100, now).await.unwrap();
        all.into_iter().find(|summary| summary.session.id == session.id).unwrap().ended
    }
}

fn minutes(after_noon: i64) -> Timestamp {
    noon() + SignedDuration::from_mins(after_noon)
}

#[tokio::test]
async fn a_session_lets_its_person_in_until_its_end_and_is_named_by_its_change() {
    let lesson = Lesson::begin(on_request(&["anna"], Some("1h"), None)).await;
    let mut changes = lesson.site.control.changes();
    let session = lesson.open(30, None, noon()).await.unwrap();
    assert_eq!((session.opened_at, session.until), (noon(), minutes(30)));
    assert!(matches!(next_news(&mut changes).await, Some(News::Change(change)) if change.sessions == [session.id]));
    assert_eq!(lesson.decide(&session, minutes(29)), Ok(Some(minutes(30))));
    assert_eq!(lesson.decide(&session, minutes(30)), Err(Denied::SessionOver));
    lesson.site.control.end_session(session.id, Some(9), minutes(10)).await.unwrap_err();
    lesson.site.control.end_session(session.id, Some(1), minutes(10)).await.unwrap();
    assert!(matches!(next_news(&mut changes).await, Some(News::Change(change)) if change.sessions == [session.id]));
    assert_eq!(lesson.decide(&session, minutes(10)), Err(Denied::SessionNeeded));
    assert_eq!(lesson.ending(&session, minutes(11)).await, Some((SessionEnd::Hand, minutes(10))));
    lesson.site.control.end_session(session.id, Some(1), minutes(12)).await.unwrap();
    assert_eq!(lesson.ending(&session, minutes(12)).await, Some((SessionEnd::Hand, minutes(10))), "once is enough");
}

#[tokio::test]
async fn an_extension_is_decided_anew_and_never_exceeds_what_the_policy_allows_now() {
    let lesson = Lesson::begin(on_request(&["anna"], Some("1h"), None)).await;
    let control = &lesson.site.control;
    let session = lesson.open(30, None, noon()).await.unwrap();
    let extend = async |length: i64, version, at: i64| {
        control.extend_session(session.id, SignedDuration::from_mins(length), None, version, minutes(at)).await
    };
    let longer = extend(25, Some(1), 20).await.unwrap();
    assert_eq!((longer.until, longer.version), (minutes(45), 2));
    assert!(matches!(extend(30, Some(1), 20).await, Err(SessionError::Stale { current: 2 })));
    assert_eq!(extend(5, None, 20).await.unwrap().until, minutes(45), "nothing is taken away");
    assert_eq!(extend(600, None, 40).await.unwrap().until, minutes(60), "an hour as a whole");
    let again = lesson.open(30, None, minutes(50)).await.unwrap();
    assert_eq!((again.id, again.until), (session.id, minutes(60)), "there is one of a service");

    let device = lesson.service.device;
    let set = async |policy| {
        control.set_access(device, &label("jupyter"), Some(policy), None, minutes(50)).await.unwrap();
    };
    set(on_request(&["anna"], Some("55m"), None)).await;
    assert_eq!(lesson.decide(&session, minutes(50)), Ok(Some(minutes(55))), "a narrower policy ends it sooner");
    set(on_request(&["ben"], None, None)).await;
    let refused = extend(30, None, 50).await;
    assert!(matches!(refused, Err(SessionError::Refused(SessionRefusal::Denied(Denied::NotOneOfThem)))), "{refused:?}");
    assert!(matches!(extend(30, None, 61).await, Err(SessionError::Unknown(_))));
    control.flush_audit().await.unwrap();
    let deeds: Vec<_> = control.audit(20).await.unwrap().into_iter().map(|entry| entry.deed).collect();
    for deed in ["session-opened", "session-extended", "session-refused"] {
        assert!(deeds.iter().any(|word| word == deed), "{deed} is not in {deeds:?}");
    }
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_session_however_it_fared() {
    let lesson = Lesson::begin(on_request(&["anna"], None, None)).await;
    let first = lesson.open(30, Some("a1"), noon()).await.unwrap();
    assert_eq!(lesson.open(60, Some("a1"), minutes(5)).await.unwrap(), first);
    lesson.site.control.end_session(first.id, None, minutes(6)).await.unwrap();
    assert_eq!(lesson.open(60, Some("a1"), minutes(7)).await.unwrap().id, first.id);
    assert_eq!(lesson.decide(&first, minutes(7)), Err(Denied::SessionNeeded), "it is over all the same");
    assert_ne!(lesson.open(60, Some("a2"), minutes(7)).await.unwrap().id, first.id);
    assert!(matches!(lesson.open(60, Some("a b"), minutes(7)).await, Err(SessionError::Invalid(_))));
}

#[tokio::test]
async fn a_session_survives_a_restart_and_does_not_grow_by_it() {
    let lesson = Lesson::begin(on_request(&["anna"], None, Some("20m"))).await;
    let session = lesson.open(30, None, noon()).await.unwrap();
    let Lesson { site, anna, service } = lesson;
    let site = site.reopen().await;
    let lesson = Lesson { site, anna, service };
    assert_eq!(lesson.site.control.snapshot().session(session.id), Some(&session));
    assert_eq!(lesson.decide(&session, minutes(29)), Ok(Some(minutes(30))));
    assert_eq!(lesson.decide(&session, minutes(30)), Err(Denied::SessionOver));
    // Nobody used it, and the time while nothing ran counts.
    lesson.site.control.keep_house_once(minutes(19)).await.unwrap();
    assert!(lesson.site.control.snapshot().session(session.id).is_some());
    lesson.site.control.keep_house_once(minutes(20)).await.unwrap();
    assert_eq!(lesson.ending(&session, minutes(20)).await, Some((SessionEnd::Idle, minutes(20))));
    let site = lesson.site.reopen().await;
    assert_eq!(site.control.snapshot().sessions().count(), 0);
}

#[tokio::test]
async fn use_keeps_a_session_and_is_known_after_a_restart() {
    let lesson = Lesson::begin(on_request(&["anna"], None, Some("10m"))).await;
    let session = lesson.open(60, None, noon()).await.unwrap();
    lesson.site.control.session_used(session.id, minutes(9));
    lesson.site.control.keep_house_once(minutes(12)).await.unwrap();
    let Lesson { site, anna, service } = lesson;
    let lesson = Lesson { site: site.reopen().await, anna, service };
    lesson.site.control.end_lapsed_sessions(minutes(18)).await.unwrap();
    assert_eq!(lesson.ending(&session, minutes(18)).await, None);
    lesson.site.control.end_lapsed_sessions(minutes(19)).await.unwrap();
    assert_eq!(lesson.ending(&session, minutes(19)).await, Some((SessionEnd::Idle, minutes(19))));
}

#[tokio::test]
async fn what_ran_out_is_written_down_with_its_own_end_and_a_new_one_can_be_opened() {
    let lesson = Lesson::begin(on_request(&["anna"], None, None)).await;
    let first = lesson.open(30, None, noon()).await.unwrap();
    assert_eq!(lesson.site.control.sessions(false, 9, minutes(31)).await.unwrap(), []);
    assert_eq!(
        lesson.ending(&first, minutes(31)).await,
        Some((SessionEnd::Time, minutes(30))),
        "nobody has seen it yet"
    );
    let second = lesson.open(30, None, minutes(40)).await.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(lesson.ending(&first, minutes(41)).await, Some((SessionEnd::Time, minutes(30))));
    lesson.site.control.end_lapsed_sessions(minutes(75)).await.unwrap();
    assert_eq!(lesson.ending(&second, minutes(75)).await, Some((SessionEnd::Time, minutes(70))));
    lesson.site.control.keep_house_once(noon() + SignedDuration::from_hours(91 * 24)).await.unwrap();
    assert_eq!(lesson.site.control.sessions(true, 9, minutes(75)).await.unwrap(), [], "it is not kept for ever");
}

#[tokio::test]
async fn sessions_end_with_their_person_and_their_service() {
    let lesson = Lesson::begin(on_request(&["anna", "ben"], None, None)).await;
    let control = &lesson.site.control;
    let session = lesson.open(30, None, noon()).await.unwrap();
    let disable = PersonEdit { is_disabled: Some(true), ..PersonEdit::default() };
    control.edit_person(lesson.anna.id, disable, None, minutes(1)).await.unwrap();
    assert_eq!(lesson.ending(&session, minutes(2)).await, Some((SessionEnd::Gone, minutes(1))));
    let refused = lesson.open(30, None, minutes(2)).await;
    let because = SessionRefusal::Denied(Denied::AccountDisabled);
    assert!(matches!(&refused, Err(SessionError::Refused(why)) if *why == because), "{refused:?}");

    let ben = add(&lesson.site, "ben").await;
    let request = |length| SessionRequest {
        account: ben.id,
        service: lesson.service.id,
        length: SignedDuration::from_mins(length),
        source: None,
        id: None,
        proofs: Vec::new(),
    };
    let second = control.open_session(request(30), minutes(2)).await.unwrap();
    control.remove_person(ben.id, None, minutes(3)).await.unwrap();
    let forgotten = control.session_summary(second.id, minutes(4)).await.unwrap();
    assert!(forgotten.is_none() && control.snapshot().session(second.id).is_none(), "nothing of them is kept");
    assert!(matches!(control.open_session(request(30), minutes(4)).await, Err(SessionError::Unknown(_))));

    let enable = PersonEdit { is_disabled: Some(false), ..PersonEdit::default() };
    control.edit_person(lesson.anna.id, enable, None, minutes(5)).await.unwrap();
    let third = lesson.open(30, None, minutes(5)).await.unwrap();
    control.register(lesson.service.device, Vec::new(), minutes(6)).await.unwrap();
    let service = Reservation::Service { device: lesson.service.device, service: label("jupyter") };
    control.release(service, minutes(6)).await.unwrap();
    control.end_lapsed_sessions(minutes(7)).await.unwrap();
    assert_eq!(lesson.ending(&third, minutes(8)).await, Some((SessionEnd::Gone, minutes(7))));
}

#[tokio::test]
async fn a_repeated_request_extends_an_open_session_once() {
    let lesson = Lesson::begin(on_request(&["anna"], Some("4h"), None)).await;
    let first = lesson.open(30, Some("first"), noon()).await.unwrap();
    let extended = lesson.open(30, Some("second"), minutes(20)).await.unwrap();
    assert_eq!((extended.id, extended.until), (first.id, minutes(50)));
    let repeated = lesson.open(30, Some("second"), minutes(40)).await.unwrap();
    assert_eq!(repeated, extended, "asked again, it is not extended again");
    assert_eq!(lesson.open(30, Some("first"), minutes(41)).await.unwrap(), extended);
    assert_eq!(lesson.open(30, Some("third"), minutes(42)).await.unwrap().until, minutes(72));
}

#[tokio::test]
async fn one_id_of_a_request_may_be_used_for_each_service() {
    let lesson = Lesson::begin(on_request(&["anna"], None, None)).await;
    let device = lesson.site.join(2, "other").await;
    let offer = Offer { access: on_request(&["anna"], None, None), ..http("camera") };
    let camera = lesson.site.offer(&device, offer).await.service.unwrap();
    let here = lesson.open(30, Some("now"), noon()).await.unwrap();
    let request = SessionRequest {
        account: lesson.anna.id,
        service: camera,
        length: SignedDuration::from_mins(30),
        source: None,
        id: Some("now".to_owned()),
        proofs: Vec::new(),
    };
    let there = lesson.site.control.open_session(request, noon()).await.unwrap();
    assert_eq!((here.service, there.service), (lesson.service.id, camera));
    assert_ne!(here.id, there.id);
}
