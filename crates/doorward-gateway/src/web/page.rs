//! The gateway's own answers. Small, readable on a phone, nothing from elsewhere; JSON for those who ask for it.
//! Whoever may know of a service gets the service's own pages, where it has any.

mod preparing;
mod programs;

pub(crate) use preparing::preparing;
pub(crate) use programs::{session_needed_by_program, token_needed, too_many_tokens};

use super::framing::Refusal;
use super::language::Language;
use super::{Body, body, grpc};
use doorward_core::hop::HopFailure;
use doorward_core::service::Service;
use doorward_core::web::{Blank, LocalPath, Page};
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, REFRESH, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use jiff::Timestamp;

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

/// A page of another origin asked for more than to look (see `origin`).
pub(crate) fn foreign(headers: &HeaderMap) -> Response<Body> {
    let detail = "Another web site sent this request. This service takes such requests from its own pages alone.";
    let remedy = "If you meant to, go to the service\u{2019}s own page and do it there.";
    answer(headers, StatusCode::FORBIDDEN, "Not from there", detail, remedy)
}

/// The target is spoken to in HTTP/2, and does not take what was asked for in it.
pub(crate) fn no_upgrade(headers: &HeaderMap, service: &str) -> Response<Body> {
    let what = "this service is spoken to in HTTP/2, and takes no WebSockets in it";
    let language = if wants_json(headers) { Language::English } else { Language::wanted(headers) };
    let detail = format!("{service}: {}.", language.say(what));
    let remedy = "Ask whoever runs the device whether the target takes them in HTTP/1.1.";
    answer(headers, StatusCode::BAD_GATEWAY, "Not reachable right now", &detail, remedy)
}

/// A head that may not be read (`framing`); the connection ends with this.
pub(crate) fn refused(headers: &HeaderMap, refusal: Refusal) -> Response<Body> {
    let mut response = malformed(headers, refusal.reason());
    *response.status_mut() = refusal.status();
    response
}

/// RFC 9110, 15.5.20: over this connection nobody speaks for that host.
pub(crate) fn misdirected(headers: &HeaderMap) -> Response<Body> {
    let detail = "This connection does not lead to that host.";
    answer(headers, StatusCode::MISDIRECTED_REQUEST, "Misdirected request", detail, "Open the address in a new window.")
}

