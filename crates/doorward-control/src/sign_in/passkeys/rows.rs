//! Passkeys in the store. What rests of one is public.

use crate::Control;
use crate::store::{StoreError, words};
use crate::work::Work;
use doorward_core::{AccountId, PasskeyId};
use jiff::Timestamp;
use sqlx::Row;
use webauthn_rs::prelude::{AuthenticationResult, Passkey};

impl Control {
    pub(super) async fn stored_passkeys(&self, account: AccountId) -> Result<Vec<(PasskeyId, Passkey)>, StoreError> {
        const THEIRS: &str = "SELECT id, passkey FROM passkeys WHERE account = $1";
        let rows = sqlx::query(THEIRS).bind(account.0).fetch_all(self.0.store.readers()).await?;
        rows.iter().map(|row| Ok((PasskeyId(row.try_get("id")?), read(row.try_get("passkey")?)?))).collect()
    }

    pub(super) async fn stored_passkey(
        &self,
        credential: &[u8],
    ) -> Result<Option<(AccountId, PasskeyId, Passkey)>, StoreError> {
        const ONE: &str = "SELECT id, account, passkey FROM passkeys WHERE credential = $1";
        let row = sqlx::query(ONE).bind(words::hex(credential)).fetch_optional(self.0.store.readers()).await?;
        let Some(row) = row else { return Ok(None) };
        let (account, id) = (AccountId(row.try_get("account")?), PasskeyId(row.try_get("id")?));
        Ok(Some((account, id, read(row.try_get("passkey")?)?)))
    }
}

pub(super) async fn insert(
    work: &mut Work,
    account: AccountId,
    passkey: &Passkey,
    title: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    const INSERT: &str =
        "INSERT INTO passkeys (id, account, credential, passkey, title, since) VALUES ($1, $2, $3, $4, $5, $6)";
    let id = work.next_id("passkey").await?;
    sqlx::query(INSERT)
        .bind(id)
        .bind(account.0)
        .bind(words::hex(passkey.cred_id().as_ref()))
        .bind(write(passkey)?)
        .bind(title)
        .bind(words::time(now))
        .execute(work.connection())
        .await?;
    Ok(())
}

/// Its count goes up, by which a copy of it is found out.
pub(super) async fn used(
    work: &mut Work,
    id: PasskeyId,
    mut passkey: Passkey,
    result: &AuthenticationResult,
    now: Timestamp,
) -> Result<(), StoreError> {
    passkey.update_credential(result);
    sqlx::query("UPDATE passkeys SET passkey = $1, used_at = $2 WHERE id = $3")
        .bind(write(&passkey)?)
        .bind(words::time(now))
        .bind(id.0)
        .execute(work.connection())
        .await?;
    Ok(())
}

/// All of this person's.
pub(crate) async fn forget(work: &mut Work, account: AccountId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM passkeys WHERE account = $1").bind(account.0).execute(work.connection()).await?;
    Ok(())
}

fn write(passkey: &Passkey) -> Result<String, StoreError> {
    serde_json::to_string(passkey).map_err(|error| StoreError::Strange(format!("a passkey: {error}")))
}

fn read(text: &str) -> Result<Passkey, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Strange(format!("a passkey: {error}")))
}
