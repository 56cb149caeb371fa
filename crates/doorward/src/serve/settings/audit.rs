//! `[audit]` of `gateway.toml`.

use doorward_control::AuditSettings;
use doorward_core::span::parse_span;
use jiff::SignedDuration;
use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuditFile {
    /// How long lines are kept, as `90d`.
    pub keep_for: Option<String>,
    /// How many lines are kept at most.
    pub most_lines: Option<u32>,
}

/// Whoever wants none of it should not find it gone by a slip of the pen.
const LEAST: SignedDuration = SignedDuration::from_hours(24);
const LEAST_LINES: u32 = 10_000;

impl AuditFile {
    pub(super) fn settings(&self) -> Result<AuditSettings, String> {
        let usual = AuditSettings::default();
        let kept_for = self.keep_for.as_deref().map(parse_span).transpose()?.unwrap_or(usual.kept_for);
        if kept_for < LEAST {
            return Err("lines are kept for a day at least: write it as 90d".to_owned());
        }
        let most = self.most_lines.unwrap_or(usual.most).max(LEAST_LINES);
        Ok(AuditSettings { kept_for, most })
    }
}
