//! `doorward devices`.

use super::client::segment;
use super::invites::Made;
use super::when::{relative, span};
use super::{AskError, Form, Owner, Table};
use doorward_core::Secret;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    pub name: String,
    title: String,
    pub revoked_at: Option<Timestamp>,
    #[serde(flatten)]
    pub link: Link,
    agent_version: Option<String>,
    services: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "link")]
pub enum Link {
    Online { since: Timestamp, carrier: String, source: String, rtt_ms: Option<f64> },
    Offline { since: Option<Timestamp> },
}

pub async fn all(owner: &Owner) -> Result<Vec<Device>, AskError> {
    owner.get("/devices").await?.read()
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/devices").await?;
    let devices: Vec<Device> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if devices.is_empty() {
        return Ok("No device has joined yet. `doorward invite` makes an invite for one.\n".to_owned());
    }
    let mut table = Table::new(&["NAME", "TITLE", "LINK", "SINCE", "FROM", "AGENT", "SERVICES"]);
    for device in &devices {
        table.row(device.cells(now));
    }
    Ok(table.to_string())
}

impl Device {
    fn cells(&self, now: Timestamp) -> [String; 7] {
        let title = if self.title == self.name { String::new() } else { self.title.clone() };
        let (link, since, from) = match (&self.link, self.revoked_at) {
            (_, Some(at)) => ("revoked".to_owned(), relative(at, now), String::new()),
            (Link::Online { since, carrier, source, rtt_ms }, None) => {
                let round_trip = rtt_ms.map(|ms| format!(" {ms:.0} ms")).unwrap_or_default();
                (format!("{carrier}{round_trip}"), relative(*since, now), source.clone())
            }
            (Link::Offline { since: Some(at) }, None) => ("offline".to_owned(), relative(*at, now), String::new()),
            (Link::Offline { since: None }, None) => ("never seen".to_owned(), String::new(), String::new()),
        };
        let agent = self.agent_version.as_deref().unwrap_or_default();
        let agent = agent.strip_prefix("doorward ").unwrap_or(agent).to_owned();
        let services = if self.services.is_empty() { "-".to_owned() } else { self.services.join(", ") };
        [self.name.clone(), title, link, since, from, agent, services]
    }

    /// `online`, `offline 3 h`, `revoked`.
    pub fn state(&self, now: Timestamp) -> String {
        match (&self.link, self.revoked_at) {
            (_, Some(_)) => "revoked".to_owned(),
            (Link::Online { .. }, None) => "online".to_owned(),
            (Link::Offline { since: Some(at) }, None) => format!("offline {}", span(at.duration_until(now))),
            (Link::Offline { since: None }, None) => "never seen".to_owned(),
        }
    }
}

pub async fn rename(owner: &Owner, old: &str, new: &str) -> Result<String, AskError> {
    let path = format!("/devices/{}", segment(old));
    let device: Device = owner.ask(Method::PATCH, &path, Some(json!({ "name": new }))).await?.read()?;
    let name = device.name;
    Ok(format!(
        "{old} is called {name} from now on. Its old host names keep working until you\n\
         release them: `doorward services` lists them, `doorward release HOST` gives one up.\n"
    ))
}

pub async fn revoke(owner: &Owner, name: &str) -> Result<String, AskError> {
    let path = format!("/devices/{}/revoke", segment(name));
    owner.ask(Method::POST, &path, None).await?;
    Ok(format!(
        "{name} is revoked: its link is cut and its key refused from now on.\n\
         Its names and ports stay its own: `doorward devices replace {name}` lets a machine take its place.\n"
    ))
}

/// The text of an invite for the machine that takes the device's place.
pub async fn replace(owner: &Owner, name: &str) -> Result<Secret<String>, AskError> {
    let path = format!("/devices/{}/replace", segment(name));
    Ok(owner.ask(Method::POST, &path, None).await?.read::<Made>()?.text())
}
