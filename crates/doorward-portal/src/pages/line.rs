//! A service that one person has at a time: who has it until when, who waits, and who may take it over.

use super::approvals::instead;
use super::frame::{Frame, onward, page};
use super::opening::{self, Length};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::asker::Asker;
use crate::caller::{SignedIn, Source};
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{ServiceRecord, SessionRequest};
use doorward_core::access::{Facts, Proof};
use doorward_core::authority::Action;
use doorward_core::web::LocalPath;
use doorward_core::{AccountId, ServiceId, SessionId};
use jiff::Timestamp;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "line.html")]
struct LinePage {
    frame: Frame,
    id: ServiceId,
    title: String,
    path: String,
    holder: Option<Holder>,
    /// Names, where they are told; else only how many.
    waiting: Vec<String>,
    length: usize,
    has_it: bool,
    own: Option<Place>,
    /// Whether they take it from whoever has it.
    takes_over: bool,
    choices: Vec<i64>,
}

struct Holder {
    /// Where it is told.
    name: Option<String>,
    until: Timestamp,
    /// It is they themselves.
    own: Option<SessionId>,
}

/// Where they stand.
struct Place {
    /// 1 is the next.
    number: usize,
    offered_until: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct Press {
    #[serde(flatten)]
    length: Length,
}

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/line/{device}/{service}", get(show))
        .route("/line/{device}/{service}/leave", post(leave))
        .route("/line/{device}/{service}/take-over", post(take_over))
}

async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At((device, service)): At<(String, String)>,
) -> Result<Response, Problem> {
    let record = found(&state, &signed_in, Action::ShowLine, (&device, &service))?;
    let (snapshot, now, who) = (state.control.snapshot(), (state.clock)(), signed_in.person.id);
    let exclusive = record.service.policy.exclusive.clone();
    let Some(exclusive) = exclusive else { return Err(crate::asker::no_service((&device, &service))) };
    let owner = snapshot.device(record.service.device).map_or(record.service.account, |device| device.account);
    let is_told = exclusive.is_told_who(&signed_in.person, owner, now);
    let name = |id: AccountId| snapshot.person(id).map(|person| person.title.clone()).unwrap_or_default();
    let line = state.control.line(record.service.id, now).await?;
    let mut waiting = line.waiting.iter();
    let own = waiting
        .position(|waiting| waiting.account == who)
        .map(|place| Place { number: place + 1, offered_until: line.waiting[place].offered_until });
    let holder = line.holder.map(|session| Holder {
        name: is_told.then(|| name(session.account)),
        until: session.until,
        own: (session.account == who).then_some(session.id),
    });
    Ok(page(&LinePage {
        frame,
        id: record.service.id,
        title: record.service.title.clone(),
        path: record.service.path(),
        takes_over: exclusive.may_take_over(&signed_in.person, now)
            && holder.as_ref().is_some_and(|holder| holder.own.is_none()),
        has_it: holder.as_ref().is_some_and(|holder| holder.own.is_some()),
        holder,
        length: line.waiting.len(),
        waiting: if is_told { line.waiting.iter().map(|waiting| name(waiting.account)).collect() } else { Vec::new() },
        own,
        choices: opening::choices(&record.service),
    }))
}

/// Whoever did not wait makes no difference.
async fn leave(
    Acting(state): Acting,
    signed_in: SignedIn,
    At((device, service)): At<(String, String)>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let record = found(&state, &signed_in, Action::ShowLine, (&device, &service))?;
    state.control.leave_line(record.service.id, signed_in.person.id, (state.clock)()).await?;
    Ok(Redirect::to(&format!("/line/{}", record.service.path())).into_response())
}

/// Whoever had it is cut.
async fn take_over(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    At((device, service)): At<(String, String)>,
    Sent(press): Sent<Press>,
) -> Result<Response, Problem> {
    let record = found(&state, &signed_in, Action::ShowLine, (&device, &service))?;
    let now = (state.clock)();
    let request = SessionRequest {
        account: signed_in.person.id,
        service: record.service.id,
        length: press.length.read(now)?,
        source: source.0,
        id: None,
        proofs: vec![Proof::Login(signed_in.login.id)],
    };
    let opened = match state.control.take_over(request, now).await {
        Ok(opening) => opening.at_once(),
        Err(error) => Err(error),
    };
    match opened {
        Ok(_) => Ok(onward(frame, LocalPath::root())),
        Err(error) => instead(&state, frame, error),
    }
}

fn found(
    state: &PortalState,
    signed_in: &SignedIn,
    action: Action,
    path: (&str, &str),
) -> Result<Arc<ServiceRecord>, Problem> {
    Asker::at_page(signed_in, action)?.service(state, path)
}
