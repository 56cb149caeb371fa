//! `gateway.toml`: read, checked and turned into what each part wants, in one conversion. Flags of `doorward serve`
//! win over the file. Unknown keys are refused.

pub mod certificates;

use super::home::HomeSettings;
use anyhow::anyhow;
use certificates::{CertificatesFile, Surroundings};
use doorward_alerts::Destination;
use doorward_control::{AuditSettings, SiteSettings, USUAL_GRACE, WebFace};
use doorward_core::access::Networks;
use doorward_core::certificates::Scope;
use doorward_core::invite::MAX_ADDRESSES;
use doorward_core::names::HostName;
use doorward_core::site::{Address, Host};
use doorward_gateway::{CertificateSource, DnsRecord, EVERYWHERE, GatewaySettings, needed_records};
use doorward_oidc::ProviderSettings;
use jiff::SignedDuration;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

mod alert;
mod audit;
mod behind;
mod dynamic_dns;
mod fixed;
mod knock;
mod limits;
mod listening;
mod place;
mod port_mapping;
mod portal;
mod sessions;
mod sign_in;

pub use alert::AlertFile;
pub use audit::AuditFile;
pub use behind::Behind;
pub use dynamic_dns::DynamicDnsFile;
pub use fixed::Fixed;
use fixed::Written;
pub use knock::KnockFile;
pub use limits::LimitsFile;
pub(crate) use listening::is_private;
pub(super) use listening::own_addresses;
use listening::{Listening, usual_redirect};
pub(super) use place::Place;
pub use port_mapping::{Given, PortMappingFile};
pub use portal::PortalFile;
pub use sessions::SessionsFile;
pub use sign_in::{OidcFile, SignInFile};

/// The file as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    /// Services get names below it.
    pub domain: Option<HostName>,
    /// How agents reach this gateway; told to them over every link and in every invite.
    pub addresses: Option<Vec<Address>>,
    #[serde(default)]
    pub listen: Listen,
    pub certificate: Option<Certificate>,
    /// How certificates are ordered.
    #[serde(default)]
    pub certificates: CertificatesFile,
    /// Where a web server in front of it reaches this gateway, by plain HTTP.
    pub behind: Option<Behind>,
    /// Proxies in front, whose forwarded headers count.
    #[serde(default)]
    pub proxies: Vec<String>,
    #[serde(default)]
    pub web: Web,
    #[serde(default)]
    pub portal: PortalFile,
    #[serde(default)]
    pub sign_in: SignInFile,
    #[serde(default)]
    pub ports: Ports,
    #[serde(default)]
    pub sessions: SessionsFile,
    #[serde(default)]
    pub knock: KnockFile,
    /// Services of this machine and its network, without an agent beside the gateway.
    pub built_in: Option<BuiltIn>,
    /// How long visits may take to finish when the gateway stops.
    pub drain_seconds: Option<u64>,
    /// What the router at home is asked to forward here; absent: nothing.
    pub port_mapping: Option<PortMappingFile>,
    /// Names that are kept pointed here.
    #[serde(default)]
    pub dynamic_dns: Vec<DynamicDnsFile>,
    /// What the router gave, as long as the gateway runs.
    #[serde(skip)]
    pub given: Given,
    #[serde(default)]
    pub limits: LimitsFile,
    #[serde(default)]
    pub audit: AuditFile,
    /// Who is told what.
    #[serde(default)]
    pub alert: Vec<AlertFile>,
    /// How long a device must be away before that is told.
    pub offline_after_seconds: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Listen {
    pub https: Option<Vec<SocketAddr>>,
    #[serde(default)]
    pub http: Vec<SocketAddr>,
    pub quic: Option<Vec<SocketAddr>>,
    /// SSH: port 2222 unless said, where it is free.
    pub ssh: Option<Vec<SocketAddr>>,
    /// Where people knock, on UDP: nowhere unless said.
    #[serde(default)]
    pub knock: Vec<SocketAddr>,
    /// Plain HTTP that sends everybody to HTTPS, and where authorities find proofs: port 80 beside 443 unless said.
    pub redirect: Option<Vec<SocketAddr>>,
    /// Where the ports of tcp and udp services are opened.
    pub ports: Option<Vec<IpAddr>>,
    /// Metrics, health and the start page; loopback only.
    pub operations: Option<SocketAddr>,
    /// The port that visitors see, where something in front maps it.
    pub public_port: Option<u16>,
}

/// The web entrance.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Web {
    /// Proxies in front that begin each connection with a PROXY protocol header, version 1 or 2.
    #[serde(default)]
    pub proxy_protocol_from: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// The gateway's own agent: a device like any other, in the same process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltIn {
    /// Its services, in the form of `agent.toml`.
    pub config: PathBuf,
    /// The name of the device; this machine's host name unless said.
    pub name: Option<String>,
}

/// The public ports that devices may be given or ask for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    pub tcp: Option<String>,
    pub udp: Option<String>,
}

