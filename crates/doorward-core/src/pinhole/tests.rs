use super::*;
use std::net::IpAddr;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ranges(given: &[&str]) -> Vec<PortRange> {
    given.iter().map(|text| text.parse().unwrap()).collect()
}

fn file() -> AllowList {
    let rule = |targets: &str, protocol, ports: &[&str], longest| Rule {
        targets: targets.parse().unwrap(),
        protocol,
        ports: ranges(ports),
        longest: seconds(longest),
        masquerade: targets.ends_with(".9/32"),
    };
    AllowList {
        rules: vec![
            rule("192.168.77.10/32", Some(Protocol::Tcp), &["22", "8000-8080"], 3600),
            rule("192.168.77.9/32", None, &["53"], 60),
            rule("2001:db8:78::/64", Some(Protocol::Tcp), &["22"], 3600),
            rule("0.0.0.0/0", Some(Protocol::Udp), &["7"], 10),
            rule("::/0", Some(Protocol::Udp), &["7"], 10),
        ],
        public_ports: ranges(&["40000-40009"]),
    }
}

fn wish(id: &str, port: u16, target: &str, sources: &[&str]) -> Pinhole {
    let translated = Translated {
        public_port: port,
        target: target.parse().unwrap(),
        sources: sources.iter().map(|source| source.parse().unwrap()).collect(),
        neighbours: false,
    };
    let way = Way { protocol: Protocol::Tcp, translated: Some(translated), direct: None };
    Pinhole { id: PinholeId::parse(id).unwrap(), remaining: seconds(60), way }
}

fn direct(id: &str, target: &str, sources: &[&str]) -> Pinhole {
    let sources = sources.iter().map(|source| Site::from(source.parse::<Ipv6Addr>().unwrap())).collect();
    let direct = Direct { target: target.parse().unwrap(), sources };
    let way = Way { protocol: Protocol::Tcp, translated: None, direct: Some(direct) };
    Pinhole { id: PinholeId::parse(id).unwrap(), remaining: seconds(60), way }
}

fn nas(id: &str) -> Pinhole {
    wish(id, 40000, "192.168.77.10:22", &["198.51.100.10"])
}

fn change(mut pinhole: Pinhole, how: impl FnOnce(&mut Pinhole)) -> Pinhole {
    how(&mut pinhole);
    pinhole
}

fn refusal(pinhole: Pinhole) -> Option<Refusal> {
    file().judge(&[pinhole], &Facts::default()).remove(0).err()
}

fn translated(pinhole: &mut Pinhole) -> &mut Translated {
    pinhole.way.translated.as_mut().unwrap()
}

#[test]
fn what_the_file_says_is_granted_and_nothing_said_grants_nothing() {
    assert_eq!(refusal(nas("a")), None);
    assert_eq!(refusal(direct("a", "[2001:db8:78::10]:22", &["2001:db8:20::10"])), None);
    let judged = AllowList::default().judge(&[nas("a")], &Facts::default());
    assert!(matches!(judged[..], [Err(Refusal::Target { .. })]), "{judged:?}");
}

fn crowd(size: u8) -> BTreeSet<Ipv4Addr> {
    (1..=size).map(|last| Ipv4Addr::new(198, 51, 100, last)).collect()
}

