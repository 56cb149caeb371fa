use super::people::add;
use super::support::*;
use crate::{NoPort, PersonEdit, Protocol, SessionError, SessionRequest};
use doorward_core::access::{Denied, HowDocument, PolicyDocument, Proof, Visitor, WhoDocument, decide};
use doorward_core::person::Person;
use doorward_core::service::{Entrance, EntranceWish, Offer, ServiceKind};
use doorward_core::session::{MOST_SOURCES, Session};
use doorward_core::{ServiceId, SessionId};
use jiff::{SignedDuration, Timestamp};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

fn offered(kind: ServiceKind, access: PolicyDocument) -> Offer {
    Offer { access, entrances: vec![EntranceWish::SessionPort], ..offer("shell", kind) }
}

fn on_request(people: &[&str]) -> PolicyDocument {
    PolicyDocument {
        who: WhoDocument::People,
        people: people.iter().map(ToString::to_string).collect(),
        how: Some(HowDocument::OnRequest),
        ..PolicyDocument::default()
    }
}

struct House {
    site: Site,
    people: Vec<Arc<Person>>,
    service: ServiceId,
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

impl House {
    /// Two ports, three people.
    async fn build() -> Self {
        let site = Site::open().await;
        let mut people = Vec::new();
        for name in ["anna", "ben", "carl"] {
            people.push(add(&site, name).await);
        }
        let device = site.join(1, "pi").await;
        let offer = offered(ServiceKind::Tcp, on_request(&["anna", "ben", "carl"]));
        let service = site.offer(&device, offer).await.service.unwrap();
        Self { site, people, service }
    }

    async fn open(&self, person: usize, source: Option<IpAddr>, at: i64) -> Session {
        let request = SessionRequest {
            account: self.people[person].id,
            service: self.service,
            length: SignedDuration::from_mins(30),
            source,
            id: None,
            proofs: Vec::new(),
        };
        self.site.control.open_session(request, minutes(at)).await.unwrap()
    }

    async fn end(&self, session: &Session, at: i64) {
        self.site.control.end_session(session.id, None, minutes(at)).await.unwrap();
    }

    fn port(&self, session: &Session) -> Result<u16, NoPort> {
        self.site.control.session_reach(session, minutes(1)).unwrap().place.map(|place| place.port)
    }

    fn sources(&self, id: SessionId) -> Vec<String> {
        self.site.control.snapshot().approach(id).sources.iter().map(ToString::to_string).collect()
    }

