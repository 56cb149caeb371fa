//! Our chains, and the texts that restore them.
//!
//! As in nftables: the first packet of a connection is looked up by source and port and marks the connection with its
//! session (mangle, `doorward-arriving`). By the mark it is led to its target (nat, `doorward-leading`) and masked
//! (`doorward-masking`). Every later packet, either way, must find a rule with its mark whose time is not over (filter,
//! `doorward-ending`): TCP is reset, the rest dropped, by the kernel's own clock. Sixteen chains share the sessions, so that a
//! packet passes few rules. What a rule of others accepted before ours is asked once more when it leaves, and dropped (mangle).
//!
//! A rule with a comment is of the session that it names; the others are always the same.

use crate::elements::Element;
use crate::error::RouterError;
use crate::firewall::TAG;
use crate::iptables::{Family, Line, Listing, Place, Window};
use doorward_core::pinhole::{MarkBits, PinholeId, Protocol, Site};
use ipnet::{IpNet, Ipv4Net};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// What the rules depend on.
#[derive(Clone, Debug)]
pub(crate) struct Structure {
    pub(crate) bits: MarkBits,
    pub(crate) lan: Vec<Ipv4Net>,
    /// Where what is alive is accepted before others are asked.
    pub(crate) joined: Vec<Family>,
}

/// A session as it shall be.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) id: PinholeId,
    pub(crate) elements: Vec<Element>,
    pub(crate) window: Window,
}

const ENDINGS: u32 = 16;

/// From a chain of the kernel's, on a condition, to one of ours.
struct Jump {
    table: &'static str,
    from: &'static str,
    to: &'static str,
    of_new: bool,
}

const fn jump(table: &'static str, from: &'static str, to: &'static str) -> Jump {
    Jump { table, from, to, of_new: false }
}

const JUMPS: [Jump; 7] = [
    jump("filter", "FORWARD", "doorward-forward"),
    jump("filter", "INPUT", "doorward-ending"),
    jump("filter", "OUTPUT", "doorward-leaving"),
    jump("nat", "PREROUTING", "doorward-leading"),
    jump("nat", "POSTROUTING", "doorward-masking"),
    jump("mangle", "POSTROUTING", "doorward-leaving"),
    Jump { table: "mangle", from: "PREROUTING", to: "doorward-arriving", of_new: true },
];

impl Structure {
    /// Writes all our chains. `anew`: and the jumps to them, in the place of those that were seen.
    pub(crate) fn text(&self, family: Family, kept: &[Kept], anew: Option<&Listing>) -> String {
        let table = |table: &&str| {
            let chains = chains(table, family);
            let declared = chains.iter().map(|chain| format!(":{chain} - [0:0]\n")).collect::<String>();
            let jumps = anew.map(|seen| self.jumps(table, family, seen)).unwrap_or_default();
            let rules: String = chains.iter().map(|chain| self.chain(table, chain, family, kept)).collect();
            let left_over = anew.map(|seen| left_over(table, family, &chains, seen)).unwrap_or_default();
            format!("*{table}\n{declared}{jumps}{rules}{left_over}COMMIT\n")
        };
        family.tables().iter().map(table).collect()
    }

    fn jumps(&self, table: &str, family: Family, seen: &Listing) -> String {
        let mut text = removed_jumps(table, family, seen);
        let flag = self.bits.flag();
        for jump in JUMPS.iter().filter(|jump| jump.table == table) {
            let condition = match jump.of_new {
                true => "-m conntrack --ctstate NEW -m connmark --mark 0x0".to_owned(),
                false => format!("-m connmark --mark {flag:#x}/{flag:#x}"),
            };
            let Jump { from, to, .. } = jump;
            let _infallible = writeln!(text, "-I {from} 1 {condition} -m comment --comment \"{TAG}\" -j {to}");
        }
        text
    }

