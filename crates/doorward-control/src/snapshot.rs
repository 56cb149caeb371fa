//! The published state: what every decision looks at. Immutable; its maps share structure with the snapshots before
//! and after, so a change costs O(log n) however many services there are, and readers take no lock.

mod draft;
mod logins;
mod order;
mod people;
mod shares;

use crate::accounts::Grants;
use crate::groups::Group;
use crate::knocks::HeldKeys;
use crate::settings::SiteSettings;
use crate::site::SiteKeys;
use crate::ssh::certificates::{SshCertificate, SshCertificates};
use crate::ssh::passwords::{PasswordDigest, SshPassword};
use crate::ssh::{KeyFingerprint, SshHolder, SshKey, SshStanding};
use crate::store::{StoreError, words};
use doorward_core::access::{How, Limits, PolicyDocument, Spent};
use doorward_core::addition::Addition;
use doorward_core::names::{HostName, Label, PathPrefix};
use doorward_core::service::{Service, ServiceKind, Standing, WebRoute};
use doorward_core::ssh::PublicKey;
use doorward_core::{AccountId, DeviceId, ServiceId};
use jiff::Timestamp;
use rpds::HashTrieMapSync;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub use order::{Audience, Counts};
pub use people::Approach;

#[derive(Clone)]
pub struct Snapshot {
    generation: u64,
    site: Arc<SiteSettings>,
    site_keys: Arc<SiteKeys>,
    grants: HashTrieMapSync<AccountId, Arc<Grants>>,
    devices: HashTrieMapSync<DeviceId, Arc<DeviceRecord>>,
    device_names: HashTrieMapSync<Label, DeviceId>,
    keys: HashTrieMapSync<[u8; 32], (DeviceId, KeyState)>,
    ssh_keys: HashTrieMapSync<KeyFingerprint, Arc<SshKey>>,
    ssh_certificates: Arc<SshCertificates>,
    pub(crate) ssh_passwords: HashTrieMapSync<PasswordDigest, Arc<SshPassword>>,
    services: HashTrieMapSync<ServiceId, Arc<ServiceRecord>>,
    services_of: HashTrieMapSync<DeviceId, Arc<Vec<(Label, ServiceId)>>>,
    additions: HashTrieMapSync<DeviceId, Arc<Vec<Addition>>>,
    hosts: HashTrieMapSync<HostName, HostClaims>,
    ports: HashTrieMapSync<(Protocol, u16), PortClaim>,
    people: people::People,
    /// As far as decisions need it.
    spent: HashTrieMapSync<ServiceId, Spent>,
    logins: logins::Logins,
    shares: shares::Shares,
    order: order::Order,
    pub(crate) knock_keys: Arc<HeldKeys>,
}

/// A registered private machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: DeviceId,
    pub account: AccountId,
    pub name: Label,
    pub title: String,
    pub joined_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub version: i64,
}

/// Whose key this is and whether it still counts.
#[derive(Clone, Debug)]
pub enum KeyStanding {
    Active(Arc<Device>),
    /// Another key took the device over.
    Replaced,
    Revoked,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    Active,
    Replaced,
    Revoked,
}

impl KeyState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
        }
    }

    pub(crate) fn read(word: &str) -> Result<Self, StoreError> {
        match word {
            "active" => Ok(Self::Active),
            "replaced" => Ok(Self::Replaced),
            "revoked" => Ok(Self::Revoked),
            other => Err(words::strange("the state of a device key", other)),
        }
    }
}

pub(crate) struct DeviceRecord {
    pub(crate) device: Arc<Device>,
    pub(crate) keys: Vec<([u8; 32], KeyState)>,
}

/// A service with all that belongs to it.
#[derive(Clone, Debug)]
pub struct ServiceRecord {
    pub service: Arc<Service>,
    pub virtual_port: Option<u16>,
    pub is_main: bool,
    /// The policy that decides, as a document.
    pub access: PolicyDocument,
    pub access_home: AccessHome,
    /// What the device declared last; it decides unless the owner said otherwise.
    pub(crate) offered_access: PolicyDocument,
    pub hosts: Vec<HostReservation>,
    pub ports: Vec<PortReservation>,
    /// Whether its device asks for a port for each session.
    pub(crate) wants_session_ports: bool,
    /// And a way through the router of its home.
    pub(crate) wants_pinholes: bool,
    pub version: i64,
}

