//! Who holds a device's link when two want it. Pure: the facts come in, the verdict goes out.
//!
//! The same process that comes again replaces its own older connection at once. Another process with the same key is
//! either the same machine after a crash (the old connection answers no more: replaced at once), or a cloned card (it
//! answers): then the newest wins once, and further swaps are refused until a day has passed without any.

use std::time::Duration;

/// Who connects: a process, and its how-manyth connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claimant {
    pub(crate) instance: [u8; 16],
    pub(crate) epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody is in the way.
    Admit,
    /// The old connection is this very process's: it may finish what it carries.
    Succeed,
    /// A late arrival of a process that has a newer connection.
    Superseded,
    /// Find out whether the old one still answers, then ask again.
    ProbeFirst,
    /// The old one is dead.
    Replace,
    /// Two machines use this key; the newest gets its one turn.
    ReplaceContested,
    /// Two machines use this key, and the turn was had.
    Refuse,
}

/// How long a contest is remembered.
pub(crate) const CONTEST_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn judge(
    holder: Option<Claimant>,
    newcomer: Claimant,
    holder_answers: Option<bool>,
    last_contest: Option<Duration>,
) -> Verdict {
    let Some(holder) = holder else { return Verdict::Admit };
    if holder.instance == newcomer.instance {
        return if newcomer.epoch > holder.epoch { Verdict::Succeed } else { Verdict::Superseded };
    }
    match holder_answers {
        None => Verdict::ProbeFirst,
        Some(false) => Verdict::Replace,
        Some(true) if last_contest.is_some_and(|ago| ago < CONTEST_MEMORY) => Verdict::Refuse,
        Some(true) => Verdict::ReplaceContested,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn claimant(process: u8, epoch: u64) -> Claimant {
        Claimant { instance: [process; 16], epoch }
    }

    #[test]
    fn the_table_of_takeovers() {
        let (old, hour, day) = (claimant(1, 5), Some(Duration::from_secs(3600)), Some(CONTEST_MEMORY));
        let table = [
            ("nobody holds it", None, claimant(2, 1), None, None, Verdict::Admit),
            ("the same process comes again", Some(old), claimant(1, 6), None, None, Verdict::Succeed),
            ("a delayed connection of the same process", Some(old), claimant(1, 4), None, None, Verdict::Superseded),
            ("the very same connection twice", Some(old), claimant(1, 5), None, None, Verdict::Superseded),
            ("another process, old one not asked", Some(old), claimant(2, 1), None, None, Verdict::ProbeFirst),
            ("after a crash", Some(old), claimant(2, 1), Some(false), None, Verdict::Replace),
            ("after a crash, long contested", Some(old), claimant(2, 1), Some(false), hour, Verdict::Replace),
            ("a cloned card, first time", Some(old), claimant(2, 1), Some(true), None, Verdict::ReplaceContested),
            ("a cloned card, again", Some(old), claimant(2, 1), Some(true), hour, Verdict::Refuse),
            ("a cloned card, a day later", Some(old), claimant(2, 1), Some(true), day, Verdict::ReplaceContested),
        ];
        for (what, holder, newcomer, answers, contest, verdict) in table {
            assert_eq!(judge(holder, newcomer, answers, contest), verdict, "{what}");
        }
    }
}
