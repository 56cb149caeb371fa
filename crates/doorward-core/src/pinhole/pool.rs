//! Which public port a session gets where its wish leaves that to the router.

use super::{AllowList, Facts, Pinhole, PinholeId, Present, Protocol};
use std::collections::{BTreeMap, BTreeSet};

/// A session keeps the port that it has. Another one gets the next after `last`, the one that was given out before, so that one
/// that was just given back rests while others are free. Returns what was given out last by now. Where none is free the wish
/// stays without, and is refused.
pub fn give_ports(
    wishes: &mut [Pinhole],
    present: &[Present],
    allow: &AllowList,
    facts: &Facts,
    last: Option<u16>,
) -> Option<u16> {
    let port = |there: &Present| Some((there.way.protocol, there.way.translated.as_ref()?.public_port));
    let held: BTreeMap<&PinholeId, (Protocol, u16)> =
        present.iter().filter_map(|there| Some((&there.id, port(there)?))).collect();
    let said = wishes.iter().filter_map(|wish| Some((wish.way.protocol, wish.way.translated.as_ref()?.public_port)));
    let mut taken: BTreeSet<(Protocol, u16)> = said.chain(held.values().copied()).chain(facts.taken.clone()).collect();
    let mut last = last;
    for wish in wishes {
        let protocol = wish.way.protocol;
        let Some(translated) = wish.way.translated.as_mut().filter(|translated| translated.public_port == 0) else {
            continue;
        };
        let kept = held.get(&wish.id).filter(|(of, _)| *of == protocol).map(|(_, port)| *port);
        let Some(port) = kept.or_else(|| next(allow, last, |port| taken.contains(&(protocol, port)))) else { continue };
        if kept.is_none() {
            taken.insert((protocol, port));
            last = Some(port);
        }
        translated.public_port = port;
    }
    last
}

fn next(allow: &AllowList, last: Option<u16>, is_taken: impl Fn(u16) -> bool) -> Option<u16> {
    let all = || allow.public_ports.iter().flat_map(|range| range.ports());
    let after = all().filter(|port| last.is_some_and(|last| *port > last));
    after.chain(all()).find(|port| !is_taken(*port))
}

#[cfg(test)]
mod tests {
    use super::super::{MarkBits, Number, Translated, Way};
    use super::*;
    use std::time::Duration;

    fn wish(id: &str, public_port: u16) -> Pinhole {
        let translated = Translated {
            public_port,
            target: "192.168.1.10:22".parse().unwrap(),
            sources: ["198.51.100.7".parse().unwrap()].into(),
            neighbours: false,
        };
        let way = Way { protocol: Protocol::Tcp, translated: Some(translated), direct: None };
        Pinhole { id: PinholeId::parse(id).unwrap(), remaining: Duration::from_secs(60), way }
    }

    fn number() -> Number {
        MarkBits::default().fresh(None, &BTreeSet::new()).unwrap()
    }

    fn present(id: &str, port: u16) -> Present {
        let Pinhole { id, remaining, way } = wish(id, port);
        Present { id, number: number(), way, masquerade: false, ends_within: remaining }
    }

    fn allow() -> AllowList {
        let range = |text: &str| text.parse().unwrap();
        AllowList { rules: Vec::new(), public_ports: vec![range("40000-40001"), range("40005")] }
    }

    fn given(wishes: &[Pinhole], present: &[Present], taken: &[u16], last: Option<u16>) -> (Vec<u16>, Option<u16>) {
        let facts = Facts { taken: taken.iter().map(|port| (Protocol::Tcp, *port)).collect(), ..Facts::default() };
        let mut wishes = wishes.to_vec();
        let last = give_ports(&mut wishes, present, &allow(), &facts, last);
        (wishes.iter().map(|wish| wish.way.translated.as_ref().unwrap().public_port).collect(), last)
    }

    #[test]
    fn each_session_gets_a_port_of_its_own_keeps_it_and_the_one_just_given_back_rests() {
        let two = [wish("a", 0), wish("b", 0)];
        assert_eq!(given(&two, &[], &[], None), (vec![40000, 40001], Some(40001)));
        let there = [present("b", 40001)];
        assert_eq!(given(&two, &there, &[], Some(40001)), (vec![40005, 40001], Some(40005)), "b keeps its own");
        assert_eq!(given(&[wish("c", 0)], &[], &[], Some(40000)).0, [40001]);
        assert_eq!(given(&[wish("c", 0)], &[], &[], Some(40005)).0, [40000], "from the beginning again");
        assert_eq!(
            given(&[wish("c", 0)], &[], &[40000, 40001], None).0,
            [40005],
            "what the router has itself is left alone"
        );
        assert_eq!(given(&[wish("c", 0)], &there, &[40000, 40005], None), (vec![0], None), "none is free");
        assert_eq!(
            given(&[wish("c", 0), wish("d", 40000)], &[], &[], None).0,
            [40001, 40000],
            "what somebody names is theirs"
        );
    }
}
