//! Certificates, the orders for them and the accounts at their authorities. The gateway orders; here is what it must
//! know again after a restart. Private keys and accounts are sealed at rest.

mod forget;
mod report;

pub use report::{AuthorityReport, CertificateReport, CertificateState, Reports, SetReport};

use crate::store::seal::Seal;
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, Shared};
use doorward_core::Secret;
use doorward_core::audit::Deed;
use doorward_core::certificates::{Attempt, Held, Names, Outcome};
use doorward_core::notice::Notice;
use forget::{forget_order, prune};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::sync::Arc;
use tokio::sync::watch;

/// A certificate with its key.
#[derive(Debug)]
pub struct Certificate {
    pub held: Held,
    /// The authority, by its directory.
    pub directory: String,
    /// PEM, the certificate itself first.
    pub chain: String,
    /// PKCS#8, DER.
    pub key: Secret<Vec<u8>>,
}

/// An order that was begun. Its key is made first, so that whoever resumes it can finish it.
#[derive(Debug)]
pub struct PendingOrder {
    pub names: Names,
    pub directory: String,
    pub url: String,
    /// PKCS#8, DER.
    pub key: Secret<Vec<u8>>,
}

pub type Shelf = Arc<Vec<Arc<Certificate>>>;

/// In memory: what is held, and what the gateway reports about it.
pub(crate) struct Certificates {
    shelf: watch::Sender<Shelf>,
    pub(crate) reports: Reports,
}

impl Certificates {
    pub(crate) async fn load(connection: &mut SqliteConnection, seal: &Seal) -> Result<Self, StoreError> {
        let shelf = watch::Sender::new(read_shelf(connection, seal).await?);
        Ok(Self { shelf, reports: Reports::default() })
    }
}

impl Control {
    /// Every certificate that is held, now and whenever that changes.
    pub fn certificates(&self) -> watch::Receiver<Shelf> {
        self.0.certificates.shelf.subscribe()
    }

    pub fn certificate_reports(&self) -> &Reports {
        &self.0.certificates.reports
    }

    /// What was tried in the last weeks, the oldest first.
    pub async fn certificate_attempts(&self) -> Result<Vec<Attempt>, StoreError> {
        const ATTEMPTS: &str = "SELECT names, directory, at, outcome, not_until FROM certificate_attempts ORDER BY id";
        let rows = sqlx::query(ATTEMPTS).fetch_all(self.0.store.readers()).await?;
        rows.iter().map(read_attempt).collect()
    }

    /// The account at this authority, as it was kept.
    pub async fn acme_account(&self, directory: &str) -> Result<Option<Secret<Vec<u8>>>, StoreError> {
        const ACCOUNT: &str = "SELECT sealed_credentials FROM acme_accounts WHERE directory = $1";
        let row = sqlx::query(ACCOUNT).bind(directory).fetch_optional(self.0.store.readers()).await?;
        let open = |row: SqliteRow| self.0.seal.open(&account_place(directory), row.try_get("sealed_credentials")?);
        row.map(open).transpose()
    }

    pub async fn keep_acme_account(
        &self,
        directory: &str,
        credentials: Secret<Vec<u8>>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        const KEEP: &str = "INSERT INTO acme_accounts (directory, sealed_credentials, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (directory) DO UPDATE SET sealed_credentials = excluded.sealed_credentials";
        let directory = directory.to_owned();
        self.write(move |work| {
            Box::pin(async move {
                let sealed = work.shared.seal.seal(&account_place(&directory), credentials.expose());
                let keep = sqlx::query(KEEP).bind(&directory).bind(sealed).bind(words::time(now));
                keep.execute(work.connection()).await?;
                Ok(())
            })
        })
        .await
    }

    /// The authority knows this account no more.
    pub async fn forget_acme_account(&self, directory: &str) -> Result<(), StoreError> {
        let directory = directory.to_owned();
        self.write(move |work| {
            Box::pin(async move {
                let forget = sqlx::query("DELETE FROM acme_accounts WHERE directory = $1").bind(&directory);
                forget.execute(work.connection()).await?;
                Ok(())
            })
        })
        .await
    }

    pub async fn pending_order(&self, names: &Names, directory: &str) -> Result<Option<PendingOrder>, StoreError> {
        const ORDER: &str = "SELECT url, sealed_key FROM certificate_orders WHERE names = $1 AND directory = $2";
        let row = sqlx::query(ORDER).bind(names.to_string()).bind(directory);
        let Some(row) = row.fetch_optional(self.0.store.readers()).await? else { return Ok(None) };
        let key = self.0.seal.open(&order_place(names, directory), row.try_get("sealed_key")?)?;
        let (names, directory) = (names.clone(), directory.to_owned());
        Ok(Some(PendingOrder { names, directory, url: row.try_get("url")?, key }))
    }

    pub async fn begin_order(&self, order: Arc<PendingOrder>, now: Timestamp) -> Result<(), StoreError> {
        const BEGIN: &str = "INSERT INTO certificate_orders (names, directory, url, sealed_key, begun_at) \
             VALUES ($1, $2, $3, $4, $5)";
        self.write(move |work| {
            Box::pin(async move {
                let sealed = work.shared.seal.seal(&order_place(&order.names, &order.directory), order.key.expose());
                forget_order(work, &order.names, &order.directory).await?;
                let begin = sqlx::query(BEGIN)
                    .bind(order.names.to_string())
                    .bind(&order.directory)
                    .bind(&order.url)
                    .bind(sealed)
                    .bind(words::time(now));
                begin.execute(work.connection()).await?;
                Ok(())
            })
        })
        .await
    }

