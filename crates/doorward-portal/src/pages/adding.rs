//! Adding a device by one line, and what that line fetches.

use super::frame::{Frame, page};
use crate::PortalState;
use crate::acting::Acting;
use crate::adding::{SCRIPT_PATH, Way, line, line_for_ssh, script};
use crate::answer::{At, Problem};
use crate::api::invites::hand_over;
use crate::asker::Asker;
use crate::builds::{Build, Builds, open};
use crate::caller::SignedIn;
use crate::forms::Sent;
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use doorward_control::{Device, InviteRequest, LinkState};
use doorward_core::authority::Action;
use doorward_core::names::Label;
use doorward_core::{InviteId, Secret};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "adding.html")]
struct Begin {
    frame: Frame,
    error: Option<String>,
    /// Theirs, by name.
    devices: Vec<Arc<Device>>,
}

#[derive(Template)]
#[template(path = "adding_line.html")]
struct Lines {
    frame: Frame,
    /// This once, unless the page is only waited at.
    invite: Option<Secret<String>>,
    id: InviteId,
    lines: Vec<Line>,
    builds: Vec<Build>,
    arrival: Arrival,
}

struct Line {
    way: Option<Way>,
    text: String,
}

/// What became of an invite.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Arrival {
    device: Option<Label>,
    is_online: bool,
}

#[derive(Deserialize)]
struct Wish {
    #[serde(default)]
    name: String,
}

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/add-device", get(show).post(make))
        .route("/add-device/{id}", get(wait))
        .route("/add-device/{id}/arrival", get(arrival))
        .route("/assets/adding.js", get(script_of_page))
        .route("/assets/adding.css", get(style))
        .merge(for_devices())
        .layer(Extension(Builds::default()))
}

/// For whoever has no login: a machine that is to become a device.
fn for_devices() -> Router<PortalState> {
    Router::new().route(SCRIPT_PATH, get(served_script)).route("/builds/{name}", get(served_build))
}

async fn show(Acting(state): Acting, frame: Frame, signed_in: SignedIn) -> Result<Response, Problem> {
    let asker = Asker::at_page(&signed_in, Action::CreateInvite)?;
    Ok(page(&Begin { frame, error: None, devices: devices(&state, &asker) }))
}

fn devices(state: &PortalState, asker: &Asker) -> Vec<Arc<Device>> {
    let mut devices: Vec<_> =
        state.control.snapshot().devices().filter(|device| asker.gets_at_device(device)).cloned().collect();
    devices.retain(|device| device.revoked_at.is_none());
    devices.sort_by(|one, other| one.name.cmp(&other.name));
    devices
}

async fn make(
    Acting(state): Acting,
    Extension(builds): Extension<Builds>,
    frame: Frame,
    signed_in: SignedIn,
    headers: HeaderMap,
    Sent(wish): Sent<Wish>,
) -> Result<Response, Problem> {
    let asker = Asker::at_page(&signed_in, Action::CreateInvite)?;
    let name = match wish.name.trim() {
        "" => None,
        given => match Label::parse(given) {
            Ok(name) => Some(name),
            Err(error) => {
                let shown = Begin { frame, error: Some(error.to_string()), devices: devices(&state, &asker) };
                return Ok(super::frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown));
            }
        },
    };
    let request = InviteRequest { name, ..InviteRequest::default() };
    let made = hand_over(&state, async || state.control.create_invite(asker.account, request, (state.clock)()).await);
    let invite = made.await?.0;
    lines(&state, &builds, frame, &headers, invite.id, Some(invite.text)).await
}

/// The same without the invite: whoever reloads the page waits on.
async fn wait(
    Acting(state): Acting,
    Extension(builds): Extension<Builds>,
    frame: Frame,
    signed_in: SignedIn,
    headers: HeaderMap,
    At(id): At<i64>,
) -> Result<Response, Problem> {
    let id = theirs(&state, &signed_in, id).await?;
    lines(&state, &builds, frame, &headers, id, None).await
}

async fn arrival(Acting(state): Acting, signed_in: SignedIn, At(id): At<i64>) -> Result<Json<Arrival>, Problem> {
    let id = theirs(&state, &signed_in, id).await?;
    Ok(Json(arrived(&state, id).await?))
}

