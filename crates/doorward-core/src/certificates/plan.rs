//! What to do about each wanted certificate now. The order loop asks this again and again and remembers nothing
//! itself: what is held and what was tried rests in the store, so a restart is no special case.

use super::Names;
use jiff::{SignedDuration, Timestamp};

/// A certificate that is there.
#[derive(Clone, Debug)]
pub struct Held {
    pub names: Names,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
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
        let renew_at = renew_at(held);
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

/// After two thirds of its life, and up to a twenty-fourth of it earlier, so that many certificates of one day do not
/// come back on one day.
fn renew_at(held: &Held) -> Timestamp {
    let life = held.not_after.duration_since(held.not_before);
    let spread = life / 24 / 1000 * i32::try_from(held.names.hash() % 1000).unwrap_or(0);
    held.not_before.saturating_add(life / 3 * 2 - spread).unwrap_or(held.not_after)
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
mod tests {
    use super::*;

    const FIRST: &str = "https://one/";
    const SECOND: &str = "https://two/";

    fn time(text: &str) -> Timestamp {
        format!("2026-{text}:00Z").parse().unwrap()
    }

    fn names(text: &str) -> Names {
        Names::parse(text).unwrap()
    }

    fn held(text: &str, from: &str, until: &str) -> Held {
        Held { names: names(text), not_before: time(from), not_after: time(until) }
    }

    fn attempt(text: &str, authority: &str, at: &str, outcome: Outcome) -> Attempt {
        Attempt { names: names(text), authority: authority.to_owned(), at: time(at), outcome }
    }

    const NEW: Outcome = Outcome::Issued { is_renewal: false };
    const RENEWED: Outcome = Outcome::Issued { is_renewal: true };
    const FAILED: Outcome = Outcome::Failed { not_until: None };

    /// What is to be done about `a.net` now, with two authorities and pauses from 5 minutes to 12 hours.
    fn ask(held: &[Held], attempts: &[Attempt], now: &str) -> Need {
        let terms = |directory: &str| AuthorityTerms { directory: directory.to_owned(), weekly: 3, weekly_same: 2 };
        let situation = Situation {
            wanted: &[names("a.net")],
            held,
            attempts,
            authorities: &[terms(FIRST), terms(SECOND)],
            tempo: Tempo { first: SignedDuration::from_mins(5), longest: SignedDuration::from_hours(12) },
        };
        let plan = plan(&situation, time(now));
        assert_eq!(plan.len(), 1);
        plan[0]
    }

    const ORDER: Need = Need::Order { authority: 0, is_renewal: false };
    const ORDER_SECOND: Need = Need::Order { authority: 1, is_renewal: false };
    const RENEW: Need = Need::Order { authority: 0, is_renewal: true };

    #[test]
    fn what_is_missing_is_ordered_and_what_is_held_is_renewed_in_its_last_third() {
        assert_eq!(ask(&[], &[], "01-01T00:00"), ORDER);
        assert_eq!(ask(&[held("b.net", "01-01T00:00", "04-01T00:00")], &[], "01-02T00:00"), ORDER);
        let held = [held("a.net", "01-01T00:00", "04-01T00:00")];
        assert!(matches!(ask(&held, &[], "01-02T00:00"), Need::Nothing { .. }));
        assert!(matches!(ask(&held, &[], "02-25T00:00"), Need::Nothing { .. }));
        assert_eq!(ask(&held, &[], "03-02T00:00"), RENEW);
        // Six days long, as for addresses.
        let short = [Held { not_after: time("01-07T00:00"), ..held[0].clone() }];
        assert!(matches!(ask(&short, &[], "01-04T12:00"), Need::Nothing { .. }));
        assert_eq!(ask(&short, &[], "01-05T00:00"), RENEW);
    }

    #[test]
    fn renewals_of_different_names_do_not_fall_on_one_moment() {
        let at = |name: &str| renew_at(&held(name, "01-01T00:00", "04-01T00:00"));
        let moments: std::collections::BTreeSet<_> = (0..50).map(|n| at(&format!("p{n}.gw.net"))).collect();
        assert!(moments.len() > 40, "{}", moments.len());
        assert!(moments.iter().all(|m| *m > time("02-25T00:00") && *m <= time("03-02T00:00")), "{moments:?}");
    }

    #[test]
    fn after_a_failure_the_next_authority_is_asked_and_then_nobody_for_a_while() {
        let mut tried = vec![attempt("a.net", FIRST, "01-01T00:00", FAILED)];
        assert_eq!(ask(&[], &tried, "01-01T00:01"), ORDER_SECOND);
        tried.push(attempt("a.net", SECOND, "01-01T00:01", FAILED));
        let Need::Wait { until, why: Pause::Failures } = ask(&[], &tried, "01-01T00:02") else { panic!("no pause") };
        assert!(until >= time("01-01T00:05") && until <= time("01-01T00:07"), "{until}");
        assert_eq!(ask(&[], &tried, "01-01T00:08"), ORDER);
        // Somebody else's failures do not matter.
        assert_eq!(ask(&[], &[attempt("b.net", FIRST, "01-01T00:00", FAILED)], "01-01T00:01"), ORDER);
    }

    #[test]
    fn pauses_grow_to_half_a_day_and_end_with_a_success() {
        let mut tried: Vec<Attempt> = Vec::new();
        let mut pauses = Vec::new();
        let start = time("01-01T00:00");
        let mut now = start;
        for _ in 0..6 {
            for authority in [FIRST, SECOND] {
                tried.push(Attempt { at: now, ..attempt("a.net", authority, "01-01T00:00", FAILED) });
            }
            let from = rested(
                tried.iter().filter(|a| a.authority == FIRST),
                &names("a.net"),
                Tempo { first: SignedDuration::from_mins(5), longest: SignedDuration::from_hours(12) },
            );
            pauses.push(from.duration_since(now).as_mins());
            now = from;
        }
        let expected = [5, 20, 80, 320, 720, 720];
        let fits = |(got, least): (&i64, &i64)| (*least..=least * 5 / 4).contains(got);
        assert!(pauses.iter().zip(&expected).all(fits), "{pauses:?}");
        tried.push(Attempt { at: now, ..attempt("a.net", FIRST, "01-01T00:00", RENEWED) });
        let later = [tried, vec![Attempt { at: now, ..attempt("a.net", FIRST, "01-01T00:00", FAILED) }]].concat();
        let again = rested(
            later.iter().filter(|a| a.authority == FIRST),
            &names("a.net"),
            Tempo { first: SignedDuration::from_mins(5), longest: SignedDuration::from_hours(12) },
        );
        assert!(again.duration_since(now) < SignedDuration::from_mins(7), "{again} {now}");
    }

    #[test]
    fn an_authority_that_asks_for_patience_gets_it() {
        let patience = Outcome::Failed { not_until: Some(time("01-03T00:00")) };
        let tried = [
            attempt("a.net", FIRST, "01-01T00:00", patience),
            attempt("a.net", SECOND, "01-01T00:00", Outcome::Failed { not_until: Some(time("01-02T00:00")) }),
        ];
        assert_eq!(ask(&[], &tried, "01-01T12:00"), Need::Wait { until: time("01-02T00:00"), why: Pause::Failures });
        assert_eq!(ask(&[], &tried, "01-02T00:00"), ORDER_SECOND);
        assert_eq!(ask(&[], &tried, "01-03T00:00"), ORDER);
    }

    #[test]
    fn the_weekly_budget_holds_back_new_certificates_and_not_renewals() {
        let used: Vec<_> = ["b.net", "c.net", "d.net"]
            .iter()
            .flat_map(|name| [FIRST, SECOND].map(|authority| attempt(name, authority, "01-01T00:00", NEW)))
            .collect();
        assert_eq!(ask(&[], &used, "01-02T00:00"), Need::Wait { until: time("01-08T00:00"), why: Pause::Budget });
        assert_eq!(ask(&[], &used, "01-08T00:00"), ORDER);
        assert_eq!(weekly_use(&used, FIRST, time("01-02T00:00")), 3);
        assert_eq!(weekly_use(&used, FIRST, time("01-08T00:00")), 0);
        let old = [held("a.net", "01-01T00:00", "01-01T12:00")];
        assert_eq!(ask(&old, &used, "01-02T00:00"), RENEW);
        // Only the first is used up: the second is asked.
        let first: Vec<_> = used.into_iter().filter(|attempt| attempt.authority == FIRST).collect();
        assert_eq!(ask(&[], &first, "01-02T00:00"), ORDER_SECOND);
    }

    #[test]
    fn the_same_names_are_not_ordered_without_end() {
        let issued = |authority: &str| {
            [attempt("a.net", authority, "01-01T00:00", NEW), attempt("a.net", authority, "01-02T00:00", RENEWED)]
        };
        let lost = [issued(FIRST), issued(SECOND)].concat();
        assert_eq!(ask(&[], &lost, "01-03T00:00"), Need::Wait { until: time("01-08T00:00"), why: Pause::Budget });
    }

    #[test]
    fn without_an_authority_nothing_is_ordered() {
        let wanted = [names("a.net")];
        let tempo = Tempo { first: SignedDuration::from_mins(5), longest: SignedDuration::from_hours(12) };
        let situation = Situation { wanted: &wanted, held: &[], attempts: &[], authorities: &[], tempo };
        assert_eq!(plan(&situation, time("01-01T00:00")), [Need::Nobody]);
    }
}
