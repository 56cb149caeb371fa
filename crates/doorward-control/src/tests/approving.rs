use super::people::add;
use super::support::*;
use crate::{ApprovalRequest, GroupEdit, Opening, PersonEdit, SessionError, SessionRequest};
use doorward_core::access::{ApprovalDocument, Denied, HowDocument, Need, NoVoice, PolicyDocument, WhoDocument};
use doorward_core::notice::Notice;
use doorward_core::person::Person;
use doorward_core::service::{Offer, Service};
use doorward_core::session::{Session, SessionRefusal};
use doorward_core::{ApprovalId, Secret};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

fn with_consent(by: &str) -> PolicyDocument {
    PolicyDocument {
        who: WhoDocument::People,
        groups: vec!["class".to_owned(), "teachers".to_owned()],
        how: Some(HowDocument::OnRequest),
        approval: Some(ApprovalDocument { by: by.to_owned(), within: None }),
        ..PolicyDocument::default()
    }
}

struct School {
    site: Site,
    service: Arc<Service>,
    anna: Arc<Person>,
    tina: Arc<Person>,
}

impl School {
    async fn begin(policy: PolicyDocument) -> Self {
        let site = Site::open().await;
        let (anna, tina) = (add(&site, "anna").await, add(&site, "tina").await);
        site.control.add_group(label("class"), None, vec![label("anna")], noon()).await.unwrap();
        site.control.add_group(label("teachers"), None, vec![label("tina")], noon()).await.unwrap();
        let device = site.join(1, "zumi01").await;
        let offered = site.offer(&device, Offer { access: policy, ..http("jupyter") }).await;
        let service = site.control.snapshot().service(offered.service.unwrap()).unwrap();
        Self { site, service, anna, tina }
    }

    fn wish(&self, who: &Person, length: i64) -> SessionRequest {
        SessionRequest {
            account: who.id,
            service: self.service.id,
            length: SignedDuration::from_mins(length),
            source: None,
            id: None,
            proofs: Vec::new(),
        }
    }

    async fn asked(&self, length: i64, at: i64) -> ApprovalRequest {
        match self.site.control.request_session(self.wish(&self.anna, length), minutes(at)).await.unwrap() {
            Opening::Asked(request) => request,
            other => panic!("{other:?}"),
        }
    }

    async fn answer(
        &self,
        id: ApprovalId,
        by: &Person,
        is_yes: bool,
        at: i64,
    ) -> Result<Option<Opening>, SessionError> {
        self.site.control.answer_request(id, by.id, is_yes, None, minutes(at)).await
    }

    async fn waiting(&self, at: i64) -> Vec<ApprovalId> {
        let requests = self.site.control.approval_requests(minutes(at)).await.unwrap();
        requests.into_iter().map(|request| request.id).collect()
    }

    fn open(&self) -> Vec<Session> {
        self.site.control.snapshot().sessions().map(|session| Session::clone(session)).collect()
    }

    async fn set(&self, policy: PolicyDocument, at: i64) {
        let control = &self.site.control;
        control.set_access(self.service.device, &label("jupyter"), Some(policy), None, minutes(at)).await.unwrap();
    }
}

fn minutes(after_noon: i64) -> Timestamp {
    noon() + SignedDuration::from_mins(after_noon)
}

fn is_voiceless<T: std::fmt::Debug>(answer: &Result<T, SessionError>, why: NoVoice) -> bool {
    matches!(answer, Err(SessionError::NoVoice(no)) if *no == why)
}

#[tokio::test]
async fn a_request_waits_for_one_yes_which_opens_the_session_that_was_asked_for() {
    let school = School::begin(with_consent("teachers")).await;
    let mut notices = school.site.control.alerts();
    let request = school.asked(30, 0).await;
    assert_eq!((request.asked_at, request.until), (minutes(0), minutes(60)));
    let id = request.id;
    let (person, service) = ("anna".to_owned(), school.service.path());
    let link = Some("https://portal.example.org/approvals".to_owned());
    let wanted = notices.try_recv().unwrap().notice.clone();
    assert_eq!(wanted, Notice::ApprovalWanted { person, service, link });
    assert_eq!(school.asked(30, 1).await, request, "asked again it is the same");
    assert!(notices.try_recv().is_err());
    assert_eq!((school.open(), school.waiting(2).await), (vec![], vec![id]));

    let own = school.answer(id, &school.anna, true, 3).await;
    assert!(is_voiceless(&own, NoVoice::NotInGroup), "{own:?}");
    let opened = school.answer(id, &school.tina, true, 5).await.unwrap();
    let Some(Opening::Open(session)) = opened else { panic!("{opened:?}") };
    assert_eq!((session.account, session.opened_at, session.until), (school.anna.id, minutes(5), minutes(35)));
    assert_eq!(session.approved_by, Some(label("teachers")));
    assert_eq!(school.waiting(6).await, []);
    let twice = school.answer(id, &school.tina, true, 6).await;
    assert!(matches!(twice, Err(SessionError::Unknown(_))), "{twice:?}");

    let entries = school.site.control.audit(20).await.unwrap();
    let given = entries.iter().find(|entry| entry.deed == "approval-given").unwrap();
    assert_eq!((given.subject.as_str(), given.detail.as_str()), ("zumi01/jupyter", "request 1 of anna, by tina"));
    assert!(entries.iter().any(|entry| entry.deed == "approval-asked"));
}

