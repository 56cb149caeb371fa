//! What is written down. Deeds are stored with the change they belong to. Refusals and visits are counted first and stored
//! within seconds, so that nothing waits for the disk and a flood fills neither it nor the memory (promise 12); what a
//! crash takes is those seconds. All lines are one chain (`chain.rs`).

mod allowance;
mod chain;
mod keeping;
mod reading;
mod refusals;
mod visits;

pub use chain::{Anchor, Broken, ChainedLine, LineHash, Verifier};
pub use keeping::AuditSettings;
pub(crate) use reading::line as line_of;
pub use reading::{AuditChoice, Soundness};
#[cfg(test)]
pub(crate) use refusals::MAX_REFUSALS;
pub use visits::Attendance;
#[cfg(test)]
pub(crate) use visits::MAX_VISITS;

use crate::accounts::OWNER;
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, Shared};
use arc_swap::ArcSwap;
use doorward_core::access::Visitor;
use doorward_core::audit::{Deed, Line};
use doorward_core::{AccountId, ServiceId};
use jiff::{SignedDuration, Timestamp};
use refusals::{Refusal, Refusals, Tally};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use visits::{Passage, Visits};

/// The room's own state.
#[derive(Default)]
pub(crate) struct Audit {
    refusals: Refusals,
    visits: Visits,
    settings: ArcSwap<AuditSettings>,
}

/// On whose behalf a handle of [`Control`] acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Whoever may open the gateway's own socket.
    Owner,
    Person {
        account: AccountId,
        /// By which login, key or token; nothing secret.
        grounds: String,
        source: Option<IpAddr>,
    },
}

/// How much of what was counted is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Refusals of minutes that are over, and visits whose time it is.
    Ripe,
    /// All refusals: somebody looks.
    Now,
    /// The gateway stops, and with it every visit.
    Last,
}

/// What lasts, and what was lumped together, is written down this often.
const IS_TOLD_EVERY: SignedDuration = SignedDuration::from_hours(1);

impl Control {
    /// The same state; what is done by this handle is written down as this one's deed.
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self(self.0.clone(), Some(Arc::new(actor)))
    }

    /// Counts a refused attempt. Never waits; [`Control::flush_audit`] stores it.
    pub fn refused(
        &self,
        deed: Deed,
        source: Option<IpAddr>,
        service: Option<ServiceId>,
        reason: &'static str,
        now: Timestamp,
    ) {
        metrics::counter!("doorward_refused_total", "deed" => deed.word(), "reason" => reason).increment(1);
        self.0.audit.refusals.count(deed, source, service, reason, now);
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
        self.write(move |work| {
            Box::pin(async move {
                let source = source.map(|ip| ip.to_string()).unwrap_or_default();
                let line = work.line(deed, subject, detail, now);
                work.insert_line(Line { source: or(source, line.source.clone()), ..line }).await
            })
        })
        .await
    }

    /// Stores what was counted so far.
    pub async fn flush_audit(&self) -> Result<(), StoreError> {
        self.write_audit(Due::Now, Timestamp::now()).await
    }

    pub(crate) async fn write_audit(&self, due: Due, now: Timestamp) -> Result<(), StoreError> {
        // Taken in the writer's seat: whoever flushes at the same time finds them stored when its turn is over.
        let taken = Arc::new(OnceLock::new());
        let told = taken.clone();
        let stored = self
            .write(move |work| {
                Box::pin(async move {
                    let audit = &work.shared.audit;
                    let settings = **audit.settings.load();
                    let counted = told.get_or_init(|| {
                        let refusals = audit.refusals.take(settings, due, now);
                        Arc::new((refusals, audit.visits.take(settings, due, now)))
                    });
                    store_counted(work, counted.clone()).await
                })
            })
            .await;
        if let (Err(_), Some(counted)) = (&stored, taken.get()) {
            metrics::counter!("doorward_audit_failures_total").increment(1);
            self.0.audit.refusals.put_back(&counted.0);
            self.0.audit.visits.put_back(&counted.1);
        }
        self.0.audit.measure();
        stored
    }
}

impl Audit {
    /// Who is at this service now, and how often.
    pub(crate) fn visitors_at(&self, service: ServiceId) -> Vec<(Visitor, u32)> {
        self.visits.open_at(service)
    }

    fn measure(&self) {
        metrics::gauge!("doorward_audit_waiting", "what" => "refusals").set(self.refusals.waiting() as f64);
        metrics::gauge!("doorward_audit_waiting", "what" => "visits").set(self.visits.waiting() as f64);
    }
}

/// Refusals with how often they were, and visits.
type Counted = (Vec<(Refusal, Tally)>, Vec<Passage>);

