//! What an owner wants to be told while not looking: notices, raised anywhere and delivered by doorward-alerts.

mod absence;

pub use absence::{Absences, Told};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Something to be told. Names and addresses, never a secret, except for `link` of what is to be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has been away for a while.
    DeviceOffline {
        device: String,
        since: Timestamp,
    },
    /// It is back, and has stayed for a while.
    DeviceOnline {
        device: String,
        away_since: Timestamp,
    },
    /// Somebody asks to be let in.
    ApprovalWanted {
        person: String,
        service: String,
        /// Where it is decided.
        link: Option<String>,
    },
    /// A browser or program signed in that had not before.
    NewLogin {
        person: String,
        /// What device or browser.
        title: String,
        source: Option<IpAddr>,
    },
    CertificateFailing {
        names: String,
        why: String,
    },
    /// Most of what a policy grants is used up.
    BudgetNearlyUsed {
        service: String,
        percent: u8,
        /// When it begins anew.
        until: Option<Timestamp>,
    },
    /// Somebody wants to see whether it arrives.
    Test,
}

/// What kind. The word is written in settings and sent to programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    DeviceOffline,
    DeviceOnline,
    ApprovalWanted,
    NewLogin,
    CertificateFailing,
    Budget,
    Test,
}

impl NoticeKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::DeviceOffline => "device-offline",
            Self::DeviceOnline => "device-online",
            Self::ApprovalWanted => "approval-wanted",
            Self::NewLogin => "new-login",
            Self::CertificateFailing => "certificate-failing",
            Self::Budget => "budget",
            Self::Test => "test",
        }
    }
}

impl Notice {
    pub fn kind(&self) -> NoticeKind {
        match self {
            Self::DeviceOffline { .. } => NoticeKind::DeviceOffline,
            Self::DeviceOnline { .. } => NoticeKind::DeviceOnline,
            Self::ApprovalWanted { .. } => NoticeKind::ApprovalWanted,
            Self::NewLogin { .. } => NoticeKind::NewLogin,
            Self::CertificateFailing { .. } => NoticeKind::CertificateFailing,
            Self::BudgetNearlyUsed { .. } => NoticeKind::Budget,
            Self::Test => NoticeKind::Test,
        }
    }

    /// What it is about: a device, a service, a person, names.
    pub fn subject(&self) -> &str {
        match self {
            Self::DeviceOffline { device, .. } | Self::DeviceOnline { device, .. } => device,
            Self::ApprovalWanted { service, .. } | Self::BudgetNearlyUsed { service, .. } => service,
            Self::NewLogin { person, .. } => person,
            Self::CertificateFailing { names, .. } => names,
            Self::Test => "",
        }
    }

    /// For so long the same is not told again: what is tried each hour fails each hour.
    pub fn is_enough_for(&self) -> SignedDuration {
        match self {
            Self::CertificateFailing { .. } => SignedDuration::from_hours(24),
            Self::ApprovalWanted { .. } => SignedDuration::from_mins(1),
            // Whoever adds up tells once.
            Self::BudgetNearlyUsed { .. } => SignedDuration::ZERO,
            Self::DeviceOffline { .. } | Self::DeviceOnline { .. } | Self::NewLogin { .. } | Self::Test => {
                SignedDuration::ZERO
            }
        }
    }
}
