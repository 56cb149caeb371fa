//! From an open to the target, over real links of both makes.

mod common;

use common::gateway::{Gateway, SiteKey, TestLink};
use common::target::{converse, echo_tcp, echo_udp, one_tcp};
use common::{Scratch, TestAgent, running, service, settings, soon};
use doorward_core::hop::HopFailure;
use doorward_core::site::Carrier;
use doorward_tunnel::{Flow, FlowEnd, PacketQueue};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

const CARRIERS: [Carrier; 2] = [Carrier::Quic, Carrier::Tls];

/// A standing link on this carrier with these services.
async fn link_on(carrier: Carrier, services: &[(&str, String)]) -> (Gateway, Scratch, TestAgent, TestLink) {
    let mut gateway = Gateway::start(&SiteKey::new(), 0, &[carrier, Carrier::Tls]).await;
    let scratch = Scratch::new();
    let services: Vec<_> = services.iter().map(|(name, target)| service(name, target)).collect();
    let (agent, link) = running(&mut gateway, &scratch, &services).await;
    assert_eq!(link.carrier(), carrier);
    (gateway, scratch, agent, link)
}

#[tokio::test]
async fn bytes_and_half_closes_pass_to_a_tcp_target_and_back() {
    for carrier in CARRIERS {
        let (address, _echo) = echo_tcp().await;
        let (_gateway, _scratch, _agent, link) = link_on(carrier, &[("echo", format!("tcp://{address}"))]).await;
        let said: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let started = Instant::now();
        for round in 0..3 {
            let mut stream = link.open("echo").await.unwrap();
            let heard = soon("the echo", converse(&mut stream, &said)).await;
            assert!(heard == said, "{carrier:?}, round {round}: {} of {} bytes", heard.len(), said.len());
        }
        println!("{carrier:?}: 3 × 3 MB there and back in {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn localhost_is_tried_on_both_families() {
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let services = [("dev", format!("http://localhost:{port}"))];
    let (_gateway, _scratch, _agent, link) = link_on(Carrier::Quic, &services).await;
    let (opened, _) = tokio::join!(link.open("dev"), listener.accept());
    opened.unwrap();
}

#[tokio::test]
async fn a_unix_socket_is_a_target_like_any_other() {
    for carrier in CARRIERS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            socket.read_to_end(&mut heard).await.unwrap();
            heard.reverse();
            socket.write_all(&heard).await.unwrap();
        });
        let services = [("sock", format!("unix:{}", path.display())), ("gone", "http+unix:/nonexistent/x".to_owned())];
        let (_gateway, _scratch, _agent, link) = link_on(carrier, &services).await;
        let mut stream = link.open("sock").await.unwrap();
        assert_eq!(soon("the answer", converse(&mut stream, b"abc")).await, b"cba");
        let error = link.open("gone").await.err().unwrap();
        assert_eq!(error.hop, HopFailure::TargetRefused, "{error}");
    }
}

#[tokio::test]
async fn whoever_cannot_be_connected_is_told_which_hop_failed() {
    for carrier in CARRIERS {
        let services = [
            ("closed", "tcp://127.0.0.1:1".to_owned()),
            ("nameless", "tcp://no-such-host.invalid:80".to_owned()),
            ("dns", "udp://127.0.0.1:9".to_owned()),
        ];
        let (_gateway, _scratch, agent, link) = link_on(carrier, &services).await;
        let table = [
            ("closed", HopFailure::TargetRefused),
            ("nameless", HopFailure::TargetUnreachable),
            ("unknown", HopFailure::AgentRefused),
            ("dns", HopFailure::AgentRefused),
        ];
        for (name, hop) in table {
            let error = link.open(name).await.err().unwrap();
            assert_eq!(error.hop, hop, "{carrier:?} {name}: {error}");
            assert!(!error.detail.contains("127.0.0.1"), "the target is the agent's own: {}", error.detail);
            println!("{carrier:?} {name}: {error}");
        }
        assert_eq!(link.open_flow("closed").await.err().unwrap().hop, HopFailure::AgentRefused);
        drop(agent);
    }
}

