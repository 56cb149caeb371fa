//! What each session is in the kernel, whatever keeps it there. All elements of one session bear its mark and end together.

use doorward_core::pinhole::{Direct, Granted, MarkBits, Number, PinholeId, Present, Protocol, Site, Translated, Way};
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
    pub(crate) fn mark(&self) -> u32 {
        match self {
            Self::Live { mark, .. }
            | Self::Masked { mark }
            | Self::Target { mark, .. }
            | Self::Visitor { mark, .. }
            | Self::Neighbour { mark, .. }
            | Self::Site { mark, .. } => *mark,
        }
    }
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

/// Of all elements, each with the time it has left.
pub(crate) fn gather(all: Vec<(Element, Duration)>, bits: MarkBits) -> Gathered {
    let mut by_mark: BTreeMap<u32, (Vec<Element>, Duration)> = BTreeMap::new();
    for (element, left) in all {
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
    gathered
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
pub(crate) mod samples {
    use super::*;
    use doorward_core::pinhole::{AllowList, Facts, Pinhole, PortRange, Rule};

    /// Sessions of every kind, of 9 seconds.
    pub(crate) fn granted() -> Vec<Granted> {
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
}
