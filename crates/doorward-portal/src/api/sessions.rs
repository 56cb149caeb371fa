use super::approvals::{ApprovalBody, approval_body};
use super::people::standing;
use super::session_reach::{ReachBody, note_sources, reach_body};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{Asked, At, Body, Problem, Seen, Versioned};
use crate::asker::{Asker, no_person, no_service};
use crate::caller::Source;
use crate::describe::{Created, Done, Given, Operation};
use crate::paging::{Listed, MOST, Paging};
use axum::Json;
use axum::response::{IntoResponse, Response};
use doorward_control::{Opening, SessionError, SessionRange, SessionRequest, SessionSummary};
use doorward_core::SessionId;
use doorward_core::access::{Denied, Proof, preview};
use doorward_core::names::Label;
use doorward_core::person::Person;
use doorward_core::schema::Instant;
use doorward_core::session::{Session, USUAL_LENGTH};
use doorward_core::span::parse_span;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SessionBody {
    id: SessionId,
    /// `null`: they are gone.
    person: Option<Label>,
    /// As `device/service`; `null`: it is gone.
    service: Option<String>,
    #[schemars(with = "Instant")]
    opened_at: Timestamp,
    #[schemars(with = "Instant")]
    until: Timestamp,
    #[schemars(with = "Instant")]
    used_at: Timestamp,
    /// `null`: it is open.
    #[schemars(with = "Option<Instant>")]
    ended_at: Option<Timestamp>,
    /// `time`, `hand`, `idle`, `gone` or `taken-over`.
    ending: Option<&'static str>,
    /// Who ended it by hand. `null`: nobody, whoever has the gateway's machine, or they are gone.
    ended_by: Option<Label>,
    /// Where foreign software comes in by it. `null`: it is over, or its service has no ports for sessions.
    reach: Option<ReachBody>,
    version: i64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Those that are over, too.
    #[serde(default)]
    all: bool,
    limit: Option<usize>,
    /// As the last answer's Link header has it.
    after: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenBody {
    /// Whoever asks, unless said otherwise.
    person: Option<String>,
    /// As `device/service`.
    service: String,
    /// As `30m`.
    #[serde(rename = "for")]
    length: Option<String>,
    /// The same again gets the same session.
    request: Option<String>,
    /// From whoever has it, where the policy lets them.
    #[serde(default, rename = "take-over")]
    take_over: bool,
    /// Addresses from which the person comes, for owners to name. From where one asks for oneself is noted by itself.
    #[serde(default)]
    from: Vec<IpAddr>,
}

/// What came of a wish for a session: it is open, or they wait in line, or for somebody's consent.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OpeningBody {
    Open {
        session: SessionId,
        #[schemars(with = "Instant")]
        until: Timestamp,
    },
    InLine(TurnBody),
    Asked(Box<ApprovalBody>),
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TurnBody {
    /// 1 is the next.
    place: usize,
    /// `null`: nobody has it; it is kept for the next.
    #[schemars(with = "Option<Instant>")]
    taken_until: Option<Timestamp>,
    /// `null`: it is not their turn yet. Else to be opened by then.
    #[schemars(with = "Option<Instant>")]
    offered_until: Option<Timestamp>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtendBody {
    #[serde(rename = "for")]
    length: Option<String>,
}

/// One person's answer, if they came now.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PreviewBody {
    person: Label,
    standing: &'static str,
    admitted: bool,
    /// Of those who are admitted; `null`: without an end.
    #[schemars(with = "Option<Instant>")]
    until: Option<Timestamp>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

const USUAL_LIMIT: usize = 1000;

pub(crate) async fn list(
    Acting(state): Acting,
    asker: Asker,
    Asked(query): Asked<ListQuery>,
) -> Result<Listed<SessionBody>, Problem> {
    let limit = query.limit.unwrap_or(USUAL_LIMIT).clamp(1, MOST);
    let before = Paging::new(None, query.after).after::<Reverse<i64>>()?.map(|Reverse(id)| SessionId(id));
    let range = SessionRange { with_ended: query.all, before, limit: limit as u32, of: asker.part_of_sessions() };
    let sessions = state.control.sessions_in(range, (state.clock)()).await?;
    let is_full = sessions.len() == limit;
    let sessions = sessions.into_iter().map(|session| body(&state, session)).collect();
    if !is_full {
        return Ok(Listed::whole(sessions));
    }
    let besides: &[_] = if query.all { &[("all", "true")] } else { &[] };
    Ok(Listed::piece(sessions, limit, besides, |session| Reverse(session.id.0)))
}

/// A session, or what it waits for.
pub(crate) enum Answer {
    Open(Box<Versioned<SessionBody>>),
    Waits(OpeningBody),
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Open(session) => Created(*session).into_response(),
            Self::Waits(waiting) => (StatusCode::ACCEPTED, Json(waiting)).into_response(),
        }
    }
}

