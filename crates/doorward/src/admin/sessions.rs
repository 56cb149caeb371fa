//! `doorward sessions`.

use super::client::segment;
use super::when::{relative, span};
use super::{AskError, Form, Owner, ServicePath, Table};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use std::net::IpAddr;

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
    reach: Option<Reach>,
}

/// Where foreign software comes in by it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reach {
    host: Option<String>,
    port: Option<u16>,
    line: Option<String>,
    /// Past the gateway.
    straight: Option<Straight>,
    from: Vec<String>,
    why_not: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Straight {
    host: Option<String>,
    port: Option<u16>,
}

#[derive(Clone, Debug)]
pub struct Opening {
    pub person: String,
    pub service: ServicePath,
    /// As `30m`.
    pub length: String,
    pub takes_over: bool,
    /// Addresses from which they come.
    pub from: Vec<IpAddr>,
}

/// What came of it: open at once, or not yet.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Opened {
    Waiting(Waiting),
    Open(Box<Session>),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Waiting {
    InLine(Turn),
    Asked(Asked),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Turn {
    place: usize,
    taken_until: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    id: i64,
    by: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Line {
    holder: Option<Holder>,
    waiting: Vec<Waiter>,
}

#[derive(Debug, Deserialize)]
struct Holder {
    person: Option<String>,
    until: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Waiter {
    person: Option<String>,
    offered_until: Option<Timestamp>,
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
    let mut table = Table::new(&["ID", "PERSON", "SERVICE", "OPENED", "ENDS", "PORT"]);
    for session in sessions {
        let ends = match (session.ended_at, session.ending) {
            (Some(at), Some(how)) => format!("{} ({how})", relative(at, now)),
            (_, _) => relative(session.until, now),
        };
        let gone = || "(gone)".to_owned();
        let (person, service) = (session.person.unwrap_or_else(gone), session.service.unwrap_or_else(gone));
        let port = session.reach.as_ref().map(Reach::places).unwrap_or_default();
        table.row([session.id.to_string(), person, service, relative(session.opened_at, now), ends, port]);
    }
    Ok(table.to_string())
}

pub async fn open(owner: &Owner, opening: Opening, now: Timestamp) -> Result<String, AskError> {
    let Opening { person, service, length, takes_over, from } = opening;
    let service_path = service.to_string();
    let body =
        json!({ "person": person, "service": service_path, "for": length, "take-over": takes_over, "from": from });
    let opened: Opened = owner.ask(Method::POST, "/sessions", Some(body)).await?.read()?;
    Ok(match opened {
        Opened::Open(session) => {
            let reach = session.reach.as_ref().map(Reach::described).unwrap_or_default();
            format!("{service} is open for {person}, {}.\n{reach}", until(&session, now))
        }
        Opened::Waiting(Waiting::InLine(Turn { place, taken_until })) => {
            let taken = taken_until.map(|until| format!("Somebody has {service} until {until}. ")).unwrap_or_default();
            format!("{taken}{person} waits in line, at place {place}.\n")
        }
        Opened::Waiting(Waiting::Asked(Asked { id, by })) => {
            let by = by.unwrap_or_default();
            format!("Somebody of {by} must approve it: `doorward approvals approve {id} --as NAME`.\n")
        }
    })
}

/// Who has it, and who waits.
pub async fn line(owner: &Owner, service: &ServicePath, now: Timestamp) -> Result<String, AskError> {
    let place = format!("/services/{}/{}/line", segment(&service.device), segment(&service.service));
    let Line { holder, waiting } = owner.get(&place).await?.read()?;
    let name = |person: Option<String>| person.unwrap_or_else(|| "(gone)".to_owned());
    let mut text = match holder {
        Some(Holder { person, until }) => format!("{} has {service} until {until}.\n", name(person)),
        None => format!("Nobody has {service}.\n"),
    };
    for (place, Waiter { person, offered_until }) in (1..).zip(waiting) {
        let turn = offered_until.map(|until| format!(", whose turn it is until {}", relative(until, now)));
        text += &format!("{place:>4}. {}{}\n", name(person), turn.unwrap_or_default());
    }
    Ok(text)
}

pub async fn leave(owner: &Owner, service: &ServicePath, person: &str) -> Result<String, AskError> {
    let (device, name) = (segment(&service.device), segment(&service.service));
    owner.ask(Method::DELETE, &format!("/services/{device}/{name}/line/{}", segment(person)), None).await?;
    Ok(format!("{person} does not wait for {service}.\n"))
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

impl Reach {
    fn place(&self) -> Option<String> {
        place(self.host.as_deref(), self.port)
    }

    /// The straight way first.
    fn places(&self) -> String {
        let straight = self.straight.as_ref().and_then(|straight| place(straight.host.as_deref(), straight.port));
        straight.into_iter().chain(self.place()).collect::<Vec<_>>().join(", ")
    }

    /// A line to copy, and for whom.
    pub fn described(&self) -> String {
        let Some(place) = self.place() else { return self.why_not.iter().map(|why| format!("{why}\n")).collect() };
        let line = self.line.as_ref().filter(|line| **line != place).map(|line| format!("   {line}"));
        let from = match self.from.as_slice() {
            [] => {
                "  from nowhere yet: `doorward sessions open … --from ADDRESS`, or their page of sessions\n".to_owned()
            }
            from => format!("  from {}\n", from.join(", ")),
        };
        format!("  {place}{}\n{from}", line.unwrap_or_default())
    }
}

fn place(host: Option<&str>, port: Option<u16>) -> Option<String> {
    host.zip(port).map(|(host, port)| format!("{host}:{port}"))
}

fn until(session: &Session, now: Timestamp) -> String {
    format!("until {} (another {}), as session {}", session.until, span(session.until.duration_since(now)), session.id)
}
