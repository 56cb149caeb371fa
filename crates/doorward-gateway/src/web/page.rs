//! The gateway's own answers. Small, readable on a phone, nothing from elsewhere; JSON for those who ask for it.

use super::Body;
use bytes::Bytes;
use doorward_core::hop::HopFailure;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};

pub(crate) fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// What everybody gets who may not know more: unknown, forbidden and offline look the same.
pub(crate) fn nothing_here(headers: &HeaderMap) -> Response<Body> {
    answer(headers, StatusCode::NOT_FOUND, "Nothing here", "There is nothing at this address that you may see.")
}

pub(crate) fn malformed(headers: &HeaderMap, why: &str) -> Response<Body> {
    answer(headers, StatusCode::BAD_REQUEST, "Bad request", &format!("This request is not understood: {why}."))
}

pub(crate) fn too_many(headers: &HeaderMap) -> Response<Body> {
    let text = "Too many wrong passwords came from your network. Try again in a minute.";
    let mut response = answer(headers, StatusCode::TOO_MANY_REQUESTS, "Too many attempts", text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
    response
}

pub(crate) fn password_needed(headers: &HeaderMap) -> Response<Body> {
    let mut response =
        answer(headers, StatusCode::UNAUTHORIZED, "Password needed", "This service asks for a user name and password.");
    let challenge = HeaderValue::from_static("Basic realm=\"Doorward\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// For those who are admitted: which hop failed.
pub(crate) fn hop_failed(headers: &HeaderMap, failure: HopFailure, service: &str) -> Response<Body> {
    let status = match failure {
        HopFailure::DeviceOffline | HopFailure::Busy => StatusCode::SERVICE_UNAVAILABLE,
        HopFailure::AgentSilent | HopFailure::TargetTimedOut => StatusCode::GATEWAY_TIMEOUT,
        HopFailure::AgentRefused | HopFailure::TargetRefused | HopFailure::TargetUnreachable => StatusCode::BAD_GATEWAY,
    };
    let mut response = answer(headers, status, "Not reachable right now", &format!("{service}: {failure}."));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

fn answer(headers: &HeaderMap, status: StatusCode, title: &str, text: &str) -> Response<Body> {
    let wants_json = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("application/json"));
    let (kind, bytes) = if wants_json {
        let json = serde_json::json!({ "error": { "status": status.as_u16(), "what": title, "detail": text } });
        ("application/json", json.to_string())
    } else {
        ("text/html; charset=utf-8", html(title, text))
    };
    let mut response = Response::new(body(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"));
    response
}

fn html(title: &str, text: &str) -> String {
    let (title, text) = (escape(title), escape(text));
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title>\
         <style>:root{{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}}\
         body{{margin:18vh auto 0;max-width:30rem;padding:0 1.25rem}}h1{{font-size:1.4rem;margin:0 0 .5rem}}\
         p{{margin:0;opacity:.85}}</style><h1>{title}</h1><p>{text}</p></html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
