//! One sample: what is done for a moment, and what it cost whom.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::figures::Sample;
use crate::http::{Page, Readers};
use crate::process::Usage;
use crate::site::Tunnel;
use crate::visit::{Count, Download, PingPong, Upload, connections};

const BULK: Duration = Duration::from_millis(500);
const TURNS: Duration = Duration::from_millis(300);
const CONNECTIONS: Duration = Duration::from_millis(500);
const REQUESTS: Duration = Duration::from_millis(500);
const KEPT_ALIVE: usize = 64;
/// What a sample leaves in sockets shall not run into the next.
const BETWEEN: Duration = Duration::from_millis(50);

/// What is done in a sample, and to whom.
#[derive(Clone)]
pub(crate) enum Task {
    Download { at: SocketAddr, streams: usize },
    Upload { at: SocketAddr, streams: usize },
    Turns { at: SocketAddr },
    Connections { at: SocketAddr },
    Pages(Page),
}

pub(crate) async fn sample(tunnel: &Tunnel, task: Task) -> Result<Sample> {
    sleep(BETWEEN).await;
    match task {
        Task::Download { at, streams } => {
            let mut download = Download::open(at, streams).await?;
            let before = Spent::look(tunnel)?;
            let read = download.read_for(BULK).await?;
            before.sample(tunnel, read)
        }
        Task::Upload { at, streams } => {
            let mut upload = Upload::open(at, streams).await?;
            let before = Spent::look(tunnel)?;
            let written = upload.write_for(BULK).await?;
            before.sample(tunnel, written)
        }
        Task::Turns { at } => {
            let mut connection = PingPong::open(at).await?;
            let (before, start) = (Spent::look(tunnel)?, Instant::now());
            let mut turns = connection.turns_for(TURNS, Duration::ZERO).await?;
            let sample = before.sample(tunnel, Count { count: turns.len() as u64, took: start.elapsed() })?;
            turns.sort();
            Ok(Sample { turn: turns[turns.len() / 2], ..sample })
        }
        Task::Connections { at } => {
            let before = Spent::look(tunnel)?;
            let made = connections(at, CONNECTIONS).await?;
            before.sample(tunnel, made)
        }
        Task::Pages(page) => {
            let mut readers = Readers::open(&page, KEPT_ALIVE).await?;
            let before = Spent::look(tunnel)?;
            let fetched = readers.fetch_for(REQUESTS).await?;
            before.sample(tunnel, fetched)
        }
    }
}

/// CPU seconds spent until now.
struct Spent {
    all: f64,
    server: f64,
    client: f64,
}

impl Spent {
    fn look(tunnel: &Tunnel) -> Result<Self> {
        // Everything is a child of ours.
        let all = Usage::of(std::process::id())?.cpu;
        Ok(Self { all, server: tunnel.server.usage()?.cpu, client: tunnel.client.usage()?.cpu })
    }

    fn sample(&self, tunnel: &Tunnel, Count { count, took }: Count) -> Result<Sample> {
        let now = Self::look(tunnel)?;
        let server_cpu = now.server - self.server;
        let own_cpu = server_cpu + now.client - self.client;
        Ok(Sample { count, took, turn: Duration::ZERO, all_cpu: now.all - self.all, own_cpu, server_cpu })
    }
}
