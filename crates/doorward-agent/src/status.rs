//! What an agent knows of itself, for whoever watches: `doorward http` prints the URLs from it.

use doorward_core::names::Label;
use doorward_core::site::Carrier;
use std::collections::BTreeMap;
use tokio::sync::watch;
use tokio::time::Instant;

/// By gateway.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    pub gateways: BTreeMap<Label, GatewayStatus>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GatewayStatus {
    /// What the gateway calls this device.
    pub device_name: Label,
    pub state: LinkState,
    /// As last reported by the gateway.
    pub services: Vec<ServiceStatus>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LinkState {
    Connecting {
        since: Instant,
    },
    Online {
        carrier: Carrier,
        since: Instant,
    },
    /// The gateway does not take this device now; the agent asks again, slowly.
    Refused {
        message: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceStatus {
    pub name: String,
    /// URLs and `host:port`.
    pub reached_by: Vec<String>,
    pub problems: Vec<String>,
    pub notes: Vec<String>,
}

/// One gateway's place in the status, taken out on drop.
pub(crate) struct Entry {
    board: watch::Sender<Status>,
    gateway: Label,
}

impl Entry {
    pub(crate) fn new(board: watch::Sender<Status>, gateway: Label, device_name: Label) -> Self {
        let state = LinkState::Connecting { since: Instant::now() };
        let status = GatewayStatus { device_name, state, services: Vec::new() };
        board.send_modify(|all| drop(all.gateways.insert(gateway.clone(), status)));
        Self { board, gateway }
    }

    pub(crate) fn set_state(&self, state: LinkState) {
        self.change(|status| status.state = state);
    }

    /// `false`: it was so already.
    pub(crate) fn set_services(&self, services: Vec<ServiceStatus>) -> bool {
        self.change(|status| status.services = services)
    }

    pub(crate) fn set_device_name(&self, name: Label) {
        self.change(|status| status.device_name = name);
    }

    fn change(&self, change: impl FnOnce(&mut GatewayStatus)) -> bool {
        self.board.send_if_modified(|all| {
            let Some(status) = all.gateways.get_mut(&self.gateway) else { return false };
            let before = status.clone();
            change(status);
            *status != before
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.board.send_modify(|all| drop(all.gateways.remove(&self.gateway)));
    }
}
