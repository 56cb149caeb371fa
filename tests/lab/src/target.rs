//! Local services that devices offer in the lab.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

/// Ends with its owner.
pub struct Target {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, task: JoinHandle<()>) -> Self {
        Self { address, task }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends back what comes, half-closes included.
pub async fn echo() -> Target {
    let listener = TcpListener::bind((crate::LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let (mut reader, mut writer) = socket.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
        }
    });
    Target { address, task }
}

/// Sends without end.
pub async fn flood() -> Target {
    let listener = TcpListener::bind((crate::LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            let chunk = vec![7; 65536];
            tokio::spawn(async move { while socket.write_all(&chunk).await.is_ok() {} });
        }
    });
    Target { address, task }
}

/// Says one line to whoever connects, and ends.
pub async fn says(line: &'static str) -> Target {
    let listener = TcpListener::bind((crate::LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let _ = socket.write_all(line.as_bytes()).await;
                let _ = socket.shutdown().await;
                let mut rest = Vec::new();
                let _ = socket.read_to_end(&mut rest).await;
            });
        }
    });
    Target { address, task }
}

/// Sends each packet back.
pub async fn udp_echo() -> Target {
    let socket = UdpSocket::bind((crate::LOOPBACK, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        loop {
            let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
            let _ = socket.send_to(&buffer[..length], peer).await;
        }
    });
    Target { address, task }
}

/// An address where nothing listens.
pub fn nobody() -> SocketAddr {
    std::net::TcpListener::bind((crate::LOOPBACK, 0)).unwrap().local_addr().unwrap()
}

/// A range of public ports for one lab, apart from those of other labs in this process and, by its id, in others.
pub(crate) fn free_ports() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 40).unwrap_or(0);
    let is_free = |port: u16| {
        let address = (crate::LOOPBACK, port);
        std::net::TcpListener::bind(address).is_ok() && std::net::UdpSocket::bind(address).is_ok()
    };
    loop {
        let first = 10_000 + process * 500 + NEXT.fetch_add(25, Ordering::Relaxed) % 500;
        if (first..first + 25).all(is_free) {
            return format!("{first}-{}", first + 24);
        }
    }
}

/// Once spoken to, sends a packet to that peer every few milliseconds for ever.
pub async fn udp_fountain() -> Target {
    let socket = Arc::new(UdpSocket::bind((crate::LOOPBACK, 0)).await.unwrap());
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        let mut fountains = JoinSet::new();
        loop {
            let Ok((_, peer)) = socket.recv_from(&mut buffer).await else { continue };
            let socket = socket.clone();
            fountains.spawn(async move {
                loop {
                    let _ = socket.send_to(b"drop", peer).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
    });
    Target { address, task }
}
