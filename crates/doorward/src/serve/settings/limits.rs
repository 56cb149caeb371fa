//! `[limits]` of `gateway.toml`.

use doorward_gateway::{FlowSettings, Limits};
use serde::Deserialize;
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitsFile {
    pub connections: Option<usize>,
    pub connections_per_source: Option<usize>,
    pub connections_per_port: Option<usize>,
    pub handshakes: Option<usize>,
    pub handshakes_per_source: Option<usize>,
    pub requests_per_second_per_source: Option<u32>,
    pub requests_per_second_per_service: Option<u32>,
    pub visits_per_service: Option<usize>,
    pub visits_per_source: Option<usize>,
    pub ssh_connections_per_identity: Option<usize>,
    pub ssh_channels_per_identity: Option<usize>,
    pub ssh_connections_per_second_per_source: Option<u32>,
    pub udp_flow_idle_seconds: Option<u64>,
    pub udp_flows_per_port: Option<usize>,
    pub udp_flows_per_source: Option<usize>,
}

impl LimitsFile {
    pub(super) fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            connections: self.connections.unwrap_or(usual.connections),
            connections_per_source: self.connections_per_source.unwrap_or(usual.connections_per_source),
            connections_per_port: self.connections_per_port.unwrap_or(usual.connections_per_port),
            handshakes: self.handshakes.unwrap_or(usual.handshakes),
            handshakes_per_source: self.handshakes_per_source.unwrap_or(usual.handshakes_per_source),
            requests_per_source: self.requests_per_second_per_source.unwrap_or(usual.requests_per_source),
            requests_per_service: self.requests_per_second_per_service.unwrap_or(usual.requests_per_service),
            visits_per_service: self.visits_per_service.unwrap_or(usual.visits_per_service),
            visits_per_source: self.visits_per_source.unwrap_or(usual.visits_per_source),
            ssh_connections_per_identity: self
                .ssh_connections_per_identity
                .unwrap_or(usual.ssh_connections_per_identity),
            ssh_channels_per_identity: self.ssh_channels_per_identity.unwrap_or(usual.ssh_channels_per_identity),
            ssh_connections_per_second: self
                .ssh_connections_per_second_per_source
                .unwrap_or(usual.ssh_connections_per_second),
        }
    }

    pub(super) fn flows(&self) -> FlowSettings {
        let usual = FlowSettings::default();
        FlowSettings {
            idle: self.udp_flow_idle_seconds.map_or(usual.idle, Duration::from_secs),
            per_port: self.udp_flows_per_port.unwrap_or(usual.per_port),
            per_source: self.udp_flows_per_source.unwrap_or(usual.per_source),
        }
    }
}
