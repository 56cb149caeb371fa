//! Decides what is asked of the router next. Pure: no socket, no clock, no file.
//!
//! [`Keeper::next`] names one deed at a time; whoever does it tells how it went, and asks again. Everything is
//! level-triggered: a mapping that is wished and not open is asked for, a line of the ledger that no wish holds is
//! withdrawn. So a start after a crash, a wish that goes, another network and a router that lost its memory are one case.

mod deeds;
mod outcomes;
#[cfg(test)]
mod tests;

use crate::attempt::{Attempt, Chain};
use crate::epoch::Epoch;
use crate::ledger::{Ledger, Line, LineId};
use crate::report::{Open, Report, State, Why};
use crate::route::{Network, NoRouter};
use crate::wish::{Protocol, Way, Wish, WishName, Wishes};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// What routers are asked for; they may give another.
    pub(crate) lease: Duration,
    pub(crate) may_be_permanent: bool,
    /// How often the router is asked whether it still knows.
    pub(crate) check: Duration,
    /// Whether its address is asked for, too, as often, whatever is mapped.
    pub(crate) asks_address: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Nothing until then, or until something changes.
    Wait(Option<Instant>),
    /// Is there a router that speaks UPnP?
    FindUpnp,
    Ask {
        name: WishName,
        id: LineId,
        line: Line,
        attempt: Attempt,
        lease: Duration,
        sources: Vec<Ipv4Addr>,
    },
    Check {
        name: WishName,
        line: Line,
    },
    /// What is the router's address towards the internet?
    AskAddress,
    Withdraw {
        id: LineId,
        line: Line,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    Stands {
        epoch: Option<u32>,
        address: Option<Ipv4Addr>,
    },
    Lost,
    /// The router cannot be asked for this: renewing tells.
    Unsure,
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    Gone,
    Refused,
    Silent,
    /// Another router has the address of the one that was asked.
    OtherRouter,
}

pub(crate) struct Keeper {
    rules: Rules,
    draw: fn() -> u32,
    ledger: Ledger,
    is_ledger_new: bool,
    network: Result<Network, NoRouter>,
    /// The name of the router that speaks UPnP, once it was found.
    udn: Option<String>,
    epochs: BTreeMap<Way, Epoch>,
    spoken: BTreeSet<Way>,
    silent: BTreeMap<Way, Instant>,
    external: Option<Ipv4Addr>,
    /// When it is asked for the next time.
    address_at: Instant,
    seen: Option<Ipv4Addr>,
    mappings: BTreeMap<WishName, Mapping>,
    /// Lines of the ledger that no mapping holds.
    leftovers: BTreeMap<LineId, Leftover>,
}

#[derive(Debug)]
struct Mapping {
    wish: Wish,
    failures: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It will not be asked for.
    Refused(Why),
    Due {
        at: Instant,
        why: Option<Why>,
    },
    /// With the line of the question that is under way.
    Asking(Chain, Option<LineId>),
    Open(Held),
}

impl Stage {
    fn line(&self) -> Option<LineId> {
        match self {
            Self::Refused(_) | Self::Due { .. } => None,
            Self::Asking(_, id) => *id,
            Self::Open(held) => Some(held.id),
        }
    }
}

#[derive(Debug)]
struct Held {
    open: Open,
    attempt: Attempt,
    id: LineId,
    granted_at: Instant,
    renew_at: Option<Instant>,
    check_at: Instant,
    silences: u32,
}

#[derive(Clone, Copy, Debug)]
struct Leftover {
    /// `None`: not in this network.
    at: Option<Instant>,
    failures: u32,
}

impl Mapping {
    fn is_under_way(&self) -> bool {
        match self.stage {
            Stage::Asking(..) | Stage::Open(_) => true,
            Stage::Refused(_) | Stage::Due { .. } => false,
        }
    }

