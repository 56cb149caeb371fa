//! miniupnpd on the home router, and a program of the device that asks it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use doorward_world::{Node, Process, Program, World, until};

use crate::talk::SOON;

/// The home's, which nobody owns in a world of namespaces.
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    All,
    /// PCP answers too, in miniupnpd; here it is kept from arriving.
    NatPmpOnly,
    NoUpnp,
    UpnpOnly,
}

pub(crate) struct Upnpd {
    process: Process,
    node: Node,
    speaks: Speaks,
    address: Option<IpAddr>,
    started: Instant,
}

/// A router that restarts in its first seconds cannot be told from one that goes on (RFC 6887, 8.5).
const YOUTH: Duration = Duration::from_secs(8);

/// The chains that miniupnpd fills (its package leaves them to the owner), empty.
const CHAINS: &str = "
export XTABLES_LOCKFILE=$PWD/xtables.lock
for place in 'nat PREROUTING MINIUPNPD -i' 'nat POSTROUTING MINIUPNPD-POSTROUTING -o' 'filter FORWARD MINIUPNPD -i'; do
    set -- $place
    iptables-legacy -t $1 -N $3 2>/dev/null && iptables-legacy -t $1 -A $2 $4 wan -j $3
    iptables-legacy -t $1 -F $3 || exit 1
done
nft 'table inet no_pcp {}; delete table inet no_pcp'
";

/// The first byte of a PCP message is its version, 2; of NAT-PMP 0.
const NO_PCP: &str = "
table inet no_pcp {
    chain incoming { type filter hook input priority -10; policy accept; udp dport 5351 @th,64,8 2 drop; }
}
";

impl Upnpd {
    pub(crate) fn start(world: &World, speaks: Speaks) -> Result<Upnpd> {
        Upnpd::start_claiming(world, speaks, ADDRESS)
    }

    /// It tells this external address, whatever it has.
    pub(crate) fn start_claiming(world: &World, speaks: Speaks, address: IpAddr) -> Result<Upnpd> {
        Upnpd::start_with(world, speaks, Some(address))
    }

    /// It tells the address that it has.
    pub(crate) fn start_honest(world: &World, speaks: Speaks) -> Result<Upnpd> {
        Upnpd::start_with(world, speaks, None)
    }

    fn start_with(world: &World, speaks: Speaks, address: Option<IpAddr>) -> Result<Upnpd> {
        let node: Node = (*world.home_router).clone();
        let folder = node.folder();
        node.run_program(&Program::shell(CHAINS).in_folder(&folder), SOON)?.ok()?;
        if speaks == Speaks::NatPmpOnly {
            node.run(&format!("nft '{NO_PCP}'"))?.ok()?;
        }
        let yes_no = |yes: bool| if yes { "yes" } else { "no" };
        let file = folder.join("miniupnpd.conf");
        let claimed = address.map(|address| format!("ext_ip={address}\n")).unwrap_or_default();
        let settings = format!(
            "ext_ifname=wan\n{claimed}listening_ip=lan\nport=0\nenable_upnp={}\nenable_natpmp={}\n\
             secure_mode=yes\nsystem_uptime=no\nmin_lifetime=10\n\
             max_lifetime=86400\nuuid=00000000-0000-0000-0000-000000000077\nallow 1-65535 192.168.77.0/24 1-65535\n",
            yes_no(matches!(speaks, Speaks::All | Speaks::UpnpOnly)),
            yes_no(speaks != Speaks::UpnpOnly),
        );
        fs::write(&file, settings)?;
        let pid = folder.join("miniupnpd.pid");
        // Of one that was killed: it would not start beside that.
        fs::write(&pid, "")?;
        let mut process =
            node.spawn(&Program::new("/usr/sbin/miniupnpd").args(["-d", "-f"]).args([file]).args(["-P"]).args([pid]))?;
        process.wait_for_line("istening", SOON)?;
        Ok(Upnpd { process, node, speaks, address, started: Instant::now() })
    }

    /// As after a loss of power: no rule is left, and its clock begins anew.
    pub(crate) fn start_again(mut self, world: &World) -> Result<Upnpd> {
        self.process.kill()?;
        self.node.run("conntrack -F")?.ok()?;
        Upnpd::start_with(world, self.speaks, self.address)
    }

    /// Its next life can be told from this one by their clocks.
    pub(crate) fn is_older_than_clocks_may_differ(&self) -> Result<()> {
        until(2 * YOUTH, "the router has run for a while", || Ok(self.started.elapsed() > YOUTH)).map(drop)
    }

    /// What is mapped now, as the kernel has it.
    pub(crate) fn rules(&self) -> Result<Vec<String>> {
        let lock = self.node.folder().join("xtables.lock");
        let list = format!("XTABLES_LOCKFILE={} iptables-legacy -t nat -S MINIUPNPD", lock.display());
        let text = self.node.run(&list)?.ok()?;
        Ok(text.lines().filter(|line| line.starts_with("-A")).map(str::to_owned).collect())
    }

    /// Somebody else of the LAN has a port.
    pub(crate) fn map_by_upnpc(&self, node: &Node, port: u16) -> Result<Vec<String>> {
        node.run(&format!("upnpc -a {} 9000 {port} tcp 600", node.ip()?))?.ok()?;
        self.rules()
    }
}

/// Our side.
pub(crate) struct Asker {
    pub(crate) process: Process,
}

impl Asker {
    pub(crate) fn start(world: &World, wishes: &[&str]) -> Result<Asker> {
        Asker::start_seen_from(world, "-", wishes)
    }

    pub(crate) fn start_seen_from(world: &World, seen: &str, wishes: &[&str]) -> Result<Asker> {
        let ledger = world.device.folder().join("mappings.json");
        let program =
            Program::new(env!("CARGO_BIN_EXE_ask-router")).args([ledger]).args(["600", "2", seen]).args(wishes);
        Ok(Asker { process: world.device.spawn(&program)? })
    }

    /// It said so, or says so in time.
    pub(crate) fn says(&mut self, text: &str, limit: Duration) -> Result<String> {
        self.process.wait_for_line(text, limit)
    }

    /// It withdraws everything and ends.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let status = self.process.stop(2 * SOON)?;
        let log = self.process.log();
        let last = log.lines().last().context("it said something")?;
        ensure!(status.success() && last == "stopped, leftovers 0", "{last}");
        Ok(())
    }
}
