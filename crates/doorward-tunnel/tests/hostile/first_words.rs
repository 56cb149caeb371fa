//! What strangers say first to a gateway.

use crate::common::gateway::Gateway;
use crate::common::stranger::{Io, Key, Stranger, connect_quic};
use crate::common::{at_once, bounded};
use doorward_tunnel::messages::{Hello, Join, Message, Refusal};
use doorward_tunnel::wire::{STRANGER_LIMIT, frame, header};
use doorward_tunnel::{ArrivalError, HandshakeError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Each with whether the connection ends after it: a cut is one then.
fn nonsense() -> Vec<(&'static str, Vec<u8>, bool)> {
    let hello = |hello: Hello| Message::Hello(hello).encode().to_vec();
    let keyed = Hello { device_key: vec![1; 32], instance: vec![2; 16], ..Hello::default() };
    let huge = Join { secret: vec![0; STRANGER_LIMIT], suggested_name: String::new() };
    vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n".to_vec(), false),
        ("zeros", vec![0; 64], false),
        ("16 MiB announced", [&header(1, (1 << 24) - 1)[..], &[0; 1000]].concat(), false),
        ("one byte over the limit", frame(1, &[0; STRANGER_LIMIT + 1]).to_vec(), false),
        ("an invite of 4 KiB", hello(Hello { join: Some(huge), ..keyed.clone() }), false),
        ("no protobuf", frame(1, &[0xff; 100]).to_vec(), false),
        ("an empty hello", frame(1, &[]).to_vec(), false),
        ("a short key", hello(Hello { device_key: vec![1; 31], ..keyed.clone() }), false),
        ("a long key", hello(Hello { device_key: vec![1; 33], ..keyed.clone() }), false),
        ("a short instance", hello(Hello { instance: vec![], ..keyed.clone() }), false),
        ("a key that is none", hello(Hello { device_key: vec![0xff; 32], proof: vec![0; 64], ..keyed }), false),
        ("a ping", Message::Ping.encode().to_vec(), false),
        ("a welcome", Message::Welcome(Default::default()).encode().to_vec(), false),
        ("a kind of the future", frame(99, b"new").to_vec(), false),
        ("lane data", frame(0x40, b"data").to_vec(), false),
        ("nothing, then the end", vec![], true),
        ("half a header, then the end", vec![1, 0], true),
        ("half a hello, then the end", header(1, 200).to_vec(), true),
    ]
}

async fn is_refused(mut gateway: Gateway, mut stranger: Stranger<impl Io>, what: &str, said: &[u8], ends: bool) {
    stranger.say(said).await;
    if ends {
        let _ = stranger.io.shutdown().await;
    }
    let mut last_words = Vec::new();
    let _ = at_once(what, stranger.io.read_to_end(&mut last_words)).await;
    assert!(last_words.len() < 200, "{what}: {} bytes of answer", last_words.len());
    // Who was told why is waited for until he hangs up.
    drop(stranger);
    let arrival = at_once(what, gateway.arrival()).await;
    assert!(matches!(arrival, Err(ArrivalError::Handshake(_))), "{what}: {:?}", arrival.err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_over_tls_is_refused_at_once() {
    bounded(async {
        for (what, said, ends) in nonsense() {
            let gateway = Gateway::start().await;
            let stranger = Stranger::connect(gateway.port).await;
            is_refused(gateway, stranger, what, &said, ends).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_over_quic_is_refused_at_once() {
    bounded(async {
        // A QUIC stream on which nothing was said does not exist for the other end.
        for (what, said, ends) in nonsense().into_iter().filter(|(_, said, _)| !said.is_empty()) {
            let gateway = Gateway::start().await;
            let connection = connect_quic(gateway.port).await;
            is_refused(gateway, Stranger::over(&connection).await, what, &said, ends).await;
            at_once("the connection ends", connection.closed()).await;
        }
    })
    .await;
}

async fn proves_nothing(gateway: &mut Gateway, what: &str, forge: impl FnOnce(&Stranger) -> Hello) {
    let mut stranger = Stranger::connect(gateway.port).await;
    let hello = Message::Hello(forge(&stranger)).encode();
    stranger.say(&hello).await;
    let heard = at_once(what, stranger.hear()).await;
    let Some(Message::Refused(refused)) = heard else { panic!("{what}: {heard:?}") };
    assert_eq!(refused.reason(), Refusal::BadProof, "{what}");
    drop(stranger);
    let arrival = at_once(what, gateway.arrival()).await;
    assert!(matches!(arrival, Err(ArrivalError::Handshake(HandshakeError::NotProved))), "{what}: {:?}", arrival.err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_shown_and_not_proved_does_not_arrive() {
    bounded(async {
        let mut gateway = Gateway::start().await;
        let (key, other) = (Key::generate(), Key::generate());
        let honest = |stranger: &Stranger| stranger.hello(&key);
        proves_nothing(&mut gateway, "no proof", |s| Hello { proof: vec![], ..honest(s) }).await;
        proves_nothing(&mut gateway, "zeros", |s| Hello { proof: vec![0; 64], ..honest(s) }).await;
        proves_nothing(&mut gateway, "half a proof", |s| Hello { proof: honest(s).proof[..32].to_vec(), ..honest(s) })
            .await;
        proves_nothing(&mut gateway, "somebody else's", |s| Hello { proof: s.hello(&other).proof, ..honest(s) }).await;
        proves_nothing(&mut gateway, "another epoch", |s| Hello { epoch: 6, ..honest(s) }).await;
        proves_nothing(&mut gateway, "another instance", |s| Hello { instance: vec![4; 16], ..honest(s) }).await;
        // What is forged above is all that separates it from this.
        let mut stranger = Stranger::connect(gateway.port).await;
        let hello = Message::Hello(stranger.hello(&key)).encode();
        stranger.say(&hello).await;
        assert!(gateway.arrival().await.is_ok());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_over_the_limit_is_refused_although_it_proves_its_key() {
    bounded(async {
        for (padding, is_taken) in [(100, true), (STRANGER_LIMIT, false)] {
            let mut gateway = Gateway::start().await;
            let mut stranger = Stranger::connect(gateway.port).await;
            let hello = Hello { software: "x".repeat(padding), ..stranger.hello(&Key::generate()) };
            stranger.say(&Message::Hello(hello).encode()).await;
            let arrival = at_once("an answer", gateway.arrival()).await;
            assert_eq!(arrival.is_ok(), is_taken, "{padding} bytes of padding");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_from_another_connection_does_not_arrive() {
    bounded(async {
        let (mut gateway, mut other_gateway) = (Gateway::start().await, Gateway::start().await);
        let key = Key::generate();
        let first = Stranger::connect(gateway.port).await;
        let overheard = first.hello(&key);
        proves_nothing(&mut gateway, "the same gateway", |_| overheard.clone()).await;
        proves_nothing(&mut other_gateway, "passed on to another gateway", |_| overheard.clone()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_over_quic_gets_one_stream_and_little_room() {
    bounded(async {
        let gateway = Gateway::start().await;
        let connection = connect_quic(gateway.port).await;
        let mut control = Stranger::over(&connection).await;
        control.say(&[1]).await;
        let further = tokio::time::timeout(std::time::Duration::from_millis(300), connection.open_bi()).await;
        assert!(further.is_err(), "a stranger opened a second stream");
        let further = tokio::time::timeout(std::time::Duration::from_millis(300), connection.open_uni()).await;
        assert!(further.is_err(), "a stranger opened a stream of one direction");
    })
    .await;
}
