//! A stolen gateway against an agent.

use crate::common::impostor::{Impostor, hear, say, welcome};
use crate::common::{at_once, bounded, device_key, introduction};
use doorward_tunnel::messages::{LanesWanted, Message, Open, Welcome};
use doorward_tunnel::wire::{CONTROL_LIMIT, frame, header};
use doorward_tunnel::{AgentStanding, HandshakeError, LinkEnd};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_instead_of_a_welcome_is_no_link() {
    bounded(async {
        let encoded = |message: Message| message.encode().to_vec();
        let table = [
            ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            ("16 MiB announced", header(2, (1 << 24) - 1).to_vec()),
            ("one byte over the limit", header(2, CONTROL_LIMIT + 1).to_vec()),
            ("no protobuf", frame(2, &[0xff; 50]).to_vec()),
            ("an empty welcome", frame(2, &[]).to_vec()),
            ("a short secret", encoded(Message::Welcome(Welcome { lane_secret: vec![1; 31], ..welcome() }))),
            ("a long secret", encoded(Message::Welcome(Welcome { lane_secret: vec![1; 33], ..welcome() }))),
            ("a hello", encoded(Message::Hello(Default::default()))),
            ("an open", encoded(Message::Open(Open::default()))),
            ("a kind of the future", frame(99, b"").to_vec()),
        ];
        for (what, answer) in table {
            let impostor = Impostor::start().await;
            let refused = at_once(what, impostor.answers(&answer)).await.err();
            assert!(
                matches!(refused, Some(HandshakeError::Protocol(_) | HandshakeError::Wire(_))),
                "{what}: {refused:?}"
            );
        }
    })
    .await;
}

/// A link with an impostor: the agent's end running, its control connection here.
struct Victim {
    impostor: Impostor,
    control: crate::common::impostor::Connection,
    end: AbortOnDropHandle<LinkEnd>,
    visits: tokio::sync::mpsc::Receiver<doorward_tunnel::Visit>,
    _rest: (std::sync::Arc<doorward_tunnel::AgentLink>, tokio::sync::mpsc::Receiver<Message>),
}

async fn victim() -> Victim {
    let impostor = Impostor::start().await;
    let (standing, control) = impostor.welcomed().await;
    let AgentStanding { link, visits, events, driver, .. } = standing;
    let end = AbortOnDropHandle::new(tokio::spawn(driver));
    Victim { impostor, control, end, visits, _rest: (link, events) }
}

impl Victim {
    async fn lane(&mut self) -> crate::common::impostor::Connection {
        say(&mut self.control, &Message::LanesWanted(LanesWanted { count: 1 })).await;
        let mut lane = self.impostor.accept().await;
        assert!(matches!(hear(&mut lane).await, Some(Message::LaneHello(_))));
        lane
    }

    async fn is_well(&mut self, after: &str) {
        say(&mut self.control, &Message::Ping).await;
        assert_eq!(at_once(after, hear(&mut self.control)).await, Some(Message::Pong), "{after}");
    }
}

