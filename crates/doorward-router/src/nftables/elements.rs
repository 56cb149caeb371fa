//! Elements of our sets and maps.

use crate::elements::Element;
use crate::error::RouterError;
use crate::nftables::Ruleset;
use doorward_core::pinhole::{PinholeId, Protocol};
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

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

/// All of ours, each with the time it has left.
pub(crate) fn read_all(own: &Ruleset) -> Result<Vec<(Element, Duration)>, RouterError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elements::{elements, gather, samples::granted};
    use doorward_core::pinhole::{Granted, MarkBits, Number};
    use serde_json::{Map, json};

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
        let gathered = gather(read_all(&listed(&all)).unwrap(), bits);
        assert_eq!(gathered.strays, []);
        assert_eq!(gathered.sessions.len(), granted.len());
        for ((present, _), (number, granted)) in gathered.sessions.iter().zip(&numbered) {
            let pinhole = granted.pinhole();
            assert_eq!((present.number, &present.id, &present.way), (*number, &pinhole.id, &pinhole.way));
            assert_eq!(present.masquerade, granted.is_masqueraded());
            assert_eq!(present.ends_within, Duration::from_secs(9), "never less than it may be");
        }
        let lost: Vec<Element> = all.into_iter().filter(|one| !matches!(one, Element::Live { .. })).collect();
        let gathered = gather(read_all(&listed(&lost)).unwrap(), bits);
        assert_eq!((gathered.sessions.len(), gathered.strays.len()), (0, lost.len()));
    }
}