#[tokio::test]
async fn only_the_right_that_somebody_has_at_that_moment_counts() {
    let school = School::begin(with_consent("teachers")).await;
    let control = &school.site.control;
    let request = school.asked(30, 0).await;
    let token = control.approval_token(request.id, school.tina.id, minutes(1)).await.unwrap();
    let out = |is_in: bool| {
        let names = vec![label("tina")];
        if is_in {
            GroupEdit { add: names, ..GroupEdit::default() }
        } else {
            GroupEdit { remove: names, ..GroupEdit::default() }
        }
    };
    control.edit_group(label("teachers"), out(false), None, minutes(2)).await.unwrap();
    for answer in [
        school.answer(request.id, &school.tina, true, 3).await,
        control.answer_by_token(&token, true, None, minutes(3)).await,
    ] {
        assert!(is_voiceless(&answer, NoVoice::NotInGroup), "{answer:?}");
    }
    control.edit_group(label("teachers"), out(true), None, minutes(4)).await.unwrap();
    let disable = PersonEdit { is_disabled: Some(true), ..PersonEdit::default() };
    control.edit_person(school.tina.id, disable, None, minutes(5)).await.unwrap();
    let answer = school.answer(request.id, &school.tina, true, 6).await;
    assert!(is_voiceless(&answer, NoVoice::Account), "{answer:?}");
    assert_eq!(school.open(), []);

    let teachers_own = control.request_session(school.wish(&school.anna, 30), minutes(7)).await.unwrap();
    control
        .edit_group(label("teachers"), GroupEdit { add: vec![label("anna")], ..GroupEdit::default() }, None, minutes(7))
        .await
        .unwrap();
    let Opening::Asked(own) = teachers_own else { panic!("{teachers_own:?}") };
    let answer = school.answer(own.id, &school.anna, true, 8).await;
    assert!(is_voiceless(&answer, NoVoice::OwnRequest), "{answer:?}");
}

#[tokio::test]
async fn a_request_ends_by_no_by_time_by_its_asker_and_with_its_policy() {
    let school = School::begin(with_consent("teachers")).await;
    let control = &school.site.control;
    let refused = school.asked(30, 0).await;
    assert_eq!(school.answer(refused.id, &school.tina, false, 1).await.unwrap(), None);
    let late = school.asked(30, 2).await;
    assert_ne!(late.id, refused.id);
    let answer = school.answer(late.id, &school.tina, true, 62).await;
    assert!(matches!(answer, Err(SessionError::Unknown(_))), "{answer:?}");
    let own = school.asked(30, 63).await;
    assert!(control.withdraw_request(own.id, school.tina.id, minutes(64)).await.is_err(), "it is not hers");
    control.withdraw_request(own.id, school.anna.id, minutes(64)).await.unwrap();
    assert_eq!(school.waiting(65).await, []);

    let overtaken = school.asked(30, 66).await;
    school.set(PolicyDocument { max_duration: Some("1h".into()), ..with_consent("teachers") }, 67).await;
    assert_eq!(school.waiting(68).await, []);
    let answer = school.answer(overtaken.id, &school.tina, true, 68).await;
    assert!(matches!(answer, Err(SessionError::Unknown(_))), "{answer:?}");
    control.keep_house_once(minutes(69)).await.unwrap();
    assert_eq!(school.open(), []);
    let deeds: Vec<_> = control.audit(30).await.unwrap().into_iter().map(|entry| entry.deed).collect();
    for deed in ["approval-refused", "approval-withdrawn"] {
        assert!(deeds.iter().any(|word| word == deed), "{deed} is not in {deeds:?}");
    }
}

#[tokio::test]
async fn who_would_not_be_let_in_asks_nobody_and_consent_makes_nobody_one_of_them() {
    let school = School::begin(with_consent("teachers")).await;
    let control = &school.site.control;
    let ben = add(&school.site, "ben").await;
    let stranger = control.request_session(school.wish(&ben, 30), noon()).await;
    let because = SessionRefusal::Denied(Denied::NotOneOfThem);
    assert!(matches!(&stranger, Err(SessionError::Refused(why)) if *why == because), "{stranger:?}");
    let request = school.asked(30, 0).await;
    let out = GroupEdit { remove: vec![label("anna")], ..GroupEdit::default() };
    control.edit_group(label("class"), out, None, minutes(1)).await.unwrap();
    let answer = school.answer(request.id, &school.tina, true, 2).await;
    assert!(matches!(&answer, Err(SessionError::Refused(why)) if *why == because), "{answer:?}");
    assert_eq!((school.waiting(3).await, school.open()), (vec![], vec![]), "it is over with that");

    let needs = PolicyDocument { needs: vec![Need::Totp], ..with_consent("teachers") };
    school.set(PolicyDocument { people: vec!["anna".into()], ..needs }, 4).await;
    let unproved = control.request_session(school.wish(&school.anna, 30), minutes(5)).await;
    let because = SessionRefusal::Denied(Denied::NeedsMore(Need::Totp));
    assert!(matches!(&unproved, Err(SessionError::Refused(why)) if *why == because), "{unproved:?}");
}

