//! A dialogue: what the keeper wants done, and what it hears.

use super::*;
use crate::attempt::{Answer, Granted};
use crate::ledger::By;
use crate::route::PORTS;
use crate::verdict::Verdict;
use crate::wish::{ExternalPort, Sources};
use std::num::NonZeroU16;

const HOME: Network =
    Network { router: Ipv4Addr::new(192, 168, 77, 1), local: Ipv4Addr::new(192, 168, 77, 10), ports: PORTS };
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const RULES: Rules = Rules { lease: HOUR, may_be_permanent: true, check: MINUTE, asks_address: false };

struct Talk {
    keeper: Keeper,
    now: Instant,
}

impl Talk {
    fn new() -> Self {
        Self::with(RULES, Ledger::new(1), Instant::now())
    }

    fn with(rules: Rules, ledger: Ledger, now: Instant) -> Self {
        let mut keeper = Keeper::new(rules, ledger, || 7, now);
        keeper.network(now, Ok(HOME));
        Self { keeper, now }
    }

    fn wish(&mut self, wishes: &[(&str, Wish)]) {
        let wishes = wishes.iter().map(|(name, wish)| ((*name).to_owned(), wish.clone())).collect();
        self.keeper.wish(self.now, &wishes);
    }

    fn next(&mut self) -> Deed {
        self.keeper.next(self.now)
    }

    /// The next deed is a question in this way; it is answered so.
    fn asked(&mut self, way: Way, answer: Answer) -> Deed {
        let deed = self.next();
        match &deed {
            Deed::Ask { attempt, .. } if attempt.way == way => self.keeper.asked(self.now, &deed, answer),
            other => panic!("{way} was to be asked, not {other:?}"),
        }
        deed
    }

    /// One that is open by PCP for an hour.
    fn opened(&mut self, name: &str, wish: Wish) {
        self.wish(&[(name, wish)]);
        self.asked(Way::Pcp, granted(40022, 3600, 100));
        assert!(matches!(self.state(name), State::Open(_)), "{:?}", self.state(name));
    }

    fn withdrawn(&mut self, withdrawn: Withdrawn) -> Line {
        match self.next() {
            Deed::Withdraw { id, line } => {
                self.keeper.withdrawn(self.now, id, withdrawn);
                line
            }
            other => panic!("something was to be withdrawn, not {other:?}"),
        }
    }

    /// Until the next deed is due.
    fn wait(&mut self) -> Duration {
        let Deed::Wait(Some(until)) = self.next() else { panic!("there is nothing to wait for") };
        assert!(until > self.now, "a wait that is over");
        let waited = until - self.now;
        self.now = until;
        waited
    }

    fn state(&self, name: &str) -> State {
        self.keeper.report().mappings[name].clone()
    }

    fn ledger(&self) -> Vec<Line> {
        self.keeper.ledger.ids().map(|id| self.keeper.ledger.line(id).unwrap().clone()).collect()
    }
}

fn wish(port: u16) -> Wish {
    Wish {
        protocol: Protocol::Tcp,
        internal_port: NonZeroU16::new(port).unwrap(),
        external_port: ExternalPort::Any,
        sources: Sources::Anyone,
        ends: None,
    }
}

fn granted(port: u16, lease: u64, epoch: u32) -> Answer {
    let lease = Some(Duration::from_secs(lease));
    Answer::Granted(Granted { address: Some(EXTERNAL), port, lease, epoch: Some(epoch) })
}

fn by_upnp(port: u16, lease: Option<u64>) -> Answer {
    let lease = lease.map(Duration::from_secs);
    Answer::Granted(Granted { address: Some(EXTERNAL), port, lease, epoch: None })
}

/// PCP and NAT-PMP are silent, UPnP is found.
fn up_to_upnp(talk: &mut Talk) {
    talk.asked(Way::Pcp, Answer::Silent);
    talk.asked(Way::NatPmp, Answer::Silent);
    assert_eq!(talk.next(), Deed::FindUpnp);
    talk.keeper.found_upnp(talk.now, Some("uuid:home".to_owned()));
}

