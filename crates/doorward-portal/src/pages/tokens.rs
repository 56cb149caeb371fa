//! One's own tokens for programs: each comes in at one service, is shown this once, and counts until it ends or is revoked.

use super::frame::{Frame, page, page_with};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::bearer::PREFIX;
use crate::caller::{SignedIn, Source};
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{EditError, Reach, ServiceRecord, TokenRequest, TokenSummary};
use doorward_core::access::{Denied, Proof, preview};
use doorward_core::authority::{Scope, TokenLimits};
use doorward_core::{LoginId, Secret};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    frame: Frame,
    tokens: Vec<Shown>,
    choices: Vec<Choice>,
    error: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "token_made.html")]
struct MadePage {
    frame: Frame,
    service: String,
    address: Option<String>,
    /// Whole, with its prefix.
    token: Secret<String>,
    until: Timestamp,
}

/// A token for people.
struct Shown {
    id: LoginId,
    title: String,
    /// What it is for, in a word of the API.
    scope: &'static str,
    services: Vec<String>,
    until: Timestamp,
    used_at: Timestamp,
}

/// A service that one could make a token for.
struct Choice {
    path: String,
    title: String,
}

#[derive(Deserialize)]
struct New {
    title: String,
    /// As `device/service`.
    service: String,
    days: u16,
}

#[derive(Deserialize)]
struct Nothing {}

/// What can be chosen.
const DAYS: [u16; 4] = [7, 30, 90, 365];
pub(crate) const NO_TITLE: &str = "Say what the token is for.";
pub(crate) const NO_SERVICE: &str = "There is no such service that you may use.";

pub(super) fn routes() -> Router<PortalState> {
    Router::new().route("/tokens", get(show).post(make)).route("/tokens/{id}/revoke", post(revoke))
}

async fn show(Acting(state): Acting, frame: Frame, signed_in: SignedIn) -> Response {
    page(&TokensPage::of(&state, frame, &signed_in, None))
}

async fn make(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    Sent(new): Sent<New>,
) -> Result<Response, Problem> {
    let refuse = |frame, why| {
        Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &TokensPage::of(&state, frame, &signed_in, Some(why))))
    };
    if new.title.trim().is_empty() {
        return refuse(frame, NO_TITLE);
    }
    let record = usable(&state, &signed_in).into_iter().find(|record| record.service.path() == new.service);
    let Some(record) = record else { return refuse(frame, NO_SERVICE) };
    let days = DAYS.into_iter().find(|days| *days == new.days).ok_or_else(|| Problem::invalid("choose how long"))?;
    let request = TokenRequest {
        account: signed_in.person.id,
        title: new.title,
        limits: TokenLimits { scope: Scope::Visit, services: Some(vec![record.service.id]) },
        length: SignedDuration::from_hours(24 * i64::from(days)),
        source: source.0,
    };
    let made = state.control.make_token(request, (state.clock)()).await?;
    let token = Secret::new(format!("{PREFIX}{}", made.token.expose()));
    let address = address(&state, &record);
    Ok(page(&MadePage { frame, service: record.service.path(), address, token, until: made.until }))
}

/// One that ended meanwhile is fine.
async fn revoke(
    Acting(state): Acting,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let (id, now, own) = (LoginId(id), (state.clock)(), signed_in.person.id);
    if !state.control.tokens(Some(own), now).iter().any(|token| token.login.id == id) {
        return Ok(Redirect::to("/tokens").into_response());
    }
    match state.control.end_login(Some(own), id, now).await {
        Ok(()) | Err(EditError::Unknown(_)) => Ok(Redirect::to("/tokens").into_response()),
        Err(error) => Err(error.into()),
    }
}

impl TokensPage {
    fn of(state: &PortalState, frame: Frame, signed_in: &SignedIn, error: Option<&'static str>) -> Self {
        let snapshot = state.control.snapshot();
        let path = |id: &doorward_core::ServiceId| snapshot.service(*id).map(|service| service.path());
        let shown = |token: TokenSummary| Shown {
            id: token.login.id,
            scope: token.limits.scope.word(),
            services: token.limits.services.iter().flatten().filter_map(path).collect(),
            until: token.login.until,
            used_at: token.seen_at,
            title: token.login.title,
        };
        let tokens = state.control.tokens(Some(signed_in.person.id), (state.clock)());
        let choice =
            |record: Arc<ServiceRecord>| Choice { path: record.service.path(), title: record.service.title.clone() };
        let choices = usable(state, signed_in).into_iter().map(choice).collect();
        Self { frame, tokens: tokens.into_iter().map(shown).collect(), choices, error }
    }
}

/// Web services that name this person, and let them in now or in a session.
fn usable(state: &PortalState, signed_in: &SignedIn) -> Vec<Arc<ServiceRecord>> {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let proofs = [Proof::Login(signed_in.login.id)];
    let may = |record: &Arc<ServiceRecord>| {
        let seen = preview(&record.service, &proofs, &*snapshot, now);
        record.service.kind.has_web_address()
            && matches!(seen, Ok(_) | Err(Denied::SessionNeeded | Denied::Closed { .. }))
    };
    let mut usable: Vec<_> = snapshot.services_naming(&signed_in.person).filter(may).collect();
    usable.sort_by_key(|record| record.service.path());
    usable
}

fn address(state: &PortalState, record: &ServiceRecord) -> Option<String> {
    state.control.reach(record).into_iter().find_map(|reach| match reach {
        Reach::Web { .. } => Some(reach.to_string()),
        Reach::Tls { .. } | Reach::Port { .. } => None,
    })
}
