//! Sessions: one's own and, for whoever has a device, those on it. Each can be made longer and ended here, and how the last
//! ones ended is told.

use super::door::nothing;
use super::frame::{Frame, page};
use super::opening::{self, Lapse, Length};
use super::reach::OwnReach;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::asker::Asker;
use crate::caller::{SignedIn, Source};
use crate::forms::Sent;
use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use doorward_control::{SessionError, SessionRange, SessionSummary};
use doorward_core::SessionId;
use doorward_core::access::Facts;
use doorward_core::authority::Action;
use doorward_core::session::Session;
use doorward_core::web::LocalPath;
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    frame: Frame,
    now: Timestamp,
    open: Vec<Row>,
    over: Vec<Row>,
}

struct Row {
    session: Session,
    /// `None`: one's own.
    person: Option<String>,
    /// Its title, and as `device/service`; both empty if it is gone.
    title: String,
    path: String,
    choices: Vec<i64>,
    /// Of one that is open.
    reach: Option<OwnReach>,
    lapse: Option<Lapse>,
}

/// A press on one session, and the page to go back to.
#[derive(Deserialize)]
pub(super) struct Press {
    pub(super) back: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Longer {
    #[serde(flatten)]
    length: Length,
    back: Option<String>,
}

/// Sessions that are open, on one page.
const MOST: u32 = 200;
/// Sessions that are over: the newest.
const LATELY: usize = 20;

pub(super) async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
) -> Result<Response, Problem> {
    let now = (state.clock)();
    let of = Asker::at_any_page(&signed_in, Action::ListSessions).part_of_sessions();
    let range = |with_ended| SessionRange { with_ended, before: None, limit: MOST, of: of.clone() };
    let row = |summary: SessionSummary| Row::of(&state, &signed_in, summary, source);
    let open = state.control.sessions_in(range(false), now).await?.into_iter().map(row).collect();
    let all = state.control.sessions_in(range(true), now).await?;
    let over = all.into_iter().filter(|summary| summary.ended.is_some()).take(LATELY).map(row).collect();
    Ok(page(&SessionsPage { frame, now, open, over }))
}

impl Row {
    fn of(state: &PortalState, signed_in: &SignedIn, summary: SessionSummary, source: Source) -> Self {
        let service = state.control.snapshot().service(summary.session.service);
        let open = Some(&summary.session).filter(|_| summary.ended.is_none());
        let reach = open.and_then(|session| OwnReach::of(state, signed_in, session, source, "/sessions"));
        let is_own = summary.session.account == signed_in.person.id;
        Self {
            person: (!is_own).then(|| summary.person.as_ref().map(ToString::to_string).unwrap_or_default()),
            title: service.as_ref().map(|service| service.title.clone()).unwrap_or_default(),
            path: service.as_ref().map(|service| service.path()).unwrap_or_default(),
            choices: service.map(|service| opening::choices(&service)).unwrap_or_default(),
            reach,
            lapse: Lapse::of_any(&summary, &signed_in.person.name),
            session: summary.session,
        }
    }
}

/// A new decision, by the policy as it is now.
pub(super) async fn extend(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
    At(id): At<i64>,
    Sent(press): Sent<Longer>,
) -> Result<Response, Problem> {
    let (id, now) = (SessionId(id), (state.clock)());
    let Some(session) = theirs(&state, &signed_in, id, Action::ExtendSession) else { return Ok(nothing(frame)) };
    let length = press.length.read(now)?;
    // Where its person is, nobody else knows.
    let source = source.0.filter(|_| session.account == signed_in.person.id);
    match state.control.extend_session(id, length, source, None, now).await {
        Ok(_) => Ok(back(press.back.as_deref())),
        Err(SessionError::Unknown(_)) => Ok(nothing(frame)),
        Err(error) => Err(error.into()),
    }
}

/// One that is over already is fine.
pub(super) async fn end(
    Acting(state): Acting,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(press): Sent<Press>,
) -> Result<Response, Problem> {
    let id = SessionId(id);
    if theirs(&state, &signed_in, id, Action::EndSession).is_some() {
        state.control.end_session(id, None, (state.clock)()).await?;
    }
    Ok(back(press.back.as_deref()))
}

/// One that is open, and theirs to do that with.
pub(super) fn theirs(state: &PortalState, signed_in: &SignedIn, id: SessionId, action: Action) -> Option<Session> {
    let snapshot = state.control.snapshot();
    let asker = Asker::at_any_page(signed_in, action);
    snapshot.session(id).filter(|session| asker.gets_at_session(&snapshot, session)).cloned()
}

pub(super) fn back(to: Option<&str>) -> Response {
    let to = to.and_then(|to| LocalPath::parse(to).ok()).unwrap_or_else(LocalPath::root);
    Redirect::to(to.as_str()).into_response()
}
