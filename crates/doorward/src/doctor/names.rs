//! Whether the gateway's names lead to it: its domain, any name below that, and the names that devices dial.

use super::carriers::{self, Outcome};
use super::{Finding, LOOK};
use crate::admin::status::Status;
use doorward_core::names::HostName;
use doorward_core::site::{Address, Fingerprint, Host};
use rand::RngExt;
use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use tokio::net::lookup_host;
use tokio::time::timeout;

pub(super) async fn examine(status: &Status) -> Vec<Finding> {
    let addresses: Vec<_> = status.addresses.iter().filter_map(|text| Address::parse(text).ok()).collect();
    let keys = [Some(&status.site_key), status.site_key_successor.as_ref()];
    let keys = keys.into_iter().flatten().filter_map(|key| Fingerprint::try_from(key.clone()).ok());
    let site = Site { keys: keys.collect(), port: port(&addresses) };
    let domain = status.domain.as_deref().filter(|domain| *domain != "localhost" && !domain.ends_with(".localhost"));
    let mut looks = Vec::new();
    if let Some(domain) = domain {
        looks.push(site.look(domain.to_owned(), Role::Domain));
        looks.push(site.look(format!("doctor-{:08x}.{domain}", rand::rng().random::<u32>()), Role::Below(domain)));
    }
    for name in dialled(&addresses).into_iter().filter(|name| Some(name.as_str()) != domain) {
        looks.push(site.look(name, Role::Dialled));
    }
    let mut findings = futures_util::future::join_all(looks).await;
    if domain.is_none() {
        let what = "there is none: services have names that only this machine finds";
        findings
            .insert(0, Finding::note("domain", what, "give the gateway one: `doorward serve --domain example.org`"));
    }
    findings
}

fn port(addresses: &[Address]) -> u16 {
    addresses.iter().flat_map(Address::endpoints).map(|endpoint| endpoint.port).next().unwrap_or(443)
}

/// The names in addresses.
pub(super) fn dialled(addresses: &[Address]) -> BTreeSet<String> {
    let name = |host: Host| match host {
        Host::Name(name) => Some(name.to_string()),
        Host::Ip(_) => None,
    };
    addresses.iter().flat_map(Address::endpoints).filter_map(|endpoint| name(endpoint.host)).collect()
}

#[derive(Clone, Copy)]
enum Role<'d> {
    Domain,
    /// A name below the domain that nobody can have set up by itself.
    Below(&'d str),
    Dialled,
}

struct Site {
    keys: Vec<Fingerprint>,
    port: u16,
}

/// Where a name leads.
enum Lead {
    Nowhere,
    /// DNS does not say.
    Silence,
    Here,
    /// To an address that is not ours, behind which this gateway answers.
    HereByDetour,
    Elsewhere(String),
    /// Nothing can be said from here.
    Unknown(String),
}

impl Site {
    async fn look(&self, name: String, role: Role<'_>) -> Finding {
        let lead = self.follow(&name).await;
        let (hop, shown) = match role {
            Role::Domain => ("domain", name.clone()),
            Role::Below(domain) => ("domain", format!("*.{domain}")),
            Role::Dialled => ("address", name.clone()),
        };
        match lead {
            Lead::Here => Finding::fine(hop, format!("{shown} leads to this machine")),
            Lead::HereByDetour => Finding::fine(hop, format!("{shown} leads to this gateway, by a router or proxy")),
            Lead::Nowhere => Finding::wrong(hop, format!("{shown} does not resolve"), record(role, &shown)),
            Lead::Silence => {
                let what = format!("{shown}: DNS did not answer within {} s", LOOK.as_secs());
                Finding::wrong(hop, what, RESOLVER)
            }
            Lead::Elsewhere(ips) => {
                let what = format!("{shown} leads to {ips}, where another machine answers");
                Finding::wrong(hop, what, record(role, &shown))
            }
            Lead::Unknown(ips) => {
                let what = format!(
                    "{shown} leads to {ips}, which is not an address of this machine and does not answer from here"
                );
                Finding::note(
                    hop,
                    what,
                    "fine if a router or the provider passes it on to here; otherwise correct the DNS record",
                )
            }
        }
    }

    async fn follow(&self, name: &str) -> Lead {
        let found = match resolve(name).await {
            Resolved::To(found) => found,
            Resolved::Nothing => return Lead::Nowhere,
            Resolved::Silence => return Lead::Silence,
        };
        if found.iter().all(|ip| is_own(*ip)) {
            return Lead::Here;
        }
        let ips = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let Ok(host) = HostName::parse(name) else { return Lead::Unknown(ips) };
        let address = Address::any(Host::Name(host), self.port);
        let tried = carriers::try_all(&[address], &self.keys, None).await;
        if tried.iter().any(|tried| matches!(tried.outcome, Outcome::Answered { .. })) {
            return Lead::HereByDetour;
        }
        let is_strange = tried.iter().any(|tried| matches!(tried.outcome, Outcome::Stranger { .. }));
        if is_strange { Lead::Elsewhere(ips) } else { Lead::Unknown(ips) }
    }
}

pub(super) enum Resolved {
    To(BTreeSet<IpAddr>),
    Nothing,
    Silence,
}

pub(super) async fn resolve(name: &str) -> Resolved {
    match timeout(LOOK, lookup_host((name, 0))).await {
        Ok(Ok(found)) => {
            let found: BTreeSet<_> = found.map(|address| address.ip()).collect();
            if found.is_empty() { Resolved::Nothing } else { Resolved::To(found) }
        }
        Ok(Err(_)) => Resolved::Nothing,
        Err(_) => Resolved::Silence,
    }
}

pub(super) const RESOLVER: &str =
    "look at this machine's DNS: /etc/resolv.conf, and whether its servers can be reached";

fn record(role: Role<'_>, name: &str) -> String {
    match role {
        Role::Below(_) => {
            format!("make a wildcard record in DNS: `{name} A` (and AAAA) with this machine's public address")
        }
        Role::Domain | Role::Dialled => {
            format!("make a record in DNS: `{name} A` (and AAAA) with this machine's public address")
        }
    }
}

/// Only an address of this machine can be listened on.
fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Standing;

    fn status(domain: &str, addresses: &[&str]) -> Status {
        serde_json::from_value(serde_json::json!({
            "release": "0.1.0", "domain": domain, "site-key": "07".repeat(32), "site-key-successor": null,
            "addresses": addresses, "devices": 0, "devices-online": 0, "services": 0, "ports": [],
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_name_that_leads_nowhere_is_wrong_and_the_record_is_said() {
        let findings = examine(&status("doorward.invalid", &["127.0.0.1:1", "localhost:1"])).await;
        let [domain, below, dialled] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!((domain.standing, below.standing), (Standing::Wrong, Standing::Wrong), "{findings:?}");
        assert!(below.remedy.as_ref().unwrap().contains("`*.doorward.invalid A`"), "{below:?}");
        assert_eq!((dialled.standing, dialled.what.as_str()), (Standing::Fine, "localhost leads to this machine"));
    }

    #[tokio::test]
    async fn without_a_domain_there_is_only_a_note() {
        let findings = examine(&status("localhost", &["127.0.0.1:1"])).await;
        assert_eq!(findings.iter().map(|f| f.standing).collect::<Vec<_>>(), [Standing::Note]);
    }
}
