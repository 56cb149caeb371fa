//! The gateway's own answers. Small, readable on a phone, nothing from elsewhere; JSON for those who ask for it.

use super::Body;
use super::framing::Refusal;
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
    let remedy = "Check the address, or ask whoever gave it to you.";
    answer(headers, StatusCode::NOT_FOUND, "Nothing here", "There is nothing at this address that you may see.", remedy)
}

pub(crate) fn malformed(headers: &HeaderMap, why: &str) -> Response<Body> {
    let detail = format!("This request is not understood: {why}.");
    let remedy = "Check the address. If it is right, the program that you use sent something wrong.";
    answer(headers, StatusCode::BAD_REQUEST, "Bad request", &detail, remedy)
}

/// A head that may not be read (`framing`); the connection ends with this.
pub(crate) fn refused(headers: &HeaderMap, refusal: Refusal) -> Response<Body> {
    let mut response = malformed(headers, refusal.reason());
    *response.status_mut() = refusal.status();
    response
}

/// RFC 9110, 15.5.20: over this connection nobody speaks for that host.
pub(crate) fn misdirected(headers: &HeaderMap) -> Response<Body> {
    let detail = "The certificate that was shown is for another host.";
    answer(headers, StatusCode::MISDIRECTED_REQUEST, "Misdirected request", detail, "Open the address in a new window.")
}

/// Too many requests: from one source, or for one service.
pub(crate) fn too_often(headers: &HeaderMap, status: StatusCode) -> Response<Body> {
    let detail = "Too many requests came at once.";
    let mut response = answer(headers, status, "Too many requests", detail, "Try again in a few seconds.");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

pub(crate) fn too_many(headers: &HeaderMap) -> Response<Body> {
    let detail = "Too many wrong passwords came from your network.";
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut response = answer(headers, status, "Too many attempts", detail, "Try again in a minute.");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
    response
}

pub(crate) fn password_needed(headers: &HeaderMap) -> Response<Body> {
    let detail = "This service asks for a user name and a password.";
    let remedy = "Reload the page to enter them. If you have none, ask whoever runs the service.";
    let mut response = answer(headers, StatusCode::UNAUTHORIZED, "Password needed", detail, remedy);
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
    let detail = format!("{service}: {failure}.");
    let mut response = answer(headers, status, "Not reachable right now", &detail, remedy(failure));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

fn remedy(failure: HopFailure) -> &'static str {
    match failure {
        HopFailure::DeviceOffline => "Is it switched on, and is it on the network? Reload the page when it is.",
        HopFailure::AgentSilent => "It may be busy, or its network slow. Reload the page in a moment.",
        HopFailure::AgentRefused => "Ask whoever runs the device whether the service has moved.",
        HopFailure::TargetRefused => {
            "Is the service started? On the device, \u{201c}doorward doctor\u{201d} says more."
        }
        HopFailure::TargetTimedOut => "It may be busy or starting. Reload the page in a moment.",
        HopFailure::TargetUnreachable => {
            "Is the machine with the service switched on? On the device, \u{201c}doorward doctor\u{201d} says more."
        }
        HopFailure::Busy => "Reload the page in a moment.",
    }
}

/// `remedy`: what its reader can do next.
fn answer(headers: &HeaderMap, status: StatusCode, what: &str, detail: &str, remedy: &str) -> Response<Body> {
    let wants_json = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("application/json"));
    let (kind, bytes) = if wants_json {
        let error = serde_json::json!({ "status": status.as_u16(), "what": what, "detail": detail, "remedy": remedy });
        ("application/json", serde_json::json!({ "error": error }).to_string())
    } else {
        ("text/html; charset=utf-8", html(what, detail, remedy))
    };
    let mut response = Response::new(body(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"));
    response
}

/// The colours are those of the start page.
const STYLE: &str = "\
    :root{color-scheme:light dark;--ink:#1c2321;--paper:#f6f5f1;--quiet:#5f6a66}\
    @media(prefers-color-scheme:dark){:root{--ink:#e6e9e7;--paper:#14191a;--quiet:#9aa8a5}}\
    body{margin:0;font:1rem/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}\
    main{max-width:34rem;margin:16vh auto 2rem;padding:0 1.25rem;overflow-wrap:anywhere}\
    h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}p{margin:0 0 .5rem}p+p{color:var(--quiet)}";

fn html(title: &str, detail: &str, remedy: &str) -> String {
    let (title, detail, remedy) = (escape(title), escape(detail), escape(remedy));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n\
         <body><main><h1>{title}</h1><p>{detail}</p><p>{remedy}</p></main></body>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
