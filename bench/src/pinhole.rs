//! A pinhole with ten thousand sessions beside it, and the same forward written by hand: pairs of downloads between the
//! machines of a world, whose home router does both.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use doorward_core::pinhole::{Answer, Pinhole, PinholeId, Protocol, State, Translated, Way, Wishes};
use doorward_world::{Node, Process, Program, Shape, World, addresses, built};

use crate::figures::median;
use crate::line::ask;
use crate::process::Running;
use crate::report::{Table, load};
use crate::site::{Machine, free_port};

pub(crate) const SESSIONS: usize = 10_000;
const ROUNDS: usize = 10;
const LIMIT: Duration = Duration::from_secs(60);
const LENGTH: Duration = Duration::from_secs(3600);
const BY_HAND: u16 = 2222;
const PINHOLE: u16 = 40_000;
const MIB: f64 = (1u64 << 20) as f64;

pub(crate) async fn run(rounds: Option<usize>) -> Result<()> {
    let rounds = rounds.unwrap_or(ROUNDS);
    let world = World::build(Shape::home())?;
    let folder = tempfile::Builder::new().prefix("doorward-bench").tempdir()?;
    let target = SocketAddr::new(addresses::DEVICE[0], free_port()?);
    let mut command = Machine::Node(world.device.clone()).command(std::env::current_exe()?)?;
    command.args(["target", &target.to_string()]);
    let mut backend = Running::start("target", command, folder.path())?;
    backend.wait_for("ready", LIMIT).await?;

    world.home_router.forward_tcp_port(BY_HAND, target.ip(), target.port())?.stays();
    let socket = folder.path().join("router.sock");
    let _daemon = start_daemon(&world.home_router, folder.path(), &socket, target)?;
    open(&socket, target)?;

    let at = |port| SocketAddr::new(addresses::HOME[0], port);
    let (mut by_hand, mut pinhole, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        // Who is first takes turns.
        let order = if round % 2 == 0 { [BY_HAND, PINHOLE] } else { [PINHOLE, BY_HAND] };
        let mut rates = [0.0; 2];
        for port in order {
            rates[usize::from(port == PINHOLE)] = ask(&world.visitor, "one", at(port))?;
        }
        let [hand, ours] = rates;
        by_hand.push(hand);
        pinhole.push(ours);
        ratios.push(ours / hand);
    }
    print(by_hand, pinhole, ratios);
    Ok(())
}

fn print(by_hand: Vec<f64>, pinhole: Vec<f64>, ratios: Vec<f64>) {
    let (low, high) = ratios.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), one| (low.min(*one), high.max(*one)));
    let rate = |figures| format!("{:.0} MiB/s", median(figures) / MIB);
    println!("{} live sessions, one stream, {} pairs\n", SESSIONS + 1, ratios.len());
    let mut table = Table::new(["forward by hand", "pinhole", "ratio, median", "lowest", "highest"]);
    let spread = [low, high].map(|ratio| format!("{ratio:.3}"));
    let [low, high] = spread;
    table.row([rate(by_hand), rate(pinhole), format!("{:.3}", median(ratios)), low, high]);
    table.print();
    println!("Load at the end {}.", load());
}

fn start_daemon(router: &Node, folder: &Path, socket: &Path, target: SocketAddr) -> Result<Process> {
    let file: PathBuf = folder.join("router.toml");
    let text = format!(
        "user = \"root\"\nagent = \"root\"\nbackend = \"nftables\"\npublic-ports = [\"40000-60000\"]\n[[allow]]\n\
         target = \"{}\"\nports = [{}]\nlongest-seconds = {}\n",
        target.ip(),
        target.port(),
        LENGTH.as_secs()
    );
    fs::write(&file, text)?;
    let program = Program::new(built("doorward")?).args(["--log", "info", "router"]);
    let program = program.args(["--config".into(), file]).args(["--socket".into(), socket.to_owned()]);
    let mut daemon = router.spawn(&program)?;
    daemon.wait_for_line("listening for the agent", LIMIT)?;
    Ok(daemon)
}

/// One for the visitor, and ten thousand for others.
fn open(socket: &Path, target: SocketAddr) -> Result<()> {
    let (SocketAddr::V4(target), IpAddr::V4(visitor)) = (target, addresses::VISITOR[0]) else {
        bail!("the world has no IPv4")
    };
    let other = |n: usize| Ipv4Addr::from_bits(Ipv4Addr::new(203, 0, 0, 1).to_bits() + n as u32);
    let sources = [visitor].into_iter().chain((0..SESSIONS).map(other));
    let pinhole = |(n, source): (usize, Ipv4Addr)| -> Result<Pinhole> {
        let public_port = PINHOLE + u16::try_from(n)?;
        let translated = Translated { public_port, target, sources: [source].into(), neighbours: false };
        let way = Way { protocol: Protocol::Tcp, translated: Some(translated), direct: None };
        Ok(Pinhole { id: PinholeId::parse(&format!("s{n}"))?, remaining: LENGTH, way })
    };
    let pinholes = sources.enumerate().map(pinhole).collect::<Result<_>>()?;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Wishes { pinholes }.write(&mut stream)?;
    let answer = Answer::read(&mut stream).context("the router's daemon did not answer")?;
    let ready = answer.pinholes.iter().filter(|told| told.state == State::Ready).count();
    ensure!(ready == SESSIONS + 1, "{ready} of {} sessions are open: {:?}", SESSIONS + 1, answer.fault);
    Ok(())
}
