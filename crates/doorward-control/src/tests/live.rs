//! What is counted and asked for people who look on.

use super::people::add;
use super::support::*;
use crate::{Actor, Errand, ErrandError, LinkId, SessionRequest, Visits};
use doorward_core::access::{HowDocument, PolicyDocument, WhoDocument};
use doorward_core::service::Offer;
use jiff::SignedDuration;
use std::collections::HashMap;

#[tokio::test]
async fn who_ended_a_session_by_hand_is_kept_and_nobody_else_is_named() {
    let site = Site::open().await;
    let (anna, ben) = (add(&site, "anna").await, add(&site, "ben").await);
    let device = site.join(1, "zumi01").await;
    let policy = PolicyDocument {
        who: WhoDocument::People,
        people: vec!["anna".into(), "ben".into()],
        how: Some(HowDocument::OnRequest),
        ..PolicyDocument::default()
    };
    let service = site.offer(&device, Offer { access: policy, ..http("robot") }).await.service.unwrap();
    let open = async |account| {
        let length = SignedDuration::from_mins(5);
        let request = SessionRequest { account, service, length, source: None, id: None, proofs: Vec::new() };
        site.control.open_session(request, noon()).await.unwrap().id
    };
    let by =
        async |id, at| site.control.session_summary(id, at).await.unwrap().unwrap().ended_by.map(|n| n.to_string());
    let actor = Actor::Person { account: ben.id, grounds: "login 1".into(), source: None };
    let (by_ben, by_owner, by_time) = (open(anna.id).await, open(ben.id).await, noon() + SignedDuration::from_hours(1));
    site.control.acting_as(actor.clone()).end_session(by_ben, None, noon()).await.unwrap();
    site.control.acting_as(Actor::Owner).end_session(by_owner, None, noon()).await.unwrap();
    assert_eq!((by(by_ben, noon()).await.as_deref(), by(by_owner, noon()).await), (Some("ben"), None));
    let over = open(anna.id).await;
    site.control.acting_as(actor).end_lapsed_sessions(by_time).await.unwrap();
    assert_eq!(by(over, by_time).await, None, "time has no name");
}

#[tokio::test]
async fn who_is_there_rings_when_it_changes_and_only_then() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let id = site.offer(&device, http("page")).await.service.unwrap();
    let presence = site.control.presence();
    let mut bell = presence.watch();
    bell.mark_unchanged();
    let visits = Visits { count: 2, people: [crate::accounts::OWNER].into() };
    presence.visited(HashMap::from([(id, visits.clone())]));
    assert!(bell.has_changed().unwrap());
    bell.mark_unchanged();
    presence.visited(HashMap::from([(id, visits.clone())]));
    assert!(!bell.has_changed().unwrap());
    assert_eq!(presence.visits(id), visits);
    presence.visited(HashMap::new());
    assert_eq!(presence.visits(id), Visits::default());
}

#[tokio::test]
async fn errands_reach_the_link_that_stands_and_end_with_it() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await.id;
    let ask = async || site.control.ask_device(device, Errand::Log, noon()).await;
    assert!(matches!(ask().await, Err(ErrandError::Offline)));
    let first = site.control.take_errands(device, LinkId(1));
    let mut second = site.control.take_errands(device, LinkId(2));
    drop(first);
    let answering = async {
        let asked = second.next().await.unwrap();
        assert!(!asked.is_given_up());
        asked.answer(Ok(vec!["a line".into()]));
    };
    let (lines, ()) = tokio::join!(ask(), answering);
    assert_eq!(lines.unwrap(), ["a line"], "an old link's end takes nothing from its successor");
    let (lost, ()) = tokio::join!(ask(), async { drop(second.next().await.unwrap()) });
    assert!(matches!(lost, Err(ErrandError::Offline)), "the link ended meanwhile");
    drop(second);
    assert!(matches!(ask().await, Err(ErrandError::Offline)));
}
