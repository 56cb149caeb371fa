//! Our table, and the batches that change it.
//!
//! The first packet of a connection is looked up by source and port and marks the connection with its session
//! (`arriving`). By the mark it is led to its target (`translating`) and masked (`masking`). Every later packet, either
//! way, must find the mark alive (`ending`): TCP is reset, the rest dropped, by the kernel's own clock.

use crate::elements::Element;
use crate::firewall::TAG;
use doorward_core::pinhole::MarkBits;
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

pub(crate) const NAME: &str = "doorward";
/// One command's elements; a line of a whole megabyte helps nobody who looks for a mistake.
const AT_ONCE: usize = 500;

/// What the table's rules depend on.
#[derive(Clone, Debug)]
pub(crate) struct Structure {
    pub(crate) bits: MarkBits,
    pub(crate) lan: Vec<Ipv4Net>,
}

impl Structure {
    /// `arriving` comes before other tools mark connections: it writes whole marks. Replaces the table, whatever was in it.
    fn text(&self) -> String {
        let (mask, flag) = (format!("{:#010x}", self.bits.mask()), format!("{:#010x}", self.bits.flag()));
        let lan = self.lan.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let lan = if lan.is_empty() { lan } else { format!("elements = {{ {lan} }}") };
        format!(
            "add table inet {NAME}
delete table inet {NAME}
table inet {NAME} {{
    set lan {{ type ipv4_addr; flags interval; auto-merge; {lan} }}
    set live {{ type mark; flags timeout; }}
    set masked {{ type mark; flags timeout; }}
    map targets {{ type mark : ipv4_addr . inet_service; flags timeout; }}
    map visitors {{ type inet_proto . ipv4_addr . inet_service : mark; flags timeout; }}
    map neighbours {{ type inet_proto . inet_service : mark; flags timeout; }}
    map sites {{ type ipv6_addr . inet_proto . ipv6_addr . inet_service : mark; flags timeout; }}
    chain arriving {{
        type filter hook prerouting priority -190; policy accept;
        ct state != new accept
        ct mark != 0 accept
        meta l4proto != {{ 6, 17 }} accept
        fib daddr type local ct mark set meta l4proto . ip saddr . th dport map @visitors accept
        fib daddr type local ip saddr @lan ct mark set meta l4proto . th dport map @neighbours accept
        ct mark set (ip6 saddr & ffff:ffff:ffff:ffff::) . meta l4proto . ip6 daddr . th dport map @sites
    }}
    chain translating {{
        type nat hook prerouting priority -110; policy accept;
        ct mark & {flag} == {flag} meta l4proto {{ 6, 17 }} dnat ip to ct mark & {mask} map @targets
    }}
    chain ending {{
        ct mark & {mask} @live meta mark set meta mark | {flag} accept
        meta l4proto 6 reject with tcp reset
        drop
    }}
    chain passing {{
        type filter hook forward priority -10; policy accept;
        ct mark & {flag} == {flag} jump ending
    }}
    chain entering {{
        type filter hook input priority -10; policy accept;
        ct mark & {flag} == {flag} jump ending
    }}
    chain leaving {{
        type filter hook output priority -10; policy accept;
        tcp flags & rst == rst accept
        ct mark & {flag} == {flag} jump ending
    }}
    chain masking {{
        type nat hook postrouting priority 90; policy accept;
        ct mark & {flag} == {flag} ip saddr @lan masquerade
        ct mark & {mask} @masked masquerade
    }}
}}
"
        )
    }
}

pub(crate) fn drop_table() -> String {
    format!("add table inet {NAME}\ndelete table inet {NAME}\n")
}

/// One transaction. `anew`: the table is made first, and `gone` is gone with what was there.
pub(crate) fn batch(anew: Option<&Structure>, gone: &[Element], come: &[(Element, Duration)]) -> String {
    let mut text = anew.map(Structure::text).unwrap_or_default();
    if anew.is_none() {
        // An element that ended by itself meanwhile cannot be deleted; one that was just added can.
        command(&mut text, "add", gone.iter().map(|element| (element, entry(element, None))));
        command(&mut text, "delete", gone.iter().map(|element| (element, entry(element, None))));
    }
    command(&mut text, "add", come.iter().map(|(element, left)| (element, entry(element, Some(*left)))));
    text
}

fn command<'e>(text: &mut String, verb: &str, entries: impl Iterator<Item = (&'e Element, String)>) {
    let mut by_set: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (element, entry) in entries {
        by_set.entry(element.set()).or_default().push(entry);
    }
    for (set, entries) in by_set {
        for entries in entries.chunks(AT_ONCE) {
            let _infallible = writeln!(text, "{verb} element inet {NAME} {set} {{ {} }}", entries.join(", "));
        }
    }
}

fn entry(element: &Element, left: Option<Duration>) -> String {
    let mut entry = element.key();
    if let Some(left) = left {
        // Nothing is what nft takes for without end.
        let milliseconds = left.as_millis().max(1);
        let _infallible = write!(entry, " timeout {}s{}ms", milliseconds / 1000, milliseconds % 1000);
        if let Some(comment) = element.comment() {
            let _infallible = write!(entry, " comment \"{comment}\"");
        }
    }
    if let Some(data) = element.data() {
        let _infallible = write!(entry, " : {data}");
    }
    entry
}

/// Lets pass in a foreign chain what ours found alive: the packet's own mark says so, which nobody sets where our table
/// is gone.
pub(crate) fn accept_rule(family: &str, table: &str, chain: &str, bits: MarkBits) -> String {
    let flag = bits.flag();
    format!("insert rule {family} {table} {chain} meta mark & {flag:#010x} == {flag:#010x} accept comment \"{TAG}\"\n")
}

pub(crate) fn drop_rule(family: &str, table: &str, chain: &str, handle: u64) -> String {
    format!("delete rule {family} {table} {chain} handle {handle}\n")
}