    /// It came to nothing; `attempt` says when and how, `why` goes into the audit.
    pub async fn order_failed(&self, attempt: Attempt, why: String) -> Result<(), StoreError> {
        self.alert(Notice::CertificateFailing { names: attempt.names.to_string(), why: why.clone() }, attempt.at);
        self.write(move |work| {
            Box::pin(async move {
                note_attempt(work, &attempt).await?;
                work.write_down(Deed::CertificateFailed, &attempt.names.to_string(), &why, attempt.at).await
            })
        })
        .await
    }

    /// The certificate is there: kept, published, and its order forgotten.
    pub async fn order_completed(
        &self,
        certificate: Certificate,
        is_renewal: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |work| {
            Box::pin(async move {
                let names = certificate.held.names.clone();
                keep(work, &certificate).await?;
                forget_order(work, &names, &certificate.directory).await?;
                let outcome = Outcome::Issued { is_renewal };
                let authority = certificate.directory.clone();
                note_attempt(work, &Attempt { names: names.clone(), authority, at: now, outcome }).await?;
                prune(work, now).await?;
                let detail = format!("by {}, until {}", certificate.directory, certificate.held.not_after);
                work.write_down(Deed::CertificateIssued, &names.to_string(), &detail, now).await
            })
        })
        .await?;
        publish(&self.0).await
    }
}

/// Only the order loop changes certificates, one at a time: what is read here is the newest.
async fn publish(shared: &Shared) -> Result<(), StoreError> {
    let mut connection = shared.store.readers().acquire().await?;
    let shelf = read_shelf(&mut connection, &shared.seal).await?;
    shared.certificates.shelf.send_replace(shelf);
    Ok(())
}

async fn keep(work: &mut Work, certificate: &Certificate) -> Result<(), StoreError> {
    const KEEP: &str = "INSERT INTO certificates (names, directory, chain, sealed_key, not_before, not_after) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (names) DO UPDATE SET directory = excluded.directory, \
         chain = excluded.chain, sealed_key = excluded.sealed_key, not_before = excluded.not_before, \
         not_after = excluded.not_after";
    let names = certificate.held.names.to_string();
    let sealed = work.shared.seal.seal(&certificate_place(&names), certificate.key.expose());
    let keep = sqlx::query(KEEP)
        .bind(&names)
        .bind(&certificate.directory)
        .bind(&certificate.chain)
        .bind(sealed)
        .bind(words::time(certificate.held.not_before))
        .bind(words::time(certificate.held.not_after));
    keep.execute(work.connection()).await?;
    Ok(())
}

async fn note_attempt(work: &mut Work, attempt: &Attempt) -> Result<(), StoreError> {
    const NOTE: &str = "INSERT INTO certificate_attempts (id, names, directory, at, outcome, not_until) \
         VALUES ($1, $2, $3, $4, $5, $6)";
    let (word, not_until) = match attempt.outcome {
        Outcome::Issued { is_renewal: false } => ("issued", None),
        Outcome::Issued { is_renewal: true } => ("renewed", None),
        Outcome::Failed { not_until } => ("failed", not_until.map(words::time)),
    };
    let note = sqlx::query(NOTE)
        .bind(work.next_id("certificate-attempt").await?)
        .bind(attempt.names.to_string())
        .bind(attempt.authority.clone())
        .bind(words::time(attempt.at))
        .bind(word)
        .bind(not_until);
    note.execute(work.connection()).await?;
    Ok(())
}

async fn read_shelf(connection: &mut SqliteConnection, seal: &Seal) -> Result<Shelf, StoreError> {
    const ALL: &str = "SELECT names, directory, chain, sealed_key, not_before, not_after FROM certificates";
    let rows = sqlx::query(ALL).fetch_all(connection).await?;
    let read = |row: &SqliteRow| {
        let names: &str = row.try_get("names")?;
        let held = Held {
            names: read_names(names)?,
            not_before: words::read_time(row.try_get("not_before")?)?,
            not_after: words::read_time(row.try_get("not_after")?)?,
        };
        let key = seal.open(&certificate_place(names), row.try_get("sealed_key")?)?;
        let (directory, chain) = (row.try_get("directory")?, row.try_get("chain")?);
        Ok(Arc::new(Certificate { held, directory, chain, key }))
    };
    rows.iter().map(read).collect::<Result<Vec<_>, StoreError>>().map(Arc::new)
}

fn read_attempt(row: &SqliteRow) -> Result<Attempt, StoreError> {
    let outcome = match row.try_get("outcome")? {
        "issued" => Outcome::Issued { is_renewal: false },
        "renewed" => Outcome::Issued { is_renewal: true },
        "failed" => Outcome::Failed { not_until: words::read_optional_time(row.try_get("not_until")?)? },
        other => return Err(words::strange("the outcome of an order", other)),
    };
    Ok(Attempt {
        names: read_names(row.try_get("names")?)?,
        authority: row.try_get("directory")?,
        at: words::read_time(row.try_get("at")?)?,
        outcome,
    })
}

fn read_names(text: &str) -> Result<Names, StoreError> {
    Names::parse(text).map_err(|_| words::strange("the names of a certificate", text))
}

fn account_place(directory: &str) -> String {
    format!("acme_accounts/{directory}")
}

fn certificate_place(names: &str) -> String {
    format!("certificates/{names}")
}

fn order_place(names: &Names, directory: &str) -> String {
    format!("certificate_orders/{names}/{directory}")
}
