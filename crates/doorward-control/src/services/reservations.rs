//! The rows that make a name or port a service's own.

use crate::snapshot::{HostReservation, Origin, PortReservation, Protocol, ServiceRecord};
use crate::store::StoreError;
use crate::work::Work;
use doorward_core::ServiceId;
use doorward_core::names::{HostName, PathPrefix};

pub(super) async fn insert_host(
    work: &mut Work,
    id: ServiceId,
    host: &HostName,
    prefix: Option<&PathPrefix>,
    strip: bool,
    origin: Origin,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO hosts (host, prefix, strip, origin, is_wanted, service) VALUES ($1, $2, $3, $4, 1, $5)")
        .bind(host.as_str())
        .bind(prefix_text(prefix))
        .bind(i64::from(strip))
        .bind(origin.word())
        .bind(id.0)
        .execute(work.connection())
        .await?;
    work.refresh_service(id).await
}

/// An own name is wished for (again). `strip`: `None` leaves it.
pub(super) async fn want_host(
    work: &mut Work,
    record: &ServiceRecord,
    host: &HostName,
    prefix: Option<&PathPrefix>,
    strip: Option<bool>,
) -> Result<(), StoreError> {
    let held = record.hosts.iter().find(|h| h.host == *host && h.prefix.as_ref() == prefix);
    let Some(held) = held.filter(|h| !h.is_wanted || strip.is_some_and(|strip| strip != h.strip)) else {
        return Ok(());
    };
    sqlx::query("UPDATE hosts SET is_wanted = 1, strip = $1 WHERE host = $2 AND prefix = $3")
        .bind(i64::from(strip.unwrap_or(held.strip)))
        .bind(host.as_str())
        .bind(prefix_text(prefix))
        .execute(work.connection())
        .await?;
    work.refresh_service(record.service.id).await
}

pub(super) async fn insert_port(
    work: &mut Work,
    id: ServiceId,
    protocol: Protocol,
    port: u16,
    origin: Origin,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO ports (protocol, port, origin, is_wanted, service) VALUES ($1, $2, $3, 1, $4)")
        .bind(protocol.word())
        .bind(i64::from(port))
        .bind(origin.word())
        .bind(id.0)
        .execute(work.connection())
        .await?;
    work.refresh_service(id).await
}

pub(super) async fn want_port(work: &mut Work, id: ServiceId, held: &PortReservation) -> Result<(), StoreError> {
    if held.is_wanted {
        return Ok(());
    }
    sqlx::query("UPDATE ports SET is_wanted = 1 WHERE protocol = $1 AND port = $2")
        .bind(held.protocol.word())
        .bind(i64::from(held.port))
        .execute(work.connection())
        .await?;
    work.refresh_service(id).await
}

pub(super) async fn rest_host(work: &mut Work, id: ServiceId, held: &HostReservation) -> Result<(), StoreError> {
    sqlx::query("UPDATE hosts SET is_wanted = 0 WHERE host = $1 AND prefix = $2")
        .bind(held.host.as_str())
        .bind(prefix_text(held.prefix.as_ref()))
        .execute(work.connection())
        .await?;
    work.refresh_service(id).await
}

pub(super) async fn rest_port(work: &mut Work, id: ServiceId, held: &PortReservation) -> Result<(), StoreError> {
    sqlx::query("UPDATE ports SET is_wanted = 0 WHERE protocol = $1 AND port = $2")
        .bind(held.protocol.word())
        .bind(i64::from(held.port))
        .execute(work.connection())
        .await?;
    work.refresh_service(id).await
}

pub(crate) fn prefix_text(prefix: Option<&PathPrefix>) -> &str {
    prefix.map_or("", PathPrefix::as_str)
}
