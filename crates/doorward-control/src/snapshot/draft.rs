//! The next snapshot in the making: what the one writer needs beyond what everybody sees.

use super::{
    Claim, DeviceRecord, HostClaims, HostEntrance, HostReservation, KeyState, PortClaim, Protocol, ServiceRecord,
    Snapshot,
};
use crate::accounts::Grants;
use crate::knocks::HeldKeys;
use crate::settings::SiteSettings;
use crate::site::SiteKeys;
use crate::ssh::certificates::SshCertificates;
use crate::ssh::passwords::SshPassword;
use crate::ssh::{KeyFingerprint, SshKey};
use doorward_core::access::Spent;
use doorward_core::addition::Addition;
use doorward_core::names::{HostName, PathPrefix};
use doorward_core::{AccountId, DeviceId, ServiceId};
use rpds::HashTrieMapSync;
use std::sync::Arc;

impl Snapshot {
    pub(crate) fn new(site: SiteSettings, site_keys: SiteKeys) -> Self {
        Self {
            generation: 0,
            site: Arc::new(site),
            site_keys: Arc::new(site_keys),
            grants: HashTrieMapSync::new_sync(),
            devices: HashTrieMapSync::new_sync(),
            device_names: HashTrieMapSync::new_sync(),
            keys: HashTrieMapSync::new_sync(),
            ssh_keys: HashTrieMapSync::new_sync(),
            ssh_certificates: Arc::default(),
            ssh_passwords: HashTrieMapSync::new_sync(),
            services: HashTrieMapSync::new_sync(),
            services_of: HashTrieMapSync::new_sync(),
            additions: HashTrieMapSync::new_sync(),
            hosts: HashTrieMapSync::new_sync(),
            ports: HashTrieMapSync::new_sync(),
            people: super::people::People::default(),
            spent: HashTrieMapSync::new_sync(),
            logins: super::logins::Logins::default(),
            shares: super::shares::Shares::default(),
            order: super::order::Order::default(),
            knock_keys: Arc::default(),
        }
    }

    pub(crate) fn advance(&mut self) {
        self.generation += 1;
    }

    pub(crate) fn key(&self, key: &[u8; 32]) -> Option<(DeviceId, KeyState)> {
        self.keys.get(key).copied()
    }

    pub(crate) fn ssh_key(&self, fingerprint: &KeyFingerprint) -> Option<Arc<SshKey>> {
        self.ssh_keys.get(fingerprint).cloned()
    }

    pub(crate) fn put_ssh_passwords(&mut self, passwords: Vec<SshPassword>) {
        self.ssh_passwords = passwords.into_iter().map(|password| (password.digest, Arc::new(password))).collect();
    }

    pub(crate) fn put_ssh_keys(&mut self, keys: Vec<SshKey>) {
        self.ssh_keys = keys.into_iter().map(|key| (key.fingerprint, Arc::new(key))).collect();
    }

    pub(crate) fn put_knock_keys(&mut self, keys: HeldKeys) {
        self.knock_keys = Arc::new(keys);
    }

    pub(crate) fn put_ssh_certificates(&mut self, certificates: SshCertificates) {
        self.ssh_certificates = Arc::new(certificates);
    }

    pub(crate) fn grants(&self, account: AccountId) -> Arc<Grants> {
        self.grants.get(&account).cloned().unwrap_or_default()
    }

    /// Who holds exactly this name, routed or not.
    pub(crate) fn host_holder(&self, host: &HostName, prefix: Option<&PathPrefix>) -> Option<ServiceId> {
        self.hosts.get(host)?.get(prefix).map(|claim| claim.service)
    }

