//! Requests for somebody's consent: one's own, and those that are one's to answer, in the portal or by a link that answers one of them.
//! Looking at either changes nothing; an answer is a press.

use super::frame::{Frame, onward, page, page_with};
use super::qr::picture;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::asker::Asker;
use crate::caller::{SignedIn, Source};
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{ApprovalRequest, Opening, SessionError, Snapshot};
use doorward_core::access::Facts;
use doorward_core::authority::Action;
use doorward_core::span::write_span;
use doorward_core::web::LocalPath;
use doorward_core::{AccountId, ApprovalId, Secret};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "approvals.html")]
struct ApprovalsPage {
    frame: Frame,
    requests: Vec<Waiting>,
    done: Option<&'static str>,
}

struct Waiting {
    id: ApprovalId,
    /// As people call them.
    person: String,
    service: String,
    length: String,
    until: Timestamp,
    by: String,
    is_own: bool,
    is_to_answer: bool,
}

/// A link by which one request is answered.
#[derive(Template)]
#[template(path = "approval_link.html")]
struct LinkPage {
    frame: Frame,
    url: Secret<String>,
    /// Markup of our own making.
    picture: String,
}

/// Where such a link leads.
#[derive(Template)]
#[template(path = "answer.html")]
struct DoorPage {
    frame: Frame,
    error: Option<&'static str>,
    done: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "answer_request.html")]
struct AnswerPage {
    frame: Frame,
    code: Secret<String>,
    request: Waiting,
    /// In whose name it is answered.
    name: String,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct Shown {
    code: String,
}

#[derive(Deserialize)]
struct Answered {
    code: String,
    answer: String,
}

const OPENED: &str = "You agreed. The session is open.";
const IN_LINE: &str = "You agreed. They stand in line for it now.";
const REFUSED: &str = "You said no.";
const ANSWERED_NO_MORE: &str =
    "There is nothing to answer by this link: it was answered or withdrawn, or its time is over.";
const NOT_YOURS: &str = "It is not yours to answer any more.";

/// Each, for the test that asks for them in every language.
#[cfg(test)]
pub(crate) const SENTENCES: &[&str] = &[OPENED, IN_LINE, REFUSED, ANSWERED_NO_MORE, NOT_YOURS];

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/approvals", get(show))
        .route("/approvals/{id}/yes", post(approve))
        .route("/approvals/{id}/no", post(refuse))
        .route("/approvals/{id}/withdraw", post(withdraw))
        .route("/approvals/{id}/link", post(link))
        .route("/answer", get(door).post(look))
        .route("/answer/give", post(give))
}

/// Where somebody is led who pressed *open* and has to wait.
pub(super) fn instead(state: &PortalState, frame: Frame, error: SessionError) -> Result<Response, Problem> {
    let to = match &error {
        SessionError::InLine(turn) => {
            state.control.snapshot().service(turn.service).map(|s| format!("/line/{}", s.path()))
        }
        SessionError::AwaitsApproval(_) => Some("/approvals".to_owned()),
        SessionError::Refused(_)
        | SessionError::Unknown(_)
        | SessionError::Stale { .. }
        | SessionError::Invalid(_)
        | SessionError::NoVoice(_)
        | SessionError::Store(_) => None,
    };
    match to.and_then(|to| LocalPath::parse(&to).ok()) {
        Some(to) => Ok(onward(frame, to)),
        None => Err(error.into()),
    }
}

async fn show(Acting(state): Acting, frame: Frame, signed_in: SignedIn) -> Result<Response, Problem> {
    Ok(page(&ApprovalsPage::of(&state, frame, &signed_in, None).await?))
}

async fn approve(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::ApproveRequest)?.request(&state, ApprovalId(id)).await?;
    let (who, now) = (signed_in.person.id, (state.clock)());
    let opening = state.control.answer_request(ApprovalId(id), who, true, source.0, now).await?;
    Ok(page(&ApprovalsPage::of(&state, frame, &signed_in, Some(told(opening.as_ref()))).await?))
}

async fn refuse(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::RefuseRequest)?.request(&state, ApprovalId(id)).await?;
    let (who, now) = (signed_in.person.id, (state.clock)());
    state.control.answer_request(ApprovalId(id), who, false, source.0, now).await?;
    Ok(page(&ApprovalsPage::of(&state, frame, &signed_in, Some(REFUSED)).await?))
}

/// By whoever asked.
async fn withdraw(
    Acting(state): Acting,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    match state.control.withdraw_request(ApprovalId(id), signed_in.person.id, (state.clock)()).await {
        Ok(()) | Err(SessionError::Unknown(_)) => Ok(Redirect::to("/approvals").into_response()),
        Err(error) => Err(error.into()),
    }
}

