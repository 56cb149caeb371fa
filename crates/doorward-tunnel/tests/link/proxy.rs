//! Through an HTTP proxy that takes CONNECT.

use crate::common::gateway::Gateway;
use crate::common::{Link, bounded, echoes};
use doorward_core::Secret;
use doorward_core::site::{Address, Carrier};
use doorward_tunnel::{Destination, Dialer, Proxy};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

struct ConnectProxy {
    port: u16,
    tunnels: Arc<AtomicUsize>,
    _tasks: AbortOnDropHandle<()>,
}

/// `anna:secret` in base64.
const CREDENTIALS: &str = "Basic YW5uYTpzZWNyZXQ=";

impl ConnectProxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tunnels = Arc::new(AtomicUsize::new(0));
        let count = tunnels.clone();
        let tasks = async move {
            let mut tasks = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tasks.spawn(serve(socket, count.clone()));
            }
        };
        Self { port, tunnels, _tasks: AbortOnDropHandle::new(tokio::spawn(tasks)) }
    }

    fn dialer(&self, gateway: &Gateway, address: &str, credentials: &str) -> Dialer {
        let credentials = Some(Secret::new(credentials.to_owned()));
        Dialer::new(&Destination {
            addresses: vec![Address::parse(address).unwrap()],
            keys: vec![gateway.fingerprint],
            proxy: Some(Proxy { host: "127.0.0.1".into(), port: self.port, credentials }),
            metered: false,
        })
        .unwrap()
    }
}

/// Only the proxy knows where "nowhere.invalid" is.
fn resolve(target: &str) -> SocketAddr {
    target.replace("nowhere.invalid", "127.0.0.1").parse().unwrap()
}

async fn serve(socket: TcpStream, tunnels: Arc<AtomicUsize>) {
    let mut socket = BufReader::new(socket);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.unwrap();
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let is_known = lines.iter().any(|line| {
        line.split_once(": ")
            .is_some_and(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization") && value == CREDENTIALS)
    });
    if !is_known {
        let _ = socket.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await;
        return;
    }
    let target = lines[0].strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix(" HTTP/1.1")).unwrap();
    let mut far = TcpStream::connect(resolve(target)).await.unwrap();
    tunnels.fetch_add(1, Ordering::Relaxed);
    socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let _ = copy_bidirectional(&mut socket, &mut far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_and_its_lanes_go_through_the_proxy() {
    bounded(async {
        for carrier in [Carrier::Tls, Carrier::WebSocket] {
            let proxy = ConnectProxy::start().await;
            let gateway = Gateway::start().await;
            let dialer = proxy.dialer(&gateway, &gateway.address(carrier), "anna:secret");
            let mut link = Link::stand_by(gateway, &dialer).await;
            assert_eq!(link.near.carrier(), carrier);
            let _echo = link.echo();
            echoes(&link.near, &vec![5; 100_000]).await.unwrap();
            assert_eq!(link.far.gateway(), None);
            let (tunnels, connections) = (proxy.tunnels.load(Ordering::Relaxed), link.gateway.connections());
            assert!(tunnels >= 2 && tunnels >= connections, "{tunnels} tunnels for {connections} connections");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_resolved_by_the_proxy() {
    bounded(async {
        let proxy = ConnectProxy::start().await;
        let gateway = Gateway::start().await;
        let address = format!("tls://nowhere.invalid:{}", gateway.port.port());
        let dialer = proxy.dialer(&gateway, &address, "anna:secret");
        let mut link = Link::stand_by(gateway, &dialer).await;
        let _echo = link.echo();
        echoes(&link.near, b"hello").await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_refuses_is_reported_without_the_credentials() {
    bounded(async {
        let proxy = ConnectProxy::start().await;
        let gateway = Gateway::start().await;
        let dialer = proxy.dialer(&gateway, &gateway.address(Carrier::Tls), "anna:wrong-password");
        assert!(dialer.try_carrier(Carrier::Tls).await.is_none());
        let error = dialer.last_errors().pop().expect("an error to show");
        assert!(error.contains("407"), "{error}");
        assert!(!error.contains("wrong-password") && !format!("{error:?}").contains("anna"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_nothing_is_tried_over_udp() {
    bounded(async {
        let proxy = ConnectProxy::start().await;
        let gateway = Gateway::start().await;
        let dialer = proxy.dialer(&gateway, &gateway.address(Carrier::Quic), "anna:secret");
        assert!(dialer.try_carrier(Carrier::Quic).await.is_none());
        assert!(!dialer.offers(Carrier::Quic));
        assert!(timeout(Duration::from_millis(300), dialer.establish(None)).await.is_err());
    })
    .await;
}
