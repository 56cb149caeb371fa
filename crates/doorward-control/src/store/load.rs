//! Rows → records: the one way from the store into a snapshot, at the start and after each change.

use super::{StoreError, words};
use crate::settings::SiteSettings;
use crate::snapshot::{
    AccessHome, Device, DeviceRecord, HostEntrance, HostReservation, KeyState, Origin, PortReservation, ServiceRecord,
    Snapshot,
};
use crate::{accounts, additions, groups, logins, people, sessions, shares, site, spending, ssh};
use doorward_core::access::PolicyDocument;
use doorward_core::names::PathPrefix;
use doorward_core::prepare::PrepareOffer;
use doorward_core::service::{Service, Standing};
use doorward_core::web::WebOffer;
use doorward_core::{AccountId, DeviceId, ServiceId};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::collections::HashMap;
use std::sync::Arc;

const DEVICES: &str = "SELECT id, account, name, title, joined_at, revoked_at, version FROM devices";
const KEYS: &str = "SELECT key, device, state FROM device_keys";
const HOSTS: &str = "SELECT host, prefix, strip, origin, entrance, is_wanted, service FROM hosts ORDER BY host, prefix";
const HOSTS_OF: &str = "SELECT host, prefix, strip, origin, entrance, is_wanted, service FROM hosts WHERE service = $1 ORDER BY host, prefix";
const PORTS: &str = "SELECT protocol, port, origin, is_wanted, service FROM ports ORDER BY protocol, port";
const PORTS_OF: &str =
    "SELECT protocol, port, origin, is_wanted, service FROM ports WHERE service = $1 ORDER BY protocol, port";

macro_rules! services {
    ($condition:literal) => {
        concat!(
            "SELECT s.id, s.device, s.account, d.name AS device_name, d.revoked_at, s.name, s.title, s.kind, \
             s.virtual_port, s.is_main, s.standing, s.offered_access, s.owner_access, s.offered_web, s.offered_prepare, s.session_ports, s.pinholes, \
             s.version \
             FROM services s JOIN devices d ON d.id = s.device",
            $condition
        )
    };
}

pub(crate) async fn everything(site: SiteSettings, connection: &mut SqliteConnection) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot::new(site, site::load(connection).await?);
    for (account, grants) in accounts::load(connection).await? {
        snapshot.put_grants(account, grants);
    }
    let mut keys = grouped(sqlx::query(KEYS).fetch_all(&mut *connection).await?, "device")?;
    for row in sqlx::query(DEVICES).fetch_all(&mut *connection).await? {
        let keys = keys.remove(&row.try_get("id")?).unwrap_or_default();
        snapshot.put_device(read_device(&row, &keys)?);
    }
    snapshot.put_ssh_keys(ssh::load(connection).await?);
    snapshot.put_ssh_certificates(ssh::certificates::load(connection).await?);
    snapshot.put_ssh_passwords(ssh::passwords::load(connection).await?);
    people::load(connection).await?.into_iter().for_each(|person| snapshot.put_person(person));
    groups::load(connection).await?.into_iter().for_each(|group| snapshot.put_group(group));
    for (session, approach) in sessions::load(connection).await? {
        snapshot.put_session(session, approach);
    }
    for (service, counted) in spending::load(connection).await? {
        snapshot.put_spent(service, counted.spent);
    }
    logins::load(connection).await?.into_iter().for_each(|record| snapshot.put_login(record));
    shares::load(connection).await?.into_iter().for_each(|record| snapshot.put_share(record));
    let mut hosts = grouped(sqlx::query(HOSTS).fetch_all(&mut *connection).await?, "service")?;
    let mut ports = grouped(sqlx::query(PORTS).fetch_all(&mut *connection).await?, "service")?;
    for row in sqlx::query(services!(" ORDER BY s.id")).fetch_all(&mut *connection).await? {
        let id: i64 = row.try_get("id")?;
        let (hosts, ports) = (hosts.remove(&id).unwrap_or_default(), ports.remove(&id).unwrap_or_default());
        snapshot.put_service(read_service(&row, &hosts, &ports)?);
    }
    for (device, wish) in additions::load(connection).await? {
        let mut wishes = snapshot.additions(device).to_vec();
        wishes.push(wish);
        snapshot.put_additions(device, wishes);
    }
    Ok(snapshot)
}

