//! A link that ends comes back without anybody's help.

mod common;

use common::gateway::{Gateway, SiteKey};
use common::target::{converse, echo_tcp};
use common::{Scratch, TestAgent, label, quick_tempo, running, service, settings, soon, until};
use doorward_agent::{LinkState, Settings, Tempo};
use doorward_core::site::Carrier;
use doorward_tunnel::messages::*;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

const BOTH: [Carrier; 2] = [Carrier::Quic, Carrier::Tls];

#[tokio::test]
async fn after_a_gateway_died_the_agent_is_back_by_itself() {
    for carriers in [&BOTH[..], &[Carrier::Tls]] {
        let (key, scratch) = (SiteKey::new(), Scratch::new());
        let mut gateway = Gateway::start(&key, 0, carriers).await;
        let (address, _echo) = echo_tcp().await;
        let services = [service("echo", &format!("tcp://{address}"))];
        let (mut agent, link) = running(&mut gateway, &scratch, &services).await;
        let carrier = link.carrier();
        drop(link);
        let died = Instant::now();
        let port = gateway.die().await;
        agent.until_status("the loss", |s| matches!(s.state, LinkState::Connecting { .. })).await;
        println!("{carrier:?}: noticed after {:?}", died.elapsed());
        let mut gateway = Gateway::start(&key, port, carriers).await;
        let back = Instant::now();
        let link = gateway.next_link().await;
        println!("{carrier:?}: back {:?} after the gateway", back.elapsed());
        assert!(back.elapsed() < Duration::from_secs(5));
        let mut stream = link.open("echo").await.unwrap();
        assert_eq!(soon("the echo", converse(&mut stream, b"again")).await, b"again");
        agent.until_status("the link", |s| matches!(s.state, LinkState::Online { .. })).await;
    }
}

#[tokio::test]
async fn a_goodbye_of_the_gateway_is_followed_at_once() {
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (_agent, link) = running(&mut gateway, &scratch, &[]).await;
    let said = Instant::now();
    link.link.say(Message::Goodbye(Goodbye { reason: Leaving::Stopping.into() })).await;
    let next = gateway.next_link().await;
    println!("the next link stood {:?} after the goodbye", said.elapsed());
    assert!(said.elapsed() < Duration::from_secs(2));
    assert!(next.epoch > link.epoch);
}

#[tokio::test]
async fn an_agent_that_is_refused_asks_again_slowly_and_for_ever() {
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    scratch.join(&gateway.invite()).await;
    gateway.next_link().await;
    gateway.rules.lock().unwrap().refuse = Some((Refusal::Revoked, 0));
    let mut agent = TestAgent::start(&scratch.state, Settings::default());
    let refused = |s: &doorward_agent::GatewayStatus| matches!(&s.state, LinkState::Refused { message } if message.contains("not you"));
    agent.until_status("the refusal", refused).await;
    until("four attempts", || (gateway.arrivals() > 4).then_some(())).await;
    let times: Vec<_> = gateway.rules.lock().unwrap().arrivals[1..].iter().map(|(at, _)| *at).collect();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    println!("asked again after {gaps:?} (tempo: 1 s for the hopeless)");
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(700)), "{gaps:?}");
    gateway.rules.lock().unwrap().refuse = None;
    gateway.next_link().await;
    agent.until_status("the link", |s| matches!(s.state, LinkState::Online { .. })).await;
}

#[tokio::test]
async fn links_that_end_at_once_are_not_dialled_in_a_busy_loop() {
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (_agent, link) = running(&mut gateway, &scratch, &[]).await;
    let mut link = link;
    let started = Instant::now();
    for _ in 0..6 {
        link.link.close(Leaving::Unspecified).await;
        link = gateway.next_link().await;
    }
    println!("six links that ended at once took {:?}", started.elapsed());
    assert!(started.elapsed() > Duration::from_secs(2), "the pauses grow");
}

