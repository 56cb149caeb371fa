//! What to do about each wanted certificate now. The order loop asks this again and again and remembers nothing
//! itself: what is held and what was tried rests in the store, so a restart is no special case.

use super::Names;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

/// A certificate that is there.
#[derive(Clone, Debug)]
pub struct Held {
    pub names: Names,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// When an authority wants a certificate of its own renewed (RFC 9773, 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// An order that came to its end.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub names: Names,
    /// The directory of the authority, by which it is told from others.
    pub authority: String,
    pub at: Timestamp,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Issued {
        is_renewal: bool,
    },
    /// `not_until`: the authority asked for patience.
    Failed {
        not_until: Option<Timestamp>,
    },
}

#[derive(Clone, Debug)]
pub struct AuthorityTerms {
    pub directory: String,
    /// New certificates in seven days; renewals do not count.
    pub weekly: u32,
    /// Certificates for exactly the same names in seven days, renewals too.
    pub weekly_same: u32,
}

/// How long to wait after a failure.
#[derive(Clone, Copy, Debug)]
pub struct Tempo {
    pub first: SignedDuration,
    pub longest: SignedDuration,
}

#[derive(Clone, Copy, Debug)]
pub struct Situation<'s> {
    pub wanted: &'s [Names],
    pub held: &'s [Held],
    /// What authorities said about the newest of these, where they said something.
    pub windows: &'s HashMap<Names, Window>,
    /// Those of the last week at least, the oldest first.
    pub attempts: &'s [Attempt],
    /// In the order in which they are asked.
    pub authorities: &'s [AuthorityTerms],
    pub tempo: Tempo,
}

/// What a wanted certificate needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Nothing {
        renew_at: Timestamp,
    },
    /// From this authority, by its index.
    Order {
        authority: usize,
        is_renewal: bool,
    },
    Wait {
        until: Timestamp,
        why: Pause,
    },
    /// There is no authority.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Every authority failed a short while ago.
    Failures,
    /// An authority issues no more this week.
    Budget,
}

pub const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Growth of the wait from failure to failure.
const GROWTH: i32 = 4;

/// One answer for each wanted set, in their order.
pub fn plan(situation: &Situation<'_>, now: Timestamp) -> Vec<Need> {
    situation.wanted.iter().map(|names| need(situation, names, now)).collect()
}

fn need(situation: &Situation<'_>, names: &Names, now: Timestamp) -> Need {
    let held = situation.held.iter().filter(|held| held.names == *names).max_by_key(|held| held.not_after);
    if let Some(held) = held {
        let renew_at = renew_at(held, situation.windows.get(names));
        if now < renew_at {
            return Need::Nothing { renew_at };
        }
    }
    let is_renewal = held.is_some();
    let mut earliest: Option<(Timestamp, Pause)> = None;
    for (index, authority) in situation.authorities.iter().enumerate() {
        let (from, why) = open_from(situation, authority, names, is_renewal, now);
        if from <= now {
            return Need::Order { authority: index, is_renewal };
        }
        if earliest.is_none_or(|(at, _)| from < at) {
            earliest = Some((from, why));
        }
    }
    earliest.map_or(Need::Nobody, |(until, why)| Need::Wait { until, why })
}

/// At the moment within the authority's window that belongs to these names; so a window that is over means now.
/// Without one after two thirds of its life, and up to a twenty-fourth of it earlier, so that many certificates of one
/// day do not come back on one day.
fn renew_at(held: &Held, window: Option<&Window>) -> Timestamp {
    let life = held.not_after.duration_since(held.not_before);
    let share = i32::try_from(held.names.hash() % 1000).unwrap_or(0);
    let Some(Window { from, until }) = window else {
        return held.not_before.saturating_add(life / 3 * 2 - life / 24 / 1000 * share).unwrap_or(held.not_after);
    };
    let width = until.duration_since(*from).max(SignedDuration::ZERO);
    // Whatever is said, there must be time for some failures.
    let latest = held.not_after.saturating_sub(life / 12).unwrap_or(held.not_after);
    from.saturating_add(width / 1000 * share).unwrap_or(latest).min(latest)
}

/// From when on this authority may be asked for these names, and what it is that holds it up.
fn open_from(
    situation: &Situation<'_>,
    authority: &AuthorityTerms,
    names: &Names,
    is_renewal: bool,
    now: Timestamp,
) -> (Timestamp, Pause) {
    let here = || situation.attempts.iter().filter(|attempt| attempt.authority == authority.directory);
    let rested = (rested(here().filter(|attempt| attempt.names == *names), names, situation.tempo), Pause::Failures);
    let issued = |attempt: &&Attempt| matches!(attempt.outcome, Outcome::Issued { .. });
    let same = here().filter(issued).filter(|attempt| attempt.names == *names).map(|attempt| attempt.at);
    let same = below(same, authority.weekly_same, now);
    let new = if is_renewal { Timestamp::MIN } else { below(new_ones(here()), authority.weekly, now) };
    let budget = (same.max(new), Pause::Budget);
    if budget.0 > rested.0 { budget } else { rested }
}

/// When the pause after the failures in a row is over.
fn rested<'a>(attempts: impl Iterator<Item = &'a Attempt>, names: &Names, tempo: Tempo) -> Timestamp {
    let (mut failures, mut from) = (0_u64, Timestamp::MIN);
    let mut pause = tempo.first;
    for attempt in attempts {
        match attempt.outcome {
            Outcome::Issued { .. } => (failures, from, pause) = (0, Timestamp::MIN, tempo.first),
            Outcome::Failed { not_until } => {
                failures += 1;
                // Up to a quarter more, differently for every name: an authority that was away is not met by all at once.
                let spread = pause / 4000 * i32::try_from((names.hash() ^ failures) % 1000).unwrap_or(0);
                let own = attempt.at.saturating_add(pause + spread).unwrap_or(Timestamp::MAX);
                from = own.max(not_until.unwrap_or(Timestamp::MIN));
                pause = pause.checked_mul(GROWTH).unwrap_or(tempo.longest).min(tempo.longest);
            }
        }
    }
    from
}

fn new_ones<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> impl Iterator<Item = Timestamp> {
    attempts.filter(|attempt| attempt.outcome == Outcome::Issued { is_renewal: false }).map(|attempt| attempt.at)
}

/// From when on fewer than `limit` of these moments lie within a week.
fn below(moments: impl Iterator<Item = Timestamp>, limit: u32, now: Timestamp) -> Timestamp {
    let end = |at: Timestamp| at.saturating_add(WEEK).unwrap_or(Timestamp::MAX);
    let ends: Vec<_> = moments.map(end).filter(|end| *end > now).collect();
    let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
    match ends.len().checked_sub(limit) {
        Some(surplus) => ends[surplus],
        None => Timestamp::MIN,
    }
}

/// How much of an authority's weekly budget is used.
pub fn weekly_use(attempts: &[Attempt], directory: &str, now: Timestamp) -> u32 {
    let here = attempts.iter().filter(|attempt| attempt.authority == directory);
    let recent = new_ones(here).filter(|at| now.duration_since(*at) < WEEK).count();
    u32::try_from(recent).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
