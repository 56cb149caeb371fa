//! People: accounts that sign in, are named by policies, and own what can be owned.

pub mod factors;
pub mod password;
pub mod provided;

use crate::AccountId;
use crate::names::Label;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One person as decisions see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: AccountId,
    /// What policies say. It stays: another name is another person.
    pub name: Label,
    pub title: String,
    pub role: Role,
    pub created_at: Timestamp,
    /// `None`: for ever.
    pub ends_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
    /// The names of the groups that they are in, in order.
    pub groups: Vec<Label>,
    pub version: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the gateway. There is always one.
    Owner,
    Member,
    /// Here for a while, for what names them.
    Guest,
}

/// Whether a person counts at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonStanding {
    Good,
    Disabled,
    Ended,
}

impl Role {
    pub fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Member => "member",
            Self::Guest => "guest",
        }
    }

    pub fn read(word: &str) -> Option<Self> {
        [Self::Owner, Self::Member, Self::Guest].into_iter().find(|role| role.word() == word)
    }
}

impl Person {
    pub fn standing(&self, now: Timestamp) -> PersonStanding {
        if self.disabled_at.is_some() {
            PersonStanding::Disabled
        } else if self.ends_at.is_some_and(|end| end <= now) {
            PersonStanding::Ended
        } else {
            PersonStanding::Good
        }
    }

    pub fn is_in(&self, group: &Label) -> bool {
        self.groups.contains(group)
    }
}