#[tokio::test]
async fn without_udp_a_link_comes_up_on_tls_and_climbs_when_udp_appears() {
    let (key, scratch) = (SiteKey::new(), Scratch::new());
    let mut gateway = Gateway::start(&key, 0, &[Carrier::Tls]).await;
    let (address, _echo) = echo_tcp().await;
    let services = [service("echo", &format!("tcp://{address}"))];
    let started = Instant::now();
    let (mut agent, link) = running(&mut gateway, &scratch, &services).await;
    println!("on TLS {:?} after the start (with joining)", started.elapsed());
    assert_eq!(link.carrier(), Carrier::Tls);
    let mut old = link.open("echo").await.unwrap();
    gateway.listen_quic();
    let appeared = Instant::now();
    let better = gateway.next_link().await;
    println!("on QUIC {:?} after UDP worked (tempo: 300 ms)", appeared.elapsed());
    assert_eq!(better.carrier(), Carrier::Quic);
    assert!(better.epoch > link.epoch);
    let online =
        |s: &doorward_agent::GatewayStatus| matches!(s.state, LinkState::Online { carrier: Carrier::Quic, .. });
    agent.until_status("the climb", online).await;
    assert_eq!(soon("the echo", converse(&mut old, b"old stream")).await, b"old stream", "it outlives its link");
    let mut new = better.open("echo").await.unwrap();
    assert_eq!(soon("the echo", converse(&mut new, b"new stream")).await, b"new stream");
    let remembered = || scratch.state.membership(&label("main")).unwrap().unwrap().site.carrier;
    until("the memory", || (remembered() == Some(Carrier::Quic)).then_some(())).await;
    let extra = tokio::time::timeout(Duration::from_millis(900), async { gateway.next_link().await.carrier() }).await;
    assert!(extra.is_err(), "nothing is better than QUIC: {extra:?}");
}

#[tokio::test]
async fn a_new_site_is_stored_answered_and_used() {
    let (key, scratch) = (SiteKey::new(), Scratch::new());
    let mut gateway = Gateway::start(&key, 0, &BOTH).await;
    let mut second = Gateway::start(&key, 0, &BOTH).await;
    let (_agent, mut link) = running(&mut gateway, &scratch, &[]).await;
    let told = |addresses: Vec<String>, keys: Vec<Vec<u8>>, revision| Message::Site(Site { addresses, keys, revision });
    let keys = vec![key.fingerprint().0.to_vec(), vec![5; 32]];
    link.link.say(told(vec![], keys.clone(), 8)).await;
    link.link.say(told(vec!["127.0.0.1:1".into()], vec![], 9)).await;
    link.link.say(told(vec!["127.0.0.1:1".into()], vec![vec![1]], 10)).await;
    link.link.say(told(vec![format!("127.0.0.1:{}", second.port)], keys, 11)).await;
    let stored = loop {
        match link.hear().await {
            Some(Message::SiteStored(stored)) if stored.revision != 1 => break stored,
            Some(_) => {}
            None => panic!("the link is gone"),
        }
    };
    assert_eq!(stored.revision, 11, "sites without keys or addresses are not heard");
    let site = scratch.state.membership(&label("main")).unwrap().unwrap().site;
    assert_eq!((site.revision, site.keys.len()), (11, 2));
    drop(link);
    gateway.die().await;
    second.next_link().await;
}

