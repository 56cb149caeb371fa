//! The decision: may this visitor use this service now?
//!
//! `decide` is a plain function of facts. It yields a [`Permit`], the only thing that opens a stream, or says why not.
//! It fails closed: a policy that says nothing admits nobody, and an empty list admits nobody.

mod consent;
mod document;
mod exclusive;
mod limits;
mod network;
mod open_path;
mod outlook;
mod password;
mod people;
mod schedule;
mod visitor;

pub use consent::{Approval, ApprovalDocument, Need, NoVoice};
pub use document::{HowDocument, PolicyDocument, PolicyError, ScheduleDocument, WhoDocument};
pub use exclusive::{Exclusive, LONGEST_LINE, Step, Waiting, is_turn_of, settle};
pub use limits::{Budget, BudgetStanding, Limits, LimitsDocument, Spent, USUAL_RESERVE, Window};
pub use network::{NetworkError, Networks, canonical};
pub use open_path::{OpenPathError, OpenPaths};
pub use outlook::{Outlook, Supposed, foresee};
pub use password::{KEPT, PasswordHash};
pub use people::People;
pub use schedule::{Openness, Schedule, ScheduleError};
pub use visitor::{Proof, Visitor};

use crate::login::Login;
use crate::person::Person;
use crate::service::{Entrance, Service, Standing};
use crate::session::Session;
use crate::share::{self, Share, Sharing};
use crate::{AccountId, DeviceId, LoginId, ServiceId, SessionId, ShareId};
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

/// Who may use a service, from where and when. All conditions must hold.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Policy {
    pub who: Who,
    /// `None`: from anywhere. An empty list: from nowhere.
    pub from: Option<Networks>,
    /// `None`: at any time.
    pub when: Option<Schedule>,
    pub how: How,
    /// Of each person's login.
    pub needs: Vec<Need>,
    /// Whose consent each session needs.
    pub approval: Option<Approval>,
    /// `Some`: one person at a time.
    pub exclusive: Option<Exclusive>,
    /// Whether an open session's port may wait for whoever comes there first, and take them for its person.
    pub first_comer: bool,
    pub limits: Limits,
    /// `None`: there are no share links.
    pub sharing: Option<Sharing>,
    /// Where nobody is asked who they are, since the application asks.
    pub open_paths: OpenPaths,
    /// Whether people may come by a client certificate, for which their programs are then asked.
    pub certificates: bool,
}

#[derive(Clone, Debug, PartialEq, Default)]
pub enum Who {
    #[default]
    Nobody,
    Public,
    /// Whoever knows one of these passwords, each for its user name.
    Password(Vec<PasswordHash>),
    /// These people, as their own credentials tell.
    People(People),
    /// Whoever holds a sender key for it.
    Senders,
}

/// What people do before they come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum How {
    /// That they say who they are is enough.
    #[default]
    SignedIn,
    /// A session must be open.
    OnRequest {
        /// As a whole, extensions included.
        max_duration: SignedDuration,
        /// Without use it ends after so long.
        max_idle: Option<SignedDuration>,
    },
}

/// What a decision looks up at its moment, and what may change without the visitor doing anything.
pub trait Facts {
    /// `None`: there is none such any more.
    fn person(&self, id: AccountId) -> Option<&Person>;

    /// One that was not ended; its time may be over.
    fn session(&self, id: SessionId) -> Option<&Session>;

    /// One that was not ended; its time may be over.
    fn login(&self, id: LoginId) -> Option<&Login>;

    /// Of a service that one person has at a time: by which session. `None`: nobody has it.
    fn holder(&self, _service: ServiceId, _now: Timestamp) -> Option<SessionId> {
        None
    }

    /// What its device counted. `None`: nothing yet.
    fn spent(&self, _service: ServiceId) -> Option<&Spent> {
        None
    }

    /// One that was not revoked; its time may be over.
    fn share(&self, _id: ShareId) -> Option<&Share> {
        None
    }

    /// Whether this login is a token by which one comes in at this service.
    fn lets_in(&self, _token: LoginId, _service: ServiceId) -> bool {
        false
    }

    /// Whether whoever opened this session comes from there.
    fn is_source_of(&self, _session: SessionId, _source: IpAddr) -> bool {
        false
    }
}

/// The proof that a decision was taken. Only [`decide`] makes one, and only a permit opens a stream.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    service: ServiceId,
    device: DeviceId,
    account: AccountId,
    end: End,
    is_read_only: bool,
    visitor: Visitor,
}

/// When something ends by itself. `None`: it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    pub until: Option<Timestamp>,
    /// The same, had every session been extended as far as it may be.
    pub farthest: Option<Timestamp>,
}

/// What a decision comes to.
pub(crate) struct Terms {
    pub(crate) end: End,
    pub(crate) is_read_only: bool,
}