/// Too many requests: from one source, or for one service.
pub(crate) fn too_often(headers: &HeaderMap, status: StatusCode) -> Response<Body> {
    let detail = "Too many requests came at once.";
    let mut response = answer(headers, status, "Too many requests", detail, "Try again in a few seconds.");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// What may pass in this time has passed.
pub(crate) fn used_up(headers: &HeaderMap, until: Timestamp) -> Response<Body> {
    let detail = "As much as may pass through this service in this time has passed.";
    let language = if wants_json(headers) { Language::English } else { Language::wanted(headers) };
    let remedy = format!("{} {}.", language.say("It goes on at"), until.strftime("%F %H:%M UTC"));
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response = answer(headers, status, "Used up for now", detail, &remedy);
    let left = until.duration_since(Timestamp::now()).as_secs().max(1);
    if let Ok(left) = HeaderValue::try_from(left.to_string()) {
        response.headers_mut().insert(RETRY_AFTER, left);
    }
    response
}

/// More than looking was asked for.
pub(crate) fn only_to_look_at(headers: &HeaderMap) -> Response<Body> {
    let detail = "This service may be looked at, and no more.";
    let remedy = "Whoever runs it can let you do more.";
    let mut response = answer(headers, StatusCode::METHOD_NOT_ALLOWED, "Only to look at", detail, remedy);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// Back from the portal with something that counts for nothing here. No redirect: it could go round for ever.
pub(crate) fn not_signed_in(headers: &HeaderMap, to: &LocalPath) -> Response<Body> {
    let detail =
        "Signing in to this service did not come through: it took too long, or it was begun in another browser.";
    let language = Language::wanted(headers);
    let said = Said { status: StatusCode::FORBIDDEN, what: "Not signed in", detail, remedy: "Try again." };
    let again = format!("<p><a href=\"{}\">{}</a></p></main>", escape(to.as_str()), escape(language.say("Try again.")));
    let mut response = said.respond(headers, html(language, &said).replace("</main>", &again), OURS);
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// For somebody who may open a session, from a script of a page that stands open.
pub(crate) fn session_needed(headers: &HeaderMap, service: &Service) -> Response<Body> {
    let language = if wants_json(headers) { Language::English } else { Language::wanted(headers) };
    let detail = format!("{}: {}.", service.title, language.say("no session is open for you"));
    answer(headers, StatusCode::FORBIDDEN, "No session", &detail, "Reload the page to open one.")
}

/// For whoever came by a share link that counts no more.
pub(crate) fn share_over(headers: &HeaderMap) -> Response<Body> {
    let detail = "The link by which you came here is over.";
    let remedy = "Ask whoever gave it to you for another one.";
    answer(headers, StatusCode::FORBIDDEN, "This link is over", detail, remedy)
}

pub(crate) fn too_many(headers: &HeaderMap) -> Response<Body> {
    let detail = "Too many wrong passwords came from your network.";
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut response = answer(headers, status, "Too many attempts", detail, "Try again in a minute.");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
    response
}

pub(crate) fn password_needed(headers: &HeaderMap, service: &Service) -> Response<Body> {
    let detail = "This service asks for a user name and a password.";
    let remedy = "Reload the page to enter them. If you have none, ask whoever runs the service.";
    let said = Said { status: StatusCode::UNAUTHORIZED, what: "Password needed", detail, remedy };
    let mut response = said.on(headers, service, service.web.pages.password.as_ref());
    let challenge = HeaderValue::from_static("Basic realm=\"Doorward\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// For those who are admitted: which hop failed.
pub(crate) fn hop_failed(headers: &HeaderMap, failure: HopFailure, service: &Service) -> Response<Body> {
    let status = match failure {
        HopFailure::DeviceOffline | HopFailure::Busy | HopFailure::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        HopFailure::AgentSilent | HopFailure::TargetTimedOut => StatusCode::GATEWAY_TIMEOUT,
        HopFailure::AgentRefused | HopFailure::TargetRefused | HopFailure::TargetUnreachable => StatusCode::BAD_GATEWAY,
    };
    let language = if wants_json(headers) { Language::English } else { Language::wanted(headers) };
    let detail = format!("{}: {}.", service.title, language.say(&failure.to_string()));
    let said = Said { status, what: "Not reachable right now", detail: &detail, remedy: remedy(failure) };
    let mut response = said.on(headers, service, page_about(failure, service));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        // Whoever waits for a device need not press anything. Programs wait as they like.
        if !wants_json(headers) {
            response.headers_mut().insert(REFRESH, HeaderValue::from_static("10"));
        }
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
        HopFailure::NotReady => "It is tried again. Ask whoever runs the device if it goes on.",
    }
}

fn page_about(failure: HopFailure, service: &Service) -> Option<&Page> {
    let pages = &service.web.pages;
    match failure {
        HopFailure::DeviceOffline | HopFailure::AgentSilent => pages.offline.as_ref(),
        HopFailure::AgentRefused
        | HopFailure::TargetRefused
        | HopFailure::TargetTimedOut
        | HopFailure::TargetUnreachable
        | HopFailure::NotReady
        | HopFailure::Busy => pages.unreachable.as_ref(),
    }
}

/// What there is to say, in English: `language` knows it in others.
struct Said<'a> {
    status: StatusCode,
    what: &'a str,
    detail: &'a str,
    /// What its reader can do next.
    remedy: &'a str,
}

fn answer(headers: &HeaderMap, status: StatusCode, what: &str, detail: &str, remedy: &str) -> Response<Body> {
    let said = Said { status, what, detail, remedy };
    let language = Language::wanted(headers);
    said.respond(headers, html(language, &said), OURS)
}

/// Styles of its own, and nothing else.
const OURS: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// A service's page may have pictures and type in it, too, but runs nothing, fetches nothing and sends nothing: it is
/// shown on the service's origin when the service cannot speak for itself.
const THEIRS: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Said<'_> {
    /// On the service's own page, if it has one for this.
    fn on(&self, headers: &HeaderMap, service: &Service, page: Option<&Page>) -> Response<Body> {
        let language = Language::wanted(headers);
        let Some(page) = page else { return self.respond(headers, html(language, self), OURS) };
        let words = |blank| match blank {
            Blank::Title => escape(language.say(self.what)),
            Blank::Detail => escape(language.say(self.detail)),
            Blank::Remedy => escape(language.say(self.remedy)),
            Blank::Service => escape(&service.title),
            Blank::Language => language.tag().to_owned(),
        };
        self.respond(headers, page.fill(words), THEIRS)
    }

    fn respond(&self, headers: &HeaderMap, html: String, allows: &'static str) -> Response<Body> {
        let Self { status, what, detail, remedy } = *self;
        if grpc::is_grpc(headers) {
            return grpc::answer(status, &format!("{what}: {detail}"));
        }
        let (kind, bytes) = if wants_json(headers) {
            let error =
                serde_json::json!({ "status": status.as_u16(), "what": what, "detail": detail, "remedy": remedy });
            ("application/json", serde_json::json!({ "error": error }).to_string())
        } else {
            ("text/html; charset=utf-8", html)
        };
        let mut response = Response::new(body(bytes));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(VARY, HeaderValue::from_static("accept, accept-language"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(allows));
        response
    }
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("application/json"))
}

/// The colours are those of the start page.
const STYLE: &str = "\
    :root{color-scheme:light dark;--ink:#1c2321;--paper:#f6f5f1;--quiet:#5f6a66}\
    @media(prefers-color-scheme:dark){:root{--ink:#e6e9e7;--paper:#14191a;--quiet:#9aa8a5}}\
    body{margin:0;font:1rem/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}\
    main{max-width:34rem;margin:16vh auto 2rem;padding:0 1.25rem;overflow-wrap:anywhere}\
    h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}p{margin:0 0 .5rem}p+p{color:var(--quiet)}";

/// A sentence that `pages.toml` does not know stays as it is.
fn html(language: Language, said: &Said<'_>) -> String {
    let [title, detail, remedy] = [said.what, said.detail, said.remedy].map(|text| escape(language.say(text)));
    format!(
        "<!doctype html>\n<html lang=\"{lang}\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n\
         <body><main><h1>{title}</h1><p>{detail}</p><p>{remedy}</p></main></body>\n</html>\n",
        lang = language.tag()
    )
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests;
