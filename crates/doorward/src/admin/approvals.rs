//! `doorward approvals`.

use super::when::relative;
use super::{AskError, Form, Owner, Table};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Request {
    id: i64,
    person: Option<String>,
    service: Option<String>,
    #[serde(rename = "for")]
    length: String,
    until: Timestamp,
    by: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Link {
    token: String,
    url: Option<String>,
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/approvals").await?;
    let requests: Vec<Request> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if requests.is_empty() {
        return Ok("No session waits for approval.\n".to_owned());
    }
    let mut table = Table::new(&["ID", "PERSON", "SERVICE", "FOR", "BY", "WAITS UNTIL"]);
    for Request { id, person, service, length, until, by } in requests {
        let or_gone = |text: Option<String>| text.unwrap_or_else(|| "(gone)".to_owned());
        table.row([id.to_string(), or_gone(person), or_gone(service), length, or_gone(by), relative(until, now)]);
    }
    Ok(table.to_string())
}

/// In the name of somebody who may.
pub async fn answer(owner: &Owner, id: i64, name: &str, is_yes: bool) -> Result<String, AskError> {
    let deed = if is_yes { "approve" } else { "refuse" };
    owner.ask(Method::POST, &format!("/approvals/{id}/{deed}"), Some(json!({ "as": name }))).await?;
    Ok(format!("Request {id} is {}.\n", if is_yes { "approved" } else { "refused" }))
}

pub async fn link(owner: &Owner, id: i64, name: &str) -> Result<String, AskError> {
    let place = format!("/approvals/{id}/link");
    let link: Link = owner.ask(Method::POST, &place, Some(json!({ "as": name }))).await?.read()?;
    let Link { token, url } = link;
    let shown = url.unwrap_or(token);
    Ok(format!("Whoever has this answers request {id} in the name of {name}, once:\n\n  {shown}\n"))
}