    fn chain(&self, table: &str, chain: &str, family: Family, kept: &[Kept]) -> String {
        let sessions = || self.sessions(chain, family, kept);
        let rules = match chain {
            "doorward-forward" => {
                let accept = if self.joined.contains(&family) { "-j ACCEPT\n" } else { "" };
                format!("-j doorward-ending\n{accept}")
            }
            "doorward-leaving" => "-p tcp --tcp-flags RST RST -j RETURN\n-j doorward-ending\n".to_owned(),
            "doorward-ending" => (0..ENDINGS).map(|n| self.share(n)).collect(),
            "doorward-leading" | "doorward-neighbours" => sessions(),
            "doorward-masking" => {
                let neighbours = self.lan.iter().map(|lan| format!("-s {lan} -j MASQUERADE\n"));
                neighbours.collect::<String>() + &sessions()
            }
            "doorward-arriving" => {
                let lan = self.lan.iter().filter(|_| family == Family::Four);
                sessions() + &lan.map(|lan| format!("-s {lan} -j doorward-neighbours\n")).collect::<String>()
            }
            // Only filter can reset.
            _ if table == "filter" => sessions() + "-p tcp -j REJECT --reject-with tcp-reset\n-j DROP\n",
            _ => sessions() + "-j DROP\n",
        };
        rules.lines().map(|rule| format!("-A {chain} {rule}\n")).collect()
    }

    fn sessions(&self, chain: &str, family: Family, kept: &[Kept]) -> String {
        let rules = kept.iter().flat_map(|kept| kept.elements.iter().map(move |element| (kept, element)));
        rules
            .filter(|(_, element)| self.place(element, family).as_deref() == Some(chain))
            .map(|(kept, element)| self.rules(element, kept))
            .collect()
    }

    /// Ours of the lowest places of a mark that the sixteen chains are told apart by, and what it is there for one of them.
    fn share_of(&self, number: u32) -> (u32, u32) {
        let rest = self.bits.mask() & !self.bits.flag();
        let places = (0..u32::BITS).filter(|place| rest >> place & 1 == 1).take(ENDINGS.ilog2() as usize);
        places
            .enumerate()
            .fold((0, 0), |(mask, value), (i, place)| (mask | 1 << place, value | (number >> i & 1) << place))
    }

    fn share(&self, number: u32) -> String {
        let (mask, value) = self.share_of(number);
        format!("-m connmark --mark {value:#x}/{mask:#x} -g {}\n", ending(number))
    }

    /// The chain in which an element has its rules.
    fn place(&self, element: &Element, family: Family) -> Option<String> {
        let only = |wanted: Family, chain: &str| (family == wanted).then(|| chain.to_owned());
        match element {
            Element::Live { mark, .. } => {
                let is_its = |number: &u32| {
                    let (mask, value) = self.share_of(*number);
                    mark & mask == value
                };
                (0..ENDINGS).find(is_its).map(ending)
            }
            Element::Masked { .. } => only(Family::Four, "doorward-masking"),
            Element::Target { .. } => only(Family::Four, "doorward-leading"),
            Element::Visitor { .. } => only(Family::Four, "doorward-arriving"),
            Element::Neighbour { .. } => only(Family::Four, "doorward-neighbours"),
            Element::Site { .. } => only(Family::Six, "doorward-arriving"),
        }
    }

    fn rules(&self, element: &Element, kept: &Kept) -> String {
        let mask = self.bits.mask();
        let (window, name) = (kept.window.words(), format!("-m comment --comment \"{}\"", kept.id));
        let local = "-m addrtype --dst-type LOCAL";
        match element {
            Element::Live { mark, .. } => format!("-m connmark --mark {mark:#x}/{mask:#x} {window} {name} -j RETURN\n"),
            Element::Masked { mark } => format!("-m connmark --mark {mark:#x}/{mask:#x} {name} -j MASQUERADE\n"),
            Element::Target { mark, target } => {
                let rule = |protocol: Protocol| {
                    let protocol = protocol.word();
                    format!(
                        "-p {protocol} -m connmark --mark {mark:#x}/{mask:#x} {name} -j DNAT --to-destination {target}\n"
                    )
                };
                rule(Protocol::Tcp) + &rule(Protocol::Udp)
            }
            Element::Visitor { protocol, source, port, mark } => format!(
                "-s {source} -p {} --dport {port} {local} {window} {name} -j CONNMARK --set-xmark {mark:#x}/0xffffffff\n",
                protocol.word()
            ),
            Element::Neighbour { protocol, port, mark } => format!(
                "-p {} --dport {port} {local} {window} {name} -j CONNMARK --set-xmark {mark:#x}/0xffffffff\n",
                protocol.word()
            ),
            Element::Site { protocol, source, target, port, mark } => format!(
                "-s {}/64 -d {target} -p {} --dport {port} {window} {name} -j CONNMARK --set-xmark {mark:#x}/0xffffffff\n",
                source.address(),
                protocol.word()
            ),
        }
    }
}

fn ending(number: u32) -> String {
    format!("doorward-end-{number:x}")
}

