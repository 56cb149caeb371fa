//! `doorward share` and `doorward shares`.

use super::client::segment;
use super::when::relative;
use super::{AskError, Form, Owner, ServicePath, Table, services};
use doorward_core::Secret;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::num::NonZeroU32;

/// What a link shall be; unsaid is the gateway's usual.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wish {
    pub service: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<NonZeroU32>,
    pub read_only: bool,
    pub pin: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// One just made.
#[derive(Debug)]
pub struct Made {
    pub url: Secret<String>,
    pub pin: Option<Secret<String>>,
    pub until: Timestamp,
}

#[derive(Deserialize)]
struct MadeBody {
    url: String,
    pin: Option<String>,
    until: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Share {
    id: i64,
    service: Option<String>,
    title: String,
    standing: String,
    until: Timestamp,
    read_only: bool,
    pin: bool,
    uses: Option<u32>,
    used: u32,
    viewers: Vec<Viewer>,
}

#[derive(Deserialize)]
struct Viewer {
    source: IpAddr,
    since: Timestamp,
    looking: bool,
}

/// `cam`, where there is one service of that name, or `pi/cam`.
pub async fn find(owner: &Owner, given: &str) -> Result<ServicePath, AskError> {
    if let Ok(path) = given.parse::<ServicePath>() {
        return Ok(path);
    }
    let all = services::all(owner).await?;
    let mut named = all.into_iter().filter(|service| service.name == given);
    match (named.next(), named.next()) {
        (Some(one), None) => Ok(ServicePath { device: one.device, service: one.name }),
        (Some(one), Some(other)) => {
            let (one, other) = (format!("{}/{given}", one.device), format!("{}/{given}", other.device));
            Err(unknown(format!("there is more than one \"{given}\": write {one} or {other}")))
        }
        (None, _) => Err(unknown(format!("there is no service \"{given}\""))),
    }
}

fn unknown(what: String) -> AskError {
    let remedy = Some("list what there is with `doorward services`".to_owned());
    AskError::Refused { status: StatusCode::NOT_FOUND, what, remedy }
}

pub async fn make(owner: &Owner, wish: &Wish) -> Result<Made, AskError> {
    let body = super::people::json(wish)?;
    let made: MadeBody = owner.ask(Method::POST, "/shares", Some(body)).await?.read()?;
    Ok(Made { url: Secret::new(made.url), pin: made.pin.map(Secret::new), until: made.until })
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/shares").await?;
    let shares: Vec<Share> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if shares.is_empty() {
        return Ok("Nothing is shared by a link. `doorward share DEVICE/SERVICE` makes one.\n".to_owned());
    }
    let mut table = Table::new(&["ID", "SERVICE", "STATE", "ENDS", "USED", "MAY", "LOOKING", "FOR"]);
    for share in shares {
        let used = share.uses.map_or_else(|| share.used.to_string(), |uses| format!("{} of {uses}", share.used));
        let may = if share.read_only { "look" } else { "do all" };
        let may = if share.pin { format!("{may}, with a PIN") } else { may.to_owned() };
        let looking = share.viewers.iter().filter(|viewer| viewer.looking);
        let looking: Vec<_> = looking.map(|v| format!("{} (since {})", v.source, relative(v.since, now))).collect();
        let service = share.service.unwrap_or_else(|| "(gone)".to_owned());
        let (id, ends) = (share.id.to_string(), relative(share.until, now));
        table.row([id, service, share.standing, ends, used, may, looking.join(", "), share.title]);
    }
    Ok(table.to_string())
}

pub async fn revoke(owner: &Owner, id: i64) -> Result<String, AskError> {
    owner.ask(Method::DELETE, &format!("/shares/{}", segment(&id.to_string())), None).await?;
    Ok(format!("Share link {id} is over; whoever came by it was cut.\n"))
}
