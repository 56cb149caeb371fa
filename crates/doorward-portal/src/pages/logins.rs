//! One's own logins: which browsers and programs are signed in, each to be ended by one press.

use super::frame::{Frame, page};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::caller::SignedIn;
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{EditError, LoginSummary};
use doorward_core::LoginId;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "logins.html")]
struct LoginsPage {
    frame: Frame,
    logins: Vec<LoginSummary>,
    own: LoginId,
}

#[derive(Deserialize)]
struct Nothing {}

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/logins", get(show))
        .route("/logins/others/end", post(end_others))
        .route("/logins/{id}/end", post(end))
}

async fn show(Acting(state): Acting, frame: Frame, signed_in: SignedIn) -> Response {
    let logins = state.control.logins_of(signed_in.person.id, (state.clock)());
    page(&LoginsPage { frame, logins, own: signed_in.login.id })
}

/// One that ended meanwhile is fine.
async fn end(
    Acting(state): Acting,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let ended = state.control.end_login(Some(signed_in.person.id), LoginId(id), (state.clock)()).await;
    match ended {
        Ok(()) | Err(EditError::Unknown(_)) => Ok(Redirect::to("/logins").into_response()),
        Err(error) => Err(error.into()),
    }
}

async fn end_others(
    Acting(state): Acting,
    signed_in: SignedIn,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let (person, own) = (signed_in.person.id, signed_in.login.id);
    state.control.end_logins_of(person, Some(own), (state.clock)()).await?;
    Ok(Redirect::to("/logins").into_response())
}
