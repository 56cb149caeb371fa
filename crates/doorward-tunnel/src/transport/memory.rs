//! A link inside one process: the gateway's built-in agent. The same handshake and lanes over in-memory pipes.

use crate::handshake::Channel;
use std::fmt;
use std::io;
use tokio::sync::mpsc;

const PIPE_SIZE: usize = 64 * 1024;
const BACKLOG: usize = 64;

/// The agent's end: dials.
#[derive(Clone)]
pub struct MemoryDialer(mpsc::Sender<Channel>);

/// The gateway's end: what was dialled, for `Acceptor::take_memory`.
pub struct MemoryListener(mpsc::Receiver<Channel>);

pub fn memory() -> (MemoryDialer, MemoryListener) {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    (MemoryDialer(sender), MemoryListener(receiver))
}

impl fmt::Debug for MemoryDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryDialer")
    }
}

impl MemoryDialer {
    pub(crate) async fn dial(&self) -> io::Result<Channel> {
        let (near, far) = tokio::io::duplex(PIPE_SIZE);
        // Nobody is between the two ends; the exporter only has to be the same on both.
        let exporter = rand::random();
        let gone = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
        self.0.send(Channel { pipe: Box::new(far), exporter }).await.map_err(gone)?;
        Ok(Channel { pipe: Box::new(near), exporter })
    }
}

impl MemoryListener {
    pub async fn accept(&mut self) -> Option<Channel> {
        self.0.recv().await
    }
}
