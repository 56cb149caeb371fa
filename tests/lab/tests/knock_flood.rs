//! A flood of packets at the door where people knock. A test program of its own: it counts the memory of its process, and the
//! time that the gateway's own threads take.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward::knock::{Sending, send};
use doorward_control::KnockKeyRequest;
use doorward_core::knock::{KnockLine, LENGTH};
use doorward_core::names::Label;
use doorward_core::site::Host;
use doorward_lab::{LIMIT, LOOPBACK, Lab, Shape};
use jiff::Timestamp;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const RATE: u64 = 50_000;
const LASTS: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_packets_a_second_cost_little_and_a_real_knock_among_them_counts_within_seconds() {
    let lab = Lab::of(Shape { knock: Some(0), ..Shape::default() }).await;
    let anna = lab.person("anna").await;
    let request = KnockKeyRequest {
        account: anna.id,
        name: Label::parse("phone").unwrap(),
        services: Vec::new(),
        may_be_seen: false,
    };
    let made = lab.control().make_knock_key(request, Timestamp::now()).await.unwrap().line;
    let door = lab.gateway.gateway.bound().knock[0];
    let line = KnockLine { host: Host::Ip(LOOPBACK), port: door.port(), ..made };
    let sending = Sending { line, source: None, only: Vec::new(), length: None };
    let (memory, time, started) = (resident(), busy(), Instant::now());
    let flood = Flood::begin(door, sending.line.id.0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let knocked = Instant::now();
    let taken = loop {
        send(&sending).await.unwrap();
        if lab.control().knock_keys(None).await.unwrap()[0].used_at.is_some() {
            break knocked.elapsed();
        }
        assert!(knocked.elapsed() < LIMIT, "no knock got through");
    };
    tokio::time::sleep(LASTS.saturating_sub(started.elapsed())).await;
    let (during, spent, lasted) = (resident(), busy() - time, started.elapsed());
    let sent = flood.end();
    println!(
        "{:.0} packets a second; the gateway's threads took {:.0} % of a core; resident {memory} MiB, then {during} MiB; a \
         knock counted after {taken:?}",
        sent as f64 / lasted.as_secs_f64(),
        100.0 * spent.as_secs_f64() / lasted.as_secs_f64(),
    );
    assert!(sent as f64 / lasted.as_secs_f64() > RATE as f64 * 0.5, "{sent} packets are no flood");
    assert!(during < memory + 24, "{memory} MiB became {during} MiB");
    assert!(taken < Duration::from_secs(10), "a knock took {taken:?}");
}

/// Packets that look like knocks, of a known key and of none, from many sources.
struct Flood {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Flood {
    fn begin(door: SocketAddr, known: [u8; 16]) -> Self {
        let (is_over, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (over, count) = (is_over.clone(), sent.clone());
        let sockets: Vec<_> = (1..=200)
            .map(|n| {
                let socket = UdpSocket::bind((IpAddr::from([127, 0, 1, n]), 0)).unwrap();
                socket.connect(door).unwrap();
                socket
            })
            .collect();
        let thread = std::thread::Builder::new().name("flood".to_owned());
        let thread = thread.spawn(move || flood(&sockets, known, &over, &count)).unwrap();
        Self { is_over, sent, thread }
    }

    fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.sent.load(Ordering::Relaxed)
    }
}

fn flood(sockets: &[UdpSocket], known: [u8; 16], is_over: &AtomicBool, sent: &AtomicU64) {
    let (started, mut noise) = (Instant::now(), 1_u64);
    let mut packet = [0; LENGTH];
    while !is_over.load(Ordering::Relaxed) {
        let due = started.elapsed().as_micros() as u64 * RATE / 1_000_000;
        let so_far = sent.load(Ordering::Relaxed);
        if so_far >= due {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        for n in so_far..due {
            for byte in packet.chunks_exact_mut(4) {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                byte.copy_from_slice(&noise.to_be_bytes()[..4]);
            }
            packet[0] = 1;
            if n % 2 == 0 {
                packet[1..17].copy_from_slice(&known);
            }
            let _ = sockets[n as usize % sockets.len()].send(&packet);
        }
        sent.store(due, Ordering::Relaxed);
    }
}

/// In MiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096 / (1024 * 1024)
}

/// Of all threads but the flood's, as proc_pid_stat(5) counts it, in hundredths of a second.
fn busy() -> Duration {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
        let (before, after) = stat.rsplit_once(") ").unwrap();
        if !before.ends_with("(flood") {
            let fields: Vec<_> = after.split(' ').collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    Duration::from_millis(ticks * 10)
}