#[test]
fn a_lease_is_renewed_at_half_of_its_time_and_withdrawn_when_nobody_wishes_it() {
    let mut talk = Talk::new();
    talk.opened("web", wish(8000));
    let State::Open(open) = talk.state("web") else { panic!("it is open") };
    assert_eq!((open.address, open.port, open.until), (EXTERNAL, 40022, Some(talk.now + HOUR)));
    let mut renewed_after = Duration::ZERO;
    loop {
        renewed_after += talk.wait();
        match talk.next() {
            Deed::Check { name, .. } => {
                let epoch = Some(100 + u32::try_from(renewed_after.as_secs()).unwrap());
                talk.keeper.checked(talk.now, &name, Checked::Stands { epoch, address: None });
            }
            Deed::Ask { attempt, .. } => {
                assert_eq!(attempt.external_port, 40022, "the same port is asked for");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(renewed_after, HOUR / 2);
    talk.asked(Way::Pcp, granted(40022, 3600, 1900));
    assert_eq!(talk.ledger().len(), 1, "it is the same mapping");
    talk.wish(&[]);
    assert_eq!(talk.keeper.report().leftovers, 1);
    talk.withdrawn(Withdrawn::Gone);
    assert_eq!((talk.ledger(), talk.next()), (vec![], Deed::Wait(None)));
}

#[test]
fn the_routers_address_is_asked_for_and_judges_what_is_open_anew() {
    let rules = Rules { asks_address: true, ..RULES };
    let mut talk = Talk::with(rules, Ledger::new(1), Instant::now());
    assert_eq!(talk.next(), Deed::AskAddress, "without a wish, too");
    talk.keeper.told_address(talk.now, None);
    assert_eq!(talk.wait(), 5 * MINUTE, "whoever does not say is asked less often");
    talk.keeper.told_address(talk.now, Some(EXTERNAL));
    assert_eq!(talk.keeper.report().external, Some(EXTERNAL));
    talk.opened("web", wish(8000));
    assert_eq!(talk.wait(), MINUTE);
    let moved = Ipv4Addr::new(198, 51, 100, 8);
    talk.keeper.told_address(talk.now, Some(moved));
    let State::Open(open) = talk.state("web") else { panic!("it is open") };
    assert_eq!((open.address, talk.keeper.report().external), (moved, Some(moved)));
    talk.asked(Way::Pcp, granted(40022, 3600, 160));
    assert!(matches!(talk.state("web"), State::Open(_)), "the router may have forgotten it");
    talk.keeper.told_address(talk.now, None);
    assert_eq!(talk.keeper.report().external, Some(EXTERNAL), "what it said counts until it says something else");
    let inner = Ipv4Addr::new(100, 64, 0, 7);
    talk.keeper.told_address(talk.now, Some(inner));
    let verdict = Verdict::CarrierNat { external: inner };
    assert_eq!(talk.state("web"), State::Failed(Why::Unreachable(verdict)));
}

#[test]
fn what_is_asked_is_in_the_ledger_before_it_is_asked() {
    let mut talk = Talk::new();
    talk.wish(&[("web", wish(8000))]);
    assert!(talk.keeper.unwritten().is_none());
    let Deed::Ask { line, .. } = talk.next() else { panic!("it is asked for") };
    assert_eq!(talk.keeper.unwritten().map(|ledger| ledger.ids().count()), Some(1));
    assert_eq!(talk.ledger(), [line]);
}

#[test]
fn nothing_new_is_asked_while_it_cannot_be_written_down() {
    let mut talk = Talk::new();
    talk.opened("web", wish(8000));
    talk.keeper.written();
    talk.wish(&[("web", wish(8000)), ("ssh", wish(22))]);
    let deed = talk.next();
    assert!(!talk.keeper.unwritable(talk.now, &deed, "disk full".to_owned()));
    assert_eq!(talk.state("ssh"), State::Failed(Why::Unwritable("disk full".to_owned())));
    assert_eq!(talk.ledger().len(), 1, "what is open stays written down");
    talk.wish(&[("ssh", wish(22))]);
    let deed = talk.next();
    assert!(matches!(deed, Deed::Withdraw { .. }));
    assert!(talk.keeper.unwritable(talk.now, &deed, "disk full".to_owned()), "what is left is withdrawn all the same");
}

#[test]
fn whatever_an_earlier_process_left_is_withdrawn_before_anything_is_asked() {
    let mut before = Talk::new();
    before.wish(&[("web", wish(8000))]);
    up_to_upnp(&mut before);
    // It was killed while it asked.
    let Deed::Ask { line, .. } = before.next() else { panic!("it is asked for") };
    let written = before.keeper.unwritten().unwrap().clone();
    let mut talk = Talk::with(RULES, written, Instant::now());
    talk.wish(&[("web", wish(8000))]);
    assert_eq!(talk.withdrawn(Withdrawn::Gone), line);
    assert_eq!(talk.ledger(), []);
    talk.asked(Way::Pcp, granted(40022, 3600, 1));
}

#[test]
fn a_mapping_without_an_end_is_written_down_as_such_and_never_forgotten() {
    let mut talk = Talk::new();
    talk.wish(&[("web", wish(8000))]);
    up_to_upnp(&mut talk);
    talk.asked(Way::Upnp, Answer::PermanentOnly);
    let deed = talk.asked(Way::Upnp, by_upnp(49159, None));
    let Deed::Ask { lease, line, .. } = deed else { panic!("it was asked for") };
    assert_eq!(lease, Duration::ZERO);
    assert!(matches!(line.by, By::Upnp { permanent: true, .. }), "as such, before it was asked for");
    let State::Open(open) = talk.state("web") else { panic!("it is open") };
    assert_eq!(open.until, None);
    talk.wish(&[]);
    for _ in 0..100 {
        talk.withdrawn(Withdrawn::Silent);
        assert_eq!(talk.ledger().len(), 1);
        assert!(talk.wait() <= LAST_RETRY);
    }
    talk.withdrawn(Withdrawn::Gone);
    assert_eq!(talk.ledger(), []);
}

#[test]
fn a_router_that_makes_it_without_an_end_unasked_is_noticed() {
    for may_be_permanent in [true, false] {
        let rules = Rules { may_be_permanent, ..RULES };
        let mut talk = Talk::with(rules, Ledger::new(1), Instant::now());
        talk.wish(&[("web", wish(8000))]);
        up_to_upnp(&mut talk);
        talk.asked(Way::Upnp, by_upnp(49159, None));
        assert!(matches!(talk.ledger()[0].by, By::Upnp { permanent: true, .. }));
        if may_be_permanent {
            assert!(matches!(talk.state("web"), State::Open(Open { until: None, .. })));
        } else {
            talk.withdrawn(Withdrawn::Gone);
            assert!(matches!(talk.next(), Deed::Wait(_)));
            assert_eq!(talk.state("web"), State::Failed(Why::PermanentOnly));
        }
    }
}

#[test]
fn a_router_that_restarted_is_asked_for_everything_anew() {
    let mut talk = Talk::new();
    talk.wish(&[("ssh", wish(22)), ("web", wish(8000))]);
    talk.asked(Way::Pcp, granted(40022, 3600, 500));
    talk.asked(Way::Pcp, granted(40080, 3600, 500));
    assert_eq!(talk.wait(), MINUTE);
    let Deed::Check { name, .. } = talk.next() else { panic!("it is looked at") };
    talk.keeper.checked(talk.now, &name, Checked::Stands { epoch: Some(3), address: None });
    talk.asked(Way::Pcp, granted(40022, 3600, 3));
    talk.asked(Way::Pcp, granted(40080, 3600, 3));
    assert_eq!(talk.ledger().len(), 2);
    assert_eq!(talk.wait(), MINUTE);
}

#[test]
fn a_router_whose_clock_is_mad_is_not_asked_without_end() {
    let mut talk = Talk::new();
    talk.wish(&[("ssh", wish(22)), ("web", wish(8000))]);
    let end = talk.now + MINUTE;
    let mut asked = 0;
    while talk.now < end {
        match talk.next() {
            deed @ Deed::Ask { .. } => {
                asked += 1;
                assert!(asked <= 40, "asked without end");
                let epoch = if asked % 2 == 0 { 1 } else { 1_000_000 };
                talk.keeper.asked(talk.now, &deed, granted(40022, 3600, epoch));
            }
            Deed::Wait(Some(until)) => talk.now = until,
            other => panic!("{other:?}"),
        }
    }
    assert!(asked >= 3, "{asked}");
}

#[test]
fn what_a_router_forgot_is_asked_for_again() {
    let mut talk = Talk::new();
    talk.wish(&[("web", wish(8000))]);
    up_to_upnp(&mut talk);
    talk.asked(Way::Upnp, by_upnp(49159, Some(3600)));
    assert_eq!(talk.wait(), MINUTE);
    talk.keeper.checked(talk.now, &"web".to_owned(), Checked::Lost);
    talk.asked(Way::Upnp, by_upnp(49159, Some(3600)));
    assert_eq!(talk.ledger().len(), 1);
}

#[test]
fn a_lease_that_is_not_renewed_counts_until_its_end_and_no_longer() {
    let mut talk = Talk::new();
    talk.opened("web", wish(8000));
    let until = talk.now + HOUR;
    while talk.now < until {
        assert!(matches!(talk.state("web"), State::Open(_)), "{:?}", until - talk.now);
        match talk.next() {
            deed @ Deed::Ask { .. } => talk.keeper.asked(talk.now, &deed, Answer::Silent),
            Deed::Check { name, .. } => talk.keeper.checked(talk.now, &name, Checked::Silent),
            Deed::Wait(Some(at)) => talk.now = at,
            other => panic!("{other:?}"),
        }
    }
    talk.next();
    assert_eq!(talk.state("web"), State::Failed(Why::Silent));
}

#[test]
fn behind_carrier_nat_nothing_stays_mapped_and_the_verdict_is_told() {
    let mut talk = Talk::new();
    talk.wish(&[("web", wish(8000))]);
    let inner = Ipv4Addr::new(100, 64, 0, 77);
    let lease = Some(HOUR);
    talk.asked(Way::Pcp, Answer::Granted(Granted { address: Some(inner), port: 1, lease, epoch: Some(1) }));
    let verdict = Verdict::CarrierNat { external: inner };
    assert_eq!(talk.state("web"), State::Failed(Why::Unreachable(verdict)));
    assert_eq!(
        Why::Unreachable(verdict).to_string(),
        "behind carrier NAT (the router's own address is 100.64.0.77): using the relay instead"
    );
    talk.withdrawn(Withdrawn::Gone);
    assert_eq!(talk.wait(), FIRST_RETRY);
}

#[test]
fn where_the_gateway_sees_another_address_the_mapping_is_withdrawn_until_it_sees_the_same() {
    let mut talk = Talk::new();
    talk.opened("web", wish(8000));
    let seen = Ipv4Addr::new(203, 0, 113, 9);
    talk.keeper.seen_from(talk.now, Some(seen));
    let verdict = Verdict::SeenElsewhere { external: EXTERNAL, seen };
    assert_eq!(talk.state("web"), State::Failed(Why::Unreachable(verdict)));
    talk.withdrawn(Withdrawn::Gone);
    talk.keeper.seen_from(talk.now, Some(EXTERNAL));
    talk.asked(Way::Pcp, granted(40022, 3600, 100));
    assert!(matches!(talk.state("web"), State::Open(_)));
}

#[test]
fn a_wish_ends_by_itself_and_its_end_can_be_moved_without_a_break() {
    let mut talk = Talk::new();
    let start = talk.now;
    let until = |seconds: u64| Wish { ends: Some(start + Duration::from_secs(seconds)), ..wish(8000) };
    talk.wish(&[("web", until(30))]);
    let Deed::Ask { lease, .. } = talk.asked(Way::Pcp, granted(40022, 120, 1)) else { panic!("it was asked for") };
    assert_eq!(lease, Duration::from_secs(30), "no longer than it is granted");
    talk.wish(&[("web", until(40))]);
    assert_eq!(talk.wait(), Duration::from_secs(40), "it stands without a break");
    talk.next();
    assert_eq!(talk.state("web"), State::Failed(Why::Over));
    talk.withdrawn(Withdrawn::Gone);
    assert_eq!(talk.next(), Deed::Wait(None));
    talk.wish(&[("web", until(100))]);
    talk.asked(Way::Pcp, granted(40022, 120, 41));
    talk.wish(&[("web", until(60))]);
    assert_eq!(talk.wait(), LEAST, "the router hears that it is shorter now");
    let Deed::Ask { lease, .. } = talk.next() else { panic!("it is renewed") };
    assert_eq!(lease, Duration::from_secs(60 - 40 - 4));
}

#[test]
fn mappings_of_another_network_wait_there() {
    let mut talk = Talk::new();
    talk.wish(&[("web", wish(8000))]);
    up_to_upnp(&mut talk);
    talk.asked(Way::Upnp, by_upnp(49159, None));
    talk.keeper.network(talk.now, Err(NoRouter::NoRoute));
    assert_eq!(talk.state("web"), State::Failed(Why::NoRouter(NoRouter::NoRoute)));
    assert_eq!(talk.next(), Deed::Wait(None));
    // A café whose router has the same address, but is another.
    let cafe = Network { local: Ipv4Addr::new(192, 168, 77, 99), ..HOME };
    talk.keeper.network(talk.now, Ok(cafe));
    talk.wish(&[]);
    talk.withdrawn(Withdrawn::OtherRouter);
    assert_eq!((talk.next(), talk.ledger().len()), (Deed::Wait(None), 1));
    let elsewhere = Network { router: Ipv4Addr::new(10, 0, 0, 1), ..HOME };
    talk.keeper.network(talk.now, Ok(elsewhere));
    assert_eq!(talk.next(), Deed::Wait(None));
    talk.keeper.network(talk.now, Ok(HOME));
    talk.withdrawn(Withdrawn::Gone);
    assert_eq!(talk.ledger(), []);
}

#[test]
fn wishes_that_cannot_be_are_refused_and_others_go_on() {
    let mut talk = Talk::new();
    talk.opened("web", wish(8000));
    let nobody = Wish { sources: Sources::Only(vec![]), ..wish(22) };
    talk.wish(&[("a second", wish(8000)), ("nobody", nobody), ("web", wish(8000))]);
    assert_eq!(talk.state("a second"), State::Failed(Why::Twice));
    assert_eq!(talk.state("nobody"), State::Failed(Why::Nobody));
    assert!(matches!(talk.state("web"), State::Open(_)));
    assert!(matches!(talk.next(), Deed::Wait(_)));
    talk.wish(&[("a second", wish(8000))]);
    talk.withdrawn(Withdrawn::Gone);
    talk.asked(Way::Pcp, granted(40023, 3600, 100));
    let many: Vec<_> = (1..200).map(|port| (format!("{port:03}"), wish(port))).collect();
    let many: Vec<_> = many.iter().map(|(name, wish)| (name.as_str(), wish.clone())).collect();
    talk.wish(&many);
    let report = talk.keeper.report();
    let refused = report.mappings.values().filter(|state| **state == State::Failed(Why::TooMany(MOST_WISHES)));
    assert_eq!(refused.count(), 199 - MOST_WISHES);
}

#[test]
fn a_router_that_gives_another_port_than_exactly_this_has_not_granted_it() {
    let mut talk = Talk::new();
    let exact = Wish { external_port: ExternalPort::Exactly(NonZeroU16::new(443).unwrap()), ..wish(443) };
    talk.wish(&[("web", exact)]);
    talk.asked(Way::Pcp, granted(444, 3600, 1));
    talk.withdrawn(Withdrawn::Gone);
    assert!(matches!(talk.next(), Deed::Wait(_)));
    assert_eq!(talk.state("web"), State::Failed(Why::Taken(443)));
}

#[test]
fn failures_are_tried_again_later_and_later() {
    let mut talk = Talk::new();
    talk.wish(&[("web", wish(8000))]);
    let mut waits = Vec::new();
    for _ in 0..8 {
        talk.asked(Way::Pcp, Answer::Silent);
        talk.asked(Way::NatPmp, Answer::Silent);
        assert_eq!(talk.next(), Deed::FindUpnp);
        talk.keeper.found_upnp(talk.now, None);
        waits.push(talk.wait().as_secs());
        assert_eq!(talk.state("web"), State::Failed(Why::Silent));
    }
    assert_eq!(waits, [60, 120, 240, 480, 960, 1800, 1800, 1800]);
    assert_eq!(talk.ledger(), [], "what nobody heard is not left in the ledger");
}

/// Whatever the router answers, in whatever order: the keeper comes to rest, and all that may be in the router is in
/// the ledger.
#[test]
fn whatever_is_answered_the_keeper_comes_to_rest_and_forgets_nothing() {
    let mut seed = 1_u64;
    let mut draw = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32
    };
    let mut open_seen = 0;
    for _ in 0..40 {
        let mut talk = Talk::with(Rules { asks_address: true, ..RULES }, Ledger::new(1), Instant::now());
        for _ in 0..40 {
            turn(&mut talk, &mut draw);
            let mut deeds = 0;
            while !matches!(talk.next(), Deed::Wait(_)) {
                answer(&mut talk, &mut draw);
                deeds += 1;
                assert!(deeds < 500, "it does not come to rest");
            }
            let open = talk.keeper.mappings.values().filter_map(|mapping| match &mapping.stage {
                Stage::Open(held) => Some(held.id),
                Stage::Refused(_) | Stage::Due { .. } | Stage::Asking(..) => None,
            });
            let open: Vec<_> = open.collect();
            open_seen += open.len();
            for id in &open {
                assert!(talk.keeper.ledger.line(*id).is_some(), "open and not in the ledger");
                assert!(!talk.keeper.leftovers.contains_key(id), "open and to be withdrawn");
            }
            let lines = talk.keeper.ledger.ids().count();
            assert_eq!(lines, open.len() + talk.keeper.leftovers.len(), "each line is held or left over");
        }
    }
    assert!(open_seen > 500, "{open_seen}");
}

/// Something changes.
fn turn(talk: &mut Talk, draw: &mut impl FnMut() -> u32) {
    talk.now += Duration::from_secs(u64::from(draw() % 2000));
    match draw() % 6 {
        0 => talk.keeper.network(talk.now, Err(NoRouter::NoRoute)),
        1 => talk.keeper.seen_from(talk.now, Some(EXTERNAL).filter(|_| draw().is_multiple_of(2))),
        2 => talk.keeper.network(talk.now, Ok(Network { local: Ipv4Addr::new(192, 168, 77, 11), ..HOME })),
        _ => talk.keeper.network(talk.now, Ok(HOME)),
    }
    let wishes = (1..5).filter(|_| !draw().is_multiple_of(4));
    let wishes: Vec<_> = wishes.map(|port| (format!("{port}"), wish(port))).collect();
    let wishes: Vec<_> = wishes.iter().map(|(name, wish)| (name.as_str(), wish.clone())).collect();
    talk.wish(&wishes);
}

/// The next deed, and any answer.
fn answer(talk: &mut Talk, draw: &mut impl FnMut() -> u32) {
    let (now, deed) = (talk.now, talk.next());
    match &deed {
        Deed::Wait(_) => {}
        Deed::AskAddress => talk.keeper.told_address(now, draw().is_multiple_of(2).then_some(EXTERNAL)),
        Deed::FindUpnp => talk.keeper.found_upnp(now, draw().is_multiple_of(2).then(|| "uuid:home".to_owned())),
        Deed::Ask { .. } => {
            let answer = match draw() % 9 {
                0 => Answer::Silent,
                1 => Answer::PortTaken,
                2 => Answer::SamePortOnly,
                3 => Answer::PermanentOnly,
                4 => Answer::Refused(Why::Strange(Way::Upnp)),
                5 => by_upnp(40022, None),
                _ => granted(40022, u64::from(draw() % 5000), draw() % 5000),
            };
            talk.keeper.asked(now, &deed, answer);
        }
        Deed::Check { name, .. } => {
            let epoch = Some(draw() % 5000);
            let checked = match draw() % 4 {
                0 => Checked::Lost,
                1 => Checked::Unsure,
                2 => Checked::Silent,
                _ => Checked::Stands { epoch, address: Some(EXTERNAL) },
            };
            talk.keeper.checked(now, name, checked);
        }
        Deed::Withdraw { id, .. } => {
            let outcomes = [Withdrawn::Gone, Withdrawn::Refused, Withdrawn::Silent, Withdrawn::OtherRouter];
            talk.keeper.withdrawn(now, *id, outcomes[draw() as usize % 4]);
        }
    }
}
