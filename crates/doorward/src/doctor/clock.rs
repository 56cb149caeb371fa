//! The clock: sign-ins, schedules and certificates go by it.

use super::Finding;
use super::firewall::answers;
use jiff::Timestamp;

/// Some seconds may lie between two looks at it.
const SLACK: i64 = 5;

/// `newest`: something that happened before now, by this very clock.
pub(super) async fn examine(newest: Option<Timestamp>) -> Finding {
    let synchronised = answers("timedatectl", &["show", "--property=NTPSynchronized", "--value"]).await;
    judge(Timestamp::now(), newest, synchronised.as_deref().map(str::trim))
}

fn judge(now: Timestamp, newest: Option<Timestamp>, synchronised: Option<&str>) -> Finding {
    let remedy = "let the system keep it: `sudo timedatectl set-ntp true`";
    if newest.is_some_and(|newest| newest.as_second() > now.as_second() + SLACK) {
        return Finding::wrong("clock", format!("it says {now:.0}, and deeds of later times are written down"), remedy);
    }
    match synchronised {
        Some("yes") => Finding::fine("clock", "the system keeps it synchronised"),
        Some(_) => Finding::note("clock", format!("it says {now:.0}, and nothing synchronises it"), remedy),
        None => Finding::fine("clock", format!("it says {now:.0}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Standing;

    #[test]
    fn a_clock_that_went_back_is_wrong() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-11-23T13:00:00Z".parse().unwrap();
        assert_eq!(judge(now, Some(later), Some("yes")).standing, Standing::Wrong);
        assert_eq!(judge(later, Some(now), Some("no")).standing, Standing::Note);
        assert_eq!(judge(now, None, Some("yes")).standing, Standing::Fine);
        assert_eq!(judge(now, Some(now), None).standing, Standing::Fine);
    }
}
