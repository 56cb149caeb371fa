//! Who is one of the people that a policy names, and whether they opened what must be opened.

use super::{Denied, End, Facts, How, Proof};
use crate::names::Label;
use crate::person::{Person, PersonStanding};
use crate::service::Service;
use crate::session::Session;
use jiff::{SignedDuration, Timestamp};

/// People by name, and groups of them. All empty: nobody.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct People {
    pub people: Vec<Label>,
    pub groups: Vec<Label>,
}

impl People {
    fn name(&self, person: &Person) -> bool {
        self.people.contains(&person.name) || self.groups.iter().any(|group| person.is_in(group))
    }
}

/// Of several people that were proved one suffices.
pub(super) fn admit(
    service: &Service,
    named: &People,
    proofs: &[Proof],
    facts: &dyn Facts,
    now: Timestamp,
) -> Result<End, Denied> {
    let mut denied = Denied::NotOneOfThem;
    for proof in proofs {
        let Proof::Person(id) = proof else { continue };
        let Some(person) = facts.person(*id).filter(|person| named.name(person)) else { continue };
        match admit_one(service, person, proofs, facts, now) {
            Ok(end) => return Ok(end),
            Err(why) => denied = why,
        }
    }
    Err(denied)
}

fn admit_one(
    service: &Service,
    person: &Person,
    proofs: &[Proof],
    facts: &dyn Facts,
    now: Timestamp,
) -> Result<End, Denied> {
    match person.standing(now) {
        PersonStanding::Good => {}
        PersonStanding::Disabled => return Err(Denied::AccountDisabled),
        PersonStanding::Ended => return Err(Denied::AccountEnded),
    }
    let max_duration = match service.policy.how {
        How::SignedIn => return Ok(End::at(person.ends_at)),
        How::OnRequest { max_duration, .. } => max_duration,
    };
    let sessions = proofs.iter().filter_map(|proof| match proof {
        Proof::Session(id) => facts.session(*id),
        Proof::Password(_) | Proof::Person(_) | Proof::Sender(_) => None,
    });
    let mut theirs = sessions.filter(|session| session.service == service.id && session.account == person.id);
    let session = theirs.next().ok_or(Denied::SessionNeeded)?;
    let end = end_of(session, max_duration);
    if end <= now || now.saturating_add(CLOCKS_DIFFER).is_ok_and(|soon| soon < session.opened_at) {
        return Err(Denied::SessionOver);
    }
    Ok(End { until: Some(end), farthest: Some(longest(session, max_duration)) }.or(End::at(person.ends_at)))
}

/// A clock that was put back further than this makes no session longer: one that begins in the future counts for nothing.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(1);

/// A policy that allows less than when the session was opened ends it sooner.
fn end_of(session: &Session, max_duration: SignedDuration) -> Timestamp {
    session.until.min(longest(session, max_duration))
}

fn longest(session: &Session, max_duration: SignedDuration) -> Timestamp {
    session.opened_at.checked_add(max_duration).unwrap_or(Timestamp::MAX)
}
