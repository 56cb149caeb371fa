//! How a link comes to stand.

use crate::common::gateway::Gateway;
use crate::common::{self, Link, bounded, device_key, echoes, introduction, label, site};
use crate::over_every_carrier;
use doorward_core::site::{Address, Carrier, Fingerprint};
use doorward_tunnel::messages::{CAPABILITY, Join, Message, Refusal, Services, SiteStored};
use doorward_tunnel::{Destination, Dialer, HandshakeError, Introduction};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

over_every_carrier!(
    a_device_is_introduced_and_welcomed,
    a_refused_device_hears_why,
    every_link_has_a_name_and_a_secret_of_its_own,
    control_messages_pass_both_ways_in_order,
);

async fn a_device_is_introduced_and_welcomed(carrier: Carrier) {
    let mut gateway = Gateway::start().await;
    let dialer = gateway.dialer(carrier);
    let key = device_key();
    let join = Join { secret: vec![1; 16], suggested_name: "kueche".into() };
    let who = Introduction { join: Some(join.clone()), epoch: 77, instance: [8; 16], ..introduction() };
    let welcoming = async {
        let arrival = gateway.arrival().await.unwrap();
        let claims = arrival.claims();
        assert_eq!((claims.device_key, claims.capability), (key.public(), CAPABILITY));
        assert_eq!((claims.introduction.epoch, claims.introduction.instance), (77, [8; 16]));
        assert_eq!(claims.introduction.join, Some(join));
        assert_eq!(claims.introduction.software, "a test");
        assert_eq!(arrival.carrier(), carrier);
        assert!(arrival.peer().ip().is_loopback());
        arrival.welcome(&label("kueche"), site()).await.unwrap()
    };
    let introducing = async {
        let established = dialer.establish(None).await;
        assert_eq!(established.carrier(), carrier);
        established.introduce(&key, &who).await.unwrap()
    };
    let (near, far) = tokio::join!(welcoming, introducing);
    assert_eq!(far.welcome.device_name, "kueche");
    assert_eq!(far.welcome.site, Some(site()));
    assert_eq!(far.welcome.link, near.link.id().0);
    assert_eq!(far.welcome.seen_as, near.link.peer().to_string());
    assert_eq!((near.link.carrier(), far.link.carrier()), (carrier, carrier));
}

async fn a_refused_device_hears_why(carrier: Carrier) {
    let mut gateway = Gateway::start().await;
    let dialer = gateway.dialer(carrier);
    let key = device_key();
    let refusing = async {
        let arrival = gateway.arrival().await.unwrap();
        arrival.refuse(Refusal::UnknownKey, "join first", Duration::from_secs(7)).await;
    };
    let introducing = async { dialer.establish(None).await.introduce(&key, &introduction()).await };
    let start = Instant::now();
    let ((), refused) = tokio::join!(refusing, introducing);
    let Err(HandshakeError::Refused(refused)) = refused else { panic!("{:?}", refused.err()) };
    assert_eq!((refused.reason(), refused.message.as_str()), (Refusal::UnknownKey, "join first"));
    assert_eq!(refused.retry_after_seconds, 7);
    assert!(start.elapsed() < Duration::from_secs(3), "refusing took {:?}", start.elapsed());
}

async fn every_link_has_a_name_and_a_secret_of_its_own(carrier: Carrier) {
    let (one, two) = (Link::stand(carrier).await, Link::stand(carrier).await);
    assert_ne!(one.welcome.link, two.welcome.link);
    assert_ne!(one.welcome.lane_secret, two.welcome.lane_secret);
    assert_eq!(one.welcome.lane_secret.len(), 32);
}

async fn control_messages_pass_both_ways_in_order(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let offers = vec!["x".repeat(400_000)];
    for revision in 0..20 {
        let services = Message::Services(Services { revision, offers: offers.clone(), ..Services::default() });
        assert!(link.far.say(services.clone()).await);
        assert_eq!(link.near_events.recv().await, Some(services));
    }
    for revision in 0..100 {
        assert!(link.near.say(Message::Site(common::site())).await);
        assert!(link.far.say(Message::SiteStored(SiteStored { revision })).await);
        assert_eq!(link.near_events.recv().await, Some(Message::SiteStored(SiteStored { revision })));
        assert_eq!(link.far_events.recv().await, Some(Message::Site(common::site())));
    }
}

#[tokio::test]
async fn a_gateway_of_another_site_is_no_gateway() {
    bounded(async {
        let gateway = Gateway::start().await;
        for carrier in [Carrier::Quic, Carrier::Tls, Carrier::WebSocket] {
            let address = gateway.address(carrier);
            let stranger = common::dialer(&address, Fingerprint([9; 32]));
            assert!(stranger.try_carrier(carrier).await.is_none(), "{carrier:?}");
            assert!(!stranger.last_errors().is_empty());
            let right = common::dialer(&address, gateway.fingerprint);
            assert!(right.try_carrier(carrier).await.is_some(), "{carrier:?}");
            assert!(right.last_errors().is_empty());
        }
    })
    .await;
}

fn everywhere(gateway: &Gateway, addresses: &[String]) -> Dialer {
    let addresses = addresses.iter().map(|a| Address::parse(a).unwrap()).collect();
    let keys = vec![gateway.fingerprint];
    Dialer::new(&Destination { addresses, keys, proxy: None, metered: false }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_carrier_wins_where_all_work() {
    bounded(async {
        let gateway = Gateway::start().await;
        let all = [Carrier::WebSocket, Carrier::Tls, Carrier::Quic].map(|carrier| gateway.address(carrier));
        let dialer = everywhere(&gateway, &all);
        assert_eq!(dialer.establish(None).await.carrier(), Carrier::Quic);
        for preferred in [Carrier::WebSocket, Carrier::Tls, Carrier::Quic] {
            assert_eq!(dialer.establish(Some(preferred)).await.carrier(), preferred);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_best_carrier_is_not_kept_waiting_for_the_next_wave() {
    let gateway = Gateway::start().await;
    let start = Instant::now();
    gateway.dialer(Carrier::Memory).establish(None).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_udp_and_tls_lead_nowhere_a_websocket_does() {
    bounded(async {
        let gateway = Gateway::start().await;
        // Accepts and never says a word; nothing takes UDP there.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nowhere = silent.local_addr().unwrap();
        let addresses = [format!("quic://{nowhere}"), format!("tls://{nowhere}"), gateway.address(Carrier::WebSocket)];
        let dialer = everywhere(&gateway, &addresses);
        let start = Instant::now();
        let mut link = Link::stand_by(gateway, &dialer).await;
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(link.near.carrier(), Carrier::WebSocket);
        let _echo = link.echo();
        echoes(&link.near, b"hello").await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_comes_up_late_is_found() {
    bounded(async {
        let gateway = Gateway::start().await;
        let (port, up) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), gateway.port);
        let dialer = common::dialer(&format!("tls://{}", port.local_addr().unwrap()), gateway.fingerprint);
        let coming_up = tokio::spawn(async move {
            for _ in 0..3 {
                drop(port.accept().await.unwrap());
            }
            let (mut near, _) = port.accept().await.unwrap();
            let mut far = TcpStream::connect(up).await.unwrap();
            tokio::io::copy_bidirectional(&mut near, &mut far).await
        });
        let link = Link::stand_by(gateway, &dialer).await;
        assert!(link.near.probe(Duration::from_secs(1)).await);
        assert_eq!(dialer.last_errors().len(), 1);
        coming_up.abort();
    })
    .await;
}
