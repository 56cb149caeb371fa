//! A device for whoever has it: how it is linked, what passes, who is there, the end of its log, and how to have it start anew.

use super::door::nothing;
use super::frame::{Frame, page, page_with};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::asker::Asker;
use crate::caller::SignedIn;
use crate::figures::Figures;
use crate::forms::Sent;
use crate::words::Language;
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{Device, Errand, ErrandError, LinkState, ServiceFailure};
use doorward_core::authority::Action;
use doorward_core::names::Label;
use doorward_core::site::Carrier;
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) struct DeviceTile {
    pub(super) name: Label,
    pub(super) title: String,
    pub(super) link: Link,
    pub(super) figures: Figures,
    pub(super) agent: Option<String>,
}

pub(super) enum Link {
    Online { since: Timestamp, carrier: &'static str, rtt: Option<String>, source: IpAddr },
    Offline { since: Option<Timestamp> },
}

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    frame: Frame,
    now: Timestamp,
    device: DeviceTile,
    joined_at: Timestamp,
    services: Vec<Row>,
}

struct Row {
    title: String,
    name: Label,
    figures: Figures,
    failure: Option<ServiceFailure>,
}

#[derive(Template)]
#[template(path = "device_log.html")]
struct LogPage {
    frame: Frame,
    name: Label,
    title: String,
    lines: Vec<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Nothing {}

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/devices/{name}", get(show))
        .route("/devices/{name}/log", get(log))
        .route("/devices/{name}/restart", post(restart))
}

impl DeviceTile {
    pub(super) fn of(state: &PortalState, device: &Device) -> Self {
        let presence = state.control.presence().device(device.id);
        let link = match presence.link {
            LinkState::Online { since, carrier, source, report, id: _ } => {
                let rtt = report.rtt.map(|rtt| format!("{:.0} ms", rtt.as_secs_f64() * 1000.0));
                Link::Online { since, carrier: spoken(carrier), rtt, source }
            }
            LinkState::Offline { since } => Link::Offline { since },
        };
        let figures = Figures::of_device(state, device.id);
        Self { name: device.name.clone(), title: device.title.clone(), link, figures, agent: presence.agent_version }
    }

    /// What is read out when it changes.
    pub(super) fn said(&self, language: &Language) -> String {
        let word = match self.link {
            Link::Online { .. } => "online",
            Link::Offline { .. } => "offline",
        };
        format!("{}: {}", self.title, language.say(word))
    }
}

fn spoken(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Quic => "QUIC",
        Carrier::Tls => "TLS",
        Carrier::WebSocket => "WebSocket",
        Carrier::Memory => "in the gateway",
        Carrier::Ssh => "SSH",
    }
}

async fn show(Acting(state): Acting, frame: Frame, signed_in: SignedIn, At(name): At<String>) -> Response {
    let Some(device) = theirs(&state, &signed_in, &name, Action::ListDevices) else { return nothing(frame) };
    let snapshot = state.control.snapshot();
    let mut services: Vec<_> = snapshot
        .services_of(device.id)
        .map(|record| Row {
            title: record.service.title.clone(),
            name: record.service.name.clone(),
            figures: Figures::of_service(&state, record.service.id),
            failure: state.control.presence().service_failure(record.service.id),
        })
        .collect();
    services.sort_by(|one, other| one.name.cmp(&other.name));
    let (now, joined_at) = ((state.clock)(), device.joined_at);
    page(&DevicePage { frame, now, device: DeviceTile::of(&state, &device), joined_at, services })
}

async fn log(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(name): At<String>,
) -> Result<Response, Problem> {
    let Some(device) = theirs(&state, &signed_in, &name, Action::ShowDeviceLog) else { return Ok(nothing(frame)) };
    let (name, title) = (device.name.clone(), device.title.clone());
    let told = state.control.ask_device(device.id, Errand::Log, (state.clock)()).await;
    let (status, lines, error) = match told {
        Ok(lines) => (StatusCode::OK, lines, None),
        Err(ErrandError::Store(error)) => return Err(error.into()),
        Err(error) => (StatusCode::CONFLICT, Vec::new(), Some(words(&frame, &error))),
    };
    Ok(page_with(status, &LogPage { frame, name, title, lines, error }))
}

async fn restart(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(name): At<String>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let Some(device) = theirs(&state, &signed_in, &name, Action::RestartDevice) else { return Ok(nothing(frame)) };
    state.control.ask_device(device.id, Errand::Restart, (state.clock)()).await?;
    Ok(Redirect::to(&format!("/devices/{}", device.name)).into_response())
}

fn theirs(state: &PortalState, signed_in: &SignedIn, name: &str, action: Action) -> Option<Arc<Device>> {
    Asker::at_any_page(signed_in, action).device(&state.control.snapshot(), name).ok()
}

/// In the reader's language, with the device's own words behind it.
fn words(frame: &Frame, error: &ErrandError) -> String {
    match error {
        ErrandError::Refused(why) => format!("{} {why}", frame.say("The device says:")),
        ErrandError::Offline => frame.say("The device is offline.").to_owned(),
        ErrandError::Busy => frame.say("The device has much to answer already.").to_owned(),
        ErrandError::Silent => frame.say("The device did not answer in time.").to_owned(),
        ErrandError::TooOld => frame.say("The device's agent is too old for this: update it.").to_owned(),
        ErrandError::Store(error) => error.to_string(),
    }
}
