//! Beside programs that open a port for who knocked: what becomes of an open connection when the time is over.

mod router;
mod talk;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use doorward_world::{Node, Process, Program, Shape, World, addresses as at, until};
use router::steps::{SHORT, ended_in_time, goes_on, home, is_dead, is_silence, opened};
use router::{Daemon, FILE};
use talk::{Kind, SOON, call_at, serve};

/// As their own manuals have it: what is established passes, the rest is dropped.
const FIREWALL: &str = "\
iptables -P INPUT DROP && iptables -A INPUT -i lo -j ACCEPT \
&& iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";

/// A port of the router itself, which its firewall shuts, and a service on it.
fn shut_router() -> Result<(World, Process)> {
    let world = World::build(Shape::home())?;
    world.home_router.run("nft flush ruleset")?.ok()?;
    world.home_router.run(FIREWALL)?.ok()?;
    let server = serve(&world.home_router, Kind::Tcp, 22)?;
    is_silence(&world.visitor, &home(), 22)?;
    Ok((world, server))
}

fn is_open(world: &World) -> bool {
    is_silence(&world.visitor, &home(), 22).is_err()
}

/// What becomes of a connection, and of the port when the daemon is killed; knockd's has a process for each knock that shuts it.
fn outcome(world: &World, mut daemon: Process, stays_open: bool, knock: impl Fn() -> Result<()>) -> Result<String> {
    let open = || until(SOON, "the port is open", || knock().map(|()| is_open(world)));
    open()?;
    let mut caller = call_at(&world.visitor, Kind::Tcp, &home(), 22)?;
    goes_on(&mut caller)?;
    until(SOON * 2, "the port is shut again", || Ok(!is_open(world)))?;
    let shut = Instant::now();
    thread::sleep(Duration::from_secs(3));
    goes_on(&mut caller)?;
    let longer = shut.elapsed().as_secs();
    open()?;
    daemon.kill()?;
    thread::sleep(SHORT + Duration::from_secs(3));
    ensure!(is_open(world) == stays_open, "{stays_open}: the port of a dead daemon");
    let port = if stays_open { "stays open" } else { "is shut" };
    Ok(format!("lives on {longer} s later; its daemon dead, the port {port}"))
}

fn write(node: &Node, name: &str, text: &str) -> Result<String> {
    let path = node.folder().join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(path.display().to_string())
}

fn beside_fwknop() -> Result<String> {
    let (world, _server) = shut_router()?;
    let (key, hmac) = ("RG9vcndhcmQga25vY2tzLCB0b28=", "VGhpcyBvbmUgc2lnbnMgaXQ=");
    let router = &world.home_router;
    let folder = router.folder().display().to_string();
    let settings = write(
        router,
        "fwknopd.conf",
        &format!("PCAP_INTF wan;\nFWKNOP_RUN_DIR {folder};\nFWKNOP_PID_FILE {folder}/fwknopd.pid;\n"),
    )?;
    let access = format!(
        "SOURCE ANY\nOPEN_PORTS tcp/22\nKEY_BASE64 {key}\nHMAC_KEY_BASE64 {hmac}\nFW_ACCESS_TIMEOUT {}\n",
        SHORT.as_secs()
    );
    let access = write(router, "access.conf", &access)?;
    let mut daemon = router.spawn(&Program::new("/usr/sbin/fwknopd").args(["-f", "-c", &settings, "-a", &access]))?;
    daemon.wait_for_line("Starting fwknopd main event loop", SOON)?;
    let asking = write(&world.visitor, "fwknoprc", "")?;
    let knock = format!(
        "fwknop --rc-file {asking} -A tcp/22 -a {} -D {} --key-base64-rijndael {key} --use-hmac --key-base64-hmac {hmac}",
        at::VISITOR[0],
        home()
    );
    outcome(&world, daemon, true, || world.visitor.run(&knock)?.ok().map(drop))
}

fn beside_knockd() -> Result<String> {
    let (world, _server) = shut_router()?;
    let rule = "INPUT -s %IP% -p tcp --dport 22 -j ACCEPT";
    let settings = format!(
        "[options]\n\tlogfile = /dev/stdout\n[open]\n\tsequence = 7000,8000,9000\n\tseq_timeout = 10\n\ttcpflags = syn\n\
         \tstart_command = /usr/sbin/iptables -I {rule}\n\tcmd_timeout = {}\n\tstop_command = /usr/sbin/iptables -D {rule}\n",
        SHORT.as_secs()
    );
    let router = &world.home_router;
    let settings = write(router, "knockd.conf", &settings)?;
    let daemon = router.spawn(&Program::new("/usr/sbin/knockd").args(["-i", "wan", "-c", &settings]))?;
    let knock = format!("knock -d 50 {} 7000 8000 9000", home());
    outcome(&world, daemon, false, || world.visitor.run(&knock)?.ok().map(drop))
}

/// `lines`: of the router's file.
fn ours(lines: &str) -> Result<String> {
    let world = World::build(Shape::home())?;
    let mut daemon = Daemon::start_with(&world, &format!("{lines}\n{FILE}"))?;
    let (start, _server, mut caller) = opened(&world, &daemon, SHORT)?;
    // They live, and ours does not.
    daemon.process.kill()?;
    caller.wait_for_line("Connection reset", SOON)?;
    let late = start.elapsed().checked_sub(SHORT).context("it ended too early")?;
    ended_in_time(start, SHORT)?;
    is_dead(&mut caller)?;
    is_silence(&world.visitor, &home(), 40022)?;
    Ok(format!("reset after {} ms, its daemon dead", late.as_millis()))
}

#[test]
fn an_open_connection_outlives_its_time_by_theirs_and_not_by_ours() -> Result<()> {
    let rows = [
        ("fwknopd", beside_fwknop().context("fwknopd")?),
        ("knockd", beside_knockd().context("knockd")?),
        ("doorward router, nftables", ours("")?),
        ("doorward router, iptables", ours("backend = \"iptables\"")?),
    ];
    for (program, outcome) in rows {
        println!("world: | {program} | {outcome} |");
    }
    Ok(())
}
