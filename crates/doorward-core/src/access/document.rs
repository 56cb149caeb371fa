//! The one written form of a policy: a table in a file, JSON in the API, on the wire and in the store.
//!
//! ```toml
//! [service.access]
//! who = "password"                       # "nobody" (the default), "public", "password", "people" or "senders"
//! passwords = { anna = "$argon2id$…" }   # made by `doorward password`
//! people = ["anna", "ben"]               # for who = "people"
//! groups = ["robotics"]                  # the same
//! how = "on-request"                     # for who = "people": a session must be opened; "signed-in" is the default
//! max-duration = "2h"                    # of a session, for how = "on-request"; 24h unless said otherwise
//! max-idle = "15m"                       # the same; absent: it may lie unused
//! from = ["192.0.2.0/24"]                # absent: anywhere; empty: nowhere
//! needs = ["totp"]                       # of each person's login
//! approval = { by = "teachers" }         # for how = "on-request": somebody of this group must agree
//! exclusive = true                       # the same: one person at a time
//! take-over = ["teachers"]               # for exclusive = true: who may come before
//! claim = "2m"                           # the same: how long it is kept for whoever's turn it is
//! first-comer = true                     # for how = "on-request": an open session's port may wait for whoever comes first
//! limits = { connections = 4 }           # see `limits.rs`
//! share-links = "7d"                     # whoever owns it may make links that let anybody in, for so long at most; absent: none
//! when = { zone = "Europe/Berlin", open = ["mon-fri 08:00-16:30"] }
//! open-paths = ["/api/"]                 # for who = "people" or "password": here the application asks, nobody else
//! certificates = true                    # for who = "people": client certificates are asked for, and taken
//! ```

