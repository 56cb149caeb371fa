//! Between the machines of a world, over an emulated line: what loss and delay do to a tunnel.
//!
//! The line is the private side's uplink. "Direct" is a port that the home router forwards.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use doorward_world::{Conditions, Node, Program, Shape, World, addresses};
use tokio::time::{Instant, sleep};

use crate::figures::median;
use crate::process::Running;
use crate::report::{Table, load};
use crate::site::{Identity, Machine, Site, Tunnel, free_port};
use crate::subjects::{Carrier, Cipher, SshServer, Subject, Transport};
use crate::visit::{Download, PingPong};

/// The name of our own subcommand that is a visitor for a while and prints one figure.
pub(crate) const VISIT: &str = "visit";

pub(crate) const SUBJECTS: [Subject; 4] = [
    Subject::Doorward(Carrier::Quic),
    Subject::Doorward(Carrier::Tls),
    Subject::Rathole(Transport::Tls),
    Subject::Ssh(SshServer::Sshd, Cipher::Aes128),
];

pub(crate) const HOW: &str = "a line with 50 ms round trip, 100 Mbit/s, a queue of 625 KiB, TCP with cubic";
const LOSSES: [f64; 3] = [0.0, 0.005, 0.02];
const RATE: u64 = 12_500_000;
const QUEUE: u64 = 640_000;
const ONE_WAY: Duration = Duration::from_millis(25);

/// Slow start is over, mostly.
const WARM_UP: Duration = Duration::from_secs(2);
const BULK: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(50);
/// A visit that takes longer than this has failed.
const LIMIT: Duration = Duration::from_secs(30);
const MIB: f64 = (1u64 << 20) as f64;

fn conditions(loss: f64) -> Conditions {
    Conditions::new().delay(ONE_WAY).rate(RATE).queue(QUEUE).loss(loss)
}

pub(crate) async fn run(subjects: &[Subject], rounds: usize) -> Result<()> {
    let world = World::build(Shape::home().over_line(conditions(0.0)))?;
    for node in [&world.gateway, &world.device, &world.visitor] {
        let set = node.run("echo cubic >/proc/sys/net/ipv4/tcp_congestion_control")?.ok();
        set.context("cubic is not to be had here; as root: sysctl -w net.ipv4.tcp_allowed_congestion_control=\"reno cubic bbr\"")?;
    }
    let folder = tempfile::Builder::new().prefix("doorward-bench").tempdir()?;
    let IpAddr::V4(gateway_ip) = addresses::GATEWAY[0] else { bail!("the gateway has no IPv4") };
    let target = SocketAddr::new(addresses::DEVICE[0], free_port()?);
    let site = Site {
        gateway: Machine::Node(world.gateway.clone()),
        gateway_ip,
        device: Machine::Node(world.device.clone()),
        target,
        folder: folder.path().to_owned(),
        identity: Identity::make(folder.path())?,
    };
    let mut command = site.device.command(std::env::current_exe()?)?;
    command.args(["target", &target.to_string()]);
    let mut backend = Running::start("target", command, folder.path())?;
    backend.wait_for("ready", LIMIT).await?;
    world.home_router.forward_tcp_port(target.port(), target.ip(), target.port())?.stays();

    let mut visited = vec![("direct", SocketAddr::new(addresses::HOME[0], target.port()))];
    let mut tunnels: Vec<Tunnel> = Vec::new();
    for subject in subjects {
        let tunnel = subject.start(&site).await.with_context(|| subject.name())?;
        visited.push((subject.description(), tunnel.entrance));
        tunnels.push(tunnel);
    }
    for (name, at) in &visited {
        until_open(&world.visitor, *at).await.with_context(|| (*name).to_owned())?;
    }
    for loss in LOSSES {
        world.line()?.set(&conditions(loss))?;
        println!("{} % loss each way\n", loss * 100.0);
        table(&world.visitor, &visited, rounds).await?.print();
    }
    println!("Load at the end {}.", load());
    Ok(())
}

async fn until_open(visitor: &Node, at: SocketAddr) -> Result<()> {
    let start = Instant::now();
    while let Err(error) = ask(visitor, "turn", at) {
        if start.elapsed() > LIMIT {
            return Err(error);
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn table(visitor: &Node, visited: &[(&str, SocketAddr)], rounds: usize) -> Result<Table> {
    let mut table =
        Table::new(["subject", "MiB/s, 1 stream", "MiB/s, 8 streams", "1 byte to and fro beside a download, p50"]);
    let mut figures = vec![[Vec::new(), Vec::new(), Vec::new()]; visited.len()];
    for round in 1..=rounds {
        for ((name, at), figures) in visited.iter().zip(&mut figures) {
            eprintln!("round {round} of {rounds}: {name}");
            for (what, figures) in ["one", "eight", "beside"].into_iter().zip(figures) {
                match ask(visitor, what, *at) {
                    Ok(figure) => figures.push(figure),
                    Err(error) => eprintln!("{name}, {what}: {error:#}"),
                }
                // A visit blocks us; this is when Ctrl-C is heard.
                sleep(PAUSE).await;
            }
        }
    }
    for ((name, _), [one, eight, beside]) in visited.iter().zip(figures) {
        let rate = |figures| said(median(figures), |rate| format!("{:.1}", rate / MIB));
        let beside = said(median(beside), |seconds| format!("{:.0} ms", seconds * 1000.0));
        table.row([(*name).to_owned(), rate(one), rate(eight), beside]);
    }
    Ok(table)
}

fn said(figure: f64, text: impl Fn(f64) -> String) -> String {
    if figure.is_nan() { "failed".to_owned() } else { text(figure) }
}

/// The figure that a visitor on that machine comes back with.
pub(crate) fn ask(visitor: &Node, what: &str, at: SocketAddr) -> Result<f64> {
    let program = Program::new(std::env::current_exe()?).args([VISIT, what, &at.to_string()]);
    let said = visitor.run_program(&program, LIMIT)?.ok()?;
    said.trim().parse().with_context(|| format!("a visitor said {said:?}"))
}

/// What the visitor does on its machine.
pub(crate) async fn visit(arguments: &[String]) -> Result<()> {
    let [what, at] = arguments else { bail!("visit: what, and where?") };
    let at = at.parse()?;
    let figure = match what.as_str() {
        "turn" => PingPong::open(at).await?.turn().await?.as_secs_f64(),
        "one" => download(at, 1).await?,
        "eight" => download(at, 8).await?,
        "beside" => turn_beside_download(at).await?,
        other => bail!("visit: what is {other:?}?"),
    };
    println!("{figure}");
    Ok(())
}

async fn download(at: SocketAddr, streams: usize) -> Result<f64> {
    let mut download = Download::open(at, streams).await?;
    download.read_for(WARM_UP).await?;
    Ok(download.read_for(BULK).await?.per_second())
}

async fn turn_beside_download(at: SocketAddr) -> Result<f64> {
    let mut download = Download::open(at, 1).await?;
    download.read_for(WARM_UP).await?;
    let reading = tokio::spawn(async move { download.read_for(BULK + LIMIT).await });
    let turns = async { PingPong::open(at).await?.turns_for(BULK, PAUSE).await }.await;
    reading.abort();
    Ok(median(turns?.iter().map(Duration::as_secs_f64).collect()))
}
