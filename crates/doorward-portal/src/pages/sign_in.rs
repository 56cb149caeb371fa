//! Where one signs in, and signs out.

use super::frame::{Frame, page};
use crate::PortalState;
use crate::answer::Problem;
use crate::caller::SignedIn;
use crate::entering::leave;
use crate::forms::Sent;
use crate::{cookies, site};
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::header::SET_COOKIE;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
}

#[derive(Deserialize)]
struct Nothing {}

pub(super) fn routes() -> Router<PortalState> {
    Router::new().route(site::SIGN_IN, get(show)).route("/sign-out", post(sign_out))
}

async fn show(frame: Frame) -> Response {
    page(&SignInPage { frame })
}

async fn sign_out(
    State(state): State<PortalState>,
    signed_in: SignedIn,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    leave(&state, &signed_in).await?;
    let mut response = Redirect::to(site::SIGN_IN).into_response();
    response.headers_mut().append(SET_COOKIE, cookies::take_back(cookies::LOGIN));
    Ok(response)
}
