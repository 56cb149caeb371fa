use super::people::{person_named, standing};
use super::services::record_named;
use crate::PortalState;
use crate::answer::{Asked, At, Body, Problem, Seen, Versioned};
use axum::Json;
use axum::extract::State;
use doorward_control::{SessionError, SessionRequest, SessionSummary};
use doorward_core::SessionId;
use doorward_core::access::{Proof, preview};
use doorward_core::names::Label;
use doorward_core::session::{Session, USUAL_LENGTH};
use doorward_core::span::parse_span;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SessionBody {
    id: SessionId,
    /// `null`: they are gone.
    person: Option<Label>,
    /// As `device/service`; `null`: it is gone.
    service: Option<String>,
    opened_at: Timestamp,
    until: Timestamp,
    used_at: Timestamp,
    /// `null`: it is open.
    ended_at: Option<Timestamp>,
    /// `time`, `hand`, `idle` or `gone`.
    ending: Option<&'static str>,
    version: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Those that are over, too.
    #[serde(default)]
    all: bool,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenBody {
    person: String,
    /// As `device/service`.
    service: String,
    /// As `30m`.
    #[serde(rename = "for")]
    length: Option<String>,
    /// The same again gets the same session.
    request: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtendBody {
    #[serde(rename = "for")]
    length: Option<String>,
}

/// One person's answer, if they came now.
#[derive(Serialize)]
pub(crate) struct PreviewBody {
    person: Label,
    standing: &'static str,
    admitted: bool,
    /// Of those who are admitted; `null`: without an end.
    until: Option<Timestamp>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

const USUAL_LIMIT: u32 = 1000;
const MOST: u32 = 10_000;

pub(crate) async fn list(
    State(state): State<PortalState>,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Vec<SessionBody>>, Problem> {
    let limit = query.limit.unwrap_or(USUAL_LIMIT).min(MOST);
    let sessions = state.control.sessions(query.all, limit, (state.clock)()).await?;
    Ok(Json(sessions.into_iter().map(body).collect()))
}

pub(crate) async fn open(
    State(state): State<PortalState>,
    Body(asked): Body<OpenBody>,
) -> Result<(StatusCode, Versioned<SessionBody>), Problem> {
    let account = person_named(&state.control.snapshot(), &asked.person)?.id;
    let Some((device, service)) = asked.service.split_once('/') else {
        return Err(Problem::invalid("write the service as DEVICE/SERVICE"));
    };
    let service = record_named(&state, device, service)?.service.id;
    let length = length(asked.length.as_deref())?;
    let request = SessionRequest { account, service, length, source: None, id: asked.request };
    let session = state.control.open_session(request, (state.clock)()).await?;
    Ok((StatusCode::CREATED, shown(&state, session).await?))
}

pub(crate) async fn extend(
    State(state): State<PortalState>,
    At(id): At<i64>,
    Seen(version): Seen,
    Body(asked): Body<ExtendBody>,
) -> Result<Versioned<SessionBody>, Problem> {
    let length = length(asked.length.as_deref())?;
    let session = state.control.extend_session(SessionId(id), length, None, version, (state.clock)()).await?;
    shown(&state, session).await
}

pub(crate) async fn end(
    State(state): State<PortalState>,
    At(id): At<i64>,
    Seen(version): Seen,
) -> Result<StatusCode, Problem> {
    state.control.end_session(SessionId(id), version, (state.clock)()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who of the people here would be let in now, from wherever they come, with the session that they have.
pub(crate) async fn who(
    State(state): State<PortalState>,
    At((device, service)): At<(String, String)>,
) -> Result<Json<Vec<PreviewBody>>, Problem> {
    let record = record_named(&state, &device, &service)?;
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let mut people: Vec<_> = snapshot.people().cloned().collect();
    people.sort_by(|a, b| a.name.cmp(&b.name));
    let answer = |person: &std::sync::Arc<doorward_core::person::Person>| {
        let session = snapshot.session_for(person.id, record.service.id).map(|session| Proof::Session(session.id));
        let proofs: Vec<_> = std::iter::once(Proof::Person(person.id)).chain(session).collect();
        let answer = preview(&record.service, &proofs, &*snapshot, now);
        PreviewBody {
            person: person.name.clone(),
            standing: standing(person, now),
            admitted: answer.is_ok(),
            until: answer.as_ref().ok().copied().flatten(),
            why: answer.err().map(|denied| denied.to_string()),
        }
    };
    Ok(Json(people.iter().map(answer).collect()))
}

fn length(given: Option<&str>) -> Result<SignedDuration, Problem> {
    given.map_or(Ok(USUAL_LENGTH), |text| parse_span(text).map_err(Problem::invalid))
}

async fn shown(state: &PortalState, session: Session) -> Result<Versioned<SessionBody>, Problem> {
    let summary = state.control.session_summary(session.id, (state.clock)()).await?;
    let summary = summary.ok_or_else(|| Problem::unknown(format!("there is no session {}", session.id)))?;
    Ok(Versioned(summary.session.version, body(summary)))
}

fn body(summary: SessionSummary) -> SessionBody {
    let SessionSummary { session, person, service, used_at, ended } = summary;
    SessionBody {
        id: session.id,
        person,
        service,
        opened_at: session.opened_at,
        until: session.until,
        used_at,
        ended_at: ended.map(|(_, at)| at),
        ending: ended.map(|(how, _)| how.word()),
        version: session.version,
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        let what = error.to_string();
        match error {
            SessionError::Refused(_) => Self::new(
                StatusCode::CONFLICT,
                what,
                "look at who may use it, and how, with `doorward access DEVICE/SERVICE`",
            ),
            SessionError::Unknown(_) => Self::unknown(what),
            SessionError::Stale { current } => doorward_control::EditError::Stale { current }.into(),
            SessionError::Invalid(_) => Self::invalid(what),
            SessionError::Store(error) => error.into(),
        }
    }
}
