//! Services that sleep until somebody wants them: a printer on a smart plug, a computer that is woken. What is done to
//! make one ready is the device's alone; a gateway wishes that it be ready, and hears how far it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the gateway is told of a service that needs preparing. Not one of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrepareOffer {
    /// Whether whoever comes wakes it, rather than an open session alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub on_visit: bool,
    /// How long it takes at most, in seconds: so long may visitors be held.
    pub limit: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_false(b: &bool) -> bool {
    !b
}

/// How far a service is. Observed, never wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nobody wants it, and nothing was done for it.
    Resting,
    Preparing,
    Ready,
    /// Nobody wants it any more.
    Releasing,
    /// A step failed; it is tried again after a pause.
    Failed,
}

impl Phase {
    pub const ALL: [Self; 5] = [Self::Resting, Self::Preparing, Self::Ready, Self::Releasing, Self::Failed];

    pub fn word(self) -> &'static str {
        match self {
            Self::Resting => "resting",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Releasing => "releasing",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
