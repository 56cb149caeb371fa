//! Who is one of the people that a policy names, and whether they opened what must be opened.

use super::{Denied, End, Facts, How, Proof};
use crate::AccountId;
use crate::login::is_ahead;
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
        let (id, end) = match proof {
            Proof::Person(id) => (*id, End::default()),
            Proof::Login(id) => match facts.login(*id).filter(|login| login.counts(now)) {
                Some(login) => (login.account, End::at(Some(login.until))),
                None => {
                    denied = Denied::LoginOver;
                    continue;
                }
            },
            Proof::Password(_) | Proof::Session(_) | Proof::Sender(_) => continue,
        };
        match admit_one(service, id, named, proofs, facts, now) {
            Ok(theirs) => return Ok(theirs.or(end)),
            Err(Denied::NotOneOfThem) => {}
            Err(why) => denied = why,
        }
    }
    Err(denied)
}

fn admit_one(
    service: &Service,
    id: AccountId,
    named: &People,
    proofs: &[Proof],
    facts: &dyn Facts,
    now: Timestamp,
) -> Result<End, Denied> {
    let person = facts.person(id).filter(|person| named.name(person)).ok_or(Denied::NotOneOfThem)?;
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
        Proof::Password(_) | Proof::Person(_) | Proof::Login(_) | Proof::Sender(_) => None,
    });
    let mut theirs = sessions.filter(|session| session.service == service.id && session.account == person.id);
    let session = theirs.next().ok_or(Denied::SessionNeeded)?;
    let end = end_of(session, max_duration);
    if end <= now || is_ahead(session.opened_at, now) {
        return Err(Denied::SessionOver);
    }
    Ok(End { until: Some(end), farthest: Some(longest(session, max_duration)) }.or(End::at(person.ends_at)))
}

/// A policy that allows less than when the session was opened ends it sooner.
fn end_of(session: &Session, max_duration: SignedDuration) -> Timestamp {
    session.until.min(longest(session, max_duration))
}

fn longest(session: &Session, max_duration: SignedDuration) -> Timestamp {
    session.opened_at.checked_add(max_duration).unwrap_or(Timestamp::MAX)
}