/// Where a policy is edited. One home per object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccessHome {
    /// The file or command on the device.
    Device,
    /// The gateway's store: an owner set it there.
    Store,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Who chose a name or port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Given,
    Wished,
}

impl Origin {
    pub fn word(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Wished => "wished",
        }
    }
}

/// Who speaks TLS under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEntrance {
    /// The gateway, and HTTP within.
    Web,
    /// The service itself.
    Tls,
}

impl HostEntrance {
    pub fn word(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Tls => "tls",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReservation {
    pub host: HostName,
    /// `None`: the whole host.
    pub prefix: Option<PathPrefix>,
    pub strip: bool,
    pub entrance: HostEntrance,
    pub origin: Origin,
    /// Whether the device asks for it now. It stays reserved either way.
    pub is_wanted: bool,
    /// Whether the account may use it now. It stays reserved either way.
    pub is_granted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortReservation {
    pub protocol: Protocol,
    pub port: u16,
    pub origin: Origin,
    pub is_wanted: bool,
    pub is_granted: bool,
}

/// Every reservation on a host, routed or not.
#[derive(Clone, Default)]
struct HostClaims {
    whole: Option<Claim>,
    /// By prefix, with both slashes.
    paths: HashTrieMapSync<String, Claim>,
}

#[derive(Clone, Debug)]
struct Claim {
    prefix: Option<PathPrefix>,
    strip: bool,
    entrance: HostEntrance,
    service: ServiceId,
    is_granted: bool,
    is_routed: bool,
}

impl Claim {
    fn routes_web(&self) -> bool {
        self.is_routed && self.entrance == HostEntrance::Web
    }
}

#[derive(Clone, Copy, Debug)]
struct PortClaim {
    service: ServiceId,
    is_routed: bool,
}

impl Snapshot {
    /// Counts the changes since the start of this process.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where a request leads: an exact host, and on it the longest prefix, else the service that has the whole host.
    pub fn web(&self, host: &HostName, path: &str) -> Option<(Arc<Service>, WebRoute)> {
        let claims = self.hosts.get(host)?;
        let claim = claims.longest(path).or(claims.whole.as_ref().filter(|whole| whole.routes_web()))?;
        let route = WebRoute { service: claim.service, prefix: claim.prefix.clone(), strip: claim.strip };
        Some((self.service(claim.service)?, route))
    }

    /// Whether any service has a route on this host (for certificates).
    pub fn serves_host(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|claims| claims.iter().any(Claim::routes_web))
    }

    /// Whether any service on this host takes certificates of visitors.
    pub fn asks_for_certificates(&self, host: &HostName) -> bool {
        let takes = |claim: &Claim| self.service(claim.service).is_some_and(|service| service.policy.certificates);
        self.hosts.get(host).is_some_and(|claims| claims.iter().any(|claim| claim.routes_web() && takes(claim)))
    }

    /// The hosts on which a service has a route (for certificates).
    pub fn routed_hosts(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.iter().filter(|(_, claims)| claims.iter().any(Claim::routes_web)).map(|(host, _)| host)
    }

    /// The hosts on which the gateway speaks HTTP (for certificates).
    pub fn web_hosts(&self) -> impl Iterator<Item = &HostName> {
        self.routed_hosts().chain(&self.site.portal)
    }

    /// Whether TLS under this name is a service's own and never the gateway's to speak, wherever it leads now.
    pub fn passes_through(&self, host: &HostName) -> bool {
        self.tls_claim(host).is_some()
    }

    /// Where TLS under this name leads.
    pub fn tls(&self, host: &HostName) -> Option<Arc<Service>> {
        self.service(self.tls_claim(host).filter(|claim| claim.is_routed)?.service)
    }

    fn tls_claim(&self, host: &HostName) -> Option<&Claim> {
        let whole = self.hosts.get(host)?.whole.as_ref();
        whole.filter(|claim| claim.is_granted && claim.entrance == HostEntrance::Tls)
    }

    pub fn tcp(&self, port: u16) -> Option<Arc<Service>> {
        self.port(Protocol::Tcp, port)
    }

    pub fn udp(&self, port: u16) -> Option<Arc<Service>> {
        self.port(Protocol::Udp, port)
    }

    fn port(&self, protocol: Protocol, port: u16) -> Option<Arc<Service>> {
        let claim = self.ports.get(&(protocol, port)).filter(|c| c.is_routed)?;
        self.service(claim.service)
    }

    /// The TCP ports to listen on.
    pub fn tcp_ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.ports_to_bind(Protocol::Tcp)
    }

    /// The UDP ports to listen on.
    pub fn udp_ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.ports_to_bind(Protocol::Udp)
    }

