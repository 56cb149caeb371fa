//! How long lines are kept, and what is left of those that were forgotten: the hash of the last one.

use super::{LineHash, reading};
use crate::Control;
use crate::store::{StoreError, words};
use crate::work::Work;
use jiff::{SignedDuration, Timestamp};
use sqlx::Row;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    pub kept_for: SignedDuration,
    /// How many lines are kept at most; some 300 bytes each.
    pub most: u32,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { kept_for: SignedDuration::from_hours(90 * 24), most: 500_000 }
    }
}

/// So many at a time, so that changes need not wait for long.
const AT_ONCE: i64 = 5_000;

impl Control {
    /// From now on.
    pub fn keep_audit(&self, settings: AuditSettings) {
        self.0.audit.settings.store(settings.into());
    }
}

/// Forgets the oldest lines, from the first on without a gap: those that are too old, and those beyond what is kept.
pub(crate) async fn forget_old_lines(
    work: &mut Work,
    settings: AuditSettings,
    now: Timestamp,
) -> Result<(), StoreError> {
    let since = now.checked_sub(settings.kept_for).unwrap_or(Timestamp::MIN);
    let anchor = reading::anchor(work.connection()).await?;
    let last = reading::last_given(work.connection()).await?;
    let kept: Option<i64> = sqlx::query_scalar("SELECT MIN(id) FROM audit WHERE at >= $1")
        .bind(words::time(since))
        .fetch_one(work.connection())
        .await?;
    let too_old = kept.map_or(last, |first| first - 1);
    let too_many = last - i64::from(settings.most);
    let through = too_old.max(too_many).min(anchor.id.saturating_add(AT_ONCE));
    if through <= anchor.id {
        return Ok(());
    }
    let hash: Option<String> = sqlx::query_scalar("SELECT hash FROM audit WHERE id = $1")
        .bind(through)
        .fetch_optional(work.connection())
        .await?;
    // A gap in the chain is for people to see; forgetting must not hide it.
    let Some(hash) = hash else { return Ok(()) };
    sqlx::query("DELETE FROM audit WHERE id <= $1").bind(through).execute(work.connection()).await?;
    sqlx::query("UPDATE audit_anchor SET id = $1, hash = $2")
        .bind(through)
        .bind(hash)
        .execute(work.connection())
        .await?;
    Ok(())
}

/// Lines of a release that knew no chain become part of it.
pub(crate) async fn chain_old_lines(work: &mut Work) -> Result<(), StoreError> {
    let first: Option<i64> =
        sqlx::query_scalar("SELECT MIN(id) FROM audit WHERE hash = ''").fetch_one(work.connection()).await?;
    let Some(mut next) = first else { return Ok(()) };
    let mut before = super::chain_end(work, next).await?;
    loop {
        let rows = sqlx::query(reading::FROM_ON).bind(next).bind(1000_i64).fetch_all(work.connection()).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in &rows {
            let line = reading::line(row)?;
            before = LineHash::of(before, &line);
            sqlx::query("UPDATE audit SET hash = $1 WHERE id = $2")
                .bind(before.to_string())
                .bind(row.try_get::<i64, _>("id")?)
                .execute(work.connection())
                .await?;
            next = line.id + 1;
        }
    }
}