/// Everything that `serve` needs.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    pub directory: PathBuf,
    pub site: SiteSettings,
    pub gateway: GatewaySettings,
    pub operations: SocketAddr,
    pub built_in: Option<BuiltIn>,
    pub home: HomeSettings,
    pub drain: Duration,
    pub audit: AuditSettings,
    pub alerts: Vec<Destination>,
    /// Where people may sign in besides the portal.
    pub providers: Vec<ProviderSettings>,
    pub offline_after: SignedDuration,
    /// The records that DNS needs for the domain.
    pub needed: Vec<DnsRecord>,
    /// What a running gateway cannot change.
    pub fixed: Fixed,
    /// What the owner should know about how this came out.
    pub notes: Vec<String>,
}

/// What a key says makes no sense.
#[derive(Debug, Error)]
#[error("{key}: {why}")]
struct Wrong {
    /// From the top of the file, with dots.
    key: &'static str,
    why: String,
}

fn wrong(key: &'static str, why: impl ToString) -> anyhow::Error {
    Wrong { key, why: why.to_string() }.into()
}

/// The ports from which services are given theirs.
const PORT_POOL: RangeInclusive<u16> = 20_000..=20_999;
const SSH_PORT: u16 = 2222;
const OPERATIONS_PORT: u16 = 9180;
/// Short: while it lasts nobody new is served, and a webcam's stream never finishes by itself.
const DRAIN: Duration = Duration::from_secs(5);

impl File {
    /// Reads `path`, or the usual place if none is named. A file that is named must exist.
    pub fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        Place::find(path).read().map(|(file, _)| file)
    }

    fn parse(text: &str, path: &Path) -> anyhow::Result<Self> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| place::line(text, span.start));
            anyhow!("{}:{line}: {}", path.display(), error.message())
        })
    }

    pub fn into_settings(mut self, directory: PathBuf) -> anyhow::Result<ServeSettings> {
        let mut notes = Vec::new();
        let written = Written::of(&self);
        let behind = self.behind.take();
        if behind.is_some() && self.port_mapping.is_some() {
            let why = "the web server in front has the public ports: forward them to it by hand, and take this out";
            return Err(wrong("port-mapping", why));
        }
        let local = behind.as_ref().map(|behind| self.stand_behind(behind)).transpose()?.flatten();
        let Listening { https, quic } = self.listening(&mut notes);
        let redirect = self.listen.redirect.clone().unwrap_or_else(|| usual_redirect(&https, &self.listen.http));
        let ssh = self.listen.ssh.clone().unwrap_or_else(|| usual_ssh(&mut notes));
        let fixed = Fixed::new(written, https.clone(), quic.clone(), redirect.clone(), ssh.clone());
        let mapping = self.port_mapping.as_ref().map(|mapping| mapping.settings(&self.listen, &https)).transpose()?;
        let public_port = self.listen.public_port.or(self.given.https);
        let web_port = public_port.or(https.first().map(SocketAddr::port)).unwrap_or(443);
        let is_https = !https.is_empty() || public_port.is_some();
        let domain = self.domain.clone().unwrap_or(localhost());
        let addresses = match self.addresses.clone() {
            Some(addresses) => addresses,
            None => {
                let quic = quic.first().map(|address| self.given.quic.unwrap_or(address.port()));
                self.guess_addresses(web_port, quic, &mut notes)
            }
        };
        if addresses.len() > MAX_ADDRESSES {
            let why = format!("{} are given; an invite has room for {MAX_ADDRESSES}", addresses.len());
            return Err(wrong("addresses", why));
        }
        let tcp_ports = port_range(self.ports.tcp.as_deref()).map_err(|why| wrong("ports.tcp", why))?;
        let udp_ports = port_range(self.ports.udp.as_deref()).map_err(|why| wrong("ports.udp", why))?;
        let operations = self.listen.operations.unwrap_or((Ipv4Addr::LOCALHOST, OPERATIONS_PORT).into());
        if !operations.ip().is_loopback() {
            let why = format!("{operations} is not a loopback address; metrics and health stay on this machine");
            return Err(wrong("listen.operations", why));
        }
        let listened = [
            ("listen.https", https.as_slice()),
            ("listen.http", &self.listen.http),
            ("listen.quic", &quic),
            ("listen.ssh", &ssh),
            ("listen.redirect", &redirect),
            ("listen.operations", &[operations]),
            ("listen.knock", &self.listen.knock),
        ];
        let session_ports = self.sessions.ports(&[("ports.tcp", &tcp_ports), ("ports.udp", &udp_ports)], &listened)?;
        let tls_port = (!https.is_empty()).then_some(web_port);
        let face_port = if is_https { web_port } else { self.listen.http.first().map_or(80, SocketAddr::port) };
        let port_host = addresses.first().and_then(|address| address.endpoints().into_iter().next()).map(|e| e.host);
        let certificate = match self.certificate {
            Some(Certificate { chain, key }) => CertificateSource::Files { chain, key },
            None => CertificateSource::Own(Scope::new(domain.clone(), self.certificates.ips_beside(&addresses))),
        };
        let around = Surroundings {
            domain: self.domain.as_ref(),
            has_files: matches!(certificate, CertificateSource::Files { .. }),
            is_80_open: match &mapping {
                Some(mapping) => mapping.may_give_http(80) && !redirect.is_empty(),
                None => redirect.iter().any(|address| address.port() == 80),
            },
            is_443_open: match &mapping {
                Some(mapping) => mapping.may_give_https(443),
                None => web_port == 443 && !https.is_empty(),
            },
        };
        // Browsers apply it to all that is on the host, whatever its port (RFC 6797, 8.3).
        let is_443_ours = face_port == 443 && behind.is_none() && (mapping.is_none() || self.given.https == Some(443));
        let hsts = if is_443_ours { self.certificates.hsts() } else { Duration::ZERO };
        let issuing =
            self.certificates.issuing(around, &mut notes).map_err(|why| wrong("certificates", format!("{why:#}")))?;
        let public: Vec<_> = own_addresses().into_iter().filter(|ip| !is_private(*ip)).collect();
        let needed = self.domain.as_ref().zip(issuing.as_ref());
        let needed = needed.map(|(domain, issuing)| needed_records(domain, issuing, &public)).unwrap_or_default();
        let environment = |name: &str| std::env::var(name).ok();
        let names = dynamic_dns::names(self.dynamic_dns, self.domain.as_ref(), &directory, &environment);
        let names = names.map_err(|why| wrong("dynamic-dns", why))?;
        let proxies = Networks::parse(&self.proxies).map_err(|why| wrong("proxies", why))?;
        let proxy_protocol_from =
            Networks::parse(&self.web.proxy_protocol_from).map_err(|why| wrong("web.proxy-protocol-from", why))?;
        Ok(ServeSettings {
            directory,
            site: SiteSettings {
                suffixes: Vec::new(),
                kept_hosts: Vec::new(),
                portal: self.portal.host_below(&domain)?,
                link_hosts: link_hosts(&addresses),
                tls_port,
                domain: Some(domain),
                web: WebFace { is_https, port: face_port },
                port_host,
                ssh_port: ssh.first().map(SocketAddr::port),
                tcp_ports,
                udp_ports,
                session_ports,
                knock: self.knock.settings(&self.listen.knock, self.portal.is_hidden)?,
            },
            gateway: GatewaySettings {
                https,
                http: self.listen.http,
                local,
                quic,
                ssh,
                knock: self.listen.knock,
                public_port,
                port_ips: self.listen.ports.unwrap_or(EVERYWHERE.to_vec()),
                addresses,
                certificate,
                issuing,
                redirect,
                hsts,
                proxies,
                is_behind: behind.is_some(),
                portal: None,
                proxy_protocol_from,
                limits: self.limits.limits(),
                flows: self.limits.flows(),
            },
            operations,
            built_in: self.built_in,
            home: HomeSettings { mapping, names },
            audit: self.audit.settings().map_err(|(key, why)| wrong(key, why))?,
            alerts: alert::destinations(self.alert).map_err(|why| wrong("alert", why))?,
            providers: sign_in::providers(self.sign_in.oidc, environment).map_err(|why| wrong("sign-in", why))?,
            offline_after: self.offline_after_seconds.map_or(USUAL_GRACE, seconds),
            drain: self.drain_seconds.map_or(DRAIN, Duration::from_secs),
            needed,
            fixed,
            notes,
        })
    }
}