impl Given for Answer {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        Created::<Versioned<SessionBody>>::describe(operation, schemas);
        let waiting = schemas.subschema_for::<OpeningBody>().to_value();
        let what = "it waits for a turn, or for somebody's consent";
        operation.answers(StatusCode::ACCEPTED, what, Some(("application/json", waiting)));
    }
}

pub(crate) async fn open(
    Acting(state): Acting,
    asker: Asker,
    source: Source,
    Body(asked): Body<OpenBody>,
) -> Result<Answer, Problem> {
    let length = length(asked.length.as_deref())?;
    let Some(path) = asked.service.split_once('/') else {
        return Err(Problem::invalid("write the service as DEVICE/SERVICE"));
    };
    let (person, request) = (asked.person.as_deref(), asked.request.clone());
    let from = asker.names_addresses(asked.from)?;
    let wanted = Wanted { path, person, length, request, takes_over: asked.take_over, source, from };
    match wanted.open(&state, &asker).await? {
        Opening::Open(session) => Ok(Answer::Open(shown(&state, session).await?.into())),
        waiting @ (Opening::InLine(_) | Opening::Asked(_)) => Ok(Answer::Waits(opening_body(&state, waiting))),
    }
}

/// What somebody wants to be open, by the names that they know.
pub(crate) struct Wanted<'o> {
    pub(crate) path: (&'o str, &'o str),
    /// `None`: whoever asks.
    pub(crate) person: Option<&'o str>,
    pub(crate) length: SignedDuration,
    pub(crate) request: Option<String>,
    /// From whoever has it.
    pub(crate) takes_over: bool,
    pub(crate) source: Source,
    /// Besides.
    pub(crate) from: Vec<IpAddr>,
}

impl Wanted<'_> {
    pub(crate) async fn open(mut self, state: &PortalState, asker: &Asker) -> Result<Opening, Problem> {
        let service = asker.known_service(state, self.path)?;
        let snapshot = state.control.snapshot();
        let named = |name: &str| {
            let found = Label::parse(name).ok().and_then(|label| snapshot.person_by_name(&label).cloned());
            let found = found.filter(|person| asker.opens_for(&snapshot, &service, person));
            found.map(|person| person.id).ok_or_else(|| no_person(name))
        };
        let account = self.person.map_or(Ok(asker.account), named)?;
        let (service, length, id) = (service.service.id, self.length, self.request);
        let request = SessionRequest { account, service, length, source: None, id, proofs: asker.proofs_for(account) };
        let (control, now) = (&state.control, (state.clock)());
        let opened = if self.takes_over {
            control.take_over(request, now).await
        } else {
            control.request_session(request, now).await
        };
        match opened {
            Err(SessionError::Refused(_)) if !asker.is_told_why(&snapshot, service) => Err(no_service(self.path)),
            answer => {
                let opening = answer?;
                if let Opening::Open(session) = &opening {
                    self.from.extend(self.source.0.filter(|_| account == asker.account));
                    note_sources(state, session.id, self.from).await?;
                }
                Ok(opening)
            }
        }
    }
}

pub(super) fn opening_body(state: &PortalState, opening: Opening) -> OpeningBody {
    match opening {
        Opening::Open(session) => OpeningBody::Open { session: session.id, until: session.until },
        Opening::InLine(turn) => OpeningBody::InLine(TurnBody {
            place: turn.place,
            taken_until: turn.taken_until,
            offered_until: turn.offered_until,
        }),
        Opening::Asked(request) => {
            OpeningBody::Asked(Box::new(approval_body(&state.control.snapshot(), &request, (state.clock)())))
        }
    }
}

