//! From where the person of a session comes: noted when they open or extend it, and when they say so from elsewhere. What
//! comes to the session's own port from anywhere else is nobody's.

use super::{SessionError, names, ports};
use crate::Control;
use crate::store::StoreError;
use crate::work::Work;
use doorward_core::SessionId;
use doorward_core::access::Facts;
use doorward_core::audit::Deed;
use doorward_core::session::{MOST_SOURCES, Source};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::collections::HashMap;
use std::net::IpAddr;

impl Control {
    /// Its person comes from there, too.
    pub async fn note_session_source(&self, id: SessionId, from: IpAddr, now: Timestamp) -> Result<(), SessionError> {
        self.write(move |work| Box::pin(note_further(work, id, Source::of(from), now))).await
    }
}

/// Of whoever came to its port first.
pub(super) async fn first_comer(
    work: &mut Work,
    id: SessionId,
    source: Source,
    now: Timestamp,
) -> Result<(), SessionError> {
    note_as(work, id, source, ", the first to come", now).await
}

async fn note_further(work: &mut Work, id: SessionId, source: Source, now: Timestamp) -> Result<(), SessionError> {
    note_as(work, id, source, "", now).await
}

async fn note_as(
    work: &mut Work,
    id: SessionId,
    source: Source,
    how: &str,
    now: Timestamp,
) -> Result<(), SessionError> {
    let open = work.draft.session(id).filter(|session| now < session.until).cloned();
    let session = open.ok_or_else(|| SessionError::Unknown(format!("session {id} that is open")))?;
    let known = &work.draft.approach(id).sources;
    if known.contains(&source) {
        return Ok(());
    }
    room_for_another(known)?;
    insert(work.connection(), id, source).await?;
    ports::give(work, &session, now).await?;
    work.refresh_session(id).await?;
    let (subject, who) = names(work, &session);
    let detail = format!("{who} from {source}{how}");
    Ok(work.write_down_from(Deed::SessionSourceNoted, &subject, &detail, source.address(), now).await?)
}

pub(super) fn room_for_another(known: &[Source]) -> Result<(), SessionError> {
    if known.len() < MOST_SOURCES {
        return Ok(());
    }
    Err(SessionError::Invalid(format!(
        "a session is for {MOST_SOURCES} addresses at most: end it, and open another one from here"
    )))
}

/// Of whoever opens or extends it. What there is no room for is left out: that it was opened is not refused for that. Says
/// whether it is new.
pub(super) async fn note(work: &mut Work, id: SessionId, from: Option<IpAddr>) -> Result<bool, StoreError> {
    let Some(source) = from.map(Source::of) else { return Ok(false) };
    let known = &work.draft.approach(id).sources;
    if known.contains(&source) || known.len() >= MOST_SOURCES {
        return Ok(false);
    }
    insert(work.connection(), id, source).await.map(|()| true)
}

async fn insert(connection: &mut SqliteConnection, id: SessionId, source: Source) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO session_sources (session, source) VALUES ($1, $2)")
        .bind(id.0)
        .bind(source.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn forget(connection: &mut SqliteConnection, id: SessionId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM session_sources WHERE session = $1").bind(id.0).execute(connection).await?;
    Ok(())
}

pub(super) async fn load(connection: &mut SqliteConnection) -> Result<HashMap<SessionId, Vec<Source>>, StoreError> {
    let mut all: HashMap<SessionId, Vec<Source>> = HashMap::new();
    let rows = sqlx::query("SELECT session, source FROM session_sources ORDER BY session, source");
    for row in rows.fetch_all(connection).await? {
        all.entry(SessionId(row.try_get("session")?)).or_default().push(read(&row)?);
    }
    Ok(all)
}

pub(super) async fn of(connection: &mut SqliteConnection, id: SessionId) -> Result<Vec<Source>, StoreError> {
    let rows = sqlx::query("SELECT source FROM session_sources WHERE session = $1 ORDER BY source").bind(id.0);
    rows.fetch_all(connection).await?.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<Source, StoreError> {
    let text: &str = row.try_get("source")?;
    text.parse().map_err(|_| crate::store::words::strange("the source of a session", text))
}
