//! What must be true of a person's login, and whose consent a session needs.

use super::PolicyError;
use crate::AccountId;
use crate::names::Label;
use crate::person::factors::{Factor, Factors};
use crate::person::{Person, PersonStanding};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Something that a login was begun with, beyond what every login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    Totp,
    Passkey,
}

impl Need {
    pub fn word(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Passkey => "passkey",
        }
    }

    /// A passkey is unlocked on a device that its person holds, which is all that a code shows, and more.
    pub fn is_met_by(self, factors: Factors) -> bool {
        match self {
            Self::Totp => factors.has(Factor::Totp) || factors.has(Factor::Passkey),
            Self::Passkey => factors.has(Factor::Passkey),
        }
    }
}

/// A session is opened only after somebody of a group agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub by: Label,
    /// How long a request waits for it.
    pub within: SignedDuration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ApprovalDocument {
    pub by: String,
    /// As `1h`, which is what it is where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

const USUALLY_WITHIN: SignedDuration = SignedDuration::from_hours(1);

impl ApprovalDocument {
    pub(super) fn to_approval(&self) -> Result<Approval, PolicyError> {
        let name = |source| PolicyError::Name { key: "approval.by", source };
        let within = self.within.as_deref().map(|text| super::document::span("approval.within", text)).transpose()?;
        Ok(Approval { by: Label::parse(&self.by).map_err(name)?, within: within.unwrap_or(USUALLY_WITHIN) })
    }
}

/// Why somebody may not answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoVoice {
    #[error("it is not theirs to approve")]
    NotInGroup,
    #[error("nobody approves what they asked for themselves")]
    OwnRequest,
    #[error("their account does not count now")]
    Account,
}

impl Approval {
    /// May `approver` answer what `asker` asked for, at `now`?
    pub fn hears(&self, approver: &Person, asker: AccountId, now: Timestamp) -> Result<(), NoVoice> {
        match approver.standing(now) {
            PersonStanding::Good => {}
            PersonStanding::Disabled | PersonStanding::Ended => return Err(NoVoice::Account),
        }
        if !approver.is_in(&self.by) {
            return Err(NoVoice::NotInGroup);
        }
        if approver.id == asker {
            return Err(NoVoice::OwnRequest);
        }
        Ok(())
    }
}
