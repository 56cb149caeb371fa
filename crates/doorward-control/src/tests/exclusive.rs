use super::people::add;
use super::support::*;
use crate::{Opening, PersonEdit, SessionError, SessionRequest, Turn};
use doorward_core::access::{Facts, HowDocument, PolicyDocument, WhoDocument};
use doorward_core::names::Label;
use doorward_core::person::Person;
use doorward_core::service::{Offer, Service};
use doorward_core::session::{Session, SessionEnd, SessionRefusal};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio::task::JoinSet;

fn one_at_a_time() -> PolicyDocument {
    PolicyDocument {
        who: WhoDocument::People,
        groups: vec!["class".to_owned(), "teachers".to_owned()],
        how: Some(HowDocument::OnRequest),
        exclusive: true,
        take_over: vec!["teachers".to_owned()],
        claim: Some("2m".to_owned()),
        ..PolicyDocument::default()
    }
}

/// A robot that one of a class has at a time.
struct Class {
    site: Site,
    robot: Arc<Service>,
}

impl Class {
    async fn begin(pupils: &[&str]) -> Self {
        let site = Site::open().await;
        for name in pupils {
            add(&site, name).await;
        }
        let class = pupils.iter().map(|name| label(name)).collect();
        site.control.add_group(label("class"), None, class, noon()).await.unwrap();
        add(&site, "tina").await;
        site.control.add_group(label("teachers"), None, vec![label("tina")], noon()).await.unwrap();
        let device = site.join(1, "zumi01").await;
        let offered = site.offer(&device, Offer { access: one_at_a_time(), ..http("jupyter") }).await;
        let robot = site.control.snapshot().service(offered.service.unwrap()).unwrap();
        Self { site, robot }
    }

    async fn restart(self) -> Self {
        Self { site: self.site.reopen().await, robot: self.robot }
    }

    fn person(&self, name: &str) -> Arc<Person> {
        self.site.control.snapshot().person_by_name(&label(name)).unwrap().clone()
    }

    fn wish(&self, name: &str, minutes: i64) -> SessionRequest {
        SessionRequest {
            account: self.person(name).id,
            service: self.robot.id,
            length: SignedDuration::from_mins(minutes),
            source: None,
            id: None,
            proofs: Vec::new(),
        }
    }

    async fn ask(&self, name: &str, length: i64, at: i64) -> Result<Opening, SessionError> {
        self.site.control.request_session(self.wish(name, length), minutes(at)).await
    }

    async fn opened(&self, name: &str, length: i64, at: i64) -> Session {
        match self.ask(name, length, at).await.unwrap() {
            Opening::Open(session) => session,
            other => panic!("{name} at {at}: {other:?}"),
        }
    }

    async fn waits(&self, name: &str, at: i64) -> Turn {
        match self.ask(name, 30, at).await.unwrap() {
            Opening::InLine(turn) => turn,
            other => panic!("{name} at {at}: {other:?}"),
        }
    }

    /// Wants it again and again; says how often they had it.
    async fn try_often(&self, name: &str) -> usize {
        let (control, who, mut had) = (&self.site.control, self.person(name).id, 0);
        for round in 0..25 {
            let wish = self.wish(name, 600);
            let opened = if name == "tina" && round % 5 == 0 {
                control.take_over(wish, noon()).await.unwrap()
            } else {
                control.request_session(wish, noon()).await.unwrap()
            };
            let snapshot = control.snapshot();
            let open: Vec<_> = snapshot.sessions().filter(|s| s.service == self.robot.id).map(|s| s.account).collect();
            assert!(open.len() <= 1, "{open:?} at once");
            if let Opening::Open(session) = opened {
                had += 1;
                control.end_session(session.id, None, noon()).await.unwrap();
            }
        }
        control.leave_line(self.robot.id, who, noon()).await.unwrap();
        had
    }

    async fn waits_nobody(&self) -> bool {
        self.site.control.line(self.robot.id, noon()).await.unwrap().waiting.is_empty()
    }

    fn holder(&self, at: i64) -> Option<Label> {
        let snapshot = self.site.control.snapshot();
        let session = snapshot.holder(self.robot.id, minutes(at)).and_then(|id| snapshot.session(id))?;
        Some(snapshot.person(session.account)?.name.clone())
    }

