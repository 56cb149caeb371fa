//! What the rules of others do to our packets.

use crate::fate::{About, Deed, Fate, Rule, fate};
use crate::iptables::{Family, Line, Listing, Place};
use doorward_core::pinhole::Protocol;
use std::collections::BTreeSet;

/// The chain that drops a new packet of ours on its way through, unless a rule that we cannot judge lets it pass.
pub(crate) fn blocking(seen: &Listing, family: Family) -> Option<String> {
    let forward = Place::new(family, "filter", "FORWARD");
    let rules = |chain: &Place| seen.of(chain).filter(|line| !line.is_ours_elsewhere()).map(rule).collect();
    let fate = fate(&forward, &rules);
    let by_policy = fate == Fate::Open && seen.chains.get(&forward).is_some_and(|policy| policy == "DROP");
    (fate == Fate::Dropped || by_policy).then(|| format!("{} filter FORWARD", family.program()))
}

fn rule(line: &Line) -> Rule<Place> {
    let deed = match line.value("-j").or_else(|| line.value("-g")) {
        None => Deed::Pass,
        Some("ACCEPT") => Deed::Accept,
        Some("DROP" | "REJECT") => Deed::Drop,
        Some("RETURN") => Deed::Return,
        Some(to) => Deed::Lead(Place { chain: to.to_owned(), ..line.place.clone() }),
    };
    Rule { about: about(line), deed }
}

fn about(line: &Line) -> About {
    let mut words = line.words.iter().map(String::as_str);
    let mut about = About::Yes;
    while let Some(word) = words.next() {
        let this = match word {
            // What follows belongs to the target.
            "-j" | "-g" => break,
            "-m" | "--comment" => About::Yes,
            "-i" | "-o" | "-p" => About::Maybe,
            "--ctstate" | "--state" => {
                let states = words.next().unwrap_or_default();
                let is_ours = states
                    .split(',')
                    .any(|state| state == "NEW" || state == "DNAT" && line.place.family == Family::Four);
                about = about.min(if is_ours { About::Yes } else { About::No });
                continue;
            }
            // Negations, and conditions on what we do not know.
            _ => About::No,
        };
        about = about.min(this);
        words.next();
    }
    about
}

/// Public ports that the owner's own rules lead somewhere.
pub(crate) fn translated_ports(seen: &Listing) -> BTreeSet<(Protocol, u16)> {
    let is_forward = |line: &&Line| {
        !line.place.is_ours() && line.place.table == "nat" && matches!(line.value("-j"), Some("DNAT" | "REDIRECT"))
    };
    let ports = seen.lines.iter().filter(is_forward).flat_map(|line| {
        let protocols = match line.value("-p") {
            Some("tcp") => &[Protocol::Tcp][..],
            Some("udp") => &[Protocol::Udp],
            Some(_) => &[],
            None => &[Protocol::Tcp, Protocol::Udp],
        };
        let ports = line.value("--dport").or_else(|| line.value("--dports")).unwrap_or_default();
        let ranges = ports.split(',').filter_map(|range| {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
        });
        ranges.flatten().flat_map(|port| protocols.iter().map(move |protocol| (*protocol, port))).collect::<Vec<_>>()
    });
    ports.collect()
}

/// What lets established connections pass without the chain in which sessions are ended.
pub(crate) fn offload(seen: &Listing) -> Option<String> {
    let line = seen.lines.iter().find(|line| line.value("-j") == Some("FLOWOFFLOAD"))?;
    Some(format!("FLOWOFFLOAD in {} {} {}", line.place.family.program(), line.place.table, line.place.chain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(family: Family, policy: &str, rules: &[&str]) -> Listing {
        let mut listing = Listing::default();
        let rules: String = rules.iter().map(|rule| format!("-A {rule}\n")).collect();
        listing.add(family, &format!("*filter\n:FORWARD {policy} [0:0]\n:wan - [0:0]\n{rules}COMMIT\n"));
        listing
    }

    #[test]
    fn a_chain_that_drops_what_it_does_not_know_is_found() {
        let established = "FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
        let by_zone = "FORWARD -i wan -m comment --comment \"!fw3\" -j wan";
        let forwards = "wan -m conntrack --ctstate DNAT -m comment --comment \"!fw3: Accept port forwards\" -j ACCEPT";
        let ours = "FORWARD -m connmark --mark 0x1/0x1 -m comment --comment \"doorward router\" -j doorward-forward";
        let table: &[(&str, &[&str], [bool; 2])] = &[
            ("ACCEPT", &[], [false, false]),
            ("DROP", &[], [true, true]),
            ("DROP", &[ours, established], [true, true]),
            ("ACCEPT", &[established, "FORWARD -j REJECT --reject-with icmp-port-unreachable"], [true, true]),
            ("ACCEPT", &[by_zone, "wan -j DROP"], [true, true]),
            ("DROP", &["FORWARD -m conntrack --ctstate DNAT -j ACCEPT"], [false, true]),
            ("ACCEPT", &[by_zone, forwards, "wan -j DROP"], [false, true]),
            ("ACCEPT", &["FORWARD -s 192.0.2.1/32 -j DROP"], [false, false]),
            ("ACCEPT", &["FORWARD -j wan", "wan -j RETURN", "wan -j DROP"], [false, false]),
            ("DROP", &["FORWARD -j FORWARD"], [true, true]),
            ("DROP", &["FORWARD -j ACCEPT"], [false, false]),
        ];
        for (policy, rules, expected) in table {
            let blocks = Family::ALL.map(|family| blocking(&seen(family, policy, rules), family).is_some());
            assert_eq!(blocks, *expected, "{policy} {rules:?}");
        }
    }

    #[test]
    fn the_owners_forwards_are_known_by_their_ports() {
        let mut listing = Listing::default();
        let rules = "*nat\n\
             -A zone_wan_prerouting -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.168.1.2\n\
             -A PREROUTING -p udp -m udp --dport 90:91 -j REDIRECT --to-ports 9\n\
             -A PREROUTING -p tcp -m multiport --dports 100,110:111 -j DNAT --to-destination 192.168.1.2\n\
             -A PREROUTING -p tcp -m tcp --dport 443 -j ACCEPT\n\
             -A doorward-leading -p tcp -m tcp --dport 444 -j DNAT --to-destination 192.168.1.2\nCOMMIT\n";
        listing.add(Family::Four, rules);
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        assert_eq!(
            translated_ports(&listing),
            [(tcp, 80), (udp, 90), (udp, 91), (tcp, 100), (tcp, 110), (tcp, 111)].into()
        );
    }

    #[test]
    fn a_short_cut_is_named() {
        assert_eq!(offload(&seen(Family::Four, "ACCEPT", &[])), None);
        let rule = "FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j FLOWOFFLOAD --hw";
        let named = offload(&seen(Family::Four, "ACCEPT", &[rule]));
        assert_eq!(named.as_deref(), Some("FLOWOFFLOAD in iptables filter FORWARD"));
    }
}