/// Those that are jumped to come first, as rules name them.
fn chains(table: &str, family: Family) -> Vec<String> {
    let is_four = family == Family::Four;
    let endings = (0..ENDINGS).map(ending).chain(["doorward-ending".to_owned(), "doorward-leaving".to_owned()]);
    let others: &[&str] = match table {
        "filter" => &["doorward-forward"],
        "nat" => return ["doorward-leading", "doorward-masking"].map(str::to_owned).to_vec(),
        _ if is_four => &["doorward-neighbours", "doorward-arriving"],
        _ => &["doorward-arriving"],
    };
    endings.chain(others.iter().map(|chain| (*chain).to_owned())).collect()
}

fn removed_jumps(table: &str, family: Family, seen: &Listing) -> String {
    let jumps = seen.lines.iter().filter(|line| line.place.family == family && line.place.table == table);
    let jumps = jumps.filter(|line| line.is_ours_elsewhere());
    jumps.map(|line| format!("-D {} {}\n", line.place.chain, line.text)).collect()
}

/// Chains of another release.
fn left_over(table: &str, family: Family, chains: &[String], seen: &Listing) -> String {
    let ours = seen.chains.keys().filter(|place| place.is_ours() && place.family == family && place.table == table);
    let ours: Vec<&Place> = ours.filter(|place| !chains.contains(&place.chain)).collect();
    let emptied = ours.iter().map(|place| format!(":{} - [0:0]\n", place.chain));
    emptied.chain(ours.iter().map(|place| format!("-X {}\n", place.chain))).collect()
}

/// Takes everything of ours away; whom nobody lets in any more first.
pub(crate) fn removal(family: Family, seen: &Listing) -> String {
    let table = |table: &&str| {
        let text = removed_jumps(table, family, seen) + &left_over(table, family, &[], seen);
        if text.is_empty() { text } else { format!("*{table}\n{text}COMMIT\n") }
    };
    family.tables().iter().rev().map(table).collect()
}

/// Everything of ours but the sessions' rules, for comparison, and whether it still comes first in chains of others.
pub(crate) fn bare(seen: &Listing) -> Vec<String> {
    let words = |line: &Line| {
        let is_first = line.place.is_ours() || seen.of(&line.place).next() == Some(line);
        format!("{} {} {} {} {is_first}", line.place.family.program(), line.place.table, line.place.chain, line.text)
    };
    let is_bare = |line: &&Line| line.is_ours_elsewhere() || line.place.is_ours() && line.value("--comment").is_none();
    let mut bare: Vec<String> = seen.lines.iter().filter(is_bare).map(words).collect();
    bare.extend(seen.chains.keys().filter(|place| place.is_ours()).map(|place| format!("{place:?}")));
    bare
}

/// What the sessions' rules say, each with the time that it has left.
pub(crate) fn read_all(seen: &Listing) -> Result<Vec<(Element, Duration)>, RouterError> {
    let of_sessions = seen.lines.iter().filter(|line| line.place.is_ours() && line.value("--comment").is_some());
    let read =
        |line: &Line| read(line).ok_or_else(|| RouterError::Listing(format!("in {}: {}", line.place.chain, line.text)));
    of_sessions.map(read).collect()
}

fn read(line: &Line) -> Option<(Element, Duration)> {
    let tested = || mark(line.value("--mark")?);
    let set = || mark(line.value("--set-xmark")?);
    let left = || Some(Window::read(line.value("--datestart")?, line.value("--datestop")?)?.left());
    let port = || line.value("--dport")?.parse().ok();
    let read = match (line.place.chain.as_str(), line.place.family) {
        ("doorward-masking", _) => (Element::Masked { mark: tested()? }, Duration::ZERO),
        ("doorward-leading", _) => {
            let target = line.value("--to-destination")?.parse().ok()?;
            (Element::Target { mark: tested()?, target }, Duration::ZERO)
        }
        ("doorward-neighbours", _) => {
            (Element::Neighbour { protocol: protocol(line)?, port: port()?, mark: set()? }, left()?)
        }
        ("doorward-arriving", Family::Four) => {
            let source = ip4(line.value("-s")?)?;
            (Element::Visitor { protocol: protocol(line)?, source, port: port()?, mark: set()? }, left()?)
        }
        ("doorward-arriving", Family::Six) => {
            let (source, target) = (Site::from(ip6(line.value("-s")?)?), ip6(line.value("-d")?)?);
            (Element::Site { protocol: protocol(line)?, source, target, port: port()?, mark: set()? }, left()?)
        }
        (chain, _) if chain.starts_with("doorward-end-") => {
            let id = PinholeId::parse(line.value("--comment")?).ok()?;
            (Element::Live { mark: tested()?, id }, left()?)
        }
        (_, _) => return None,
    };
    Some(read)
}

