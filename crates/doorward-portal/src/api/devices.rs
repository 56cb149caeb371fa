use super::invites::{NewInvite, hand_over};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Body, Problem, Seen, Versioned};
use crate::asker::Asker;
use crate::describe::Created;
use crate::figures::Figures;
use crate::paging::{Listed, Paging};
use doorward_control::{Device, DeviceEdit, LinkState};
use doorward_core::names::Label;
use doorward_core::schema::Instant;
use doorward_core::site::Carrier;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DeviceBody {
    name: Label,
    title: String,
    #[schemars(with = "Instant")]
    joined_at: Timestamp,
    #[schemars(with = "Option<Instant>")]
    revoked_at: Option<Timestamp>,
    #[serde(flatten)]
    link: LinkBody,
    agent_version: Option<String>,
    services: Vec<Label>,
    /// Visits to its services that are under way.
    visits: u32,
    /// To and from visitors of its services, both ways, since midnight (UTC).
    bytes_today: u64,
    bytes_this_month: u64,
    version: i64,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "link")]
enum LinkBody {
    Online {
        #[schemars(with = "Instant")]
        since: Timestamp,
        carrier: Carrier,
        source: IpAddr,
        rtt_ms: Option<f64>,
        streams: u32,
        bytes_in: u64,
        bytes_out: u64,
    },
    /// `null`: never seen.
    Offline {
        #[schemars(with = "Option<Instant>")]
        since: Option<Timestamp>,
    },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EditBody {
    name: Option<String>,
    title: Option<String>,
}

pub(crate) async fn list(Acting(state): Acting, asker: Asker, paging: Paging) -> Result<Listed<DeviceBody>, Problem> {
    let (snapshot, after) = (state.control.snapshot(), paging.after::<String>()?);
    let whose = (!asker.sees_everything()).then_some(asker.account);
    let devices = snapshot.devices_after(whose, after.as_deref()).filter(|device| asker.gets_at_device(device));
    let devices = devices.take(paging.most()?).collect();
    let listed = paging.piece(devices, |device: &Arc<Device>| device.name.to_string())?;
    Ok(listed.map(|device| body(&state, &device)))
}

pub(crate) async fn edit(
    Acting(state): Acting,
    asker: Asker,
    At(name): At<String>,
    Seen(version): Seen,
    Body(edit): Body<EditBody>,
) -> Result<Versioned<DeviceBody>, Problem> {
    let id = asker.device(&state.control.snapshot(), &name)?.id;
    let name = edit.name.map(|name| Label::parse(&name)).transpose().map_err(|e| Problem::invalid(e.to_string()))?;
    let edit = DeviceEdit { name, title: edit.title };
    let device = state.control.edit_device(id, edit, version, (state.clock)()).await?;
    Ok(Versioned(device.version, body(&state, &device)))
}

pub(crate) async fn revoke(
    Acting(state): Acting,
    asker: Asker,
    At(name): At<String>,
    Seen(version): Seen,
) -> Result<Versioned<DeviceBody>, Problem> {
    let id = asker.device(&state.control.snapshot(), &name)?.id;
    let device = state.control.revoke_device(id, version, (state.clock)()).await?;
    Ok(Versioned(device.version, body(&state, &device)))
}

pub(crate) async fn replace(
    Acting(state): Acting,
    asker: Asker,
    At(name): At<String>,
) -> Result<Created<NewInvite>, Problem> {
    let id = asker.device(&state.control.snapshot(), &name)?.id;
    hand_over(&state, async || state.control.replace_device(id, (state.clock)()).await).await
}

/// Every device, by name.
pub(crate) fn in_order(state: &PortalState) -> Vec<Arc<Device>> {
    let mut devices: Vec<_> = state.control.snapshot().devices().cloned().collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices
}

fn body(state: &PortalState, device: &Device) -> DeviceBody {
    let (presence, figures) = (state.control.presence().device(device.id), Figures::of_device(state, device.id));
    let services = state.control.snapshot().services_of(device.id).map(|r| r.service.name.clone()).collect();
    let link = match presence.link {
        LinkState::Offline { since } => LinkBody::Offline { since },
        LinkState::Online { since, carrier, source, report, id: _ } => LinkBody::Online {
            since,
            carrier,
            source,
            rtt_ms: report.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
            streams: report.streams,
            bytes_in: report.bytes_in,
            bytes_out: report.bytes_out,
        },
    };
    DeviceBody {
        name: device.name.clone(),
        title: device.title.clone(),
        joined_at: device.joined_at,
        revoked_at: device.revoked_at,
        link,
        agent_version: presence.agent_version,
        services,
        visits: figures.visits,
        bytes_today: figures.today,
        bytes_this_month: figures.this_month,
        version: device.version,
    }
}
