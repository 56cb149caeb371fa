//! What the gateway reports about its certificates, for people. In memory; nothing is decided by it.

use doorward_core::schema::Instant;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CertificateReport {
    pub sets: Vec<SetReport>,
    pub authorities: Vec<AuthorityReport>,
}

/// One certificate that is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SetReport {
    /// With commas between.
    pub names: String,
    /// Until when the one in use is good; `null` without one.
    #[schemars(with = "Option<Instant>")]
    pub held_until: Option<Timestamp>,
    pub state: CertificateState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "state")]
pub enum CertificateState {
    Fine {
        #[schemars(with = "Instant")]
        renew_at: Timestamp,
    },
    Ordering {
        authority: String,
    },
    /// Nothing is ordered until these records of DNS are as they should be.
    Records {
        missing: Vec<String>,
    },
    /// The last order failed.
    Failed {
        why: String,
        #[schemars(with = "Instant")]
        next_try: Timestamp,
    },
    /// The authority issues no more this week.
    Budget {
        #[schemars(with = "Instant")]
        until: Timestamp,
    },
    /// No authority may be asked.
    Nobody,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuthorityReport {
    pub directory: String,
    /// New certificates in the last seven days, of how many.
    pub weekly_used: u32,
    pub weekly: u32,
}

/// The newest report, and whoever waits for the next one.
#[derive(Debug, Default)]
pub struct Reports(watch::Sender<CertificateReport>);

impl Reports {
    pub fn publish(&self, report: CertificateReport) {
        self.0.send_replace(report);
    }

    pub fn newest(&self) -> CertificateReport {
        self.0.borrow().clone()
    }

    pub fn follow(&self) -> watch::Receiver<CertificateReport> {
        self.0.subscribe()
    }
}
