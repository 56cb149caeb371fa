//! The authority of the gateway's own, which people may install. The gateway makes it; here is what must be the same
//! after a restart, lest they have to install it again.

use crate::store::seal::Seal;
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError};
use aws_lc_rs::digest::{SHA256, digest};
use doorward_core::Secret;
use doorward_core::audit::Deed;
use doorward_core::certificates::Scope;
use doorward_core::names::HostName;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// A root certificate with its key.
#[derive(Debug)]
pub struct OwnAuthority {
    pub scope: Scope,
    /// DER.
    pub certificate: Vec<u8>,
    /// PKCS#8, DER.
    pub key: Secret<Vec<u8>>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// The one in use.
pub(crate) type InUse = watch::Sender<Option<Arc<OwnAuthority>>>;

/// Making one takes the gateway milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

impl OwnAuthority {
    /// SHA-256 of the certificate, as browsers and systems show it.
    pub fn fingerprint(&self) -> String {
        let bytes = digest(&SHA256, &self.certificate);
        bytes.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    /// The certificate as most programs want it (RFC 7468).
    pub fn pem(&self) -> String {
        let text = data_encoding::BASE64.encode(&self.certificate);
        let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n");
        format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
    }
}

impl Control {
    /// The authority that signs for names without another certificate, now and whenever that changes.
    pub fn own_authority(&self) -> watch::Receiver<Option<Arc<OwnAuthority>>> {
        self.0.own_authority.subscribe()
    }

    /// Says which one is in use. In memory; the gateway decides it anew at each start.
    pub fn use_own_authority(&self, authority: Option<Arc<OwnAuthority>>) {
        self.0.own_authority.send_replace(authority);
    }

    /// The one that was made for this domain.
    pub async fn kept_authority(&self, domain: &HostName) -> Result<Option<OwnAuthority>, StoreError> {
        const KEPT: &str = "SELECT domain, scope, certificate, sealed_key, not_before, not_after FROM own_authorities \
             WHERE domain = $1";
        let row = sqlx::query(KEPT).bind(domain.as_str()).fetch_optional(self.0.store.readers()).await?;
        row.map(|row| read(&row, &self.0.seal)).transpose()
    }

    /// In place of the one that the domain had before.
    pub async fn keep_authority(&self, authority: Arc<OwnAuthority>, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |work| {
            Box::pin(async move {
                keep(work, &authority).await?;
                let detail = format!("for {}, until {}", authority.scope, authority.not_after);
                work.write_down(Deed::AuthorityMade, &authority.fingerprint(), &detail, now).await
            })
        })
        .await
    }

    /// Drops the one in use with its key, and waits for the gateway to make another.
    pub async fn renew_own_authority(&self, now: Timestamp) -> Result<Arc<OwnAuthority>, EditError> {
        let unused = || EditError::TooEarly("no authority of the gateway's own is in use".to_owned());
        let old = self.0.own_authority.borrow().clone().ok_or_else(unused)?;
        self.write(move |work| {
            Box::pin(async move {
                let drop = sqlx::query("DELETE FROM own_authorities WHERE domain = $1");
                drop.bind(old.scope.domain.as_str()).execute(work.connection()).await?;
                work.write_down(Deed::AuthorityDropped, &old.fingerprint(), "another takes its place", now).await
            })
        })
        .await
        .map_err(EditError::Store)?;
        let mut authorities = self.own_authority();
        self.use_own_authority(None);
        let made = timeout(PATIENCE, authorities.wait_for(Option::is_some)).await;
        let made = made.ok().and_then(Result::ok).and_then(|made| made.clone());
        made.ok_or_else(|| EditError::TooEarly("the gateway made no other one yet; its log says why".to_owned()))
    }
}

async fn keep(work: &mut Work, authority: &OwnAuthority) -> Result<(), StoreError> {
    const KEEP: &str = "INSERT INTO own_authorities (domain, scope, certificate, sealed_key, not_before, not_after) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (domain) DO UPDATE SET scope = excluded.scope, \
         certificate = excluded.certificate, sealed_key = excluded.sealed_key, not_before = excluded.not_before, \
         not_after = excluded.not_after";
    let domain = authority.scope.domain.as_str();
    let sealed = work.shared.seal.seal(&place(domain), authority.key.expose());
    let keep = sqlx::query(KEEP)
        .bind(domain)
        .bind(authority.scope.to_string())
        .bind(words::hex(&authority.certificate))
        .bind(sealed)
        .bind(words::time(authority.not_before))
        .bind(words::time(authority.not_after));
    keep.execute(work.connection()).await?;
    Ok(())
}

fn read(row: &SqliteRow, seal: &Seal) -> Result<OwnAuthority, StoreError> {
    let scope: &str = row.try_get("scope")?;
    Ok(OwnAuthority {
        scope: Scope::parse(scope).map_err(|_| words::strange("what an authority is for", scope))?,
        certificate: words::read_hex(row.try_get("certificate")?)?,
        key: seal.open(&place(row.try_get("domain")?), row.try_get("sealed_key")?)?,
        not_before: words::read_time(row.try_get("not_before")?)?,
        not_after: words::read_time(row.try_get("not_after")?)?,
    })
}

fn place(domain: &str) -> String {
    format!("own_authorities/{domain}")
}
