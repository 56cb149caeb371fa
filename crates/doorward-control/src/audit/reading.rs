//! Looking at what was written down.

use super::{Anchor, Broken, ChainedLine, LineHash, Verifier};
use crate::Control;
use crate::store::{StoreError, words};
use doorward_core::audit::Line;
use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};

/// Which lines. Empty and `None` leave the choice open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditChoice {
    /// Who did it, or to whom it was done.
    pub person: String,
    /// `device/service`, or the service's name on any device.
    pub service: String,
    /// And its services.
    pub device: String,
    /// A word, or its first part: `visit` is all visits.
    pub deed: String,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Lines with a smaller number than this.
    pub before: Option<i64>,
}

/// What came of looking at the whole chain.
#[derive(Debug, PartialEq, Eq)]
pub struct Soundness {
    pub anchor: Anchor,
    /// The last line that is as it was written.
    pub head: Anchor,
    pub lines: u64,
    pub broken: Option<Broken>,
}

pub(super) const FROM_ON: &str = "SELECT * FROM audit WHERE id >= $1 ORDER BY id LIMIT $2";
/// Read at a time.
const PAGE: i64 = 2_000;

impl Control {
    /// The newest first.
    pub async fn audit(&self, limit: u32) -> Result<Vec<Line>, StoreError> {
        let lines = self.audit_of(&AuditChoice::default(), limit).await?;
        Ok(lines.into_iter().map(|chained| chained.line).collect())
    }

    /// Those that were asked for, the newest first.
    pub async fn audit_of(&self, choice: &AuditChoice, limit: u32) -> Result<Vec<ChainedLine>, StoreError> {
        let rows = query(choice, limit).build().fetch_all(self.0.store.readers()).await?;
        rows.iter().map(chained).collect()
    }

    /// Lines from number `from` on, the oldest first, and on what the first of them rests: a part of the chain that can
    /// be verified anywhere.
    pub async fn audit_part(&self, from: i64, limit: u32) -> Result<(Anchor, Vec<ChainedLine>), StoreError> {
        let mut transaction = self.0.store.readers().begin().await?;
        let mut before = anchor(&mut transaction).await?;
        if from > before.id + 1 {
            let hash = sqlx::query_scalar("SELECT hash FROM audit WHERE id = $1").bind(from - 1);
            let hash: Option<String> = hash.fetch_optional(&mut *transaction).await?;
            match hash {
                Some(hash) => before = Anchor { id: from - 1, hash: LineHash::read(&hash)? },
                None => return Ok((before, Vec::new())),
            }
        }
        let rows = sqlx::query(FROM_ON).bind(before.id + 1).bind(i64::from(limit)).fetch_all(&mut *transaction).await?;
        Ok((before, rows.iter().map(chained).collect::<Result<_, _>>()?))
    }

    /// The number of the first line since then.
    pub async fn first_audited_since(&self, since: Timestamp) -> Result<i64, StoreError> {
        let first: Option<i64> = sqlx::query_scalar("SELECT MIN(id) FROM audit WHERE at >= $1")
            .bind(words::time(since))
            .fetch_one(self.0.store.readers())
            .await?;
        Ok(first.unwrap_or(i64::MAX))
    }

    /// Goes along the whole chain, as it stood at one moment.
    pub async fn verify_audit(&self) -> Result<Soundness, StoreError> {
        let mut transaction = self.0.store.readers().begin().await?;
        let anchor = anchor(&mut transaction).await?;
        let last = last_given(&mut transaction).await?;
        let mut verifier = Verifier::from(anchor);
        let mut broken = None;
        while broken.is_none() {
            let next = sqlx::query("SELECT * FROM audit WHERE id > $1 ORDER BY id LIMIT $2");
            let rows = next.bind(verifier.head().id).bind(PAGE).fetch_all(&mut *transaction).await?;
            if rows.is_empty() {
                let found = verifier.head().id;
                broken = (found != last).then_some(Broken::Truncated { expected: last, found });
                break;
            }
            for row in &rows {
                // What cannot even be read was not written by us.
                let id = row.try_get("id")?;
                let held = chained(row).map_or(Err(Broken::Changed { id }), |next| verifier.hold(&next));
                if let Err(first) = held {
                    broken = Some(first);
                    break;
                }
            }
        }
        Ok(Soundness { anchor, head: verifier.head(), lines: verifier.lines(), broken })
    }
}

/// Only what was asked for stands in it: a condition that always holds would keep the newest from being found first.
fn query(choice: &AuditChoice, limit: u32) -> QueryBuilder<Sqlite> {
    let AuditChoice { person, service, device, deed, since, until, before } = choice;
    let mut query = QueryBuilder::new("SELECT * FROM audit WHERE id < ");
    query.push_bind(before.unwrap_or(i64::MAX));
    for (at, comparison) in [(since, " AND at >= "), (until, " AND at < ")] {
        if let Some(at) = at {
            query.push(comparison).push_bind(words::time(*at));
        }
    }
    let mut either = |text: &str, [first, second, end]: [&'static str; 3]| {
        if !text.is_empty() {
            query.push(first).push_bind(text.to_owned());
            query.push(second).push_bind(text.to_owned()).push(end);
        }
    };
    either(person, [" AND (person = ", " OR (subject = ", " AND deed LIKE 'person-%'))"]);
    either(service, [" AND (subject = ", " OR subject LIKE '%/' || ", ")"]);
    either(device, [" AND (subject = ", " OR subject LIKE ", " || '/%')"]);
    either(deed, [" AND (deed = ", " OR deed LIKE ", " || '-%')"]);
    query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
    query
}

pub(super) async fn anchor(connection: &mut SqliteConnection) -> Result<Anchor, StoreError> {
    let row = sqlx::query("SELECT id, hash FROM audit_anchor").fetch_one(connection).await?;
    Ok(Anchor { id: row.try_get("id")?, hash: LineHash::read(row.try_get("hash")?)? })
}

/// The number of the last line that was ever written.
pub(super) async fn last_given(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let next: i64 = sqlx::query_scalar("SELECT next FROM ids WHERE kind = 'audit'").fetch_one(connection).await?;
    Ok(next - 1)
}

fn chained(row: &SqliteRow) -> Result<ChainedLine, StoreError> {
    Ok(ChainedLine { line: line(row)?, hash: LineHash::read(row.try_get("hash")?)? })
}

pub(crate) fn line(row: &SqliteRow) -> Result<Line, StoreError> {
    let number = |name| Ok::<_, StoreError>(row.try_get::<i64, _>(name)?.unsigned_abs());
    Ok(Line {
        id: row.try_get("id")?,
        at: words::read_time(row.try_get("at")?)?,
        until: words::read_optional_time(row.try_get("until")?)?,
        deed: row.try_get("deed")?,
        person: row.try_get("person")?,
        subject: row.try_get("subject")?,
        detail: row.try_get("detail")?,
        source: row.try_get("source")?,
        grounds: row.try_get("grounds")?,
        count: number("count")?,
        up: number("up")?,
        down: number("down")?,
        ending: row.try_get("ending")?,
    })
}