    /// Takes the wish's end, if that is all that is new in it.
    fn move_end(&mut self, now: Instant, wish: &Wish) {
        if self.wish == *wish || (Wish { ends: wish.ends, ..self.wish.clone() }) != *wish {
            return;
        }
        let is_earlier = wish.ends.is_some_and(|end| self.wish.ends.is_none_or(|before| end < before));
        self.wish.ends = wish.ends;
        match &mut self.stage {
            Stage::Refused(Why::Over) => self.stage = Stage::Due { at: now, why: None },
            // The router hears of an earlier end, too, in case we do not live to withdraw it.
            Stage::Open(held) if is_earlier => {
                held.renew_at = held.renew_at.map(|_| held.least(now));
            }
            Stage::Open(_) | Stage::Refused(_) | Stage::Due { .. } | Stage::Asking(..) => {}
        }
    }
}

impl Held {
    /// Now, or when it may be asked for again.
    fn least(&self, now: Instant) -> Instant {
        now.max(self.granted_at + LEAST)
    }
}

const MOST_WISHES: usize = 64;
/// A router that was silent is not asked in the same protocol for the next mapping at once.
const SILENCE: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_secs(60);
const LAST_RETRY: Duration = Duration::from_secs(30 * 60);
/// The least time between two questions about one mapping (RFC 6887, 11.2.1).
const LEAST: Duration = Duration::from_secs(4);
/// A router that promises more is asked again before.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 3600);

fn backoff(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(LAST_RETRY)
}

impl Keeper {
    /// All of the ledger is left over until somebody wishes something: nothing of it is known to be right.
    pub(crate) fn new(rules: Rules, ledger: Ledger, draw: fn() -> u32, now: Instant) -> Self {
        let leftovers = ledger.ids().map(|id| (id, Leftover { at: Some(now), failures: 0 })).collect();
        Self {
            rules,
            draw,
            ledger,
            is_ledger_new: false,
            network: Err(NoRouter::NoRoute),
            udn: None,
            epochs: BTreeMap::new(),
            spoken: BTreeSet::new(),
            silent: BTreeMap::new(),
            external: None,
            address_at: now,
            seen: None,
            mappings: BTreeMap::new(),
            leftovers,
        }
    }