#[tokio::test]
async fn longer_is_asked_for_anew_and_another_group_s_consent_does_not_count() {
    let school = School::begin(with_consent("teachers")).await;
    let control = &school.site.control;
    let request = school.asked(30, 0).await;
    let Some(Opening::Open(session)) = school.answer(request.id, &school.tina, true, 1).await.unwrap() else {
        panic!("it is open")
    };
    assert!(matches!(control.request_session(school.wish(&school.anna, 10), minutes(2)).await, Ok(Opening::Open(_))));
    let longer = control.extend_session(session.id, SignedDuration::from_mins(60), None, None, minutes(3)).await;
    let Err(SessionError::AwaitsApproval(longer)) = longer else { panic!("{longer:?}") };
    assert_eq!(control.snapshot().session_for(school.anna.id, school.service.id).unwrap().until, minutes(31));
    let Some(Opening::Open(granted)) = school.answer(longer.id, &school.tina, true, 4).await.unwrap() else {
        panic!("it is longer")
    };
    assert_eq!((granted.id, granted.until), (session.id, minutes(64)));

    control.add_group(label("heads"), None, vec![], minutes(5)).await.unwrap();
    school.set(with_consent("heads"), 5).await;
    let asked = control.request_session(school.wish(&school.anna, 10), minutes(6)).await.unwrap();
    assert!(matches!(asked, Opening::Asked(_)), "{asked:?}");
}

#[tokio::test]
async fn a_link_answers_one_request_once_and_looking_at_it_changes_nothing() {
    let school = School::begin(with_consent("teachers")).await;
    let control = &school.site.control;
    let request = school.asked(30, 0).await;
    assert!(is_voiceless(&control.approval_token(request.id, school.anna.id, minutes(1)).await, NoVoice::NotInGroup));
    let token = control.approval_token(request.id, school.tina.id, minutes(1)).await.unwrap();
    for at in 2..5 {
        let seen = control.request_by_token(&token, minutes(at)).await.unwrap();
        assert_eq!((seen.0.id, seen.1), (request.id, school.tina.id));
    }
    assert_eq!((school.open(), school.waiting(5).await), (vec![], vec![request.id]));
    for forged in ["", "x", &token.expose()[1..], &format!("{}A", token.expose())] {
        let answer = control.answer_by_token(&Secret::new(forged.to_owned()), true, None, minutes(5)).await;
        assert!(matches!(answer, Err(SessionError::Unknown(_))), "{answer:?}");
    }
    let opened = control.answer_by_token(&token, true, None, minutes(6)).await.unwrap();
    assert!(matches!(opened, Some(Opening::Open(_))), "{opened:?}");
    let again = control.answer_by_token(&token, true, None, minutes(7)).await;
    assert!(matches!(again, Err(SessionError::Unknown(_))), "{again:?}");
}

#[tokio::test]
async fn requests_survive_a_restart_and_consent_is_kept_in_the_line() {
    let policy = PolicyDocument { exclusive: true, ..with_consent("teachers") };
    let school = School::begin(policy).await;
    let ben = add(&school.site, "ben").await;
    let join = GroupEdit { add: vec![label("ben")], ..GroupEdit::default() };
    school.site.control.edit_group(label("class"), join, None, noon()).await.unwrap();
    let request = school.asked(30, 0).await;
    let School { site, service, anna, tina } = school;
    let school = School { site: site.reopen().await, service, anna, tina };
    assert_eq!(school.waiting(1).await, [request.id]);
    school.answer(request.id, &school.tina, true, 2).await.unwrap();

    let control = &school.site.control;
    let Opening::Asked(bens) = control.request_session(school.wish(&ben, 10), minutes(3)).await.unwrap() else {
        panic!("it waits for consent")
    };
    let answered = school.answer(bens.id, &school.tina, true, 4).await.unwrap();
    assert!(matches!(&answered, Some(Opening::InLine(turn)) if turn.place == 1), "{answered:?}");
    let School { site, service, anna, tina } = school;
    let school = School { site: site.reopen().await, service, anna, tina };
    school.site.control.keep_house_once(minutes(32)).await.unwrap();
    let opened = school.site.control.request_session(school.wish(&ben, 10), minutes(33)).await.unwrap();
    assert!(matches!(&opened, Opening::Open(session) if session.account == ben.id), "{opened:?}");
}
