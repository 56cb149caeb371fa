//! Who may talk to a loopback port: pages of its own, no others.
//!
//! A browser on this machine can be led here by any web page. Under a foreign name (DNS rebinding) the page would be of
//! the attacker's origin and could read the answers, so the Host must be one of loopback's own. A request sent by a
//! foreign page under our name says so in Origin or Sec-Fetch-Site (Fetch Metadata Request Headers, W3C).

use crate::answer::Problem;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, HeaderMap, ORIGIN};
use http::{HeaderValue, Method, StatusCode};

#[derive(Clone, Copy)]
pub(crate) struct Loopback {
    pub(crate) port: u16,
}

const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

pub(crate) async fn keep_out_foreigners(State(door): State<Loopback>, request: Request, next: Next) -> Response {
    let absolute = request.uri().authority().map(|a| a.as_str());
    if !door.is_own_host(request.headers(), absolute) {
        return refuse("this page answers only as localhost");
    }
    if !door.is_own_origin(request.method(), request.headers()) {
        return refuse("another site's page asked for this");
    }
    next.run(request).await
}

fn refuse(what: &str) -> Response {
    Problem::new(StatusCode::FORBIDDEN, what, "open the address that `doorward serve` printed").into_response()
}

impl Loopback {
    /// `absolute`: the authority of a request target in absolute form, which must not say anything else.
    fn is_own_host(self, headers: &HeaderMap, absolute: Option<&str>) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let Ok(host) = host.to_str() else { return false };
        self.is_own_authority(host) && absolute.is_none_or(|authority| self.is_own_authority(authority))
    }

    fn is_own_authority(self, authority: &str) -> bool {
        let authority = authority.to_ascii_lowercase();
        NAMES.iter().any(|name| {
            let port = authority.strip_prefix(name);
            port.is_some_and(|port| port == format!(":{}", self.port) || (port.is_empty() && self.port == 80))
        })
    }

    /// Following a link from elsewhere to a page is fine; reading or sending from elsewhere is not.
    fn is_own_origin(self, method: &Method, headers: &HeaderMap) -> bool {
        let is_safe = method == Method::GET || method == Method::HEAD;
        let is_navigation = header(headers, "sec-fetch-mode") == Some("navigate");
        let site_is_fine = match header(headers, "sec-fetch-site") {
            None | Some("same-origin" | "none") => true,
            Some(_) => is_safe && is_navigation,
        };
        let is_own = |origin: &HeaderValue| {
            let authority = origin.to_str().ok().and_then(|o| o.strip_prefix("http://"));
            authority.is_some_and(|authority| self.is_own_authority(authority))
        };
        let origins_are_own = headers.get_all(ORIGIN).iter().all(is_own);
        site_is_fine && origins_are_own
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
