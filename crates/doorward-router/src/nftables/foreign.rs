//! What other tables do to our packets: an accept of ours does not outweigh a later drop of theirs.

use crate::fate::{About, Deed, Fate, Rule, fate};
use crate::firewall::{TAG, short_cut};
use crate::nftables::Ruleset;
use doorward_core::pinhole::Protocol;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What kind of packets of ours is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4, led elsewhere by us.
    Translated,
    /// IPv6.
    Direct,
}

/// A chain of others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Chain {
    pub(crate) family: String,
    pub(crate) table: String,
    pub(crate) name: String,
}

impl Chain {
    fn of(object: &Value, name: &str) -> Option<Self> {
        let text = |key: &str| Some(object[key].as_str()?.to_owned());
        Some(Self { family: text("family")?, table: text("table")?, name: text(name)? })
    }

    pub(crate) fn words(&self) -> String {
        format!("{} {} {}", self.family, self.table, self.name)
    }

    fn sees(&self, family: Family) -> bool {
        match family {
            Family::Translated => matches!(self.family.as_str(), "ip" | "inet"),
            Family::Direct => matches!(self.family.as_str(), "ip6" | "inet"),
        }
    }
}

/// Base chains that drop a new packet of ours on its way through, unless a rule that we cannot judge lets it pass.
pub(crate) fn blocking(ruleset: &Ruleset, family: Family) -> Vec<Chain> {
    let mut rules: BTreeMap<Chain, Vec<&Value>> = BTreeMap::new();
    for rule in ruleset.of_kind("rule", false) {
        if let Some(chain) = Chain::of(rule, "chain") {
            rules.entry(chain).or_default().push(rule);
        }
    }
    let of = |chain: &Chain| rules.get(chain).into_iter().flatten().map(|rule| read(rule, chain, family)).collect();
    let blocks = |object: &Value| {
        let chain = Chain::of(object, "name").filter(|chain| chain.sees(family))?;
        let fate = fate(&chain, &of);
        let by_policy = object["policy"] == "drop" && fate == Fate::Open;
        (fate == Fate::Dropped || by_policy).then_some(chain)
    };
    ruleset.of_kind("chain", false).filter(|object| object["hook"] == "forward").filter_map(blocks).collect()
}

fn read(rule: &Value, chain: &Chain, family: Family) -> Rule<Chain> {
    let expressions = rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_ours = rule["comment"] == TAG;
    let about = expressions.iter().map(|one| about(one, family)).min().unwrap_or(About::Yes);
    let about = if is_ours { About::Yes } else { about };
    let verdict = expressions.last().and_then(Value::as_object).and_then(|verdict| verdict.iter().next());
    let deed = verdict.map_or(Deed::Pass, |(verdict, argument)| match verdict.as_str() {
        "accept" => Deed::Accept,
        "drop" | "reject" => Deed::Drop,
        "return" => Deed::Return,
        "jump" | "goto" => {
            let name = argument["target"].as_str().unwrap_or_default().to_owned();
            Deed::Lead(Chain { name, ..chain.clone() })
        }
        _ => Deed::Pass,
    });
    Rule { about, deed }
}

fn about(expression: &Value, family: Family) -> About {
    let Some((kind, body)) = expression.as_object().and_then(|expression| expression.iter().next()) else {
        return About::No;
    };
    if kind != "match" {
        // Extensions of iptables show nothing of themselves; the rest are statements, which match everything.
        return if kind == "xt" { About::No } else { About::Yes };
    }
    let (left, right) = (&body["left"], &body["right"]);
    let is_negated = body["op"] == "!=";
    let names = |word: &str| {
        right == word
            || right.as_array().is_some_and(|all| all.iter().any(|one| one == word))
            || right["set"].as_array().is_some_and(|all| all.iter().any(|one| one == word))
    };
    let certain = |holds: bool| if holds == is_negated { About::No } else { About::Yes };
    match (left["meta"]["key"].as_str(), left["ct"]["key"].as_str()) {
        (Some("iifname" | "oifname" | "iif" | "oif" | "l4proto"), _) => About::Maybe,
        (Some("nfproto"), _) => certain(names(match family {
            Family::Translated => "ipv4",
            Family::Direct => "ipv6",
        })),
        (_, Some("state")) => certain(names("new")),
        (_, Some("status")) => certain(names("dnat") && family == Family::Translated),
        (_, _) => About::No,
    }
}

