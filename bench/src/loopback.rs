//! Everything on one core of this machine, over loopback: what a tunnel costs in work.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::time::{Instant, sleep};

use crate::figures::{Pair, Pairs, Sample};
use crate::http::{Page, Readers};
use crate::process::{Running, Usage, held};
use crate::site::{Identity, Machine, Site, Tunnel, free_port};
use crate::subjects::Subject;
use crate::visit::{Count, Download, PingPong, connections, idle};

const BULK: Duration = Duration::from_millis(500);
const TURNS: Duration = Duration::from_millis(300);
const CONNECTIONS: Duration = Duration::from_millis(500);
const REQUESTS: Duration = Duration::from_millis(500);
const KEPT_ALIVE: usize = 64;
const IDLE_CONNECTIONS: usize = 1000;
/// Until buffers of silent connections were given back, if they are.
const TO_CALM_DOWN: Duration = Duration::from_secs(4);
/// What a sample leaves in sockets shall not run into the next.
const BETWEEN: Duration = Duration::from_millis(50);
const TO_START: Duration = Duration::from_secs(20);

/// All about one subject.
pub(crate) struct Figures {
    pub(crate) subject: Subject,
    pub(crate) memory: Memory,
    pub(crate) one_stream: Pairs,
    pub(crate) eight_streams: Pairs,
    pub(crate) turns: Pairs,
    pub(crate) connections: Pairs,
    /// Empty for those without a web entrance.
    pub(crate) pages: Pairs,
}

/// Resident bytes, and bytes for each of many silent connections.
pub(crate) struct Memory {
    pub(crate) server: u64,
    pub(crate) client: u64,
    pub(crate) server_each: u64,
    pub(crate) client_each: u64,
}

/// What is done in a sample, and to whom.
#[derive(Clone)]
enum Task {
    Download { at: SocketAddr, streams: usize },
    Turns { at: SocketAddr },
    Connections { at: SocketAddr },
    Pages(Page),
}

struct Up {
    tunnel: Tunnel,
    figures: Figures,
}

pub(crate) async fn run(subjects: &[Subject], rounds: usize) -> Result<Vec<Figures>> {
    pin_to_one_core()?;
    let folder = tempfile::Builder::new().prefix("doorward-bench").tempdir()?;
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut command = held(std::env::current_exe()?)?;
    command.args(["target", &target.to_string()]);
    let mut backend = Running::start("target", command, folder.path())?;
    backend.wait_for("ready", TO_START).await?;
    let site = Site {
        gateway: Machine::Here,
        gateway_ip: Ipv4Addr::LOCALHOST,
        device: Machine::Here,
        target,
        folder: folder.path().to_owned(),
        identity: Identity::make(folder.path())?,
    };
    let mut ups = Vec::new();
    for subject in subjects {
        eprintln!("{}: start, memory", subject.name());
        ups.push(start(*subject, &site).await.with_context(|| subject.name())?);
    }
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for up in &mut ups {
            let name = up.figures.subject.name();
            round_of(up, target).await.with_context(|| name)?;
        }
    }
    Ok(ups.into_iter().map(|up| up.figures).collect())
}

/// We and all we start share a core, so that a rate says how much work was done.
fn pin_to_one_core() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)).context("no processor")?;
    let mut one = CpuSet::new();
    one.set(last);
    Ok(sched_setaffinity(None, &one)?)
}

async fn start(subject: Subject, site: &Site) -> Result<Up> {
    let tunnel = subject.start(site).await?;
    until_open(tunnel.entrance).await?;
    let memory = measure_memory(&tunnel).await?;
    let [one_stream, eight_streams, turns, connections, pages] = Default::default();
    Ok(Up { tunnel, figures: Figures { subject, memory, one_stream, eight_streams, turns, connections, pages } })
}

async fn until_open(entrance: SocketAddr) -> Result<()> {
    let start = Instant::now();
    loop {
        match PingPong::open(entrance).await {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > TO_START => return Err(error),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn measure_memory(tunnel: &Tunnel) -> Result<Memory> {
    sleep(TO_CALM_DOWN).await;
    let [server, client] = resident(tunnel)?;
    let open = idle(tunnel.entrance, IDLE_CONNECTIONS).await?;
    sleep(TO_CALM_DOWN).await;
    let [full_server, full_client] = resident(tunnel)?;
    drop(open);
    let each = |full: u64, before| full.saturating_sub(before) / IDLE_CONNECTIONS as u64;
    Ok(Memory { server, client, server_each: each(full_server, server), client_each: each(full_client, client) })
}

fn resident(tunnel: &Tunnel) -> Result<[u64; 2]> {
    Ok([tunnel.server.usage()?.resident, tunnel.client.usage()?.resident])
}

async fn round_of(up: &mut Up, target: SocketAddr) -> Result<()> {
    let Up { tunnel, figures } = up;
    let at = tunnel.entrance;
    let bulk = |streams| move |at| Task::Download { at, streams };
    figures.one_stream.0.push(pair(tunnel, bulk(1)(target), bulk(1)(at)).await?);
    figures.eight_streams.0.push(pair(tunnel, bulk(8)(target), bulk(8)(at)).await?);
    figures.turns.0.push(pair(tunnel, Task::Turns { at: target }, Task::Turns { at }).await?);
    figures.connections.0.push(pair(tunnel, Task::Connections { at: target }, Task::Connections { at }).await?);
    if let Some(page) = tunnel.page.clone() {
        let direct = Page { at: target, host: page.host.clone(), certificate: None };
        figures.pages.0.push(pair(tunnel, Task::Pages(direct), Task::Pages(page)).await?);
    }
    Ok(())
}

async fn pair(tunnel: &Tunnel, without: Task, with: Task) -> Result<Pair> {
    Ok(Pair { direct: sample(tunnel, without).await?, tunnel: sample(tunnel, with).await? })
}

async fn sample(tunnel: &Tunnel, task: Task) -> Result<Sample> {
    sleep(BETWEEN).await;
    match task {
        Task::Download { at, streams } => {
            let mut download = Download::open(at, streams).await?;
            let before = Spent::look(tunnel)?;
            let read = download.read_for(BULK).await?;
            before.sample(tunnel, read)
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
    own: f64,
}

impl Spent {
    fn look(tunnel: &Tunnel) -> Result<Self> {
        // Everything is a child of ours.
        let all = Usage::of(std::process::id())?.cpu;
        Ok(Self { all, own: tunnel.server.usage()?.cpu + tunnel.client.usage()?.cpu })
    }

    fn sample(&self, tunnel: &Tunnel, Count { count, took }: Count) -> Result<Sample> {
        let now = Self::look(tunnel)?;
        Ok(Sample { count, took, turn: Duration::ZERO, all_cpu: now.all - self.all, own_cpu: now.own - self.own })
    }
}
