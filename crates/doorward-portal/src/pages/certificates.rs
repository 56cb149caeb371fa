//! One's own client certificates, for phones and programs that can show one. The file and its password are shown this once.

use super::frame::{Frame, page, page_with};
use super::tokens::NO_TITLE;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::caller::{SignedIn, Source};
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use data_encoding::BASE64;
use doorward_control::{ClientCertificateRequest, EditError, LoginSummary};
use doorward_core::{LoginId, Secret};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "certificates.html")]
struct CertificatesPage {
    frame: Frame,
    certificates: Vec<LoginSummary>,
    error: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "certificate_made.html")]
struct MadePage {
    frame: Frame,
    title: String,
    /// In base64.
    archive: Secret<String>,
    password: Secret<String>,
    until: Timestamp,
}

#[derive(Deserialize)]
struct New {
    title: String,
    days: u16,
}

#[derive(Deserialize)]
struct Nothing {}

const DAYS: [u16; 3] = [30, 90, 365];

pub(super) fn routes() -> Router<PortalState> {
    Router::new().route("/certificates", get(show).post(make)).route("/certificates/{id}/revoke", post(revoke))
}

async fn show(Acting(state): Acting, frame: Frame, signed_in: SignedIn) -> Response {
    page(&CertificatesPage::of(&state, frame, &signed_in, None))
}

async fn make(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    Sent(new): Sent<New>,
) -> Result<Response, Problem> {
    if new.title.trim().is_empty() {
        let shown = CertificatesPage::of(&state, frame, &signed_in, Some(NO_TITLE));
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown));
    }
    let days = DAYS.into_iter().find(|days| *days == new.days).ok_or_else(|| Problem::invalid("choose how long"))?;
    let request = ClientCertificateRequest {
        account: signed_in.person.id,
        title: new.title.clone(),
        length: SignedDuration::from_hours(24 * i64::from(days)),
        source: source.0,
    };
    let made = state.control.make_certificate(request, (state.clock)()).await?;
    let archive = Secret::new(BASE64.encode(made.archive.expose()));
    Ok(page(&MadePage { frame, title: new.title, archive, password: made.password, until: made.until }))
}

/// One that ended meanwhile is fine.
async fn revoke(
    Acting(state): Acting,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let (id, now, own) = (LoginId(id), (state.clock)(), signed_in.person.id);
    if state.control.client_certificates(Some(own), now).iter().any(|summary| summary.login.id == id) {
        match state.control.end_login(Some(own), id, now).await {
            Ok(()) | Err(EditError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Redirect::to("/certificates").into_response())
}

impl CertificatesPage {
    fn of(state: &PortalState, frame: Frame, signed_in: &SignedIn, error: Option<&'static str>) -> Self {
        let certificates = state.control.client_certificates(Some(signed_in.person.id), (state.clock)());
        Self { frame, certificates, error }
    }
}