pub(crate) async fn device(connection: &mut SqliteConnection, id: DeviceId) -> Result<DeviceRecord, StoreError> {
    const DEVICE: &str = "SELECT id, account, name, title, joined_at, revoked_at, version FROM devices WHERE id = $1";
    const KEYS_OF: &str = "SELECT key, device, state FROM device_keys WHERE device = $1";
    let row = sqlx::query(DEVICE).bind(id.0).fetch_one(&mut *connection).await?;
    let keys = sqlx::query(KEYS_OF).bind(id.0).fetch_all(connection).await?;
    read_device(&row, &keys)
}

/// `None` if it is gone.
pub(crate) async fn service(
    connection: &mut SqliteConnection,
    id: ServiceId,
) -> Result<Option<ServiceRecord>, StoreError> {
    let row = sqlx::query(services!(" WHERE s.id = $1")).bind(id.0).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(None) };
    let hosts = sqlx::query(HOSTS_OF).bind(id.0).fetch_all(&mut *connection).await?;
    let ports = sqlx::query(PORTS_OF).bind(id.0).fetch_all(connection).await?;
    read_service(&row, &hosts, &ports).map(Some)
}

fn grouped(rows: Vec<SqliteRow>, column: &str) -> Result<HashMap<i64, Vec<SqliteRow>>, StoreError> {
    let mut groups: HashMap<i64, Vec<SqliteRow>> = HashMap::new();
    for row in rows {
        groups.entry(row.try_get(column)?).or_default().push(row);
    }
    Ok(groups)
}

fn read_device(row: &SqliteRow, keys: &[SqliteRow]) -> Result<DeviceRecord, StoreError> {
    let device = Device {
        id: DeviceId(row.try_get("id")?),
        account: AccountId(row.try_get("account")?),
        name: words::read_label(row.try_get("name")?)?,
        title: row.try_get("title")?,
        joined_at: words::read_time(row.try_get("joined_at")?)?,
        revoked_at: words::read_optional_time(row.try_get("revoked_at")?)?,
        version: row.try_get("version")?,
    };
    let read_key = |row: &SqliteRow| {
        let state = KeyState::read(row.try_get("state")?)?;
        Ok((words::read_hex_32(row.try_get("key")?)?, state))
    };
    let keys = keys.iter().map(read_key).collect::<Result<_, StoreError>>()?;
    Ok(DeviceRecord { device: Arc::new(device), keys })
}

/// How many services were read so far, in this thread: what a change costs, for the tests.
#[cfg(test)]
pub(crate) fn services_read() -> usize {
    SERVICES_READ.get()
}

#[cfg(test)]
thread_local!(static SERVICES_READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });

fn read_service(row: &SqliteRow, hosts: &[SqliteRow], ports: &[SqliteRow]) -> Result<ServiceRecord, StoreError> {
    #[cfg(test)]
    SERVICES_READ.set(SERVICES_READ.get() + 1);
    let name = words::read_label(row.try_get("name")?)?;
    let device_name = words::read_label(row.try_get("device_name")?)?;
    let path = format!("{device_name}/{name}");
    let offered_access = read_access(&path, row.try_get("offered_access")?)?;
    let owner_access =
        row.try_get::<Option<&str>, _>("owner_access")?.map(|text| read_access(&path, text)).transpose()?;
    let (access, access_home) = match owner_access {
        Some(access) => (access, AccessHome::Store),
        None => (offered_access.clone(), AccessHome::Device),
    };
    // A policy that cannot be read refuses service as a whole rather than admit or lose somebody silently.
    let policy =
        access.to_policy().map_err(|e| StoreError::Strange(format!("a policy of {path} that is not one: {e}")))?;
    let service = Service {
        id: ServiceId(row.try_get("id")?),
        device: DeviceId(row.try_get("device")?),
        account: AccountId(row.try_get("account")?),
        device_name,
        name,
        title: row.try_get("title")?,
        kind: words::read_kind(row.try_get("kind")?)?,
        standing: read_standing(row)?,
        policy: Arc::new(policy),
        web: Arc::new(read_web(&path, row.try_get("offered_web")?)?),
        prepare: row
            .try_get::<Option<&str>, _>("offered_prepare")?
            .map(|text| read_prepare(&path, text))
            .transpose()?,
    };
    Ok(ServiceRecord {
        service: Arc::new(service),
        virtual_port: row.try_get::<Option<i64>, _>("virtual_port")?.map(words::read_port).transpose()?,
        is_main: row.try_get::<i64, _>("is_main")? != 0,
        access,
        access_home,
        offered_access,
        hosts: hosts.iter().map(read_host).collect::<Result<_, _>>()?,
        ports: ports.iter().map(read_port).collect::<Result<_, _>>()?,
        wants_session_ports: row.try_get::<i64, _>("session_ports")? != 0,
        wants_pinholes: row.try_get::<i64, _>("pinholes")? != 0,
        version: row.try_get("version")?,
    })
}

fn read_standing(row: &SqliteRow) -> Result<Standing, StoreError> {
    let is_revoked = row.try_get::<Option<i64>, _>("revoked_at")?.is_some();
    match row.try_get("standing")? {
        _ if is_revoked => Ok(Standing::DeviceRevoked),
        "offered" => Ok(Standing::Offered),
        "withdrawn" => Ok(Standing::Withdrawn),
        other => Err(words::strange("the standing of a service", other)),
    }
}

fn read_access(path: &str, text: &str) -> Result<PolicyDocument, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Strange(format!("a policy of {path} that is not one: {e}")))
}

fn read_web(path: &str, text: &str) -> Result<WebOffer, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Strange(format!("what {path} wants done with requests: {e}")))
}

fn read_prepare(path: &str, text: &str) -> Result<PrepareOffer, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Strange(format!("how {path} is made ready: {e}")))
}

fn read_host(row: &SqliteRow) -> Result<HostReservation, StoreError> {
    let prefix = match row.try_get("prefix")? {
        "" => None,
        text => Some(PathPrefix::parse(text).map_err(|_| words::strange("a path prefix", text))?),
    };
    Ok(HostReservation {
        host: words::read_host(row.try_get("host")?)?,
        prefix,
        strip: row.try_get::<i64, _>("strip")? != 0,
        entrance: match row.try_get("entrance")? {
            "web" => HostEntrance::Web,
            "tls" => HostEntrance::Tls,
            other => return Err(words::strange("an entrance", other)),
        },
        origin: read_origin(row)?,
        is_wanted: row.try_get::<i64, _>("is_wanted")? != 0,
        // What is granted is not in the row: the snapshot knows.
        is_granted: false,
    })
}

fn read_port(row: &SqliteRow) -> Result<PortReservation, StoreError> {
    Ok(PortReservation {
        protocol: words::read_protocol(row.try_get("protocol")?)?,
        port: words::read_port(row.try_get("port")?)?,
        origin: read_origin(row)?,
        is_wanted: row.try_get::<i64, _>("is_wanted")? != 0,
        // What is granted is not in the row: the snapshot knows.
        is_granted: false,
    })
}

fn read_origin(row: &SqliteRow) -> Result<Origin, StoreError> {
    match row.try_get("origin")? {
        "given" => Ok(Origin::Given),
        "wished" => Ok(Origin::Wished),
        other => Err(words::strange("an origin", other)),
    }
}