    /// Who holds anything on this host.
    pub(crate) fn holders_on(&self, host: &HostName) -> impl Iterator<Item = Arc<ServiceRecord>> + '_ {
        let claims = self.hosts.get(host).into_iter().flat_map(HostClaims::iter);
        claims.filter_map(|claim| self.service_record(claim.service))
    }

    /// Who passes TLS through under this name, or did once.
    pub(crate) fn tls_holder(&self, host: &HostName) -> Option<ServiceId> {
        let whole = self.hosts.get(host)?.whole.as_ref();
        whole.filter(|claim| claim.entrance == HostEntrance::Tls).map(|claim| claim.service)
    }

    /// A service that holds a path on this host, and which.
    pub(crate) fn path_on(&self, host: &HostName) -> Option<(String, String)> {
        let (path, claim) = self.hosts.get(host)?.paths.iter().min_by_key(|(path, _)| *path)?;
        Some((self.service(claim.service)?.path(), path.clone()))
    }

    pub(crate) fn port_holder(&self, protocol: Protocol, port: u16) -> Option<ServiceId> {
        self.ports.get(&(protocol, port)).map(|c| c.service)
    }

    pub(crate) fn put_spent(&mut self, service: ServiceId, spent: Spent) {
        self.spent.insert_mut(service, spent);
    }

    pub(crate) fn put_site(&mut self, site: SiteSettings) {
        self.site = Arc::new(site);
    }

    pub(crate) fn put_site_keys(&mut self, keys: SiteKeys) {
        self.site_keys = Arc::new(keys);
    }

    pub(crate) fn put_grants(&mut self, account: AccountId, grants: Grants) {
        self.grants.insert_mut(account, Arc::new(grants));
    }

    /// Has the account's services follow its grants. Returns those that it makes a difference to.
    pub(crate) fn settle_services_of(&mut self, account: AccountId) -> Vec<ServiceId> {
        let own = self.services.values().filter(|record| record.service.account == account);
        let before: Vec<_> = own.cloned().collect();
        let mut changed = Vec::new();
        for old in before {
            let id = old.service.id;
            self.put_service(ServiceRecord::clone(&old));
            let differs = |new: &Arc<ServiceRecord>| new.hosts != old.hosts || new.ports != old.ports;
            changed.extend(self.services.get(&id).is_some_and(differs).then_some(id));
        }
        changed
    }

    pub(crate) fn put_device(&mut self, record: DeviceRecord) {
        let id = record.device.id;
        if let Some(old) = self.devices.get(&id).cloned() {
            if self.device_names.get(&old.device.name) == Some(&id) {
                self.device_names.remove_mut(&old.device.name);
            }
            self.order.take_device(&old.device);
        }
        self.order.put_device(&record.device);
        self.device_names.insert_mut(record.device.name.clone(), id);
        for (key, state) in &record.keys {
            self.keys.insert_mut(*key, (id, *state));
        }
        self.devices.insert_mut(id, Arc::new(record));
    }

    pub(crate) fn put_additions(&mut self, device: DeviceId, additions: Vec<Addition>) {
        self.additions.insert_mut(device, Arc::new(additions));
    }

    pub(crate) fn put_service(&mut self, mut record: ServiceRecord) {
        let (id, device) = (record.service.id, record.service.device);
        self.take_claims(id);
        let grants = self.grants(record.service.account);
        for host in &mut record.hosts {
            let is_own = host.entrance == HostEntrance::Tls && self.site.speaks_tls_for(&host.host);
            host.is_granted = grants.cover_host(&host.host) && !is_own && !self.site.keeps(&host.host);
        }
        record.ports.iter_mut().for_each(|port| port.is_granted = grants.cover_port(port.protocol, port.port));
        for host in &record.hosts {
            let claim = Claim {
                prefix: host.prefix.clone(),
                strip: host.strip,
                entrance: host.entrance,
                service: id,
                is_granted: host.is_granted,
                is_routed: record.routes_host(host),
            };
            let mut claims = self.hosts.get(&host.host).cloned().unwrap_or_default();
            match &host.prefix {
                None => claims.whole = Some(claim),
                Some(prefix) => claims.paths.insert_mut(prefix.as_str().to_owned(), claim),
            }
            self.hosts.insert_mut(host.host.clone(), claims);
        }
        for port in &record.ports {
            let claim = PortClaim { service: id, is_routed: record.routes_port(port) };
            self.ports.insert_mut((port.protocol, port.port), claim);
        }
        let list = self.services_of.get(&device).map(|list| list.as_slice()).unwrap_or_default();
        if !list.iter().any(|(_, known)| *known == id) {
            let mut list = list.to_vec();
            list.push((record.service.name.clone(), id));
            list.sort();
            self.services_of.insert_mut(device, Arc::new(list));
        }
        if let Some(old) = self.services.get(&id) {
            self.order.take_service(old);
        }
        self.order.put_service(&record);
        self.services.insert_mut(id, Arc::new(record));
    }

    pub(crate) fn remove_service(&mut self, id: ServiceId) {
        self.take_claims(id);
        let Some(old) = self.services.get(&id).cloned() else { return };
        let device = old.service.device;
        let mut list = self.services_of.get(&device).map(|list| list.to_vec()).unwrap_or_default();
        list.retain(|(_, known)| *known != id);
        self.services_of.insert_mut(device, Arc::new(list));
        self.order.take_service(&old);
        self.services.remove_mut(&id);
    }

    fn take_claims(&mut self, id: ServiceId) {
        let Some(old) = self.services.get(&id).cloned() else { return };
        for host in &old.hosts {
            if self.host_holder(&host.host, host.prefix.as_ref()) == Some(id) {
                self.take_host_claim(host);
            }
        }
        for port in &old.ports {
            if self.port_holder(port.protocol, port.port) == Some(id) {
                self.ports.remove_mut(&(port.protocol, port.port));
            }
        }
    }

    fn take_host_claim(&mut self, host: &HostReservation) {
        let mut claims = self.hosts.get(&host.host).cloned().unwrap_or_default();
        match &host.prefix {
            None => claims.whole = None,
            Some(prefix) => drop(claims.paths.remove_mut(prefix.as_str())),
        }
        if claims.iter().next().is_none() {
            self.hosts.remove_mut(&host.host);
        } else {
            self.hosts.insert_mut(host.host.clone(), claims);
        }
    }
}