async fn store_counted(work: &mut Work, counted: Arc<Counted>) -> Result<(), StoreError> {
    for (refusal, tally) in &counted.0 {
        let line = Line {
            subject: refusal.service.map(|id| path_of(work, id)).unwrap_or_default(),
            detail: refusal.reason.to_owned(),
            source: refusal.source.map(|net| net.to_string()).unwrap_or_default(),
            count: tally.count,
            ..blank(refusal.deed, tally.first)
        };
        work.insert_line(line).await?;
    }
    for Passage { deed, visit, part } in &counted.1 {
        let line = Line {
            until: part.until,
            count: part.count,
            up: part.up,
            down: part.down,
            ending: part.ending(),
            ..blank(*deed, part.from.or(part.until).unwrap_or_default())
        };
        let line = match visit {
            None => Line { detail: "many-visitors".to_owned(), ..line },
            Some(visit) => Line {
                person: visit.person.map(|id| name_of(work, id)).unwrap_or_default(),
                subject: path_of(work, visit.service),
                detail: visit.entrance.to_owned(),
                source: visit.source.to_string(),
                grounds: visit.grounds.clone(),
                ..line
            },
        };
        work.insert_line(line).await?;
    }
    Ok(())
}

fn path_of(work: &Work, service: ServiceId) -> String {
    work.draft.service(service).map_or_else(|| format!("service {service}"), |service| service.path())
}

fn name_of(work: &Work, account: AccountId) -> String {
    work.draft.shared_person(account).map_or_else(|| format!("account {account}"), |person| person.name.to_string())
}

/// Nothing but a deed.
fn blank(deed: Deed, at: Timestamp) -> Line {
    Line {
        id: 0,
        at,
        until: None,
        deed: deed.word().to_owned(),
        person: String::new(),
        subject: String::new(),
        detail: String::new(),
        source: String::new(),
        grounds: String::new(),
        count: 1,
        up: 0,
        down: 0,
        ending: String::new(),
    }
}

fn or(said: String, otherwise: String) -> String {
    if said.is_empty() { otherwise } else { said }
}

impl Work {
    /// A deed of whoever acts, in the same transaction as what was done.
    pub(crate) async fn write_down(
        &mut self,
        deed: Deed,
        subject: &str,
        detail: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let line = self.line(deed, subject.to_owned(), detail.to_owned(), now);
        self.insert_line(line).await
    }

    pub(crate) async fn write_down_from(
        &mut self,
        deed: Deed,
        subject: &str,
        detail: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let line = self.line(deed, subject.to_owned(), detail.to_owned(), now);
        self.insert_line(Line { source: source.to_canonical().to_string(), ..line }).await
    }

    fn line(&self, deed: Deed, subject: String, detail: String, now: Timestamp) -> Line {
        let line = Line { subject, detail, ..blank(deed, now) };
        match self.actor.as_deref() {
            None => line,
            Some(Actor::Owner) => {
                Line { person: name_of(self, OWNER), grounds: "the gateway's socket".to_owned(), ..line }
            }
            Some(Actor::Person { account, grounds, source }) => Line {
                person: name_of(self, *account),
                grounds: grounds.clone(),
                source: source.map(|ip| ip.to_canonical().to_string()).unwrap_or_default(),
                ..line
            },
        }
    }

    /// The next of the chain. Its id is given here.
    async fn insert_line(&mut self, mut line: Line) -> Result<(), StoreError> {
        line.id = self.next_id("audit").await?;
        line.at = words::read_time(words::time(line.at))?;
        line.until = words::read_optional_time(line.until.map(words::time))?;
        let before = chain_end(self, line.id).await?;
        let hash = LineHash::of(before, &line);
        sqlx::query(
            "INSERT INTO audit (id, at, until, account, deed, person, subject, detail, source, grounds, count, up, down, ending, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        )
        .bind(line.id)
        .bind(words::time(line.at))
        .bind(line.until.map(words::time))
        .bind(OWNER.0)
        .bind(line.deed)
        .bind(line.person)
        .bind(line.subject)
        .bind(line.detail)
        .bind(line.source)
        .bind(line.grounds)
        .bind(number(line.count))
        .bind(number(line.up))
        .bind(number(line.down))
        .bind(line.ending)
        .bind(hash.to_string())
        .execute(self.connection())
        .await?;
        metrics::counter!("doorward_audit_lines_total").increment(1);
        Ok(())
    }
}

/// The hash on which line `next` rests.
async fn chain_end(work: &mut Work, next: i64) -> Result<LineHash, StoreError> {
    let before = sqlx::query_scalar("SELECT hash FROM audit WHERE id = $1").bind(next - 1);
    let before: Option<String> = before.fetch_optional(work.connection()).await?;
    match before {
        Some(hash) => LineHash::read(&hash),
        None => Ok(reading::anchor(work.connection()).await?.hash),
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) use keeping::{chain_old_lines, forget_old_lines};

impl Shared {
    pub(crate) fn audit_settings(&self) -> AuditSettings {
        **self.audit.settings.load()
    }
}
