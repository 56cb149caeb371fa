//! The last requests to a service, for its owner: switched on for a while, and forgotten after it.

use super::frame::{Frame, page};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::api::inspecting::{InspectionBody, TakenBody, again, body};
use crate::asker::Asker;
use crate::caller::{SignedIn, Source};
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{InspectionWish, ServiceRecord};
use doorward_core::authority::Action;
use doorward_core::service::ServiceKind;
use jiff::SignedDuration;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "inspecting.html")]
struct Requests {
    frame: Frame,
    record: Arc<ServiceRecord>,
    inspection: InspectionBody,
}

#[derive(Deserialize)]
struct Wish {
    minutes: i64,
    #[serde(default, rename = "with-bodies")]
    with_bodies: Option<String>,
}

#[derive(Deserialize)]
struct Nothing {}

type Named = At<(String, String)>;

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/services/{device}/{service}/requests", get(show).post(begin))
        .route("/services/{device}/{service}/requests/end", post(end))
        .route("/services/{device}/{service}/requests/{number}/again", post(once_more))
}

async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At((device, service)): Named,
) -> Result<Response, Problem> {
    let record = theirs(&state, &signed_in, Action::ShowInspection, (&device, &service))?;
    let inspection = body(&state, record.service.id);
    Ok(page(&Requests { frame, record, inspection }))
}

async fn begin(
    Acting(state): Acting,
    signed_in: SignedIn,
    At((device, service)): Named,
    Sent(wish): Sent<Wish>,
) -> Result<Response, Problem> {
    let record = theirs(&state, &signed_in, Action::Inspect, (&device, &service))?;
    let length = SignedDuration::from_mins(wish.minutes.clamp(0, 100_000));
    let wish = InspectionWish { length, with_bodies: wish.with_bodies.is_some() };
    state.control.inspect(record.service.id, wish, (state.clock)()).await?;
    Ok(back(&record))
}

async fn end(
    Acting(state): Acting,
    signed_in: SignedIn,
    At((device, service)): Named,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let record = theirs(&state, &signed_in, Action::StopInspecting, (&device, &service))?;
    state.control.stop_inspecting(record.service.id, (state.clock)()).await?;
    Ok(back(&record))
}

async fn once_more(
    Acting(state): Acting,
    signed_in: SignedIn,
    source: Source,
    At((device, service, number)): At<(String, String, u64)>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let asker = Asker::at_page(&signed_in, Action::ReplayRequest)?;
    let record = asker.service(&state, (&device, &service))?;
    again(&state, record.service.id, number, &asker, source).await?;
    Ok(back(&record))
}

fn theirs(
    state: &PortalState,
    signed_in: &SignedIn,
    action: Action,
    path: (&str, &str),
) -> Result<Arc<ServiceRecord>, Problem> {
    Asker::at_page(signed_in, action)?.service(state, path)
}

fn back(record: &ServiceRecord) -> Response {
    Redirect::to(&format!("/services/{}/requests", record.service.path())).into_response()
}

impl Requests {
    fn is_web(&self) -> bool {
        self.record.service.kind == ServiceKind::Http
    }
}

/// `12.3 kB`, for people.
fn size(taken: &TakenBody) -> String {
    match taken.bytes {
        bytes if bytes < 1000 => format!("{bytes} B"),
        bytes if bytes < 1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        bytes => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn milliseconds(value: &Option<f64>) -> String {
    value.map(|value| format!("{value:.1} ms")).unwrap_or_default()
}
