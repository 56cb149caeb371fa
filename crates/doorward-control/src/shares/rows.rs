//! Shares in the store.

use super::viewers::Viewer;
use crate::Control;
use crate::logins::TokenDigest;
use crate::store::{StoreError, words};
use crate::work::Work;
use doorward_core::names::Label;
use doorward_core::share::{Share, ShareUse};
use doorward_core::{AccountId, Secret, ServiceId, ShareId};
use jiff::{SignedDuration, Timestamp};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::num::NonZeroU32;

/// One that was not revoked.
pub(crate) struct ShareRecord {
    pub(crate) share: Share,
    pub(crate) digest: TokenDigest,
    /// Hashed.
    pub(crate) pin: Option<String>,
}

/// A share for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareSummary {
    pub share: Share,
    pub standing: ShareStanding,
    /// As `device/service`. `None`: it is gone.
    pub service: Option<String>,
    /// Who made it. `None`: they are gone.
    pub maker: Option<Label>,
    /// Who came by it since the gateway started, the newest first.
    pub viewers: Vec<Viewer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareStanding {
    /// Browsers may come by it, until then.
    Open(Timestamp),
    /// Those who came may stay, until then.
    UsedUp(Timestamp),
    Over,
    Revoked(Timestamp),
}

impl ShareStanding {
    pub fn word(self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::UsedUp(_) => "used-up",
            Self::Over => "over",
            Self::Revoked(_) => "revoked",
        }
    }

    /// When it ends, if it did not.
    pub fn until(self) -> Option<Timestamp> {
        match self {
            Self::Open(until) | Self::UsedUp(until) => Some(until),
            Self::Over | Self::Revoked(_) => None,
        }
    }
}

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT id, service, account, digest, pin, title, is_read_only, uses, used, made_at, until, revoked_at, version \
             FROM shares",
            $condition
        )
    };
}

/// How long what is over is remembered.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

impl Control {
    /// The newest first, everybody's, also those that are over, for as long as they are remembered.
    pub async fn shares(&self, now: Timestamp) -> Result<Vec<ShareSummary>, StoreError> {
        let rows = sqlx::query(select!(" ORDER BY id DESC")).fetch_all(self.0.store.readers()).await?;
        rows.iter().map(|row| self.share_summary(row, now)).collect()
    }

    /// The same of one service.
    pub async fn shares_of(&self, service: ServiceId, now: Timestamp) -> Result<Vec<ShareSummary>, StoreError> {
        let rows = sqlx::query(select!(" WHERE service = $1 ORDER BY id DESC")).bind(service.0);
        rows.fetch_all(self.0.store.readers()).await?.iter().map(|row| self.share_summary(row, now)).collect()
    }

    fn share_summary(&self, row: &SqliteRow, now: Timestamp) -> Result<ShareSummary, StoreError> {
        let (share, snapshot) = (read(row)?.share, self.snapshot());
        let service = snapshot.service(share.service);
        let end = service.as_ref().and_then(|service| share.end(service, &*snapshot, now));
        let standing = match (words::read_optional_time(row.try_get("revoked_at")?)?, end) {
            (Some(at), _) => ShareStanding::Revoked(at),
            (None, None) => ShareStanding::Over,
            (None, Some(until)) if has_room(&share) => ShareStanding::Open(until),
            (None, Some(until)) => ShareStanding::UsedUp(until),
        };
        Ok(ShareSummary {
            standing,
            service: service.map(|service| service.path()),
            maker: snapshot.shared_person(share.account).map(|person| person.name.clone()),
            viewers: self.0.viewers.of(share.id, now),
            share,
        })
    }
}

pub(super) fn has_room(share: &Share) -> bool {
    share.has_uses_left() && share.used < super::MOST_USES
}