impl End {
    pub(crate) fn at(until: Option<Timestamp>) -> Self {
        Self { until, farthest: until }
    }

    /// Whichever comes first.
    fn or(self, other: Self) -> Self {
        let first = |a: Option<Timestamp>, b: Option<Timestamp>| a.into_iter().chain(b).min();
        Self { until: first(self.until, other.until), farthest: first(self.farthest, other.farthest) }
    }
}

impl Permit {
    pub fn service(&self) -> ServiceId {
        self.service
    }

    pub fn device(&self) -> DeviceId {
        self.device
    }

    pub fn account(&self) -> AccountId {
        self.account
    }

    /// For whom it was given; a later change is decided again with the same facts.
    pub fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// Whether it is for looking and no more, because of how this visitor comes.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// When it ends by itself.
    pub fn until(&self) -> Option<Timestamp> {
        self.end.until
    }

    /// What is left at `now` at most: the only form in which a deadline crosses machines. A session that is extended later
    /// must not be cut by whoever heard only of its first end.
    pub fn remaining(&self, now: Timestamp) -> Option<Duration> {
        self.end.farthest.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
    }
}

/// Why not. For the log and the owner; a stranger gets one answer for all of these.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    #[error("the device does not offer this service at present")]
    NotOffered,
    #[error("the device was revoked")]
    DeviceRevoked,
    #[error("its policy admits nobody")]
    Nobody,
    #[error("its policy does not admit this source address")]
    SourceNetwork,
    #[error("the session was opened for somebody who comes from elsewhere")]
    OtherSource,
    #[error("it is closed by its schedule{}", opens.map(|t| format!(" until {t}")).unwrap_or_default())]
    Closed { opens: Option<Timestamp> },
    /// A password would open it: the one refusal that an entrance may answer with a question.
    #[error("a password is needed")]
    PasswordNeeded,
    #[error("it is for certain people, and this is none of them")]
    NotOneOfThem,
    #[error("it is for senders, and this is none (`doorward sender-key` makes one)")]
    NotASender,
    #[error("the login is over")]
    LoginOver,
    #[error("the account was disabled")]
    AccountDisabled,
    #[error("the account has ended")]
    AccountEnded,
    /// Opening one would let them in.
    #[error("a session must be opened for it")]
    SessionNeeded,
    #[error("the session is over")]
    SessionOver,
    #[error("a login with {} is needed", .0.word())]
    NeedsMore(Need),
    #[error("somebody must approve the session")]
    ApprovalNeeded,
    #[error("one person has it at a time, and somebody else has it now")]
    InUse,
    #[error("what may pass in this time has passed; it goes on at {until}")]
    BudgetSpent { until: Timestamp },
    #[error("it may only be looked at, which is for the web alone")]
    ReadOnly,
    /// Counted where visits are.
    #[error("as many are in as may be at once")]
    Full,
    #[error("the share link is over")]
    ShareOver,
}

impl Denied {
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotOffered => "not-offered",
            Self::DeviceRevoked => "device-revoked",
            Self::Nobody => "nobody",
            Self::SourceNetwork => "source-network",
            Self::OtherSource => "other-source",
            Self::Closed { .. } => "closed",
            Self::PasswordNeeded => "password-needed",
            Self::NotOneOfThem => "not-one-of-them",
            Self::NotASender => "not-a-sender",
            Self::LoginOver => "login-over",
            Self::AccountDisabled => "account-disabled",
            Self::AccountEnded => "account-ended",
            Self::SessionNeeded => "session-needed",
            Self::SessionOver => "session-over",
            Self::NeedsMore(Need::Totp) => "totp-needed",
            Self::NeedsMore(Need::Passkey) => "passkey-needed",
            Self::ApprovalNeeded => "approval-needed",
            Self::InUse => "in-use",
            Self::BudgetSpent { .. } => "budget-spent",
            Self::ReadOnly => "read-only",
            Self::Full => "full",
            Self::ShareOver => "share-over",
        }
    }
}

impl Denied {
    /// Whether it says that they are one of those whom the policy names: what they lack they may see to themselves.
    pub fn is_of_theirs(&self) -> bool {
        match self {
            Self::SessionNeeded
            | Self::SessionOver
            | Self::NeedsMore(_)
            | Self::ApprovalNeeded
            | Self::InUse
            | Self::BudgetSpent { .. }
            | Self::Full => true,
            Self::NotOffered
            | Self::DeviceRevoked
            | Self::Nobody
            | Self::SourceNetwork
            | Self::OtherSource
            | Self::Closed { .. }
            | Self::PasswordNeeded
            | Self::NotOneOfThem
            | Self::NotASender
            | Self::LoginOver
            | Self::AccountDisabled
            | Self::AccountEnded
            | Self::ShareOver
            | Self::ReadOnly => false,
        }
    }
}

