//! What is written down. Deeds are stored with the change they belong to; refusals are counted first, by source
//! prefix, service, reason and minute, so that a flood fills neither the disk nor the memory (promise 12).

use crate::Control;
use crate::accounts::OWNER;
use crate::store::{StoreError, words};
use crate::work::Work;
use doorward_core::ServiceId;
use doorward_core::audit::Deed;
use ipnet::IpNet;
use jiff::Timestamp;
use sqlx::Row;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};

/// One line of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub id: i64,
    /// For coalesced refusals: the first of them.
    pub at: Timestamp,
    /// A [`Deed`]'s word.
    pub deed: String,
    pub subject: String,
    pub detail: String,
    /// An address or prefix; empty where the owner acted on the gateway itself.
    pub source: String,
    pub count: u64,
}

/// Refusals not yet stored.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<Refusal, Tally>>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Refusal {
    deed: Deed,
    /// `None`: of no address, or of one too many.
    source: Option<IpNet>,
    service: Option<ServiceId>,
    reason: &'static str,
    /// Since 1970.
    minute: i64,
}

#[derive(Clone, Copy)]
struct Tally {
    first: Timestamp,
    count: u64,
}

/// How many different refusals are told apart before the rest is counted together.
pub(crate) const MAX_REFUSALS: usize = 1024;
/// How many lines the audit keeps.
pub(crate) const MAX_ENTRIES: i64 = 200_000;
const TOO_MANY: &str = "many-sources";

impl Control {
    /// Counts a refused attempt. Never waits; [`Control::flush_audit`] stores it.
    pub fn refused(
        &self,
        deed: Deed,
        source: Option<IpAddr>,
        service: Option<ServiceId>,
        reason: &'static str,
        now: Timestamp,
    ) {
        self.0.refusals.count(deed, source.map(prefix), service, reason, now);
    }

    /// Writes down a deed that no other function here does (a parked clone, a refused device).
    pub async fn record(
        &self,
        deed: Deed,
        subject: String,
        detail: String,
        source: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let source = source.map(|ip| ip.to_string()).unwrap_or_default();
        self.write(move |work| {
            Box::pin(async move { work.insert_entry(deed, &subject, &detail, &source, 1, now).await })
        })
        .await
    }

    /// Stores the refusals counted so far.
    pub async fn flush_audit(&self) -> Result<(), StoreError> {
        // Taken in the writer's seat: whoever flushes at the same time finds them stored when its turn is over.
        let taken = Arc::new(OnceLock::new());
        let told = taken.clone();
        let stored = self
            .write(move |work| {
                Box::pin(async move {
                    let refusals = told.get_or_init(|| Arc::new(work.shared.refusals.take()));
                    store_refusals(work, refusals.clone()).await
                })
            })
            .await;
        if let (Err(_), Some(refusals)) = (&stored, taken.get()) {
            self.0.refusals.put_back(refusals);
        }
        stored
    }

    /// The newest first.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let rows =
            sqlx::query("SELECT id, at, deed, subject, detail, source, count FROM audit ORDER BY id DESC LIMIT $1")
                .bind(i64::from(limit))
                .fetch_all(self.0.store.readers())
                .await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Ok(AuditEntry {
                id: row.try_get("id")?,
                at: words::read_time(row.try_get("at")?)?,
                deed: row.try_get("deed")?,
                subject: row.try_get("subject")?,
                detail: row.try_get("detail")?,
                source: row.try_get("source")?,
                count: row.try_get::<i64, _>("count")?.unsigned_abs(),
            })
        };
        rows.iter().map(read).collect()
    }
}

/// Neighbours share a prefix: a provider hands out whole ones.
fn prefix(ip: IpAddr) -> IpNet {
    let ip = ip.to_canonical();
    let length = if ip.is_ipv4() { 24 } else { 64 };
    IpNet::new(ip, length).expect("24 and 64 are lengths of their families").trunc()
}

impl Refusals {
    fn count(
        &self,
        deed: Deed,
        source: Option<IpNet>,
        service: Option<ServiceId>,
        reason: &'static str,
        now: Timestamp,
    ) {
        let refusal = Refusal { deed, source, service, reason, minute: now.as_second().div_euclid(60) };
        self.add(refusal, Tally { first: now, count: 1 });
    }

    fn add(&self, mut refusal: Refusal, tally: Tally) {
        let mut table = self.0.lock().expect("nothing panics while it holds this lock");
        if table.len() >= MAX_REFUSALS && !table.contains_key(&refusal) {
            refusal = Refusal { source: None, service: None, reason: TOO_MANY, minute: 0, ..refusal };
        }
        table.entry(refusal).or_insert(Tally { count: 0, ..tally }).count += tally.count;
    }

    /// They could not be stored; the next time, then.
    fn put_back(&self, refusals: &[(Refusal, Tally)]) {
        for (refusal, tally) in refusals {
            self.add(refusal.clone(), *tally);
        }
    }

    fn take(&self) -> Vec<(Refusal, Tally)> {
        let table = std::mem::take(&mut *self.0.lock().expect("nothing panics while it holds this lock"));
        let mut refusals: Vec<_> = table.into_iter().collect();
        refusals.sort_by_key(|(_, tally)| tally.first);
        refusals
    }
}

async fn store_refusals(work: &mut Work, refusals: Arc<Vec<(Refusal, Tally)>>) -> Result<(), StoreError> {
    for (refusal, tally) in refusals.iter() {
        let service = refusal.service.map(|id| work.draft.service(id).map_or_else(|| id.to_string(), |s| s.path()));
        let source = refusal.source.map(|net| net.to_string()).unwrap_or_default();
        let subject = service.unwrap_or_default();
        work.insert_entry(refusal.deed, &subject, refusal.reason, &source, tally.count, tally.first).await?;
    }
    Ok(())
}

/// Forgets the oldest lines beyond what is kept.
pub(crate) async fn prune(work: &mut Work, keep: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM audit WHERE id <= (SELECT MAX(id) FROM audit) - $1")
        .bind(keep)
        .execute(work.connection())
        .await?;
    Ok(())
}

impl Work {
    /// A deed of the owner, in the same transaction as what was done.
    pub(crate) async fn write_down(
        &mut self,
        deed: Deed,
        subject: &str,
        detail: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.insert_entry(deed, subject, detail, "", 1, now).await
    }

    pub(crate) async fn write_down_from(
        &mut self,
        deed: Deed,
        subject: &str,
        detail: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.insert_entry(deed, subject, detail, &source.to_canonical().to_string(), 1, now).await
    }

    async fn insert_entry(
        &mut self,
        deed: Deed,
        subject: &str,
        detail: &str,
        source: &str,
        count: u64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = self.next_id("audit").await?;
        sqlx::query(
            "INSERT INTO audit (id, at, account, deed, subject, detail, source, count) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(id)
        .bind(words::time(at))
        .bind(OWNER.0)
        .bind(deed.word())
        .bind(subject)
        .bind(detail)
        .bind(source)
        .bind(i64::try_from(count).unwrap_or(i64::MAX))
        .execute(self.connection())
        .await?;
        Ok(())
    }
}