    /// What is said to somebody who comes to this session's port.
    fn answer(&self, session: &Session, source: IpAddr, at: i64) -> Result<Option<Timestamp>, Denied> {
        let snapshot = self.site.control.snapshot();
        let mut visitor = Visitor::new(source, Entrance::TcpPort(40_000));
        visitor.proofs.push(Proof::Port(session.id));
        let service = snapshot.service(self.service).unwrap();
        decide(&service, &visitor, &*snapshot, minutes(at)).map(|permit| permit.until())
    }
}

fn minutes(after_noon: i64) -> Timestamp {
    noon() + SignedDuration::from_mins(after_noon)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn sources_are_noted_once_are_eight_at_most_and_go_with_the_session() {
    let house = House::build().await;
    let control = &house.site.control;
    let session = house.open(0, Some(HERE), 0).await;
    assert_eq!(house.sources(session.id), ["192.0.2.7"]);
    for further in ["2001:db8:0:1::7", "2001:db8:0:1:ffff::9", "::ffff:192.0.2.7"] {
        control.note_session_source(session.id, address(further), minutes(1)).await.unwrap();
    }
    assert_eq!(house.sources(session.id), ["192.0.2.7", "2001:db8:0:1::/64"]);
    house.open(0, Some(address("198.51.100.1")), 2).await;
    assert_eq!(house.sources(session.id).len(), 3, "asked again from elsewhere");
    for n in 3..MOST_SOURCES {
        let next = IpAddr::V4(Ipv4Addr::new(203, 0, 113, u8::try_from(n).unwrap()));
        control.note_session_source(session.id, next, minutes(3)).await.unwrap();
    }
    let one_more = control.note_session_source(session.id, address("203.0.113.99"), minutes(3)).await;
    assert!(matches!(&one_more, Err(SessionError::Invalid(why)) if why.contains("8 addresses")), "{one_more:?}");
    assert_eq!(house.open(0, Some(address("203.0.113.99")), 4).await.id, session.id, "it is extended all the same");
    let data = control.export_person(house.people[0].id, None, minutes(5)).await.unwrap();
    let data = serde_json::to_value(data).unwrap();
    assert_eq!(data["sessions"][0]["sources"].as_array().unwrap().len(), MOST_SOURCES, "{data}");
    let House { site, people, service } = house;
    let house = House { site: site.reopen().await, people, service };
    assert_eq!(house.sources(session.id).len(), MOST_SOURCES);
    house.end(&session, 6).await;
    assert_eq!(house.sources(session.id), Vec::<String>::new());
    let ended = house.site.control.note_session_source(session.id, HERE, minutes(7)).await;
    assert!(matches!(ended, Err(SessionError::Unknown(_))), "{ended:?}");
    let data = house.site.control.export_person(house.people[0].id, None, minutes(8)).await.unwrap();
    let data = serde_json::to_value(data).unwrap();
    assert_eq!(data["sessions"][0]["sources"].as_array().unwrap().len(), 0, "{data}");
}

#[tokio::test]
async fn a_port_is_its_sessions_to_its_end_and_rests_while_others_are_free() {
    let house = House::build().await;
    let annas = house.open(0, Some(HERE), 0).await;
    let bens = house.open(1, Some(HERE), 0).await;
    assert_eq!((house.port(&annas), house.port(&bens)), (Ok(40_000), Ok(40_001)));
    let carls = house.open(2, Some(HERE), 1).await;
    assert_eq!(house.port(&carls), Err(NoPort::AllTaken));
    let snapshot = house.site.control.snapshot();
    let mut listening: Vec<_> = snapshot.session_ports().collect();
    listening.sort_unstable();
    assert_eq!(listening, [(Protocol::Tcp, 40_000), (Protocol::Tcp, 40_001)]);
    house.end(&bens, 2).await;
    house.end(&annas, 3).await;
    let again = house.open(0, Some(HERE), 4).await;
    assert_eq!(house.port(&again), Ok(40_001), "the one that rests for longest");
    let House { site, people, service } = house;
    let house = House { site: site.reopen().await, people, service };
    assert_eq!(house.port(&again), Ok(40_001));
    assert_eq!(house.site.control.snapshot().at_session_port(Protocol::Tcp, 40_001).unwrap().1, again.id);
    assert_eq!(house.open(2, Some(HERE), 5).await.id, carls.id);
    assert_eq!(house.port(&carls), Ok(40_000), "extended, it gets what became free");
    let disable = PersonEdit { is_disabled: Some(true), ..PersonEdit::default() };
    house.site.control.edit_person(house.people[0].id, disable, None, minutes(6)).await.unwrap();
    assert_eq!(house.site.control.snapshot().session_ports().collect::<Vec<_>>(), [(Protocol::Tcp, 40_000)]);
}

#[tokio::test]
async fn whoever_comes_to_a_port_is_its_person_from_their_addresses_alone_and_until_its_end() {
    let house = House::build().await;
    let session = house.open(0, Some(HERE), 0).await;
    assert_eq!(house.answer(&session, HERE, 1), Ok(Some(minutes(30))));
    assert_eq!(house.answer(&session, address("192.0.2.8"), 1), Err(Denied::OtherSource));
    assert_eq!(house.answer(&session, HERE, 30), Err(Denied::SessionOver));
    let silent = house.open(1, None, 0).await;
    assert_eq!(house.answer(&silent, HERE, 1), Err(Denied::OtherSource), "nobody knows from where ben comes");
    house.end(&session, 2).await;
    assert_eq!(house.answer(&session, HERE, 3), Err(Denied::SessionOver));
}

#[tokio::test]
async fn only_what_needs_a_session_and_no_more_has_ports_for_sessions() {
    let site = Site::open().await;
    let device = site.join(1, "pi").await;
    let table = [
        (ServiceKind::Tcp, on_request(&["anna"]), None),
        (ServiceKind::Udp, on_request(&["anna"]), None),
        (ServiceKind::Tcp, PolicyDocument { how: None, ..on_request(&["anna"]) }, Some("it has no sessions")),
        (
            ServiceKind::Tcp,
            PolicyDocument { needs: vec![doorward_core::access::Need::Totp], ..on_request(&["anna"]) },
            Some("cannot prove what its policy needs"),
        ),
    ];
    for (kind, access, note) in table {
        let registered = site.offer(&device, offered(kind, access)).await;
        let record = site.control.snapshot().service_record(registered.service.unwrap()).unwrap();
        assert_eq!(record.has_session_ports(), note.is_none(), "{note:?}");
        assert!(note.is_none_or(|note| registered.notes.iter().any(|said| said.contains(note))), "{registered:?}");
    }
    let web = Offer { entrances: vec![EntranceWish::SessionPort], access: on_request(&["anna"]), ..http("page") };
    let registered = site.register(&device, vec![web]).await;
    assert!(registered[0].problems[0].contains("leave out session-port and pinhole"), "{registered:?}");
}

#[tokio::test]
async fn a_first_comer_is_awaited_for_a_minute_and_only_where_the_policy_lets_them_in() {
    let house = House::build().await;
    let (control, elsewhere) = (&house.site.control, address("198.51.100.9"));
    let session = house.open(0, Some(HERE), 0).await;
    let refused = control.await_first_comer(session.id, minutes(1));
    assert!(
        matches!(refused, Err(SessionError::Invalid(ref why)) if why.contains("first-comer = true")),
        "{refused:?}"
    );
    let policy = PolicyDocument { first_comer: true, ..on_request(&["anna"]) };
    let device = control.snapshot().service_record(house.service).unwrap().service.device;
    control.set_access(device, &label("shell"), Some(policy), None, minutes(1)).await.unwrap();
    assert!(!control.is_first_comer(session.id, elsewhere, minutes(1)).await, "nobody was asked for");
    assert_eq!(control.await_first_comer(session.id, minutes(1)).unwrap(), minutes(2));
    assert!(!control.is_first_comer(session.id, elsewhere, minutes(2)).await, "its minute is over");
    control.await_first_comer(session.id, minutes(3)).unwrap();
    assert!(control.is_first_comer(session.id, elsewhere, minutes(3)).await);
    assert!(!control.is_first_comer(session.id, address("198.51.100.10"), minutes(3)).await, "one alone");
    assert_eq!(house.sources(session.id), ["192.0.2.7", "198.51.100.9"]);
    house.end(&session, 4).await;
    assert!(matches!(control.await_first_comer(session.id, minutes(4)), Err(SessionError::Unknown(_))));
}
