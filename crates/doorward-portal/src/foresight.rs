//! What people ask before they save a policy: who would be let in by it, and whom it would cut. Pages and API ask alike.

use crate::PortalState;
use crate::answer::Problem;
use doorward_control::{Question, ServiceRecord, Snapshot};
use doorward_core::access::{Outlook, PolicyDocument, Supposed};
use doorward_core::names::Label;
use doorward_core::service::Service;
use doorward_core::{AccountId, access};
use jiff::Timestamp;
use std::net::IpAddr;

/// About whom, from where and when. An empty list leaves it to us.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) people: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) from: Vec<IpAddr>,
    pub(crate) at: Vec<Timestamp>,
}

/// One of those who were asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Stranger,
    /// With an account, in no group.
    Somebody,
    Group(Label),
    Person(Label),
    /// Nobody has this name.
    Nobody(Label),
}

/// What one of them is answered as things are, and would be.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) whom: Whom,
    pub(crate) from: Option<IpAddr>,
    pub(crate) at: Timestamp,
    pub(crate) now: Outlook,
    pub(crate) then: Outlook,
}

const MOST: usize = 300;
/// Of those whom a policy names: whoever wants to see more asks for them.
const MOST_NAMED: usize = 12;
/// No person has a number below 1.
const NOBODY: AccountId = AccountId(0);

pub(crate) fn foresee(
    state: &PortalState,
    record: &ServiceRecord,
    supposed: &Service,
    draft: &PolicyDocument,
    wish: &Wish,
) -> Result<Vec<Row>, Problem> {
    let snapshot = state.control.snapshot();
    let everybody = whom(&snapshot, record, draft, wish)?;
    let from: Vec<_> = if wish.from.is_empty() { vec![None] } else { wish.from.iter().copied().map(Some).collect() };
    let at = if wish.at.is_empty() { vec![(state.clock)()] } else { wish.at.clone() };
    if everybody.len() * from.len() * at.len() > MOST {
        return Err(Problem::invalid(format!("that is more than {MOST} answers: ask about fewer at once")));
    }
    let mut asked = Vec::new();
    for whom in everybody {
        for from in &from {
            asked.extend(at.iter().map(|at| (whom.clone(), *from, *at)));
        }
    }
    let question = |(whom, from, at): &(Whom, Option<IpAddr>, Timestamp)| Question {
        who: whom.supposed(&snapshot),
        from: from.map(access::canonical),
        at: *at,
    };
    let answers = state.control.foresee(record, supposed, asked.iter().map(question).collect());
    let rows = asked.into_iter().zip(answers);
    Ok(rows.map(|((whom, from, at), seen)| Row { whom, from, at, now: seen.now, then: seen.then }).collect())
}

fn whom(
    snapshot: &Snapshot,
    record: &ServiceRecord,
    draft: &PolicyDocument,
    wish: &Wish,
) -> Result<Vec<Whom>, Problem> {
    let read = |name: &String| Label::parse(name).map_err(|error| Problem::invalid(error.to_string()));
    let person = |name: Label| match snapshot.person_by_name(&name) {
        Some(_) => Whom::Person(name),
        None => Whom::Nobody(name),
    };
    let mut all = vec![Whom::Stranger, Whom::Somebody];
    if wish.people.is_empty() && wish.groups.is_empty() {
        let mut named = |lists: [&[String]; 2], make: &dyn Fn(Label) -> Whom| {
            for whom in lists.into_iter().flatten().filter_map(|name| Label::parse(name).ok()).map(make) {
                if !all.contains(&whom) && all.len() < MOST_NAMED {
                    all.push(whom);
                }
            }
        };
        named([&draft.groups, &record.access.groups], &Whom::Group);
        named([&draft.people, &record.access.people], &person);
        return Ok(all);
    }
    for name in &wish.groups {
        all.push(Whom::Group(read(name)?));
    }
    for name in &wish.people {
        all.push(person(read(name)?));
    }
    Ok(all)
}

impl Whom {
    fn supposed(&self, snapshot: &Snapshot) -> Supposed {
        match self {
            Self::Stranger => Supposed::Stranger,
            Self::Somebody => Supposed::Somebody,
            Self::Group(name) => Supposed::MemberOf(name.clone()),
            Self::Person(name) => Supposed::Person(snapshot.person_by_name(name).map_or(NOBODY, |person| person.id)),
            Self::Nobody(_) => Supposed::Person(NOBODY),
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::Somebody => "somebody",
            Self::Group(_) => "group",
            Self::Person(_) => "person",
            Self::Nobody(_) => "nobody",
        }
    }

    pub(crate) fn name(&self) -> Option<&Label> {
        match self {
            Self::Group(name) | Self::Person(name) | Self::Nobody(name) => Some(name),
            Self::Stranger | Self::Somebody => None,
        }
    }
}