#[tokio::test]
async fn a_gateway_reaches_only_the_services_that_it_may_see() {
    let (address, _echo) = echo_tcp().await;
    let target = format!("tcp://{address}");
    let services = [("mine", target.clone()), ("hers", target.clone())];
    let (_gateway, _scratch, agent, mut link) = link_on(Carrier::Quic, &services).await;
    assert_eq!(link.services().await.offers.len(), 2);
    let list = doorward_agent::Settings::parse("[[gateway]]\nservices = []", "x".as_ref()).unwrap().gateways;
    let mut given = settings(&services.map(|(name, target)| service(name, &target)));
    given.gateways = list;
    agent.reload(given.clone());
    assert_eq!(link.services().await.offers.len(), 0);
    assert_eq!(link.open("mine").await.err().unwrap().hop, HopFailure::AgentRefused);
    given.gateways[0].services.as_mut().unwrap().insert(common::label("mine"));
    agent.reload(given);
    let told = link.services().await;
    assert!(told.offers.len() == 1 && told.offers[0].contains("\"mine\""), "{told:?}");
    assert!(!told.offers[0].contains("127.0.0.1"), "{told:?}");
    link.open("mine").await.unwrap();
    assert_eq!(link.open("hers").await.err().unwrap().hop, HopFailure::AgentRefused);
}

#[tokio::test]
async fn at_the_deadline_target_and_visitor_are_reset_within_a_second() {
    for carrier in CARRIERS {
        let (address, accepted) = one_tcp().await;
        let (_gateway, _scratch, _agent, link) = link_on(carrier, &[("tcp", format!("tcp://{address}"))]).await;
        let remaining = Duration::from_millis(700);
        let asked = Instant::now();
        let mut stream = link.open_for("tcp", Some(remaining)).await.unwrap();
        let mut target = soon("the connection", accepted).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(soon("a byte", target.read_u8()).await.unwrap(), b'x');
        let at_target = soon("the cut", target.read_u8()).await.unwrap_err();
        let after = asked.elapsed();
        assert_eq!(at_target.kind(), std::io::ErrorKind::ConnectionReset, "a reset, not an end");
        assert!(after >= remaining && after < remaining + Duration::from_secs(1), "{after:?}");
        soon("the cut", stream.read_u8()).await.unwrap_err();
        println!("{carrier:?}: target reset {:?} after the deadline", after - remaining);
    }
}

#[tokio::test]
async fn a_deadline_cuts_a_visitor_who_never_stops_sending() {
    for carrier in CARRIERS {
        let (address, accepted) = one_tcp().await;
        let (_gateway, _scratch, _agent, link) = link_on(carrier, &[("tcp", format!("tcp://{address}"))]).await;
        let remaining = Duration::from_millis(600);
        let asked = Instant::now();
        let mut stream = link.open_for("tcp", Some(remaining)).await.unwrap();
        let _target = soon("the connection", accepted).await.unwrap();
        let flood = vec![0; 64 * 1024];
        let flooding = async { while stream.write_all(&flood).await.is_ok() {} };
        soon("the cut", flooding).await;
        let after = asked.elapsed();
        assert!(after >= remaining && after < remaining + Duration::from_secs(1), "{carrier:?}: {after:?}");
        println!(
            "{carrier:?}: a target that reads nothing, visitor stopped {:?} after the deadline",
            after - remaining
        );
    }
}

#[tokio::test]
async fn removing_or_moving_a_service_cuts_its_own_streams_only() {
    for carrier in CARRIERS {
        let (address, _echo) = echo_tcp().await;
        let (other, _other_echo) = echo_tcp().await;
        let target = format!("tcp://{address}");
        let services = ["stays", "goes", "moves"].map(|name| (name, target.clone()));
        let (_gateway, _scratch, agent, link) = link_on(carrier, &services).await;
        let mut stays = link.open("stays").await.unwrap();
        let mut goes = link.open("goes").await.unwrap();
        let mut moves = link.open("moves").await.unwrap();
        let told = Instant::now();
        agent.reload(settings(&[service("stays", &target), service("moves", &format!("tcp://{other}"))]));
        soon("the cut", goes.read_u8()).await.unwrap_err();
        soon("the cut", moves.read_u8()).await.unwrap_err();
        println!("{carrier:?}: cut {:?} after the new settings", told.elapsed());
        assert!(told.elapsed() < Duration::from_secs(1));
        assert_eq!(soon("the echo", converse(&mut stays, b"still here")).await, b"still here");
        assert_eq!(link.open("goes").await.err().unwrap().hop, HopFailure::AgentRefused);
        let mut moved = link.open("moves").await.unwrap();
        assert_eq!(soon("the echo", converse(&mut moved, b"new")).await, b"new");
    }
}

/// Sends packets into a flow and collects what comes back, until `count` came.
async fn exchange(flow: Flow, packets: &[Vec<u8>], count: usize) -> Vec<Vec<u8>> {
    let queue = PacketQueue::default();
    let (sender, mut heard) = mpsc::unbounded_channel();
    packets.iter().for_each(|packet| queue.push(packet.clone().into()));
    let deliver = move |packet: &[u8]| drop(sender.send(packet.to_vec()));
    let collecting = async {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(heard.recv().await);
        }
        all
    };
    tokio::select! {
        all = collecting => all,
        end = flow.run(&queue, deliver, Duration::from_secs(60), std::future::pending()) => panic!("ended: {end:?}"),
    }
}

