//! `[audit]` of `gateway.toml`.

use doorward_control::AuditSettings;
use jiff::SignedDuration;
use serde::Deserialize;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuditFile {
    pub keep_days: Option<u32>,
    pub most_lines: Option<u32>,
}

/// Whoever wants little of it should not find all of it gone by a slip of the pen.
const LEAST_LINES: u32 = 10_000;

impl AuditFile {
    pub(super) fn settings(self) -> Result<AuditSettings, (&'static str, String)> {
        let usual = AuditSettings::default();
        let kept_for = self.keep_days.map_or(usual.kept_for, |days| SignedDuration::from_hours(24 * i64::from(days)));
        if kept_for.is_zero() {
            return Err(("audit.keep-days", "lines are kept for a day at least".to_owned()));
        }
        let most = self.most_lines.unwrap_or(usual.most);
        if most < LEAST_LINES {
            return Err(("audit.most-lines", format!("{LEAST_LINES} lines are kept at least")));
        }
        Ok(AuditSettings { kept_for, most })
    }
}
