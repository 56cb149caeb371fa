//! Invites: permissions to enrol. Only the hash of the secret rests.

use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError};
use aws_lc_rs::digest::{SHA256, digest};
use doorward_core::audit::Deed;
use doorward_core::invite::SECRET_LENGTH;
use doorward_core::names::Label;
use doorward_core::{AccountId, DeviceId, InviteId, Secret};
use jiff::{SignedDuration, Timestamp};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

#[derive(Clone, Debug)]
pub struct InviteRequest {
    /// How many machines may join with it.
    pub uses: u32,
    pub expires_in: SignedDuration,
    /// The device's name; otherwise it is made of what the machine calls itself.
    pub name: Option<Label>,
    /// The machine that joins takes this device over, with its names, ports and policies.
    pub replaces: Option<DeviceId>,
}

impl Default for InviteRequest {
    fn default() -> Self {
        Self { uses: 1, expires_in: SignedDuration::from_hours(7 * 24), name: None, replaces: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteSummary {
    pub id: InviteId,
    pub account: AccountId,
    pub uses: u32,
    pub uses_left: u32,
    pub name: Option<Label>,
    pub replaces: Option<DeviceId>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub version: i64,
}

impl InviteSummary {
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.uses_left > 0 && now < self.expires_at
    }
}

const MAX_USES: u32 = 10_000;
const MAX_LIFE: SignedDuration = SignedDuration::from_hours(366 * 24);

impl Control {
    /// The secret is returned this once; see [`doorward_core::invite::Invite`] for the string to hand over.
    pub async fn create_invite(
        &self,
        account: AccountId,
        request: InviteRequest,
        now: Timestamp,
    ) -> Result<(InviteId, Secret<[u8; SECRET_LENGTH]>), EditError> {
        self.write(move |work| Box::pin(create(work, account, request, now))).await
    }

    /// All that are not yet forgotten, the newest first.
    pub async fn invites(&self) -> Result<Vec<InviteSummary>, StoreError> {
        let rows = sqlx::query(ALL).fetch_all(self.0.store.readers()).await?;
        rows.iter().map(read).collect()
    }

    pub async fn revoke_invite(&self, id: InviteId, version: Option<i64>, now: Timestamp) -> Result<(), EditError> {
        self.write(move |work| Box::pin(revoke(work, id, version, now))).await
    }
}

async fn create(
    work: &mut Work,
    account: AccountId,
    request: InviteRequest,
    now: Timestamp,
) -> Result<(InviteId, Secret<[u8; SECRET_LENGTH]>), EditError> {
    check(work, &request)?;
    let expires_at = now
        .checked_add(request.expires_in)
        .map_err(|_| EditError::Invalid("the invite would expire beyond all calendars".into()))?;
    let mut secret = [0; SECRET_LENGTH];
    aws_lc_rs::rand::fill(&mut secret).expect("the operating system has random bytes");
    let secret = Secret::new(secret);
    let id = work.next_id("invite").await?;
    sqlx::query(
        "INSERT INTO invites (id, account, secret_hash, uses, uses_left, device_name, replaces, created_at, expires_at, version) \
         VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8, 1)",
    )
    .bind(id)
    .bind(account.0)
    .bind(secret_hash(&secret))
    .bind(i64::from(request.uses))
    .bind(request.name.as_ref().map(Label::as_str))
    .bind(request.replaces.map(|device| device.0))
    .bind(words::time(now))
    .bind(words::time(expires_at))
    .execute(work.connection())
    .await
    .map_err(StoreError::from)?;
    let machines = if request.uses == 1 { "machine" } else { "machines" };
    let detail = format!("for {} {machines} until {expires_at}", request.uses);
    work.write_down(Deed::InviteCreated, &format!("invite {id}"), &detail, now).await?;
    Ok((InviteId(id), secret))
}

fn check(work: &Work, request: &InviteRequest) -> Result<(), EditError> {
    let refuse = |why: &str| Err(EditError::Invalid(why.to_owned()));
    if request.uses == 0 || request.uses > MAX_USES {
        return refuse("an invite is good for 1 to 10000 machines");
    }
    if request.expires_in <= SignedDuration::ZERO || request.expires_in > MAX_LIFE {
        return refuse("an invite is good for some time, a year at most: say how long, as 12h or 7d");
    }
    if let Some(device) = request.replaces {
        if work.draft.device(device).is_none() {
            return Err(EditError::Unknown(format!("device {device}")));
        }
        if request.uses != 1 || request.name.is_some() {
            return refuse("an invite that replaces a device is good for one machine, which keeps the device's name");
        }
    }
    Ok(())
}

async fn revoke(work: &mut Work, id: InviteId, version: Option<i64>, now: Timestamp) -> Result<(), EditError> {
    let row = sqlx::query("SELECT version FROM invites WHERE id = $1").bind(id.0);
    let row = row.fetch_optional(work.connection()).await.map_err(StoreError::from)?;
    let row = row.ok_or_else(|| EditError::Unknown(format!("invite {id}")))?;
    let current: i64 = row.try_get("version").map_err(StoreError::from)?;
    if version.is_some_and(|v| v != current) {
        return Err(EditError::Stale { current });
    }
    sqlx::query("UPDATE invites SET revoked_at = COALESCE(revoked_at, $1), version = version + 1 WHERE id = $2")
        .bind(words::time(now))
        .bind(id.0)
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.write_down(Deed::InviteRevoked, &format!("invite {id}"), "", now).await?;
    Ok(())
}

const ALL: &str = "SELECT id, account, uses, uses_left, device_name, replaces, created_at, expires_at, revoked_at, \
                   version FROM invites ORDER BY id DESC LIMIT 1000";
const BY_SECRET: &str = "SELECT id, account, uses, uses_left, device_name, replaces, created_at, expires_at, \
                         revoked_at, version FROM invites WHERE secret_hash = $1";

pub(crate) async fn find(
    connection: &mut SqliteConnection,
    secret: &Secret<[u8; SECRET_LENGTH]>,
) -> Result<Option<InviteSummary>, StoreError> {
    let row = sqlx::query(BY_SECRET).bind(secret_hash(secret)).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

/// The secret has 128 random bits: a plain hash hides it, and looking the hash up leaks nothing of use.
fn secret_hash(secret: &Secret<[u8; SECRET_LENGTH]>) -> String {
    words::hex(digest(&SHA256, secret.expose()).as_ref())
}

fn read(row: &SqliteRow) -> Result<InviteSummary, StoreError> {
    let count = |n: i64| u32::try_from(n).map_err(|_| words::strange("a number of uses", &n.to_string()));
    Ok(InviteSummary {
        id: InviteId(row.try_get("id")?),
        account: AccountId(row.try_get("account")?),
        uses: count(row.try_get("uses")?)?,
        uses_left: count(row.try_get("uses_left")?)?,
        name: row.try_get::<Option<&str>, _>("device_name")?.map(words::read_label).transpose()?,
        replaces: row.try_get::<Option<i64>, _>("replaces")?.map(DeviceId),
        created_at: words::read_time(row.try_get("created_at")?)?,
        expires_at: words::read_time(row.try_get("expires_at")?)?,
        revoked_at: words::read_optional_time(row.try_get("revoked_at")?)?,
        version: row.try_get("version")?,
    })
}
