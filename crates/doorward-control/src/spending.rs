//! What services spent of what may pass. The device counts, since it knows what crosses its link; its counters only grow, and
//! are kept on both sides, so that neither side's restart forgets or counts twice. Days and months are counted here, by the
//! policy's zone.
//!
//! Reports come every second and stay in memory; the store hears of them once a minute. The snapshot, and so every decision,
//! hears as soon as they make a difference.

use crate::presence::LinkState;
use crate::snapshot::Snapshot;
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, Shared};
use doorward_core::access::{Budget, BudgetStanding, Facts, Spent, Window};
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::notice::Notice;
use doorward_core::service::Service;
use doorward_core::site::Carrier;
use doorward_core::size::write_size;
use doorward_core::{DeviceId, ServiceId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(crate) struct Spending(Mutex<HashMap<ServiceId, Counted>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The device's counter.
    counter: u64,
    pub(crate) spent: Spent,
    is_stored: bool,
}

/// What a device says of all its services at once.
#[derive(Clone, Debug, Default)]
pub struct SpendingReport {
    /// Of a hundred.
    pub reserve: u8,
    /// Bytes since the device began to count; such a counter never goes back but by an accident.
    pub counters: Vec<(Label, u64)>,
}

const LARGEST_RESERVE: u8 = 90;

impl Spending {
    pub(crate) fn remember(&self, stored: &[(ServiceId, Counted)]) {
        self.table().extend(stored.iter().copied());
    }

    fn table(&self) -> MutexGuard<'_, HashMap<ServiceId, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first word of a service says where its counter stands, not that anything passed since somebody looked. One that went back
    /// lost what it had not written down, which was reported before.
    fn note(&self, service: &Service, counter: u64, reserve: u8, now: Timestamp) {
        let zone = zone(service);
        let mut table = self.table();
        let fresh = Counted { counter, spent: Spent::nothing(&zone, now), is_stored: false };
        let counted = table.entry(service.id).or_insert(fresh);
        let before = *counted;
        counted.spent.reserve = reserve;
        counted.spent.add(counter.saturating_sub(counted.counter), &zone, now);
        counted.counter = counter;
        if *counted != before {
            counted.is_stored = false;
        }
    }

    /// Of a service that no agent counts for: behind `ssh -R` the gateway is the first that can.
    fn add(&self, service: &Service, bytes: u64, now: Timestamp) {
        let zone = zone(service);
        let mut table = self.table();
        let fresh = Counted { counter: 0, spent: Spent::nothing(&zone, now), is_stored: false };
        let counted = table.entry(service.id).or_insert(fresh);
        counted.spent.add(bytes, &zone, now);
        counted.is_stored = false;
    }

    fn unstored(&self) -> Vec<(ServiceId, Counted)> {
        self.table().iter().filter(|(_, counted)| !counted.is_stored).map(|(id, counted)| (*id, *counted)).collect()
    }

    fn stored(&self, rows: &[(ServiceId, Counted)]) {
        let mut table = self.table();
        for (id, row) in rows {
            if let Some(counted) = table.get_mut(id).filter(|counted| *counted == row) {
                counted.is_stored = true;
            }
        }
    }
}

impl Shared {
    /// What passed to and from visitors, counted here if the device cannot do it itself.
    pub(crate) fn count_for_its_device(&self, service: ServiceId, bytes: u64, now: Timestamp) {
        let Some(service) = self.published.load().service(service) else { return };
        let link = self.presence.device(service.device).link;
        if matches!(link, LinkState::Online { carrier: Carrier::Ssh, .. }) {
            self.spending.add(&service, bytes, now);
        }
    }
}

fn zone(service: &Service) -> TimeZone {
    service.policy.limits.budget.as_ref().map_or(TimeZone::UTC, |budget| budget.zone().clone())
}

impl Control {
    /// What a device counted. Writes only if it makes a difference to somebody.
    pub async fn spent_reported(
        &self,
        device: DeviceId,
        report: SpendingReport,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let snapshot = self.snapshot();
        let reserve = report.reserve.min(LARGEST_RESERVE);
        for (name, counter) in &report.counters {
            if let Some(service) = snapshot.service_of(device, name) {
                self.0.spending.note(&service, *counter, reserve, now);
            }
        }
        self.settle_budgets(now).await
    }

    /// The newest that is known of this service, also where nothing limits it.
    pub fn spent(&self, service: ServiceId) -> Option<Spent> {
        self.0.spending.table().get(&service).map(|counted| counted.spent)
    }

    /// Tells decisions of budgets that stand otherwise than they know.
    pub(crate) async fn settle_budgets(&self, now: Timestamp) -> Result<(), StoreError> {
        let snapshot = self.snapshot();
        if differing(&self.0, &snapshot, now).is_empty() {
            return Ok(());
        }
        self.write(move |work| {
            Box::pin(async move {
                for (id, counted) in differing(&work.shared, &work.draft, now) {
                    publish(work, id, counted, now).await?;
                }
                Ok(())
            })
        })
        .await
    }

    pub(crate) async fn store_spending(&self) -> Result<(), StoreError> {
        let rows = self.0.spending.unstored();
        if rows.is_empty() {
            return Ok(());
        }
        let written = rows.clone();
        self.write(move |work| {
            Box::pin(async move {
                for (id, counted) in written {
                    store(work.connection(), id, &counted).await?;
                }
                Ok::<_, StoreError>(())
            })
        })
        .await?;
        self.0.spending.stored(&rows);
        Ok(())
    }
}

fn differing(shared: &Shared, snapshot: &Snapshot, now: Timestamp) -> Vec<(ServiceId, Counted)> {
    let differs = |id: ServiceId, counted: &Counted| {
        let Some(service) = snapshot.service(id) else { return false };
        let Some(budget) = &service.policy.limits.budget else { return false };
        let known = snapshot.spent(id);
        budget.standing(Some(&counted.spent), now) != budget.standing(known, now)
            || known.is_some_and(|known| known.reserve != counted.spent.reserve)
    };
    let table = shared.spending.table();
    table.iter().filter(|(id, counted)| differs(**id, counted)).map(|(id, counted)| (*id, *counted)).collect()
}

async fn publish(work: &mut Work, id: ServiceId, counted: Counted, now: Timestamp) -> Result<(), StoreError> {
    let Some(service) = work.draft.service(id) else { return Ok(()) };
    let Some(budget) = service.policy.limits.budget.clone() else { return Ok(()) };
    let before = budget.standing(work.draft.spent(id), now);
    store(work.connection(), id, &counted).await?;
    work.put_spent(id, counted.spent);
    let after = budget.standing(Some(&counted.spent), now);
    if after <= before {
        return Ok(());
    }
    let told = match after {
        BudgetStanding::Plenty => return Ok(()),
        BudgetStanding::Low { .. } => Some((Deed::BudgetLow, 80)),
        // The alert comes once; that those by SSH are out, too, is written down.
        BudgetStanding::Gone { until } if matches!(before, BudgetStanding::Reserved { .. }) => {
            write_down(work, &service, Deed::BudgetSpent, &counted.spent, until, now).await?;
            None
        }
        BudgetStanding::Reserved { .. } | BudgetStanding::Gone { .. } => Some((Deed::BudgetSpent, 100)),
    };
    if let Some((deed, percent)) = told {
        let until = until_of(&budget, &counted.spent, now);
        write_down(work, &service, deed, &counted.spent, until, now).await?;
        work.alert(Notice::BudgetNearlyUsed { service: service.path(), percent, until: Some(until) }, now);
    }
    Ok(())
}

fn until_of(budget: &Budget, spent: &Spent, now: Timestamp) -> Timestamp {
    match budget.standing(Some(spent), now) {
        BudgetStanding::Plenty => now,
        BudgetStanding::Low { until } | BudgetStanding::Reserved { until } | BudgetStanding::Gone { until } => until,
    }
}

async fn write_down(
    work: &mut Work,
    service: &Service,
    deed: Deed,
    spent: &Spent,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (day, month) = (write_size(spent.day.bytes), write_size(spent.month.bytes));
    work.write_down(deed, &service.path(), &format!("{day} today, {month} this month; until {until}"), now).await
}

fn stored_number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

async fn store(connection: &mut SqliteConnection, id: ServiceId, counted: &Counted) -> Result<(), StoreError> {
    let Spent { day, month, reserve } = counted.spent;
    sqlx::query(
        "INSERT INTO spent (service, counted, reserve, day_since, day_until, day_bytes, month_since, month_until, month_bytes) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (service) DO UPDATE SET counted = excluded.counted, \
         reserve = excluded.reserve, day_since = excluded.day_since, day_until = excluded.day_until, \
         day_bytes = excluded.day_bytes, month_since = excluded.month_since, month_until = excluded.month_until, \
         month_bytes = excluded.month_bytes",
    )
    .bind(id.0)
    .bind(stored_number(counted.counter))
    .bind(i64::from(reserve))
    .bind(words::time(day.since))
    .bind(words::time(day.until))
    .bind(stored_number(day.bytes))
    .bind(words::time(month.since))
    .bind(words::time(month.until))
    .bind(stored_number(month.bytes))
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Vec<(ServiceId, Counted)>, StoreError> {
    let rows = sqlx::query(
        "SELECT service, counted, reserve, day_since, day_until, day_bytes, month_since, month_until, month_bytes FROM spent",
    );
    rows.fetch_all(connection).await?.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<(ServiceId, Counted), StoreError> {
    let number = |column: &str| Ok::<u64, StoreError>(row.try_get::<i64, _>(column)?.unsigned_abs());
    let window = |since: &str, until: &str, bytes: &str| {
        let (since, until) = (words::read_time(row.try_get(since)?)?, words::read_time(row.try_get(until)?)?);
        Ok::<_, StoreError>(Window { since, until, bytes: number(bytes)? })
    };
    let spent = Spent {
        day: window("day_since", "day_until", "day_bytes")?,
        month: window("month_since", "month_until", "month_bytes")?,
        reserve: u8::try_from(number("reserve")?).unwrap_or(LARGEST_RESERVE).min(LARGEST_RESERVE),
    };
    let id = ServiceId(row.try_get("service")?);
    Ok((id, Counted { counter: number("counted")?, spent, is_stored: true }))
}
