//! Elements of our sets and maps: what each session is in the kernel. All of one session bear its mark and end together.

use crate::error::RouterError;
use crate::nftables::Ruleset;
use doorward_core::pinhole::{Direct, Granted, MarkBits, Number, PinholeId, Present, Protocol, Site, Translated, Way};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    Live { mark: u32, id: PinholeId },
    Masked { mark: u32 },
    Target { mark: u32, target: SocketAddrV4 },
    Visitor { protocol: Protocol, source: Ipv4Addr, port: u16, mark: u32 },
    Neighbour { protocol: Protocol, port: u16, mark: u32 },
    Site { protocol: Protocol, source: Site, target: Ipv6Addr, port: u16, mark: u32 },
}

impl Element {
    pub(crate) const SETS: [&str; 6] = ["live", "masked", "targets", "visitors", "neighbours", "sites"];

    pub(crate) fn set(&self) -> &'static str {
        let [live, masked, targets, visitors, neighbours, sites] = Self::SETS;
        match self {
            Self::Live { .. } => live,
            Self::Masked { .. } => masked,
            Self::Target { .. } => targets,
            Self::Visitor { .. } => visitors,
            Self::Neighbour { .. } => neighbours,
            Self::Site { .. } => sites,
        }
    }

    pub(crate) fn key(&self) -> String {
        match self {
            Self::Live { mark, .. } | Self::Masked { mark } | Self::Target { mark, .. } => format!("{mark:#010x}"),
            Self::Visitor { protocol, source, port, .. } => format!("{} . {source} . {port}", number_of(*protocol)),
            Self::Neighbour { protocol, port, .. } => format!("{} . {port}", number_of(*protocol)),
            Self::Site { protocol, source, target, port, .. } => {
                format!("{} . {} . {target} . {port}", source.address(), number_of(*protocol))
            }
        }
    }

    /// What a map says for the key.
    pub(crate) fn data(&self) -> Option<String> {
        match self {
            Self::Live { .. } | Self::Masked { .. } => None,
            Self::Target { target, .. } => Some(format!("{} . {}", target.ip(), target.port())),
            Self::Visitor { mark, .. } | Self::Neighbour { mark, .. } | Self::Site { mark, .. } => {
                Some(format!("{mark:#010x}"))
            }
        }
    }

    pub(crate) fn comment(&self) -> Option<&PinholeId> {
        match self {
            Self::Live { id, .. } => Some(id),
            Self::Masked { .. }
            | Self::Target { .. }
            | Self::Visitor { .. }
            | Self::Neighbour { .. }
            | Self::Site { .. } => None,
        }
    }

    fn mark(&self) -> u32 {
        match self {
            Self::Live { mark, .. }
            | Self::Masked { mark }
            | Self::Target { mark, .. }
            | Self::Visitor { mark, .. }
            | Self::Neighbour { mark, .. }
            | Self::Site { mark, .. } => *mark,
        }
    }

    fn read(set: &str, element: &Value, data: Option<&Value>) -> Option<Self> {
        let value = &element["val"];
        let parts = value["concat"].as_array().map(Vec::as_slice).unwrap_or_default();
        let data_mark = || mark(data?);
        match (set, parts) {
            ("live", []) => {
                Some(Self::Live { mark: mark(value)?, id: PinholeId::parse(element["comment"].as_str()?).ok()? })
            }
            ("masked", []) => Some(Self::Masked { mark: mark(value)? }),
            ("targets", []) => match data?["concat"].as_array()?.as_slice() {
                [ip, to] => Some(Self::Target { mark: mark(value)?, target: SocketAddrV4::new(ip4(ip)?, port(to)?) }),
                _ => None,
            },
            ("visitors", [kind, source, to]) => Some(Self::Visitor {
                protocol: protocol(kind)?,
                source: ip4(source)?,
                port: port(to)?,
                mark: data_mark()?,
            }),
            ("neighbours", [kind, to]) => {
                Some(Self::Neighbour { protocol: protocol(kind)?, port: port(to)?, mark: data_mark()? })
            }
            ("sites", [source, kind, target, to]) => Some(Self::Site {
                protocol: protocol(kind)?,
                source: ip6(source)?.into(),
                target: ip6(target)?,
                port: port(to)?,
                mark: data_mark()?,
            }),
            _ => None,
        }
    }
}

/// A number, since not every router knows protocols by name.
fn number_of(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}

fn protocol(value: &Value) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp]
        .into_iter()
        .find(|protocol| *value == protocol.word() || *value == number_of(*protocol))
}

fn mark(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64()?.try_into().ok()
}

fn ip4(value: &Value) -> Option<Ipv4Addr> {
    value.as_str()?.parse().ok()
}