#[tokio::test]
async fn a_stop_lets_streams_finish_and_cuts_those_that_do_not() {
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (address, _echo) = echo_tcp().await;
    scratch.join(&gateway.invite()).await;
    gateway.next_link().await;
    let tempo = Tempo { drain: Duration::from_millis(800), ..quick_tempo() };
    let services = settings(&[service("echo", &format!("tcp://{address}"))]);
    let mut agent = TestAgent::start_with(&scratch.state, services, tempo);
    let mut link = gateway.next_link().await;
    let mut finishing = link.open("echo").await.unwrap();
    let mut endless = link.open("echo").await.unwrap();
    let stopped = Instant::now();
    agent.stop.cancel();
    loop {
        if let Message::Goodbye(goodbye) = link.hear().await.unwrap() {
            assert_eq!(goodbye.reason(), Leaving::Stopping);
            break;
        }
    }
    assert_eq!(soon("the echo", converse(&mut finishing, b"last words")).await, b"last words");
    soon("the cut", endless.read_u8()).await.unwrap_err();
    println!("cut {:?} after the stop (drain: 800 ms)", stopped.elapsed());
    soon("the end", &mut agent.task).await.unwrap().unwrap();
    println!("ended {:?} after the stop", stopped.elapsed());
    assert!(stopped.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_gateway_joined_later_is_noticed_and_one_left_is_let_go() {
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let mut agent = TestAgent::start(&scratch.state, Settings::default());
    scratch.join(&gateway.invite()).await;
    gateway.next_link().await;
    let mut link = gateway.next_link().await;
    agent.until_status("the link", |s| matches!(s.state, LinkState::Online { .. })).await;
    // The agent may be writing there just now.
    until("the folder to go", || std::fs::remove_dir_all(scratch.state.root().join("main")).ok()).await;
    loop {
        match link.hear().await {
            Some(Message::Goodbye(_)) | None => break,
            Some(_) => {}
        }
    }
    drop(soon("the end", agent.status.wait_for(|all| all.gateways.is_empty())).await.unwrap());
    assert!(scratch.state.gateways().unwrap().is_empty(), "nothing brings it back");
}

#[tokio::test]
async fn reports_and_port_checks_are_answered() {
    let (mut gateway, scratch) = (Gateway::both().await, Scratch::new());
    let (mut agent, mut link) = running(&mut gateway, &scratch, &[service("a", "tcp://127.0.0.1:1")]).await;
    let revision = link.services().await.revision;
    let report = ServiceReport {
        name: "a".into(),
        reached_by: vec!["https://a-zumi01.example.org".into()],
        problems: vec!["its port is taken".into()],
        notes: vec![],
    };
    link.link.say(Message::ServicesReport(ServicesReport { revision, services: vec![report] })).await;
    agent.until_status("the report", |s| s.services.first().is_some_and(|a| a.reached_by.len() == 1)).await;
    let hosts = vec!["127.0.0.1".to_owned(), "192.168.1.1".to_owned()];
    link.link.say(Message::CheckPorts(CheckPorts { hosts, tcp: vec![gateway.port.into(), 1] })).await;
    let checked = loop {
        if let Message::PortsChecked(checked) = link.hear().await.unwrap() {
            break checked;
        }
    };
    println!("{checked:?}");
    assert_eq!(checked.results.len(), 4);
    let reachable: Vec<_> = checked.results.iter().filter(|r| r.reachable).map(|r| r.tcp).collect();
    assert_eq!(reachable, [u32::from(gateway.port)]);
}

#[tokio::test]
async fn a_gateway_that_vanishes_without_a_word_is_missed_within_seconds() {
    let (key, scratch) = (SiteKey::new(), Scratch::new());
    let machine = tokio::runtime::Runtime::new().unwrap();
    let shared = std::sync::Arc::new(key);
    let key = shared.clone();
    let mut gateway = machine.spawn(async move { Gateway::start(&key, 0, &BOTH).await }).await.unwrap();
    let (mut agent, link) = running(&mut gateway, &scratch, &[]).await;
    assert_eq!(link.carrier(), Carrier::Quic);
    // The sentinel is a TCP connection beside QUIC; it has to stand before its end can tell anything.
    until("the sentinel", || established_to(gateway.port).then_some(())).await;
    drop(link);
    machine.shutdown_background();
    let died = Instant::now();
    let port = gateway.die().await;
    agent.until_status("the loss", |s| matches!(s.state, LinkState::Connecting { .. })).await;
    println!("missed after {:?}", died.elapsed());
    assert!(died.elapsed() < Duration::from_secs(5), "the next ping would be 10 s away");
    let mut gateway = Gateway::start(&shared, port, &BOTH).await;
    gateway.next_link().await;
}

/// Whether a TCP connection to this port stands (proc_net_tcp; state 01 is ESTABLISHED).
fn established_to(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let there = format!("0100007F:{port:04X}");
    table
        .lines()
        .any(|line| line.split_whitespace().nth(2) == Some(&there) && line.split_whitespace().nth(3) == Some("01"))
}

#[tokio::test]
async fn a_revoked_device_resets_its_streams_itself() {
    let (key, scratch) = (SiteKey::new(), Scratch::new());
    let mut gateway = Gateway::start(&key, 0, &[Carrier::Tls]).await;
    let (address, accepted) = common::target::one_tcp().await;
    let (_agent, link) = running(&mut gateway, &scratch, &[service("tcp", &format!("tcp://{address}"))]).await;
    let _stream = link.open("tcp").await.unwrap();
    let mut target = soon("the connection", accepted).await.unwrap();
    let said = Instant::now();
    // Said, but not done: this gateway lets the stream stand.
    link.link.say(Message::Goodbye(Goodbye { reason: Leaving::Revoked.into() })).await;
    let error = soon("the cut", target.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    println!("reset {:?} after the word", said.elapsed());
    assert!(said.elapsed() < Duration::from_secs(1));
}
