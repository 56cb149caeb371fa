//! A bounded queue of packets in which the newest wins: what does not fit pushes out the oldest.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub struct PacketQueue {
    packets: Mutex<Held>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Held {
    packets: VecDeque<Bytes>,
    bytes: usize,
    is_closed: bool,
}

const MAX_PACKETS: usize = 256;
const MAX_BYTES: usize = 512 * 1024;

impl PacketQueue {
    pub fn push(&self, packet: Bytes) {
        let mut held = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes += packet.len();
        held.packets.push_back(packet);
        while held.packets.len() > MAX_PACKETS || held.bytes > MAX_BYTES {
            let Some(oldest) = held.packets.pop_front() else { break };
            held.bytes -= oldest.len();
        }
        drop(held);
        self.arrived.notify_one();
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> usize {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// No more packets will come; what is queued is still handed out.
    pub fn close(&self) {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.arrived.notify_one();
    }

    /// The next packet; `None` after `close`. For one consumer; cancel-safe.
    pub async fn next(&self) -> Option<Bytes> {
        loop {
            {
                let mut held = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(packet) = held.packets.pop_front() {
                    held.bytes -= packet.len();
                    return Some(packet);
                }
                if held.is_closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_packets_give_way() {
        let queue = PacketQueue::default();
        for n in 0..=MAX_PACKETS {
            queue.push(Bytes::from(n.to_string()));
        }
        assert_eq!(queue.next().await.unwrap(), "1");
        for _ in 0..20 {
            queue.push(Bytes::from(vec![0; 65_507]));
        }
        queue.close();
        let mut left = 0;
        while let Some(packet) = queue.next().await {
            left += packet.len();
        }
        assert!(left <= MAX_BYTES && left > MAX_BYTES / 2, "{left} bytes held");
    }
}
