//! The password of each person as it rests.

use super::CredentialError;
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, passwords};
use doorward_core::audit::Deed;
use doorward_core::person::password::{judge, normalise};
use doorward_core::{AccountId, Secret};
use jiff::Timestamp;
use sqlx::{Row, SqlitePool};
use std::net::IpAddr;

impl Control {
    /// The one who is signed in chooses another. Nothing else that was begun by the old one goes on: whoever calls ends their other logins.
    pub async fn change_password(
        &self,
        account: AccountId,
        old: &Secret<String>,
        new: &Secret<String>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(), CredentialError> {
        self.confirm_password(account, old, source, now).await?;
        let person = self.person_in_good_standing(account, now).ok_or(CredentialError::Stale)?;
        let phc = self.hash_new(new, &[person.name.as_str(), &person.title]).await?;
        self.write(move |work| {
            Box::pin(async move {
                put(work, account, &phc, now).await?;
                work.write_down_from(Deed::PasswordChanged, person.name.as_str(), "", source, now).await?;
                Ok(())
            })
        })
        .await
    }

    /// What rests of a password that a policy asks visitors for, as `doorward password` makes it.
    pub async fn hash_for_visitors(&self, password: Secret<String>) -> Result<String, CredentialError> {
        self.0.sign_in.hashing.hash(password).await
    }

    /// Judged, and hashed in its normal form.
    pub(crate) async fn hash_new(&self, new: &Secret<String>, names: &[&str]) -> Result<String, CredentialError> {
        let password = normalise(new);
        let domain = self.site().domain.as_ref().map(ToString::to_string).unwrap_or_default();
        judge(&password, &[names, &[domain.as_str()]].concat())?;
        self.0.sign_in.hashing.hash(password).await
    }

    /// Hashes get dearer over the years: a password that was just right gets what a new one would get.
    pub(super) async fn renew_hash(&self, account: AccountId, password: &Secret<String>, now: Timestamp) {
        let outdated = match stored(self.0.store.readers(), account).await {
            Ok(Some((phc, set_at))) if passwords::is_outdated(&phc) => set_at,
            Ok(Some(_) | None) | Err(_) => return,
        };
        let renewed: Result<(), CredentialError> = async {
            let phc = self.0.sign_in.hashing.hash(normalise(password)).await?;
            self.write(move |work| Box::pin(async move { Ok(renew(work, account, &phc, outdated).await?) })).await
        }
        .await;
        if let Err(error) = renewed {
            tracing::debug!(%error, %now, "a password's hash stays as it is until the next time");
        }
    }
}

/// The hash, and when the password was set.
pub(super) async fn stored(readers: &SqlitePool, account: AccountId) -> Result<Option<(String, i64)>, StoreError> {
    const ONE: &str = "SELECT phc, changed_at FROM person_passwords WHERE account = $1";
    let row = sqlx::query(ONE).bind(account.0).fetch_optional(readers).await?;
    row.map(|row| Ok((row.try_get("phc")?, row.try_get("changed_at")?))).transpose()
}

pub(super) async fn changed_at(readers: &SqlitePool, account: AccountId) -> Result<Option<i64>, StoreError> {
    Ok(stored(readers, account).await?.map(|(_, at)| at))
}

pub(crate) async fn put(work: &mut Work, account: AccountId, phc: &str, now: Timestamp) -> Result<(), StoreError> {
    const PUT: &str = "INSERT INTO person_passwords (account, phc, changed_at) VALUES ($1, $2, $3) \
                       ON CONFLICT (account) DO UPDATE SET phc = excluded.phc, changed_at = excluded.changed_at";
    sqlx::query(PUT).bind(account.0).bind(phc).bind(words::time(now)).execute(work.connection()).await?;
    Ok(())
}

/// The same password; one that was set meanwhile stays.
async fn renew(work: &mut Work, account: AccountId, phc: &str, set_at: i64) -> Result<(), StoreError> {
    const RENEW: &str = "UPDATE person_passwords SET phc = $1 WHERE account = $2 AND changed_at = $3";
    sqlx::query(RENEW).bind(phc).bind(account.0).bind(set_at).execute(work.connection()).await?;
    Ok(())
}
