//! What an agent, or whoever took its place, says to the router.

use doorward_core::pinhole::{AllowList, Facts, Granted, MarkBits, Present, Protocol, Rule, Step, Wishes, plan};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(3600);

/// As a message; what is granted is what the file allows, and asked again nothing changes.
pub fn pinhole_wishes(data: &[u8]) {
    check(data);
    let length = u32::try_from(data.len()).expect("inputs are short").to_be_bytes();
    if let Ok(wishes) = Wishes::read(&[&length, data].concat()[..]) {
        assert_eq!(Wishes::decode(data).expect("it was read"), wishes);
    }
}

fn check(data: &[u8]) {
    let Ok(wishes) = Wishes::decode(data) else { return };
    let mut bytes = Vec::new();
    wishes.write(&mut bytes).expect("it was short enough before");
    assert_eq!(Wishes::read(&bytes[..]).expect("our own messages are readable"), wishes);
    let judged = file().judge(&wishes.pinholes, &Facts::default());
    let granted: Vec<Granted> = judged.into_iter().flatten().collect();
    granted.iter().for_each(check_granted);
    let ports: BTreeSet<_> = granted.iter().filter_map(public_port).collect();
    assert_eq!(ports.len(), granted.iter().filter_map(public_port).count(), "two sessions share a port");
    check_plan(granted);
}

fn public_port(granted: &Granted) -> Option<(Protocol, u16)> {
    let way = &granted.pinhole().way;
    Some((way.protocol, way.translated.as_ref()?.public_port))
}

fn check_granted(granted: &Granted) {
    let pinhole = granted.pinhole();
    assert!(pinhole.remaining <= LONGEST && !pinhole.remaining.is_zero());
    let v4 = pinhole.way.translated.iter().map(|translated| IpAddr::from(*translated.target.ip()));
    let v6 = pinhole.way.direct.iter().map(|direct| IpAddr::from(*direct.target.ip()));
    let targets: Vec<IpAddr> = v4.chain(v6).collect();
    assert!(!targets.is_empty());
    assert!(targets.iter().all(|target| file().rules.iter().any(|rule| rule.targets.contains(target))));
}

fn check_plan(granted: Vec<Granted>) {
    let bits = MarkBits::default();
    let first = plan(granted.clone(), Vec::new(), bits, usize::MAX, &BTreeSet::new(), None);
    let there = first.openings.iter().map(|opening| {
        let pinhole = opening.granted.pinhole().clone();
        let masquerade = opening.granted.is_masqueraded();
        let (id, way, ends_within) = (pinhole.id, pinhole.way, pinhole.remaining);
        Present { id, number: opening.number, way, masquerade, ends_within }
    });
    let numbers: BTreeSet<_> = first.openings.iter().map(|opening| opening.number).collect();
    assert_eq!(numbers.len(), first.openings.len(), "two sessions share a number");
    let again = plan(granted, there.collect(), bits, usize::MAX, &BTreeSet::new(), None);
    assert!(again.endings.is_empty() && again.openings.iter().all(|opening| opening.step == Step::Keep));
}

fn file() -> AllowList {
    let rule = |targets: &str| Rule {
        targets: targets.parse().expect("a network"),
        protocol: None,
        ports: vec!["1-65535".parse().expect("ports")],
        longest: LONGEST,
        masquerade: false,
    };
    AllowList {
        rules: vec![rule("192.168.77.0/24"), rule("2001:db8:78::/64")],
        public_ports: vec!["1024-65535".parse().expect("ports")],
    }
}
