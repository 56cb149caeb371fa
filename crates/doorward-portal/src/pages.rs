//! Pages: plain HTML, made here, with nothing from elsewhere. Every value passes [`escape`].

pub(crate) mod account;
mod door;
pub(crate) mod frame;
mod home;
mod logins;
pub(crate) mod opening;
mod passkeys;
mod sign_in;
mod start;
pub(crate) mod telling;
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
        .route("/sessions/{id}/end", post(home::end))
        .merge(logins::routes())
        .merge(sign_in::routes())
        .merge(welcome::routes())
        .merge(account::routes())
        .merge(passkeys::routes())
        .route("/assets/site.css", get(site_style))
        .route("/assets/site.js", get(site_script))
        .route("/assets/welcome.js", get(welcome_script))
        .route("/assets/passkey.js", get(passkey_script))
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
    let frame = Frame { language, site: "Doorward".to_owned(), token: String::new(), person: None };
    frame::page_with(status, &ProblemPage { frame, what: &text.what, remedy: text.remedy })
}

async fn site_style() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("assets/site.css"))
}

async fn site_script() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("assets/site.js"))
}

async fn welcome_script() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("assets/welcome.js"))
}

async fn passkey_script() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("assets/passkey.js"))
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
