//! Answers that were given to requests with an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), so that a repetition
//! does nothing twice, over a restart, too. Bodies rest sealed: some tell a secret that is told once.

use crate::Control;
use crate::store::{StoreError, words};
use crate::work::Work;
use aws_lc_rs::digest::{Context, SHA256};
use doorward_core::{AccountId, Secret};
use jiff::{SignedDuration, Timestamp};
use sqlx::Row;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

pub struct GivenAnswer {
    /// Of the request that it answers.
    pub digest: String,
    pub status: u16,
    pub etag: Option<String>,
    pub body: Secret<Vec<u8>>,
}

/// Requests with a key that are being answered.
#[derive(Default)]
pub(crate) struct UnderWay(Mutex<HashSet<Key>>);

type Key = (AccountId, String);

/// Until it is dropped, no other request with this key is answered.
#[must_use]
pub struct Answering {
    control: Control,
    key: Key,
}

const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Of one account; the oldest go.
const MOST: i64 = 1000;

/// Of all that a request is, so that another one with the same key is told apart.
pub fn request_digest(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    words::hex(context.finish().as_ref())
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.control.0.answers.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Control {
    /// `None`: the first request with this key is not answered yet.
    pub fn begin_answer(&self, account: AccountId, key: &str) -> Option<Answering> {
        let key = (account, key.to_owned());
        let is_first = self.0.answers.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_first.then(|| Answering { control: self.clone(), key })
    }
}

impl Answering {
    /// What was answered to the first request with this key.
    pub async fn given(&self, now: Timestamp) -> Result<Option<GivenAnswer>, StoreError> {
        const SELECT: &str = "SELECT digest, status, etag, body FROM given_answers \
                              WHERE account = $1 AND idempotency_key = $2 AND at > $3";
        let row = sqlx::query(SELECT).bind(self.key.0.0).bind(&self.key.1).bind(words::time(since(now)));
        let Some(row) = row.fetch_optional(self.control.0.store.readers()).await? else { return Ok(None) };
        let status: i64 = row.try_get("status")?;
        let status = u16::try_from(status).map_err(|_| words::strange("a status", &status.to_string()))?;
        let body = self.control.0.seal.open(&place(&self.key), row.try_get("body")?)?;
        Ok(Some(GivenAnswer { digest: row.try_get("digest")?, status, etag: row.try_get("etag")?, body }))
    }

    pub async fn give(&self, answer: GivenAnswer, now: Timestamp) -> Result<(), StoreError> {
        let sealed = self.control.0.seal.seal(&place(&self.key), answer.body.expose());
        let key = self.key.clone();
        self.control.write(move |work| Box::pin(store(work, key, answer, sealed, now))).await
    }
}

async fn store(
    work: &mut Work,
    (account, key): Key,
    answer: GivenAnswer,
    sealed: String,
    now: Timestamp,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO given_answers (account, idempotency_key, digest, status, etag, body, at) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account, idempotency_key) DO UPDATE SET \
                          digest = $3, status = $4, etag = $5, body = $6, at = $7";
    const OLDEST: &str = "DELETE FROM given_answers WHERE account = $1 AND idempotency_key IN (SELECT idempotency_key \
                          FROM given_answers WHERE account = $1 ORDER BY at DESC, idempotency_key LIMIT 1000 OFFSET $2)";
    sqlx::query(INSERT)
        .bind(account.0)
        .bind(key)
        .bind(answer.digest)
        .bind(i64::from(answer.status))
        .bind(answer.etag)
        .bind(sealed)
        .bind(words::time(now))
        .execute(work.connection())
        .await?;
    sqlx::query(OLDEST).bind(account.0).bind(MOST).execute(work.connection()).await?;
    forget_old(work, now).await
}

pub(crate) async fn forget_old(work: &mut Work, now: Timestamp) -> Result<(), StoreError> {
    let old = words::time(since(now));
    sqlx::query("DELETE FROM given_answers WHERE at <= $1").bind(old).execute(work.connection()).await?;
    Ok(())
}

fn since(now: Timestamp) -> Timestamp {
    now.checked_sub(KEPT).unwrap_or(Timestamp::MIN)
}

fn place((account, key): &Key) -> String {
    format!("given_answers/{account}/{key}")
}