use super::exclusive::USUAL_CLAIM;
use super::{
    ApprovalDocument, Exclusive, How, LimitsDocument, Need, NetworkError, Networks, OpenPathError, OpenPaths,
    PasswordHash, People, Policy, Schedule, ScheduleError, Who,
};
use crate::names::{Label, NameError};
use crate::service::ServiceKind;
use crate::share::Sharing;
use crate::span::{parse_span, write_span};
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use thiserror::Error;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyDocument {
    #[serde(default)]
    pub who: WhoDocument,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub passwords: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<HowDocument>,
    /// As `30m`, `2h`, `1d12h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_idle: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Need>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalDocument>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub exclusive: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub take_over: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub first_comer: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsDocument>,
    /// How long share links may last, as `7d`; absent: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_links: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<ScheduleDocument>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_paths: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub certificates: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhoDocument {
    #[default]
    Nobody,
    Public,
    Password,
    People,
    Senders,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HowDocument {
    SignedIn,
    OnRequest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleDocument {
    pub zone: String,
    pub open: Vec<String>,
}

/// What is wrong with a policy, by key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    #[error("access.from: {0}")]
    From(#[from] NetworkError),
    #[error("access.when: {0}")]
    When(#[from] ScheduleError),
    #[error("access.passwords: who = \"password\" needs at least one (make one with `doorward password`)")]
    NoPassword,
    #[error("access.passwords: they mean nothing unless who = \"password\"")]
    StrayPasswords,
    #[error("access.{0}: it means nothing unless who = \"people\"")]
    NotPeople(&'static str),
    #[error("access.{key}: {source}")]
    Name { key: &'static str, source: NameError },
    #[error("access.{0}: it means nothing unless how = \"on-request\"")]
    NotOnRequest(&'static str),
    #[error("access.{key}: {why}")]
    Span { key: &'static str, why: String },
    #[error("access.limits.{key}: {why}")]
    Limit { key: &'static str, why: String },
    #[error("access.{0}: it means nothing unless exclusive = true")]
    NotExclusive(&'static str),
    #[error(
        "access.limits.read-only: a {kind} service is not looked at by the web, where alone it is known who only looks; \
         offer it with kind = \"http\", or leave read-only out"
    )]
    ReadOnly { kind: ServiceKind },
    #[error("access.share-links: they mean nothing where who = \"public\" or \"senders\"")]
    NothingToShare,
    #[error("access.open-paths: {0}")]
    OpenPaths(#[from] OpenPathError),
    #[error("access.{0}: a {1} service has no pages; it is for kind = \"http\" alone")]
    WebOnly(&'static str, ServiceKind),
    #[error("access.first-comer: the sessions of a {0} service have no ports; it is for kind = \"tcp\" and \"udp\"")]
    NoPorts(ServiceKind),
    #[error("access.open-paths: they mean nothing unless who = \"people\" or \"password\"")]
    StrayOpenPaths,
    #[error("access.passwords.{user}: a hash made by `doorward password` is wanted, which starts with $argon2id$")]
    NotAHash { user: String },
    #[error("access.passwords: \"{user}\" cannot be a user name: HTTP Basic allows no colon in it (RFC 7617)")]
    BadUser { user: String },
}

impl PolicyDocument {
    pub fn public() -> Self {
        Self { who: WhoDocument::Public, ..Self::default() }
    }

    pub fn to_policy(&self) -> Result<Policy, PolicyError> {
        let who = match self.who {
            WhoDocument::Password => Who::Password(self.hashes()?),
            WhoDocument::Nobody | WhoDocument::Public | WhoDocument::People | WhoDocument::Senders
                if !self.passwords.is_empty() =>
            {
                return Err(PolicyError::StrayPasswords);
            }
            WhoDocument::Nobody => Who::Nobody,
            WhoDocument::Public => Who::Public,
            WhoDocument::Senders => Who::Senders,
            WhoDocument::People => {
                let (people, groups) = (names("people", &self.people)?, names("groups", &self.groups)?);
                Who::People(People { people, groups })
            }
        };
        let how = self.how_people_come()?;
        let from = self.from.as_deref().map(Networks::parse).transpose()?;
        let when = self.when.as_ref().map(|w| Schedule::parse(&w.zone, &w.open)).transpose()?;
        let approval = self.approval.as_ref().map(ApprovalDocument::to_approval).transpose()?;
        let limits = self.limits.as_ref().map(LimitsDocument::to_limits).transpose()?.unwrap_or_default();
        let (needs, exclusive) = (self.needs.clone(), self.one_at_a_time()?);
        let sharing = self.sharing()?;
        Ok(Policy {
            who,
            from,
            when,
            how,
            needs,
            approval,
            exclusive,
            first_comer: self.first_comer,
            limits,
            sharing,
            open_paths: self.open_paths()?,
            certificates: self.certificates,
        })
    }

    /// The policy, if it makes sense for such a service.
    pub fn to_policy_for(&self, kind: ServiceKind) -> Result<Policy, PolicyError> {
        let policy = self.to_policy()?;
        match kind {
            ServiceKind::Http | ServiceKind::Camera if policy.first_comer => Err(PolicyError::NoPorts(kind)),
            ServiceKind::Http | ServiceKind::Camera => Ok(policy),
            ServiceKind::Tcp | ServiceKind::Udp if policy.limits.is_read_only => Err(PolicyError::ReadOnly { kind }),
            ServiceKind::Tcp | ServiceKind::Udp if !self.open_paths.is_empty() => {
                Err(PolicyError::WebOnly("open-paths", kind))
            }
            ServiceKind::Tcp | ServiceKind::Udp if policy.certificates => {
                Err(PolicyError::WebOnly("certificates", kind))
            }
            ServiceKind::Tcp | ServiceKind::Udp if policy.limits.caps_pictures() => {
                Err(PolicyError::Limit { key: "max-fps and max-kbit", why: "they are for cameras".to_owned() })
            }
            ServiceKind::Tcp | ServiceKind::Udp => Ok(policy),
        }
    }

    fn one_at_a_time(&self) -> Result<Option<Exclusive>, PolicyError> {
        if !self.exclusive {
            let stray =
                if self.take_over.is_empty() { self.claim.as_ref().map(|_| "claim") } else { Some("take-over") };
            return stray.map_or(Ok(None), |key| Err(PolicyError::NotExclusive(key)));
        }
        let claim =
            self.claim.as_deref().map(|text| span_between("claim", text, BRIEFEST..=LONGEST_CLAIM)).transpose()?;
        let take_over = names("take-over", &self.take_over)?;
        Ok(Some(Exclusive { take_over, claim: claim.unwrap_or(USUAL_CLAIM) }))
    }

    fn sharing(&self) -> Result<Option<Sharing>, PolicyError> {
        let longest = self.share_links.as_deref().map(|text| span("share-links", text)).transpose()?;
        match self.who {
            WhoDocument::Public | WhoDocument::Senders if longest.is_some() => Err(PolicyError::NothingToShare),
            WhoDocument::Nobody
            | WhoDocument::Public
            | WhoDocument::Password
            | WhoDocument::People
            | WhoDocument::Senders => Ok(longest.map(|longest| Sharing { longest })),
        }
    }

    fn how_people_come(&self) -> Result<How, PolicyError> {
        let of_people = [
            ("people", !self.people.is_empty()),
            ("groups", !self.groups.is_empty()),
            ("certificates", self.certificates),
            ("how", self.how.is_some()),
            ("needs", !self.needs.is_empty()),
        ];
        let on_request = [
            ("max-duration", self.max_duration.is_some()),
            ("max-idle", self.max_idle.is_some()),
            ("approval", self.approval.is_some()),
            ("exclusive", self.exclusive),
            ("take-over", !self.take_over.is_empty()),
            ("claim", self.claim.is_some()),
            ("first-comer", self.first_comer),
        ];
        let is_stray = |(_, is_said): &&(&str, bool)| *is_said && self.who != WhoDocument::People;
        if let Some((key, _)) = of_people.iter().chain(&on_request).find(is_stray) {
            return Err(PolicyError::NotPeople(key));
        }
        match self.how {
            None | Some(HowDocument::SignedIn) => {
                let stray = on_request.iter().find(|(_, is_said)| *is_said);
                stray.map_or(Ok(How::SignedIn), |(key, _)| Err(PolicyError::NotOnRequest(key)))
            }
            Some(HowDocument::OnRequest) => {
                let max_duration = self.max_duration.as_deref().map(|text| span("max-duration", text)).transpose()?;
                let max_idle = self.max_idle.as_deref().map(|text| span("max-idle", text)).transpose()?;
                Ok(How::OnRequest { max_duration: max_duration.unwrap_or(USUAL_MOST), max_idle })
            }
        }
    }

    /// A path without a question makes sense only where there is one elsewhere.
    fn open_paths(&self) -> Result<OpenPaths, PolicyError> {
        match self.who {
            WhoDocument::People | WhoDocument::Password => Ok(OpenPaths::parse(&self.open_paths)?),
            WhoDocument::Nobody | WhoDocument::Public | WhoDocument::Senders if self.open_paths.is_empty() => {
                Ok(OpenPaths::default())
            }
            WhoDocument::Nobody | WhoDocument::Public | WhoDocument::Senders => Err(PolicyError::StrayOpenPaths),
        }
    }

    fn hashes(&self) -> Result<Vec<PasswordHash>, PolicyError> {
        if self.passwords.is_empty() {
            return Err(PolicyError::NoPassword);
        }
        let check = |(user, phc): (&String, &String)| {
            if user.contains(':') || user.chars().any(char::is_control) {
                return Err(PolicyError::BadUser { user: user.clone() });
            }
            if !phc.starts_with("$argon2id$") || phc.len() > 300 {
                return Err(PolicyError::NotAHash { user: user.clone() });
            }
            Ok(PasswordHash { user: user.clone(), phc: phc.clone() })
        };
        self.passwords.iter().map(check).collect()
    }
}

/// What a session may last where the policy does not say.
const USUAL_MOST: SignedDuration = SignedDuration::from_hours(24);
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);
const BRIEFEST: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_CLAIM: SignedDuration = SignedDuration::from_hours(1);

fn names(key: &'static str, given: &[String]) -> Result<Vec<Label>, PolicyError> {
    let read = |name: &String| Label::parse(name).map_err(|source| PolicyError::Name { key, source });
    given.iter().map(read).collect()
}

pub(super) fn span(key: &'static str, text: &str) -> Result<SignedDuration, PolicyError> {
    span_between(key, text, SHORTEST..=LONGEST)
}

fn span_between(
    key: &'static str,
    text: &str,
    range: RangeInclusive<SignedDuration>,
) -> Result<SignedDuration, PolicyError> {
    let refuse = |why| PolicyError::Span { key, why };
    let span = parse_span(text).map_err(refuse)?;
    if range.contains(&span) {
        return Ok(span);
    }
    let (least, most) = (write_span(*range.start()), write_span(*range.end()));
    Err(refuse(format!("\"{text}\" is not between {least} and {most}")))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
pub(super) fn is_false(b: &bool) -> bool {
    !b
}
