//! Enrolment, against a gateway in this process.

mod common;

use common::gateway::{Gateway, SiteKey};
use common::{Scratch, label, soon, until};
use doorward_agent::*;
use doorward_core::Secret;
use doorward_core::invite::Invite;
use doorward_core::site::Address;
use doorward_tunnel::messages::Refusal;
use std::time::{Duration, Instant};

#[tokio::test]
async fn joining_stores_key_and_site_and_repeating_it_is_refused() {
    let scratch = Scratch::new();
    let mut gateway = Gateway::both().await;
    gateway.rules.lock().unwrap().site.revision = 5;
    let joined = scratch.join(&gateway.invite()).await;
    assert_eq!(joined.device_name, label("zumi01"));
    gateway.next_link().await;
    let membership = scratch.state.membership(&label("main")).unwrap().unwrap();
    assert_eq!(membership.site.revision, 5);
    assert_eq!(membership.site.keys, [gateway.invite().site]);
    {
        let rules = gateway.rules.lock().unwrap();
        let claims = &rules.arrivals[0].1;
        assert_eq!(claims.device_key, membership.key.public());
        let sent = claims.introduction.join.as_ref().unwrap();
        assert_eq!(sent.secret, [9; 16]);
        assert!(!sent.suggested_name.is_empty(), "the host name is suggested");
    }
    let error = join(&gateway.invite(), scratch.options()).await.unwrap_err();
    assert!(matches!(&error, JoinError::AlreadyJoined { .. }), "{error}");
    assert_eq!(gateway.arrivals(), 1, "it was refused before dialling");

    let replaced = JoinOptions { replace: true, ..scratch.options() };
    soon("joining anew", join(&gateway.invite(), replaced)).await.unwrap();
    let anew = scratch.state.membership(&label("main")).unwrap().unwrap();
    assert_ne!(anew.key.public(), membership.key.public());
}

