//! The line before something that one person has at a time, held against a plain model of it.

use doorward_core::AccountId;
use doorward_core::access::{Step, Waiting, is_turn_of, settle};
use jiff::{SignedDuration, Timestamp};

const CLAIM: SignedDuration = SignedDuration::from_secs(120);

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
}

fn waiting(id: i64, offered_until: Option<i64>) -> Waiting {
    Waiting { id, account: AccountId(id), offered_until: offered_until.map(at) }
}

#[test]
fn the_first_who_may_come_gets_the_turn_and_whoever_is_late_loses_it() {
    let all = |_: AccountId| true;
    let offer = |id, second| Step::Offer { id, until: at(second) };
    let table: [(&str, Vec<Waiting>, bool, Vec<Step>); 6] = [
        ("nobody waits", vec![], true, vec![]),
        ("somebody has it", vec![waiting(1, None), waiting(2, None)], false, vec![]),
        ("it is free", vec![waiting(1, None), waiting(2, None)], true, vec![offer(1, 130)]),
        ("it is offered", vec![waiting(1, Some(11)), waiting(2, None)], true, vec![]),
        ("nobody came", vec![waiting(1, Some(10)), waiting(2, None)], true, vec![Step::Drop(1), offer(2, 130)]),
        ("it was taken over", vec![waiting(1, Some(11)), waiting(2, None)], false, vec![Step::TakeBack(1)]),
    ];
    for (what, line, is_free, steps) in table {
        assert_eq!(settle(&line, is_free, CLAIM, all, at(10)), steps, "{what}");
    }
    let line = [waiting(1, None), waiting(2, None)];
    let steps = settle(&line, true, CLAIM, |account| account == AccountId(2), at(10));
    assert_eq!(steps, [Step::Drop(1), offer(2, 130)], "the first would not be let in");
}

#[test]
fn nobody_passes_those_who_wait() {
    assert!(is_turn_of(AccountId(7), &[], true));
    assert!(!is_turn_of(AccountId(7), &[], false));
    let line = [waiting(1, Some(20)), waiting(2, None)];
    assert!(is_turn_of(AccountId(1), &line, true));
    assert!(!is_turn_of(AccountId(2), &line, true) && !is_turn_of(AccountId(7), &line, true));
    assert!(!is_turn_of(AccountId(1), &line, false), "somebody has it");
    assert!(!is_turn_of(AccountId(7), &[waiting(1, None)], true), "the turn is not offered yet, and not theirs");
}

/// A small generator of numbers, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Everybody does something at random; the line is settled before each deed, as the writer does.
#[test]
fn however_people_come_and_go_one_has_it_at_a_time_and_turns_come_in_order() {
    let mut turns = 0;
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let (mut line, mut holder, mut now, mut next): (Vec<Waiting>, Option<(AccountId, i64)>, i64, i64) =
            (Vec::new(), None, 0, 1);
        for _ in 0..400 {
            now += i64::try_from(dice.roll(40)).unwrap_or(0);
            holder = holder.filter(|(_, until)| now < *until);
            let before = line.clone();
            for step in settle(&line, holder.is_none(), CLAIM, |_| true, at(now)) {
                match step {
                    Step::Drop(id) => {
                        let gone = line.iter().position(|w| w.id == id).map(|index| line.remove(index));
                        assert!(gone.is_some_and(|w| w.offered_until.is_some_and(|until| until <= at(now))));
                    }
                    Step::Offer { id, until } => {
                        turns += 1;
                        let first = line.iter_mut().find(|w| w.offered_until.is_none());
                        let first = first.map(|w| {
                            w.offered_until = Some(until);
                            w.id
                        });
                        assert_eq!(first, Some(id), "seed {seed}: turns come in order: {before:?}");
                    }
                    Step::TakeBack(id) => {
                        line.iter_mut().filter(|w| w.id == id).for_each(|w| w.offered_until = None);
                    }
                }
            }
            assert!(line.iter().filter(|w| w.offered_until.is_some()).count() <= 1, "seed {seed}: {line:?}");
            assert!(holder.is_none() || line.iter().all(|w| w.offered_until.is_none()), "seed {seed}: {line:?}");
            assert!(holder.is_some() || line.is_empty() || line[0].offered_until.is_some(), "seed {seed}: {line:?}");
            let who = AccountId(i64::try_from(dice.roll(8)).unwrap_or(0));
            match dice.roll(4) {
                0 => {
                    holder = holder.filter(|(has, _)| *has != who);
                }
                1 if holder.is_none_or(|(has, _)| has != who) && dice.roll(8) == 0 => holder = Some((who, now + 60)),
                _ if is_turn_of(who, &line, holder.is_none()) => {
                    assert!(holder.is_none(), "seed {seed}: two at once");
                    line.retain(|w| w.account != who);
                    holder = Some((who, now + 90));
                }
                _ if holder.is_none_or(|(has, _)| has != who) && !line.iter().any(|w| w.account == who) => {
                    line.push(Waiting { id: next, account: who, offered_until: None });
                    next += 1;
                }
                _ => {}
            }
        }
    }
    assert!(turns > 1000, "{turns}");
}
