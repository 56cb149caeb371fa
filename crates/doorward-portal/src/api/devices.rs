use super::device_named;
use super::invites::{NewInvite, hand_over};
use crate::PortalState;
use crate::answer::{At, Body, Problem, Seen, Versioned};
use axum::Json;
use axum::extract::State;
use doorward_control::{Device, DeviceEdit, LinkState};
use doorward_core::names::Label;
use doorward_core::site::Carrier;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DeviceBody {
    name: Label,
    title: String,
    joined_at: Timestamp,
    revoked_at: Option<Timestamp>,
    #[serde(flatten)]
    link: LinkBody,
    agent_version: Option<String>,
    services: Vec<Label>,
    version: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "link")]
enum LinkBody {
    Online {
        since: Timestamp,
        carrier: Carrier,
        source: IpAddr,
        rtt_ms: Option<f64>,
        streams: u32,
        bytes_in: u64,
        bytes_out: u64,
    },
    /// `null`: never seen.
    Offline { since: Option<Timestamp> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EditBody {
    name: Option<String>,
    title: Option<String>,
}

pub(crate) async fn list(State(state): State<PortalState>) -> Json<Vec<DeviceBody>> {
    Json(in_order(&state).iter().map(|device| body(&state, device)).collect())
}

pub(crate) async fn edit(
    State(state): State<PortalState>,
    At(name): At<String>,
    Seen(version): Seen,
    Body(edit): Body<EditBody>,
) -> Result<Versioned<DeviceBody>, Problem> {
    let id = device_named(&state.control.snapshot(), &name)?.id;
    let name = edit.name.map(|name| Label::parse(&name)).transpose().map_err(|e| Problem::invalid(e.to_string()))?;
    let edit = DeviceEdit { name, title: edit.title };
    let device = state.control.edit_device(id, edit, version, (state.clock)()).await?;
    Ok(Versioned(device.version, body(&state, &device)))
}

pub(crate) async fn revoke(
    State(state): State<PortalState>,
    At(name): At<String>,
    Seen(version): Seen,
) -> Result<Versioned<DeviceBody>, Problem> {
    let id = device_named(&state.control.snapshot(), &name)?.id;
    let device = state.control.revoke_device(id, version, (state.clock)()).await?;
    Ok(Versioned(device.version, body(&state, &device)))
}

pub(crate) async fn replace(State(state): State<PortalState>, At(name): At<String>) -> Result<NewInvite, Problem> {
    let id = device_named(&state.control.snapshot(), &name)?.id;
    hand_over(&state, async || state.control.replace_device(id, (state.clock)()).await).await
}

/// Every device, by name.
pub(crate) fn in_order(state: &PortalState) -> Vec<std::sync::Arc<Device>> {
    let mut devices: Vec<_> = state.control.snapshot().devices().cloned().collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices
}

fn body(state: &PortalState, device: &Device) -> DeviceBody {
    let presence = state.control.presence().device(device.id);
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
        version: device.version,
    }
}
