//! `doorward access`: who may use a service.

use super::client::segment;
use super::services::{self, Service, hours, networks, who};
use super::{AskError, Owner, ServicePath};
use anyhow::{anyhow, bail};
use doorward_control::passwords;
use doorward_core::Secret;
use doorward_core::access::{PolicyDocument, ScheduleDocument, WhoDocument};
use http::Method;

/// A whole policy as the flags say it.
#[derive(Debug)]
pub struct Wish {
    pub who: WhoWish,
    pub from: Vec<String>,
    pub open: Vec<String>,
    pub zone: Option<String>,
}

#[derive(Debug)]
pub enum WhoWish {
    Public,
    Nobody,
    People(Vec<String>),
    Senders,
    /// By user name.
    Passwords(Vec<(String, Secret<String>)>),
}

impl Wish {
    /// Slow: hashes the passwords.
    pub fn into_document(self) -> anyhow::Result<PolicyDocument> {
        let Self { who, from, open, zone } = self;
        let mut document = PolicyDocument {
            from: (!from.is_empty()).then_some(from),
            when: zone.map(|zone| ScheduleDocument { zone, open }),
            ..PolicyDocument::default()
        };
        match who {
            WhoWish::Public => document.who = WhoDocument::Public,
            WhoWish::Nobody => document.who = WhoDocument::Nobody,
            WhoWish::Senders => document.who = WhoDocument::Senders,
            WhoWish::People(names) => (document.who, document.people) = (WhoDocument::People, names),
            WhoWish::Passwords(given) => {
                document.who = WhoDocument::Password;
                for (user, password) in given {
                    if document.passwords.insert(user.clone(), passwords::hash(&password)).is_some() {
                        bail!("--password {user} is there twice: a user has one password");
                    }
                }
            }
        }
        // Its message says all; the cause would say it once more.
        document.to_policy().map_err(|error| anyhow!("{error}"))?;
        Ok(document)
    }
}

pub async fn show(owner: &Owner, path: &ServicePath) -> Result<String, AskError> {
    Ok(description(&services::find(owner, path).await?))
}

pub async fn set(owner: &Owner, path: &ServicePath, document: &PolicyDocument) -> Result<String, AskError> {
    let body = serde_json::to_value(document).map_err(|error| AskError::Strange(error.to_string()))?;
    let service: Service = owner.ask(Method::PUT, &place(path), Some(body)).await?.read()?;
    Ok(description(&service))
}

/// What the device declares counts again.
pub async fn reset(owner: &Owner, path: &ServicePath) -> Result<String, AskError> {
    let service: Service = owner.ask(Method::DELETE, &place(path), None).await?.read()?;
    Ok(description(&service))
}

fn place(path: &ServicePath) -> String {
    format!("/services/{}/{}/access", segment(&path.device), segment(&path.service))
}

fn description(service: &Service) -> String {
    let access = &service.access;
    let from = access.from.as_ref().map_or_else(|| "anywhere".to_owned(), |from| networks(from));
    let open = match &access.when {
        Some(when) => format!("{} ({})", hours(&when.open), when.zone),
        None => "always".to_owned(),
    };
    let home = match service.access_home.as_str() {
        "device" => "the device, in its agent.toml".to_owned(),
        _ => "this gateway; `… reset` leaves it to the device".to_owned(),
    };
    let mut lines = vec![("who", who(access)), ("from", from), ("open", open), ("decided by", home)];
    lines.extend(service.reached_by.iter().map(|place| ("reached at", place.clone())));
    let mut text = format!("{}\n", service.path());
    for (key, value) in lines {
        text += &format!("  {key:<11} {}\n", crate::terminal::plain(&value));
    }
    text
}