/// Rules of ours in foreign chains, each with its handle.
pub(crate) fn own_accepts(ruleset: &Ruleset) -> Vec<(Chain, u64)> {
    // Jumps of ours are iptables', which looks after them itself.
    let accepts = |rule: &&Value| {
        let last = rule["expr"].as_array().and_then(|expressions| expressions.last());
        last.is_some_and(|verdict| verdict.get("accept").is_some())
    };
    let tagged = ruleset.of_kind("rule", false).filter(|rule| rule["comment"] == TAG).filter(accepts);
    tagged.filter_map(|rule| Some((Chain::of(rule, "chain")?, rule["handle"].as_u64()?))).collect()
}

/// What lets established connections pass without the forward hook, where sessions are ended.
pub(crate) fn offload(ruleset: &Ruleset) -> Option<String> {
    let flowtable = ruleset.of_kind("flowtable", false).find_map(|table| Chain::of(table, "name"));
    flowtable.map(|table| format!("flowtable {}", table.words())).or_else(short_cut)
}

/// Public ports that the owner's own rules lead somewhere.
pub(crate) fn translated_ports(ruleset: &Ruleset) -> BTreeSet<(Protocol, u16)> {
    let rules = ruleset.of_kind("rule", false).filter_map(|rule| rule["expr"].as_array());
    let forwards = rules.filter(|all| all.iter().any(|one| one.get("dnat").is_some() || one.get("redirect").is_some()));
    let mut ports = BTreeSet::new();
    for field in forwards.flatten().filter_map(|one| one.get("match")).filter(|one| one["op"] != "!=") {
        let payload = &field["left"]["payload"];
        if payload["field"] != "dport" {
            continue;
        }
        let protocols = match payload["protocol"].as_str() {
            Some("tcp") => &[Protocol::Tcp][..],
            Some("udp") => &[Protocol::Udp],
            Some(_) | None => &[Protocol::Tcp, Protocol::Udp],
        };
        let named = numbers(&field["right"]);
        ports.extend(named.into_iter().flat_map(|port| protocols.iter().map(move |protocol| (*protocol, port))));
    }
    ports
}

