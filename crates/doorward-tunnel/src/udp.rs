//! UDP flows. A flow is an acknowledged stream (so it has a permit, an end and a count) whose packets travel as QUIC
//! datagrams when they fit the path, else length-prefixed on the stream itself; without QUIC always so.
//!
//! Datagram: `flow id (QUIC varint) │ packet`. On the stream: `length u16, big endian │ packet`.

use crate::queue::PacketQueue;
use crate::splice::Traffic;
use crate::stream::{Reset, Stream};
use crate::throttle::{Pace, Turns};
use bytes::{BufMut, Bytes, BytesMut};
use quinn::{Connection, VarInt};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// The flow number that carries no packet: a ping, whose acknowledgement by QUIC is the answer.
const PING: u64 = 0;

/// Where datagrams of one connection go, by flow number.
#[derive(Debug, Default)]
pub(crate) struct FlowTable {
    flows: Mutex<HashMap<u64, Weak<PacketQueue>>>,
    last: AtomicU64,
}

impl FlowTable {
    pub(crate) fn next_number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn register(self: &Arc<Self>, number: u64) -> Registered {
        let queue = Arc::new(PacketQueue::default());
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::downgrade(&queue));
        Registered { table: self.clone(), number, queue }
    }

    fn dispatch(&self, datagram: Bytes) {
        let mut rest = datagram;
        let Some(number) = read_varint(&mut rest) else { return };
        let queue = self.flows.lock().unwrap_or_else(PoisonError::into_inner).get(&number).and_then(Weak::upgrade);
        if let Some(queue) = queue {
            queue.push(rest);
        }
    }
}

/// A flow's place in the table, given back on drop.
#[derive(Debug)]
struct Registered {
    table: Arc<FlowTable>,
    number: u64,
    queue: Arc<PacketQueue>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.table.flows.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// Hands the datagrams of a connection to their flows, for as long as it lives.
pub(crate) async fn dispatch_datagrams(connection: Connection, table: Arc<FlowTable>) {
    while let Ok(datagram) = connection.read_datagram().await {
        table.dispatch(datagram);
    }
}

pub(crate) fn ping(connection: &Connection) {
    // Without datagrams or room for one the silence says the same as a lost ping.
    let _ = connection.send_datagram(Bytes::from_static(&[PING as u8]));
}

/// The datagram side of a flow, where its link has one.
#[derive(Debug)]
pub(crate) struct Datagrams {
    connection: Connection,
    registered: Registered,
}

impl Datagrams {
    pub(crate) fn new(connection: Connection, table: &Arc<FlowTable>, number: u64) -> Self {
        Self { connection, registered: table.register(number) }
    }

    /// Sends a packet if it fits the path now.
    fn try_send(&self, packet: &Bytes) -> bool {
        let Ok(number) = VarInt::from_u64(self.registered.number) else { return false };
        let mut datagram = BytesMut::with_capacity(8 + packet.len());
        put_varint(&mut datagram, number);
        datagram.put_slice(packet);
        match self.connection.max_datagram_size() {
            Some(limit) if datagram.len() <= limit => self.connection.send_datagram(datagram.freeze()).is_ok(),
            Some(_) | None => false,
        }
    }
}

/// A UDP flow over a link.
pub struct Flow {
    pub(crate) stream: Stream,
    pub(crate) datagrams: Option<Datagrams>,
    /// What passed, packets alone.
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) pace: Pace,
    /// The same, of this flow alone.
    pub(crate) own: Arc<Traffic>,
}

/// How a flow ended.
#[derive(Debug)]
pub enum FlowEnd {
    Idle,
    Finished,
    Broken(io::Error),
    Cut,
}

impl FlowEnd {
    /// A stable word for logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Finished => "finished",
            Self::Broken(_) => "broken",
            Self::Cut => "cut",
        }
    }
}

