//! Everything on one core of this machine, over loopback: what a tunnel costs in work.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::time::{Instant, sleep};

use crate::figures::{Pair, Pairs};
use crate::http::Page;
use crate::process::{Running, held};
use crate::sample::{Task, sample};
use crate::site::{Identity, Machine, Site, Tunnel, free_port};
use crate::subjects::Subject;
use crate::visit::{PingPong, idle};

const IDLE_CONNECTIONS: usize = 1000;
/// Until buffers of silent connections were given back, if they are.
const TO_CALM_DOWN: Duration = Duration::from_secs(4);
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

struct Up {
    tunnel: Tunnel,
    figures: Figures,
}

pub(crate) async fn run(subjects: &[Subject], rounds: usize) -> Result<Vec<Figures>> {
    pin_to(1)?;
    let folder = tempfile::Builder::new().prefix("doorward-bench").tempdir()?;
    let (site, _backend) = site_here(folder.path()).await?;
    let mut ups = Vec::new();
    for subject in subjects {
        eprintln!("{}: start, memory", subject.name());
        ups.push(start(*subject, &site).await.with_context(|| subject.name())?);
    }
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for up in &mut ups {
            let name = up.figures.subject.name();
            round_of(up, site.target).await.with_context(|| name)?;
        }
    }
    Ok(ups.into_iter().map(|up| up.figures).collect())
}

/// A target on this machine, which is also where everything else runs.
pub(crate) async fn site_here(folder: &Path) -> Result<(Site, Running)> {
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut command = held(std::env::current_exe()?)?;
    command.args(["target", &target.to_string()]);
    let mut backend = Running::start("target", command, folder)?;
    backend.wait_for("ready", TO_START).await?;
    let site = Site {
        gateway: Machine::Here,
        gateway_ip: Ipv4Addr::LOCALHOST,
        device: Machine::Here,
        target,
        folder: folder.to_owned(),
        identity: Identity::make(folder)?,
    };
    Ok((site, backend))
}

/// We and all we start share so many processors. On one, a rate says how much work was done.
pub(crate) fn pin_to(processors: usize) -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let mut chosen = CpuSet::new();
    let last = (0..CpuSet::MAX_CPU).rev().filter(|cpu| allowed.is_set(*cpu)).take(processors);
    last.for_each(|cpu| chosen.set(cpu));
    ensure!(chosen.count() as usize == processors, "there are not {processors} processors");
    Ok(sched_setaffinity(None, &chosen)?)
}

async fn start(subject: Subject, site: &Site) -> Result<Up> {
    let tunnel = subject.start(site).await?;
    until_open(tunnel.entrance).await?;
    let memory = measure_memory(&tunnel).await?;
    let [one_stream, eight_streams, turns, connections, pages] = Default::default();
    Ok(Up { tunnel, figures: Figures { subject, memory, one_stream, eight_streams, turns, connections, pages } })
}

pub(crate) async fn until_open(entrance: SocketAddr) -> Result<()> {
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