/// May `visitor` use `service` at `now`? Conditions that cannot be cured by asking come first, so that a password is
/// only ever asked of somebody whom it would let in, and a session only of somebody who may open one.
pub fn decide(service: &Service, visitor: &Visitor, facts: &dyn Facts, now: Timestamp) -> Result<Permit, Denied> {
    let Terms { end, is_read_only } = weigh(service, Coming::of(visitor), &visitor.proofs, facts, now)?;
    let (device, account) = (service.device, service.account);
    Ok(Permit { service: service.id, device, account, end, is_read_only, visitor: visitor.clone() })
}

/// What `decide` says of this person for people who look on: from wherever they come, with the session that they have.
pub fn preview(
    service: &Service,
    proofs: &[Proof],
    facts: &dyn Facts,
    now: Timestamp,
) -> Result<Option<Timestamp>, Denied> {
    examine(service, Coming::default(), proofs, facts, now).map(|end| end.until)
}

/// From where and how somebody comes, as far as they come already.
#[derive(Clone, Copy, Default)]
pub(crate) struct Coming {
    pub(crate) source: Option<IpAddr>,
    pub(crate) entrance: Option<Entrance>,
}

impl Coming {
    fn of(visitor: &Visitor) -> Self {
        Self { source: Some(visitor.source()), entrance: Some(visitor.entrance) }
    }

    fn is_by_ssh(self) -> bool {
        self.entrance == Some(Entrance::Ssh)
    }
}

/// The same of somebody who has come already.
pub fn preview_visit(
    service: &Service,
    visitor: &Visitor,
    facts: &dyn Facts,
    now: Timestamp,
) -> Result<Option<Timestamp>, Denied> {
    examine(service, Coming::of(visitor), &visitor.proofs, facts, now).map(|end| end.until)
}

/// The earliest end of all that the answer rests on.
pub(crate) fn examine(
    service: &Service,
    coming: Coming,
    proofs: &[Proof],
    facts: &dyn Facts,
    now: Timestamp,
) -> Result<End, Denied> {
    weigh(service, coming, proofs, facts, now).map(|terms| terms.end)
}

fn weigh(
    service: &Service,
    coming: Coming,
    proofs: &[Proof],
    facts: &dyn Facts,
    now: Timestamp,
) -> Result<Terms, Denied> {
    match service.standing {
        Standing::Offered => {}
        Standing::Withdrawn => return Err(Denied::NotOffered),
        Standing::DeviceRevoked => return Err(Denied::DeviceRevoked),
    }
    let policy = &service.policy;
    if policy.who == Who::Nobody && policy.sharing.is_none() {
        return Err(Denied::Nobody);
    }
    let is_outside = |networks: &Networks| coming.source.is_some_and(|source| !networks.contain(source));
    if policy.from.as_ref().is_some_and(is_outside) {
        return Err(Denied::SourceNetwork);
    }
    if policy.limits.is_read_only && coming.entrance.is_some_and(|entrance| entrance != Entrance::Web) {
        return Err(Denied::ReadOnly);
    }
    let closes = match policy.when.as_ref().map(|schedule| schedule.at(now)) {
        None => None,
        Some(Openness::Open { until }) => Some(until),
        Some(Openness::Closed { opens }) => return Err(Denied::Closed { opens }),
    };
    let Terms { end, is_read_only } = match is_one_of_them(service, coming, proofs, facts, now) {
        Ok(end) => Terms { end, is_read_only: false },
        Err(why) => share::admit(service, proofs, facts, now, why)?,
    };
    // Last: only who would be let in learns of it.
    let budget = policy.limits.budget.as_ref();
    if let Some(until) = budget.and_then(|b| b.refuses(facts.spent(service.id), coming.is_by_ssh(), now)) {
        return Err(Denied::BudgetSpent { until });
    }
    Ok(Terms { end: End::at(closes).or(end), is_read_only: is_read_only || policy.limits.is_read_only })
}

/// By who they are, what they know, or where they go.
fn is_one_of_them(
    service: &Service,
    coming: Coming,
    proofs: &[Proof],
    facts: &dyn Facts,
    now: Timestamp,
) -> Result<End, Denied> {
    if service.policy.open_paths.are_gone_to(proofs) {
        return Ok(End::default());
    }
    match &service.policy.who {
        Who::Nobody => Err(Denied::Nobody),
        Who::Public => Ok(End::default()),
        Who::Password(accepted) => {
            let proved = |hash| proofs.contains(&Proof::Password(PasswordHash::clone(hash)));
            if accepted.iter().any(proved) { Ok(End::default()) } else { Err(Denied::PasswordNeeded) }
        }
        Who::People(named) => people::admit(service, named, coming, proofs, facts, now),
        Who::Senders if proofs.contains(&Proof::Sender(service.id)) => Ok(End::default()),
        Who::Senders => Err(Denied::NotASender),
    }
}
