//! The rows that make a name or port a service's own.

use crate::snapshot::{HostEntrance, HostReservation, Origin, PortReservation, Protocol, ServiceRecord};
use crate::store::StoreError;
use crate::work::Work;
use doorward_core::ServiceId;
use doorward_core::names::{HostName, PathPrefix};
use std::sync::Arc;

pub(super) async fn insert_host(
    work: &mut Work,
    id: ServiceId,
    host: &HostName,
    prefix: Option<&PathPrefix>,
    strip: bool,
    entrance: HostEntrance,
    origin: Origin,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO hosts (host, prefix, strip, entrance, origin, is_wanted, service) \
                          VALUES ($1, $2, $3, $4, $5, 1, $6)";
    sqlx::query(INSERT)
        .bind(host.as_str())
        .bind(prefix_text(prefix))
        .bind(i64::from(strip))
        .bind(entrance.word())
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
    entrance: HostEntrance,
) -> Result<(), StoreError> {
    let held = record.hosts.iter().find(|h| h.host == *host && h.prefix.as_ref() == prefix);
    let differs = |h: &&HostReservation| strip.is_some_and(|strip| strip != h.strip) || entrance != h.entrance;
    let Some(held) = held.filter(|h| !h.is_wanted || differs(h)) else { return Ok(()) };
    sqlx::query("UPDATE hosts SET is_wanted = 1, strip = $1, entrance = $2 WHERE host = $3 AND prefix = $4")
        .bind(i64::from(strip.unwrap_or(held.strip)))
        .bind(entrance.word())
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

pub(super) async fn want_session_ports(
    work: &mut Work,
    id: ServiceId,
    (ports, pinholes): (bool, bool),
) -> Result<(), StoreError> {
    let is_so = |record: Arc<ServiceRecord>| (record.wants_session_ports, record.wants_pinholes) == (ports, pinholes);
    if work.draft.service_record(id).is_none_or(is_so) {
        return Ok(());
    }
    sqlx::query("UPDATE services SET session_ports = $1, pinholes = $2, version = version + 1 WHERE id = $3")
        .bind(i64::from(ports))
        .bind(i64::from(pinholes))
        .bind(id.0)
        .execute(work.connection())
        .await?;
    work.refresh_service(id).await
}

pub(crate) fn prefix_text(prefix: Option<&PathPrefix>) -> &str {
    prefix.map_or("", PathPrefix::as_str)
}