    fn ports_to_bind(&self, protocol: Protocol) -> impl Iterator<Item = u16> + '_ {
        self.ports.iter().filter(move |(key, claim)| key.0 == protocol && claim.is_routed).map(|(key, _)| key.1)
    }

    pub fn service(&self, id: ServiceId) -> Option<Arc<Service>> {
        self.services.get(&id).map(|record| record.service.clone())
    }

    pub fn service_record(&self, id: ServiceId) -> Option<Arc<ServiceRecord>> {
        self.services.get(&id).cloned()
    }

    pub fn service_of(&self, device: DeviceId, name: &Label) -> Option<Arc<Service>> {
        self.record_of(device, name).map(|record| record.service.clone())
    }

    pub fn record_of(&self, device: DeviceId, name: &Label) -> Option<Arc<ServiceRecord>> {
        let (_, id) = self.services_of.get(&device)?.iter().find(|(n, _)| n == name)?;
        self.service_record(*id)
    }

    /// Everything a device offers or has offered.
    pub fn services_of(&self, device: DeviceId) -> impl Iterator<Item = Arc<ServiceRecord>> + '_ {
        let services = self.services_of.get(&device).map(|list| list.as_slice()).unwrap_or_default();
        services.iter().filter_map(|(_, id)| self.service_record(*id))
    }

    /// What was wished for at the portal that a device shall offer, by name.
    pub fn additions(&self, device: DeviceId) -> &[Addition] {
        self.additions.get(&device).map(|list| list.as_slice()).unwrap_or_default()
    }

    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceRecord>> {
        self.services.values()
    }

    pub fn device(&self, id: DeviceId) -> Option<Arc<Device>> {
        self.devices.get(&id).map(|record| record.device.clone())
    }

    pub fn device_by_name(&self, name: &Label) -> Option<Arc<Device>> {
        self.device(*self.device_names.get(name)?)
    }

    pub fn devices(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.devices.values().map(|record| &record.device)
    }

    pub fn device_by_key(&self, key: &[u8; 32]) -> KeyStanding {
        let Some(&(device, state)) = self.keys.get(key) else { return KeyStanding::Unknown };
        match (state, self.device(device)) {
            (KeyState::Active, Some(device)) if device.revoked_at.is_none() => KeyStanding::Active(device),
            (KeyState::Replaced, _) => KeyStanding::Replaced,
            (KeyState::Active | KeyState::Revoked, _) => KeyStanding::Revoked,
        }
    }

    /// Whose key this is, and whether it still counts.
    pub fn ssh_standing(&self, fingerprint: &KeyFingerprint) -> SshStanding {
        let Some(key) = self.ssh_keys.get(fingerprint) else { return SshStanding::Unknown };
        match (key.state, &key.holder) {
            (KeyState::Active, SshHolder::Person(id)) => {
                let person = self.shared_person(*id).filter(|person| person.disabled_at.is_none());
                person.map_or(SshStanding::Refused, SshStanding::Person)
            }
            (KeyState::Active, SshHolder::Device(id)) => {
                let device = self.device(*id).filter(|device| device.revoked_at.is_none());
                device.map_or(SshStanding::Refused, SshStanding::Device)
            }
            (KeyState::Replaced | KeyState::Revoked, _) => SshStanding::Refused,
        }
    }

    pub fn ssh_keys(&self) -> impl Iterator<Item = &Arc<SshKey>> {
        self.ssh_keys.values()
    }

    /// Who signs certificates of people, if that was needed yet.
    pub fn ssh_authority(&self) -> Option<&PublicKey> {
        self.ssh_certificates.authority.as_ref()
    }

    /// Those that were not taken back; some may be over.
    pub fn ssh_certificates(&self) -> impl Iterator<Item = &SshCertificate> {
        self.ssh_certificates.by_key.values()
    }

    pub fn ssh_certificate(&self, key: &KeyFingerprint, serial: u64) -> Option<&SshCertificate> {
        self.ssh_certificates.by_key.get(&(*key, serial))
    }

    /// By their serials, the last made last.
    pub fn ssh_certificates_of(&self, key: &KeyFingerprint) -> impl Iterator<Item = &SshCertificate> {
        self.ssh_certificates.by_key.range((*key, 0)..=(*key, u64::MAX)).map(|(_, certificate)| certificate)
    }

    pub fn ssh_keys_of(&self, account: AccountId) -> impl Iterator<Item = &Arc<SshKey>> {
        self.ssh_keys.values().filter(move |key| key.holder == SshHolder::Person(account))
    }

    pub fn site(&self) -> &Arc<SiteSettings> {
        &self.site
    }

    pub fn site_keys(&self) -> &Arc<SiteKeys> {
        &self.site_keys
    }
}

