//! One machine of the world: a network namespace, a mount namespace, an uplink.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::holder::{Entry, expect_ready};
use crate::names::Names;
use crate::port::Port;
use crate::process::{Process, child_of};
use crate::program::{Output, Program};
use crate::requirements::search_path;
use crate::traffic::Traffic;
use crate::wait::until;

const TO_RUN: Duration = Duration::from_secs(60);

/// Cheap to clone; all clones are the same machine.
#[derive(Clone, Debug)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    entry: Entry,
    /// `nsenter`, waiting for the process that keeps the namespaces. Reaped by `Drop`.
    keeper: Mutex<Child>,
    folder: PathBuf,
    logs: AtomicUsize,
    names: Names,
    uplink: Mutex<Option<(Port, Node)>>,
}

impl Node {
    /// Runs a shell line in the node and waits for its end, at most 60 s.
    pub fn run(&self, line: &str) -> Result<Output> {
        self.run_program(&Program::shell(line), TO_RUN)
    }

    /// Runs a program in the node and waits for its end. Past the limit it is killed, and that is an error.
    pub fn run_program(&self, program: &Program, limit: Duration) -> Result<Output> {
        let mut command = self.inner.entry.command()?;
        program.append_to(&mut command)?;
        self.finish(command, "", limit)
    }

    /// Starts a program that stays. Its standard output and error go to one file, see [`Process::log`].
    pub fn spawn(&self, program: &Program) -> Result<Process> {
        let mut command = self.inner.entry.command()?;
        program.append_to(&mut command)?;
        let log = self.next_file(&program.name());
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let name = format!("{} on {}", program.name(), self.name());
        let outside = command.spawn().with_context(|| name.clone())?;
        Process::watch(name, outside, log)
    }

    /// A prepared `Command` that will run `program` in the node, for what `run` and `spawn` do not cover.
    pub fn command(&self, program: &Program) -> Result<Command> {
        let mut command = self.inner.entry.command()?;
        program.append_to(&mut command)?;
        Ok(command)
    }

    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// An empty folder of this node alone, for its files; removed with the world.
    pub fn folder(&self) -> PathBuf {
        self.inner.folder.clone()
    }

    /// The node's addresses on its uplink, in the order they were given.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.uplink().map(|(port, _)| port.addresses).unwrap_or_default()
    }

    /// The first IPv4 address on the uplink.
    pub fn ip(&self) -> Result<IpAddr> {
        self.addresses().into_iter().find(IpAddr::is_ipv4).with_context(|| format!("{} has no IPv4", self.name()))
    }

    /// The name of the interface of the uplink.
    pub fn interface(&self) -> Result<String> {
        Ok(self.uplink()?.0.interface)
    }

    /// What the uplink has carried so far.
    pub fn traffic(&self) -> Result<Traffic> {
        self.traffic_of(&self.interface()?)
    }

    /// What one interface has carried so far.
    pub fn traffic_of(&self, interface: &str) -> Result<Traffic> {
        Traffic::parse(&self.run(&format!("ip -s -j link show dev {interface}"))?.ok()?)
    }

    /// What `name` means here from now on; no address at all: the name is unknown. [`crate::World::point`] tells all.
    pub fn point(&self, name: &str, addresses: &[IpAddr]) -> Result<()> {
        self.inner.names.point(name, addresses)
    }

    /// Names that are not in the hosts file are asked of this server, port 53. At first nobody answers.
    pub fn ask_names_of(&self, server: IpAddr) -> Result<()> {
        self.inner.names.ask(server)
    }

    /// The process that keeps the namespaces, for tools that name a namespace as /proc/PID/ns/net.
    pub fn pid(&self) -> u32 {
        self.inner.entry.pid
    }

    /// Like [`Node::command`], for programs that are told process ids as we see them.
    pub(crate) fn command_with_our_pids(&self, program: &Program) -> Result<Command> {
        let mut command = self.inner.entry.command_with_our_pids()?;
        program.append_to(&mut command)?;
        Ok(command)
    }

    pub(crate) fn uplink(&self) -> Result<(Port, Node)> {
        let uplink = self.inner.uplink.lock().expect("no writer panics").clone();
        uplink.with_context(|| format!("{} has no uplink", self.name()))
    }

    pub(crate) fn set_uplink(&self, port: Port, far: Node) {
        *self.inner.uplink.lock().expect("no writer panics") = Some((port, far));
    }

    /// Feeds a batch to `ip`. It stops at the first line that fails.
    pub(crate) fn ip_batch(&self, batch: &str) -> Result<()> {
        let mut command = self.inner.entry.command_with_our_pids()?;
        command.args(["ip", "-batch", "-"]);
        self.finish(command, batch, TO_RUN)?.ok().with_context(|| format!("ip on {}:\n{batch}", self.name()))?;
        Ok(())
    }

    /// Feeds a ruleset to `nft`: one transaction.
    pub(crate) fn nft(&self, rules: &str) -> Result<()> {
        let mut command = self.inner.entry.command_with_our_pids()?;
        command.args(["nft", "-f", "-"]);
        self.finish(command, rules, TO_RUN)?.ok().with_context(|| format!("nft on {}:\n{rules}", self.name()))?;
        Ok(())
    }

    fn finish(&self, mut command: Command, input: &str, limit: Duration) -> Result<Output> {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let said = words.rsplit(|word| word == "--").next().unwrap_or_default().join(" ");
        let (out, err) = (self.next_file("stdout"), self.next_file("stderr"));
        command.stdin(Stdio::piped()).stdout(File::create(&out)?).stderr(File::create(&err)?);
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| said.clone())?;
        // A command that does not read its input may be gone already; its exit status tells.
        let _not_read = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        let ended = until(limit, "the command ends", || Ok(child.try_wait()?.is_some()));
        if ended.is_err() {
            child.kill()?;
        }
        let status = child.wait()?;
        let read = |path: &PathBuf| -> Result<String> { Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned()) };
        let output = Output { status, stdout: read(&out)?, stderr: read(&err)?, took: start.elapsed(), command: said };
        if ended.is_err() {
            bail!("`{}` took more than {limit:?}:\n{}{}", output.command, output.stdout, output.stderr);
        }
        Ok(output)
    }

    fn next_file(&self, name: &str) -> PathBuf {
        let number = self.inner.logs.fetch_add(1, Ordering::Relaxed);
        self.inner.folder.with_file_name(format!("{}-{number}-{name}", self.name()))
    }
}

