//! Who is one of the people that a policy names, and whether they opened what must be opened.

use super::{Coming, Denied, End, Facts, How, Need, Proof};
use crate::login::{Login, LoginKind, is_ahead};
use crate::names::Label;
use crate::person::{Person, PersonStanding};
use crate::service::Service;
use crate::session::Session;
use crate::{AccountId, SessionId};
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
    coming: Coming,
    proofs: &[Proof],
    facts: &dyn Facts,
    now: Timestamp,
) -> Result<End, Denied> {
    let mut denied = Denied::NotOneOfThem;
    for proof in proofs {
        let (id, end) = match proof {
            Proof::Person(id) => (*id, End::default()),
            Proof::Login(id) => match facts.login(*id).filter(|login| login.counts(now)) {
                Some(login) if !is_for(login, service, facts) => continue,
                Some(login) => (login.account, End::at(Some(login.until))),
                None => {
                    denied = Denied::LoginOver;
                    continue;
                }
            },
            Proof::Port(id) => match by_port(service, *id, coming, facts) {
                Ok(account) => (account, End::default()),
                Err(why) => {
                    denied = why;
                    continue;
                }
            },
            Proof::Password(_) | Proof::Session(_) | Proof::Sender(_) | Proof::Share(_) | Proof::OpenPath(_) => {
                continue;
            }
        };
        match admit_one(service, id, named, proofs, facts, now) {
            Ok(theirs) => return Ok(theirs.or(end)),
            Err(Denied::NotOneOfThem) => {}
            Err(why) => denied = why,
        }
    }
    Err(denied)
}

/// Whose session it is, for whoever comes to its port from where that person comes. Only a policy that needs a session takes
/// so little for a proof.
fn by_port(service: &Service, session: SessionId, coming: Coming, facts: &dyn Facts) -> Result<AccountId, Denied> {
    let found = facts.session(session).ok_or(Denied::SessionOver)?;
    if found.service != service.id || service.policy.how == How::SignedIn {
        return Err(Denied::NotOneOfThem);
    }
    if !coming.source.is_some_and(|source| facts.is_source_of(session, source)) {
        return Err(Denied::OtherSource);
    }
    Ok(found.account)
}

/// A token says by itself for which services it is; certificates are taken where the policy says so.
fn is_for(login: &Login, service: &Service, facts: &dyn Facts) -> bool {
    match login.kind {
        LoginKind::Browser => true,
        LoginKind::Token => facts.lets_in(login.id, service.id),
        LoginKind::Certificate => service.policy.certificates,
    }
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
    let unproved = |need: &&Need| !has_proved(**need, person.id, proofs, facts, now);
    if let Some(need) = service.policy.needs.iter().find(unproved) {
        return Err(Denied::NeedsMore(*need));
    }
    let max_duration = match service.policy.how {
        How::SignedIn => return Ok(End::at(person.ends_at)),
        How::OnRequest { max_duration, .. } => max_duration,
    };
    let sessions = proofs.iter().filter_map(Proof::session).filter_map(|id| facts.session(id));
    let mut theirs = sessions.filter(|session| session.service == service.id && session.account == person.id);
    let session = theirs.next().ok_or(Denied::SessionNeeded)?;
    let end = end_of(session, max_duration);
    if end <= now || is_ahead(session.opened_at, now) {
        return Err(Denied::SessionOver);
    }
    let approval = service.policy.approval.as_ref();
    if approval.is_some_and(|approval| session.approved_by.as_ref() != Some(&approval.by)) {
        return Err(Denied::ApprovalNeeded);
    }
    if service.policy.exclusive.is_some() && facts.holder(service.id, now) != Some(session.id) {
        return Err(Denied::InUse);
    }
    Ok(End { until: Some(end), farthest: Some(longest(session, max_duration)) }.or(End::at(person.ends_at)))
}

/// By a login of theirs that was begun with it.
fn has_proved(need: Need, person: AccountId, proofs: &[Proof], facts: &dyn Facts, now: Timestamp) -> bool {
    proofs.iter().any(|proof| match proof {
        Proof::Login(id) => facts
            .login(*id)
            .is_some_and(|login| login.account == person && login.counts(now) && need.is_met_by(login.factors)),
        Proof::Password(_)
        | Proof::Person(_)
        | Proof::Session(_)
        | Proof::Port(_)
        | Proof::Sender(_)
        | Proof::Share(_)
        | Proof::OpenPath(_) => false,
    })
}

/// A policy that allows less than when the session was opened ends it sooner.
fn end_of(session: &Session, max_duration: SignedDuration) -> Timestamp {
    session.until.min(longest(session, max_duration))
}

fn longest(session: &Session, max_duration: SignedDuration) -> Timestamp {
    session.opened_at.checked_add(max_duration).unwrap_or(Timestamp::MAX)
}
