//! UDP: each local address that sends something is one visit, until it was silent for so long that the gateway forgets it.

use super::carried::Way;
use bytes::Bytes;
use doorward_tunnel::{read_packet, write_packet};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Local programs at once.
const MOST: usize = 64;
/// Packets that wait for one visit; what comes then is lost, as UDP may.
const WAITING: usize = 256;
const LARGEST: usize = 65_536;

pub(super) async fn carry(socket: UdpSocket, way: Way) {
    let socket = Arc::new(socket);
    let mut visits = JoinSet::new();
    let mut peers: HashMap<SocketAddr, mpsc::Sender<Bytes>> = HashMap::new();
    let mut buffer = vec![0; LARGEST];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                // A peer whose port is closed (ICMP) is none of the others' trouble.
                let Ok((length, peer)) = received else { continue };
                let packet = Bytes::copy_from_slice(&buffer[..length]);
                if let Some(known) = peers.get(&peer) {
                    let _ = known.try_send(packet);
                    continue;
                }
                if peers.len() >= MOST {
                    continue;
                }
                let (sender, packets) = mpsc::channel(WAITING);
                let _ = sender.try_send(packet);
                peers.insert(peer, sender);
                visits.spawn(visit(socket.clone(), peer, packets, way.clone()));
            }
            Some(over) = visits.join_next() => {
                if let Ok(peer) = over {
                    peers.remove(&peer);
                }
            }
        }
    }
}

/// Returns whose it was.
async fn visit(socket: Arc<UdpSocket>, peer: SocketAddr, mut packets: mpsc::Receiver<Bytes>, way: Way) -> SocketAddr {
    let carried = match way.connect().await {
        Ok(carried) => carried,
        Err(trouble) => {
            way.tell(trouble);
            return peer;
        }
    };
    let (mut reader, mut writer) = tokio::io::split(carried);
    let outward = async {
        while let Some(packet) = packets.recv().await {
            if write_packet(&mut writer, &packet).await.is_err() {
                return;
            }
        }
    };
    let inward = async {
        while let Ok(Some(packet)) = read_packet(&mut reader).await {
            let _ = socket.send_to(&packet, peer).await;
        }
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
    peer
}