#[tokio::test]
async fn packets_of_every_size_come_back_whole() {
    for carrier in CARRIERS {
        let (address, _echo) = echo_udp().await;
        let (_gateway, _scratch, _agent, link) = link_on(carrier, &[("udp", format!("udp://{address}"))]).await;
        for size in [1, 1200, 1472, 9000, 65_507] {
            let flow = link.open_flow("udp").await.unwrap();
            let packet: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let started = Instant::now();
            let heard = soon("the echo", exchange(flow, std::slice::from_ref(&packet), 1)).await;
            assert!(heard == [packet], "{carrier:?}: {size} bytes became {}", heard[0].len());
            println!("{carrier:?}: {size} bytes back after {:?}", started.elapsed());
        }
    }
}

#[tokio::test]
async fn a_flow_nobody_answers_lives_and_ends_with_its_service() {
    for carrier in CARRIERS {
        // Nothing listens there: each packet is answered by an ICMP error, which must not end the flow.
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (_gateway, _scratch, agent, link) = link_on(carrier, &[("udp", format!("udp://{closed}"))]).await;
        let flow = link.open_flow("udp").await.unwrap();
        let late = std::net::UdpSocket::bind(closed);
        let queue = PacketQueue::default();
        queue.push(bytes::Bytes::from_static(b"lost"));
        let listening = async {
            let socket = tokio::net::UdpSocket::from_std({
                let socket = late.unwrap();
                socket.set_nonblocking(true).unwrap();
                socket
            })
            .unwrap();
            let mut buffer = [0; 100];
            loop {
                queue.push(bytes::Bytes::from_static(b"later"));
                let (n, from) = socket.recv_from(&mut buffer).await.unwrap();
                if &buffer[..n] == b"later" {
                    socket.send_to(b"answer", from).await.unwrap();
                    return socket;
                }
            }
        };
        let (sender, mut heard) = mpsc::unbounded_channel();
        let running = flow.run(
            &queue,
            move |packet: &[u8]| drop(sender.send(packet.to_vec())),
            Duration::from_secs(60),
            std::future::pending(),
        );
        let conversation = async {
            let _socket = listening.await;
            assert_eq!(heard.recv().await.unwrap(), b"answer");
            agent.reload(settings(&[]));
            std::future::pending::<()>().await;
        };
        let end = soon("the end", async {
            tokio::select! {
                end = running => end,
                () = conversation => unreachable!(),
            }
        });
        let end = end.await;
        assert!(matches!(end, FlowEnd::Broken(_) | FlowEnd::Finished), "{end:?}");
    }
}

#[tokio::test]
async fn a_thousand_visits_at_once_are_served() {
    for carrier in CARRIERS {
        let (address, _echo) = echo_tcp().await;
        let (_gateway, _scratch, _agent, link) = link_on(carrier, &[("echo", format!("tcp://{address}"))]).await;
        let started = Instant::now();
        // Lanes are a TCP and TLS handshake each.
        let count = if carrier == Carrier::Quic { 1000 } else { 100 };
        let opening = (0..count).map(|_| link.open("echo"));
        let streams = soon("all opens", futures_util::future::join_all(opening)).await;
        let mut streams: Vec<_> = streams.into_iter().map(Result::unwrap).collect();
        println!("{carrier:?}: {count} streams opened in {:?}", started.elapsed());
        let talking = streams.iter_mut().map(|stream| converse(stream, b"hello"));
        let heard = soon("all echoes", futures_util::future::join_all(talking)).await;
        assert!(heard.len() == count && heard.iter().all(|h| h == b"hello"));
        println!("{carrier:?}: {count} conversations done in {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn beyond_the_limit_a_visit_is_told_that_the_device_is_busy() {
    const LIMIT: usize = 2048;
    // Nothing is sent, so one listener that never accepts will do: its queue takes 4096 at most, else visits wait.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(4096).unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    let (_gateway, _scratch, _agent, link) = link_on(Carrier::Quic, &[("tcp", target)]).await;
    let opening = (0..LIMIT).map(|_| link.open("tcp"));
    let mut streams: Vec<_> = soon("all opens", futures_util::future::join_all(opening)).await;
    assert!(streams.iter().all(Result::is_ok));
    assert_eq!(link.open("tcp").await.err().unwrap().hop, HopFailure::Busy);
    streams.truncate(LIMIT - 1);
    let freed = async {
        while link.open("tcp").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon("a place", freed).await;
    accepting.abort();
}
