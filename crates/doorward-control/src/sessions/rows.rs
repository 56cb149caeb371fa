//! Sessions in the store.

use crate::Control;
use crate::store::{StoreError, words};
use doorward_core::names::Label;
use doorward_core::session::{Session, SessionEnd};
use doorward_core::{AccountId, ServiceId, SessionId};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

/// A session for people, open or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSummary {
    pub session: Session,
    /// `None`: they are gone.
    pub person: Option<Label>,
    /// As `device/service`. `None`: it is gone.
    pub service: Option<String>,
    /// At most a minute behind.
    pub used_at: Timestamp,
    pub ended: Option<(SessionEnd, Timestamp)>,
}

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT id, account, service, opened_at, until, used_at, ended_at, ending, version FROM sessions",
            $condition
        )
    };
}

impl Control {
    /// The newest first. `with_ended`: those that are over, too.
    pub async fn sessions(
        &self,
        with_ended: bool,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<SessionSummary>, StoreError> {
        let rows = if with_ended {
            sqlx::query(select!(" ORDER BY id DESC LIMIT $1")).bind(i64::from(limit))
        } else {
            sqlx::query(select!(" WHERE ended_at IS NULL AND until > $2 ORDER BY id DESC LIMIT $1"))
                .bind(i64::from(limit))
                .bind(words::time(now))
        };
        let rows = rows.fetch_all(self.0.store.readers()).await?;
        rows.iter().map(|row| self.summary(row, now)).collect()
    }

    /// `None`: there was none, or it is forgotten.
    pub async fn session_summary(&self, id: SessionId, now: Timestamp) -> Result<Option<SessionSummary>, StoreError> {
        let row = sqlx::query(select!(" WHERE id = $1")).bind(id.0).fetch_optional(self.0.store.readers()).await?;
        row.map(|row| self.summary(&row, now)).transpose()
    }

    /// The newest that this person had of this service, open or over.
    pub async fn last_session(
        &self,
        account: AccountId,
        service: ServiceId,
        now: Timestamp,
    ) -> Result<Option<SessionSummary>, StoreError> {
        let row = sqlx::query(select!(" WHERE account = $1 AND service = $2 ORDER BY id DESC LIMIT 1"))
            .bind(account.0)
            .bind(service.0)
            .fetch_optional(self.0.store.readers())
            .await?;
        row.map(|row| self.summary(&row, now)).transpose()
    }

    fn summary(&self, row: &SqliteRow, now: Timestamp) -> Result<SessionSummary, StoreError> {
        let (session, snapshot) = (read(row)?, self.snapshot());
        let ended = match (row.try_get::<Option<&str>, _>("ending")?, row.try_get::<Option<i64>, _>("ended_at")?) {
            (Some(word), Some(at)) => {
                let how = SessionEnd::read(word).ok_or_else(|| words::strange("the end of a session", word))?;
                Some((how, words::read_time(at)?))
            }
            // Nobody was there yet to write down that its time was over.
            (_, _) => (session.until <= now).then_some((SessionEnd::Time, session.until)),
        };
        let stored = words::read_time(row.try_get("used_at")?)?;
        Ok(SessionSummary {
            person: snapshot.shared_person(session.account).map(|person| person.name.clone()),
            service: snapshot.service(session.service).map(|service| service.path()),
            used_at: self.0.uses.last(session.id).map_or(stored, |seen| seen.max(stored)),
            ended,
            session,
        })
    }
}

/// Those that were not ended.
pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Vec<Session>, StoreError> {
    let rows = sqlx::query(select!(" WHERE ended_at IS NULL")).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// `None` if it is over.
pub(crate) async fn load_one(connection: &mut SqliteConnection, id: SessionId) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query(select!(" WHERE id = $1 AND ended_at IS NULL")).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn uses(connection: &mut SqliteConnection) -> Result<Vec<(SessionId, Timestamp)>, StoreError> {
    let rows = sqlx::query("SELECT id, used_at FROM sessions WHERE ended_at IS NULL").fetch_all(connection).await?;
    let read = |row: &SqliteRow| Ok((SessionId(row.try_get("id")?), words::read_time(row.try_get("used_at")?)?));
    rows.iter().map(read).collect()
}

pub(super) async fn of_request(
    connection: &mut SqliteConnection,
    account: AccountId,
    request: &str,
) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query(select!(" WHERE account = $1 AND request = $2")).bind(account.0).bind(request);
    row.fetch_optional(connection).await?.as_ref().map(read).transpose()
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    session: &Session,
    request: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO sessions (id, account, service, request, opened_at, until, used_at, version) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, 1)";
    sqlx::query(INSERT)
        .bind(session.id.0)
        .bind(session.account.0)
        .bind(session.service.0)
        .bind(request)
        .bind(words::time(session.opened_at))
        .bind(words::time(session.until))
        .bind(words::time(now))
        .execute(connection)
        .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Session, StoreError> {
    Ok(Session {
        id: SessionId(row.try_get("id")?),
        service: ServiceId(row.try_get("service")?),
        account: AccountId(row.try_get("account")?),
        opened_at: words::read_time(row.try_get("opened_at")?)?,
        until: words::read_time(row.try_get("until")?)?,
        version: row.try_get("version")?,
    })
}