impl HostClaims {
    /// The routed claim with the longest prefix of `path`: one look per part of the path, however many claims there
    /// are. `/zumi01` alone counts as under `/zumi01/`.
    fn longest(&self, path: &str) -> Option<&Claim> {
        let mut end = path.len();
        loop {
            // A prefix is 200 characters and two slashes at most.
            let claim = match path.get(..end) {
                Some(part) if part.len() <= 201 => self.paths.get(&format!("{}/", part.trim_end_matches('/'))),
                Some(_) | None => None,
            };
            if let Some(claim) = claim.filter(|claim| claim.routes_web()) {
                return Some(claim);
            }
            end = path.get(..end)?.rfind('/')?;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Claim> {
        self.whole.iter().chain(self.paths.values())
    }

    fn get(&self, prefix: Option<&PathPrefix>) -> Option<&Claim> {
        match prefix {
            None => self.whole.as_ref(),
            Some(prefix) => self.paths.get(prefix.as_str()),
        }
    }
}

impl ServiceRecord {
    /// What its device says of who may use it, whether that counts or not.
    pub fn declared_access(&self) -> &PolicyDocument {
        &self.offered_access
    }

    /// A web name leads to an http service or a camera, one for TLS to a tcp service, for as long as it is wanted and granted. That
    /// the service was withdrawn is for `decide` to say.
    pub fn routes_host(&self, host: &HostReservation) -> bool {
        let makes_sense = match self.service.kind {
            ServiceKind::Http | ServiceKind::Camera => host.entrance == HostEntrance::Web,
            ServiceKind::Tcp => host.entrance == HostEntrance::Tls,
            ServiceKind::Udp => false,
        };
        makes_sense && host.is_wanted && host.is_granted
    }

    /// A port is listened on only while its service is offered.
    pub fn routes_port(&self, port: &PortReservation) -> bool {
        let makes_sense = self.protocol() == Some(port.protocol);
        makes_sense && port.is_wanted && port.is_granted && self.service.standing == Standing::Offered
    }

    /// Of its raw ports; `None`: it has none.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.service.kind {
            ServiceKind::Http | ServiceKind::Camera => None,
            ServiceKind::Tcp => Some(Protocol::Tcp),
            ServiceKind::Udp => Some(Protocol::Udp),
        }
    }

    /// Whether each session has a port of its own. Not where a login must prove more: whoever comes to a port has none.
    pub fn has_session_ports(&self) -> bool {
        let policy = &self.service.policy;
        let makes_sense = self.protocol().is_some() && policy.how != How::SignedIn && policy.needs.is_empty();
        makes_sense && self.wants_session_ports && self.service.standing == Standing::Offered
    }

    /// Whether an open session's port may wait for whoever comes first.
    pub fn takes_first_comers(&self) -> bool {
        self.has_session_ports() && self.service.policy.first_comer
    }

    /// Whether sessions may have a straight way. What passes there is counted and slowed down by nobody, so not where a policy
    /// says how much.
    pub fn has_pinholes(&self) -> bool {
        self.has_session_ports() && self.wants_pinholes && self.service.policy.limits == Limits::default()
    }
}