    async fn ending(&self, session: &Session, at: i64) -> Option<SessionEnd> {
        let summary = self.site.control.session_summary(session.id, minutes(at)).await.unwrap().unwrap();
        summary.ended.map(|(how, _)| how)
    }
}

fn minutes(after_noon: i64) -> Timestamp {
    noon() + SignedDuration::from_mins(after_noon)
}

#[tokio::test]
async fn one_has_it_the_others_wait_and_come_in_their_turn() {
    let class = Class::begin(&["anna", "ben", "carl"]).await;
    let control = &class.site.control;
    let annas = class.opened("anna", 30, 0).await;
    let ben = class.waits("ben", 1).await;
    assert_eq!((ben.place, ben.taken_until, ben.offered_until), (1, Some(minutes(30)), None));
    assert_eq!(class.waits("carl", 2).await.place, 2);
    assert_eq!(class.waits("ben", 3).await.place, 1, "nobody stands in it twice");
    assert_eq!(class.opened("anna", 60, 4).await.until, minutes(30), "nobody has it longer while others wait");
    let longer = control.extend_session(annas.id, SignedDuration::from_mins(60), None, None, minutes(4)).await;
    assert!(matches!(longer, Err(SessionError::Refused(SessionRefusal::OthersWait))), "{longer:?}");

    control.end_session(annas.id, None, minutes(10)).await.unwrap();
    assert_eq!(class.waits("carl", 11).await.place, 2, "it is kept for ben");
    assert_eq!(class.waits("anna", 11).await.place, 3, "who had it comes last");
    let bens = class.opened("ben", 20, 11).await;
    assert_eq!((bens.opened_at, class.holder(11)), (minutes(11), Some(label("ben"))));
    let line = control.line(class.robot.id, minutes(12)).await.unwrap();
    assert_eq!((line.holder.map(|session| session.id), line.waiting.len()), (Some(bens.id), 2));
}

#[tokio::test]
async fn whoever_does_not_come_loses_the_turn_and_nobody_waits_for_ever() {
    let class = Class::begin(&["anna", "ben", "carl"]).await;
    let control = &class.site.control;
    class.opened("anna", 30, 0).await;
    class.waits("ben", 1).await;
    class.waits("carl", 2).await;
    control.keep_house_once(minutes(30)).await.unwrap();
    let turn = control.turn(class.robot.id, class.person("ben").id, minutes(31)).await.unwrap().unwrap();
    assert_eq!((turn.taken_until, turn.offered_until), (None, Some(minutes(32))));
    control.keep_house_once(minutes(32)).await.unwrap();
    assert_eq!(control.turn(class.robot.id, class.person("ben").id, minutes(32)).await.unwrap(), None);
    class.opened("carl", 30, 33).await;
    class.waits("ben", 34).await;
    let out = PersonEdit { is_disabled: Some(true), ..PersonEdit::default() };
    control.edit_person(class.person("carl").id, out, None, minutes(35)).await.unwrap();
    class.opened("ben", 30, 36).await;
}

#[tokio::test]
async fn a_teacher_takes_it_over_and_nobody_else_does() {
    let class = Class::begin(&["anna", "ben"]).await;
    let control = &class.site.control;
    let annas = class.opened("anna", 30, 0).await;
    class.waits("ben", 1).await;
    let refused = control.take_over(class.wish("ben", 30), minutes(2)).await;
    assert!(matches!(refused, Err(SessionError::Refused(SessionRefusal::NoTakeOver))), "{refused:?}");
    assert_eq!(class.holder(2), Some(label("anna")));
    let mut changes = control.changes();
    let taken = control.take_over(class.wish("tina", 30), minutes(3)).await.unwrap();
    let Opening::Open(taken) = taken else { panic!("{taken:?}") };
    let news = next_news(&mut changes).await;
    let is_named = matches!(&news, Some(crate::News::Change(c)) if c.sessions == [annas.id, taken.id]);
    assert!(is_named, "what is cut is named: {news:?}");
    assert_eq!(class.ending(&annas, 4).await, Some(SessionEnd::TakenOver));
    assert_eq!((class.holder(3), class.waits("ben", 4).await.place), (Some(label("tina")), 1));
    control.end_session(taken.id, None, minutes(5)).await.unwrap();
    let ben = class.waits("anna", 6).await;
    assert_eq!(ben.place, 2, "who waited is the next still");
    let again = control.take_over(class.wish("tina", 30), minutes(6)).await.unwrap();
    assert!(matches!(again, Opening::Open(_)), "a turn that was offered is no bar: {again:?}");
    assert_eq!(class.waits("ben", 6).await.offered_until, None, "and is taken back");
}