    /// All there shall be. A wish that changed in more than its end is another one: the old mapping is withdrawn first.
    pub(crate) fn wish(&mut self, now: Instant, wishes: &Wishes) {
        for (name, mapping) in &mut self.mappings {
            if let Some(wish) = wishes.get(name) {
                mapping.move_end(now, wish);
            }
        }
        let gone = self.mappings.iter().filter(|(name, mapping)| wishes.get(*name) != Some(&mapping.wish));
        let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            if let Some(id) = self.mappings.remove(&name).and_then(|mapping| mapping.stage.line()) {
                self.release(now, id);
            }
        }
        for (name, wish) in wishes {
            if !self.mappings.contains_key(name) {
                let stage = Stage::Due { at: now, why: None };
                self.mappings.insert(name.clone(), Mapping { wish: wish.clone(), failures: 0, stage });
            }
        }
        self.refuse_what_cannot_be(now);
    }

    /// What the network is now. Mappings of another one are left over until we are back.
    pub(crate) fn network(&mut self, now: Instant, network: Result<Network, NoRouter>) {
        if self.network == network {
            return;
        }
        self.network = network;
        self.udn = None;
        self.epochs.clear();
        self.spoken.clear();
        self.silent.clear();
        self.external = None;
        self.address_at = now;
        for mapping in self.mappings.values_mut() {
            mapping.failures = 0;
            if let Some(id) = mapping.stage.line() {
                self.leftovers.insert(id, Leftover { at: Some(now), failures: 0 });
            }
            match mapping.stage {
                Stage::Refused(_) => {}
                Stage::Due { .. } | Stage::Asking(..) | Stage::Open(_) => {
                    mapping.stage = Stage::Due { at: now, why: None };
                }
            }
        }
        for leftover in self.leftovers.values_mut() {
            *leftover = Leftover { at: Some(now), failures: 0 };
        }
    }

    /// Where the gateway sees this home come from.
    pub(crate) fn seen_from(&mut self, now: Instant, seen: Option<Ipv4Addr>) {
        if self.seen == seen {
            return;
        }
        self.seen = seen;
        self.judge_all_again(now);
    }

    /// Nothing is wished any more.
    pub(crate) fn end(&mut self, now: Instant) {
        self.wish(now, &Wishes::new());
        // One try each, whatever was before.
        for leftover in self.leftovers.values_mut().filter(|leftover| leftover.at.is_some()) {
            leftover.at = Some(now);
        }
    }

    /// What must be on disk before the next deed is done; `None`: it is there.
    pub(crate) fn unwritten(&mut self) -> Option<&Ledger> {
        self.is_ledger_new.then_some(&self.ledger)
    }

    pub(crate) fn written(&mut self) {
        self.is_ledger_new = false;
    }

    /// The ledger cannot be written. Answers whether the deed may be done all the same: whatever asks for nothing new.
    #[must_use]
    pub(crate) fn unwritable(&mut self, now: Instant, deed: &Deed, why: String) -> bool {
        match deed {
            Deed::Ask { name, id, .. } if !self.is_open(name, *id) => {
                self.fail(now, name, Why::Unwritable(why));
                self.strike(*id);
                false
            }
            Deed::Ask { .. }
            | Deed::Wait(_)
            | Deed::FindUpnp
            | Deed::Check { .. }
            | Deed::AskAddress
            | Deed::Withdraw { .. } => true,
        }
    }

    pub(crate) fn report(&self) -> Report {
        let state = |mapping: &Mapping| match (&mapping.stage, self.network) {
            (Stage::Refused(why), _) => State::Failed(why.clone()),
            (_, Err(why)) => State::Failed(Why::NoRouter(why)),
            (Stage::Due { why: Some(why), .. }, Ok(_)) => State::Failed(why.clone()),
            (Stage::Due { why: None, .. } | Stage::Asking(..), Ok(_)) => State::Asked,
            (Stage::Open(held), Ok(_)) => State::Open(held.open.clone()),
        };
        let mappings = self.mappings.iter().map(|(name, mapping)| (name.clone(), state(mapping))).collect();
        Report { external: self.external, mappings, leftovers: self.leftovers.len() }
    }

    /// PCP and NAT-PMP know a mapping by the port of this machine; the second wish would change the first.
    fn refuse_what_cannot_be(&mut self, now: Instant) {
        let port = |mapping: &Mapping| (mapping.wish.protocol, mapping.wish.internal_port.get());
        let under_way = self.mappings.values().filter(|mapping| mapping.is_under_way());
        let mut ports: BTreeSet<(Protocol, u16)> = under_way.map(port).collect();
        for mapping in self.mappings.values_mut().filter(|mapping| !mapping.is_under_way()) {
            let why = if mapping.wish.sources.is_nobody() {
                Some(Why::Nobody)
            } else if ports.len() >= MOST_WISHES {
                Some(Why::TooMany(MOST_WISHES))
            } else if !ports.insert(port(mapping)) {
                Some(Why::Twice)
            } else {
                None
            };
            match (why, &mapping.stage) {
                (Some(why), _) => mapping.stage = Stage::Refused(why),
                // The first of two went: now it is this one's turn.
                (None, Stage::Refused(Why::Twice | Why::TooMany(_))) => {
                    mapping.stage = Stage::Due { at: now, why: None };
                }
                (None, Stage::Refused(_) | Stage::Due { .. } | Stage::Asking(..) | Stage::Open(_)) => {}
            }
        }
    }

    /// The line is nobody's: it will be withdrawn.
    fn release(&mut self, now: Instant, id: LineId) {
        if self.ledger.line(id).is_some() {
            self.leftovers.insert(id, Leftover { at: Some(now), failures: 0 });
        }
    }

    fn strike(&mut self, id: LineId) {
        self.ledger.strike(id);
        self.leftovers.remove(&id);
        self.is_ledger_new = true;
    }

    fn fail(&mut self, now: Instant, name: &str, why: Why) {
        let Some(mapping) = self.mappings.get_mut(name) else { return };
        let at = now + backoff(mapping.failures);
        mapping.failures = mapping.failures.saturating_add(1);
        mapping.stage = Stage::Due { at, why: Some(why) };
    }
}
