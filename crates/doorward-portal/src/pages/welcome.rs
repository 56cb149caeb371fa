//! Where links lead by which people come in. The secret stands behind `#`, so it reaches us only when the page's own form is sent; looking at
//! what a link is for uses nothing up, and neither does opening the page, which is all that previews and scanners do.

use super::frame::{Frame, page, page_with};
use super::telling::{DIFFER, place_of, tell_of_welcome};
use crate::PortalState;
use crate::answer::Problem;
use crate::caller::{SignedIn, Source};
use crate::entering::enter;
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use doorward_control::{Welcome, WelcomeAnswer, WelcomeError, WelcomeKind};
use doorward_core::Secret;
use doorward_core::names::Label;
use doorward_core::person::Person;
use doorward_core::web::LocalPath;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "welcome.html")]
struct Door {
    frame: Frame,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "welcome_answer.html")]
struct AnswerPage {
    frame: Frame,
    code: Secret<String>,
    kind: WelcomeKind,
    /// What an invitation is for.
    purpose: String,
    /// Of whoever sets a new password.
    whose: String,
    name: String,
    title: String,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Shown {
    code: String,
}

#[derive(Deserialize)]
struct Answered {
    code: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    title: String,
    password: String,
    again: String,
}

pub(super) fn routes() -> Router<PortalState> {
    Router::new().route("/welcome", get(show).post(look)).route("/welcome/accept", post(accept))
}

async fn show(frame: Frame) -> Response {
    page(&Door { frame, error: None })
}

async fn look(
    State(state): State<PortalState>,
    frame: Frame,
    source: Source,
    Sent(shown): Sent<Shown>,
) -> Result<Response, Problem> {
    let code = Secret::new(shown.code);
    match state.control.look_at_welcome(&code, place_of(source), (state.clock)()).await {
        Ok(found) => Ok(page(&AnswerPage::of(frame, code, found))),
        Err(error) => refuse(frame, error),
    }
}

async fn accept(
    State(state): State<PortalState>,
    frame: Frame,
    source: Source,
    before: Option<SignedIn>,
    headers: HeaderMap,
    Sent(answered): Sent<Answered>,
) -> Result<Response, Problem> {
    let Answered { code, name, title, password, again } = answered;
    let (code, password, again) = (Secret::new(code), Secret::new(password), Secret::new(again));
    let now = (state.clock)();
    let found = match state.control.look_at_welcome(&code, place_of(source), now).await {
        Ok(found) => found,
        Err(error) => return refuse(frame, error),
    };
    let is_named = !matches!(found.0.kind, WelcomeKind::Own(_));
    let parsed = is_named.then(|| Label::parse(name.trim())).transpose();
    let mut form = AnswerPage::of(frame, code, found);
    if is_named {
        (form.name, form.title) = (name, title.clone());
    }
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return Ok(form.again(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())),
    };
    if password != again {
        let told = form.frame.say(DIFFER).to_owned();
        return Ok(form.again(StatusCode::UNPROCESSABLE_ENTITY, told));
    }
    let title = Some(title.trim().to_owned()).filter(|title| !title.is_empty());
    let answer = WelcomeAnswer { name: parsed, title, password, source: place_of(source) };
    match state.control.accept_welcome(&form.code, answer, now).await {
        Ok(accepted) => enter(&state, form.frame, &headers, source, before, accepted.proven, LocalPath::root()).await,
        Err(error) => match tell_of_welcome(&form.frame, error)? {
            (true, status, told) => Ok(page_with(status, &Door { frame: form.frame, error: Some(told) })),
            (false, status, told) => Ok(form.again(status, told)),
        },
    }
}

fn refuse(frame: Frame, error: WelcomeError) -> Result<Response, Problem> {
    let (_, status, told) = tell_of_welcome(&frame, error)?;
    Ok(page_with(status, &Door { frame, error: Some(told) }))
}

impl AnswerPage {
    fn of(frame: Frame, code: Secret<String>, found: (Welcome, Option<Arc<Person>>)) -> Self {
        let (welcome, person) = found;
        let whose = person.map(|person| person.name.to_string()).unwrap_or_default();
        let name = if welcome.kind == WelcomeKind::First { whose.clone() } else { String::new() };
        Self { frame, code, kind: welcome.kind, purpose: welcome.title, whose, name, title: String::new(), error: None }
    }

    fn again(mut self, status: StatusCode, error: String) -> Response {
        self.error = Some(error);
        page_with(status, &self)
    }
}
