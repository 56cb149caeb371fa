//! Sessions in the store.

use super::opening::Consent;
use super::{ports, sources};
use crate::Control;
use crate::snapshot::Approach;
use crate::store::{StoreError, words};
use doorward_core::names::Label;
use doorward_core::session::{Session, SessionEnd};
use doorward_core::{AccountId, ServiceId, SessionId};
use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};

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
    /// Who ended it by hand. `None`: nobody did, it was done on the gateway's machine, or they are gone.
    pub ended_by: Option<Label>,
}

/// Which sessions a list has.
#[derive(Clone, Debug)]
pub struct SessionRange {
    /// Those that are over, too.
    pub with_ended: bool,
    /// Only those opened before this one.
    pub before: Option<SessionId>,
    pub limit: u32,
    pub of: SessionsOf,
}

/// Whose. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct SessionsOf {
    /// `None`: everybody's.
    pub account: Option<AccountId>,
    /// Theirs, and those of services and devices that are theirs.
    pub on_their_devices: bool,
    /// `None`: of all services.
    pub services: Option<Vec<ServiceId>>,
}

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT id, account, service, opened_at, until, used_at, ended_at, ending, approved_by, taken_by, ended_by, version FROM sessions",
            $condition
        )
    };
}

impl Control {
    /// The newest first, everybody's. `with_ended`: those that are over, too.
    pub async fn sessions(
        &self,
        with_ended: bool,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<SessionSummary>, StoreError> {
        self.sessions_in(SessionRange { with_ended, before: None, limit, of: SessionsOf::default() }, now).await
    }

    /// The newest first.
    pub async fn sessions_in(&self, range: SessionRange, now: Timestamp) -> Result<Vec<SessionSummary>, StoreError> {
        let rows = query(range, now).build().fetch_all(self.0.store.readers()).await?;
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
                let is_taken = row.try_get::<Option<i64>, _>("taken_by")?.is_some();
                let how = if is_taken { SessionEnd::TakenOver } else { how };
                Some((how, words::read_time(at)?))
            }
            // Nobody was there yet to write down that its time was over.
            (_, _) => (session.until <= now).then_some((SessionEnd::Time, session.until)),
        };
        let stored = words::read_time(row.try_get("used_at")?)?;
        let by = row.try_get::<Option<i64>, _>("ended_by")?.and_then(|id| snapshot.shared_person(AccountId(id)));
        Ok(SessionSummary {
            person: snapshot.shared_person(session.account).map(|person| person.name.clone()),
            service: snapshot.service(session.service).map(|service| service.path()),
            used_at: self.0.uses.last(session.id).map_or(stored, |seen| seen.max(stored)),
            ended,
            ended_by: by.map(|person| person.name.clone()),
            session,
        })
    }
}

