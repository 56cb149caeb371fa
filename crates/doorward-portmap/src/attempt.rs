//! In which order a router is asked for one mapping, and what an answer means for the next attempt.

use crate::pcp::MOST_SOURCES;
use crate::report::Why;
use crate::wish::{ExternalPort, Sources, Way, Wish};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) way: Way,
    pub(crate) is_restricted: bool,
    /// 0: any, where the protocol knows that.
    pub(crate) external_port: u16,
    pub(crate) is_exact: bool,
    pub(crate) is_permanent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted(Granted),
    Silent,
    PortTaken,
    SamePortOnly,
    PermanentOnly,
    CannotRestrict,
    Refused(Why),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) port: u16,
    /// `None`: it has no end.
    pub(crate) lease: Option<Duration>,
    pub(crate) epoch: Option<u32>,
}

/// What is left to try for one wish.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    wish: Wish,
    may_be_permanent: bool,
    ways: VecDeque<(Way, bool)>,
    attempt: Option<Attempt>,
    ports_tried: usize,
    why: Option<Why>,
}

const MOST_PORTS: usize = 4;

impl Chain {
    /// `is_silent`: ways in which the router did not answer a moment ago. `draw`: any number.
    pub(crate) fn new(wish: &Wish, may_be_permanent: bool, is_silent: impl Fn(Way) -> bool, draw: u32) -> Self {
        let mut ways = ways(&wish.sources);
        let why = ways.is_empty().then_some(Why::CannotRestrict);
        ways.retain(|(way, _)| !is_silent(*way));
        let wish = wish.clone();
        let mut chain = Self { wish, may_be_permanent, ways, attempt: None, ports_tried: 0, why };
        chain.take_next_way(draw);
        chain
    }

    pub(crate) fn attempt(&self) -> Option<Attempt> {
        self.attempt
    }

    /// Why there is nothing left to try.
    pub(crate) fn why(&self) -> Why {
        self.why.clone().unwrap_or(Why::Silent)
    }

    /// The attempt was not granted.
    pub(crate) fn refused(&mut self, answer: Answer, draw: u32) {
        let Some(attempt) = self.attempt else { return };
        match answer {
            Answer::PortTaken => self.take_next_port(attempt, draw),
            Answer::SamePortOnly => self.take_same_port(attempt, draw),
            Answer::PermanentOnly if self.may_be_permanent && !attempt.is_permanent => {
                self.attempt = Some(Attempt { is_permanent: true, ..attempt });
            }
            Answer::PermanentOnly => self.give_up_way(Why::PermanentOnly, draw),
            // Where it may be open to others, that is no reason: it is asked for without next.
            Answer::CannotRestrict if self.may_be_wider() => self.take_next_way(draw),
            Answer::CannotRestrict => self.give_up_way(Why::CannotRestrict, draw),
            Answer::Refused(why) => self.give_up_way(why, draw),
            Answer::Silent | Answer::Granted(_) => self.take_next_way(draw),
        }
    }

    fn may_be_wider(&self) -> bool {
        match self.wish.sources {
            Sources::Anyone | Sources::Prefer(_) => true,
            Sources::Only(_) => false,
        }
    }

    fn take_next_port(&mut self, attempt: Attempt, draw: u32) {
        self.ports_tried += 1;
        let taken = Why::Taken(attempt.external_port);
        if attempt.is_exact || self.ports_tried >= MOST_PORTS {
            // All ways lead to the same ports.
            self.ways.clear();
            return self.give_up_way(taken, draw);
        }
        self.attempt = Some(Attempt { external_port: dynamic_port(draw), ..attempt });
    }

    fn take_same_port(&mut self, attempt: Attempt, draw: u32) {
        let port = self.wish.internal_port.get();
        if attempt.is_exact || attempt.external_port == port {
            return self.give_up_way(Why::Taken(attempt.external_port), draw);
        }
        self.ports_tried = MOST_PORTS;
        self.attempt = Some(Attempt { external_port: port, ..attempt });
    }

    /// The reason of the first way that gave one is told: later ones are makeshifts.
    fn give_up_way(&mut self, why: Why, draw: u32) {
        self.why.get_or_insert(why);
        self.take_next_way(draw);
    }

    fn take_next_way(&mut self, draw: u32) {
        self.attempt = self.ways.pop_front().map(|(way, is_restricted)| {
            let (external_port, is_exact) = match self.wish.external_port {
                // UPnP-IGD 1 knows no "any".
                ExternalPort::Any if way == Way::Upnp => (dynamic_port(draw), false),
                ExternalPort::Any => (0, false),
                ExternalPort::Prefer(port) => (port.get(), false),
                ExternalPort::Exactly(port) => (port.get(), true),
            };
            Attempt { way, is_restricted, external_port, is_exact, is_permanent: false }
        });
    }
}

fn ways(sources: &Sources) -> VecDeque<(Way, bool)> {
    const OPEN: [(Way, bool); 3] = [(Way::Pcp, false), (Way::NatPmp, false), (Way::Upnp, false)];
    let addresses = sources.addresses();
    let by_pcp = (!addresses.is_empty() && addresses.len() <= MOST_SOURCES).then_some((Way::Pcp, true));
    // A mapping of UPnP has one source or all.
    let by_upnp = (addresses.len() == 1).then_some((Way::Upnp, true));
    let restricted = by_pcp.into_iter().chain(by_upnp);
    match sources {
        Sources::Anyone => OPEN.into(),
        Sources::Prefer(_) => restricted.chain(OPEN).collect(),
        Sources::Only(_) => restricted.collect(),
    }
}