/// Those that were not revoked.
pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Vec<ShareRecord>, StoreError> {
    let rows = sqlx::query(select!(" WHERE revoked_at IS NULL")).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// `None` if it was revoked or forgotten.
pub(crate) async fn load_one(
    connection: &mut SqliteConnection,
    id: ShareId,
) -> Result<Option<ShareRecord>, StoreError> {
    let row = sqlx::query(select!(" WHERE id = $1 AND revoked_at IS NULL")).bind(id.0);
    row.fetch_optional(connection).await?.as_ref().map(read).transpose()
}

/// With when it was revoked.
pub(super) async fn standing(
    connection: &mut SqliteConnection,
    id: ShareId,
) -> Result<Option<(Share, Option<Timestamp>)>, StoreError> {
    let row = sqlx::query(select!(" WHERE id = $1")).bind(id.0).fetch_optional(connection).await?;
    let read = |row: &SqliteRow| Ok((read(row)?.share, words::read_optional_time(row.try_get("revoked_at")?)?));
    row.as_ref().map(read).transpose()
}

/// Why a link leads nowhere: which words the audit has for it.
pub(super) async fn why_over(
    connection: &mut SqliteConnection,
    digest: TokenDigest,
) -> Result<&'static str, StoreError> {
    let revoked_at = sqlx::query_scalar("SELECT revoked_at FROM shares WHERE digest = $1");
    let found: Option<Option<i64>> = revoked_at.bind(words::hex(&digest.0)).fetch_optional(connection).await?;
    Ok(match found {
        None => "unknown",
        Some(Some(_)) => "revoked",
        Some(None) => "over",
    })
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    share: &Share,
    secret: &Secret<String>,
    pin: Option<&str>,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO shares (id, service, account, digest, pin, title, is_read_only, uses, used, made_at, until, version) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, 1)";
    sqlx::query(INSERT)
        .bind(share.id.0)
        .bind(share.service.0)
        .bind(share.account.0)
        .bind(words::hex(&TokenDigest::of(secret).0))
        .bind(pin)
        .bind(&share.title)
        .bind(i64::from(share.is_read_only))
        .bind(share.uses.map(|uses| i64::from(uses.get())))
        .bind(words::time(share.made_at))
        .bind(words::time(share.until))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn revoke(connection: &mut SqliteConnection, id: ShareId, now: Timestamp) -> Result<(), StoreError> {
    let revoke = sqlx::query("UPDATE shares SET revoked_at = $1, version = version + 1 WHERE id = $2");
    revoke.bind(words::time(now)).bind(id.0).execute(connection).await?;
    Ok(())
}

/// By which this browser came before.
pub(super) async fn use_of(
    connection: &mut SqliteConnection,
    share: ShareId,
    browser: &str,
) -> Result<Option<ShareUse>, StoreError> {
    let number = sqlx::query_scalar("SELECT number FROM share_uses WHERE share = $1 AND browser = $2");
    let number: Option<i64> = number.bind(share.0).bind(browser).fetch_optional(connection).await?;
    number.map(|number| Ok(ShareUse { share, number: small(number)? })).transpose()
}

pub(super) async fn insert_use(
    connection: &mut SqliteConnection,
    used: ShareUse,
    browser: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE shares SET used = $1 WHERE id = $2")
        .bind(i64::from(used.number))
        .bind(used.share.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO share_uses (share, number, browser, at) VALUES ($1, $2, $3, $4)")
        .bind(used.share.0)
        .bind(i64::from(used.number))
        .bind(browser)
        .bind(words::time(now))
        .execute(connection)
        .await?;
    Ok(())
}

/// Those that ended, or were revoked, long before.
pub(crate) async fn forget_old(work: &mut Work, now: Timestamp) -> Result<(), StoreError> {
    let before = words::time(now.checked_sub(KEPT).unwrap_or(Timestamp::MIN));
    let old = sqlx::query_scalar("SELECT id FROM shares WHERE until < $1 OR revoked_at < $1").bind(before);
    let old: Vec<i64> = old.fetch_all(work.connection()).await?;
    for id in old {
        sqlx::query("DELETE FROM shares WHERE id = $1").bind(id).execute(work.connection()).await?;
        work.refresh_share(ShareId(id)).await?;
    }
    Ok(())
}

fn read(row: &SqliteRow) -> Result<ShareRecord, StoreError> {
    let pin: Option<String> = row.try_get("pin")?;
    let uses: Option<i64> = row.try_get("uses")?;
    let is_read_only: i64 = row.try_get("is_read_only")?;
    let no_use = || words::strange("a number of uses", "0");
    let share = Share {
        id: ShareId(row.try_get("id")?),
        service: ServiceId(row.try_get("service")?),
        account: AccountId(row.try_get("account")?),
        title: row.try_get("title")?,
        made_at: words::read_time(row.try_get("made_at")?)?,
        until: words::read_time(row.try_get("until")?)?,
        is_read_only: is_read_only != 0,
        has_pin: pin.is_some(),
        uses: uses.map(|uses| NonZeroU32::new(small(uses)?).ok_or_else(no_use)).transpose()?,
        used: small(row.try_get("used")?)?,
        version: row.try_get("version")?,
    };
    Ok(ShareRecord { share, digest: TokenDigest(words::read_hex_32(row.try_get("digest")?)?), pin })
}

fn small(number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| words::strange("a number of uses", &number.to_string()))
}
