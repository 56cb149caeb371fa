//! A piece of network between agent and gateway, UDP and TCP on one port, that can be broken.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

pub(crate) struct Relay {
    pub(crate) port: SocketAddr,
    tcp_ends: watch::Sender<usize>,
    udp_passes: watch::Sender<bool>,
    _tasks: AbortOnDropHandle<()>,
}

impl Relay {
    pub(crate) async fn before(gateway: SocketAddr) -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, Arc::new(udp));
            }
        };
        let port = tcp.local_addr().unwrap();
        let (tcp_ends, ends) = watch::channel(0);
        let (udp_passes, passes) = watch::channel(true);
        let tasks = async move { tokio::join!(pass_tcp(tcp, gateway, ends), pass_udp(udp, gateway, passes)).0 };
        Self { port, tcp_ends, udp_passes, _tasks: AbortOnDropHandle::new(tokio::spawn(tasks)) }
    }

    /// Ends every TCP connection, as the kernel of a machine does whose process died.
    pub(crate) fn end_tcp(&self) {
        self.tcp_ends.send_modify(|count| *count += 1);
    }

    pub(crate) fn drop_udp(&self) {
        self.udp_passes.send_replace(false);
    }
}

async fn pass_tcp(listener: TcpListener, gateway: SocketAddr, ends: watch::Receiver<usize>) {
    let mut tasks = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut ends = ends.clone();
        ends.mark_unchanged();
        tasks.spawn(async move {
            let mut far = TcpStream::connect(gateway).await.unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = ends.changed() => {}
            }
        });
    }
}

async fn pass_udp(socket: Arc<UdpSocket>, gateway: SocketAddr, passes: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    let mut ways = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
    let mut packet = vec![0; 65_536];
    loop {
        let (n, agent) = socket.recv_from(&mut packet).await.unwrap();
        if !*passes.borrow() {
            continue;
        }
        let way = match ways.get(&agent) {
            Some(way) => way.clone(),
            None => {
                let way = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                way.connect(gateway).await.unwrap();
                ways.insert(agent, way.clone());
                tasks.spawn(pass_back(way.clone(), socket.clone(), agent, passes.clone()));
                way
            }
        };
        let _ = way.send(&packet[..n]).await;
    }
}

async fn pass_back(from: Arc<UdpSocket>, to: Arc<UdpSocket>, agent: SocketAddr, passes: watch::Receiver<bool>) {
    let mut packet = vec![0; 65_536];
    while let Ok(n) = from.recv(&mut packet).await {
        if *passes.borrow() {
            let _ = to.send_to(&packet[..n], agent).await;
        }
    }
}