/// Of the range that nobody registers (RFC 6335, 6).
fn dynamic_port(draw: u32) -> u16 {
    const FIRST: u16 = 49152;
    FIRST + u16::try_from(draw % u32::from(u16::MAX - FIRST + 1)).expect("it is within the range")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wish::Protocol;
    use std::num::NonZeroU16;

    fn wish(external_port: ExternalPort, sources: Sources) -> Wish {
        let internal_port = NonZeroU16::new(8000).unwrap();
        Wish { protocol: Protocol::Tcp, internal_port, external_port, sources, ends: None }
    }

    fn port(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    /// All attempts, each answered by `answer`, in short.
    fn attempts(wish: &Wish, answer: impl Fn(Attempt) -> Answer) -> (Vec<String>, Why) {
        let mut chain = Chain::new(wish, true, |_| false, 1);
        let mut seen = Vec::new();
        while let Some(attempt) = chain.attempt() {
            let restricted = if attempt.is_restricted { " restricted" } else { "" };
            let permanent = if attempt.is_permanent { " permanent" } else { "" };
            seen.push(format!("{} {}{restricted}{permanent}", attempt.way, attempt.external_port));
            assert!(seen.len() < 32, "it does not end: {seen:?}");
            chain.refused(answer(attempt), 5);
        }
        (seen, chain.why())
    }

    fn some_addresses(count: u8) -> Vec<Ipv4Addr> {
        (0..count).map(|last| Ipv4Addr::new(198, 51, 100, last)).collect()
    }

    #[test]
    fn ways_are_tried_in_order_and_never_wider_than_wished() {
        let any = ExternalPort::Any;
        for (sources, expected) in [
            (Sources::Anyone, vec!["PCP 0", "NAT-PMP 0", "UPnP 49157"]),
            (Sources::Only(some_addresses(1)), vec!["PCP 0 restricted", "UPnP 49157 restricted"]),
            (Sources::Only(some_addresses(2)), vec!["PCP 0 restricted"]),
            (Sources::Only(some_addresses(17)), vec![]),
            (Sources::Only(vec![]), vec![]),
            (
                Sources::Prefer(some_addresses(1)),
                vec!["PCP 0 restricted", "UPnP 49157 restricted", "PCP 0", "NAT-PMP 0", "UPnP 49157"],
            ),
        ] {
            let (seen, why) = attempts(&wish(any, sources.clone()), |_| Answer::Silent);
            assert_eq!(seen, expected, "{sources:?}");
            assert_eq!(why, if expected.is_empty() { Why::CannotRestrict } else { Why::Silent });
        }
    }

    #[test]
    fn a_taken_port_gives_way_unless_it_is_wished_exactly() {
        let (seen, why) = attempts(&wish(ExternalPort::Prefer(port(443)), Sources::Anyone), |_| Answer::PortTaken);
        assert_eq!(seen, ["PCP 443", "PCP 49157", "PCP 49157", "PCP 49157"]);
        assert_eq!(why, Why::Taken(49157));
        let (seen, why) = attempts(&wish(ExternalPort::Exactly(port(443)), Sources::Anyone), |_| Answer::PortTaken);
        assert_eq!((seen, why), (vec!["PCP 443".to_owned()], Why::Taken(443)));
    }

    #[test]
    fn a_router_that_knows_no_leases_is_asked_once_more_where_that_is_allowed() {
        let sources = Sources::Only(some_addresses(1));
        let wish = wish(ExternalPort::Exactly(port(443)), sources);
        let answer = |attempt: Attempt| match attempt.way {
            Way::Pcp | Way::NatPmp => Answer::Silent,
            Way::Upnp => Answer::PermanentOnly,
        };
        let (seen, why) = attempts(&wish, answer);
        assert_eq!(seen, ["PCP 443 restricted", "UPnP 443 restricted", "UPnP 443 restricted permanent"]);
        assert_eq!(why, Why::PermanentOnly);
        let mut forbidden = Chain::new(&wish, false, |way| way == Way::Pcp, 0);
        forbidden.refused(Answer::PermanentOnly, 0);
        assert_eq!((forbidden.attempt(), forbidden.why()), (None, Why::PermanentOnly));
    }

    #[test]
    fn a_router_that_only_maps_a_port_to_itself_gets_its_way_once() {
        let answer = |attempt: Attempt| if attempt.way == Way::Upnp { Answer::SamePortOnly } else { Answer::Silent };
        let (seen, _) = attempts(&wish(ExternalPort::Any, Sources::Anyone), answer);
        assert_eq!(seen, ["PCP 0", "NAT-PMP 0", "UPnP 49157", "UPnP 8000"]);
    }

    #[test]
    fn that_a_router_cannot_restrict_is_no_reason_where_it_need_not() {
        let refused = Why::Refused { way: Way::Pcp, code: 8, meaning: "no resources" };
        let answer = |attempt: Attempt| match attempt.is_restricted {
            true => Answer::CannotRestrict,
            false => Answer::Refused(refused.clone()),
        };
        let (_, why) = attempts(&wish(ExternalPort::Any, Sources::Prefer(some_addresses(2))), answer);
        assert_eq!(why, refused);
        let (_, why) = attempts(&wish(ExternalPort::Any, Sources::Only(some_addresses(2))), answer);
        assert_eq!(why, Why::CannotRestrict);
    }

    #[test]
    fn the_first_reason_is_told() {
        let answer = |attempt: Attempt| match attempt.way {
            Way::Pcp => Answer::Refused(Why::Refused { way: Way::Pcp, code: 2, meaning: "not authorised" }),
            Way::NatPmp => Answer::Silent,
            Way::Upnp => Answer::Refused(Why::Strange(Way::Upnp)),
        };
        let (_, why) = attempts(&wish(ExternalPort::Any, Sources::Anyone), answer);
        assert_eq!(why, Why::Refused { way: Way::Pcp, code: 2, meaning: "not authorised" });
    }
}
