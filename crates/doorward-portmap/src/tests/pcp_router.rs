//! A router that speaks PCP, as far as the tests need it. It knows filters, which miniupnpd does not.

use super::{EXTERNAL, HERE};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// What it does with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filters {
    Kept,
    Refused,
    /// As miniupnpd 2.3.1 does: it says yes, and lets everybody in.
    Ignored,
}

#[derive(Default)]
struct Memory {
    /// By internal port: nonce, external port, sources.
    mappings: BTreeMap<u16, ([u8; 12], u16, Vec<Ipv4Addr>)>,
    asked_unrestricted: usize,
}

pub(super) struct PcpRouter {
    port: u16,
    memory: Arc<Mutex<Memory>>,
    _task: JoinSet<()>,
}

impl PcpRouter {
    pub(super) async fn start(filters: Filters) -> Self {
        let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let memory = Arc::new(Mutex::new(Memory::default()));
        let mut task = JoinSet::new();
        task.spawn(serve(socket, Arc::clone(&memory), filters));
        Self { port, memory, _task: task }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// External ports and their sources.
    pub(super) fn mapped(&self) -> Vec<(u16, Vec<Ipv4Addr>)> {
        let memory = self.memory.lock().unwrap();
        memory.mappings.values().map(|(_, port, sources)| (*port, sources.clone())).collect()
    }

    pub(super) fn asked_unrestricted(&self) -> usize {
        self.memory.lock().unwrap().asked_unrestricted
    }
}

async fn serve(socket: UdpSocket, memory: Arc<Mutex<Memory>>, filters: Filters) {
    let mut buffer = [0; 1200];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let answer = answer(&buffer[..length], &mut memory.lock().unwrap(), filters);
        if let Some(answer) = answer {
            socket.send_to(&answer, from).await.unwrap();
        }
    }
}

/// RFC 6887, 11.3 and 13.3, by the figures alone.
fn answer(request: &[u8], memory: &mut Memory, manner: Filters) -> Option<Vec<u8>> {
    // NAT-PMP is not understood here.
    if request.len() < 60 || request[..2] != [2, 1] {
        return None;
    }
    let options: Vec<_> = request[60..].chunks(24).collect();
    let is_malformed = options.iter().any(|option| option[0] == 3 && option[5] > 128);
    let sources = options.iter().filter(|_| !is_malformed).map(|option| {
        assert_eq!(option[..8], [3, 0, 0, 20, 0, 128, 0, 0], "a filter for one address and all its ports");
        Ipv4Addr::new(option[20], option[21], option[22], option[23])
    });
    let sources: Vec<_> = sources.collect();
    let nonce: [u8; 12] = request[24..36].try_into().unwrap();
    let number = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
    let (internal, external) = (number(40), number(42));
    let is_to_end = request[4..8] == [0; 4];
    let mut answer = request[..60].to_vec();
    answer[1] |= 0x80;
    answer[8..24].copy_from_slice(&[0; 16]);
    answer[44..60].copy_from_slice(&EXTERNAL.to_ipv6_mapped().octets());
    if !options.is_empty() && manner == Filters::Refused {
        answer[3] = 5;
    } else if is_malformed && manner == Filters::Kept {
        answer[3] = 6;
    } else if is_malformed && manner == Filters::Ignored {
        // Nothing is there to end.
    } else if is_to_end {
        let is_the_same = memory.mappings.get(&internal).is_some_and(|(known, ..)| *known == nonce);
        assert!(is_the_same, "withdrawn with another nonce, or what is not there");
        memory.mappings.remove(&internal);
    } else {
        memory.asked_unrestricted += usize::from(sources.is_empty());
        memory.mappings.insert(internal, (nonce, external, sources));
    }
    Some(answer)
}
