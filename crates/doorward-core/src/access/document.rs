//! The one written form of a policy: a table in a file, JSON in the API, on the wire and in the store.
//!
//! ```toml
//! [service.access]
//! who = "password"                       # "nobody" (the default), "public", "password", "people" or "senders"
//! passwords = { anna = "$argon2id$…" }   # made by `doorward password`
//! people = ["anna", "ben"]               # for who = "people"
//! from = ["192.0.2.0/24"]                # absent: anywhere; empty: nowhere
//! when = { zone = "Europe/Berlin", open = ["mon-fri 08:00-16:30"] }
//! ```

use super::{NetworkError, Networks, PasswordHash, Policy, Schedule, ScheduleError, Who};
use crate::names::{Label, NameError};
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
    #[error("access.people: they mean nothing unless who = \"people\"")]
    StrayPeople,
    #[error("access.people: {0}")]
    Person(#[from] NameError),
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
        if self.who != WhoDocument::People && !self.people.is_empty() {
            return Err(PolicyError::StrayPeople);
        }
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
                Who::People(self.people.iter().map(|name| Label::parse(name)).collect::<Result<_, _>>()?)
            }
        };
        let from = self.from.as_deref().map(Networks::parse).transpose()?;
        let when = self.when.as_ref().map(|w| Schedule::parse(&w.zone, &w.open)).transpose()?;
        Ok(Policy { who, from, when })
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
