//! What the gateway tells its agents about the site: addresses and keys, now and next.

use arc_swap::ArcSwap;
use doorward_control::{Control, PortState, Protocol};
use doorward_core::DeviceId;
use doorward_core::site::{Address, Host};
use doorward_tunnel::messages::{CheckPorts, Site};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) struct SiteVoice {
    control: Control,
    addresses: ArcSwap<Vec<Address>>,
    /// Those that are public.
    web_ports: ArcSwap<Vec<u16>>,
    last_check: Mutex<Option<Instant>>,
}

/// Asking agents to look at our ports from outside need not happen more often.
const CHECK_EVERY: Duration = Duration::from_secs(600);
const MAX_CHECKED: usize = 32;

impl SiteVoice {
    pub(crate) fn new(control: Control, addresses: Vec<Address>, web_ports: Vec<u16>) -> Self {
        let (addresses, web_ports) = (ArcSwap::from_pointee(addresses), ArcSwap::from_pointee(web_ports));
        Self { control, addresses, web_ports, last_check: Mutex::default() }
    }

    pub(crate) fn addresses(&self) -> Arc<Vec<Address>> {
        self.addresses.load_full()
    }

    /// Agents that come from now on are told of these.
    pub(crate) fn set_addresses(&self, addresses: Vec<Address>) {
        self.addresses.store(Arc::new(addresses));
    }

    /// These are tried from outside from now on. What was seen of one that is no longer public means nothing more.
    pub(crate) fn set_web_ports(&self, ports: Vec<u16>) {
        let before = self.web_ports.swap(Arc::new(ports));
        let now = self.web_ports.load();
        for gone in before.iter().filter(|port| !now.contains(port)) {
            self.control.presence().port_unseen(Protocol::Tcp, *gone);
        }
    }

    /// The site as it is now. The revision names the content: equal content, equal number.
    pub(crate) fn site(&self) -> Site {
        let keys = self.control.site_keys();
        let fingerprints = [Some(&keys.active), keys.successor.as_ref()];
        let keys: Vec<_> = fingerprints.into_iter().flatten().map(|key| key.fingerprint.0.to_vec()).collect();
        let addresses: Vec<_> = self.addresses.load().iter().map(ToString::to_string).collect();
        let mut revision = 0xcbf2_9ce4_8422_2325_u64;
        for byte in keys.iter().flatten().chain(addresses.iter().flat_map(|a| a.as_bytes())) {
            // FNV-1a: enough to tell two contents apart, and the same in every version.
            revision = (revision ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Site { addresses, keys, revision }
    }

    /// A device has this revision on its disk. Of an older one nothing follows: it was told of the newer one since.
    pub(crate) fn stored(&self, device: DeviceId, revision: u64) {
        if let Some(successor) = &self.control.site_keys().successor
            && revision == self.site().revision
        {
            self.control.presence().successor_stored(device, successor.fingerprint);
        }
    }

    /// Which ports an agent outside should try now, if it is time again.
    pub(crate) fn ports_to_check(&self) -> Option<CheckPorts> {
        let mut last = self.last_check.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|at| at.elapsed() < CHECK_EVERY) {
            return None;
        }
        let mut hosts: Vec<String> = Vec::new();
        for endpoint in self.addresses().iter().flat_map(Address::endpoints) {
            let host = match endpoint.host {
                Host::Name(name) => name.to_string(),
                Host::Ip(ip) => ip.to_string(),
            };
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        // What could not be opened here is known to be closed, or is somebody else's.
        let states = self.control.presence().ports();
        let is_open = |port: &u16| states.get(&(Protocol::Tcp, *port)) == Some(&PortState::Bound);
        let snapshot = self.control.snapshot();
        let web_ports = self.web_ports.load();
        // Whoever looks at a port comes as a visitor, and would wake what sleeps behind it.
        let is_woken = |port: &u16| {
            let prepare = snapshot.tcp(*port).and_then(|service| service.prepare);
            prepare.is_some_and(|prepare| prepare.on_visit)
        };
        let services = snapshot.tcp_ports().filter(is_open).filter(|port| !web_ports.contains(port) && !is_woken(port));
        let ports: Vec<_> = web_ports.iter().copied().chain(services).take(MAX_CHECKED).map(u32::from).collect();
        if ports.is_empty() {
            return None;
        }
        *last = Some(Instant::now());
        Some(CheckPorts { hosts, tcp: ports })
    }
}