/// To answer elsewhere, where one is not signed in. It is shown this once.
async fn link(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::LinkRequest)?.request(&state, ApprovalId(id)).await?;
    let token = state.control.approval_token(ApprovalId(id), signed_in.person.id, (state.clock)()).await?;
    let url = crate::api::approvals::url(&state, &token);
    let missing =
        || Problem::new(StatusCode::CONFLICT, "the portal has no public address for such a link", "answer here");
    let url = url.ok_or_else(missing)?;
    Ok(page(&LinkPage { frame, picture: picture(url.expose()).unwrap_or_default(), url }))
}

async fn door(frame: Frame) -> Response {
    page(&DoorPage { frame, error: None, done: None })
}

/// The secret stands behind `#` and comes by the page's own form. Looking answers nothing.
async fn look(State(state): State<PortalState>, frame: Frame, Sent(shown): Sent<Shown>) -> Result<Response, Problem> {
    let (code, now) = (Secret::new(shown.code.trim().to_owned()), (state.clock)());
    let (request, approver) = match state.control.request_by_token(&code, now).await {
        Ok(found) => found,
        Err(error) => return no_answer(frame, error),
    };
    let snapshot = state.control.snapshot();
    let name = snapshot.person(approver).map(|person| person.title.clone()).unwrap_or_default();
    let request = Waiting::of(&snapshot, &request, approver, now);
    if !request.is_to_answer {
        return Ok(page_with(StatusCode::GONE, &DoorPage { frame, error: Some(NOT_YOURS), done: None }));
    }
    Ok(page(&AnswerPage { frame, code, request, name }))
}

async fn give(
    State(state): State<PortalState>,
    frame: Frame,
    source: Source,
    Sent(answered): Sent<Answered>,
) -> Result<Response, Problem> {
    let (code, now) = (Secret::new(answered.code), (state.clock)());
    let is_yes = match answered.answer.as_str() {
        "yes" => true,
        "no" => false,
        _ => return Err(Problem::invalid("say yes or no")),
    };
    match state.control.answer_by_token(&code, is_yes, source.0, now).await {
        Ok(opening) => {
            let done = if is_yes { told(opening.as_ref()) } else { REFUSED };
            Ok(page(&DoorPage { frame, error: None, done: Some(done) }))
        }
        Err(error) => no_answer(frame, error),
    }
}

fn no_answer(frame: Frame, error: SessionError) -> Result<Response, Problem> {
    let error = match error {
        SessionError::Unknown(_) => ANSWERED_NO_MORE,
        SessionError::NoVoice(_) => NOT_YOURS,
        SessionError::Refused(_)
        | SessionError::Stale { .. }
        | SessionError::Invalid(_)
        | SessionError::InLine(_)
        | SessionError::AwaitsApproval(_)
        | SessionError::Store(_) => return Err(error.into()),
    };
    Ok(page_with(StatusCode::GONE, &DoorPage { frame, error: Some(error), done: None }))
}

fn told(opening: Option<&Opening>) -> &'static str {
    match opening {
        Some(Opening::Open(_)) | None => OPENED,
        Some(Opening::InLine(_) | Opening::Asked(_)) => IN_LINE,
    }
}

impl ApprovalsPage {
    async fn of(
        state: &PortalState,
        frame: Frame,
        signed_in: &SignedIn,
        done: Option<&'static str>,
    ) -> Result<Self, Problem> {
        let asker = Asker::at_page(signed_in, Action::ListRequests)?;
        let (now, mut requests) = ((state.clock)(), state.control.approval_requests((state.clock)()).await?);
        let snapshot = state.control.snapshot();
        requests.retain(|request| asker.gets_at_request(&snapshot, request, now));
        let requests = requests.iter().map(|request| Waiting::of(&snapshot, request, signed_in.person.id, now));
        Ok(Self { frame, requests: requests.collect(), done })
    }
}

impl Waiting {
    /// As `who` sees it.
    fn of(snapshot: &Snapshot, request: &ApprovalRequest, who: AccountId, now: Timestamp) -> Self {
        let approval = request.stands(snapshot, now);
        let hears = approval.as_ref().zip(snapshot.person(who));
        Self {
            id: request.id,
            person: snapshot.person(request.account).map(|person| person.title.clone()).unwrap_or_default(),
            service: snapshot.service(request.service).map(|service| service.path()).unwrap_or_default(),
            length: write_span(request.length),
            until: request.until,
            is_own: request.account == who,
            is_to_answer: hears.is_some_and(|(approval, person)| approval.hears(person, request.account, now).is_ok()),
            by: approval.map(|approval| approval.by.to_string()).unwrap_or_default(),
        }
    }
}