fn numbers(value: &Value) -> Vec<u16> {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    if let Some(port) = number(value) {
        return vec![port];
    }
    if let Some([first, last]) = value["range"].as_array().map(Vec::as_slice)
        && let Some((first, last)) = number(first).zip(number(last))
    {
        return (first..=last).collect();
    }
    value["set"].as_array().into_iter().flatten().flat_map(numbers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A table `inet other` with a base chain `passing` and others; rules as (chain, expressions).
    fn ruleset(policy: &str, rules: &[(&str, Value)]) -> Ruleset {
        let place = |object: Value| {
            let mut object = object;
            object["family"] = "inet".into();
            object["table"] = "other".into();
            object
        };
        let base = json!({ "name": "passing", "hook": "forward", "prio": 0, "policy": policy });
        let mut objects = vec![json!({ "metainfo": {} }), json!({ "chain": place(base) })];
        for (handle, (chain, expressions)) in rules.iter().enumerate() {
            let mut rule = json!({ "chain": chain, "handle": handle, "expr": expressions });
            if expressions.to_string().contains("tagged") {
                rule["comment"] = TAG.into();
            }
            objects.push(json!({ "rule": place(rule) }));
        }
        Ruleset::parse(&serde_json::to_vec(&json!({ "nftables": objects })).unwrap()).unwrap()
    }

    fn matched(left: Value, right: impl Into<Value>, op: &str) -> Value {
        json!({ "match": { "op": op, "left": left, "right": right.into() } })
    }

    fn from_wan() -> Value {
        matched(json!({ "meta": { "key": "iifname" } }), "wan", "==")
    }

    fn state(words: Value, op: &str) -> Value {
        matched(json!({ "ct": { "key": "state" } }), words, op)
    }

    fn verdict(word: &str) -> Value {
        json!({ word: null })
    }

    #[test]
    fn what_drops_our_packets_is_found_and_what_concerns_others_is_not() {
        let dnat = || matched(json!({ "ct": { "key": "status" } }), "dnat", "==");
        let address = || matched(json!({ "payload": { "protocol": "ip", "field": "saddr" } }), "192.0.2.1", "==");
        let jump = |to: &str| json!({ "jump": { "target": to } });
        let both = (true, true);
        let neither = (false, false);
        type Row<'r> = (&'r str, &'r [(&'r str, Value)], (bool, bool));
        let table: &[Row] = &[
            ("accept", &[], neither),
            ("drop", &[], both),
            ("drop", &[("passing", json!([state(json!(["established", "related"]), "in"), verdict("accept")]))], both),
            ("drop", &[("passing", json!([from_wan(), verdict("accept")]))], both),
            ("drop", &[("passing", json!([dnat(), verdict("accept")]))], (false, true)),
            ("drop", &[("passing", json!([verdict("accept")]))], neither),
            ("drop", &[("passing", json!([{ "tagged": null }, verdict("accept")]))], neither),
            ("accept", &[("passing", json!([from_wan(), verdict("drop")]))], both),
            ("accept", &[("passing", json!([address(), verdict("drop")]))], neither),
            ("accept", &[("passing", json!([state(json!("invalid"), "in"), verdict("drop")]))], neither),
            ("accept", &[("passing", json!([state(json!(["established"]), "!="), verdict("drop")]))], both),
            ("accept", &[("passing", json!([{ "counter": {} }, { "reject": { "type": "icmpx" } }]))], both),
            ("accept", &[("passing", json!([{ "xt": null }, verdict("drop")]))], neither),
            ("accept", &[("passing", json!([from_wan(), jump("next")])), ("next", json!([verdict("drop")]))], both),
            ("accept", &[("passing", json!([jump("next")])), ("next", json!([verdict("return")]))], neither),
            ("accept", &[("passing", json!([jump("passing")]))], neither),
            ("accept", &[("elsewhere", json!([verdict("drop")]))], neither),
        ];
        for (policy, rules, expected) in table {
            let ruleset = ruleset(policy, rules);
            let blocks = |family| !blocking(&ruleset, family).is_empty();
            assert_eq!((blocks(Family::Translated), blocks(Family::Direct)), *expected, "{policy} {rules:?}");
        }
    }

    #[test]
    fn a_flowtable_is_named() {
        assert_eq!(offload(&ruleset("accept", &[])), None);
        let flowtable = json!({ "flowtable": { "family": "inet", "table": "fw4", "name": "ft", "dev": ["wan"] } });
        let json = serde_json::to_vec(&json!({ "nftables": [flowtable] })).unwrap();
        assert_eq!(offload(&Ruleset::parse(&json).unwrap()).as_deref(), Some("flowtable inet fw4 ft"));
    }

    #[test]
    fn the_owners_forwards_are_known_by_their_ports() {
        let port = |protocol: &str, right: Value| {
            matched(json!({ "payload": { "protocol": protocol, "field": "dport" } }), right, "==")
        };
        let dnat = || json!({ "dnat": { "addr": "192.168.1.2" } });
        let rules = [
            ("passing", json!([port("tcp", json!(80)), dnat()])),
            ("passing", json!([port("udp", json!({ "range": [90, 91] })), dnat()])),
            ("passing", json!([port("th", json!({ "set": [100, { "range": [110, 111] }] })), { "redirect": null }])),
            ("passing", json!([port("tcp", json!(443)), verdict("accept")])),
        ];
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        let all =
            [(tcp, 80), (udp, 90), (udp, 91), (tcp, 100), (tcp, 110), (tcp, 111), (udp, 100), (udp, 110), (udp, 111)];
        assert_eq!(translated_ports(&ruleset("accept", &rules)), all.into());
    }
}
