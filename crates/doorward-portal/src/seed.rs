//! The routes of the system that Doorward grew out of, for scripts that know them: thin, and by the same table and policies.
//! Services have their numbers there. What a message says of addresses and ports is read and not believed: a session is bound
//! to its person and to where they ask from, and where a service leads only its device knows.

use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Body, Problem};
use crate::api::session_reach::{ReachBody, reach_body};
use crate::api::sessions::Wanted;
use crate::asker::{Asker, keep_to_the_table};
use crate::caller::Source;
use axum::middleware::from_fn;
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use doorward_control::ServiceRecord;
use doorward_core::authority::Action;
use doorward_core::{ServiceId, SessionId};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

pub(crate) fn routes() -> Router<PortalState> {
    let named = |action: Action, route: MethodRouter<PortalState>| {
        route.layer(from_fn(move |request, next| keep_to_the_table(action, request, next)))
    };
    Router::new()
        .route("/service/", named(Action::ListServices, get(list)))
        .route("/service/{id}", named(Action::ShowService, get(show)))
        .route("/conn/req/{id}", named(Action::OpenSession, post(open)))
        .route("/session/remove/{id}", named(Action::EndSession, post(remove)))
}

#[derive(Serialize)]
struct ServiceLine {
    id: i64,
    name: String,
    kind: doorward_core::service::ServiceKind,
    /// Where it is reached.
    public: Vec<String>,
}

/// The seed's message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    /// `add`: nothing else is meant by this route.
    action: Option<String>,
    /// In minutes.
    rule_timeout: Option<i64>,
    #[serde(rename = "ip_src")]
    _source: Option<Value>,
    #[serde(rename = "port_dst")]
    _public_port: Option<Value>,
    #[serde(rename = "ip_dst_lan")]
    _target: Option<Value>,
    #[serde(rename = "port_dst_lan")]
    _target_port: Option<Value>,
    #[serde(rename = "api_key")]
    _key: Option<Value>,
}

#[derive(Serialize)]
struct Opened {
    session: i64,
    service: i64,
    end_timestamp: Timestamp,
    public: Vec<String>,
    /// The session's own port. `null`: its service has none for sessions.
    reach: Option<ReachBody>,
}

const USUAL_MINUTES: i64 = 5;
const LONGEST_MINUTES: i64 = 998;

async fn list(Acting(state): Acting, asker: Asker) -> Json<Vec<ServiceLine>> {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let theirs = asker.services(&snapshot, None, usize::MAX, now);
    let mut lines: Vec<_> = theirs.iter().map(|record| line(&state, record)).collect();
    lines.sort_by_key(|line| line.id);
    Json(lines)
}

async fn show(Acting(state): Acting, asker: Asker, At(id): At<i64>) -> Result<Json<ServiceLine>, Problem> {
    Ok(Json(line(&state, &*numbered(&state, &asker, id)?)))
}

async fn open(
    Acting(state): Acting,
    asker: Asker,
    source: Source,
    At(id): At<i64>,
    Body(message): Body<Message>,
) -> Result<Json<Opened>, Problem> {
    if message.action.is_some_and(|action| action != "add") {
        return Err(Problem::invalid("action: \"add\" is all that can be asked for here"));
    }
    let minutes = message.rule_timeout.unwrap_or(USUAL_MINUTES);
    if !(1..=LONGEST_MINUTES).contains(&minutes) {
        return Err(Problem::invalid(format!("rule_timeout: minutes, from 1 to {LONGEST_MINUTES}")));
    }
    let record = numbered(&state, &asker, id)?;
    let path = (record.service.device_name.as_str(), record.service.name.as_str());
    let length = SignedDuration::from_mins(minutes);
    let from = Vec::new();
    let wanted = Wanted { path, person: None, length, request: None, takes_over: false, source, from };
    let session = wanted.open(&state, &asker).await?.at_once()?;
    let reach = reach_body(&state, &session);
    let own = reach.as_ref().and_then(ReachBody::place);
    let public = own.into_iter().chain(state.control.reach(&record).iter().map(ToString::to_string)).collect();
    Ok(Json(Opened { session: session.id.0, service: id, end_timestamp: session.until, public, reach }))
}

async fn remove(Acting(state): Acting, asker: Asker, At(id): At<i64>) -> Result<Json<Value>, Problem> {
    asker.session(&state, SessionId(id)).await?;
    state.control.end_session(SessionId(id), None, (state.clock)()).await?;
    Ok(Json(serde_json::json!({ "session": id, "terminated": true })))
}

fn numbered(state: &PortalState, asker: &Asker, id: i64) -> Result<Arc<ServiceRecord>, Problem> {
    let snapshot = state.control.snapshot();
    let found = snapshot.service_record(ServiceId(id)).filter(|record| asker.knows(&snapshot, record, (state.clock)()));
    found.ok_or_else(|| Problem::unknown(format!("there is no service {id}")))
}

fn line(state: &PortalState, record: &ServiceRecord) -> ServiceLine {
    let public = state.control.reach(record).iter().map(ToString::to_string).collect();
    ServiceLine { id: record.service.id.0, name: record.service.path(), kind: record.service.kind, public }
}
