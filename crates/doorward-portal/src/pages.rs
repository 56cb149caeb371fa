//! Pages: plain HTML, made here, with nothing from elsewhere. Every value passes [`escape`].

pub(crate) mod account;
mod adding;
pub(crate) mod approvals;
mod audit;
mod cameras;
mod certificates;
mod device;
mod door;
mod fields;
pub(crate) mod frame;
mod groups;
mod home;
mod inspecting;
mod inviting;
mod line;
mod logins;
mod offering;
pub(crate) mod opening;
mod passkeys;
mod people;
pub(crate) mod person;
mod policies;
pub(crate) mod policy;
pub(crate) mod providers;
mod qr;
mod reach;
mod service;
mod sessions;
pub(crate) mod share;
mod shares;
mod sign_in;
mod start;
pub(crate) mod telling;
mod tile;
pub(crate) mod tokens;
mod welcome;

use crate::PortalState;
use crate::answer::ProblemText;
use crate::words::Language;
use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use frame::Frame;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use std::fmt;

pub(crate) fn routes() -> Router<PortalState> {
    Router::new().route("/", get(start::show)).route("/style.css", get(style))
}

/// The pages of the public door.
pub(crate) fn site_routes() -> Router<PortalState> {
    Router::new()
        .route("/", get(home::show))
        .route("/door", get(door::show).post(door::open))
        .route("/services/{id}/open", post(home::open))
        .route("/services/{id}", get(service::show))
        .route("/sessions", get(sessions::show))
        .route("/sessions/{id}/extend", post(sessions::extend))
        .route("/sessions/{id}/end", post(sessions::end))
        .merge(reach::routes())
        .merge(device::routes())
        .merge(adding::routes())
        .merge(offering::routes())
        .merge(inspecting::routes())
        .merge(logins::routes())
        .merge(sign_in::routes())
        .merge(welcome::routes())
        .merge(account::routes())
        .merge(passkeys::routes())
        .merge(people::routes())
        .merge(person::routes())
        .merge(inviting::routes())
        .merge(groups::routes())
        .merge(policies::routes())
        .merge(policy::routes())
        .merge(approvals::routes())
        .merge(line::routes())
        .merge(audit::routes())
        .merge(share::routes())
        .merge(shares::routes())
        .merge(providers::routes())
        .merge(tokens::routes())
        .merge(certificates::routes())
        .merge(cameras::routes())
        .route("/assets/site.css", get(site_style))
        .route("/assets/managing.css", get(managing_style))
        .route("/assets/site.js", get(site_script))
        .route("/assets/live.css", get(live_style))
        .route("/assets/live.js", get(live_script))
        .route("/assets/welcome.js", get(welcome_script))
        .route("/assets/passkey.js", get(passkey_script))
        .route("/assets/shares.css", get(shares_style))
        .route("/assets/shares.js", get(shares_script))
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'p> {
    frame: Frame,
    what: &'p str,
    remedy: &'p str,
}

/// What went wrong, for whoever looks at pages.
pub(crate) fn problem(headers: &HeaderMap, status: StatusCode, text: &ProblemText) -> Response {
    let language = Language::wanted(headers);
    let frame = Frame { language, site: "Doorward".to_owned(), token: String::new(), person: None, places: Vec::new() };
    frame::page_with(status, &ProblemPage { frame, what: &text.what, remedy: text.remedy })
}

async fn site_style() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("assets/site.css"))
}

async fn managing_style() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("assets/managing.css"))
}

async fn site_script() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("assets/site.js"))
}

async fn live_style() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("assets/live.css"))
}

async fn live_script() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("assets/live.js"))
}

async fn welcome_script() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("assets/welcome.js"))
}

async fn passkey_script() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("assets/passkey.js"))
}

async fn shares_style() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("assets/shares.css"))
}

async fn shares_script() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("assets/shares.js"))
}

async fn style() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("assets/style.css"))
}

/// Text made safe inside elements and quoted attributes (HTML Standard 13.3).
pub(crate) fn escape(text: impl fmt::Display) -> String {
    let mut safe = String::new();
    for c in text.to_string().chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
