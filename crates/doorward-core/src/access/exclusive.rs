//! One person at a time: who comes next, and who may come before.

use crate::AccountId;
use crate::names::Label;
use crate::person::{Person, PersonStanding, Role};
use jiff::{SignedDuration, Timestamp};

/// A service that one person has at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusive {
    /// Groups whose people take it from whoever has it.
    pub take_over: Vec<Label>,
    /// How long it is kept for whoever's turn has come.
    pub claim: SignedDuration,
}

pub(super) const USUAL_CLAIM: SignedDuration = SignedDuration::from_mins(2);
/// How many wait for one service.
pub const LONGEST_LINE: usize = 50;

impl Exclusive {
    pub fn may_take_over(&self, person: &Person, now: Timestamp) -> bool {
        person.standing(now) == PersonStanding::Good && self.take_over.iter().any(|group| person.is_in(group))
    }

    /// Whether somebody hears by name who has it; others who may use it hear until when. `owner`: whose device it is on.
    pub fn is_told_who(&self, person: &Person, owner: AccountId, now: Timestamp) -> bool {
        let runs_it = person.role == Role::Owner || person.id == owner;
        (runs_it && person.standing(now) == PersonStanding::Good) || self.may_take_over(person, now)
    }
}

/// Somebody in the line; the first is the one who came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub id: i64,
    pub account: AccountId,
    /// Their turn has come: until then it is kept for them.
    pub offered_until: Option<Timestamp>,
}

/// What is to be done with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// They waited in vain: they did not come, or would not be let in.
    Drop(i64),
    Offer {
        id: i64,
        until: Timestamp,
    },
    /// It is somebody's again; they stay where they are.
    TakeBack(i64),
}

/// Brings a line up to `now`. `may_come`: whether somebody would be let in, were it their turn.
pub fn settle(
    line: &[Waiting],
    is_free: bool,
    claim: SignedDuration,
    may_come: impl Fn(AccountId) -> bool,
    now: Timestamp,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut is_kept = !is_free;
    for waiting in line {
        let is_late = waiting.offered_until.is_some_and(|until| until <= now);
        if is_late || !may_come(waiting.account) {
            steps.push(Step::Drop(waiting.id));
        } else if waiting.offered_until.is_some() {
            if !is_free {
                steps.push(Step::TakeBack(waiting.id));
            }
            is_kept = true;
        } else if !is_kept {
            let until = now.checked_add(claim).unwrap_or(Timestamp::MAX);
            steps.push(Step::Offer { id: waiting.id, until });
            is_kept = true;
        }
    }
    steps
}

/// Whether it may be opened for `account` now, once the line is settled.
pub fn is_turn_of(account: AccountId, line: &[Waiting], is_free: bool) -> bool {
    let offered = line.iter().find(|waiting| waiting.offered_until.is_some());
    is_free && offered.map_or(line.is_empty(), |waiting| waiting.account == account)
}
