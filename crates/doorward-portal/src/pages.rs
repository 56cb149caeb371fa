//! Pages: plain HTML, made here, with nothing from elsewhere. Every value passes [`escape`].

mod start;

use crate::PortalState;
use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use std::fmt;

pub(crate) fn routes() -> Router<PortalState> {
    Router::new().route("/", get(start::show)).route("/style.css", get(style))
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
