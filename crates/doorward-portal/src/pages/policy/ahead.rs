//! What a policy would answer, as people read it.

use crate::PortalState;
use crate::answer::Problem;
use crate::foresight::{Whom, Wish, foresee};
use crate::pages::fields::Fields;
use crate::pages::frame::Frame;
use doorward_control::{ServiceRecord, Toll};
use doorward_core::access::{Denied, Outlook, PolicyDocument};
use doorward_core::names::Label;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::net::IpAddr;

/// Whom to look ahead for, as typed.
#[derive(Clone, Debug, Default)]
pub(in crate::pages) struct Questions {
    pub(in crate::pages) people: String,
    pub(in crate::pages) groups: String,
    pub(in crate::pages) from: String,
    pub(in crate::pages) at: String,
    /// Whose clock is meant.
    pub(in crate::pages) zone: String,
}

pub(in crate::pages) struct Ahead {
    pub(in crate::pages) rows: Vec<Row>,
    pub(in crate::pages) toll: Toll,
}

pub(in crate::pages) struct Row {
    whom: Whom,
    pub(in crate::pages) from: Option<IpAddr>,
    pub(in crate::pages) at: Timestamp,
    now: Said,
    then: Said,
    pub(in crate::pages) differs: bool,
}

/// An answer, as pieces of a sentence.
pub(in crate::pages) struct Said {
    pub(in crate::pages) word: &'static str,
    pub(in crate::pages) why: Option<&'static str>,
    pub(in crate::pages) until: Option<Timestamp>,
    pub(in crate::pages) is_no: bool,
}

impl Questions {
    pub(in crate::pages) fn sent(fields: &Fields) -> Self {
        let text = |name: &str| fields.text(name).to_owned();
        Self {
            people: text("ask-people"),
            groups: text("ask-groups"),
            from: text("ask-from"),
            at: text("ask-at"),
            zone: String::new(),
        }
    }

    fn wish(&self, zone: &TimeZone) -> Result<Wish, Problem> {
        let words = crate::pages::fields::words;
        let address = |text: String| {
            text.parse().map_err(|_| Problem::invalid(format!("\"{text}\" is no address, as 192.0.2.7 or 2001:db8::1")))
        };
        let from = words(&self.from).into_iter().map(address).collect::<Result<_, _>>()?;
        let at = if self.at.is_empty() { Vec::new() } else { vec![moment(&self.at, zone)?] };
        Ok(Wish { people: words(&self.people), groups: words(&self.groups), from, at })
    }
}

/// As a browser's field has it, by the clock of the policy's own hours.
fn moment(text: &str, zone: &TimeZone) -> Result<Timestamp, Problem> {
    let local = || text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok();
    let wrong = || Problem::invalid(format!("\"{text}\" is no moment as 2026-11-23T17:00"));
    local().map(|zoned| zoned.timestamp()).ok_or_else(wrong)
}

impl Ahead {
    pub(in crate::pages) fn of(
        state: &PortalState,
        record: &ServiceRecord,
        access: &PolicyDocument,
        questions: &mut Questions,
    ) -> Result<Self, Problem> {
        let supposed = state.control.suppose(record, access).map_err(|error| Problem::invalid(error.to_string()))?;
        let zone = access.when.as_ref().map_or("UTC", |when| when.zone.as_str());
        zone.clone_into(&mut questions.zone);
        let database = jiff::tz::TimeZoneDatabase::bundled();
        let zone = database.get(zone).unwrap_or(TimeZone::UTC);
        let rows = foresee(state, record, &supposed, access, &questions.wish(&zone)?)?;
        Ok(Self { rows: rows.into_iter().map(row).collect(), toll: state.control.toll(&supposed, (state.clock)()) })
    }
}

fn row(row: crate::foresight::Row) -> Row {
    let differs = row.now != row.then;
    Row { whom: row.whom, from: row.from, at: row.at, now: said(&row.now), then: said(&row.then), differs }
}

impl Row {
    /// By the policy that there is and by the draft, each under its heading.
    pub(in crate::pages) fn answers(&self) -> [(&'static str, &Said); 2] {
        [("As it is now", &self.now), ("As it stands here", &self.then)]
    }

    pub(in crate::pages) fn whom(&self, frame: &Frame) -> String {
        let named = |sentence: &str, name: &Label| frame.say(sentence).replace("{}", name.as_str());
        match &self.whom {
            Whom::Stranger => frame.say(STRANGER).to_owned(),
            Whom::Somebody => frame.say(SOMEBODY).to_owned(),
            Whom::Group(name) => named(MEMBER, name),
            Whom::Person(name) => name.to_string(),
            Whom::Nobody(name) => named(NOBODY, name),
        }
    }
}

const STRANGER: &str = "A stranger";
const SOMEBODY: &str = "Anybody else with an account";
const MEMBER: &str = "Somebody in the group {}";
const NOBODY: &str = "{} (nobody has this name)";
const YES: &str = "yes";
const WITH_PASSWORD: &str = "yes, with a password";
const IN_SESSION: &str = "yes, in a session";
const NO: &str = "no";
const IT_OPENS: &str = "it is closed then; it opens";

/// Each, for the test that asks for them in every language.
#[cfg(test)]
pub(super) const SENTENCES: [&str; 9] =
    [STRANGER, SOMEBODY, MEMBER, NOBODY, YES, WITH_PASSWORD, IN_SESSION, NO, IT_OPENS];

fn said(outlook: &Outlook) -> Said {
    let (word, why, until) = match outlook {
        Outlook::Yes(until) => (YES, None, *until),
        Outlook::WithPassword(until) => (WITH_PASSWORD, None, *until),
        Outlook::InSession(until) => (IN_SESSION, None, *until),
        Outlook::No(Denied::Closed { opens }) => (NO, Some(IT_OPENS), *opens),
        Outlook::No(why @ Denied::BudgetSpent { until }) => (NO, Some(in_words(why)), Some(*until)),
        Outlook::No(why) => (NO, Some(in_words(why)), None),
    };
    Said { word, why, until, is_no: outlook.is_no() }
}

/// Why not, for whoever manages the service.
pub(super) fn in_words(denied: &Denied) -> &'static str {
    match denied {
        Denied::NotOffered => "the device does not offer it at present",
        Denied::DeviceRevoked => "the device was revoked",
        Denied::Nobody => "nobody is let in",
        Denied::SourceNetwork | Denied::OtherSource => "not from this address",
        Denied::Closed { .. } => "it is closed then",
        Denied::PasswordNeeded => "a password is needed",
        Denied::NotOneOfThem => "the policy names other people",
        Denied::NotASender => "it is for senders alone",
        Denied::LoginOver => "the login is over",
        Denied::ShareOver => "the share link is over",
        Denied::AccountDisabled => "the account is disabled",
        Denied::AccountEnded => "the account has ended by then",
        Denied::SessionNeeded => "a session must be opened",
        Denied::SessionOver => "the session is over",
        Denied::NeedsMore(_) => "signing in takes more",
        Denied::ApprovalNeeded => "somebody must agree",
        Denied::InUse => "somebody else has it",
        Denied::BudgetSpent { .. } => "its bytes are used up",
        Denied::ReadOnly => "it is only looked at, by the web",
        Denied::Full => "as many are in as may be",
    }
}
