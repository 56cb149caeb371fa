//! Services wished for at the portal. What is wished rests in the store and is told to the device's agent again and again;
//! what the agent says to it is observed, as presence is: in memory, shown to people, part of no decision.

mod desk;

pub(crate) use desk::Desk;
pub use desk::{Finding, Refusal, Scan, ScanState, Told, Wanted};

use crate::presence::LinkId;
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError};
use doorward_core::addition::{Addition, MAX_ADDITIONS};
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::service::Standing;
use doorward_core::{DeviceId, InviteId};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tokio::sync::watch;

impl Control {
    /// Wishes for a service on a device. Its agent alone says whether it may be.
    pub async fn add_service(&self, device: DeviceId, wish: Addition, now: Timestamp) -> Result<(), EditError> {
        wish.check().map_err(|error| EditError::Invalid(error.to_string()))?;
        self.write(move |work| Box::pin(add(work, device, wish, now))).await
    }

    /// Takes a wish back. What rests on the service is cut, whether its device is there or not.
    pub async fn remove_addition(&self, device: DeviceId, name: Label, now: Timestamp) -> Result<(), EditError> {
        let is_refused = self.told_of_additions(device).is_some_and(|told| told.refusals.contains_key(&name));
        self.write(move |work| Box::pin(remove(work, device, name, is_refused, now))).await
    }

    /// Has the device look for what it could offer, if it does that for a portal.
    pub async fn ask_for_scan(&self, device: DeviceId, now: Timestamp) -> Result<(), EditError> {
        let Some(told) = self.told_of_additions(device) else {
            return Err(EditError::Invalid("the device is offline, or its Doorward is too old to look around".into()));
        };
        if !told.may_scan {
            let why = "the device does not look around for a portal; write this into its agent.toml: \
                       [portal] may-scan = true";
            return Err(EditError::Invalid(why.into()));
        }
        let name = self.snapshot().device(device).ok_or_else(|| unknown(device))?.name.to_string();
        self.record(Deed::DeviceScanned, name, String::new(), None, now).await?;
        self.0.additions.ask_for_scan(device, now);
        Ok(())
    }

    /// What the device's agent shall know.
    pub fn wanted(&self, device: DeviceId) -> Wanted {
        Wanted { services: self.snapshot().additions(device).to_vec(), scan: self.0.additions.scan_wished(device) }
    }

    /// Rings when that changes.
    pub fn watch_wanted(&self, device: DeviceId) -> watch::Receiver<u64> {
        self.0.additions.watch(device)
    }

    /// What the agent of this link says of its own settings and of what was wished.
    pub fn hear_of_additions(&self, device: DeviceId, link: LinkId, told: Told) {
        self.0.additions.hear(device, link, told);
    }

    pub fn hear_of_scan(&self, device: DeviceId, number: u64, state: ScanState) {
        self.0.additions.hear_of_scan(device, number, state);
    }

    /// The link ended: nobody knows any more what its agent would say.
    pub fn forget_additions(&self, device: DeviceId, link: LinkId) {
        self.0.additions.forget(device, link);
    }

    /// `None`: its agent is not there, or knows nothing of wishes.
    pub fn told_of_additions(&self, device: DeviceId) -> Option<Told> {
        self.0.additions.told(device)
    }

    pub fn scan_of(&self, device: DeviceId) -> Option<Scan> {
        self.0.additions.scan(device)
    }

    /// The devices that an invite brought in, the newest first.
    pub async fn devices_by_invite(&self, invite: InviteId) -> Result<Vec<DeviceId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM devices WHERE joined_by = $1 ORDER BY id DESC LIMIT 100");
        let rows = rows.bind(invite.0).fetch_all(self.0.store.readers()).await?;
        rows.iter().map(|row| Ok(DeviceId(row.try_get("id")?))).collect()
    }
}

async fn add(work: &mut Work, device: DeviceId, wish: Addition, now: Timestamp) -> Result<(), EditError> {
    let held = work.draft.device(device).filter(|held| held.revoked_at.is_none()).ok_or_else(|| unknown(device))?;
    let others = work.draft.additions(device);
    if others.iter().any(|other| other.name == wish.name) {
        return Err(EditError::Taken(format!("{}/{} is wished for already", held.name, wish.name)));
    }
    let is_offered = |standing| standing == Standing::Offered;
    if work.draft.record_of(device, &wish.name).is_some_and(|record| is_offered(record.service.standing)) {
        return Err(EditError::Taken(format!("{} has a service \"{}\" in its own settings", held.name, wish.name)));
    }
    if others.len() >= MAX_ADDITIONS {
        let why = format!("a device takes {MAX_ADDITIONS} services from the portal; write more into its agent.toml");
        return Err(EditError::Invalid(why));
    }
    sqlx::query("INSERT INTO additions (device, name, wish, made_at) VALUES ($1, $2, $3, $4)")
        .bind(device.0)
        .bind(wish.name.as_str())
        .bind(serde_json::to_string(&wish).expect("text can be written as JSON"))
        .bind(words::time(now))
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.refresh_additions(device).await?;
    let subject = format!("{}/{}", held.name, wish.name);
    work.write_down(Deed::AdditionMade, &subject, &wish.target, now).await?;
    Ok(())
}

async fn remove(
    work: &mut Work,
    device: DeviceId,
    name: Label,
    is_refused: bool,
    now: Timestamp,
) -> Result<(), EditError> {
    let held = work.draft.device(device).ok_or_else(|| unknown(device))?;
    let subject = format!("{}/{name}", held.name);
    let gone = sqlx::query("DELETE FROM additions WHERE device = $1 AND name = $2");
    let gone = gone.bind(device.0).bind(name.as_str()).execute(work.connection()).await.map_err(StoreError::from)?;
    if gone.rows_affected() == 0 {
        return Err(EditError::Unknown(format!("wish for a service \"{subject}\"")));
    }
    work.refresh_additions(device).await?;
    // What the device refused may be its own service of that name, which stays.
    let record = work.draft.record_of(device, &name).filter(|_| !is_refused);
    if let Some(record) = record.filter(|record| record.service.standing == Standing::Offered) {
        crate::services::withdraw(work, record.service.id).await?;
    }
    work.write_down(Deed::AdditionRemoved, &subject, "", now).await?;
    Ok(())
}

fn unknown(device: DeviceId) -> EditError {
    EditError::Unknown(format!("device {device}"))
}

/// Of one device, by name.
pub(crate) async fn load_one(connection: &mut SqliteConnection, device: DeviceId) -> Result<Vec<Addition>, StoreError> {
    let rows = sqlx::query("SELECT device, wish FROM additions WHERE device = $1 ORDER BY name").bind(device.0);
    let rows = rows.fetch_all(connection).await?;
    rows.iter().map(|row| read(row).map(|(_, wish)| wish)).collect()
}

/// Of all, by device and name.
pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Vec<(DeviceId, Addition)>, StoreError> {
    let rows = sqlx::query("SELECT device, wish FROM additions ORDER BY device, name").fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<(DeviceId, Addition), StoreError> {
    let text: &str = row.try_get("wish")?;
    let wish = serde_json::from_str(text).map_err(|_| words::strange("a wish for a service", text))?;
    Ok((DeviceId(row.try_get("device")?), wish))
}
