//! Where a visit can fail between admission and the local service. Told to admitted visitors, the owner, the log and
//! `doctor`; strangers never see it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HopFailure {
    /// No link to the device stands now.
    DeviceOffline,
    /// The link stands but the agent did not answer the open in time.
    AgentSilent,
    /// The agent has no such service in its own list, or its list forbids it.
    AgentRefused,
    /// The target's machine answered: nothing listens there.
    TargetRefused,
    /// The target did not answer in time.
    TargetTimedOut,
    /// The target's name or network cannot be reached from the device.
    TargetUnreachable,
    /// The agent or the gateway is at one of its limits.
    Busy,
    /// It needs preparing, and that failed or took too long (`prepare`).
    NotReady,
}

impl HopFailure {
    pub const ALL: [Self; 8] = [
        Self::DeviceOffline,
        Self::AgentSilent,
        Self::AgentRefused,
        Self::TargetRefused,
        Self::TargetTimedOut,
        Self::TargetUnreachable,
        Self::Busy,
        Self::NotReady,
    ];

    /// A stable word for logs, metrics and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::DeviceOffline => "device-offline",
            Self::AgentSilent => "agent-silent",
            Self::AgentRefused => "agent-refused",
            Self::TargetRefused => "target-refused",
            Self::TargetTimedOut => "target-timed-out",
            Self::TargetUnreachable => "target-unreachable",
            Self::Busy => "busy",
            Self::NotReady => "not-ready",
        }
    }
}

impl fmt::Display for HopFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeviceOffline => "the device is offline",
            Self::AgentSilent => "the device did not answer in time",
            Self::AgentRefused => "the device does not offer this service any more",
            Self::TargetRefused => "the device is online, but nothing listens at the service's address",
            Self::TargetTimedOut => "the device is online, but the service did not answer in time",
            Self::TargetUnreachable => "the device is online, but it cannot reach the service's address",
            Self::Busy => "too many connections at once; try again in a moment",
            Self::NotReady => "the device could not make the service ready",
        })
    }
}