#[tokio::test]
async fn line_turn_and_holder_are_the_same_after_a_restart() {
    let class = Class::begin(&["anna", "ben", "carl"]).await;
    class.opened("anna", 30, 0).await;
    class.waits("ben", 1).await;
    class.waits("carl", 2).await;
    let class = class.restart().await;
    assert_eq!((class.holder(3), class.waits("carl", 3).await.place), (Some(label("anna")), 2));
    class.site.control.keep_house_once(minutes(30)).await.unwrap();
    let class = class.restart().await;
    assert_eq!(class.waits("carl", 31).await.place, 2, "it is kept for ben still");
    class.opened("ben", 5, 31).await;
    assert_eq!(class.waits("carl", 32).await.place, 1);
}

#[tokio::test]
async fn a_policy_that_becomes_exclusive_leaves_the_first_and_cuts_the_others() {
    let class = Class::begin(&["anna", "ben"]).await;
    let control = &class.site.control;
    let device = class.robot.device;
    let shared = PolicyDocument { exclusive: false, take_over: vec![], claim: None, ..one_at_a_time() };
    control.set_access(device, &label("jupyter"), Some(shared.clone()), None, noon()).await.unwrap();
    class.opened("anna", 30, 0).await;
    let bens = class.opened("ben", 40, 1).await;
    control.set_access(device, &label("jupyter"), Some(one_at_a_time()), None, minutes(2)).await.unwrap();
    assert_eq!(class.holder(2), Some(label("anna")));
    control.keep_house_once(minutes(3)).await.unwrap();
    assert_eq!(class.ending(&bens, 3).await, Some(SessionEnd::Gone));
    assert_eq!(class.waits("ben", 4).await.place, 1);
    // Whoever may not use it any more is in nobody's way.
    let others = PolicyDocument { groups: vec!["teachers".to_owned()], people: vec!["ben".into()], ..one_at_a_time() };
    control.set_access(device, &label("jupyter"), Some(others), None, minutes(5)).await.unwrap();
    control.keep_house_once(minutes(5)).await.unwrap();
    assert_eq!(class.holder(5), None);
    class.opened("ben", 10, 6).await;
    control.set_access(device, &label("jupyter"), Some(shared), None, minutes(7)).await.unwrap();
    class.opened("anna", 10, 8).await;
    assert_eq!(control.line(class.robot.id, minutes(8)).await.unwrap(), crate::Line::default());
}

#[tokio::test]
async fn a_line_is_bounded_and_can_be_left() {
    let names: Vec<_> = (0..53).map(|n| format!("p{n}")).collect();
    let class = Class::begin(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    class.opened("p0", 30, 0).await;
    for (n, name) in names[1..=50].iter().enumerate() {
        assert_eq!(class.waits(name, 1).await.place, n + 1);
    }
    let full = class.ask("p51", 30, 2).await;
    assert!(matches!(&full, Err(SessionError::Invalid(why)) if why.contains("50 wait")), "{full:?}");
    class.site.control.leave_line(class.robot.id, class.person("p1").id, minutes(3)).await.unwrap();
    assert_eq!(class.waits("p51", 4).await.place, 50);
    assert_eq!(class.waits("p2", 4).await.place, 1);
}

/// Everybody at once, each as fast as they can, with the store in between. Nothing ends by time here: whoever has it gives
/// it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_people_in_parallel_never_have_it_two_at_once() {
    let names: Vec<_> = (0..12).map(|n| format!("p{n}")).collect();
    let class = Arc::new(Class::begin(&names.iter().map(String::as_str).collect::<Vec<_>>()).await);
    let mut people = JoinSet::new();
    for name in names.into_iter().chain(["tina".to_owned()]) {
        let class = class.clone();
        people.spawn(async move { class.try_often(&name).await });
    }
    let mut had = 0;
    while let Some(done) = people.join_next().await {
        had += done.unwrap();
    }
    println!("{had} sessions in turn");
    assert!(had >= 12, "{had}");
    assert_eq!((class.holder(0), class.waits_nobody().await), (None, true));
}
