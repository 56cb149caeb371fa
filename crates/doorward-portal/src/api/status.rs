use crate::PortalState;
use crate::acting::Acting;
use axum::Json;
use doorward_control::{AlertDestination, CertificateReport, HomeReport, PortState, Protocol, Reachability};
use doorward_core::names::Label;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Status {
    release: &'static str,
    domain: Option<String>,
    site_key: String,
    site_key_successor: Option<String>,
    /// Devices that are not known to have stored the successor.
    site_key_awaited: Vec<Label>,
    addresses: Vec<String>,
    devices: usize,
    devices_online: usize,
    services: usize,
    ports: Vec<PortStatus>,
    certificates: CertificateReport,
    /// What the router at home forwards, and what names were told.
    home: HomeReport,
    alerts: BTreeMap<String, AlertDestination>,
    /// Counts the changes since the gateway started.
    generation: u64,
}

/// A public port that the gateway is to listen on.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PortStatus {
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    pub(crate) service: Option<String>,
    /// `null` until the gateway tried.
    pub(crate) state: Option<PortState>,
    /// `null` until somebody outside looked.
    pub(crate) reachability: Option<Reachability>,
}

pub(crate) async fn show(Acting(state): Acting) -> Json<Status> {
    let snapshot = state.control.snapshot();
    let presence = state.control.presence();
    let keys = snapshot.site_keys();
    let awaited = state.control.devices_without_successor();
    Json(Status {
        release: state.release,
        domain: state.control.site().domain.as_ref().map(ToString::to_string),
        site_key: keys.active.fingerprint.to_string(),
        site_key_successor: keys.successor.as_ref().map(|key| key.fingerprint.to_string()),
        site_key_awaited: awaited.iter().map(|device| device.name.clone()).collect(),
        addresses: state.addresses.borrow().iter().map(ToString::to_string).collect(),
        devices: snapshot.counts().devices,
        devices_online: presence.online(),
        services: snapshot.counts().services,
        ports: ports(&state),
        certificates: state.control.certificate_reports().newest(),
        home: state.control.home().borrow().clone(),
        alerts: state.control.alert_destinations().borrow().clone(),
        generation: snapshot.generation(),
    })
}

/// What should be listened on, and what the gateway reports besides (its own ports), in order.
pub(crate) fn ports(state: &PortalState) -> Vec<PortStatus> {
    let snapshot = state.control.snapshot();
    let (mut states, mut seen) = (state.control.presence().ports(), state.control.presence().reachability());
    let tcp = snapshot.tcp_ports().map(|port| (Protocol::Tcp, port));
    let udp = snapshot.udp_ports().map(|port| (Protocol::Udp, port));
    let mut all: Vec<_> = tcp.chain(udp).chain(states.keys().copied()).chain(seen.keys().copied()).collect();
    all.sort_unstable();
    all.dedup();
    let describe = |(protocol, port)| {
        let service = match protocol {
            Protocol::Tcp => snapshot.tcp(port),
            Protocol::Udp => snapshot.udp(port),
        };
        let service = service.or_else(|| snapshot.at_session_port(protocol, port).map(|(service, _)| service));
        PortStatus {
            protocol,
            port,
            service: service.map(|s| s.path()),
            state: states.remove(&(protocol, port)),
            reachability: seen.remove(&(protocol, port)),
        }
    };
    all.into_iter().map(describe).collect()
}
