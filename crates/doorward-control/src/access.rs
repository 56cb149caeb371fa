//! What an owner decides on the gateway: who may use a service, and which reservations are given up.

use crate::services::{prefix_text, why_not_share};
use crate::snapshot::{Protocol, ServiceRecord};
use crate::store::StoreError;
use crate::work::Work;
use crate::{Control, EditError};
use doorward_core::access::PolicyDocument;
use doorward_core::audit::Deed;
use doorward_core::names::{HostName, Label, PathPrefix};
use doorward_core::service::Standing;
use doorward_core::{DeviceId, ServiceId};
use jiff::Timestamp;
use std::sync::Arc;

/// Something that belongs to a service until it is released by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    Host {
        host: HostName,
        prefix: Option<PathPrefix>,
    },
    Port {
        protocol: Protocol,
        port: u16,
    },
    /// A withdrawn service with all its names and ports.
    Service {
        device: DeviceId,
        service: Label,
    },
}

impl Control {
    /// From now on the policy's home is the store: what the device declares is kept, but does not count. `None` gives
    /// it back to the device. `version`: what the caller saw, if it looked. Of passwords, what is shown as kept is kept.
    pub async fn set_access(
        &self,
        device: DeviceId,
        service: &Label,
        access: Option<PolicyDocument>,
        version: Option<i64>,
        now: Timestamp,
    ) -> Result<Arc<ServiceRecord>, EditError> {
        let service = service.clone();
        self.write(move |work| Box::pin(set_access(work, device, service, access, version, now))).await
    }

    /// Gives a name or port up, for whoever asks first. Its service gets a default name anew when it registers.
    pub async fn release(&self, reservation: Reservation, now: Timestamp) -> Result<(), EditError> {
        self.write(move |work| Box::pin(release(work, reservation, now))).await
    }
}

async fn set_access(
    work: &mut Work,
    device: DeviceId,
    service: Label,
    access: Option<PolicyDocument>,
    version: Option<i64>,
    now: Timestamp,
) -> Result<Arc<ServiceRecord>, EditError> {
    let record = work.draft.record_of(device, &service).ok_or_else(|| unknown_service(&service))?;
    if version.is_some_and(|seen| seen != record.version) {
        return Err(EditError::Stale { current: record.version });
    }
    let access = access.map(|access| access.with_kept_hashes(&record.access));
    if let Some(access) = &access {
        access.to_policy_for(record.service.kind).map_err(|e| EditError::Invalid(e.to_string()))?;
    }
    let text = access.as_ref().map(|a| serde_json::to_string(a).expect("a policy document can be written as JSON"));
    sqlx::query("UPDATE services SET owner_access = $1, version = version + 1 WHERE id = $2")
        .bind(text)
        .bind(record.service.id.0)
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.refresh_service(record.service.id).await?;
    let changed = work.draft.service_record(record.service.id).expect("it was just put there");
    let routed = changed.hosts.iter().filter(|h| changed.routes_host(h));
    if let Some(why) = routed.into_iter().find_map(|h| why_not_share(&work.draft, &changed, &h.host)) {
        return Err(EditError::Invalid(why));
    }
    let detail = match &access {
        Some(access) => format!("who: {:?}", access.who).to_lowercase(),
        None => "as the device declares".to_owned(),
    };
    work.write_down(Deed::AccessChanged, &changed.service.path(), &detail, now).await?;
    Ok(changed)
}

async fn release(work: &mut Work, reservation: Reservation, now: Timestamp) -> Result<(), EditError> {
    let (subject, service) = match &reservation {
        Reservation::Host { host, prefix } => {
            let subject = format!("{host}{}", prefix_text(prefix.as_ref()));
            (subject, work.draft.host_holder(host, prefix.as_ref()))
        }
        Reservation::Port { protocol, port } => {
            (format!("{} port {port}", protocol.word()), work.draft.port_holder(*protocol, *port))
        }
        Reservation::Service { device, service } => {
            let record = work.draft.record_of(*device, service).ok_or_else(|| unknown_service(service))?;
            if record.service.standing == Standing::Offered {
                let path = record.service.path();
                return Err(EditError::Invalid(format!(
                    "{path} is offered now: take it out of the device's list first"
                )));
            }
            (record.service.path(), Some(record.service.id))
        }
    };
    let service = service.ok_or_else(|| EditError::Unknown(format!("reservation of {subject}")))?;
    let holder = work.draft.service(service).map(|s| s.path()).unwrap_or_default();
    delete(work, &reservation, service).await?;
    work.refresh_service(service).await?;
    work.write_down(Deed::ServiceReleased, &subject, &format!("was {holder}'s"), now).await?;
    Ok(())
}

async fn delete(work: &mut Work, reservation: &Reservation, service: ServiceId) -> Result<(), StoreError> {
    match reservation {
        Reservation::Host { host, prefix } => {
            sqlx::query("DELETE FROM hosts WHERE host = $1 AND prefix = $2")
                .bind(host.as_str())
                .bind(prefix_text(prefix.as_ref()))
                .execute(work.connection())
                .await?;
        }
        Reservation::Port { protocol, port } => {
            sqlx::query("DELETE FROM ports WHERE protocol = $1 AND port = $2")
                .bind(protocol.word())
                .bind(i64::from(*port))
                .execute(work.connection())
                .await?;
        }
        Reservation::Service { .. } => {
            for statement in [
                "DELETE FROM hosts WHERE service = $1",
                "DELETE FROM ports WHERE service = $1",
                "DELETE FROM services WHERE id = $1",
            ] {
                sqlx::query(statement).bind(service.0).execute(work.connection()).await?;
            }
        }
    }
    Ok(())
}

fn unknown_service(name: &Label) -> EditError {
    EditError::Unknown(format!("service \"{name}\" on this device"))
}