fn wrong_opens() -> Vec<(&'static str, Vec<u8>)> {
    let named = |service: &str| Message::Open(Open { service: service.into(), ..Open::default() }).encode().to_vec();
    vec![
        ("garbage", vec![0xff; 100]),
        ("data", frame(0x40, b"data").to_vec()),
        ("16 MiB announced", header(8, (1 << 24) - 1).to_vec()),
        ("no protobuf", frame(8, &[0xff; 50]).to_vec()),
        ("no name", named("")),
        ("a path for a name", named("../../etc/passwd")),
        ("a name with a zero", named("tree\0")),
        ("a long name", named(&"a".repeat(3000))),
        ("a pong", Message::Pong.encode().to_vec()),
        ("a kind of the future", frame(99, b"").to_vec()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_opens_wrongly_is_ended_and_the_link_goes_on() {
    bounded(async {
        let mut victim = victim().await;
        for (what, said) in wrong_opens() {
            let mut lane = victim.lane().await;
            lane.write_all(&said).await.unwrap();
            lane.flush().await.unwrap();
            let mut last_words = Vec::new();
            let _ = at_once(what, lane.read_to_end(&mut last_words)).await;
            assert_eq!(last_words, b"", "{what}");
            victim.is_well(what).await;
            assert!(victim.visits.try_recv().is_err(), "{what}: a visit came of it");
        }
        // A visitor's address that is none is no reason to refuse the visit.
        let mut lane = victim.lane().await;
        let open = Open { service: "tree".into(), source: "nowhere".into(), ..Open::default() };
        say(&mut lane, &Message::Ping).await;
        assert_eq!(hear(&mut lane).await, Some(Message::Pong), "an idle lane may be asked whether it lives");
        say(&mut lane, &Message::Open(open)).await;
        let visit = victim.visits.recv().await.unwrap();
        assert!(visit.source.is_unspecified());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quic_stream_that_opens_wrongly_is_reset_and_the_link_goes_on() {
    bounded(async {
        let (endpoint, dialer) = Impostor::start_quic();
        let key = device_key();
        let introducing = async { dialer.establish(None).await.introduce(&key, &introduction()).await.unwrap() };
        let welcoming = async {
            let connection = endpoint.accept().await.unwrap().await.unwrap();
            let (mut send, mut receive) = connection.accept_bi().await.unwrap();
            assert!(matches!(hear(&mut receive).await, Some(Message::Hello(_))));
            say(&mut send, &Message::Welcome(welcome())).await;
            (connection, send, receive)
        };
        let (standing, (connection, mut send, mut receive)) = tokio::join!(introducing, welcoming);
        let AgentStanding { link: _link, mut visits, events: _events, driver, .. } = standing;
        let _end = AbortOnDropHandle::new(tokio::spawn(driver));
        for (what, said) in wrong_opens().into_iter().chain([("a ping", Message::Ping.encode().to_vec())]) {
            let (mut says, mut hears) = connection.open_bi().await.unwrap();
            says.write_all(&said).await.unwrap();
            assert!(at_once(what, hears.read_to_end(100)).await.is_err(), "{what}: no reset");
            say(&mut send, &Message::Ping).await;
            assert_eq!(at_once(what, hear(&mut receive)).await, Some(Message::Pong), "{what}");
            assert!(visits.try_recv().is_err(), "{what}: a visit came of it");
        }
        for datagram in [&b""[..], &[0; 3], &[0xff; 100], &[0x40]] {
            connection.send_datagram(datagram.to_vec().into()).unwrap();
        }
        say(&mut send, &Message::Ping).await;
        assert_eq!(at_once("datagrams", hear(&mut receive)).await, Some(Message::Pong));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_from_the_gateway_ends_the_link() {
    bounded(async {
        for said in [vec![0xff; 100], header(11, CONTROL_LIMIT + 1).to_vec(), frame(11, &[0xff; 9]).to_vec()] {
            let mut victim = victim().await;
            victim.control.write_all(&said).await.unwrap();
            victim.control.flush().await.unwrap();
            let end = at_once("the end", victim.end).await.unwrap();
            assert!(matches!(end, LinkEnd::Wire(_)), "{end:?}");
        }
    })
    .await;
}

/// The most connections an agent keeps for one link, as `agent_end` has it.
const MAX_LANES: usize = 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_wants_four_billion_lanes_a_thousand_times_gets_a_thousand() {
    bounded(async {
        let mut victim = victim().await;
        let wanted = Message::LanesWanted(LanesWanted { count: u32::MAX }).encode().repeat(1000);
        victim.control.write_all(&wanted).await.unwrap();
        victim.control.flush().await.unwrap();
        let mut held: Vec<TcpStream> = Vec::new();
        // They come at once or not at all.
        while let Ok(accepted) = timeout(Duration::from_millis(1500), victim.impostor.listener.accept()).await {
            held.push(accepted.unwrap().0);
            assert!(held.len() <= MAX_LANES, "more and more lanes");
        }
        assert_eq!(held.len(), MAX_LANES);
        victim.is_well("all those lanes").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_floods_is_answered_as_far_as_it_listens() {
    bounded(async {
        let Victim { control, mut end, .. } = victim().await;
        let (mut hears, mut says) = tokio::io::split(control);
        let flood = Message::Ping.encode().repeat(2000);
        for _ in 0..200 {
            timeout(Duration::from_secs(5), says.write_all(&flood)).await.expect("the agent keeps reading").unwrap();
        }
        assert!(timeout(Duration::from_millis(100), &mut end).await.is_err(), "the link ended");
        let mut first = [0; 4];
        at_once("an answer", hears.read_exact(&mut first)).await.unwrap();
        assert_eq!(first[..], Message::Pong.encode());
    })
    .await;
}
