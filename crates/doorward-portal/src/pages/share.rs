//! Where share links lead. Opening one changes nothing, whoever or whatever opens it; the press on its page uses it, once for each
//! browser. The link stands in the path, so that it works in a browser that runs no scripts; this page names nobody else who could
//! learn of it, and nothing of ours writes it down.

use super::door::{nothing, port_of};
use super::frame::{Frame, onward, page, page_with};
use super::telling::{BUSY, TOO_MANY, place_of};
use crate::answer::{At, Problem};
use crate::caller::Source;
use crate::forms::{FormToken, Sent};
use crate::{PortalState, cookies};
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use doorward_control::{OpenShare, SharePress, UseError};
use doorward_core::access::Facts;
use doorward_core::names::PathPrefix;
use doorward_core::service::Service;
use doorward_core::share::ShareUse;
use doorward_core::web::LocalPath;
use doorward_core::{Secret, ShareId};
use http::StatusCode;
use http::header::{HeaderMap, SET_COOKIE};
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "share.html")]
struct SharePage {
    frame: Frame,
    /// Of the service; empty where a PIN is asked for first.
    title: String,
    until: Timestamp,
    is_read_only: bool,
    wants_pin: bool,
    error: Option<String>,
}

/// The same for links that were never made.
#[derive(Template)]
#[template(path = "share_over.html")]
struct OverPage {
    frame: Frame,
}

#[derive(Deserialize)]
struct Pressed {
    pin: Option<String>,
}

pub(crate) const WRONG_PIN: &str = "This is not the PIN.";

pub(super) fn routes() -> Router<PortalState> {
    Router::new().route("/share/{secret}", get(show).post(press)).route("/shared/{id}", get(go_there))
}

async fn show(
    State(state): State<PortalState>,
    frame: Frame,
    source: Source,
    headers: HeaderMap,
    At(secret): At<String>,
) -> Result<Response, Problem> {
    let found = state.control.look_at_share(&Secret::new(secret), place_of(source), (state.clock)()).await?;
    Ok(match found {
        Some(found) if found.has_room || held(&state, &headers, found.share.id).is_some() => {
            page(&SharePage::of(frame, &state, &headers, &found))
        }
        Some(_) | None => over(frame),
    })
}

async fn press(
    State(state): State<PortalState>,
    frame: Frame,
    source: Source,
    headers: HeaderMap,
    At(secret): At<String>,
    browser: FormToken,
    Sent(pressed): Sent<Pressed>,
) -> Result<Response, Problem> {
    let (secret, source, now) = (Secret::new(secret), place_of(source), (state.clock)());
    let Some(found) = state.control.look_at_share(&secret, source, now).await? else { return Ok(over(frame)) };
    // Whoever came by it before takes no further use.
    if held(&state, &headers, found.share.id).is_some() {
        return Ok(onward(frame, there(found.share.id)));
    }
    let browser = Secret::new(browser.as_str().to_owned());
    let press = SharePress { pin: pressed.pin.map(Secret::new), browser, source };
    let (status, told) = match state.control.use_share(&secret, press, now).await {
        Ok((found, used)) => return Ok(with_ticket(&state, onward(frame, there(found.share.id)), used, &found)),
        Err(UseError::Over) => return Ok(over(frame)),
        Err(UseError::WrongPin) => (StatusCode::FORBIDDEN, frame.say(WRONG_PIN).to_owned()),
        Err(UseError::TooMany { wait }) => {
            let told = frame.say(TOO_MANY).replace("{}", &wait.as_secs().max(1).to_string());
            (StatusCode::TOO_MANY_REQUESTS, told)
        }
        Err(UseError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, frame.say(BUSY).to_owned()),
        Err(UseError::Store(error)) => return Err(error.into()),
    };
    let again = SharePage { error: Some(told), ..SharePage::of(frame, &state, &headers, &found) };
    Ok(page_with(status, &again))
}

/// From the press to the service's own host, which sends the browser back for a pass (`door`).
async fn go_there(State(state): State<PortalState>, frame: Frame, headers: HeaderMap, At(id): At<i64>) -> Response {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let share = held(&state, &headers, ShareId(id)).and_then(|used| snapshot.share(used.share));
    let record = share.and_then(|share| {
        let record = snapshot.service_record(share.service)?;
        share.end(&record.service, &*snapshot, now).map(|_| record)
    });
    let Some(record) = record else { return over(frame) };
    // It may be known by another name later.
    let Some((host, prefix)) = record.web_home() else { return nothing(frame) };
    let scheme = if snapshot.site().web.is_https { "https" } else { "http" };
    let to = serde_urlencoded::to_string([("to", prefix.map_or("/", PathPrefix::as_str))]);
    let to = to.expect("text is always encodable");
    let url = format!("{scheme}://{host}{}/.well-known/doorward/start?{to}", port_of(&headers));
    Redirect::to(&url).into_response()
}

/// By which this browser comes to that service, if it used a link for it that counts still.
pub(super) fn used_for(state: &PortalState, headers: &HeaderMap, service: &Service) -> Vec<ShareUse> {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let counting = snapshot.shares_at(service.id).filter(|share| share.end(service, &*snapshot, now).is_some());
    counting.filter_map(|share| held(state, headers, share.id)).collect()
}

fn held(state: &PortalState, headers: &HeaderMap, share: ShareId) -> Option<ShareUse> {
    let ticket = cookies::read(headers, &cookie_of(share))?;
    state.control.use_by_ticket(share, &ticket)
}

fn cookie_of(share: ShareId) -> String {
    format!("__Host-doorward-share-{share}")
}

fn there(share: ShareId) -> LocalPath {
    LocalPath::parse(&format!("/shared/{share}")).expect("a number makes a path")
}

fn with_ticket(state: &PortalState, mut response: Response, used: ShareUse, found: &OpenShare) -> Response {
    let left = found.until.duration_since((state.clock)()).as_secs().max(1);
    let ticket = cookies::set(&cookie_of(used.share), &state.control.share_ticket(used), Some(left));
    response.headers_mut().append(SET_COOKIE, ticket);
    response
}

fn over(frame: Frame) -> Response {
    page_with(StatusCode::NOT_FOUND, &OverPage { frame })
}

impl SharePage {
    fn of(frame: Frame, state: &PortalState, headers: &HeaderMap, found: &OpenShare) -> Self {
        let wants_pin = found.share.has_pin && held(state, headers, found.share.id).is_none();
        Self {
            frame,
            title: if wants_pin { String::new() } else { found.service.title.clone() },
            until: found.until,
            is_read_only: found.share.is_read_only,
            wants_pin,
            error: None,
        }
    }
}
