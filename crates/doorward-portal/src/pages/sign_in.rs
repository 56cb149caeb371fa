//! Where one signs in, by name and password and then a code where one set that up, and signs out.

use super::frame::{Frame, page, page_with};
use super::providers::{self, Shown};
use super::telling::{place_of, tell};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::Problem;
use crate::caller::{SignedIn, Source};
use crate::entering::{enter, leave};
use crate::forms::Sent;
use crate::{cookies, site};
use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{CredentialError, NameAndPassword, SecondFactors, Step};
use doorward_core::Secret;
use doorward_core::web::LocalPath;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    then: LocalPath,
    name: String,
    error: Option<String>,
    is_set_up: bool,
    providers: Vec<Shown>,
}

#[derive(Template)]
#[template(path = "sign_in_code.html")]
struct CodePage {
    frame: Frame,
    then: LocalPath,
    ticket: Secret<String>,
    second: SecondFactors,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    then: String,
}

#[derive(Deserialize)]
struct Given {
    name: String,
    password: String,
    #[serde(default)]
    then: String,
}

#[derive(Deserialize)]
struct GivenCode {
    ticket: String,
    code: String,
    #[serde(default)]
    then: String,
}

#[derive(Deserialize)]
struct Nothing {}

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route(site::SIGN_IN, get(show).post(take))
        .route("/sign-in/code", post(take_code))
        .route("/sign-out", post(sign_out))
}

async fn show(
    State(state): State<PortalState>,
    frame: Frame,
    signed_in: Option<SignedIn>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let then = local(&asked.then);
    if signed_in.is_some() {
        return Ok(Redirect::to(then.as_str()).into_response());
    }
    Ok(page(&SignInPage::of(&state, frame, then).await?))
}

async fn take(
    State(state): State<PortalState>,
    frame: Frame,
    source: Source,
    before: Option<SignedIn>,
    headers: HeaderMap,
    Sent(given): Sent<Given>,
) -> Result<Response, Problem> {
    let Given { name, password, then } = given;
    let (password, then, now) = (Secret::new(password), local(&then), (state.clock)());
    let attempt = NameAndPassword { name: name.clone(), password, source: place_of(source) };
    match state.control.sign_in(attempt, now).await {
        Ok(Step::Done(proven)) => enter(&state, frame, &headers, source, before, proven, then).await,
        Ok(Step::CodeWanted(ticket)) => code_page(&state, frame, then, ticket, None).await,
        Err(error) => {
            let (status, error) = tell(&frame, error)?;
            let shown = SignInPage::of(&state, frame, then).await?;
            Ok(page_with(status, &SignInPage { name, error: Some(error), ..shown }))
        }
    }
}

async fn take_code(
    State(state): State<PortalState>,
    frame: Frame,
    source: Source,
    before: Option<SignedIn>,
    headers: HeaderMap,
    Sent(given): Sent<GivenCode>,
) -> Result<Response, Problem> {
    let (ticket, code, then) = (Secret::new(given.ticket), Secret::new(given.code), local(&given.then));
    let proven = state.control.give_code(&ticket, code.expose(), place_of(source), (state.clock)()).await;
    match proven {
        Ok(proven) => enter(&state, frame, &headers, source, before, proven, then).await,
        Err(error @ CredentialError::Stale) => again(&state, frame, then, error).await,
        Err(error) => code_page(&state, frame, then, ticket, Some(error)).await,
    }
}

pub(super) async fn code_page(
    state: &PortalState,
    frame: Frame,
    then: LocalPath,
    ticket: Secret<String>,
    error: Option<CredentialError>,
) -> Result<Response, Problem> {
    let second = match state.control.second_factors_at(&ticket, (state.clock)()).await {
        Ok(second) => second,
        Err(error) => return again(state, frame, then, error).await,
    };
    let told = error.map(|error| tell(&frame, error)).transpose()?;
    let (status, error) = told.map_or((StatusCode::OK, None), |(status, told)| (status, Some(told)));
    Ok(page_with(status, &CodePage { frame, then, ticket, second, error }))
}

/// From the beginning.
pub(super) async fn again(
    state: &PortalState,
    frame: Frame,
    then: LocalPath,
    error: CredentialError,
) -> Result<Response, Problem> {
    let (status, error) = tell(&frame, error)?;
    told(state, frame, then, status, error).await
}

pub(super) async fn told(
    state: &PortalState,
    frame: Frame,
    then: LocalPath,
    status: StatusCode,
    error: String,
) -> Result<Response, Problem> {
    let shown = SignInPage::of(state, frame, then).await?;
    Ok(page_with(status, &SignInPage { error: Some(error), ..shown }))
}

impl SignInPage {
    async fn of(state: &PortalState, frame: Frame, then: LocalPath) -> Result<Self, Problem> {
        let (is_set_up, providers) = (state.control.is_set_up().await?, providers::shown(state));
        Ok(Self { frame, then, name: String::new(), error: None, is_set_up, providers })
    }
}

pub(super) fn local(then: &str) -> LocalPath {
    LocalPath::parse(then).unwrap_or_else(|_| LocalPath::root())
}

async fn sign_out(
    Acting(state): Acting,
    signed_in: SignedIn,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    leave(&state, &signed_in).await?;
    let mut response = Redirect::to(site::SIGN_IN).into_response();
    response.headers_mut().append(SET_COOKIE, cookies::take_back(cookies::LOGIN));
    Ok(response)
}
