//! `doorward sessions`.

use super::when::{relative, span};
use super::{AskError, Form, Owner, ServicePath, Table};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Session {
    id: i64,
    person: Option<String>,
    service: Option<String>,
    opened_at: Timestamp,
    until: Timestamp,
    ended_at: Option<Timestamp>,
    ending: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Opening {
    pub person: String,
    pub service: ServicePath,
    /// As `30m`.
    pub length: String,
}

pub async fn list(owner: &Owner, all: bool, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get(if all { "/sessions?all=true" } else { "/sessions" }).await?;
    let sessions: Vec<Session> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if sessions.is_empty() {
        return Ok("No session is open.\n".to_owned());
    }
    let mut table = Table::new(&["ID", "PERSON", "SERVICE", "OPENED", "ENDS"]);
    for session in sessions {
        let ends = match (session.ended_at, session.ending) {
            (Some(at), Some(how)) => format!("{} ({how})", relative(at, now)),
            (_, _) => relative(session.until, now),
        };
        let gone = || "(gone)".to_owned();
        let (person, service) = (session.person.unwrap_or_else(gone), session.service.unwrap_or_else(gone));
        table.row([session.id.to_string(), person, service, relative(session.opened_at, now), ends]);
    }
    Ok(table.to_string())
}

pub async fn open(owner: &Owner, opening: Opening, now: Timestamp) -> Result<String, AskError> {
    let Opening { person, service, length } = opening;
    let body = json!({ "person": person, "service": service.to_string(), "for": length });
    let session: Session = owner.ask(Method::POST, "/sessions", Some(body)).await?.read()?;
    Ok(format!("{service} is open for {person}, {}.\n", until(&session, now)))
}

pub async fn extend(owner: &Owner, id: i64, length: &str, now: Timestamp) -> Result<String, AskError> {
    let path = format!("/sessions/{id}/extend");
    let session: Session = owner.ask(Method::POST, &path, Some(json!({ "for": length }))).await?.read()?;
    Ok(format!("Session {id} stands {}.\n", until(&session, now)))
}

pub async fn end(owner: &Owner, id: i64) -> Result<String, AskError> {
    owner.ask(Method::DELETE, &format!("/sessions/{id}"), None).await?;
    Ok(format!("Session {id} is over, and what came by it is cut.\n"))
}

fn until(session: &Session, now: Timestamp) -> String {
    format!("until {} (another {}), as session {}", session.until, span(session.until.duration_since(now)), session.id)
}