fn ip6(value: &Value) -> Option<Ipv6Addr> {
    value.as_str()?.parse().ok()
}

/// What a session is in the kernel.
pub(crate) fn elements(granted: &Granted, mark: u32) -> Vec<Element> {
    let pinhole = granted.pinhole();
    let protocol = pinhole.way.protocol;
    let mut all = vec![Element::Live { mark, id: pinhole.id.clone() }];
    if granted.is_masqueraded() {
        all.push(Element::Masked { mark });
    }
    if let Some(Translated { public_port: port, target, sources, neighbours }) = &pinhole.way.translated {
        all.push(Element::Target { mark, target: *target });
        all.extend(sources.iter().map(|source| Element::Visitor { protocol, source: *source, port: *port, mark }));
        all.extend(neighbours.then_some(Element::Neighbour { protocol, port: *port, mark }));
    }
    if let Some(Direct { target, sources }) = &pinhole.way.direct {
        let (target, port) = (*target.ip(), target.port());
        all.extend(sources.iter().map(|source| Element::Site { protocol, source: *source, target, port, mark }));
    }
    all
}

/// The sessions in the kernel, each with its elements, and elements of no session.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) sessions: Vec<(Present, Vec<Element>)>,
    pub(crate) strays: Vec<Element>,
}

pub(crate) fn gather(own: &Ruleset, bits: MarkBits) -> Result<Gathered, RouterError> {
    let mut by_mark: BTreeMap<u32, (Vec<Element>, Duration)> = BTreeMap::new();
    for (element, left) in read_all(own)? {
        let (elements, longest) = by_mark.entry(element.mark()).or_default();
        elements.push(element);
        *longest = (*longest).max(left);
    }
    let mut gathered = Gathered::default();
    for (mark, (elements, ends_within)) in by_mark {
        match bits.number(mark).and_then(|number| present(number, &elements, ends_within)) {
            Some(present) => gathered.sessions.push((present, elements)),
            None => gathered.strays.extend(elements),
        }
    }
    Ok(gathered)
}

fn read_all(own: &Ruleset) -> Result<Vec<(Element, Duration)>, RouterError> {
    let mut all = Vec::new();
    for set in own.of_kind("set", true).chain(own.of_kind("map", true)) {
        let name = set["name"].as_str().unwrap_or_default();
        if !Element::SETS.contains(&name) {
            continue;
        }
        for entry in set["elem"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let (key, data) = match entry.as_array().map(Vec::as_slice) {
                Some([key, data]) => (key, Some(data)),
                Some(_) | None => (entry, None),
            };
            let element = &key["elem"];
            let read = Element::read(name, element, data).zip(element["expires"].as_u64());
            let (element, left) = read.ok_or_else(|| RouterError::Listing(format!("in {name}: {entry}")))?;
            // The listing leaves out what is less than a second.
            all.push((element, Duration::from_secs(left + 1)));
        }
    }
    Ok(all)
}

