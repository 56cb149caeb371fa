//! The visitor's side: what is done to an address, whatever stands between it and the target.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::target::{ECHO, SINK, SOURCE, TAKEN};

/// For any single answer.
const PATIENCE: Duration = Duration::from_secs(20);
const CHUNK: usize = 256 * 1024;
/// Fewer than there are ephemeral ports, which a closed connection keeps for a while.
const MOST_CONNECTIONS: u64 = 4_000;
/// Connections that are being made at the same time.
const VISITORS: u64 = 8;

/// So many somethings in so long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) count: u64,
    pub(crate) took: Duration,
}

impl Count {
    pub(crate) fn per_second(self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }
}

/// Connects and says something at once.
async fn open(at: SocketAddr, first: &[u8]) -> Result<TcpStream> {
    let opening = async {
        let mut socket = TcpStream::connect(at).await?;
        socket.set_nodelay(true)?;
        socket.write_all(first).await?;
        io::Result::Ok(socket)
    };
    timeout(PATIENCE, opening).await.context("no connection")?.with_context(|| format!("connecting to {at}"))
}

/// Streams that the target fills.
pub(crate) struct Download {
    streams: Vec<TcpStream>,
}

impl Download {
    /// Opens the streams and waits for the first byte of each.
    pub(crate) async fn open(at: SocketAddr, streams: usize) -> Result<Self> {
        let mut opened = Vec::new();
        for _ in 0..streams {
            opened.push(open(at, &[SOURCE]).await?);
        }
        for stream in &mut opened {
            timeout(PATIENCE, stream.read_u8()).await.context("no first byte")??;
        }
        Ok(Self { streams: opened })
    }

    /// Reads whatever comes on all streams for this long. A stalled stream is a figure too: it adds nothing.
    pub(crate) async fn read_for(&mut self, length: Duration) -> Result<Count> {
        let start = Instant::now();
        let total = Arc::new(AtomicU64::new(0));
        let mut readers = JoinSet::new();
        for stream in self.streams.drain(..) {
            readers.spawn(read_until(stream, start + length, total.clone()));
        }
        while let Some(done) = readers.join_next().await {
            self.streams.push(done??);
        }
        Ok(Count { count: total.load(Ordering::Relaxed), took: start.elapsed() })
    }
}

async fn read_until(mut stream: TcpStream, deadline: Instant, total: Arc<AtomicU64>) -> io::Result<TcpStream> {
    let mut buffer = vec![0; CHUNK];
    while Instant::now() < deadline {
        match timeout_at(deadline, stream.read(&mut buffer)).await {
            Err(_) => break,
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => total.fetch_add(n? as u64, Ordering::Relaxed),
        };
    }
    Ok(stream)
}

/// Streams that the target takes.
pub(crate) struct Upload {
    streams: Vec<TcpStream>,
}

impl Upload {
    /// Opens the streams and waits until each has carried something.
    pub(crate) async fn open(at: SocketAddr, streams: usize) -> Result<Self> {
        let mut opened = Vec::new();
        for _ in 0..streams {
            opened.push(open(at, &[SINK]).await?);
        }
        let first = vec![0; TAKEN];
        for stream in &mut opened {
            let carrying = async {
                stream.write_all(&first).await?;
                stream.read_u8().await
            };
            timeout(PATIENCE, carrying).await.context("nothing was taken")??;
        }
        Ok(Self { streams: opened })
    }

    /// Writes on all streams for this long. What the target has said it took counts.
    pub(crate) async fn write_for(&mut self, length: Duration) -> Result<Count> {
        let start = Instant::now();
        let total = Arc::new(AtomicU64::new(0));
        let mut writers = JoinSet::new();
        for stream in self.streams.drain(..) {
            writers.spawn(write_until(stream, start + length, total.clone()));
        }
        while let Some(done) = writers.join_next().await {
            done??;
        }
        Ok(Count { count: total.load(Ordering::Relaxed), took: start.elapsed() })
    }
}

async fn write_until(stream: TcpStream, deadline: Instant, total: Arc<AtomicU64>) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    let counting = async {
        let mut answers = [0; 1024];
        loop {
            match from.read(&mut answers).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => total.fetch_add((n * TAKEN) as u64, Ordering::Relaxed),
            };
        }
    };
    let chunk = vec![0; CHUNK];
    let writing = async {
        loop {
            to.write_all(&chunk).await?;
        }
    };
    tokio::select! {
        error = counting => error,
        error = writing => error,
        () = tokio::time::sleep_until(deadline) => Ok(()),
    }
}

/// One connection on which one byte goes to and fro.
pub(crate) struct PingPong(TcpStream);

impl PingPong {
    pub(crate) async fn open(at: SocketAddr) -> Result<Self> {
        let mut stream = open(at, &[ECHO, b'.']).await?;
        timeout(PATIENCE, stream.read_u8()).await.context("no first echo")??;
        Ok(Self(stream))
    }

    pub(crate) async fn turn(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.0.write_u8(b'.').await?;
        timeout(PATIENCE, self.0.read_u8()).await.context("no echo")??;
        Ok(start.elapsed())
    }

    /// The time of every turn, for this long, with a pause after each.
    pub(crate) async fn turns_for(&mut self, length: Duration, pause: Duration) -> Result<Vec<Duration>> {
        let start = Instant::now();
        let mut turns = Vec::new();
        while start.elapsed() < length {
            turns.push(self.turn().await?);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(turns)
    }
}

/// New connections, one byte to and fro on each, a few at a time.
pub(crate) async fn connections(at: SocketAddr, length: Duration) -> Result<Count> {
    let start = Instant::now();
    let mut visitors = JoinSet::new();
    for _ in 0..VISITORS {
        visitors.spawn(async move {
            let mut count = 0;
            while start.elapsed() < length && count < MOST_CONNECTIONS / VISITORS {
                PingPong::open(at).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(done) = visitors.join_next().await {
        count += done??;
    }
    Ok(Count { count, took: start.elapsed() })
}

/// Connections on which one byte went to and fro, and which then are silent.
pub(crate) async fn idle(at: SocketAddr, connections: usize) -> Result<Vec<PingPong>> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(PingPong::open(at).await?);
    }
    Ok(open)
}