impl Flow {
    /// Counts both directions there.
    pub fn counted_in(self, traffic: Arc<Traffic>) -> Self {
        Self { traffic, ..self }
    }

    /// What comes too fast waits, and is lost like any packet where too many wait.
    pub fn paced(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Counted here, too.
    #[must_use]
    pub fn counted_too(self, own: Arc<Traffic>) -> Self {
        Self { own, ..self }
    }

    /// Passes packets until nothing moved either way for `idle`, an end, or the cut. `outgoing` holds what goes into
    /// the link; `deliver` gets what comes out of it and must not block.
    pub async fn run(
        self,
        outgoing: &PacketQueue,
        mut deliver: impl FnMut(&[u8]),
        idle: Duration,
        cut: impl Future<Output = ()>,
    ) -> FlowEnd {
        let Self { mut stream, datagrams, traffic, own, pace } = self;
        let (mut up, down) = (Turns::new(pace.up), Turns::new(pace.down));
        let moved = AtomicU64::new(0);
        let large = PacketQueue::default();
        let end = {
            let (mut reader, mut writer) = tokio::io::split(&mut stream);
            let sending = async {
                while let Some(packet) = outgoing.next().await {
                    moved.fetch_add(1, Ordering::Relaxed);
                    traffic.up.fetch_add(packet.len() as u64, Ordering::Relaxed);
                    own.up.fetch_add(packet.len() as u64, Ordering::Relaxed);
                    up.pass(packet.len()).await;
                    if !datagrams.as_ref().is_some_and(|d| d.try_send(&packet)) {
                        large.push(packet);
                    }
                }
                FlowEnd::Finished
            };
            let writing = async {
                while let Some(packet) = large.next().await {
                    if let Err(error) = write_packet(&mut writer, &packet).await {
                        return FlowEnd::Broken(error);
                    }
                }
                FlowEnd::Finished
            };
            let (delivered, arrivals) = tokio::sync::mpsc::channel::<Bytes>(64);
            let reading = async {
                loop {
                    match read_packet(&mut reader).await {
                        Ok(Some(packet)) => {
                            if delivered.send(packet).await.is_err() {
                                return FlowEnd::Finished;
                            }
                        }
                        Ok(None) => return FlowEnd::Finished,
                        Err(error) => return FlowEnd::Broken(error),
                    }
                }
            };
            let mut deliver = |packet: &[u8]| {
                moved.fetch_add(1, Ordering::Relaxed);
                traffic.down.fetch_add(packet.len() as u64, Ordering::Relaxed);
                own.down.fetch_add(packet.len() as u64, Ordering::Relaxed);
                deliver(packet);
            };
            let delivering = deliver_all(datagrams.as_ref(), arrivals, down, &mut deliver);
            tokio::select! {
                biased;
                () = cut => FlowEnd::Cut,
                end = sending => end,
                end = writing => end,
                end = reading => end,
                () = delivering => FlowEnd::Finished,
                () = until_idle(&moved, idle) => FlowEnd::Idle,
            }
        };
        match &end {
            FlowEnd::Cut => stream.reset(Reset::Cut),
            FlowEnd::Idle => stream.reset(Reset::Idle),
            FlowEnd::Finished | FlowEnd::Broken(_) => stream.reset(Reset::VisitorGone),
        }
        end
    }
}

async fn deliver_all(
    datagrams: Option<&Datagrams>,
    mut arrivals: tokio::sync::mpsc::Receiver<Bytes>,
    mut turns: Turns,
    deliver: &mut impl FnMut(&[u8]),
) {
    let next_datagram = async || match datagrams {
        Some(datagrams) => datagrams.registered.queue.next().await,
        None => std::future::pending().await,
    };
    loop {
        let packet = tokio::select! {
            packet = next_datagram() => packet,
            packet = arrivals.recv() => packet,
        };
        let Some(packet) = packet else { return };
        turns.pass(packet.len()).await;
        deliver(&packet);
    }
}

async fn until_idle(moved: &AtomicU64, idle: Duration) {
    let mut seen = moved.load(Ordering::Relaxed);
    let mut since = Instant::now();
    let step = idle / 8;
    loop {
        tokio::time::sleep(step).await;
        let now = moved.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() >= idle {
            return;
        }
    }
}

/// With its length in front, flushed.
pub async fn write_packet(writer: &mut (impl AsyncWriteExt + Unpin), packet: &[u8]) -> io::Result<()> {
    let length = u16::try_from(packet.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut framed = Vec::with_capacity(2 + packet.len());
    framed.put_u16(length);
    framed.extend_from_slice(packet);
    writer.write_all(&framed).await?;
    writer.flush().await
}

/// `None`: no more come.
pub async fn read_packet(reader: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Option<Bytes>> {
    let length = match reader.read_u16().await {
        Ok(length) => usize::from(length),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut packet = BytesMut::zeroed(length);
    reader.read_exact(&mut packet).await?;
    Ok(Some(packet.freeze()))
}

/// RFC 9000, section 16.
fn put_varint(buffer: &mut BytesMut, value: VarInt) {
    let value = value.into_inner();
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    match value {
        0..0x40 => buffer.put_u8(h),
        0x40..0x4000 => buffer.put_slice(&[g | 0x40, h]),
        0x4000..0x4000_0000 => buffer.put_slice(&[e | 0x80, f, g, h]),
        _ => buffer.put_slice(&[a | 0xc0, b, c, d, e, f, g, h]),
    }
}

fn read_varint(bytes: &mut Bytes) -> Option<u64> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    if bytes.len() < length {
        return None;
    }
    let encoded = bytes.split_to(length);
    let rest = encoded[1..].iter().fold(u64::from(first & 0x3f), |value, &b| value << 8 | u64::from(b));
    Some(rest)
}

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing {
    use super::*;
    use futures_util::FutureExt;

    /// What reaches the flow `number` of a datagram.
    pub fn deliver(number: u64, datagram: &[u8]) -> Option<Bytes> {
        let table = Arc::new(FlowTable::default());
        let registered = table.register(number);
        table.dispatch(Bytes::copy_from_slice(datagram));
        registered.queue.next().now_or_never().flatten()
    }

    /// The number that a datagram starts with.
    pub fn number_of(datagram: &[u8]) -> Option<u64> {
        read_varint(&mut Bytes::copy_from_slice(datagram))
    }

    /// The shortest datagram of a flow; `None` if no flow can have that number.
    pub fn numbered(number: u64) -> Option<Bytes> {
        let mut bytes = BytesMut::new();
        put_varint(&mut bytes, VarInt::from_u64(number).ok()?);
        Some(bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_those_of_rfc_9000() {
        // Appendix A.1.
        let table: [(u64, &[u8]); 4] = [
            (37, &[0x25]),
            (15293, &[0x7b, 0xbd]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (151_288_809_941_952_652, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
        ];
        for (value, bytes) in table {
            let mut encoded = BytesMut::new();
            put_varint(&mut encoded, VarInt::from_u64(value).unwrap());
            assert_eq!(&encoded[..], bytes);
            assert_eq!(read_varint(&mut encoded.freeze()), Some(value));
        }
        assert_eq!(read_varint(&mut Bytes::from_static(&[0xc2, 1])), None);
        assert_eq!(read_varint(&mut Bytes::new()), None);
    }

    #[tokio::test]
    async fn packets_of_every_size_pass_a_stream() {
        let (mut near, mut far) = tokio::io::duplex(1000);
        for size in [0, 1, 1472, 65_507] {
            let packet = vec![7; size];
            let (sent, received) = tokio::join!(write_packet(&mut near, &packet), read_packet(&mut far));
            sent.unwrap();
            assert_eq!(received.unwrap().unwrap(), packet);
        }
    }
}
