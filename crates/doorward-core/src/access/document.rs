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
//! when = { zone = "Europe/Berlin", open = ["mon-fri 08:00-16:30"] }
//! ```

use super::{How, NetworkError, Networks, PasswordHash, People, Policy, Schedule, ScheduleError, Who};
use crate::names::{Label, NameError};
use crate::span::parse_span;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<ScheduleDocument>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhoDocument {
    #[default]
    Nobody,
    Public,
    Password,
    People,
    Senders,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HowDocument {
    SignedIn,
    OnRequest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        Ok(Policy { who, from, when, how })
    }

    fn how_people_come(&self) -> Result<How, PolicyError> {
        let keys = [
            ("people", !self.people.is_empty()),
            ("groups", !self.groups.is_empty()),
            ("how", self.how.is_some()),
            ("max-duration", self.max_duration.is_some()),
            ("max-idle", self.max_idle.is_some()),
        ];
        if let Some((key, _)) = keys.into_iter().find(|(_, is_said)| *is_said && self.who != WhoDocument::People) {
            return Err(PolicyError::NotPeople(key));
        }
        match self.how {
            None | Some(HowDocument::SignedIn) => {
                let stray = keys[3..].iter().find(|(_, is_said)| *is_said);
                stray.map_or(Ok(How::SignedIn), |(key, _)| Err(PolicyError::NotOnRequest(key)))
            }
            Some(HowDocument::OnRequest) => {
                let max_duration = self.max_duration.as_deref().map(|text| span("max-duration", text)).transpose()?;
                let max_idle = self.max_idle.as_deref().map(|text| span("max-idle", text)).transpose()?;
                Ok(How::OnRequest { max_duration: max_duration.unwrap_or(USUAL_MOST), max_idle })
            }
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

fn names(key: &'static str, given: &[String]) -> Result<Vec<Label>, PolicyError> {
    let read = |name: &String| Label::parse(name).map_err(|source| PolicyError::Name { key, source });
    given.iter().map(read).collect()
}

fn span(key: &'static str, text: &str) -> Result<SignedDuration, PolicyError> {
    let refuse = |why| PolicyError::Span { key, why };
    let span = parse_span(text).map_err(refuse)?;
    if (SHORTEST..=LONGEST).contains(&span) {
        Ok(span)
    } else {
        Err(refuse(format!("\"{text}\" is not between 1m and 366d")))
    }
}
