//! Worlds do not clash, and nothing of a world outlives it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, panic, thread};

use anyhow::{Context, Result, ensure};
use doorward_world::{Program, Shape, World, built, until};

const SOON: Duration = Duration::from_secs(10);
const VICTIM: &str = "DOORWARD_WORLD_VICTIM";

#[test]
fn worlds_with_the_same_addresses_run_side_by_side() -> Result<()> {
    let worlds: Vec<_> = (0..4).map(|number| thread::spawn(move || greet_in_own_world(number))).collect();
    worlds.into_iter().try_for_each(|world| world.join().expect("no panic"))
}

fn greet_in_own_world(number: u8) -> Result<()> {
    let start = Instant::now();
    let world = World::build(Shape::home().behind_carrier_nat().with_second_device())?;
    println!("world {number} built in {:?}", start.elapsed());
    let listen = format!("socat -d -d TCP4-LISTEN:80,fork,reuseaddr SYSTEM:'echo world {number}'");
    let mut gateway = world.gateway.spawn(&Program::shell(&format!("exec {listen}")))?;
    gateway.wait_for_line("listening on", SOON)?;
    for _ in 0..10 {
        let heard = world.device.run("socat -u TCP4:gateway.example:80,connect-timeout=5 -")?.ok()?;
        ensure!(heard == format!("world {number}\n"), "world {number} heard {heard}");
    }
    Ok(())
}

#[test]
fn nothing_is_left_of_a_world_not_even_a_program_that_ran_away() -> Result<()> {
    let before = own_interfaces()?;
    let world = World::build(Shape::home().behind_carrier_nat().with_hidden_visitor())?;
    let traces = Traces::of(&world)?;
    ensure!(own_interfaces()? == before, "the machine itself got an interface");
    drop(world);
    traces.are_gone()
}

#[test]
fn nothing_is_left_after_a_panic() -> Result<()> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let world = World::build(Shape::home()).unwrap();
        sender.send(Traces::of(&world).unwrap()).unwrap();
        panic!("wanted");
    }));
    ensure!(outcome.is_err());
    receiver.recv()?.are_gone()
}

#[test]
fn nothing_is_left_when_the_test_itself_is_killed() -> Result<()> {
    if let Some(report) = env::var_os(VICTIM) {
        return be_a_victim(Path::new(&report));
    }
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report");
    let mut victim = Command::new(env::current_exe()?)
        .args(["--exact", "nothing_is_left_when_the_test_itself_is_killed"])
        .env(VICTIM, &report)
        .stdout(Stdio::null())
        .spawn()?;
    until(Duration::from_secs(30), "the victim has built its world", || Ok(report.exists()))?;
    victim.kill()?;
    victim.wait()?;
    let traces = Traces::read(&fs::read_to_string(&report)?)?;
    traces.processes_are_gone()?;
    // Files cannot be removed by a process that was killed.
    Ok(fs::remove_dir_all(traces.folder.parent().context("the world's folder")?)?)
}

fn be_a_victim(report: &Path) -> Result<()> {
    let world = World::build(Shape::home())?;
    let unfinished = report.with_extension("unfinished");
    fs::write(&unfinished, Traces::of(&world)?.written())?;
    fs::rename(unfinished, report)?;
    thread::sleep(Duration::from_secs(60));
    anyhow::bail!("nobody killed the victim")
}

#[test]
fn an_ordinary_user_can_build_a_world() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return greet_in_own_world(0);
    }
    // Root tries it as somebody else, with copies in a folder that everybody may read.
    let folder = tempfile::Builder::new().permissions(readable()).tempdir()?;
    let test = folder.path().join("lifetime");
    fs::copy(env::current_exe()?, &test)?;
    fs::copy(built("slow-line")?, folder.path().join("slow-line"))?;
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&test)
        .args(["--exact", "an_ordinary_user_can_build_a_world", "--nocapture"])
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains("1 passed"), "{said}");
    Ok(())
}

fn readable() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

/// What could be left of a world.
struct Traces {
    pids: Vec<u32>,
    folder: PathBuf,
}

impl Traces {
    /// Besides the nodes' keepers: a program, and a daemon that left its session and parent.
    fn of(world: &World) -> Result<Traces> {
        let mut program = world.device.spawn(&Program::new("sleep").args(["1000"]))?;
        let daemon = "setsid -f sh -c 'readlink /proc/self/ns/pid; exec sleep 1234'; sleep 1000";
        let mut parent = world.gateway.spawn(&Program::shell(daemon))?;
        parent.wait_for_line("pid:[", SOON)?;
        let space = fs::read_link(format!("/proc/{}/ns/pid", world.device.pid()))?;
        let mut pids: Vec<u32> = world.nodes().iter().map(|node| node.pid()).collect();
        pids.push(program.pid()?);
        pids.extend(
            all_processes()?
                .into_iter()
                .filter(|pid| fs::read_link(format!("/proc/{pid}/ns/pid")).ok().as_ref() == Some(&space)),
        );
        pids.sort_unstable();
        pids.dedup();
        // keeper of each node, PID 1 and its cat, the program, the daemon and its parent with its sleep
        ensure!(pids.len() >= world.nodes().len() + 6, "{pids:?}");
        let folder = world.device.folder();
        program.kill()?;
        parent.kill()?;
        Ok(Traces { pids, folder })
    }

    fn are_gone(&self) -> Result<()> {
        self.processes_are_gone()?;
        ensure!(!self.folder.exists(), "{} is left", self.folder.display());
        Ok(())
    }

    fn processes_are_gone(&self) -> Result<()> {
        let took = until(SOON, "all processes are gone", || {
            Ok(!self.pids.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()))
        })?;
        println!("{} processes gone after {took:?}", self.pids.len());
        Ok(())
    }

    fn written(&self) -> String {
        let pids: Vec<_> = self.pids.iter().map(u32::to_string).collect();
        format!("{}\n{}", pids.join(" "), self.folder.display())
    }

    fn read(text: &str) -> Result<Traces> {
        let (pids, folder) = text.split_once('\n').context("two lines")?;
        let pids = pids.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Traces { pids, folder: PathBuf::from(folder) })
    }
}

fn all_processes() -> Result<Vec<u32>> {
    let names = fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
}

fn own_interfaces() -> Result<Vec<String>> {
    let lines = fs::read_to_string("/proc/net/dev")?;
    Ok(lines.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect())
}
