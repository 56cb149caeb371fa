//! Wanted versus present. The same answer whether the daemon, the agent or the gateway was started anew meanwhile.

use super::{Direct, Granted, MarkBits, Number, PinholeId, Translated, Way};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A session as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub id: PinholeId,
    pub number: Number,
    pub way: Way,
    pub masquerade: bool,
    /// It ends in this time; where that is not known exactly, no later.
    pub ends_within: Duration,
}

/// A session as the kernel shall have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub number: Number,
    pub granted: Granted,
    pub step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Keep,
    /// Everything anew, under the same number: who is connected stays connected.
    Renew,
    Open,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub openings: Vec<Opening>,
    /// Sessions that end now, with what is connected.
    pub endings: Vec<Present>,
    /// For what no number was left.
    pub crowded_out: Vec<PinholeId>,
}

/// A question asked again says the same end give or take the time it was under way.
const SAME_END: Duration = Duration::from_millis(250);

/// `most`: how many there can be at once; those that are there already come first. `haunted`: numbers that connections in the kernel's memory still bear. Given to another session, they would come alive
/// again. `last`: the number that was given out last.
pub fn plan(
    granted: Vec<Granted>,
    present: Vec<Present>,
    bits: MarkBits,
    most: usize,
    haunted: &BTreeSet<Number>,
    last: Option<Number>,
) -> Plan {
    let mut taken: BTreeSet<Number> = present.iter().map(|session| session.number).chain(haunted.clone()).collect();
    let mut present: BTreeMap<PinholeId, Present> =
        present.into_iter().map(|session| (session.id.clone(), session)).collect();
    let is_there =
        |granted: &&Granted| present.get(&granted.pinhole().id).is_some_and(|there| continues(there, granted));
    let mut room = most.saturating_sub(granted.iter().filter(is_there).count());
    let mut plan = Plan::default();
    let mut last = last;
    for granted in granted {
        let id = granted.pinhole().id.clone();
        if let Some(there) = present.get(&id).filter(|there| continues(there, &granted)) {
            let step = if is_same(there, &granted) { Step::Keep } else { Step::Renew };
            plan.openings.push(Opening { number: there.number, granted, step });
            present.remove(&id);
            continue;
        }
        let Some(number) = bits.fresh(last, &taken).filter(|_| room > 0) else {
            plan.crowded_out.push(id);
            continue;
        };
        room -= 1;
        taken.insert(number);
        last = Some(number);
        plan.openings.push(Opening { number, granted, step: Step::Open });
    }
    plan.endings = present.into_values().collect();
    plan
}

fn is_same(there: &Present, granted: &Granted) -> bool {
    let pinhole = granted.pinhole();
    there.way == pinhole.way && there.ends_within.abs_diff(pinhole.remaining) <= SAME_END
}

/// Whether nobody who is connected by what is there would be shut out by what is wished. Connections know their session
/// alone: a source that is gone is only shut out together with the session's number.
fn continues(there: &Present, granted: &Granted) -> bool {
    let wished = &granted.pinhole().way;
    let translated = match (&there.way.translated, &wished.translated) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(there), Some(wished)) => is_within_translated(there, wished),
    };
    let direct = match (&there.way.direct, &wished.direct) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(there), Some(wished)) => is_within_direct(there, wished),
    };
    there.way.protocol == wished.protocol && there.masquerade == granted.is_masqueraded() && translated && direct
}

fn is_within_translated(there: &Translated, wished: &Translated) -> bool {
    there.public_port == wished.public_port
        && there.target == wished.target
        && there.sources.is_subset(&wished.sources)
        && (wished.neighbours || !there.neighbours)
}

fn is_within_direct(there: &Direct, wished: &Direct) -> bool {
    there.target == wished.target && there.sources.is_subset(&wished.sources)
}