/// A node whose process has been started and not yet waited for, so that all nodes of a world start at once.
pub(crate) struct Starting {
    name: String,
    world: Entry,
    keeper: Child,
    folder: PathBuf,
    names: Names,
}

impl Starting {
    pub(crate) fn start(name: &str, world: &Entry, world_folder: &std::path::Path) -> Result<Starting> {
        let names = Names::write_in(&world_folder.join(format!("{name}-names")))?;
        let folder = world_folder.join(name);
        fs::create_dir_all(&folder)?;
        let script =
            format!("set -e; {}; {SETTINGS} ip link set lo up; echo ready; exec sleep infinity", names.mount_script());
        let mut command = world.command()?;
        command.args(["unshare", "--net", "--mount", "--propagation", "private", "--", "sh", "-c", &script]);
        command.env("PATH", search_path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let keeper = command.spawn().with_context(|| format!("node {name}"))?;
        Ok(Starting { name: name.to_owned(), world: world.clone(), keeper, folder, names })
    }

    pub(crate) fn finish(mut self) -> Result<Node> {
        expect_ready(&mut self.keeper).with_context(|| format!("node {}", self.name))?;
        let pid = child_of(self.keeper.id())?.with_context(|| format!("node {} is gone", self.name))?;
        let inner = Inner {
            name: self.name,
            entry: self.world.for_process(pid),
            keeper: Mutex::new(self.keeper),
            folder: self.folder,
            logs: AtomicUsize::new(0),
            names: self.names,
            uplink: Mutex::new(None),
        };
        Ok(Node { inner: Arc::new(inner) })
    }
}

/// No waiting for duplicate addresses, no addresses but the given ones (each would chatter), forgiving routes.
const SETTINGS: &str = "\
    for place in all default; do \
        echo 0 >/proc/sys/net/ipv6/conf/$place/accept_dad; \
        echo 0 >/proc/sys/net/ipv6/conf/$place/accept_ra; \
        echo 1 >/proc/sys/net/ipv6/conf/$place/addr_gen_mode; \
        echo 0 >/proc/sys/net/ipv4/conf/$place/rp_filter; \
    done;";

impl Drop for Inner {
    fn drop(&mut self) {
        // The world is gone when its last node is, so this does not wait. If a caller kept a node longer than the
        // world, the process has ended as well.
        let mut keeper = self.keeper.lock().expect("no writer panics");
        let _status = keeper.kill().and_then(|()| keeper.wait());
    }
}