fn mark(text: &str) -> Option<u32> {
    let (value, _) = text.split_once('/').unwrap_or((text, ""));
    u32::from_str_radix(value.strip_prefix("0x")?, 16).ok()
}

fn protocol(line: &Line) -> Option<Protocol> {
    let word = line.value("-p")?;
    [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.word() == word)
}

fn ip4(text: &str) -> Option<Ipv4Addr> {
    match address(text)? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn ip6(text: &str) -> Option<Ipv6Addr> {
    match address(text)? {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpNet>().map(|network| network.addr()).or_else(|_| text.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elements::{elements, gather, samples::granted};
    use doorward_core::pinhole::{Granted, Number};

    fn structure() -> Structure {
        Structure { bits: MarkBits::default(), lan: vec!["192.168.1.0/24".parse().unwrap()], joined: vec![Family::Six] }
    }

    fn numbered(granted: &[Granted]) -> Vec<(Number, &Granted)> {
        let bits = MarkBits::default();
        (1..).map(|n| bits.number(bits.flag() | n).unwrap()).zip(granted).collect()
    }

    fn kept(granted: &[Granted]) -> Vec<Kept> {
        let keep = |(number, one): (Number, &Granted)| Kept {
            id: one.pinhole().id.clone(),
            elements: elements(one, MarkBits::default().mark(number)),
            window: Window::from_now(one.pinhole().remaining),
        };
        numbered(granted).into_iter().map(keep).collect()
    }

    /// What is restored is listed in the same words.
    fn listed(kept: &[Kept]) -> Listing {
        let mut listing = Listing::default();
        for family in Family::ALL {
            listing.add(
                family,
                &structure().text(family, kept, Some(&Listing::default())).replace("-I FORWARD 1", "-A FORWARD"),
            );
        }
        listing
    }

    #[test]
    fn sessions_are_read_back_as_they_were_written() {
        let (bits, granted) = (MarkBits::default(), granted());
        let gathered = gather(read_all(&listed(&kept(&granted))).unwrap(), bits);
        assert_eq!(gathered.strays, []);
        assert_eq!(gathered.sessions.len(), granted.len());
        for ((present, _), (number, granted)) in gathered.sessions.iter().zip(numbered(&granted)) {
            let pinhole = granted.pinhole();
            assert_eq!((present.number, &present.id, &present.way), (number, &pinhole.id, &pinhole.way));
            assert_eq!(present.masquerade, granted.is_masqueraded());
            let longer = present.ends_within.checked_sub(Duration::from_secs(8)).unwrap();
            assert!(longer <= Duration::from_secs(2), "{present:?}");
        }
    }

    #[test]
    fn a_session_is_alive_in_one_chain_of_sixteen_of_two_tables_and_every_chain_ends_what_is_not() {
        for family in Family::ALL {
            let text = structure().text(family, &kept(&granted()), None);
            assert_eq!(
                text.matches("-j RETURN").count(),
                2 * (1 + granted().len()),
                "resets, and each session: {text}"
            );
            assert_eq!(text.matches("-j REJECT --reject-with tcp-reset").count(), 16, "{text}");
            assert_eq!(text.matches(" -g doorward-end-").count(), 32, "{text}");
            assert_eq!(text.matches("-j DROP").count(), 32, "{text}");
            assert_eq!(text.matches("-A doorward-forward -j ACCEPT").count(), usize::from(family == Family::Six));
            assert!(text.find("*filter") < text.find("*mangle"), "what ends comes before what lets in: {text}");
        }
    }

    #[test]
    fn what_is_taken_away_names_each_chain_and_each_jump() {
        let listing = listed(&kept(&granted()));
        let four = removal(Family::Four, &listing);
        assert!(four.find("*mangle") < four.find("*filter"), "nobody is let in to what nothing ends: {four}");
        let chains = listing.chains.keys().filter(|place| place.family == Family::Four).count();
        assert_eq!((chains, four.matches("-X ").count()), (41, 41), "{four}");
        assert!(four.contains("-D FORWARD -m connmark"), "{four}");
        assert_eq!(removal(Family::Four, &Listing::default()), "");
    }
}
