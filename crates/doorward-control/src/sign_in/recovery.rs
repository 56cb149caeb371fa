//! Recovery codes: for when the phone is gone. Each has 80 random bits, so a fast hash hides it, and counts once.

use super::CredentialError;
use crate::Control;
use crate::store::{StoreError, words};
use crate::work::Work;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE32_NOPAD;
use doorward_core::audit::Deed;
use doorward_core::{AccountId, Secret};
use jiff::Timestamp;
use std::net::IpAddr;

/// Shown this once.
#[derive(Debug)]
pub struct RecoveryCodes(pub Vec<Secret<String>>);

const CODES: usize = 10;
/// 16 letters.
const CODE_LENGTH: usize = 10;

impl RecoveryCodes {
    pub(super) fn make() -> Self {
        Self((0..CODES).map(|_| recovery_code()).collect())
    }

    pub(super) fn digests(&self) -> Vec<String> {
        self.0.iter().map(|code| code_digest(code.expose())).collect()
    }
}

impl Control {
    /// Ten new ones; the old ones count no more.
    pub async fn renew_recovery_codes(
        &self,
        account: AccountId,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<RecoveryCodes, CredentialError> {
        let person = self.person_in_good_standing(account, now).ok_or(CredentialError::Stale)?;
        if !self.second_factors_of(account).await?.is_any() {
            let why = "recovery codes stand in for an app or a passkey, and neither is set up";
            return Err(CredentialError::Invalid(why.into()));
        }
        let codes = RecoveryCodes::make();
        let digests = codes.digests();
        self.write(move |work| {
            Box::pin(async move {
                forget(work, account).await?;
                put(work, account, &digests).await?;
                work.write_down_from(
                    Deed::SecondFactorChanged,
                    person.name.as_str(),
                    "new recovery codes",
                    source,
                    now,
                )
                .await?;
                Ok::<_, CredentialError>(())
            })
        })
        .await?;
        Ok(codes)
    }
}

/// Whether it was one that had not been used.
pub(super) async fn use_one(
    work: &mut Work,
    account: AccountId,
    code: &str,
    now: Timestamp,
) -> Result<bool, CredentialError> {
    const USE: &str = "UPDATE recovery_codes SET used_at = $1 WHERE account = $2 AND digest = $3 AND used_at IS NULL";
    let used = sqlx::query(USE)
        .bind(words::time(now))
        .bind(account.0)
        .bind(code_digest(code))
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    Ok(used.rows_affected() > 0)
}

/// Where there is nothing left that they would stand in for.
pub(super) async fn forget_idle(work: &mut Work, account: AccountId) -> Result<(), StoreError> {
    const FORGET: &str = "DELETE FROM recovery_codes WHERE account = $1 \
         AND NOT EXISTS (SELECT 1 FROM person_totp WHERE account = $1) AND NOT EXISTS (SELECT 1 FROM passkeys WHERE account = $1)";
    sqlx::query(FORGET).bind(account.0).execute(work.connection()).await?;
    Ok(())
}

pub(super) async fn has_any(work: &mut Work, account: AccountId) -> Result<bool, StoreError> {
    const COUNT: &str = "SELECT COUNT(*) FROM recovery_codes WHERE account = $1 AND used_at IS NULL";
    let left: i64 = sqlx::query_scalar(COUNT).bind(account.0).fetch_one(work.connection()).await?;
    Ok(left > 0)
}

pub(super) async fn forget(work: &mut Work, account: AccountId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM recovery_codes WHERE account = $1").bind(account.0).execute(work.connection()).await?;
    Ok(())
}

pub(super) async fn put(work: &mut Work, account: AccountId, digests: &[String]) -> Result<(), StoreError> {
    for digest in digests {
        sqlx::query("INSERT INTO recovery_codes (account, digest) VALUES ($1, $2)")
            .bind(account.0)
            .bind(digest)
            .execute(work.connection())
            .await?;
    }
    Ok(())
}

fn recovery_code() -> Secret<String> {
    Secret::new(grouped(&BASE32_NOPAD.encode(random::<CODE_LENGTH>().expose()).to_ascii_lowercase()))
}

/// However it was typed.
fn code_digest(code: &str) -> String {
    let letters: String = code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    words::hex(digest(&SHA256, letters.as_bytes()).as_ref())
}

pub(super) fn grouped(letters: &str) -> String {
    letters.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join("-")
}

pub(super) fn random<const N: usize>() -> Secret<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    Secret::new(bytes)
}