/// Each kind of session that somebody sees is found by an index of its own, the newest first, and no more of each than are
/// shown: how many others there are makes no difference.
fn query(range: SessionRange, now: Timestamp) -> QueryBuilder<Sqlite> {
    let SessionRange { with_ended, before, limit, of } = range;
    let part = Part { is_open: !with_ended, before, limit: i64::from(limit), services: of.services, now };
    let mut query = QueryBuilder::new(select!(" WHERE "));
    match of.account {
        None => part.push(&mut query),
        Some(account) => {
            query.push("id IN (SELECT id FROM (SELECT id FROM sessions WHERE account = ").push_bind(account.0);
            query.push(" AND ");
            part.push(&mut query);
            query.push(" ORDER BY id DESC LIMIT ").push_bind(part.limit).push(")");
            if of.on_their_devices {
                query.push(" UNION SELECT near.id FROM (SELECT id FROM services WHERE account = ").push_bind(account.0);
                query.push(" UNION SELECT s.id FROM devices d JOIN services s ON s.device = d.id WHERE d.account = ");
                query.push_bind(account.0).push(") theirs CROSS JOIN sessions near ON near.id IN (");
                query.push("SELECT id FROM sessions WHERE service = theirs.id AND ");
                part.push(&mut query);
                query.push(" ORDER BY id DESC LIMIT ").push_bind(part.limit).push(")");
            }
            query.push(")");
        }
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(part.limit);
    query
}

/// What is asked of a session, whoever's it is.
struct Part {
    is_open: bool,
    before: Option<SessionId>,
    limit: i64,
    services: Option<Vec<ServiceId>>,
    now: Timestamp,
}

impl Part {
    fn push(&self, query: &mut QueryBuilder<Sqlite>) {
        query.push("TRUE");
        if self.is_open {
            query.push(" AND ended_at IS NULL AND until > ").push_bind(words::time(self.now));
        }
        if let Some(before) = self.before {
            query.push(" AND id < ").push_bind(before.0);
        }
        if let Some(services) = &self.services {
            query.push(" AND service IN (");
            let mut list = query.separated(", ");
            // Nothing has the number 0: an empty list is none.
            for id in services.iter().map(|id| id.0).chain([0]) {
                list.push_bind(id);
            }
            query.push(")");
        }
    }
}

/// Those that were not ended.
pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Vec<(Session, Approach)>, StoreError> {
    let rows = sqlx::query(select!(" WHERE ended_at IS NULL")).fetch_all(&mut *connection).await?;
    let (mut sources, mut ports) = (sources::load(connection).await?, ports::load(connection).await?);
    let mut with_approach = |row: &SqliteRow| {
        let session = read(row)?;
        let sources = sources.remove(&session.id).unwrap_or_default();
        let port = ports.remove(&session.id);
        Ok((session, Approach { sources, port }))
    };
    rows.iter().map(&mut with_approach).collect()
}

/// `None` if it is over.
pub(crate) async fn load_one(
    connection: &mut SqliteConnection,
    id: SessionId,
) -> Result<Option<(Session, Approach)>, StoreError> {
    let row = sqlx::query(select!(" WHERE id = $1 AND ended_at IS NULL")).bind(id.0);
    let Some(row) = row.fetch_optional(&mut *connection).await? else { return Ok(None) };
    let (sources, port) = (sources::of(connection, id).await?, ports::of(connection, id).await?);
    Ok(Some((read(&row)?, Approach { sources, port })))
}

pub(crate) async fn uses(connection: &mut SqliteConnection) -> Result<Vec<(SessionId, Timestamp)>, StoreError> {
    let rows = sqlx::query("SELECT id, used_at FROM sessions WHERE ended_at IS NULL").fetch_all(connection).await?;
    let read = |row: &SqliteRow| Ok((SessionId(row.try_get("id")?), words::read_time(row.try_get("used_at")?)?));
    rows.iter().map(read).collect()
}

pub(super) async fn of_request(
    connection: &mut SqliteConnection,
    account: AccountId,
    service: ServiceId,
    request: &str,
) -> Result<Option<Session>, StoreError> {
    const OF_REQUEST: &str = select!(
        " WHERE id = (SELECT session FROM session_requests WHERE account = $1 AND service = $2 AND request = $3)"
    );
    let row = sqlx::query(OF_REQUEST).bind(account.0).bind(service.0).bind(request);
    row.fetch_optional(connection).await?.as_ref().map(read).transpose()
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    session: &Session,
    consent: Option<&Consent>,
    now: Timestamp,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO sessions (id, account, service, opened_at, until, used_at, approved_by, approver, version) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)";
    sqlx::query(INSERT)
        .bind(session.id.0)
        .bind(session.account.0)
        .bind(session.service.0)
        .bind(words::time(session.opened_at))
        .bind(words::time(session.until))
        .bind(words::time(now))
        .bind(session.approved_by.as_ref().map(Label::as_str))
        .bind(consent.map(|consent| consent.approver.0))
        .execute(connection)
        .await?;
    Ok(())
}

/// The same request again gets this session.
pub(super) async fn insert_request(
    connection: &mut SqliteConnection,
    session: &Session,
    request: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO session_requests (account, service, request, session, at) VALUES ($1, $2, $3, $4, $5)")
        .bind(session.account.0)
        .bind(session.service.0)
        .bind(request)
        .bind(session.id.0)
        .bind(words::time(now))
        .execute(connection)
        .await?;
    Ok(())
}

/// The column knows no take-over: that one is told by who it was.
pub(super) fn ending_word(how: SessionEnd) -> &'static str {
    match how {
        SessionEnd::TakenOver => SessionEnd::Hand.word(),
        SessionEnd::Time | SessionEnd::Hand | SessionEnd::Idle | SessionEnd::Gone => how.word(),
    }
}

fn read(row: &SqliteRow) -> Result<Session, StoreError> {
    Ok(Session {
        id: SessionId(row.try_get("id")?),
        service: ServiceId(row.try_get("service")?),
        account: AccountId(row.try_get("account")?),
        opened_at: words::read_time(row.try_get("opened_at")?)?,
        until: words::read_time(row.try_get("until")?)?,
        approved_by: row.try_get::<Option<&str>, _>("approved_by")?.map(words::read_label).transpose()?,
        version: row.try_get("version")?,
    })
}
