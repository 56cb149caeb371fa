//! Viewers on one machine: what they see, and how old it is.

use super::{DIGITS, STAMP, now};
use anyhow::{Result, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// What is seen in the first part of a long look is not counted: buffers fill.
const FILLING: f64 = 2.0 / 3.0;
pub(super) const LONG: Duration = Duration::from_secs(20);
const FEW: u32 = 16 * 1024;

pub(crate) async fn run(arguments: &[String]) -> Result<()> {
    let [at, host, viewers, seconds, pace @ ..] = arguments else {
        anyhow::bail!("look: where, which host, how many, how long, and at what pace?")
    };
    let (at, viewers): (SocketAddr, usize) = (at.parse()?, viewers.parse()?);
    let pace: Option<u32> = pace.first().map(|pace| pace.parse()).transpose()?;
    let length = Duration::from_secs(seconds.parse()?);
    let (began, mut looking) = (Instant::now(), JoinSet::new());
    for _ in 0..viewers {
        let host = host.clone();
        looking.spawn(async move { look(at, &host, began + length, pace).await });
    }
    let from = if length >= LONG { began + length.mul_f64(FILLING) } else { began };
    let mut ages = Vec::new();
    for seen in looking.join_all().await {
        ages.extend(seen?.into_iter().filter(|(when, _)| *when >= from).map(|(_, age)| age));
    }
    ensure!(!ages.is_empty(), "nothing was seen");
    ages.sort_unstable_by(f64::total_cmp);
    let part = |part: f64| ages[((ages.len() - 1) as f64 * part) as usize];
    let counted = (began + length).duration_since(from).as_secs_f64();
    println!("{} {} {}", ages.len() as f64 / viewers as f64 / counted, part(0.5), part(0.95));
    Ok(())
}

/// When each picture was whole, and its age in seconds.
async fn look(at: SocketAddr, host: &str, until: Instant, pace: Option<u32>) -> Result<Vec<(Instant, f64)>> {
    let mut socket = connect(at, pace).await?;
    socket.write_all(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).await?;
    let (mut seen, mut held, mut piece) =
        (Vec::new(), Vec::new(), vec![0; if pace.is_some() { FEW as usize } else { 64 * 1024 }]);
    // Where there is always something to read, no wait is too long.
    while Instant::now() < until {
        let Ok(read) = timeout_at(until, socket.read(&mut piece)).await else { break };
        let read = read?;
        if let Some(pace) = pace {
            sleep(Duration::from_secs_f64(read as f64 / f64::from(pace))).await;
        }
        ensure!(read > 0, "{host} ended the stream: {}", String::from_utf8_lossy(&held));
        held.extend_from_slice(&piece[..read]);
        while let Some(place) = held.windows(STAMP.len()).position(|window| window == STAMP) {
            let stamp = place + STAMP.len();
            let Some(digits) = held.get(stamp..stamp + DIGITS) else { break };
            // Where a chunk of the answer ends among them, it is one picture less to look at.
            let taken = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
            if let Some(taken) = taken {
                seen.push((Instant::now(), now()?.saturating_sub(taken) as f64 / 1000.0));
            }
            held.drain(..stamp + DIGITS);
        }
        let rest = held.len().saturating_sub(STAMP.len() + DIGITS);
        held.drain(..rest);
    }
    Ok(seen)
}

/// Whoever is slow lets little wait at their own end: it is the line that is slow.
async fn connect(at: SocketAddr, pace: Option<u32>) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if pace.is_some() {
        socket.set_recv_buffer_size(FEW)?;
    }
    Ok(socket.connect(at).await?)
}
