//! Welcomes in the store.

use super::{MadeWelcome, Welcome, WelcomeKind, hash_of, random_text};
use crate::EditError;
use crate::store::{StoreError, words};
use crate::work::Work;
use doorward_core::person::Role;
use doorward_core::{AccountId, GroupId, Secret, WelcomeId};
use jiff::{SignedDuration, Timestamp};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

pub(super) struct New<'n> {
    pub(super) kind: WelcomeKind,
    pub(super) title: &'n str,
    pub(super) role: Role,
    pub(super) groups: &'n [GroupId],
    pub(super) account_ends_at: Option<Timestamp>,
    pub(super) uses: u32,
    pub(super) length: SignedDuration,
}

impl New<'_> {
    pub(super) fn of(kind: WelcomeKind, length: SignedDuration) -> Self {
        Self { kind, title: "", role: Role::Member, groups: &[], account_ends_at: None, uses: 1, length }
    }
}

pub(super) async fn insert(work: &mut Work, new: New<'_>, now: Timestamp) -> Result<MadeWelcome, EditError> {
    let beyond = |_| EditError::Invalid("it would expire beyond all calendars".into());
    let expires_at = now.checked_add(new.length).map_err(beyond)?;
    let (kind, account) = match new.kind {
        WelcomeKind::First => ("first", None),
        WelcomeKind::Own(account) => ("own", Some(account.0)),
        WelcomeKind::Invitation => ("invitation", None),
    };
    let (id, secret) = (WelcomeId(work.next_id("welcome").await?), random_text());
    sqlx::query(
        "INSERT INTO welcomes (id, kind, digest, account, title, role, account_ends_at, uses, uses_left, created_at, expires_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, 1)",
    )
    .bind(id.0)
    .bind(kind)
    .bind(hash_of(&secret))
    .bind(account)
    .bind(new.title)
    .bind(new.role.word())
    .bind(new.account_ends_at.map(words::time))
    .bind(i64::from(new.uses))
    .bind(words::time(now))
    .bind(words::time(expires_at))
    .execute(work.connection())
    .await
    .map_err(StoreError::from)?;
    for group in new.groups {
        sqlx::query("INSERT INTO welcome_groups (welcome, person_group) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(id.0)
            .bind(group.0)
            .execute(work.connection())
            .await
            .map_err(StoreError::from)?;
    }
    Ok(MadeWelcome { id, secret, expires_at })
}

const COLUMNS: &str = "SELECT id, kind, account, title, role, account_ends_at, uses, uses_left, created_at, expires_at, revoked_at, version \
                       FROM welcomes";

pub(super) async fn one(connection: &mut SqliteConnection, id: WelcomeId) -> Result<Option<Welcome>, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1"))).bind(id.0);
    whole(row.fetch_optional(&mut *connection).await?, connection).await
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    secret: &Secret<String>,
) -> Result<Option<Welcome>, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE digest = $1"))).bind(hash_of(secret));
    whole(row.fetch_optional(&mut *connection).await?, connection).await
}

async fn whole(row: Option<SqliteRow>, connection: &mut SqliteConnection) -> Result<Option<Welcome>, StoreError> {
    let Some(row) = row else { return Ok(None) };
    let mut welcome = read(&row)?;
    const GROUPS: &str = "SELECT g.name FROM welcome_groups w JOIN person_groups g ON g.id = w.person_group WHERE w.welcome = $1 \
                          ORDER BY g.name";
    for row in sqlx::query(GROUPS).bind(welcome.id.0).fetch_all(connection).await? {
        welcome.groups.push(words::read_label(row.try_get("name")?)?);
    }
    Ok(Some(welcome))
}

pub(super) async fn invitations(connection: &mut SqliteConnection) -> Result<Vec<Welcome>, StoreError> {
    const GROUPS: &str =
        "SELECT w.welcome, g.name FROM welcome_groups w JOIN person_groups g ON g.id = w.person_group ORDER BY g.name";
    let query = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE kind = 'invitation' ORDER BY id DESC LIMIT 1000"));
    let rows = sqlx::query(query).fetch_all(&mut *connection).await?;
    let mut welcomes = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    for row in sqlx::query(GROUPS).fetch_all(connection).await? {
        let (of, name) = (WelcomeId(row.try_get("welcome")?), words::read_label(row.try_get("name")?)?);
        if let Some(welcome) = welcomes.iter_mut().find(|welcome| welcome.id == of) {
            welcome.groups.push(name);
        }
    }
    Ok(welcomes)
}

/// Whether there was one left to take.
pub(super) async fn take_one(connection: &mut SqliteConnection, id: WelcomeId) -> Result<bool, StoreError> {
    let taken = sqlx::query(
        "UPDATE welcomes SET uses_left = uses_left - 1, version = version + 1 WHERE id = $1 AND uses_left > 0",
    );
    Ok(taken.bind(id.0).execute(connection).await?.rows_affected() > 0)
}

pub(super) async fn revoke(connection: &mut SqliteConnection, id: WelcomeId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE welcomes SET revoked_at = COALESCE(revoked_at, $1), version = version + 1 WHERE id = $2")
        .bind(words::time(now))
        .bind(id.0)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn forget_firsts(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM welcomes WHERE kind = 'first'").execute(connection).await?;
    Ok(())
}

pub(crate) async fn forget_own(connection: &mut SqliteConnection, account: AccountId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM welcomes WHERE account = $1").bind(account.0).execute(connection).await?;
    Ok(())
}

pub(super) async fn is_set_up(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let done: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM setup").fetch_one(connection).await?;
    Ok(done > 0)
}

/// Until then whoever comes too late learns why.
pub(crate) async fn forget_old(connection: &mut SqliteConnection, before: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM welcomes WHERE expires_at < $1").bind(words::time(before)).execute(connection).await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Welcome, StoreError> {
    let count = |n: i64| u32::try_from(n).map_err(|_| words::strange("a number of uses", &n.to_string()));
    let kind = match (row.try_get("kind")?, row.try_get::<Option<i64>, _>("account")?) {
        ("first", None) => WelcomeKind::First,
        ("own", Some(account)) => WelcomeKind::Own(AccountId(account)),
        ("invitation", None) => WelcomeKind::Invitation,
        (other, _) => return Err(words::strange("a kind of welcome", other)),
    };
    let role: &str = row.try_get("role")?;
    Ok(Welcome {
        id: WelcomeId(row.try_get("id")?),
        kind,
        title: row.try_get("title")?,
        role: Role::read(role).ok_or_else(|| words::strange("a role", role))?,
        groups: Vec::new(),
        account_ends_at: words::read_optional_time(row.try_get("account_ends_at")?)?,
        uses: count(row.try_get("uses")?)?,
        uses_left: count(row.try_get("uses_left")?)?,
        created_at: words::read_time(row.try_get("created_at")?)?,
        expires_at: words::read_time(row.try_get("expires_at")?)?,
        revoked_at: words::read_optional_time(row.try_get("revoked_at")?)?,
        version: row.try_get("version")?,
    })
}
