//! Notices on their way to whoever delivers them, and what became of them there. In memory, and bounded: whoever raises
//! one never waits.

use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, LinkState};
use doorward_core::DeviceId;
use doorward_core::notice::{Absences, Notice, NoticeKind, Told};
use doorward_core::schema::Instant;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{broadcast, watch};

/// A notice, as it was raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Never given twice, also over restarts: whoever gets one twice knows it by this.
    pub id: String,
    pub at: Timestamp,
    pub notice: Notice,
}

/// How one destination fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AlertDestination {
    /// webhook, ntfy or mail.
    pub kind: String,
    pub sent: u64,
    /// Given up after the last attempt, or refused by the other side.
    pub failed: u64,
    /// Too many were waiting: the oldest gave way.
    pub dropped: u64,
    pub waiting: usize,
    #[schemars(with = "Option<Instant>")]
    pub sent_at: Option<Timestamp>,
    /// Of the last attempt, if it failed.
    pub trouble: Option<String>,
    /// The last test, and what came of it.
    pub tested: Option<Tested>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Tested {
    pub id: String,
    pub trouble: Option<String>,
}

pub(crate) struct Alerts {
    raised: broadcast::Sender<Arc<Alert>>,
    last: AtomicU64,
    /// What was told lately, and when.
    told: Mutex<HashMap<(NoticeKind, String), Timestamp>>,
    absences: Mutex<Absences>,
    grace: Mutex<SignedDuration>,
    board: watch::Sender<BTreeMap<String, AlertDestination>>,
}

/// Whoever delivers and falls so far behind has missed some.
const BACKLOG: usize = 256;
const MAX_TOLD: usize = 1000;
pub const USUAL_GRACE: SignedDuration = SignedDuration::from_mins(2);

impl Default for Alerts {
    fn default() -> Self {
        Self {
            raised: broadcast::Sender::new(BACKLOG),
            last: AtomicU64::new(0),
            told: Mutex::default(),
            absences: Mutex::default(),
            grace: Mutex::new(USUAL_GRACE),
            board: watch::Sender::default(),
        }
    }
}

pub(crate) fn raise(alerts: &Alerts, notice: Notice, now: Timestamp) -> Option<String> {
    if !alerts.is_news(&notice, now) {
        return None;
    }
    let number = alerts.last.fetch_add(1, Ordering::Relaxed);
    let id = format!("{}-{number}", now.as_millisecond());
    metrics::counter!("doorward_alerts_raised_total", "kind" => notice.kind().word()).increment(1);
    // Nobody listening is fine.
    let _ = alerts.raised.send(Arc::new(Alert { id: id.clone(), at: now, notice }));
    Some(id)
}

impl Control {
    /// Has somebody told. Never waits, and never fails: without a destination nobody hears it. Returns its id, or `None`
    /// where the same was told just now.
    pub fn alert(&self, notice: Notice, now: Timestamp) -> Option<String> {
        raise(&self.0.alerts, notice, now)
    }

    /// All that is raised from now on.
    pub fn alerts(&self) -> broadcast::Receiver<Arc<Alert>> {
        self.0.alerts.raised.subscribe()
    }

    /// How the destinations fare, by name.
    pub fn alert_destinations(&self) -> watch::Receiver<BTreeMap<String, AlertDestination>> {
        self.0.alerts.board.subscribe()
    }

    /// For those who deliver. `None`: there is no such destination any more.
    pub fn alert_destination(&self, name: &str, change: Option<&dyn Fn(&mut AlertDestination)>) {
        self.0.alerts.board.send_modify(|board| match change {
            Some(change) => change(board.entry(name.to_owned()).or_default()),
            None => drop(board.remove(name)),
        });
    }

    /// How long a device must be away before it is told.
    pub fn tell_absence_after(&self, grace: SignedDuration) {
        *lock(&self.0.alerts.grace) = grace;
    }

    /// Looks who went and who came back. What was told is remembered over restarts.
    pub(crate) async fn tell_absences(&self, now: Timestamp) -> Result<(), StoreError> {
        let snapshot = self.snapshot();
        let standing = snapshot.devices().filter(|device| device.revoked_at.is_none());
        let seen = standing.filter_map(|device| match self.presence().device(device.id).link {
            LinkState::Online { .. } => Some((device.id, true)),
            LinkState::Offline { since: Some(_) } => Some((device.id, false)),
            // It has not come yet.
            LinkState::Offline { since: None } => None,
        });
        let grace = *lock(&self.0.alerts.grace);
        let told = lock(&self.0.alerts.absences).look(seen, grace, now);
        if told.is_empty() {
            return Ok(());
        }
        for (device, what) in &told {
            let Some(device) = snapshot.device(*device) else { continue };
            let device = device.name.to_string();
            self.alert(
                match *what {
                    Told::Gone { since } => Notice::DeviceOffline { device, since },
                    Told::Back { away_since } => Notice::DeviceOnline { device, away_since },
                },
                now,
            );
        }
        self.write(|work| Box::pin(store_told(work, told))).await
    }

    pub(crate) fn remember_absences(&self, told: Vec<(DeviceId, Timestamp)>) {
        *lock(&self.0.alerts.absences) = Absences::remember(told);
    }
}

impl Alerts {
    fn is_news(&self, notice: &Notice, now: Timestamp) -> bool {
        let enough = notice.is_enough_for();
        if enough.is_zero() {
            return true;
        }
        let mut told = lock(&self.told);
        let key = (notice.kind(), notice.subject().to_owned());
        if told.get(&key).is_some_and(|at| now.duration_since(*at).abs() < enough) {
            return false;
        }
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        told.insert(key, now);
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

pub(crate) async fn told_offline(connection: &mut SqliteConnection) -> Result<Vec<(DeviceId, Timestamp)>, StoreError> {
    let rows = sqlx::query("SELECT device, since FROM told_offline").fetch_all(connection).await?;
    rows.iter().map(|row| Ok((DeviceId(row.try_get("device")?), words::read_time(row.try_get("since")?)?))).collect()
}

async fn store_told(work: &mut Work, told: Vec<(DeviceId, Told)>) -> Result<(), StoreError> {
    for (device, what) in told {
        sqlx::query("DELETE FROM told_offline WHERE device = $1").bind(device.0).execute(work.connection()).await?;
        match what {
            Told::Back { .. } => {}
            Told::Gone { since } => {
                let insert = sqlx::query("INSERT INTO told_offline (device, since) VALUES ($1, $2)");
                insert.bind(device.0).bind(words::time(since)).execute(work.connection()).await?;
            }
        }
    }
    Ok(())
}