pub(crate) async fn extend(
    Acting(state): Acting,
    asker: Asker,
    Source(source): Source,
    At(id): At<i64>,
    Seen(version): Seen,
    Body(asked): Body<ExtendBody>,
) -> Result<Versioned<SessionBody>, Problem> {
    asker.session(&state, SessionId(id)).await?;
    let length = length(asked.length.as_deref())?;
    let session = state.control.extend_session(SessionId(id), length, None, version, (state.clock)()).await?;
    if let Some(source) = source.filter(|_| session.account == asker.account) {
        // That there is no room for one more address keeps nobody from what they have.
        let _ = state.control.note_session_source(session.id, source, (state.clock)()).await;
    }
    shown(&state, session).await
}

pub(crate) async fn end(
    Acting(state): Acting,
    asker: Asker,
    At(id): At<i64>,
    Seen(version): Seen,
) -> Result<Done, Problem> {
    asker.session(&state, SessionId(id)).await?;
    state.control.end_session(SessionId(id), version, (state.clock)()).await?;
    Ok(Done)
}

/// Who of the people here would be let in now, from wherever they come, with the session that they have.
pub(crate) async fn who(
    Acting(state): Acting,
    asker: Asker,
    paging: Paging,
    At((device, service)): At<(String, String)>,
) -> Result<Listed<PreviewBody>, Problem> {
    let record = asker.service(&state, (&device, &service))?;
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let ask = |person: &Person| {
        let session = snapshot.session_for(person.id, record.service.id).map(|session| Proof::Session(session.id));
        let proofs: Vec<_> = std::iter::once(Proof::Person(person.id)).chain(session).collect();
        preview(&record.service, &proofs, &*snapshot, now)
    };
    // Whoever owns a device does not thereby know everybody whom the gateway knows.
    let is_shown = |person: &Person| asker.sees_everything() || ask(person) != Err(Denied::NotOneOfThem);
    let people = snapshot.people().filter(|person| is_shown(person)).cloned().collect();
    let listed = paging.of(people, |person: &Arc<Person>| person.name.to_string())?;
    Ok(listed.map(|person| {
        let answer = ask(&person);
        PreviewBody {
            person: person.name.clone(),
            standing: standing(&person, now),
            admitted: answer.is_ok(),
            until: answer.as_ref().ok().copied().flatten(),
            why: answer.err().map(|denied| denied.to_string()),
        }
    }))
}

fn length(given: Option<&str>) -> Result<SignedDuration, Problem> {
    given.map_or(Ok(USUAL_LENGTH), |text| parse_span(text).map_err(Problem::invalid))
}

pub(super) async fn shown(state: &PortalState, session: Session) -> Result<Versioned<SessionBody>, Problem> {
    let summary = state.control.session_summary(session.id, (state.clock)()).await?;
    let summary = summary.ok_or_else(|| Problem::unknown(format!("there is no session {}", session.id)))?;
    Ok(Versioned(summary.session.version, body(state, summary)))
}

fn body(state: &PortalState, summary: SessionSummary) -> SessionBody {
    let reach = summary.ended.is_none().then(|| reach_body(state, &summary.session)).flatten();
    let SessionSummary { session, person, service, used_at, ended, ended_by } = summary;
    SessionBody {
        id: session.id,
        person,
        service,
        opened_at: session.opened_at,
        until: session.until,
        used_at,
        ended_at: ended.map(|(_, at)| at),
        ending: ended.map(|(how, _)| how.word()),
        ended_by,
        reach,
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
            SessionError::InLine(_) => Self::new(StatusCode::CONFLICT, what, "wait until it is their turn"),
            SessionError::AwaitsApproval(_) => {
                Self::new(StatusCode::CONFLICT, what, "have it approved: `doorward approvals`")
            }
            SessionError::NoVoice(_) => {
                Self::new(StatusCode::CONFLICT, what, "have somebody of the group answer that its policy names")
            }
            SessionError::Store(error) => error.into(),
        }
    }
}
