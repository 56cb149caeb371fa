//! `doorward status`: the gateway at a glance.

use super::authority::{self, Authority};
use super::{AskError, Form, Owner, alerts};
use doorward_control::{
    AlertDestination, CertificateReport, CertificateState, HomeReport, MappingState, PortState, Reachability,
};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    pub release: String,
    pub domain: Option<String>,
    pub site_key: String,
    pub site_key_successor: Option<String>,
    #[serde(default)]
    pub site_key_awaited: Vec<String>,
    pub addresses: Vec<String>,
    pub devices: usize,
    pub devices_online: usize,
    pub services: usize,
    pub ports: Vec<PortStatus>,
    #[serde(default)]
    pub certificates: CertificateReport,
    #[serde(default)]
    pub home: HomeReport,
    #[serde(default)]
    pub alerts: BTreeMap<String, AlertDestination>,
}

#[derive(Debug, Deserialize)]
pub struct PortStatus {
    pub protocol: String,
    pub port: u16,
    pub service: Option<String>,
    pub state: Option<PortState>,
    pub reachability: Option<Reachability>,
}

pub async fn read(owner: &Owner) -> Result<Status, AskError> {
    owner.get("/status").await?.read()
}

pub async fn show(owner: &Owner, form: Form) -> Result<String, AskError> {
    let answer = owner.get("/status").await?;
    let status: Status = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    let mut lines = vec![
        ("release", status.release.clone()),
        ("data", owner.directory().display().to_string()),
        ("domain", status.domain.clone().unwrap_or_else(|| "none".to_owned())),
        ("agents dial", status.addresses.join(", ")),
        ("site key", status.site_key.clone()),
        ("devices", format!("{}, {} of them online", status.devices, status.devices_online)),
        ("services", status.services.to_string()),
        ("ports", status.ports_in_words()),
        ("certificates", status.certificates_in_words()),
        ("alerts", alerts::at_a_glance(&status.alerts)),
        ("own ca", own_authority_in_words(authority::find(owner).await?.as_ref())),
    ];
    lines.extend(status.home_in_words());
    if let Some(successor) = &status.site_key_successor {
        lines.insert(5, ("next key", format!("{successor} (`doorward site-key`)")));
    }
    let text = lines.iter().map(|(key, value)| format!("{key:<12} {value}\n")).collect::<String>();
    Ok(if status.troubles() > 0 {
        text + "\nSomething is wrong with ports: `doorward doctor` says more.\n"
    } else {
        text
    })
}

fn own_authority_in_words(own: Option<&Authority>) -> String {
    match own {
        Some(own) => format!("for {}, until {} (`doorward ca`)", own.scope_in_words(), own.not_after.strftime("%F")),
        None => "none".to_owned(),
    }
}

impl Status {
    fn ports_in_words(&self) -> String {
        if self.ports.is_empty() {
            return "none".to_owned();
        }
        let word = |port: &PortStatus| {
            let trouble = if port.is_trouble() { " (!)" } else { "" };
            format!("{}/{}{trouble}", port.protocol, port.port)
        };
        self.ports.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    fn certificates_in_words(&self) -> String {
        let report = &self.certificates;
        if report.sets.is_empty() {
            return "none are ordered".to_owned();
        }
        let is_fine = |state: &CertificateState| matches!(state, CertificateState::Fine { .. });
        let fine = report.sets.iter().filter(|set| is_fine(&set.state)).count();
        let budget = |authority: &doorward_control::AuthorityReport| {
            format!(
                "; {} of {} new ones this week from {}",
                authority.weekly_used, authority.weekly, authority.directory
            )
        };
        let waiting = if fine < report.sets.len() { " (`doorward doctor` says what is awaited)" } else { "" };
        let budgets: String = report.authorities.iter().map(budget).collect();
        format!("{fine} of {} are fine{waiting}{budgets}", report.sets.len())
    }

    /// What the router forwards and what names were told, where the gateway stands at home.
    fn home_in_words(&self) -> Vec<(&'static str, String)> {
        let home = &self.home;
        let mut lines = Vec::new();
        if !home.mappings.is_empty() {
            let words = home.mappings.iter().map(|mapping| match &mapping.state {
                MappingState::Asked => format!("{} is being asked for", mapping.listener),
                MappingState::Open { port, .. } => format!("{} from {port}", mapping.listener),
                MappingState::Failed { .. } => format!("{} not (!)", mapping.listener),
            });
            let ip = home.ipv4.map_or_else(|| "the router".to_owned(), |ip| ip.to_string());
            lines.push(("router", format!("{ip} forwards {}", words.collect::<Vec<_>>().join(", "))));
        }
        for name in &home.names {
            let told = [name.ipv4.map(|ip| ip.to_string()), name.ipv6.map(|ip| ip.to_string())];
            let told: Vec<_> = told.into_iter().flatten().collect();
            let told = if told.is_empty() { "nothing yet".to_owned() } else { told.join(" and ") };
            let at = name.told_at.map(|at| format!(", {}", at.strftime("%F %R UTC"))).unwrap_or_default();
            let trouble = if name.trouble.is_some() { " (!)" } else { "" };
            lines.push(("dynamic dns", format!("{} was told {told}{at}{trouble}", name.name)));
        }
        lines
    }

    fn troubles(&self) -> usize {
        self.ports.iter().filter(|port| port.is_trouble()).count()
    }
}

impl PortStatus {
    fn is_trouble(&self) -> bool {
        matches!(self.state, Some(PortState::Failed { .. }))
            || matches!(self.reachability, Some(Reachability::Unreachable { .. }))
    }
}
