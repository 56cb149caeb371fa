//! Whether DNS leads visitors here. Nothing is ordered before: an authority would only find out that it does not, and
//! take that as one failure of the few it puts up with.

use super::challenges::{ACME_PATH, Challenges};
use super::dns::lookup::{Lookup, LookupError};
use super::dns::{Dns, delegating_records};
use super::settings::{DnsSettings, IssuingSettings};
use doorward_control::Control;
use doorward_core::certificates::{CertificateName, Names};
use doorward_core::names::HostName;
use rand::RngExt;
use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A record that somebody has to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsRecord {
    pub name: String,
    pub kind: &'static str,
    pub value: String,
}

impl fmt::Display for DnsRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.kind, self.value)
    }
}

pub(super) struct Eyes {
    control: Control,
    lookup: Lookup,
    public: Vec<IpAddr>,
    challenges: Arc<Challenges>,
}

const LOOK_LIMIT: Duration = Duration::from_secs(12);
const PROBE_LIMIT: Duration = Duration::from_secs(4);
/// Where authorities look for files (RFC 8555, 8.3).
const HTTP_PORT: u16 = 80;

/// Every record that a domain needs, before services have names elsewhere. `public`: this machine's addresses, where
/// they are known.
pub fn needed_records(domain: &HostName, settings: &IssuingSettings, public: &[IpAddr]) -> Vec<DnsRecord> {
    let public = if settings.public.is_empty() { public } else { &settings.public };
    let mut records = address_records(domain.as_str(), public);
    records.extend(address_records(&format!("*.{domain}"), public));
    if let Some(DnsSettings::Responder(responder)) = &settings.dns {
        let delegating = delegating_records(domain, responder);
        records.extend(delegating);
    }
    records
}

/// The address records of a name.
pub(super) fn address_records(name: &str, public: &[IpAddr]) -> Vec<DnsRecord> {
    let record = |kind, value: String| DnsRecord { name: name.to_owned(), kind, value };
    if public.is_empty() {
        return vec![record("A", "this machine's public address".to_owned())];
    }
    public.iter().map(|ip| record(if ip.is_ipv4() { "A" } else { "AAAA" }, ip.to_string())).collect()
}

impl Eyes {
    pub(super) fn new(control: Control, lookup: Lookup, public: Vec<IpAddr>, challenges: Arc<Challenges>) -> Self {
        Self { control, lookup, public, challenges }
    }

    /// The addresses that lead here, as far as somebody said so: the owner, or the router at home.
    fn public(&self) -> Vec<IpAddr> {
        if self.public.is_empty() { self.control.home().borrow().addresses() } else { self.public.clone() }
    }

    /// What DNS does not say yet, in words; empty if all is well.
    pub(super) async fn missing(&self, names: &Names, dns: Option<&Dns>) -> Vec<String> {
        let mut missing = Vec::new();
        for name in names.iter() {
            let look = async {
                match name {
                    CertificateName::Host(host) => self.look(host, host.as_str()).await,
                    CertificateName::Below(parent) => {
                        let shown = format!("*.{parent}");
                        // A name that nobody can have set up by itself.
                        let probe = parent.child(&format!("doorward-{:08x}", rand::rng().random::<u32>()));
                        let address = match probe {
                            Ok(probe) => self.look(&probe, &shown).await,
                            Err(error) => Some(error.to_string()),
                        };
                        match (address, dns) {
                            (None, Some(dns)) => delegation(dns, parent).await,
                            (address, _) => address,
                        }
                    }
                    CertificateName::Ip(_) => None,
                }
            };
            let found = timeout(LOOK_LIMIT, look).await;
            missing.extend(found.unwrap_or_else(|_| Some(format!("{name}: DNS does not answer"))));
        }
        missing
    }

    async fn look(&self, name: &HostName, shown: &str) -> Option<String> {
        let wanted = address_records(shown, &self.public());
        let wanted = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let found = match self.lookup.addresses(name).await {
            Ok(found) => found,
            Err(LookupError::Silence { why, .. } | LookupError::Setup(why)) => {
                return Some(format!("{wanted} (DNS does not answer: {why})"));
            }
        };
        if found.is_empty() {
            return Some(format!("{wanted} (DNS does not know the name)"));
        }
        let mut strange = Vec::new();
        for ip in found {
            if !self.is_ours(ip, name).await {
                strange.push(ip.to_string());
            }
        }
        (!strange.is_empty()).then(|| format!("{wanted} (DNS says {}, which does not lead here)", strange.join(", ")))
    }

    async fn is_ours(&self, ip: IpAddr, name: &HostName) -> bool {
        let is_told = self.public.contains(&ip) || self.control.home().borrow().leads_here(ip);
        // Only an address of this machine can be bound.
        is_told || UdpSocket::bind((ip, 0)).is_ok() || self.leads_here(ip, name).await
    }

    /// A router or cloud may pass the address on to here: then what is shown here is seen there.
    async fn leads_here(&self, ip: IpAddr, name: &HostName) -> bool {
        let token = format!("{:032x}", rand::rng().random::<u128>());
        let secret = format!("{:032x}", rand::rng().random::<u128>());
        let _shown = self.challenges.present_text(&token, &secret);
        let asking = async {
            let mut socket = TcpStream::connect(SocketAddr::new(ip, HTTP_PORT)).await?;
            let request = format!("GET {ACME_PATH}{token} HTTP/1.0\r\nHost: {name}\r\n\r\n");
            socket.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            socket.take(4096).read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer.ends_with(&secret))
        };
        matches!(timeout(PROBE_LIMIT, asking).await, Ok(Ok(true)))
    }
}

async fn delegation(dns: &Dns, domain: &HostName) -> Option<String> {
    let what = match dns.is_heard(domain).await {
        Ok(true) => return None,
        Ok(false) => "nobody hears what the responder here says".to_owned(),
        Err(error) => error.to_string(),
    };
    let records: Vec<_> = dns.records_for(domain).iter().map(ToString::to_string).collect();
    Some(format!("{} ({what})", records.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_are_said_as_they_have_to_be_written() {
        let public = ["203.0.113.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let words: Vec<_> = address_records("*.gw.net", &public).iter().map(ToString::to_string).collect();
        assert_eq!(words, ["*.gw.net A 203.0.113.7", "*.gw.net AAAA 2001:db8::7"]);
        assert_eq!(address_records("gw.net", &[])[0].to_string(), "gw.net A this machine's public address");
    }
}