#[tokio::test]
async fn an_answer_that_got_lost_is_asked_for_with_the_same_key() {
    let scratch = Scratch::new();
    let gateway = Gateway::both().await;
    gateway.rules.lock().unwrap().lose_answers = 1;
    let limit = Some(Duration::from_secs(15));
    soon("joining", join(&gateway.invite(), JoinOptions { limit, ..scratch.options() })).await.unwrap();
    let rules = gateway.rules.lock().unwrap();
    let keys: Vec<_> = rules.arrivals.iter().map(|(_, claims)| claims.device_key).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn a_process_that_died_while_joining_goes_on_with_its_key() {
    let scratch = Scratch::new();
    let gateway = Gateway::both().await;
    gateway.rules.lock().unwrap().lose_answers = u32::MAX;
    let dying = tokio::spawn({
        let (invite, options) = (gateway.invite(), scratch.options());
        async move { join(&invite, options).await }
    });
    until("the key to be shown", || (gateway.arrivals() > 0).then_some(())).await;
    dying.abort();
    let _ = dying.await;
    gateway.rules.lock().unwrap().lose_answers = 0;
    scratch.join(&gateway.invite()).await;
    let rules = gateway.rules.lock().unwrap();
    let (first, last) = (&rules.arrivals.first().unwrap().1, &rules.arrivals.last().unwrap().1);
    assert_eq!(first.device_key, last.device_key);
}

#[tokio::test]
async fn a_gateway_with_another_site_key_is_not_told_the_secret() {
    let scratch = Scratch::new();
    let gateway = Gateway::both().await;
    let invite = Invite { site: SiteKey::new().fingerprint(), ..gateway.invite() };
    let limit = Some(Duration::from_secs(2));
    let error = join(&invite, JoinOptions { limit, ..scratch.options() }).await.unwrap_err();
    let text = error.to_string();
    println!("{text}");
    assert!(matches!(error, JoinError::Unreachable { .. }));
    for part in ["quic://127.0.0.1", "tls://127.0.0.1", "ask its owner for a new invite"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(gateway.arrivals(), 0);
    assert!(scratch.state.membership(&label("main")).unwrap().is_none());
}

#[tokio::test]
async fn a_refusal_passes_on_the_gateways_words() {
    let scratch = Scratch::new();
    let gateway = Gateway::both().await;
    gateway.rules.lock().unwrap().refuse = Some((Refusal::Invite, 7));
    let error = soon("a refusal", join(&gateway.invite(), scratch.options())).await.unwrap_err();
    let JoinError::Refused { reason, message, retry_after } = error else { panic!("{error}") };
    assert_eq!((reason, message.as_str(), retry_after.as_secs()), (Refusal::Invite, "not you, not now", 7));
    assert_eq!(gateway.arrivals(), 1, "a refusal is an answer");
}

#[tokio::test]
async fn state_that_cannot_be_written_is_named_before_anything_is_sent() {
    let scratch = Scratch::new();
    let gateway = Gateway::both().await;
    let file = scratch.folder().join("a-file");
    std::fs::write(&file, b"").unwrap();
    for root in [file.as_path(), std::path::Path::new("/proc/doorward")] {
        let options = JoinOptions::new(label("main"), StateDir::new(root), "test/1");
        let error = join(&gateway.invite(), options).await.unwrap_err().to_string();
        assert!(error.contains(root.to_str().unwrap()) && error.contains("--state"), "{error}");
    }
    assert_eq!(gateway.arrivals(), 0);
}

#[tokio::test]
async fn nobody_there_is_told_with_every_way_that_was_tried() {
    let scratch = Scratch::new();
    let addresses = vec![Address::parse("127.0.0.1:1").unwrap(), Address::parse("no-such-host.invalid").unwrap()];
    let invite = Invite { addresses, site: SiteKey::new().fingerprint(), secret: Secret::new([1; 16]) };
    let started = Instant::now();
    let limit = Some(Duration::from_secs(3));
    let error = join(&invite, JoinOptions { limit, ..scratch.options() }).await.unwrap_err().to_string();
    println!("after {:?}: {error}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(5));
    for part in ["within 3 s", "tls://127.0.0.1:1: ", "refused", "tls://no-such-host.invalid:443: "] {
        assert!(error.contains(part), "{error} lacks {part}");
    }
}

#[tokio::test]
async fn a_golden_image_joins_once_when_the_gateway_comes_up() {
    let scratch = Scratch::new();
    let key = SiteKey::new();
    let first = Gateway::start(&key, 0, &[]).await;
    let invite_file = scratch.folder().join("invite");
    std::fs::write(&invite_file, first.invite().to_text().expose()).unwrap();
    let port = first.die().await;
    let joining = tokio::spawn({
        let (options, file) = (scratch.options(), invite_file.clone());
        async move { join_if_invited(options, &file).await }
    });
    until("the attempt to begin", || scratch.state.root().join("main/device.key").exists().then_some(())).await;
    let gateway =
        Gateway::start(&key, port, &[doorward_core::site::Carrier::Quic, doorward_core::site::Carrier::Tls]).await;
    let joined = soon("joining", joining).await.unwrap().unwrap();
    assert_eq!(joined.unwrap().device_name, label("zumi01"));
    assert!(invite_file.exists());
    let again = soon("nothing", join_if_invited(scratch.options(), &invite_file)).await.unwrap();
    assert!(again.is_none(), "it has joined already");
    assert_eq!(gateway.arrivals(), 1);
    let other = Scratch::new();
    assert!(join_if_invited(other.options(), &other.folder().join("none")).await.unwrap().is_none());
}

#[tokio::test]
async fn an_agent_with_a_damaged_key_does_not_start() {
    let scratch = Scratch::new();
    let gateway = Gateway::both().await;
    scratch.join(&gateway.invite()).await;
    let file = scratch.state.root().join("main/device.key");
    std::fs::write(&file, b"half").unwrap();
    let agent = common::TestAgent::start(&scratch.state, Settings::default());
    let mut agent = agent;
    let error = soon("the end", &mut agent.task).await.unwrap().unwrap_err().to_string();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    assert_eq!(gateway.arrivals(), 1, "only the join itself");
}

#[tokio::test]
async fn a_device_behind_a_proxy_joins_and_stays_connected_through_it() {
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (proxy, mut seen) = common::target::connect_proxy("anna:hunter2").await;
    let rule = |credentials: &str| ProxyRule::parse(&format!("http://{credentials}@{proxy}")).unwrap();
    let wrong =
        JoinOptions { proxy: Some(rule("anna:wrong")), limit: Some(Duration::from_secs(1)), ..scratch.options() };
    let error = join(&gateway.invite(), wrong).await.unwrap_err().to_string();
    assert!(error.contains("407") && !error.contains("wrong"), "{error}");
    let options = JoinOptions { proxy: Some(rule("anna:hunter2")), ..scratch.options() };
    soon("joining", join(&gateway.invite(), options)).await.unwrap();
    assert_eq!(seen.recv().await.unwrap(), format!("127.0.0.1:{}", gateway.port));
    gateway.next_link().await;
    let (address, _echo) = common::target::echo_tcp().await;
    let given = Settings {
        proxy: Some(rule("anna:hunter2")),
        ..common::settings(&[common::service("echo", &format!("tcp://{address}"))])
    };
    let _agent = common::TestAgent::start(&scratch.state, given);
    let link = gateway.next_link().await;
    assert_eq!(link.carrier(), doorward_core::site::Carrier::Tls, "QUIC does not pass an HTTP proxy");
    let mut stream = link.open("echo").await.unwrap();
    assert_eq!(soon("the echo", common::target::converse(&mut stream, b"by proxy")).await, b"by proxy");
}