#[test]
fn every_way_past_the_file_is_refused_with_its_reason() {
    let target = |ip: &str, port, protocol| Refusal::Target { protocol, target: ip.parse().unwrap(), port };
    let tcp = |ip: &str, port| target(ip, port, Protocol::Tcp);
    let udp = |ip: &str, port| target(ip, port, Protocol::Udp);
    let source = |ip: &str| Refusal::Source(ip.parse().unwrap());
    let aim = |to: &str| change(nas("a"), |p| translated(p).target = to.parse().unwrap());
    let from = |ip: &str| change(nas("a"), |p| translated(p).sources = [ip.parse().unwrap()].into());
    let by_udp = |mut pinhole: Pinhole| {
        pinhole.way.protocol = Protocol::Udp;
        pinhole.remaining = seconds(1);
        pinhole
    };
    let table = [
        (aim("192.168.77.1:22"), tcp("192.168.77.1", 22)),
        (aim("192.168.77.10:23"), tcp("192.168.77.10", 23)),
        (aim("192.168.77.10:8081"), tcp("192.168.77.10", 8081)),
        (by_udp(aim("192.168.77.10:22")), udp("192.168.77.10", 22)),
        (by_udp(aim("127.0.0.1:7")), udp("127.0.0.1", 7)),
        (by_udp(aim("0.0.0.0:7")), udp("0.0.0.0", 7)),
        (by_udp(aim("224.0.0.1:7")), udp("224.0.0.1", 7)),
        (by_udp(aim("255.255.255.255:7")), udp("255.255.255.255", 7)),
        (by_udp(direct("a", "[::1]:7", &["2001:db8::1"])), udp("::1", 7)),
        (by_udp(direct("a", "[fe80::1]:7", &["2001:db8::1"])), udp("fe80::1", 7)),
        (by_udp(direct("a", "[::ffff:127.0.0.1]:7", &["2001:db8::1"])), udp("::ffff:127.0.0.1", 7)),
        (direct("a", "[2001:db8:79::1]:22", &["2001:db8::1"]), tcp("2001:db8:79::1", 22)),
        (change(nas("a"), |p| p.remaining = seconds(3601)), Refusal::TooLong(seconds(3600))),
        (change(nas("a"), |p| p.remaining = Duration::from_millis(u64::MAX)), Refusal::TooLong(seconds(3600))),
        (change(nas("a"), |p| p.remaining = Duration::ZERO), Refusal::Over),
        (change(nas("a"), |p| translated(p).public_port = 22), Refusal::PublicPort(22)),
        (change(nas("a"), |p| translated(p).public_port = 0), Refusal::NoPortFree),
        (change(nas("a"), |p| translated(p).sources.clear()), Refusal::NoSource),
        (change(nas("a"), |p| p.way.translated = None), Refusal::Nothing),
        (direct("a", "[2001:db8:78::10]:22", &[]), Refusal::NoSource),
        (change(nas("a"), |p| translated(p).sources = crowd(33)), Refusal::TooManySources),
        (from("0.0.0.0"), source("0.0.0.0")),
        (from("127.0.0.1"), source("127.0.0.1")),
        (from("255.255.255.255"), source("255.255.255.255")),
        (from("224.0.0.251"), source("224.0.0.251")),
        (from("169.254.1.1"), source("169.254.1.1")),
        (direct("a", "[2001:db8:78::10]:22", &["::"]), source("::")),
        (direct("a", "[2001:db8:78::10]:22", &["fe80::1"]), source("fe80::")),
        (direct("a", "[2001:db8:78::10]:22", &["::ffff:198.51.100.10"]), source("::")),
    ];
    for (pinhole, reason) in table {
        assert_eq!(refusal(pinhole.clone()), Some(reason), "{pinhole:?}");
    }
}

#[test]
fn a_session_with_both_families_needs_both_allowed() {
    let both = |v6: &str| {
        let v6 = direct("a", v6, &["2001:db8:20::10"]);
        change(nas("a"), |p| p.way.direct = v6.way.direct)
    };
    assert_eq!(refusal(both("[2001:db8:78::10]:22")), None);
    assert!(refusal(both("[2001:db8:78::10]:23")).is_some());
}

#[test]
fn a_port_of_something_on_the_router_is_refused() {
    let facts = Facts { taken: [(Protocol::Tcp, 40000), (Protocol::Udp, 40001)].into(), ..Facts::default() };
    let other = wish("b", 40001, "192.168.77.10:22", &["198.51.100.10"]);
    let judged = file().judge(&[nas("a"), other], &facts);
    assert!(matches!(judged[..], [Err(Refusal::PortInUse(40000)), Ok(_)]), "{judged:?}");
}

#[test]
fn two_sessions_never_share_what_they_are_told_apart_by() {
    let [six, seven] = ["[2001:db8:78::10]:22", "[2001:db8:78::11]:22"];
    let table = [
        (nas("a"), wish("b", 40000, "192.168.77.10:22", &["198.51.100.20"]), true),
        (nas("a"), wish("b", 40001, "192.168.77.10:22", &["198.51.100.10"]), false),
        (direct("a", six, &["2001:db8:20::10"]), direct("b", six, &["2001:db8:20::20"]), true),
        (direct("a", six, &["2001:db8:20::10"]), direct("b", six, &["2001:db8:20:1::10"]), false),
        (direct("a", six, &["2001:db8:20::10"]), direct("b", seven, &["2001:db8:20::10"]), false),
    ];
    for (first, second, clash) in table {
        let judged = file().judge(&[first.clone(), second.clone()], &Facts::default());
        assert!(judged[0].is_ok());
        let expected = clash.then(|| Refusal::Shared(first.id.clone()));
        assert_eq!(judged[1].as_ref().err(), expected.as_ref(), "{first:?} {second:?}");
    }
    let refused = change(nas("a"), |p| p.remaining = Duration::ZERO);
    let judged = file().judge(&[refused, nas("b")], &Facts::default());
    assert!(judged[1].is_ok(), "who was refused claims nothing");
}

