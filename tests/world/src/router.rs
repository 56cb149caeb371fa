//! A NAT router, and what such boxes do to long-lived connections.
//!
//! It behaves like a home router or a carrier's NAT: from inside, everything out; from outside, only answers, the rest
//! is swallowed. It does not adopt a TCP connection it has not seen begin (`nf_conntrack_tcp_loose=0`, drop invalid),
//! so a mapping that is forgotten is really dead.

use std::net::IpAddr;
use std::ops::Deref;

use anyhow::{Result, bail};

use crate::faults::Fault;
use crate::node::Node;

/// A node that masquerades what comes from inside, on its uplink.
#[derive(Clone, Debug)]
pub struct Router {
    node: Node,
}

/// How inner ports become outer ports.
#[derive(Clone, Copy, Debug)]
enum Ports {
    Kept,
    Random,
}

impl Router {
    pub(crate) fn set_up(node: Node) -> Result<Router> {
        let router = Router { node };
        router.node.nft(FILTER)?;
        router.masquerade(Ports::Kept)?;
        router.node.run("echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose")?.ok()?;
        Ok(router)
    }

    /// Every UDP packet that would cross the router is swallowed.
    pub fn block_udp(&self) -> Result<Fault> {
        self.block("block_udp", "meta l4proto udp drop")
    }

    /// Only TCP to port 443 crosses the router, as in a strict company or hotel.
    pub fn only_tcp_443(&self) -> Result<Fault> {
        self.block("only_443", "tcp dport 443 accept\n tcp sport 443 accept\n drop")
    }

    /// Whatever matches these nft statements, like `tcp dport 443 reject`, for packets that cross the router.
    pub fn block_matching(&self, statements: &str) -> Result<Fault> {
        self.block("block_matching", statements)
    }

    /// Everything in the NAT's memory is gone: packets from outside to old mappings are swallowed, TCP packets from
    /// inside too; UDP from inside gets a new source port. (As after a reboot of the box; nothing to mend.)
    pub fn forget_mappings(&self) -> Result<()> {
        self.masquerade(Ports::Random)?;
        self.flush()
    }

    /// One UDP flow after another gets a new source port: mappings of UDP are forgotten, TCP stays.
    pub fn rebind_udp_ports(&self) -> Result<()> {
        self.masquerade(Ports::Random)?;
        let output = self.node.run("conntrack -D -p udp")?;
        // conntrack(8) answers 1 when there was nothing to delete.
        if !output.succeeded() && !output.stderr.contains("0 flow entries") {
            output.ok()?;
        }
        Ok(())
    }

    /// The NAT sends from another of its public addresses, as a carrier's pool does: all mappings are new, and the
    /// same flow comes from elsewhere. Mending goes back to the first address and forgets again.
    pub fn rebind_to(&self, address: IpAddr) -> Result<Fault> {
        if address.is_ipv6() {
            bail!("the NAT is for IPv4");
        }
        let owned =
            if self.node.addresses().contains(&address) { None } else { Some(self.node.add_addresses(&[address])?) };
        self.translate(&format!("snat to {address} fully-random"))?;
        self.flush()?;
        let router = self.clone();
        Ok(Fault::new(move || {
            router.masquerade(Ports::Kept)?;
            router.flush()?;
            owned.map_or(Ok(()), Fault::mend)
        }))
    }

    /// A UDP mapping lives only this long without a packet, in seconds (Linux: 30 once, 120 after answers).
    pub fn shorten_udp_mappings(&self, seconds: u32) -> Result<()> {
        let names = ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"];
        let lines = names.map(|name| format!("echo {seconds} >/proc/sys/net/netfilter/{name}"));
        self.node.run(&lines.join(" && "))?.ok().map(drop)
    }

    /// What the NAT remembers, one line per flow, as `conntrack -L` prints it.
    pub fn mappings(&self) -> Result<Vec<String>> {
        Ok(self.node.run("conntrack -L")?.ok()?.lines().map(str::to_owned).collect())
    }

    /// A forwarded port, as by hand or UPnP: TCP to `port` of the uplink goes to `inside`:`inside_port`.
    pub fn forward_tcp_port(&self, port: u16, inside: IpAddr, inside_port: u16) -> Result<Fault> {
        let table = format!("forward_{port}");
        let uplink = self.node.interface()?;
        self.node.nft(&format!(
            "table ip {table} {{
                chain incoming {{
                    type nat hook prerouting priority dstnat; policy accept;
                    iifname \"{uplink}\" tcp dport {port} dnat to {inside}:{inside_port}
                }}
            }}\n"
        ))?;
        let node = self.node.clone();
        Ok(Fault::new(move || node.nft(&format!("delete table ip {table}\n"))))
    }

    fn block(&self, table: &str, statements: &str) -> Result<Fault> {
        self.node.nft(&format!(
            "table inet {table} {{
                chain crossing {{
                    type filter hook forward priority filter - 10; policy accept;
                    {statements}
                }}
            }}\n"
        ))?;
        let (node, table) = (self.node.clone(), table.to_owned());
        Ok(Fault::new(move || node.nft(&format!("delete table inet {table}\n"))))
    }

    fn masquerade(&self, ports: Ports) -> Result<()> {
        self.translate(match ports {
            Ports::Kept => "masquerade",
            Ports::Random => "masquerade fully-random",
        })
    }

    fn translate(&self, statement: &str) -> Result<()> {
        let uplink = self.node.interface()?;
        self.node.nft(&format!(
            "table ip nat {{
                chain leaving {{ type nat hook postrouting priority srcnat; policy accept; }}
            }}
            flush chain ip nat leaving
            add rule ip nat leaving oifname \"{uplink}\" {statement}\n"
        ))
    }

    fn flush(&self) -> Result<()> {
        self.node.run("conntrack -F")?.ok().map(drop)
    }
}

impl Deref for Router {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

const FILTER: &str = "
table inet firewall {
    chain crossing {
        type filter hook forward priority filter; policy drop;
        ct state invalid drop
        ct state established,related accept
        iifname \"lan*\" accept
        ct status dnat accept
    }
    chain incoming {
        type filter hook input priority filter; policy accept;
        ct state established,related accept
        iifname \"wan\" meta l4proto { tcp, udp } drop
    }
}
";