fn seconds(seconds: u32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(seconds))
}

fn localhost() -> HostName {
    HostName::parse("localhost").expect("a constant name")
}

/// A port that is often somebody else's already is no reason not to serve.
fn usual_ssh(notes: &mut Vec<String>) -> Vec<SocketAddr> {
    if std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, SSH_PORT)).is_ok() {
        return EVERYWHERE.map(|ip| SocketAddr::new(ip, SSH_PORT)).to_vec();
    }
    notes.push(format!(
        "port {SSH_PORT} is somebody else's, so nobody comes in by ssh; another port for it is set by `ssh` under \
         [listen] in gateway.toml"
    ));
    Vec::new()
}

/// The names that agents dial.
fn link_hosts(addresses: &[Address]) -> Vec<HostName> {
    let hosts = addresses.iter().flat_map(Address::endpoints).filter_map(|endpoint| match endpoint.host {
        Host::Name(name) => Some(name),
        Host::Ip(_) => None,
    });
    let mut hosts: Vec<_> = hosts.collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

fn port_range(given: Option<&str>) -> Result<RangeInclusive<u16>, String> {
    let Some(given) = given else { return Ok(PORT_POOL) };
    let range = match given.split_once('-') {
        Some((first, last)) => first.trim().parse().ok().zip(last.trim().parse().ok()),
        None => given.trim().parse().ok().map(|port| (port, port)),
    };
    match range {
        Some((first, last)) if first > 0 && first <= last => Ok(first..=last),
        Some(_) | None => Err(format!("\"{given}\" is not a range of ports: write it as \"20000-20999\"")),
    }
}

#[cfg(test)]
mod tests;