async fn theirs(state: &PortalState, signed_in: &SignedIn, id: i64) -> Result<InviteId, Problem> {
    let asker = Asker::at_page(signed_in, Action::ListInvites)?;
    let invites = state.control.invites().await?;
    let found = invites.iter().find(|invite| invite.id == InviteId(id) && asker.gets_at_account(invite.account));
    found.map(|invite| invite.id).ok_or_else(|| Problem::unknown(format!("there is no invite {id}")))
}

async fn arrived(state: &PortalState, invite: InviteId) -> Result<Arrival, Problem> {
    let brought = state.control.devices_by_invite(invite).await?;
    let device = brought.first().and_then(|id| state.control.snapshot().device(*id));
    let link = device.as_ref().map(|device| state.control.presence().device(device.id).link);
    Ok(Arrival {
        device: device.map(|device| device.name.clone()),
        is_online: matches!(link, Some(LinkState::Online { .. })),
    })
}

async fn lines(
    state: &PortalState,
    builds: &Builds,
    frame: Frame,
    headers: &HeaderMap,
    id: InviteId,
    invite: Option<Secret<String>>,
) -> Result<Response, Problem> {
    let listed = builds.list(state.control.directory()).await;
    let site = state.control.site();
    // As the browser reached it, ports that are passed on included.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_plain(host));
    let host = host.ok_or_else(|| Problem::invalid("the request names no host"))?;
    let portal = format!("{}://{host}", if site.web.is_https { "https" } else { "http" });
    let text = script(&listed);
    let mut lines: Vec<_> =
        Way::ALL.into_iter().map(|way| Line { way: Some(way), text: line(way, &portal, &text) }).collect();
    let keys = state.control.ssh_host_public_keys().await?;
    if let Some((port, key)) = site.ssh_port.zip(keys.first()) {
        lines.push(Line { way: None, text: line_for_ssh(&site.port_host(), port, key) });
    }
    let arrival = arrived(state, id).await?;
    Ok(page(&Lines { frame, invite, id, lines, builds: listed, arrival }))
}

/// It becomes part of a line for a shell.
fn is_plain(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
}

async fn served_script(State(state): State<PortalState>, Extension(builds): Extension<Builds>) -> Response {
    let text = script(&builds.list(state.control.directory()).await);
    ([(CONTENT_TYPE, "text/x-shellscript; charset=utf-8")], text).into_response()
}

async fn served_build(State(state): State<PortalState>, At(name): At<String>) -> Result<Response, Problem> {
    let found = match name.strip_prefix("doorward-") {
        Some(arch) => open(state.control.directory(), arch).await,
        None => None,
    };
    let none =
        || Problem::new(StatusCode::NOT_FOUND, "there is no such build here", "see the portal's page for devices");
    let (length, body) = found.ok_or_else(none)?;
    let kind = "application/octet-stream".to_owned();
    Ok(([(CONTENT_TYPE, kind), (CONTENT_LENGTH, length.to_string())], body).into_response())
}

async fn script_of_page() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../assets/adding.js"))
}

async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../assets/adding.css"))
}

impl Line {
    fn title(&self) -> &'static str {
        match self.way {
            Some(Way::Root) => "With root, for the whole machine",
            Some(Way::User) => "Without root, for one user",
            Some(Way::OpenWrt) => "OpenWrt",
            Some(Way::Docker) => "Docker",
            None => "Only ssh, no program at all",
        }
    }

    fn note(&self) -> &'static str {
        match self.way {
            Some(Way::Root) => "It becomes a system service. Where you are root already, leave out sudo.",
            Some(Way::User) => {
                "It goes into ~/.local/bin and runs as you: by systemd, or by cron where there is no systemd."
            }
            Some(Way::OpenWrt) => "Needs a build for this router, linked statically. Not tried by a test.",
            Some(Way::Docker) => "Needs a program that runs in debian:stable-slim. Not tried by a test.",
            None => "Then offer something: ssh -R printer1:80:localhost:5000, as the documentation says.",
        }
    }
}