#[test]
fn a_message_comes_through_whole() {
    let wishes = Wishes { pinholes: vec![nas("a"), direct("b", "[2001:db8:78::10]:22", &["2001:db8:20::10"])] };
    let mut bytes = Vec::new();
    wishes.write(&mut bytes).unwrap();
    assert_eq!(Wishes::read(&bytes[..]).unwrap(), wishes);
    let told = |id: &str, state| Told { id: PinholeId::parse(id).unwrap(), state, public_port: None };
    let target: IpAddr = "192.168.77.1".parse().unwrap();
    let refusal = Refusal::Target { protocol: Protocol::Tcp, target, port: 22 };
    let states = [State::Ready, State::Passed, State::Blocked("x".into()), State::Refused(refusal)];
    let answer = Answer { pinholes: states.map(|state| told("a", state)).into(), fault: Some("y".into()) };
    let mut bytes = Vec::new();
    answer.write(&mut bytes).unwrap();
    assert_eq!(Answer::read(&bytes[..]).unwrap(), answer);
}

#[test]
fn hostile_messages_are_refused_as_a_whole() {
    let good = serde_json::to_string(&Wishes { pinholes: vec![nas("a")] }).unwrap();
    assert!(Wishes::decode(good.as_bytes()).is_ok(), "{good}");
    let spoilt = |from: &str, to: &str| {
        assert!(good.contains(from), "{good} has no {from}");
        good.replacen(from, to, 1)
    };
    let table = [
        spoilt(r#""a""#, r#""""#),
        spoilt(r#""a""#, &format!("{:?}", "a".repeat(49))),
        spoilt(r#""a""#, r#""a b""#),
        spoilt(r#""a""#, r#""a\" timeout 1h""#),
        spoilt(r#""a""#, r#""ü""#),
        spoilt("60000", "-1"),
        spoilt("60000", "1e3"),
        spoilt("60000", "18446744073709551616"),
        spoilt("40000", "65536"),
        spoilt("192.168.77.10:22", "192.168.77.10"),
        spoilt("192.168.77.10:22", "nas.lan:22"),
        spoilt("192.168.77.10:22", "192.168.77.10:22; flush ruleset"),
        spoilt("192.168.77.10:22", "[2001:db8:78::10]:22"),
        spoilt("198.51.100.10", "198.51.100.0/24"),
        spoilt("198.51.100.10", "1"),
        spoilt(r#""tcp""#, r#""icmp""#),
        spoilt(r#""public-port""#, r#""for-ever":true,"public-port""#),
        spoilt(r#""pinholes""#, r#""flush":true,"pinholes""#),
        spoilt(r#""id""#, r#""until":7,"id""#),
        "[".repeat(100_000),
        String::new(),
        "null".to_owned(),
    ];
    for text in table {
        assert!(Wishes::decode(text.as_bytes()).is_err(), "{:.200} was taken", text);
    }
    let twice = Wishes { pinholes: vec![nas("a"), wish("a", 40001, "192.168.77.10:22", &["198.51.100.10"])] };
    let twice = serde_json::to_vec(&twice).unwrap();
    assert!(matches!(Wishes::decode(&twice), Err(MessageError::TwiceNamed(_))));
}

#[test]
fn a_length_is_held_to_and_not_believed() {
    let promise = |length: u32, bytes: &[u8]| Wishes::read(&[&length.to_be_bytes(), bytes].concat()[..]);
    assert!(promise(15, br#"{"pinholes":[]}"#).is_ok());
    assert!(matches!(promise(u32::MAX, b"{}"), Err(MessageError::TooLong(_))));
    assert!(matches!(promise(LONGEST_WISHES as u32 + 1, b"{}"), Err(MessageError::TooLong(_))));
    assert!(matches!(promise(LONGEST_WISHES as u32, b"{}"), Err(MessageError::Io(_))));
    assert!(matches!(promise(14, br#"{"pinholes":[]}"#), Err(MessageError::Unreadable(_))));
    assert!(matches!(Wishes::read(&[0, 0][..]), Err(MessageError::Io(_))));
}

/// Of sessions; no limit.
const MANY: usize = usize::MAX;

fn granted(pinholes: &[Pinhole]) -> Vec<Granted> {
    file().judge(pinholes, &Facts::default()).into_iter().map(|judged| judged.unwrap()).collect()
}

/// What a plan leaves in the kernel.
fn outcome(plan: &Plan) -> Vec<Present> {
    let present = |opening: &Opening| {
        let Pinhole { id, remaining, way } = opening.granted.pinhole().clone();
        let masquerade = opening.granted.is_masqueraded();
        Present { id, number: opening.number, way, masquerade, ends_within: remaining }
    };
    plan.openings.iter().map(present).collect()
}

fn planned(wishes: &[Pinhole], present: Vec<Present>) -> Plan {
    plan(granted(wishes), present, MarkBits::default(), MANY, &BTreeSet::new(), None)
}

fn steps(plan: &Plan) -> Vec<Step> {
    plan.openings.iter().map(|opening| opening.step).collect()
}

#[test]
fn asked_again_nothing_changes_and_what_is_no_longer_wished_ends() {
    let [a, b] = [nas("a"), wish("b", 40001, "192.168.77.10:22", &["198.51.100.20"])];
    let first = planned(&[a.clone(), b.clone()], Vec::new());
    assert_eq!(steps(&first), [Step::Open, Step::Open]);
    assert_ne!(first.openings[0].number, first.openings[1].number);
    let again = planned(&[a.clone(), b], outcome(&first));
    assert_eq!(steps(&again), [Step::Keep, Step::Keep]);
    let less = planned(&[a], outcome(&first));
    assert_eq!(steps(&less), [Step::Keep]);
    assert_eq!(less.endings, outcome(&first)[1..]);
    assert_eq!(planned(&[], outcome(&first)).endings, outcome(&first));
}

#[test]
fn a_session_is_prolonged_and_shortened_under_its_number() {
    let there = outcome(&planned(&[nas("a")], Vec::new()));
    let table = [
        (120_000, Step::Renew),
        (5_000, Step::Renew),
        (59_900, Step::Keep),
        (60_100, Step::Keep),
        (59_700, Step::Renew),
    ];
    for (left, step) in table {
        let wish = change(nas("a"), |p| p.remaining = Duration::from_millis(left));
        let plan = planned(&[wish], there.clone());
        assert_eq!((steps(&plan), plan.openings[0].number), (vec![step], there[0].number), "{left}");
        assert!(plan.endings.is_empty());
    }
}

#[test]
fn a_source_may_join_a_session_but_none_leaves_it_connected() {
    let two = wish("a", 40000, "192.168.77.10:22", &["198.51.100.10", "198.51.100.11"]);
    let there = outcome(&planned(&[nas("a")], Vec::new()));
    let joined = planned(std::slice::from_ref(&two), there.clone());
    assert_eq!((steps(&joined), joined.openings[0].number), (vec![Step::Renew], there[0].number));
    let narrowed = [
        nas("a"),
        change(two.clone(), |p| translated(p).target = "192.168.77.10:8000".parse().unwrap()),
        change(two.clone(), |p| translated(p).public_port = 40001),
        change(two, |p| p.way = direct("a", "[2001:db8:78::10]:22", &["2001:db8:20::10"]).way),
    ];
    let there = outcome(&joined);
    for wish in narrowed {
        let plan = planned(std::slice::from_ref(&wish), there.clone());
        assert_eq!(steps(&plan), [Step::Open], "{wish:?}");
        assert_eq!(plan.endings, there, "{wish:?}");
        assert_ne!(plan.openings[0].number, there[0].number, "{wish:?}");
    }
}

#[test]
fn a_number_that_connections_still_bear_is_given_to_nobody() {
    let bits: MarkBits = "0x7ff".parse().unwrap();
    let every = |from: u32| (from..=1023).map(|n| bits.number(bits.flag() | n).unwrap()).collect::<BTreeSet<_>>();
    let left = plan(granted(&[nas("a")]), Vec::new(), bits, MANY, &every(2), None);
    assert_eq!(left.openings[0].number.to_string(), "1");
    let none = plan(granted(&[nas("a")]), Vec::new(), bits, MANY, &every(1), None);
    assert_eq!((none.openings.len(), none.crowded_out), (0, vec![PinholeId::parse("a").unwrap()]));
    let there = outcome(&left);
    let kept = plan(granted(&[nas("a")]), there, bits, MANY, &every(1), None);
    assert_eq!(steps(&kept), [Step::Keep], "its own connections do not shut it out");
}

#[test]
fn beyond_what_the_firewall_keeps_the_newest_are_refused_wherever_they_stand_in_the_message() {
    let wishes = ["a", "b", "c"].map(|id| {
        let port = 40000 + u16::from(id.as_bytes()[0] - b'a');
        wish(id, port, "192.168.77.10:22", &["198.51.100.10"])
    });
    let [a, b, c] = wishes;
    let two = |wishes: &[Pinhole], there| plan(granted(wishes), there, MarkBits::default(), 2, &BTreeSet::new(), None);
    let first = two(&[b.clone(), c.clone()], Vec::new());
    assert_eq!(steps(&first), [Step::Open, Step::Open]);
    let more = two(&[a.clone(), b.clone(), c], outcome(&first));
    assert_eq!((steps(&more), &more.crowded_out), (vec![Step::Keep, Step::Keep], &vec![a.id.clone()]));
    let freed = two(&[a, b], outcome(&first));
    assert_eq!(steps(&freed), [Step::Open, Step::Keep], "one ends, and there is room");
}
