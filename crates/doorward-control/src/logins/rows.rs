//! Logins in the store.

use super::{TokenDigest, tokens};
use crate::Control;
use crate::store::{StoreError, words};
use doorward_core::authority::TokenLimits;
use doorward_core::login::{Login, LoginKind};
use doorward_core::person::factors::Factors;
use doorward_core::{AccountId, LoginId};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

/// A login for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSummary {
    pub login: Login,
    pub seen_at: Timestamp,
}

pub(crate) struct LoginRecord {
    pub(crate) login: Login,
    pub(crate) digest: TokenDigest,
    /// Of tokens.
    pub(crate) limits: Option<TokenLimits>,
}

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT id, account, kind, token_hash, title, source, since, until, factors, scope, services \
             FROM logins",
            $condition
        )
    };
}

impl Control {
    /// What this person is signed in by, the newest first.
    pub fn logins_of(&self, account: AccountId, now: Timestamp) -> Vec<LoginSummary> {
        let snapshot = self.snapshot();
        let counting = snapshot.logins_of(account).filter(|login| login.counts(now));
        let summary = |login: &Login| LoginSummary {
            seen_at: self.0.seen.last(login.id).unwrap_or(login.since),
            login: login.clone(),
        };
        let mut theirs: Vec<_> = counting.map(summary).collect();
        theirs.reverse();
        theirs
    }
}

pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Vec<LoginRecord>, StoreError> {
    let rows = sqlx::query(select!("")).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// `None` if it is over.
pub(crate) async fn load_one(
    connection: &mut SqliteConnection,
    id: LoginId,
) -> Result<Option<LoginRecord>, StoreError> {
    let row = sqlx::query(select!(" WHERE id = $1")).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn seen(connection: &mut SqliteConnection) -> Result<Vec<(LoginId, Timestamp)>, StoreError> {
    let rows = sqlx::query("SELECT id, seen_at FROM logins").fetch_all(connection).await?;
    let read = |row: &SqliteRow| Ok((LoginId(row.try_get("id")?), words::read_time(row.try_get("seen_at")?)?));
    rows.iter().map(read).collect()
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    login: &Login,
    digest: TokenDigest,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO logins (id, account, kind, token_hash, title, source, since, until, factors, seen_at) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $7)";
    sqlx::query(INSERT)
        .bind(login.id.0)
        .bind(login.account.0)
        .bind(login.kind.word())
        .bind(words::hex(&digest.0))
        .bind(&login.title)
        .bind(login.source.map(|source| source.to_string()))
        .bind(words::time(login.since))
        .bind(words::time(login.until))
        .bind(login.factors.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<LoginRecord, StoreError> {
    let kind: &str = row.try_get("kind")?;
    let source: Option<&str> = row.try_get("source")?;
    let factors: &str = row.try_get("factors")?;
    let login = Login {
        id: LoginId(row.try_get("id")?),
        account: AccountId(row.try_get("account")?),
        kind: LoginKind::read(kind).ok_or_else(|| words::strange("a kind of login", kind))?,
        factors: Factors::read(factors).ok_or_else(|| words::strange("what was proved", factors))?,
        title: row.try_get("title")?,
        source: source.map(|text| text.parse().map_err(|_| words::strange("an address", text))).transpose()?,
        since: words::read_time(row.try_get("since")?)?,
        until: words::read_time(row.try_get("until")?)?,
    };
    let limits = tokens::read(row, login.kind)?;
    Ok(LoginRecord { limits, login, digest: TokenDigest(words::read_hex_32(row.try_get("token_hash")?)?) })
}
