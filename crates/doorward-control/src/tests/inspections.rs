//! What is seen of requests, and for how long.

use super::support::*;
use crate::{EditError, Ending, Exchange, InspectionWish, KeptBody, MOST_BODY, ReplayError, Replayable, Seen, Taken};
use doorward_core::ServiceId;
use doorward_core::audit::Deed;
use jiff::SignedDuration;

fn first(with_bodies: bool) -> Seen {
    let body = with_bodies.then(|| KeptBody { is_whole: true, ..KeptBody::default() });
    Seen {
        number: 0,
        at: noon(),
        source: "192.0.2.7".parse().unwrap(),
        person: None,
        method: "POST".into(),
        path: "/a".into(),
        target_path: "/a".into(),
        mount: None,
        request: Taken { body, ..Taken::default() },
        status: None,
        answer: Taken::default(),
        waited: None,
        took: None,
        ending: Ending::None,
        replay_of: None,
        replayable: Replayable::Yes,
    }
}

fn minutes(minutes: i64, with_bodies: bool) -> InspectionWish {
    InspectionWish { length: SignedDuration::from_mins(minutes), with_bodies }
}

async fn service() -> (Site, ServiceId) {
    let site = Site::open().await;
    let device = site.join(1, "pi").await;
    let service = site.offer(&device, http("web")).await.service.unwrap();
    (site, service)
}

fn take(site: &Site, service: ServiceId) -> Option<Exchange> {
    site.control.inspections().take(service, noon(), first)
}

#[tokio::test]
async fn nothing_is_seen_before_somebody_looks_and_nothing_is_left_after() {
    let (site, service) = service().await;
    let looking = site.control.inspections();
    assert!(take(&site, service).is_none() && looking.of(service, noon()).is_none());
    site.control.inspect(service, minutes(10, false), noon()).await.unwrap();
    take(&site, service).unwrap();
    assert!(site.control.inspections().take(ServiceId(99), noon(), first).is_none(), "another service");
    assert_eq!(looking.of(service, noon()).unwrap().seen.len(), 1);
    let late = noon() + SignedDuration::from_mins(10);
    assert!(looking.of(service, late).is_none(), "the time is over");
    assert!(looking.of(service, noon()).is_none(), "and nothing is left");

    site.control.inspect(service, minutes(10, false), noon()).await.unwrap();
    take(&site, service).unwrap();
    site.control.stop_inspecting(service, noon()).await.unwrap();
    site.control.inspect(service, minutes(10, false), noon()).await.unwrap();
    assert_eq!(looking.of(service, noon()).unwrap().seen.len(), 0, "what was forgotten does not come again");
    let deeds: Vec<_> = site.control.audit(20).await.unwrap().iter().map(|line| line.deed.clone()).collect();
    let count = |deed: Deed| deeds.iter().filter(|seen| *seen == deed.word()).count();
    assert_eq!((count(Deed::InspectionBegun), count(Deed::InspectionEnded)), (3, 1));
    for wrong in [minutes(0, false), minutes(25 * 60, false)] {
        assert!(matches!(site.control.inspect(service, wrong, noon()).await, Err(EditError::Invalid(_))));
    }
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let (site, service) = service().await;
    site.control.inspect(service, minutes(10, true), noon()).await.unwrap();
    for _ in 0..40 {
        let exchange = take(&site, service).unwrap();
        exchange.answered(200, Vec::new());
        for _ in 0..5 {
            exchange.sent(&vec![1; MOST_BODY / 2]);
            exchange.answered_with(&[2; 100]);
        }
        exchange.ended(Ending::Finished);
        exchange.ended(Ending::Broken);
    }
    let seen = site.control.inspections().of(service, noon()).unwrap().seen;
    assert_eq!((seen.len(), seen[0].number, seen[29].number), (30, 40, 11));
    let request = &seen[0].request;
    assert_eq!((request.bytes, request.body.as_ref().unwrap().bytes.len()), (5 * MOST_BODY as u64 / 2, MOST_BODY));
    assert!(!request.body.as_ref().unwrap().is_whole && seen[0].answer.body.as_ref().unwrap().is_whole);
    assert_eq!(seen[0].ending, Ending::Finished);
    assert!(seen[0].replayable().is_err());
}

#[tokio::test]
async fn without_bodies_only_their_length_is_seen() {
    let (site, service) = service().await;
    site.control.inspect(service, minutes(10, false), noon()).await.unwrap();
    let exchange = take(&site, service).unwrap();
    assert_eq!(exchange.seen().replayable(), Ok(()));
    exchange.sent(b"s3cret");
    let seen = exchange.seen();
    assert_eq!((seen.request.bytes, seen.request.body.as_ref()), (6, None));
    let by = (crate::accounts::OWNER, "192.0.2.7".parse().unwrap());
    let replayed = site.control.replay(service, seen.number, by, noon()).await.unwrap();
    assert!(matches!(replayed, Err(ReplayError::Partial(_))), "{replayed:?}");
    assert_eq!(site.control.replay(service, 99, by, noon()).await.unwrap(), Err(ReplayError::Gone));
}