fn present(number: Number, elements: &[Element], ends_within: Duration) -> Option<Present> {
    let (mut id, mut masquerade, mut protocols) = (None, false, BTreeSet::new());
    let (mut to, mut ports, mut sources, mut neighbours) = (None, BTreeSet::new(), BTreeSet::new(), false);
    let (mut targets, mut sites) = (BTreeSet::new(), BTreeSet::new());
    for element in elements {
        match element {
            Element::Live { id: name, .. } => id = Some(name.clone()),
            Element::Masked { .. } => masquerade = true,
            Element::Target { target, .. } => to = Some(*target),
            Element::Visitor { protocol, source, port, .. } => {
                protocols.insert(*protocol);
                ports.insert(*port);
                sources.insert(*source);
            }
            Element::Neighbour { protocol, port, .. } => {
                protocols.insert(*protocol);
                ports.insert(*port);
                neighbours = true;
            }
            Element::Site { protocol, source, target, port, .. } => {
                protocols.insert(*protocol);
                targets.insert(SocketAddrV6::new(*target, *port, 0, 0));
                sites.insert(*source);
            }
        }
    }
    if protocols.len() != 1 || ports.len() > 1 || targets.len() > 1 || to.is_some() != (ports.len() == 1) {
        return None;
    }
    let translated = to.zip(ports.pop_first());
    let translated = translated.map(|(target, public_port)| Translated { public_port, target, sources, neighbours });
    let direct = targets.pop_first().map(|target| Direct { target, sources: sites });
    let way = Way { protocol: protocols.pop_first()?, translated, direct };
    Some(Present { id: id?, number, way, masquerade, ends_within })
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::pinhole::{AllowList, Facts, Pinhole, PortRange, Rule};
    use serde_json::{Map, json};

    fn granted() -> Vec<Granted> {
        let ports: Vec<PortRange> = vec!["1-65535".parse().unwrap()];
        let rule = |targets: &str, masquerade| Rule {
            targets: targets.parse().unwrap(),
            protocol: None,
            ports: ports.clone(),
            longest: Duration::from_secs(60),
            masquerade,
        };
        let rules = vec![rule("10.0.0.0/24", false), rule("10.0.1.0/24", true), rule("2001:db8::/64", false)];
        let translated = |port: u16, target: &str, sources: &[&str]| Translated {
            public_port: port,
            target: target.parse().unwrap(),
            sources: sources.iter().map(|source| source.parse().unwrap()).collect(),
            neighbours: sources.len() != 1,
        };
        let sources = ["2001:db8:1::7", "2001:db8:2::7"].map(|source| Site::from(source.parse::<Ipv6Addr>().unwrap()));
        let direct = Direct { target: "[2001:db8::1]:22".parse().unwrap(), sources: sources.into() };
        let ways = [
            (Some(translated(40000, "10.0.0.1:22", &["192.0.2.1"])), None),
            (Some(translated(40001, "10.0.1.1:22", &["192.0.2.1", "192.0.2.2"])), Some(direct.clone())),
            (Some(translated(40002, "10.0.0.1:22", &[])), None),
            (
                None,
                Some(Direct { sources: [Site::from(Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 1))].into(), ..direct }),
            ),
        ];
        let pinhole = |(n, (translated, direct)): (usize, (Option<Translated>, Option<Direct>))| Pinhole {
            id: PinholeId::parse(&format!("s{n}")).unwrap(),
            remaining: Duration::from_secs(9),
            way: Way { protocol: [Protocol::Tcp, Protocol::Udp][n % 2], translated, direct },
        };
        let pinholes: Vec<Pinhole> = ways.into_iter().enumerate().map(pinhole).collect();
        let judged = AllowList { rules, public_ports: ports.clone() }.judge(&pinholes, &Facts::default());
        judged.into_iter().map(Result::unwrap).collect()
    }

    /// The listing that nft makes of elements.
    fn listed(elements: &[Element]) -> Ruleset {
        let mut sets: Map<String, Value> = Map::new();
        for element in elements {
            let concat = |text: &str| {
                let parts = text.split(" . ").map(|part| match part.strip_prefix("0x") {
                    Some(mark) => u32::from_str_radix(mark, 16).unwrap().into(),
                    None => part.parse::<u64>().map_or_else(|_| Value::from(part), Value::from),
                });
                let mut parts: Vec<Value> = parts.collect();
                if parts.len() == 1 { parts.remove(0) } else { json!({ "concat": parts }) }
            };
            let key = json!({ "elem": { "val": concat(&element.key()), "expires": 8, "comment": element.comment() } });
            let entry = element.data().map_or(key.clone(), |data| json!([key, concat(&data)]));
            let set = sets.entry(element.set()).or_insert_with(|| json!([]));
            set.as_array_mut().unwrap().push(entry);
        }
        let sets = sets.into_iter().map(|(name, elements)| {
            json!({ "map": { "family": "inet", "table": "doorward", "name": name, "elem": elements } })
        });
        let json = json!({ "nftables": sets.collect::<Vec<_>>() });
        Ruleset::parse(&serde_json::to_vec(&json).unwrap()).unwrap()
    }

    #[test]
    fn sessions_are_read_back_as_they_were_written_and_the_rest_is_astray() {
        let bits = MarkBits::default();
        let numbers = (1..).map(|n| bits.number(bits.flag() | n).unwrap());
        let granted = granted();
        let numbered: Vec<(Number, &Granted)> = numbers.zip(&granted).collect();
        let all: Vec<Element> = numbered.iter().flat_map(|(number, one)| elements(one, bits.mark(*number))).collect();
        let gathered = gather(&listed(&all), bits).unwrap();
        assert_eq!(gathered.strays, []);
        assert_eq!(gathered.sessions.len(), granted.len());
        for ((present, _), (number, granted)) in gathered.sessions.iter().zip(&numbered) {
            let pinhole = granted.pinhole();
            assert_eq!((present.number, &present.id, &present.way), (*number, &pinhole.id, &pinhole.way));
            assert_eq!(present.masquerade, granted.is_masqueraded());
            assert_eq!(present.ends_within, Duration::from_secs(9), "never less than it may be");
        }
        let lost: Vec<Element> = all.into_iter().filter(|one| !matches!(one, Element::Live { .. })).collect();
        let gathered = gather(&listed(&lost), bits).unwrap();
        assert_eq!((gathered.sessions.len(), gathered.strays.len()), (0, lost.len()));
    }
}
