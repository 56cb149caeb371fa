//! Devices after they joined: renamed, revoked, replaced. A device is never deleted: its names belong to it until they
//! are released by hand, and its keys must stay known to stay refused.

use crate::enrol::title;
use crate::invites::InviteRequest;
use crate::snapshot::{Device, KeyState};
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError, services, ssh};
use doorward_core::audit::Deed;
use doorward_core::invite::SECRET_LENGTH;
use doorward_core::names::Label;
use doorward_core::{DeviceId, InviteId, Secret};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::sync::Arc;

/// What to change; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct DeviceEdit {
    pub name: Option<Label>,
    pub title: Option<String>,
}

impl Control {
    /// A renamed device gets the default host names of its new name; those of the old one stay its own and keep
    /// working until they are released. `version`: what the caller saw, if it looked.
    pub async fn edit_device(
        &self,
        id: DeviceId,
        edit: DeviceEdit,
        version: Option<i64>,
        now: Timestamp,
    ) -> Result<Arc<Device>, EditError> {
        self.write(move |work| Box::pin(change(work, id, edit, version, now))).await
    }

    /// Refuses the device's key from now on and ends everything that passes through it. Its names stay reserved.
    pub async fn revoke_device(
        &self,
        id: DeviceId,
        version: Option<i64>,
        now: Timestamp,
    ) -> Result<Arc<Device>, EditError> {
        self.write(move |work| Box::pin(revoke(work, id, version, now))).await
    }

    /// An invite for the machine that takes this device's place (the SD card died, the key was stolen).
    pub async fn replace_device(
        &self,
        id: DeviceId,
        now: Timestamp,
    ) -> Result<(InviteId, Secret<[u8; SECRET_LENGTH]>), EditError> {
        let device = self.snapshot().device(id).ok_or_else(|| unknown(id))?;
        let request = InviteRequest { replaces: Some(id), ..InviteRequest::default() };
        self.create_invite(device.account, request, now).await
    }
}

async fn change(
    work: &mut Work,
    id: DeviceId,
    edit: DeviceEdit,
    version: Option<i64>,
    now: Timestamp,
) -> Result<Arc<Device>, EditError> {
    let device = known(work, id, version)?;
    let name = edit.name.unwrap_or_else(|| device.name.clone());
    let title = edit.title.as_deref().map_or_else(|| device.title.clone(), title);
    if name == device.name && title == device.title {
        return Ok(device);
    }
    if let Some(holder) = work.draft.device_by_name(&name).filter(|holder| holder.id != id) {
        let free = (2..).map(|n| name.numbered(n)).find(|n| work.draft.device_by_name(n).is_none());
        let free = free.map(|n| format!("; \"{n}\" is free")).unwrap_or_default();
        return Err(EditError::Taken(format!("another device has the name \"{}\"{free}", holder.name)));
    }
    sqlx::query("UPDATE devices SET name = $1, title = $2, version = version + 1 WHERE id = $3")
        .bind(name.as_str())
        .bind(&title)
        .bind(id.0)
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.refresh_device(id).await?;
    if name != device.name {
        work.refresh_services_of(id).await?;
        services::give_default_hosts(work, id).await?;
        let detail = format!("was {}", device.name);
        work.write_down(Deed::DeviceRenamed, name.as_str(), &detail, now).await?;
    }
    Ok(work.draft.device(id).expect("it was just put there"))
}

async fn revoke(work: &mut Work, id: DeviceId, version: Option<i64>, now: Timestamp) -> Result<Arc<Device>, EditError> {
    let device = known(work, id, version)?;
    if device.revoked_at.is_some() {
        return Ok(device);
    }
    refuse_from_now_on(work, id, now).await?;
    work.refresh_device(id).await?;
    work.refresh_services_of(id).await?;
    work.write_down(Deed::DeviceRevoked, device.name.as_str(), "", now).await?;
    Ok(work.draft.device(id).expect("it was just put there"))
}

async fn refuse_from_now_on(work: &mut Work, id: DeviceId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE devices SET revoked_at = $1, version = version + 1 WHERE id = $2")
        .bind(words::time(now))
        .bind(id.0)
        .execute(work.connection())
        .await?;
    sqlx::query("UPDATE device_keys SET state = 'revoked' WHERE device = $1 AND state = 'active'")
        .bind(id.0)
        .execute(work.connection())
        .await?;
    ssh::put_off(work, id, KeyState::Revoked).await?;
    ssh::passwords::forget_all(work, id).await?;
    // An outstanding invite to replace the device would give it to whoever holds the invite.
    sqlx::query("UPDATE invites SET revoked_at = $1, version = version + 1 WHERE replaces = $2 AND revoked_at IS NULL")
        .bind(words::time(now))
        .bind(id.0)
        .execute(work.connection())
        .await?;
    Ok(())
}

fn known(work: &Work, id: DeviceId, version: Option<i64>) -> Result<Arc<Device>, EditError> {
    let device = work.draft.device(id).ok_or_else(|| unknown(id))?;
    match version {
        Some(seen) if seen != device.version => Err(EditError::Stale { current: device.version }),
        Some(_) | None => Ok(device),
    }
}

fn unknown(id: DeviceId) -> EditError {
    EditError::Unknown(format!("device number {id}"))
}

pub(crate) async fn last_seen(connection: &mut SqliteConnection) -> Result<Vec<(DeviceId, Timestamp)>, StoreError> {
    let rows =
        sqlx::query("SELECT id, last_seen FROM devices WHERE last_seen IS NOT NULL").fetch_all(connection).await?;
    let read = |row: &sqlx::sqlite::SqliteRow| {
        Ok((DeviceId(row.try_get("id")?), words::read_time(row.try_get("last_seen")?)?))
    };
    rows.iter().map(read).collect()
}

/// Not part of the snapshot: nothing is decided by it.
pub(crate) async fn store_last_seen(work: &mut Work, seen: Vec<(DeviceId, Timestamp)>) -> Result<(), StoreError> {
    for (device, at) in seen {
        sqlx::query("UPDATE devices SET last_seen = $1 WHERE id = $2")
            .bind(words::time(at))
            .bind(device.0)
            .execute(work.connection())
            .await?;
    }
    Ok(())
}
